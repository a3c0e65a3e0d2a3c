/** Clients of the balance bench: each asks one request after the other, and hears who has answered. This load runs in this process. */
import { execFile } from 'node:child_process';
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

/**
 * Requests per second of a server under full load, by wrk: a load generator in C leaves the cores to the servers, and is as
 * fast for the first contender as for the last. @param connection `new`: one for each request; `kept`: one for each client
 */
export async function rate({ port, path = '/', clients, connection, ms }) {
  const header = connection === 'new' ? ['-H', 'Connection: close'] : [];
  const load = (loadMs) =>
    output(['wrk', '-t1', `-c${clients}`, `-d${loadMs / 1000}`, ...header, `http://127.0.0.1:${port}${path}`]);
  // The servers are to be warm: what they compile in the first second is not what is compared.
  await load(1_000);
  return Number(/^Requests\/sec:\s+([\d.]+)/m.exec(await load(ms))?.[1] ?? NaN);
}

function output([program, ...words]) {
  return new Promise((done, failed) => {
    execFile(program, words, (error, stdout) => (error === null ? done(stdout) : failed(error)));
  });
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
