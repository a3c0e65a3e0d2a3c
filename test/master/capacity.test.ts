/** Which facts the master gives to `capacity`. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import type { HistorySpan } from '../../src/core/history.ts';
import { capacityFacts } from '../../src/master/capacity.ts';
import { app, tcp, World } from '../helpers/world.ts';
import { exitRecord } from '../helpers/exit-record.ts';

const nowMs = Date.parse('2026-01-01T12:00:00.000Z');

/** The facts of a world with `workers` workers, and what was asked for on the way. */
function factsOf(world: World, exits = [exitRecord()]) {
  const asked: string[] = [];
  const { host, budget, apps } = world.master.snapshot();
  const facts = capacityFacts({
    ...{ nowMs, spanMs: 3_600_000, spec: world.master.spec, host, apps, budget: { ...budget, budgetBytes: 77 } },
    history: (target: string, span: HistorySpan) => {
      asked.push(`${target} ${span}`);
      return { target, stepMs: 1, points: [] };
    },
    exits: ({ app: name }) => exits.filter((one) => one.app === name),
  });
  return { facts, asked };
}

test('the history of the host, of each app and of its ready workers, and how it is staffed', () => {
  const world = new World({ apps: [app('web', { workers: 2 }), app('jobs', { workers: 1 })] }).start().allReady();
  const { facts, asked } = factsOf(world);
  const targets = ['host', 'web', 'web.1', 'web.2', 'jobs', 'jobs.1'];
  assert.deepEqual(asked.toSorted(), targets.flatMap((target) => [`${target} day`, `${target} fine`]).toSorted());
  const [web, jobs] = facts.apps;
  assert.deepEqual([web?.name, web?.goal, web?.surge, web?.staffing], ['web', 2, 1, { kind: 'fixed', max: 2 }]);
  assert.deepEqual(
    web?.workers.map(({ id }) => id),
    ['web.1', 'web.2'],
  );
  assert.deepEqual([jobs?.name, jobs?.goal], ['jobs', 1]);
  assert.deepEqual([facts.target, facts.budgetBytes], [0.7, 77]);
});

test('a spare has memory, and is compared with nobody', () => {
  const spared = app('web', { workers: 2, spares: 1, listen: [tcp(8000)] });
  const [web] = factsOf(new World({ apps: [spared] }).start().allReady()).facts.apps;
  assert.equal(web?.spares, 1);
  assert.equal(web.workers.length, 2);
});

test('who is not ready is compared with nobody, nor are many', () => {
  const young = new World({ apps: [app('web', { workers: 2 })] }).start();
  assert.deepEqual(factsOf(young).facts.apps[0]?.workers, []);
  const many = new World({ apps: [app('web', { workers: 65 })] }).start().allReady();
  assert.deepEqual(factsOf(many).facts.apps[0]?.workers, []);
});

test('ends for want of memory count in the time that is looked at, and apart', () => {
  const world = new World({ apps: [app('web', { workers: 1 }), app('jobs', { workers: 1 })] }).start().allReady();
  const at = (minutes: number) => new Date(nowMs - minutes * 60_000).toISOString();
  const exits = [
    exitRecord({ at: at(1), cause: 'oom' }),
    exitRecord({ at: at(2), cause: 'memory-limit' }),
    exitRecord({ at: at(3), cause: 'memory-budget' }),
    exitRecord({ at: at(4), cause: 'crash' }),
    exitRecord({ at: at(61), cause: 'oom' }),
    exitRecord({ at: at(5), cause: 'oom', app: 'jobs' }),
  ];
  const found = factsOf(world, exits).facts.apps.map(({ name, oomKills, recycled }) => [name, oomKills, recycled]);
  assert.deepEqual(found, [
    ['web', 1, 2],
    ['jobs', 1, 0],
  ]);
});

test('the master answers with what it has sampled', () => {
  const world = new World({ apps: [app('web', { workers: 1 })] }).start().allReady();
  world.after(30_000);
  const { observed, apps, target } = world.master.capacity(3_600_000);
  assert.ok(observed.points > 5, `only ${observed.points} points`);
  assert.deepEqual([apps.map(({ name }) => name), target], [['web'], 0.7]);
});
