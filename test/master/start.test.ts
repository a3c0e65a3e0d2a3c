import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { SuperviseError } from '../../src/core/errors.ts';
import type { AppSpec } from '../../src/core/spec.ts';
import { app, hook, tcp, World } from '../helpers/world.ts';

function world(...apps: readonly AppSpec[]): World {
  return new World({ apps }).start();
}

describe('a start', () => {
  test('is over when every worker of every app is ready', () => {
    const it = world(app('cache'), app('web', { workers: 2 }));
    assert.deepEqual(it.names(), ['cache.1', 'web.1', 'web.2'], 'started in the order of the config');
    it.worker('web', 0).becomesReady();
    it.worker('web', 1).becomesReady();
    assert.deepEqual(it.timeline('master'), ['starting']);
    it.worker('cache', 0).becomesReady();
    assert.deepEqual(it.timeline('master'), ['starting', 'running']);
  });

  test('slots are 0 to N - 1, ids count from 1, the revision is 1', () => {
    const it = world(app('web', { workers: 3 }));
    assert.deepEqual(
      it.live().map(({ launch }) => [launch?.worker, launch?.slot, launch?.pinned.revision]),
      [
        ['web.1', 0, 1],
        ['web.2', 1, 1],
        ['web.3', 2, 1],
      ],
    );
  });

  test('an app without workers is running', () => {
    const it = world(app('web', { workers: 0 }));
    assert.deepEqual([it.appState('web'), it.timeline('master').at(-1)], ['running', 'running']);
  });

  test('a socket that cannot be bound: nothing was started, no hook ran', () => {
    const it = new World({ hooks: { pre_start: [hook('migrate')] }, apps: [app('web', { listen: [tcp(8000)] })] });
    it.bindError = new SuperviseError('socket-in-use', '127.0.0.1:8000 is in use by pid 7');
    assert.throws(() => it.start(), { code: 'socket-in-use' });
    assert.deepEqual(it.processes, []);
    assert.equal(it.clock.pending, 0);
  });

  test('a program that cannot be found: no worker of any app starts, exit 1', () => {
    const it = new World({ apps: [app('cache'), app('web')] });
    it.pinErrorFor = 'web';
    it.start();
    it.expectEnded(1);
    assert.equal(it.ended?.error?.code, 'program-cannot-run');
    assert.deepEqual(it.processes, []);
  });

  test('commands that need workers are refused before they are there, and a reload until the master runs', () => {
    const it = new World({ hooks: { pre_start: [hook('migrate')] }, apps: [app('web', { workers: 2 })] }).start();
    const refused = (reply: ReturnType<World['handle']>) => (reply.ok ? 'done' : reply.error.code);
    assert.equal(refused(it.handle({ type: 'scale', app: 'web', change: { to: 4 } })), 'operation-failed');
    it.hook('migrate').exits(0);
    assert.equal(refused(it.handle({ type: 'reload', spec: null, apps: null })), 'operation-failed');
    assert.equal(refused(it.handle({ type: 'scale', app: 'web', change: { to: 3 } })), 'done');
    assert.deepEqual(it.names(), ['web.1', 'web.2', 'web.3']);
  });
});

describe('first failure is loud', () => {
  test('start_attempts counts over the whole app', () => {
    const it = world(app('web', { workers: 8, startAttempts: 3 }));
    it.worker('web', 0).exits(1);
    it.worker('web', 5).exits(1);
    it.expectNotEnded();
    it.worker('web', 3).exits(1, { lastLines: ['ImportError'] });
    it.asked();
    it.expectEnded(1);
    assert.equal(it.ended?.error?.code, 'app-never-ready');
    assert.deepEqual(it.ended?.error?.lastLines, ['ImportError']);
    assert.match(it.ended?.error?.message ?? '', /web: no worker became ready in 3 attempts.*web\.4.*exit code 1/);
    assert.match(it.ended?.error?.hint ?? '', /\/bin\/server.*\/srv.*user.*PATH/);
  });

  test('a boot that takes too long counts', () => {
    const it = world(app('web', { startAttempts: 2, readyTimeoutMs: 60_000 }));
    it.after(60_000).asked().after(500);
    it.expectNotEnded();
    it.after(60_000).asked();
    it.expectEnded(1);
    assert.match(it.ended?.error?.message ?? '', /not ready within ready_timeout/);
  });

  test('a script that never listens is told what to write', () => {
    const it = world(app('worker', { kind: 'script', startAttempts: 1 }));
    it.after(60_000).asked();
    it.expectEnded(1);
    assert.match(it.ended?.error?.hint ?? '', /never listened.*ready: spawned/);
  });

  test('a quick exit 0 is a failed boot', () => {
    const it = world(app('web', { startAttempts: 2 }));
    it.worker('web', 0).exits(0);
    it.after(500).worker('web', 0).exits(0);
    it.expectEnded(1);
  });

  test('a program that cannot be executed ends it at once', () => {
    const it = world(app('web', { workers: 2, startAttempts: 3 }));
    it.worker('web', 0).exits(null, { error: 'uvicorn: permission denied' });
    it.asked();
    it.expectEnded(1);
    assert.equal(it.ended?.error?.code, 'program-cannot-run');
    assert.match(it.ended?.error?.message ?? '', /permission denied/);
  });

  test('a host without processes or descriptors left is a failed boot, tried again up to start_attempts', () => {
    const it = world(app('web', { startAttempts: 3 }));
    for (const attempt of [1, 2]) {
      it.worker('web', 0).exits(null, { error: 'no more processes are allowed', transient: true });
      it.asked();
      assert.equal(it.ended, null, `attempt ${attempt}`);
      it.after(2_000);
    }
    it.worker('web', 0).exits(null, { error: 'no more processes are allowed', transient: true });
    it.asked();
    it.expectEnded(1);
    assert.equal(it.ended?.error?.code, 'app-never-ready');
    assert.match(it.ended?.error?.message ?? '', /in 3 attempts.*no more processes are allowed/);
  });

  test('and one that has them again by then serves', () => {
    const it = world(app('web', { startAttempts: 2 }));
    it.worker('web', 0).exits(null, { error: 'no more processes are allowed', transient: true });
    it.after(2_000).worker('web', 0).becomesReady();
    assert.equal(it.ended, null);
  });

  test('also with restart: never', () => {
    const it = world(app('cache'), app('job', { restart: 'never' }));
    it.worker('job', 0).exits(null, { error: 'job: no such file' });
    it.asked();
    it.expectEnded(1);
    assert.equal(it.ended?.error?.code, 'program-cannot-run');
  });

  test('one app that never gets ready ends all, in reverse order', () => {
    const it = world(app('cache'), app('web', { startAttempts: 1 }), app('mail'));
    it.worker('cache', 0).becomesReady();
    it.worker('web', 0).exits(1);
    assert.deepEqual(it.worker('mail', 0).effects, ['SIGTERM']);
    assert.deepEqual(it.worker('cache', 0).effects, []);
    it.asked();
    it.expectEnded(1);
  });

  test('a boot that an operator ended does not count', () => {
    const it = world(app('web', { startAttempts: 2 }));
    it.worker('web', 0).exits(1);
    it.after(500).handle({ type: 'restart', target: { app: 'web', worker: null } });
    it.asked();
    it.expectNotEnded();
    it.handle({ type: 'signal', target: { app: 'web', worker: null }, signal: 'SIGKILL' });
    it.worker('web', 0).dies('SIGKILL');
    it.expectNotEnded();
    it.worker('web', 0).exits(1);
    it.expectEnded(1);
  });

  test('one bad worker with healthy siblings: the start goes on, and is over', () => {
    const it = world(app('web', { workers: 3, startAttempts: 3 }));
    it.worker('web', 0).becomesReady();
    it.worker('web', 1).exits(1);
    it.worker('web', 2).becomesReady();
    assert.deepEqual(it.timeline('master'), ['starting', 'running']);
    for (let n = 0; n < 20; n++) {
      it.after(60_000).worker('web', 1).exits(1);
    }
    it.expectNotEnded();
    assert.deepEqual([it.appState('web'), it.timeline('web.2').at(-1)], ['degraded', 'failed']);
    assert.ok(
      it.workersOf('web').every((process) => process.effects.length === 0),
      'the siblings are left alone',
    );
  });

  test('an app that has served is never given up', () => {
    const it = world(app('web', { startAttempts: 1 }));
    it.worker('web', 0).becomesReady();
    for (let n = 0; n < 50; n++) {
      it.workersOf('web')[0]?.exits(1);
      it.after(60_000);
    }
    it.expectNotEnded();
    assert.equal(it.names().length, 1, 'and it is still tried');
  });
});

describe('restart policies', () => {
  test('all completed: the master exits 0', () => {
    const it = world(app('job', { workers: 2, restart: 'on-failure' }));
    it.worker('job', 0).exits(0);
    it.expectNotEnded();
    it.worker('job', 1).exits(0);
    it.expectEnded(0);
    assert.deepEqual(it.timeline('job').filter((state) => state === 'completed').length, 1);
  });

  test('one completed and one failed: exit 1, the failure and its last lines are told', () => {
    const it = world(app('job', { workers: 2, restart: 'never' }));
    it.worker('job', 0).becomesReady();
    it.worker('job', 0).exits(5, { lastLines: ['boom'] });
    it.worker('job', 1).exits(0);
    it.expectEnded(1);
    assert.match(it.ended?.error?.message ?? '', /job\.1.*exit code 5/);
    assert.deepEqual(it.ended?.error?.lastLines, ['boom']);
  });

  test('a lone job that fails in its first moment: exit 1 as a failed start, never running', () => {
    const it = world(app('job', { restart: 'never' }));
    it.worker('job', 0).exits(1, { lastLines: ['boom'] });
    it.expectEnded(1);
    assert.equal(it.ended?.error?.code, 'app-never-ready');
    assert.deepEqual(it.ended?.error?.lastLines, ['boom']);
    assert.ok(!it.timeline('master').includes('running'));
  });

  test('a job that failed does not hold up the start of the others, nor end them', () => {
    const it = world(app('web'), app('job', { restart: 'never' }));
    it.worker('web', 0).becomesReady();
    it.worker('job', 0).exits(1);
    assert.deepEqual([it.appState('job'), it.timeline('master').at(-1)], ['failed', 'running']);
    it.after(600_000);
    assert.deepEqual(it.names(), ['web.1'], 'no trials');
  });

  test('completed beside running: the master goes on', () => {
    const it = world(app('web'), app('job', { restart: 'on-failure' }));
    it.worker('job', 0).exits(0);
    it.worker('web', 0).becomesReady();
    assert.deepEqual([it.appState('job'), it.timeline('master').at(-1)], ['completed', 'running']);
    it.after(60_000);
    it.expectNotEnded();
  });

  test('a job that completes at once still runs the post_start hook and reaches running', () => {
    const it = new World({
      hooks: { post_start: [hook('notify', { phase: 'post_start' })] },
      apps: [app('job', { restart: 'never' })],
    }).start();
    it.worker('job', 0).exits(0);
    it.hook('notify').exits(0);
    it.after(1_000);
    it.expectEnded(0);
    assert.ok(it.timeline('master').includes('running'));
  });
});
