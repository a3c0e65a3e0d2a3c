import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import type { HookPhase, HookSpec } from '../../src/core/spec.ts';
import { app, hook, spec, tcp, World } from '../helpers/world.ts';

/** A world with these pre-start hooks and one app of two workers, started. */
function world(...hooks: readonly HookSpec[]): World {
  return new World({ hooks: { pre_start: hooks }, apps: [app('web', { workers: 2, listen: [tcp(8000)] })] }).start();
}

/** The states that a hook went through. */
function story(of: World, name: string): string[] {
  return of.events.flatMap((event) =>
    'hook' in event && event.hook === name ? [event.type.slice('hook.'.length)] : [],
  );
}

function result(of: World, name: string) {
  return of.master.snapshot().hooks.find((one) => one.name === name);
}

describe('pre-start hooks', () => {
  test('run in order, one process at a time, and no worker comes before the last has succeeded', () => {
    const it = world(hook('migrate'), hook('seed'));
    assert.deepEqual(it.names(), ['hook.migrate']);
    it.hook('migrate').exits(0);
    assert.deepEqual(it.names(), ['hook.seed']);
    it.hook('seed').exits(0);
    assert.deepEqual(it.names(), ['web.1', 'web.2']);
    assert.deepEqual(story(it, 'migrate'), ['running', 'succeeded']);
  });

  test('run once: not for a crash, a respawn, a scale-up, a restart or a reload', () => {
    const it = world(hook('migrate'));
    it.hook('migrate').exits(0);
    it.allReady();
    for (let n = 0; n < 20; n++) {
      it.workersOf('web')[0]?.exits(1);
      it.after(120_000).allReady();
    }
    it.handle({ type: 'scale', app: 'web', change: { to: 5 } });
    it.allReady();
    it.handle({ type: 'restart', target: { app: 'web', worker: null } });
    it.asked().allReady();
    const reply = it.handle({ type: 'reload', spec: null, apps: null });
    for (let n = 0; n < 20; n++) it.allReady().after(5_000).asked();
    assert.equal(it.finished(reply)?.ok, true);
    assert.deepEqual(it.processes.filter((process) => process.name.startsWith('hook')).length, 1);
  });

  test('that fail: no worker, exit 1, and the message says what was run', () => {
    const it = world(hook('migrate'), hook('seed'));
    it.hook('migrate').exits(3, { lastLines: ['no such table'] });
    it.expectEnded(1);
    assert.equal(it.ended?.error?.code, 'hook-failed');
    assert.match(it.ended?.error?.message ?? '', /pre_start hook migrate failed: exit code 3/);
    assert.match(it.ended?.error?.hint ?? '', /\/bin\/migrate.*\/srv/);
    assert.deepEqual(it.ended?.error?.lastLines, ['no such table']);
    assert.deepEqual(it.processes.length, 1);
    assert.equal(result(it, 'seed')?.state, 'pending');
  });

  test('that cannot be executed fail as one that exits badly does', () => {
    const it = world(hook('migrate'));
    it.hook('migrate').exits(null, { error: 'alembic: no such file' });
    it.expectEnded(1);
    assert.match(it.ended?.error?.message ?? '', /alembic: no such file/);
  });

  test('that are ended by a signal fail', () => {
    const it = world(hook('migrate'));
    it.hook('migrate').dies('SIGKILL');
    it.expectEnded(1);
    assert.deepEqual([result(it, 'migrate')?.exitCode, result(it, 'migrate')?.signal], [null, 'SIGKILL']);
  });

  test('the result is in the snapshot, with attempts, duration and code', () => {
    const it = world(hook('migrate'));
    assert.equal(result(it, 'migrate')?.state, 'running');
    it.after(812).hook('migrate').exits(0);
    assert.deepEqual(result(it, 'migrate'), {
      phase: 'pre_start',
      name: 'migrate',
      state: 'succeeded',
      attempts: 1,
      durationMs: 812,
      exitCode: 0,
      signal: null,
      reason: null,
    });
  });
});

describe('a timeout', () => {
  test('asks the tree to end, and kills it after a grace period, and again while something is left', () => {
    const it = world(hook('migrate', { timeoutMs: 60_000 }));
    it.after(59_999);
    assert.deepEqual(it.hook('migrate').effects, []);
    it.after(1);
    assert.deepEqual(it.hook('migrate').effects, ['SIGTERM']);
    it.after(5_000);
    assert.deepEqual(it.hook('migrate').effects, ['SIGTERM', 'SIGKILL']);
    it.after(5_000);
    assert.deepEqual(it.hook('migrate').effects, ['SIGTERM', 'SIGKILL', 'SIGKILL']);
    it.hook('migrate').dies('SIGKILL');
    it.expectEnded(1);
    assert.equal(result(it, 'migrate')?.state, 'timed-out');
    assert.match(it.ended?.error?.message ?? '', /not done within 1m/);
  });

  test('is a failure, though the hook then exits with 0', () => {
    const it = world(hook('migrate', { timeoutMs: 60_000, oncePer: 'v1' }));
    it.after(60_000).hook('migrate').exits(0);
    it.expectEnded(1);
    assert.deepEqual(it.recorded, []);
  });

  test('counts for each attempt', () => {
    const it = world(hook('migrate', { timeoutMs: 60_000, retries: 1 }));
    it.after(60_000).hook('migrate').dies('SIGTERM');
    it.after(5_000 + 59_999);
    assert.deepEqual(it.hook('migrate').effects, []);
    it.hook('migrate').exits(0);
    assert.deepEqual(it.names(), ['web.1', 'web.2']);
    assert.deepEqual(story(it, 'migrate'), ['running', 'timed-out', 'running', 'succeeded']);
  });
});

describe('retries', () => {
  test('each after retry_delay, and one success is enough', () => {
    const it = world(hook('migrate', { retries: 2, retryDelayMs: 3_000 }));
    it.hook('migrate').exits(1);
    it.after(2_999);
    assert.deepEqual(it.names(), []);
    it.after(1).hook('migrate').exits(1);
    it.after(3_000).hook('migrate').exits(0);
    assert.deepEqual(it.names(), ['web.1', 'web.2']);
    assert.equal(result(it, 'migrate')?.attempts, 3);
  });

  test('are not endless', () => {
    const it = world(hook('migrate', { retries: 2, retryDelayMs: 3_000 }));
    for (let n = 0; n < 3; n++) {
      it.after(3_000).hook('migrate').exits(1);
    }
    it.expectEnded(1);
    assert.match(it.ended?.error?.message ?? '', /failed after 3 attempts/);
  });
});

test('on_failure continue: the next hook runs, and the workers start', () => {
  const it = world(hook('warm', { onFailure: 'continue' }), hook('migrate'));
  it.hook('warm').exits(1);
  it.hook('migrate').exits(0);
  assert.deepEqual(it.names(), ['web.1', 'web.2']);
  assert.equal(result(it, 'warm')?.state, 'failed');
});

describe('once_per', () => {
  const migrate = hook('migrate', { oncePer: 'v42' });

  test('records a success under name and key, after exit 0 only', () => {
    const it = world(migrate);
    assert.deepEqual(it.recorded, []);
    it.hook('migrate').exits(0);
    assert.deepEqual(it.recorded, ['migrate v42']);
    const failed = world(migrate);
    failed.hook('migrate').exits(1);
    assert.deepEqual(failed.recorded, []);
  });

  test('skips a hook whose key has succeeded, and says when', () => {
    const it = new World({ hooks: { pre_start: [migrate, hook('seed')] }, apps: [app('web')] });
    it.succeeded.set('migrate v42', '2025-12-31T00:00:00.000Z');
    it.start();
    assert.deepEqual(it.names(), ['hook.seed']);
    assert.deepEqual(
      [result(it, 'migrate')?.state, result(it, 'migrate')?.reason],
      ['skipped', 'succeeded for v42 at 2025-12-31T00:00:00.000Z'],
    );
  });

  test('an empty key means: always, and nothing is recorded', () => {
    const it = world(hook('migrate'));
    it.hook('migrate').exits(0);
    assert.deepEqual(it.recorded, []);
  });
});

describe('the hooks lock', () => {
  function waiting(hooks: readonly HookSpec[] = [hook('migrate', { oncePer: 'v42' })]): World {
    const it = new World({ hooks: { pre_start: hooks }, apps: [app('web')] });
    it.hookLockHolder = 'pid 77';
    return it.start();
  }

  test('is waited for, and it is said for whom', () => {
    const it = waiting();
    assert.deepEqual(it.names(), []);
    assert.match(result(it, 'migrate')?.reason ?? '', /pid 77/);
    it.releaseHooksLock();
    assert.deepEqual(it.names(), ['hook.migrate']);
  });

  test('what the other one has done meanwhile is not done again', () => {
    const it = waiting();
    it.succeeded.set('migrate v42', '2025-12-31T00:00:00.000Z');
    it.releaseHooksLock();
    assert.deepEqual(it.names(), ['web.1']);
  });

  test('a stop while waiting ends it, and the lock does not start anything later', () => {
    const it = waiting();
    it.handle({ type: 'stop', how: 'graceful' });
    it.expectEnded(0);
    it.releaseHooksLock();
    assert.deepEqual(it.processes, []);
  });

  test('is held while hooks run, and given up before the workers start', () => {
    const it = world(hook('migrate'), hook('seed'));
    assert.equal(it.hookLockHeld, true);
    it.hook('migrate').exits(0);
    assert.equal(it.hookLockHeld, true);
    it.hook('seed').exits(0);
    assert.equal(it.hookLockHeld, false);
    const failed = world(hook('migrate'));
    failed.hook('migrate').exits(1);
    assert.equal(failed.hookLockHeld, false);
  });

  test('is not needed without hooks', () => {
    const it = new World({ apps: [app('web')] });
    it.hookLockHolder = 'pid 77';
    assert.deepEqual(it.start().names(), ['web.1']);
  });
});

describe('a stop during a hook', () => {
  test('TERM ends its tree, nothing starts, exit 0', () => {
    const it = world(hook('migrate', { retries: 3 }), hook('seed'));
    const reply = it.handle({ type: 'stop', how: 'graceful' });
    assert.deepEqual(it.hook('migrate').effects, ['SIGTERM']);
    it.expectNotEnded();
    it.hook('migrate').dies('SIGTERM');
    it.expectEnded(0);
    assert.equal(it.finished(reply)?.ok, true);
    assert.deepEqual(it.processes.length, 1);
    assert.equal(result(it, 'migrate')?.state, 'cancelled');
  });

  test('a second TERM kills it at once, and again while something is left', () => {
    const it = world(hook('migrate'));
    it.handle({ type: 'stop', how: 'graceful' });
    it.handle({ type: 'stop', how: 'now' });
    assert.deepEqual(it.hook('migrate').effects, ['SIGTERM', 'SIGKILL']);
    it.after(5_000);
    assert.deepEqual(it.hook('migrate').effects, ['SIGTERM', 'SIGKILL', 'SIGKILL']);
    it.hook('migrate').dies('SIGKILL');
    it.expectEnded(0);
  });

  test('a hook that does not end by itself is killed', () => {
    const it = world(hook('migrate'));
    it.handle({ type: 'stop', how: 'graceful' });
    it.after(5_000);
    assert.deepEqual(it.hook('migrate').effects, ['SIGTERM', 'SIGKILL']);
  });

  test('one that is being ended because of its timeout is not tried again', () => {
    const it = world(hook('migrate', { timeoutMs: 1_000, retries: 3 }));
    it.after(1_000).handle({ type: 'stop', how: 'graceful' });
    it.hook('migrate').dies('SIGTERM');
    it.expectEnded(0);
  });

  test('between two attempts: it ends at once', () => {
    const it = world(hook('migrate', { retries: 3 }));
    it.hook('migrate').exits(1);
    it.handle({ type: 'stop', how: 'graceful' });
    it.expectEnded(0);
  });

  test('exit 0 of a hook that was asked to end is not a success', () => {
    const it = world(hook('migrate', { oncePer: 'v1' }));
    it.handle({ type: 'stop', how: 'graceful' });
    it.hook('migrate').exits(0);
    it.expectEnded(0);
    assert.deepEqual(it.recorded, []);
  });
});

/** A world whose one app is up, with a hook in this phase. */
function up(phase: HookPhase, parts: Partial<HookSpec> = {}): World {
  return new World({
    hooks: { [phase]: [hook('notify', { phase, onFailure: 'continue', ...parts })] },
    apps: [app('cache'), app('web', { workers: 2 })],
  }).start();
}

describe('later phases', () => {
  test('post_start runs after all apps are ready, once, and then the master is running', () => {
    const it = up('post_start');
    it.worker('cache', 0).becomesReady();
    it.worker('web', 0).becomesReady();
    assert.ok(!it.names().includes('hook.notify'));
    it.worker('web', 1).becomesReady();
    assert.ok(it.names().includes('hook.notify'));
    assert.deepEqual(it.timeline('master'), ['starting']);
    it.hook('notify').exits(0);
    assert.deepEqual(it.timeline('master'), ['starting', 'running']);
    it.worker('web', 0).exits(1);
    it.allReady();
    assert.ok(!it.names().includes('hook.notify'));
  });

  test('a post_start hook that fails changes nothing, unless it says abort', () => {
    const it = up('post_start').allReady();
    it.hook('notify').exits(1);
    assert.deepEqual(it.timeline('master'), ['starting', 'running']);
    const aborted = up('post_start', { onFailure: 'abort' }).allReady();
    aborted.hook('notify').exits(1);
    aborted.asked();
    aborted.expectEnded(1);
    assert.equal(aborted.ended?.error?.code, 'hook-failed');
  });

  test('a stop during post_start ends the hook and the workers', () => {
    const it = up('post_start').allReady();
    it.handle({ type: 'stop', how: 'graceful' });
    it.asked();
    it.expectEnded(0);
  });

  test('pre_stop runs before the first worker is asked, post_stop after the last is gone', () => {
    const it = up('pre_stop').allReady();
    it.handle({ type: 'stop', how: 'graceful' });
    assert.deepEqual(it.names(), ['cache.1', 'web.1', 'web.2', 'hook.notify']);
    assert.ok(it.workersOf('web').every((process) => process.effects.length === 0));
    it.hook('notify').exits(0);
    it.asked();
    it.expectEnded(0);

    const after = up('post_stop').allReady();
    after.handle({ type: 'stop', how: 'graceful' });
    for (const name of ['web', 'web', 'cache']) after.workersOf(name)[0]?.exits(0);
    assert.deepEqual(after.names(), ['hook.notify']);
    after.hook('notify').exits(1);
    after.expectEnded(0);
  });

  test('a pre_stop hook that fails does not keep the master', () => {
    const it = up('pre_stop', { onFailure: 'abort' }).allReady();
    it.handle({ type: 'stop', how: 'graceful' });
    it.hook('notify').exits(1);
    it.asked();
    it.expectEnded(0);
  });

  test('a second TERM does not wait for a pre_stop hook', () => {
    const it = up('pre_stop').allReady();
    it.handle({ type: 'stop', how: 'graceful' });
    it.handle({ type: 'stop', how: 'now' });
    assert.deepEqual(
      it.live().map((process) => process.effects),
      Array(4).fill(['SIGKILL']),
    );
    it.asked();
    it.expectEnded(0);
  });

  test('a quick stop runs no pre_stop hook', () => {
    const it = up('pre_stop').allReady();
    it.handle({ type: 'stop', how: 'quick' });
    assert.ok(!it.names().includes('hook.notify'));
    it.asked();
    it.expectEnded(0);
  });

  test('a second TERM ends a post_stop hook', () => {
    const it = up('post_stop').allReady();
    it.handle({ type: 'stop', how: 'graceful' });
    for (const name of ['web', 'web', 'cache']) it.workersOf(name)[0]?.exits(0);
    it.handle({ type: 'stop', how: 'now' });
    assert.deepEqual(it.hook('notify').effects, ['SIGKILL']);
    it.asked();
    it.expectEnded(0);
  });
});

test('after a reload the snapshot shows each hook once, and how it went', () => {
  const parts = () => ({ hooks: { pre_start: [hook('migrate')] }, apps: [app('web')] });
  const it = new World(parts()).start();
  it.hook('migrate').exits(0);
  it.allReady();
  it.handle({ type: 'reload', spec: spec(parts()), apps: null });
  assert.deepEqual(
    it.master.snapshot().hooks.map(({ name, state }) => [name, state]),
    [['migrate', 'succeeded']],
  );
});

test('later phases follow the config that was read last', () => {
  const it = new World({ apps: [app('web')] }).start().allReady();
  it.handle({
    type: 'reload',
    spec: spec({ hooks: { pre_stop: [hook('drain', { phase: 'pre_stop' })] }, apps: [app('web')] }),
    apps: null,
  });
  it.handle({ type: 'stop', how: 'graceful' });
  assert.ok(it.names().includes('hook.drain'));
});
