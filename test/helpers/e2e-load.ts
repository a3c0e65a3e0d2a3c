/** Requests to a server, one new connection each: counted by outcome and by the process that answered. */
import assert from 'node:assert/strict';
import type { RequestOptions } from 'node:http';
import { request } from 'node:http';
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

/** Servers of these tests answer with their pid: alone, as pid=N, or as a JSON object with a pid. */
export function pidIn(body: string): number {
  const pid = Number(/pid=(\d+)/.exec(body)?.[1] ?? /"pid":\s*(\d+)/.exec(body)?.[1] ?? body);
  if (!Number.isInteger(pid)) throw new Error(`no pid in the answer ${JSON.stringify(body)}`);
  return pid;
}

/**
 * Asks until every worker has answered: `workers` has the pids of each one's processes. Whoever answers has to be one of
 * them. The kernel gives a connection to whom it likes, so whoever has answered is stopped (SIGSTOP) until all have.
 * `meanwhile` is called while requests are under way.
 */
export async function answeredByAll(
  where: Where,
  workers: readonly (readonly number[])[],
  meanwhile: () => void = () => undefined,
): Promise<void> {
  const seen = new Set<number>();
  const missing = () => workers.filter((pids) => !pids.some((pid) => seen.has(pid)));
  const signal = (signalName: NodeJS.Signals) => seen.forEach((pid) => process.kill(pid, signalName));
  try {
    for (let burst = 0; burst <= workers.length && missing().length > 0; burst++) {
      const answers = Array.from({ length: 8 }, () => ask(where));
      await Promise.race(answers);
      meanwhile();
      for (const body of await Promise.all(answers)) seen.add(pidIn(body));
      const strangers = [...seen].filter((pid) => !workers.flat().includes(pid));
      assert.deepEqual(strangers, [], 'somebody else answered');
      signal('SIGSTOP');
      // Until it is, it may still take a connection.
      while (![...seen].every(isStopped)) await sleep(5);
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
  /**
   * Whether a server has taken the request of this id. One that was cut off before that may be sent again, once, as every
   * proxy does: some servers close a connection on which nothing has come yet when they are asked to end.
   */
  readonly taken?: (id: string) => boolean;
}

export class Load {
  answered = 0;
  readonly failures: string[] = [];
  readonly pids = new Set<number>();
  readonly #where: Where;
  readonly #options: LoadOptions;
  readonly #loops: Promise<void>[];
  #ids = 0;
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
    const { path = '/', pauseMs = 20, taken } = this.#options;
    const query = (id: string) => (taken === undefined ? path : `${path}?id=${id}`);
    while (this.#state === 'runs') {
      const id = String(++this.#ids);
      try {
        await this.#count(query(id));
      } catch (error) {
        if (taken === undefined || taken(id)) this.#fail(error);
        else await this.#count(query(`${id}-again`)).catch((again: unknown) => this.#fail(again));
      }
      await sleep(pauseMs);
    }
  }

  async #count(path: string): Promise<void> {
    this.pids.add(pidIn(await ask(this.#where, path)));
    this.answered++;
  }

  #fail(error: unknown): void {
    const { code, message } = error as NodeJS.ErrnoException;
    this.failures.push(code ?? message);
  }
}
