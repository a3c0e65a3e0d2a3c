/** Clients of the balance bench: each asks one request after the other, and hears who has answered. The load runs in this process. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Connection } from '../build/bench/traffic-connection.js';

const requestsPerShare = 10;

function connectionTo({ port, path = '/' }) {
  return new Connection({ host: '127.0.0.1', port, path, timeoutMs: 5_000 });
}

export class Clients {
  /** Each request: when it was sent, how long it took, the client's port, and who has answered; null: it has failed. */
  all = [];
  #target;
  #loops;
  #runs = true;

  /** @param connection `new`: one for each request; `kept`: until it ends */
  constructor({ clients, connection, ...target }) {
    this.#target = target;
    this.#loops = Array.from({ length: clients }, () => this.#loop(connection));
  }

  get answered() {
    return this.all.filter(({ pid }) => pid !== null);
  }

  get failed() {
    return this.all.filter(({ pid }) => pid === null);
  }

  /** No new requests; waits for those in hand. */
  async end() {
    this.#runs = false;
    await Promise.all(this.#loops);
    return this;
  }

  async #loop(kind) {
    let connection = null;
    while (this.#runs) {
      if (kind === 'new' || !connection?.isOpen) connection = connectionTo(this.#target);
      const ms = performance.now();
      const pid = await connection.request(kind === 'new' ? 'close' : 'keep-alive').then(Number, () => null);
      this.all.push({ ms, tookMs: performance.now() - ms, pid, port: connection.localPort });
      if (kind === 'new') connection.destroy();
      // Whoever refuses at once is not asked in a loop that lets nothing else run.
      if (pid === null) await sleep(1);
    }
    connection?.destroy();
  }
}

/** Requests per second. */
export async function rate({ ms, ...options }) {
  const clients = new Clients(options);
  await sleep(ms / 4);
  const before = clients.answered.length;
  const startMs = performance.now();
  await sleep(ms);
  const answered = clients.answered.length - before;
  const seconds = (performance.now() - startMs) / 1000;
  await clients.end();
  return answered / seconds;
}

/** How many of so many kept connections, opened at once and used, are on each worker. Largest first; 0 for who has none. */
export async function shares(port, clients, workers) {
  const counts = new Map();
  const one = async () => {
    const connection = connectionTo({ port });
    let pid = null;
    try {
      for (let time = 0; time < requestsPerShare; time++) pid = await connection.request('keep-alive');
      return { connection, pid };
    } catch {
      return { connection, pid: null };
    }
  };
  const all = await Promise.all(Array.from({ length: clients }, one));
  for (const { connection, pid } of all) {
    if (pid !== null) counts.set(pid, (counts.get(pid) ?? 0) + 1);
    connection.destroy();
  }
  const idle = Array.from({ length: Math.max(0, workers - counts.size) }, () => 0);
  return [...counts.values(), ...idle].toSorted((a, b) => b - a);
}
