/** Requests to a server, one new connection each: counted by outcome and by the process that answered. */
import assert from 'node:assert/strict';
import type { RequestOptions } from 'node:http';
import { request } from 'node:http';
import { connect } from 'node:net';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { isStopped } from './e2e-proc.ts';

/** Where to ask: a port of 127.0.0.1, or anything that http.request takes. */
export type Where = number | RequestOptions;

/** One request on a connection of its own. Fails unless all of a 200 came. */
export function ask(where: Where, path = '/'): Promise<string> {
  const to = typeof where === 'number' ? { host: '127.0.0.1', port: where } : where;
  return new Promise((resolve, reject) => {
    const outgoing = request({ agent: false, timeout: 20_000, path, ...to }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => (body += text));
      response.on('error', reject);
      response.on('end', () =>
        response.statusCode === 200 ? resolve(body) : reject(new Error(`status ${response.statusCode}`)),
      );
    });
    outgoing.on('timeout', () => outgoing.destroy(new Error('no answer within 20 s')));
    outgoing.on('error', reject);
    outgoing.end();
  });
}

/** As ask, of a client that sends its request only this long after it was connected. */
export async function askSlowly(port: number, path: string, hesitatesMs: number): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  await new Promise((connected, failed) => socket.once('connect', connected).once('error', failed));
  await sleep(hesitatesMs);
  return ask({ agent: undefined, createConnection: () => socket }, path);
}

/** Servers of these tests answer with their pid: alone, as pid=N, or as a JSON object with a pid. */
export function pidIn(body: string): number {
  const pid = Number(/pid=(\d+)/.exec(body)?.[1] ?? /"pid":\s*(\d+)/.exec(body)?.[1] ?? body);
  if (!Number.isInteger(pid)) throw new Error(`no pid in the answer ${JSON.stringify(body)}`);
  return pid;
}

/**
 * Asks until every worker has answered: `workers` has the pids of each one's processes. Whoever answers has to be one of
 * them. Of workers that share one socket the kernel may prefer some, so whoever has answered is stopped (SIGSTOP) after a
 * while until all have. `meanwhile` is called while requests are under way.
 */
export async function answeredByAll(
  where: Where,
  workers: readonly (readonly number[])[],
  meanwhile: () => void = () => undefined,
): Promise<void> {
  const seen = new Set<number>();
  const missing = () => workers.filter((pids) => !pids.some((pid) => seen.has(pid)));
  const signal = (signalName: NodeJS.Signals) => seen.forEach((pid) => process.kill(pid, signalName));
  const burst = async () => {
    const answers = Array.from({ length: 8 }, () => ask(where));
    await Promise.race(answers);
    meanwhile();
    for (const body of await Promise.all(answers)) seen.add(pidIn(body));
    const strangers = [...seen].filter((pid) => !workers.flat().includes(pid));
    assert.deepEqual(strangers, [], 'somebody else answered');
  };
  // Of workers that are steered to, one is missed by all of these once in millions of years.
  for (let round = 0; round < 20 * workers.length && missing().length > 0; round++) await burst();
  try {
    for (let round = 0; round <= workers.length && missing().length > 0; round++) {
      signal('SIGSTOP');
      // Until it is, it may still take a connection.
      while (![...seen].every(isStopped)) await sleep(5);
      await burst();
    }
    assert.deepEqual(missing(), [], 'these never answered');
  } finally {
    signal('SIGCONT');
  }
}

interface LoadOptions {
  readonly clients?: number;
  /** Of each client, between two requests. */
  readonly pauseMs?: number;
  readonly path?: string;
  /** How long a client that is connected takes to send its request: as over a slow network. */
  readonly hesitatesMs?: number;
}

export class Load {
  answered = 0;
  readonly failures: string[] = [];
  readonly pids = new Set<number>();
  readonly #where: Where;
  readonly #options: LoadOptions;
  readonly #loops: Promise<void>[];
  #state: 'runs' | 'ends' = 'runs';

  /** Clients that ask one after the other, each on a new connection, until the test ends. */
  constructor(t: TestContext, where: Where, options: LoadOptions = {}) {
    t.after(() => this.end());
    this.#where = where;
    this.#options = options;
    this.#loops = Array.from({ length: options.clients ?? 4 }, () => this.#loop());
  }

  /** No new requests; waits for those in hand. */
  async end(): Promise<this> {
    this.#state = 'ends';
    await Promise.all(this.#loops);
    return this;
  }

  async #loop(): Promise<void> {
    const { path = '/', pauseMs = 20 } = this.#options;
    while (this.#state === 'runs') {
      await this.#count(path).catch((error: unknown) => this.#fail(error));
      await sleep(pauseMs);
    }
  }

  async #count(path: string): Promise<void> {
    const { hesitatesMs } = this.#options;
    const isSlow = hesitatesMs !== undefined && typeof this.#where === 'number';
    this.pids.add(pidIn(isSlow ? await askSlowly(this.#where, path, hesitatesMs) : await ask(this.#where, path)));
    this.answered++;
  }

  #fail(error: unknown): void {
    const { code, message } = error as NodeJS.ErrnoException;
    this.failures.push(code ?? message);
  }
}
