/** Requests to a server, one new connection each: counted by outcome and by the process that answered. */
import assert from 'node:assert/strict';
import type { RequestOptions } from 'node:http';
import { request } from 'node:http';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

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
 * Asks in bursts until every worker has answered: `workers` has the pids of each one's processes. Whoever answers has to
 * be one of them. `meanwhile` is called while requests are under way.
 */
export async function answeredByAll(
  where: Where,
  workers: readonly (readonly number[])[],
  meanwhile: () => void = () => undefined,
): Promise<void> {
  const seen = new Set<number>();
  const missing = () => workers.filter((pids) => !pids.some((pid) => seen.has(pid)));
  for (let burst = 0; burst < 200 && missing().length > 0; burst++) {
    const answers = Array.from({ length: 16 }, async () => {
      const body = await ask(where);
      meanwhile();
      return body;
    });
    for (const body of await Promise.all(answers)) seen.add(pidIn(body));
  }
  assert.deepEqual(missing(), [], 'these never answered');
  const strangers = [...seen].filter((pid) => !workers.flat().includes(pid));
  assert.deepEqual(strangers, [], 'somebody else answered');
}

export class Load {
  answered = 0;
  readonly failures: string[] = [];
  readonly pids = new Set<number>();
  readonly #loops: Promise<void>[];
  #state: 'runs' | 'ends' = 'runs';

  /** `clients` ask one after the other, each with a pause between two requests. Ends with the test. */
  constructor(t: TestContext, where: Where, { clients = 4, pauseMs = 20, path = '/' } = {}) {
    t.after(() => this.end());
    this.#loops = Array.from({ length: clients }, () => this.#loop(where, path, pauseMs));
  }

  /** No new requests; waits for those in hand. */
  async end(): Promise<this> {
    this.#state = 'ends';
    await Promise.all(this.#loops);
    return this;
  }

  async #loop(where: Where, path: string, pauseMs: number): Promise<void> {
    while (this.#state === 'runs') {
      try {
        this.pids.add(pidIn(await ask(where, path)));
        this.answered++;
      } catch (error) {
        const { code, message } = error as NodeJS.ErrnoException;
        this.failures.push(code ?? message);
      }
      await sleep(pauseMs);
    }
  }
}
