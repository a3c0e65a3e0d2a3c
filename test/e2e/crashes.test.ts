/** Crashes under load: the siblings never notice, and the delays are those of the policy. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Event } from '../../src/core/protocol.ts';
import { Load } from '../helpers/e2e-load.ts';
import { Site } from '../helpers/e2e-site.ts';

const policy = { initialMs: 100, maxMs: 1600, factor: 2, jitter: 0.5 };
const clients = 6;

test('one slot killed every 200 ms for 20 s under load: its siblings keep serving, and its delays follow the policy', async (t) => {
  const site = new Site(t);
  const port = await site.port();
  const backoff = {
    initial: `${policy.initialMs}ms`,
    max: `${policy.maxMs}ms`,
    factor: policy.factor,
    jitter: policy.jitter,
    max_crashes: 1000,
  };
  site.config({
    apps: {
      web: {
        script: resolve('examples/node-app/server.mjs'),
        env: { PORT: port },
        workers: 4,
        listen: [`127.0.0.1:${port}`],
        backoff,
      },
    },
  });
  const master = await site.start().serves();
  const [, ...siblings] = await master.pids();
  const load = new Load(t, port, { clients, pauseMs: 15 });

  let kills = 0;
  const endMs = Date.now() + 20_000;
  for (let round = 1, answered = 0; Date.now() < endMs; round++) {
    await sleep(200);
    const { workers } = await master.app();
    assert.deepEqual(
      workers.slice(1).map(({ slot, state, pid, restarts }) => ({ slot, state, pid, restarts })),
      [1, 2, 3].map((slot) => ({ slot, state: 'ready', pid: siblings[slot - 1], restarts: 0 })),
    );
    if (round % 10 === 0) {
      assert.ok(load.answered > answered, 'nobody was served for 10 rounds');
      answered = load.answered;
    }
    const victim = workers[0]?.pid ?? null;
    if (victim === null) continue;
    process.kill(victim, 'SIGKILL');
    kills++;
  }
  await load.end();

  for (const sibling of siblings) assert.ok(load.pids.has(sibling), `${sibling} served nobody`);
  // What is lost is what the killed one had in hand; nobody is refused.
  assert.ok(load.failures.length <= kills * clients, `${load.failures.length} failures, ${kills} kills`);
  assert.deepEqual(
    load.failures.filter((code) => code !== 'ECONNRESET'),
    [],
  );

  const events = (await site.ok('events', '--json'))
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Event);
  assert.deepEqual(
    events.map(({ seq }) => seq),
    events.map((_, index) => index + 1),
  );
  const life = events.filter((event) => 'slot' in event && event.slot === 0);
  const types = life.map(({ type }) => type);
  assert.deepEqual(types.slice(0, 4), ['worker.starting', 'worker.ready', 'worker.exited', 'worker.starting']);
  const delays = life.flatMap((event) => (event.type === 'worker.backoff' ? [event] : []));
  assert.ok(delays.length >= 8, `${delays.length} delayed starts only`);
  for (const [n, { delayMs, crashes }] of delays.entries()) {
    const base = Math.min(policy.maxMs, policy.initialMs * policy.factor ** n);
    assert.equal(crashes, n + 2);
    assert.ok(
      delayMs >= Math.floor(base * (1 - policy.jitter)) && delayMs <= base,
      `delay ${n} is ${delayMs} ms, of at most ${base}`,
    );
  }
  assert.ok(new Set(delays.slice(5).map(({ delayMs }) => delayMs)).size > 1, 'there is no jitter');
  assert.equal(types.filter((type) => type === 'worker.exited').length, kills);
  assert.equal(
    types.filter((type) => type === 'worker.starting').length,
    2 + delays.length - (types.at(-1) === 'worker.backoff' ? 1 : 0),
  );
  await master.stop();
});
