import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import type { AppSpec, Spec } from '../../src/core/spec.ts';
import { all, has, mb, scaled } from '../helpers/measured.ts';
import { app, tcp, World } from '../helpers/world.ts';

const auto: Partial<AppSpec> = { workers: 1, staffing: { kind: 'auto' } };

/** A master on a machine with so many CPUs and so much memory; 80 % of it is the budget. */
function on(machine: { readonly cpus: number; readonly memoryMb: number }, ...apps: readonly AppSpec[]): World {
  const it = new World({ apps });
  const { cpus, memoryMb } = machine;
  it.usable = {
    cpus,
    cpuSource: `${cpus} CPUs online`,
    memoryBytes: memoryMb * mb,
    memorySource: 'memory of the host',
  };
  it.memoryUtilisation = 0.1;
  return it.start();
}

/** web.1 of an app with `workers: auto` is ready, and has so much. */
function measured(it: World, memoryMb: number): World {
  has(it, 'web.1', memoryMb * mb);
  it.worker('web', 0).becomesReady();
  return it;
}

function scalings(it: World) {
  return it.eventsOf('app.scaled').map(({ from, to, reason }) => [from, to, reason]);
}

function web(it: World) {
  return it.master.snapshot().apps.find(({ name }) => name === 'web')!;
}

function reload(it: World, parts: Partial<AppSpec>, more: { changedOnly?: boolean } = { changedOnly: true }) {
  const spec: Spec = { ...it.spec, apps: it.spec.apps.map((one) => (one.name === 'web' ? { ...one, ...parts } : one)) };
  return it.handle({ type: 'reload', spec, apps: null, ...more });
}

describe('workers: auto', () => {
  test('one starts, is measured when it is ready, then the others follow; until they are ready the start is not over', () => {
    const it = on({ cpus: 3, memoryMb: 1000 }, app('web', auto));
    it.after(1_500);
    assert.deepEqual(it.names(), ['web.1']);
    assert.equal(it.sampled.length, 0);
    measured(it, 80);
    assert.equal(it.sampled.length, 1, 'it is not the next time that is waited for');
    assert.deepEqual(it.names(), ['web.1', 'web.2', 'web.3']);
    const reason = '3 workers: min(3 CPUs (3 CPUs online), 800MB budget / 80MB each = 10)';
    assert.deepEqual(scalings(it), [[1, 3, reason]]);
    assert.deepEqual(web(it).staffing, { kind: 'auto', min: 1, max: null, reason });
    assert.deepEqual([it.appState('web'), it.timeline('master')], ['starting', ['starting']]);
    it.worker('web', 1).becomesReady();
    assert.deepEqual([it.appState('web'), it.timeline('master')], ['starting', ['starting']]);
    it.worker('web', 2).becomesReady();
    assert.deepEqual(
      [it.timeline('web'), it.timeline('master')],
      [
        ['starting', 'running'],
        ['starting', 'running'],
      ],
    );
    it.worker('web', 2).exits(1);
    it.worker('web', 2).exits(1);
    assert.equal(it.appState('web'), 'degraded', 'once it has started it is as any other');
  });

  test('no more than fit the budget', () => {
    const it = measured(on({ cpus: 4, memoryMb: 300 }, app('web', auto)), 80);
    assert.deepEqual(scalings(it), [[1, 3, '3 workers: min(4 CPUs (4 CPUs online), 240MB budget / 80MB each = 3)']]);
    assert.deepEqual(it.names(), ['web.1', 'web.2', 'web.3']);
  });

  test('never below one, and the arithmetic is told though nothing changes', () => {
    const it = measured(on({ cpus: 4, memoryMb: 100 }, app('web', auto)), 90);
    const reason = '1 worker: min(4 CPUs (4 CPUs online), 80MB budget / 90MB each = 0), but never fewer than 1';
    assert.deepEqual(scalings(it), [[1, 1, reason]]);
    assert.deepEqual([it.names(), it.timeline('master').at(-1)], [['web.1'], 'running']);
  });

  test('a sample that was begun before it was ready does not count: another one is taken', () => {
    const it = on({ cpus: 4, memoryMb: 300 }, app('web', auto));
    it.slowSamples = [];
    it.after(2_000);
    has(it, 'web.1', mb);
    it.after(1).worker('web', 0).becomesReady();
    assert.equal(it.slowSamples.length, 1, 'two at once');
    it.slowSamples.shift()?.();
    assert.deepEqual(it.names(), ['web.1'], 'it was not ready when that was begun');
    has(it, 'web.1', 120 * mb);
    it.slowSamples.shift()?.();
    assert.deepEqual(it.names(), ['web.1', 'web.2']);
  });

  test('what others have, and will have, is not there for it', () => {
    const it = on({ cpus: 8, memoryMb: 1000 }, app('cache', { workers: 4 }), app('web', auto));
    it.worker('cache', 0).becomesReady();
    has(it, 'cache.1', 100 * mb);
    it.after(2_000);
    measured(it, 100);
    assert.equal(web(it).goal, 4);
    assert.match(web(it).staffing.reason ?? '', /\(800MB budget - 400MB of others\) \/ 100MB each = 4/);
  });

  test('nor what other programs need beyond the part that the budget leaves to them', () => {
    const it = on({ cpus: 8, memoryMb: 1000 }, app('web', auto));
    it.memoryUtilisation = 0.6;
    measured(it, 100);
    // 600 MB are in use: 100 of its own, and 500 elsewhere, of which 100 lie between the budget and 90 %.
    assert.match(web(it).staffing.reason ?? '', /\(800MB budget - 400MB of others\) \/ 100MB each = 4/);
  });

  test('one of which nothing is known holds up the others for three samples', () => {
    const it = on({ cpus: 2, memoryMb: 300 }, app('web', auto));
    it.worker('web', 0).becomesReady();
    it.after(5_999);
    assert.deepEqual(it.names(), ['web.1']);
    it.after(1);
    assert.deepEqual(it.names(), ['web.1', 'web.2']);
    assert.deepEqual(scalings(it), [[1, 2, '2 workers: 2 CPUs (2 CPUs online)']]);
  });

  test('one that does its work before it is ready holds up nobody', () => {
    const it = on({ cpus: 2, memoryMb: 300 }, app('web', { ...auto, restart: 'on-failure' }));
    it.worker('web', 0).exits(0);
    assert.deepEqual(it.names(), ['web.2']);
    it.expectNotEnded();
    it.after(1).worker('web', 1).exits(0);
    it.expectEnded(0);
  });

  test('one that crashes first is measured when it is ready again', () => {
    const it = on({ cpus: 2, memoryMb: 300 }, app('web', auto));
    it.worker('web', 0).exits(1);
    it.after(10_000);
    assert.deepEqual(it.names(), ['web.1']);
    measured(it, 10);
    assert.deepEqual(it.names(), ['web.1', 'web.2']);
  });

  test('apps that depend on it start when all that fit are ready', () => {
    const it = on({ cpus: 2, memoryMb: 300 }, app('web', auto), app('job', { dependsOn: ['web'] }));
    measured(it, 10);
    assert.deepEqual(it.names(), ['web.1', 'web.2']);
    it.worker('web', 1).becomesReady();
    assert.deepEqual(it.names(), ['web.1', 'web.2', 'job.1']);
  });

  test('grows when there has been room for a minute', () => {
    const it = measured(on({ cpus: 4, memoryMb: 300 }, app('web', auto)), 100).allReady();
    all(it, 100 * mb, 1, 10);
    assert.equal(web(it).goal, 2);
    it.usable = { ...it.usable, memoryBytes: 1000 * mb };
    all(it, 100 * mb, 1, 29);
    assert.equal(web(it).goal, 2);
    all(it, 100 * mb, 1, 5);
    assert.equal(web(it).goal, 4);
    assert.match(scalings(it).at(-1)?.join() ?? '', /^2,4,4 workers: min\(4 CPUs.*800MB budget \/ 100MB each = 8\)$/);
    assert.deepEqual(it.names(), ['web.1', 'web.2', 'web.3', 'web.4']);
  });

  test('does not grow while nobody is ready: then nothing is known', () => {
    const it = measured(on({ cpus: 4, memoryMb: 300 }, app('web', auto)), 100).allReady();
    it.after(2_000);
    for (const slot of [0, 1]) it.worker('web', slot).exits(1);
    it.after(120_000);
    assert.equal(web(it).goal, 2);
  });
});

describe('by hand', () => {
  const byHand = /^scaled to 3 by hand, until `workers` in the config changes or the master starts again$/;

  test('suspends auto, and status says so; a reload of the same config does not end it, another `workers` does', () => {
    const it = measured(on({ cpus: 2, memoryMb: 10_000 }, app('web', auto)), 10).allReady();
    it.handle({ type: 'scale', app: 'web', change: { to: 3 } });
    assert.match(web(it).staffing.reason ?? '', byHand);
    all(it, 10 * mb, 1, 400);
    assert.equal(web(it).goal, 3);
    reload(it, {}, {});
    for (let n = 0; n < 20; n++) all(it, 10 * mb, 1, 1).asked();
    assert.deepEqual([web(it).goal, web(it).revision, web(it).workers.length], [3, 2, 3]);
    assert.match(web(it).staffing.reason ?? '', byHand);
    reload(it, { workers: 2, staffing: { kind: 'fixed' } });
    assert.deepEqual([web(it).goal, web(it).staffing.reason], [2, null]);
  });

  test('suspends scaling', () => {
    const it = on({ cpus: 4, memoryMb: 10_000 }, app('web', { staffing: scaled })).allReady();
    it.handle({ type: 'scale', app: 'web', change: { to: 3 } });
    all(it, 10 * mb, 300, 30);
    assert.equal(web(it).goal, 3);
    assert.match(web(it).staffing.reason ?? '', byHand);
  });

  test('while the first worker is being measured: the number is known then', () => {
    const it = on({ cpus: 4, memoryMb: 300 }, app('web', auto));
    it.handle({ type: 'scale', app: 'web', change: { to: 2 } });
    assert.deepEqual(it.names(), ['web.1', 'web.2']);
    has(it, 'web.1', 10 * mb);
    it.allReady();
    assert.deepEqual([it.names(), it.timeline('master').at(-1)], [['web.1', 'web.2'], 'running']);
  });
});

describe('another `workers` in the config', () => {
  test('fixed, auto, scaled, fixed: whoever runs stays', () => {
    const it = on({ cpus: 4, memoryMb: 10_000 }, app('web', { workers: 2 })).allReady();
    all(it, 10 * mb, 1, 2);
    const first = reload(it, auto);
    it.allReady();
    assert.deepEqual(it.names(), ['web.1', 'web.2', 'web.3', 'web.4']);
    assert.equal(it.finished(first)?.ok, true);
    assert.equal(it.appState('web'), 'running');
    reload(it, { workers: 1, staffing: { ...scaled, max: 3 } });
    it.asked();
    assert.deepEqual([it.names(), web(it).staffing.min, web(it).staffing.max], [['web.1', 'web.2', 'web.3'], 1, 3]);
    reload(it, { workers: 1, staffing: { kind: 'fixed' } });
    it.asked();
    assert.deepEqual(it.names(), ['web.1']);
    assert.equal(it.eventsOf('rollout.started').length, 0);
  });

  test('auto, where nobody was measured yet: they stay, and are counted at the next sample', () => {
    const it = on({ cpus: 2, memoryMb: 10_000 }, app('web', { workers: 4 })).allReady();
    const reply = reload(it, auto);
    assert.equal(it.finished(reply), null, 'the number is not known yet');
    assert.equal(it.names().length, 4);
    all(it, 10 * mb, 1, 1);
    it.asked();
    assert.deepEqual([it.names(), it.finished(reply)?.ok], [['web.1', 'web.2'], true]);
  });

  test('auto, where nobody ever gets ready: the reload is not held up', () => {
    const it = on({ cpus: 2, memoryMb: 10_000 }, app('web', { workers: 1 })).allReady();
    it.worker('web', 0).exits(1);
    it.worker('web', 0).exits(1);
    const reply = reload(it, auto);
    it.after(1_000);
    assert.equal(it.finished(reply)?.ok, true);
  });

  test('a failed rollout gives back what was there', () => {
    const it = measured(on({ cpus: 2, memoryMb: 10_000 }, app('web', auto)), 10).allReady();
    const before = web(it).staffing;
    reload(it, { workers: 5, staffing: { kind: 'fixed' } }, {});
    it.worker('web', 2).exits(1);
    it.allReady().asked();
    assert.deepEqual([web(it).goal, web(it).staffing, it.places('web')], [2, before, ['0 r1', '1 r1']]);
    it.handle({ type: 'scale', app: 'web', change: { to: 3 } });
    it.allReady();
    reload(it, { workers: 1, staffing: scaled }, {});
    it.worker('web', 3).exits(1);
    it.allReady().asked();
    assert.equal(web(it).goal, 3);
    assert.match(web(it).staffing.reason ?? '', /^scaled to 3 by hand/);
  });

  test('while a rollout is under way: the rollback keeps it', () => {
    const it = on({ cpus: 2, memoryMb: 10_000 }, app('web', { workers: 1 })).allReady();
    reload(it, {}, {});
    it.after(1_000);
    reload(it, { workers: 3, staffing: { ...scaled, min: 3 } });
    it.live()
      .find(({ launch }) => launch?.pinned.revision === 2)
      ?.exits(1);
    it.allReady().asked();
    assert.deepEqual([web(it).goal, web(it).staffing.kind], [3, 'scaled']);
  });

  test('a new revision is measured anew when it has taken over', () => {
    const it = measured(on({ cpus: 4, memoryMb: 300 }, app('web', auto)), 60).allReady();
    assert.equal(web(it).goal, 4);
    reload(it, {}, {});
    for (let n = 0; n < 20; n++) all(it, 100 * mb, 1, 1).asked();
    assert.deepEqual([web(it).goal, web(it).revision], [2, 2]);
    assert.deepEqual(
      scalings(it).at(-1)?.slice(0, 2),
      [4, 2],
      'not one by one, because the budget is used up meanwhile',
    );
    assert.equal(it.eventsOf('rollout.succeeded').length, 1);
  });
});

test('a reload to auto: the number is worked out when the rollout is over, not at the next time to sample', () => {
  const it = new World({ sampleEveryMs: 60_000, apps: [app('web', { workers: 2 })] }).start().allReady();
  it.usable = { ...it.usable, cpus: 3, memoryBytes: 1000 * mb };
  reload(it, { ...auto, reload: { maxSurge: 1, maxUnavailable: 0, canaryMs: 1_000 } }, {});
  for (const name of ['web.3', 'web.4']) {
    has(it, name, 80 * mb);
    it.allReady().asked().after(1_100).asked();
  }
  it.after(5_000);
  assert.deepEqual([web(it).goal, it.eventsOf('rollout.succeeded').length], [3, 1]);
});

test('auto decides nothing while a rollout is under way', () => {
  const it = measured(on({ cpus: 4, memoryMb: 300 }, app('web', auto)), 100).allReady();
  reload(it, { reload: { maxSurge: 1, maxUnavailable: 0, canaryMs: 600_000 } }, {});
  it.usable = { ...it.usable, memoryBytes: 1000 * mb };
  all(it, 100 * mb, 1, 100);
  assert.equal(web(it).goal, 2);
});

describe('scaled', () => {
  test('up by its load, down again when that has been low for long enough, never beyond its bounds', () => {
    const it = on(
      { cpus: 4, memoryMb: 10_000 },
      app('web', { workers: 2, staffing: { ...scaled, min: 2 } }),
    ).allReady();
    all(it, 10 * mb, 140, 10);
    assert.deepEqual([web(it).goal, web(it).ready], [4, 4]);
    assert.equal(scalings(it)[0]?.slice(0, 2).join(), '2,4');
    assert.match(web(it).staffing.reason ?? '', /^CPU 140% per worker, target 70%: 2 x 2 = 4$/);
    for (let n = 0; n < 140; n++) all(it, 10 * mb, 0, 1).asked();
    assert.equal(web(it).goal, 4, 'for five minutes it stays');
    for (let n = 0; n < 20; n++) all(it, 10 * mb, 0, 1).asked();
    assert.equal(web(it).goal, 2);
  });

  test('by what waits to be accepted', () => {
    const it = on({ cpus: 4, memoryMb: 10_000 }, app('web', { listen: [tcp(8000)], staffing: scaled })).allReady();
    it.queues.set('web.1', 6);
    all(it, 10 * mb, 10, 20);
    assert.equal(web(it).goal > 1, true);
    assert.match(scalings(it)[0]?.[2] as string, /queue 6 per worker, target 2, at most twice as many: 1 x 2 = 2/);
  });

  test('a dry run changes nothing, and says once what it would do', () => {
    const it = on({ cpus: 4, memoryMb: 10_000 }, app('web', { staffing: { ...scaled, dryRun: true } })).allReady();
    all(it, 10 * mb, 140, 40);
    assert.deepEqual([it.names(), scalings(it)], [['web.1'], []]);
    assert.deepEqual(
      it.eventsOf('app.would_scale').map(({ from, to, reason }) => [from, to, /CPU 140%/.test(reason ?? '')]),
      [[1, 2, true]],
    );
    assert.match(web(it).staffing.reason ?? '', /CPU 140%/);
  });

  test('nothing without a sample, nothing in a rollout, nothing while it stops', () => {
    const it = on({ cpus: 4, memoryMb: 10_000 }, app('web', { staffing: scaled })).allReady();
    it.after(60_000);
    assert.equal(web(it).goal, 1);
    reload(it, { reload: { maxSurge: 1, maxUnavailable: 0, canaryMs: 600_000 } }, {});
    all(it, 10 * mb, 300, 100);
    assert.equal(web(it).goal, 1);
    it.handle({ type: 'stop', how: 'graceful' });
    for (let n = 0; n < 10; n++) it.after(2_000);
    assert.deepEqual(scalings(it), []);
  });
});
