import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import type { AppSpec } from '../../src/core/spec.ts';
import { all, has, mb, scaled } from '../helpers/measured.ts';
import { app, World, type SpecParts } from '../helpers/world.ts';

/** 1000 MB may be used, and half of it is the budget. */
function up(parts: Partial<AppSpec> | readonly AppSpec[], more: Partial<SpecParts> = {}): World {
  const apps = Array.isArray(parts) ? (parts as AppSpec[]) : [app('web', parts as Partial<AppSpec>)];
  const it = new World({ apps, memoryBudget: { kind: 'share', share: 0.5 }, ...more });
  it.usable = { ...it.usable, memoryBytes: 1000 * mb };
  it.memoryUtilisation = 0.3;
  return it.start().allReady();
}

/** These have so much, for so many samples of 2 s. */
function have(it: World, sizesMb: Readonly<Record<string, number>>, samples = 1): World {
  for (const [worker, size] of Object.entries(sizesMb)) has(it, worker, size * mb);
  for (let n = 0; n < samples; n++) it.after(2_000);
  return it;
}

function told(it: World) {
  return it.events.filter(({ type }) => type.startsWith('budget.')).map(({ type }) => type);
}

describe('the memory budget', () => {
  test('its levels are events with the arithmetic, and stand in the snapshot', () => {
    const it = up({ workers: 2 });
    have(it, { 'web.1': 100, 'web.2': 100 });
    assert.deepEqual(it.master.snapshot().budget, { budgetBytes: 500 * mb, usedBytes: 200 * mb, level: 'ok' });
    have(it, { 'web.1': 230, 'web.2': 230 }, 2);
    assert.deepEqual(told(it), [], 'a moment is none');
    have(it, {});
    assert.deepEqual(told(it), ['budget.near']);
    const [near] = it.eventsOf('budget.near');
    assert.deepEqual([near?.usedBytes, near?.budgetBytes], [460 * mb, 500 * mb]);
    assert.match(
      near?.message ?? '',
      /near its limit: workers have 460MB of a budget of 500MB \(92%\).*no worker is added/,
    );
    assert.equal(it.master.snapshot().budget.level, 'near');
    have(it, { 'web.1': 100, 'web.2': 100 }, 3);
    assert.deepEqual(told(it), ['budget.near', 'budget.ok']);
    assert.deepEqual(it.names(), ['web.1', 'web.2']);
  });

  test('over: whoever has grown most is replaced, the new one first, one at a time over all apps', () => {
    const it = up([app('api', { workers: 2 }), app('web', { workers: 2 })]);
    have(it, { 'api.1': 100, 'api.2': 100, 'web.1': 50, 'web.2': 50 });
    have(it, { 'api.1': 120, 'api.2': 120, 'web.1': 100, 'web.2': 180 }, 5);
    assert.deepEqual(told(it), ['budget.over']);
    assert.deepEqual(it.names(), ['api.1', 'api.2', 'web.1', 'web.2', 'web.3']);
    const [over] = it.eventsOf('worker.over_budget');
    assert.deepEqual([over?.worker, over?.action, it.eventsOf('worker.over_budget').length], ['web.2', 'replace', 1]);
    assert.match(over?.reason ?? '', /520MB of a budget of 500MB.*180MB - 50MB when it became ready = 130MB to gain/);
    assert.match(it.master.snapshot().apps[1]?.workers[1]?.reason ?? '', /^is to be replaced: workers have 520MB/);
    assert.deepEqual(it.worker('web', 1).effects, [], 'it serves until its successor does');
    have(it, { 'web.3': 50 }, 10);
    assert.equal(it.eventsOf('worker.over_budget').length, 1, 'nobody else meanwhile');
    it.allReady().asked();
    assert.deepEqual(it.names(), ['api.1', 'api.2', 'web.1', 'web.3']);
    assert.deepEqual(
      it.eventsOf('worker.exited').map(({ worker, cause }) => [worker, cause]),
      [['web.2', 'memory-budget']],
    );
    const why = it.master.why({ app: 'web', worker: 'web.2' }, 1).records[0];
    assert.deepEqual(
      [why?.cause, why?.reason, why?.next],
      ['memory-budget', over?.reason, { type: 'stopped', by: 'web.3' }],
    );
    have(it, {}, 10);
    assert.deepEqual([told(it), it.eventsOf('worker.over_budget').length], [['budget.over', 'budget.ok'], 1]);
  });

  test('the only worker is replaced by another one, and never gone', () => {
    const it = up({ workers: 1 });
    have(it, { 'web.1': 100 });
    have(it, { 'web.1': 510 }, 5);
    assert.deepEqual([it.names(), it.worker('web', 0).effects], [['web.1', 'web.2'], []]);
    it.worker('web', 1).becomesReady();
    assert.deepEqual(it.worker('web', 0).effects, ['SIGTERM']);
  });

  test('auto: where nobody has grown one fewer is left, and so on, but one', () => {
    const it = new World({
      apps: [app('web', { staffing: { kind: 'auto' } })],
      memoryBudget: { kind: 'bytes', bytes: 300 * mb },
    });
    it.usable = { ...it.usable, cpus: 3, memoryBytes: 1000 * mb };
    it.memoryUtilisation = 0.3;
    it.start();
    has(it, 'web.1', 90 * mb);
    it.allReady();
    assert.equal(it.names().length, 3);
    it.allReady();
    have(it, { 'web.1': 100, 'web.2': 100, 'web.3': 100 });
    have(it, { 'web.1': 110, 'web.2': 110, 'web.3': 110 }, 6);
    it.asked();
    assert.deepEqual(it.names(), ['web.1', 'web.2']);
    assert.match(
      it.eventsOf('app.scaled').at(-1)?.reason ?? '',
      /330MB of a budget of 300MB.*no worker has grown.*: one worker fewer$/,
    );
    have(it, { 'web.1': 310, 'web.2': 310 }, 4);
    for (let n = 0; n < 200; n++) {
      for (const { name } of it.live()) has(it, name, 310 * mb);
      it.after(2_000).allReady().asked();
    }
    assert.deepEqual([it.names().length, it.master.snapshot().apps[0]?.goal], [1, 1]);
  });

  test('of a fixed number nobody is taken away, nor of one that was set by hand, nor in a dry run: it is said, once', () => {
    const kinds: readonly Partial<AppSpec>[] = [{}, { staffing: scaled }, { staffing: { ...scaled, dryRun: true } }];
    for (const kind of kinds) {
      const it = up({ workers: 2, ...kind });
      it.handle({ type: 'scale', app: 'web', change: { to: 3 } });
      it.allReady();
      have(it, { 'web.1': 200, 'web.2': 200, 'web.3': 200 }, 100);
      assert.equal(it.names().length, 3);
      assert.equal(it.eventsOf('master.warning').length, 1);
      assert.match(
        it.eventsOf('master.warning')[0]?.message ?? '',
        /none may be taken away: allow more memory, or fewer workers/,
      );
    }
  });

  test('near: neither auto nor scaling adds a worker', () => {
    const apps = [app('web', { staffing: scaled }), app('api', { staffing: { kind: 'auto' } })];
    const it = new World({ apps, memoryBudget: { kind: 'bytes', bytes: 500 * mb } });
    it.usable = { ...it.usable, cpus: 4, memoryBytes: 10_000 * mb };
    it.memoryUtilisation = 0.3;
    it.start();
    have(it, { 'api.1': 300, 'web.1': 10 });
    it.allReady();
    assert.equal(it.master.snapshot().apps[1]?.goal, 1, 'a second one does not fit');
    have(it, { 'web.1': 150 });
    all(it, 230 * mb, 200, 100);
    assert.deepEqual([told(it), it.names()], [['budget.near'], ['web.1', 'api.1']]);
  });

  test('a worker that is replaced by a reload anyway is not chosen, and an app that goes is left alone', () => {
    const it = up({ workers: 2, reload: { maxSurge: 1, maxUnavailable: 0, canaryMs: 600_000 } });
    have(it, { 'web.1': 100, 'web.2': 100 });
    it.handle({ type: 'reload', spec: null, apps: null });
    have(it, { 'web.1': 300, 'web.2': 300, 'web.3': 100 }, 20);
    assert.equal(it.eventsOf('worker.over_budget').length, 0);
    it.handle({ type: 'stop', how: 'graceful' });
    have(it, {}, 5);
    assert.equal(it.eventsOf('worker.over_budget').length, 0);
  });
});
