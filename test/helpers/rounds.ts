/**
 * Rounds of changes under load, for the tests and for `npm run soak`: reloads, scale changes, crashes outside of requests,
 * recycles, replacements. Each asks for one change after the other, waits until the app is at full strength again, and counts what clients saw.
 */
import assert from 'node:assert/strict';
import { copyFileSync } from 'node:fs';
import type { TestContext } from 'node:test';
import { Traffic, type Tally } from '../../bench/traffic.ts';
import type { Master } from './e2e-master.ts';
import { fixture, Site } from './e2e-site.ts';

/** What serves. */
export const serverKinds = ['node', 'node-cluster', 'node-round-robin', 'uvicorn'] as const;
/** A command that closes its listener at once on TERM: only for `replacements`, where that is what matters. */
export const rudeKind = 'closes-at-once';
export type ServerKind = (typeof serverKinds)[number] | typeof rudeKind;

export interface RoundOptions {
  readonly server: ServerKind;
  readonly newPerSecond: number;
  readonly keptAlive: number;
  /** Clients that ask at full speed, each request on a new connection. */
  readonly hurried?: number;
  /** limits.lifetime; without it workers are not recycled. */
  readonly lifetime?: string;
}

export interface Stage {
  readonly site: Site;
  readonly master: Master;
  readonly traffic: Traffic;
}

const workers = 2;

/** Starts two workers of a server, and the load. Ends with the test. */
export async function underLoad(t: Pick<TestContext, 'after'>, options: RoundOptions): Promise<Stage> {
  const site = new Site(t as TestContext);
  const port = await site.port();
  copyFileSync(fixture('fastapi_app.py'), site.path('fastapi_app.py'));
  const listen = [`127.0.0.1:${port}`];
  const script = { script: fixture('plain-server.mjs'), env: { PORT: port } };
  const programs: Record<ServerKind, Record<string, unknown>> = {
    'node': { ...script, listen },
    'node-cluster': script,
    'node-round-robin': { ...script, balance: 'round-robin' },
    'closes-at-once': { command: [process.execPath, fixture('closes-at-once.mjs')], listen },
    'uvicorn': { command: 'uvicorn fastapi_app:app --fd {fd} --log-level warning', listen },
  };
  site.config({
    apps: {
      web: {
        ...programs[options.server],
        workers,
        reload: { canary: '200ms' },
        backoff: { initial: '10ms', max: '100ms', stable_after: '1s', max_crashes: 1000 },
        stop: { timeout: '20s' },
        ...(options.lifetime === undefined ? {} : { limits: { lifetime: options.lifetime, jitter: 0 } }),
      },
    },
  });
  const master = await site.start().serves();
  const { newPerSecond, keptAlive, hurried = 0 } = options;
  const traffic = new Traffic({ port, newPerSecond, keptAlive, hurried });
  t.after(() => traffic.end());
  await master.until('the load runs', () => traffic.answered > 100);
  return { site, master, traffic };
}

/** `times` workers are replaced, by reloads: an even number. */
export function replacements(stage: Stage, times: number): Promise<Tally> {
  return reloads(stage, times / workers);
}

/** `times` rolling reloads. */
export async function reloads({ site, master, traffic }: Stage, times: number): Promise<Tally> {
  traffic.take();
  for (let time = 0; time < times; time++) {
    await site.ok('reload');
    await atRest(master, workers);
  }
  return traffic.take();
}

/** All are ready, and none is on its way out any more. */
async function atRest(master: Master, wanted: number): Promise<void> {
  await master.untilStatus(
    `${wanted} workers are ready, and no other is left`,
    ({ apps: [web] }) => web?.workers.length === wanted && web.ready === wanted,
  );
}

/** `times` changes of the number of workers, up by two and down again. */
export async function scaleChanges({ site, master, traffic }: Stage, times: number): Promise<Tally> {
  traffic.take();
  for (let time = 0; time < times; time++) {
    const wanted = time % 2 === 0 ? workers + 2 : workers;
    await site.ok('scale', 'web', String(wanted));
    await atRest(master, wanted);
  }
  return traffic.take();
}

/** `times` workers are killed, one at a time, each at a moment at which no request is in hand. */
export async function crashes({ master, traffic }: Stage, times: number): Promise<Tally> {
  traffic.take();
  for (let time = 0; time < times; time++) {
    const pids = await master.pids();
    const victim = pids[time % pids.length];
    assert.ok(victim !== undefined);
    await traffic.outsideOfRequests(() => process.kill(victim, 'SIGKILL'));
    await master.until('its successor serves', async () => {
      const now = await master.pids();
      return now.length === workers && !now.includes(victim);
    });
  }
  return traffic.take();
}

/** Waits until `times` workers were replaced because of their age. */
export async function recycles({ master, traffic }: Stage, times: number, withinMs: number): Promise<Tally> {
  traffic.take();
  const over = (): number => master.eventsOf('worker.exited').filter(({ cause }) => cause === 'lifetime').length;
  await master.until(`${times} recycles`, () => over() >= times, withinMs);
  return traffic.take();
}
