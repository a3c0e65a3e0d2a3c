/** Warm spares: booted workers out of the rotation, for an app whose boot takes as long as the test wants. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { ask, Load, pidIn } from '../helpers/e2e-load.ts';
import type { Master } from '../helpers/e2e-master.ts';
import { fixture, python, Site, withoutKoffi } from '../helpers/e2e-site.ts';

/** It boots for as long as there is no file named open. */
const boots = `until [ -e open ]; do sleep 0.02; done; exec ${python} ${fixture('only-accepts.py')}`;

async function started(site: Site, parts: Record<string, unknown> = {}): Promise<{ port: number; master: Master }> {
  const port = await site.port();
  const web = { command: ['/bin/sh', '-c', boots], workers: 2, spares: 1, listen: [`127.0.0.1:${port}`] };
  site.config({ apps: { web: { ...web, reload: { canary: '50ms' }, ...parts } } });
  site.write('open', '');
  const master = await site.start().serves();
  await spareIsReady(master);
  return { port, master };
}

function spareIsReady(master: Master): Promise<unknown> {
  return master.untilStatus('the spare is ready', ({ apps }) => apps[0]?.spares.ready === 1);
}

/** Pids of those that serve, and of those that stand by. */
async function crew(master: Master): Promise<{ serving: number[]; spares: number[] }> {
  const ready = (await master.workers()).filter(({ state }) => state === 'ready');
  const pids = (spare: boolean) => ready.filter((one) => one.spare === spare).map(({ pid }) => pid!);
  return { serving: pids(false), spares: pids(true) };
}

async function answersOf(port: number, count: number): Promise<number[]> {
  const bodies = await Promise.all(Array.from({ length: count }, () => ask(port)));
  return [...new Set(bodies.map(pidIn))].toSorted((a, b) => a - b);
}

const sorted = (pids: readonly number[]) => [...pids].sort((a, b) => a - b);

test('after kill -9 of a worker the spare serves in its place while the successor still boots', async (t) => {
  const site = new Site(t);
  const { port, master } = await started(site);
  const { serving, spares } = await crew(master);
  assert.deepEqual([serving.length, spares.length], [2, 1]);
  assert.deepEqual(await answersOf(port, 60), sorted(serving), 'a spare gets no connection');
  assert.match(await site.ok('status'), /2\/2 \+1\/1[^]* spare /);

  rmSync(site.path('open'));
  const [victim, other] = serving as [number, number];
  process.kill(victim, 'SIGKILL');
  const promoted = await master.event('worker.promoted');
  const load = new Load(t, port, { pauseMs: 0 });
  await master.until('many were answered', () => load.answered > 200);
  await load.end();
  assert.deepEqual(load.failures, []);
  assert.deepEqual(sorted([...load.pids]), sorted([other, spares[0]!]));
  assert.equal(promoted.pid, spares[0], 'it is the same process');
  await master.event('worker.exited');
  const dead = (await master.workers()).find(({ id }) => id === promoted.of);
  assert.deepEqual([dead?.state, dead?.lastExit?.signal], ['starting', 'SIGKILL']);
  assert.deepEqual(master.eventsOf('app.degraded').slice(1), [], 'as many serve as should');
  assert.match(await site.ok('why', promoted.of!), new RegExp(`${promoted.worker}, a spare, took its place`));

  site.write('open', '');
  await spareIsReady(master);
  assert.deepEqual((await crew(master)).serving.length, 2);
  assert.deepEqual(await answersOf(port, 60), sorted([other, spares[0]!]), 'who was killed stands by now');
  await master.stop();
});

test('scale up takes the spare at once; another one boots behind it', async (t) => {
  const site = new Site(t);
  const { port, master } = await started(site);
  const { serving, spares } = await crew(master);
  rmSync(site.path('open'));
  const scaling = site.launch(['scale', 'web', '3']);
  await master.event('worker.promoted');
  assert.deepEqual(await answersOf(port, 90), sorted([...serving, ...spares]));
  assert.deepEqual((await master.workers()).map(({ state }) => state).toSorted(), [
    'ready',
    'ready',
    'ready',
    'starting',
  ]);
  site.write('open', '');
  assert.equal((await scaling.ended).code, 0);
  assert.deepEqual((await crew(master)).spares.length, 1);
  await master.stop();
});

test('a reload under load replaces the spare too, and loses no request', async (t) => {
  const site = new Site(t);
  const { port, master } = await started(site);
  const load = new Load(t, port, { pauseMs: 5 });
  await site.ok('reload');
  await load.end();
  assert.deepEqual(load.failures, []);
  await master.untilStatus('the old ones are gone', ({ apps }) => apps[0]?.workers.length === 3);
  const { spares, workers } = await master.app();
  assert.deepEqual(spares, { goal: 1, ready: 1 });
  assert.deepEqual(workers.map(({ revision, spare }) => `${revision} ${spare}`).toSorted(), [
    '2 false',
    '2 false',
    '2 true',
  ]);
  assert.deepEqual(master.eventsOf('worker.promoted'), []);
  await master.stop();
});

test('a worker at the end of its lifetime is drained at once, because a spare has its place', async (t) => {
  const site = new Site(t);
  const { port, master } = await started(site, { limits: { lifetime: '2s', jitter: 0 } });
  const load = new Load(t, port, { pauseMs: 5 });
  await master.until('both have been replaced', () => master.eventsOf('worker.promoted').length >= 3);
  await load.end();
  assert.deepEqual(load.failures, []);
  assert.deepEqual(master.eventsOf('app.degraded').slice(1), []);
  await master.stop();
});

test('where connections cannot be steered a spare serves like the others, which is said once', async (t) => {
  const site = new Site(t);
  const port = await site.port();
  const command = [python, fixture('only-accepts.py')];
  site.config({ apps: { web: { command, workers: 1, spares: 1, listen: [`127.0.0.1:${port}`] } } });
  const master = await site.start([], { bin: withoutKoffi(site) }).serves();
  await master.untilStatus('both are ready', ({ apps }) => apps[0]!.workers.every(({ state }) => state === 'ready'));
  const { ready, goal, spares, notes, workers } = await master.app();
  assert.deepEqual([ready, goal, spares], [2, 1, { goal: 1, ready: 0 }]);
  assert.deepEqual(
    workers.map(({ spare }) => spare),
    [false, false],
  );
  assert.match(notes.join(), /so its spares cannot be kept out of the rotation, and serve like the others/);
  assert.equal(master.eventsOf('app.warning').length, 1);
  await master.stop();
});
