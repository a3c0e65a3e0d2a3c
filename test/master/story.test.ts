import assert from 'node:assert/strict';
import { test } from 'node:test';
import { app, hook, tcp, World } from '../helpers/world.ts';

test('the pre-start hook runs once, before the first worker, and the sockets listen only after it', () => {
  const world = new World({
    hooks: { pre_start: [hook('migrate')] },
    apps: [app('web', { workers: 2, listen: [tcp(8000)] })],
  }).start();
  assert.deepEqual(
    world.live().map((process) => process.name),
    ['hook.migrate'],
  );
  assert.deepEqual(world.bound, ['tcp://127.0.0.1:8000']);
  assert.deepEqual(world.listening, []);
  world.hook('migrate').exits(0);
  assert.deepEqual(world.listening, ['tcp://127.0.0.1:8000']);
  assert.deepEqual(
    world.live().map((process) => process.name),
    ['web.1', 'web.2'],
  );
  world.worker('web', 0).becomesReady();
  assert.deepEqual(world.timeline('master'), ['starting']);
  world.worker('web', 1).becomesReady();
  assert.deepEqual(world.timeline('master'), ['starting', 'running']);
  assert.deepEqual(world.timeline('web'), ['starting', 'degraded', 'running']);
});

test('a failed hook: no worker, exit 1, the sockets are released', () => {
  const world = new World({
    hooks: { pre_start: [hook('migrate')] },
    apps: [app('web', { listen: [tcp(8000)] })],
  }).start();
  world.hook('migrate').exits(3, { lastLines: ['boom'] });
  assert.equal(world.ended?.exitCode, 1);
  assert.deepEqual(world.ended?.error?.lastLines, ['boom']);
  assert.deepEqual(world.bound, []);
  assert.deepEqual(
    world.processes.map((process) => process.name),
    ['hook.migrate'],
  );
});

test('a crash after readiness restarts at once, the second one waits', () => {
  const world = new World({ apps: [app('web')] }).start();
  world.worker('web', 0).becomesReady();
  world.worker('web', 0).exits(1);
  assert.equal(world.live().length, 1);
  world.worker('web', 0).exits(1);
  assert.equal(world.live().length, 0);
  world.after(499);
  assert.equal(world.live().length, 0);
  world.after(1);
  assert.equal(world.live().length, 1);
  assert.deepEqual(world.timeline('web.1'), ['starting', 'ready', 'starting', 'backoff', 'starting']);
});

test('a stop asks in reverse order, kills what does not end in time, and leaves no timer', () => {
  const world = new World({ apps: [app('cache'), app('web', { workers: 2 })] }).start();
  for (const process of world.live()) process.becomesReady();
  const reply = world.handle({ type: 'stop', how: 'graceful' });
  assert.deepEqual(world.worker('web', 0).effects, ['SIGTERM']);
  assert.deepEqual(world.worker('cache', 0).effects, []);
  world.worker('web', 0).exits(0);
  world.after(30_000);
  assert.deepEqual(world.worker('web', 1).effects, ['SIGTERM', 'SIGKILL']);
  world.worker('web', 1).dies('SIGKILL');
  assert.deepEqual(world.worker('cache', 0).effects, ['SIGTERM']);
  world.worker('cache', 0).exits(0);
  assert.equal(world.ended?.exitCode, 0);
  assert.equal(world.finished(reply)?.ok, true);
  assert.equal(world.clock.pending, 0);
});

test('a reload replaces one worker after the other, the new one first, the canary held', () => {
  const world = new World({ apps: [app('web', { workers: 2 })] }).start();
  for (const process of world.live()) process.becomesReady();
  const reply = world.handle({ type: 'reload', spec: null, apps: null });
  assert.deepEqual(
    world.live().map((process) => process.name),
    ['web.1', 'web.2', 'web.3'],
  );
  world.worker('web', 2).becomesReady();
  world.after(4_999);
  assert.deepEqual(world.worker('web', 0).effects, []);
  world.after(1);
  assert.deepEqual(world.worker('web', 0).effects, ['SIGTERM']);
  world.worker('web', 0).exits(0);
  world.worker('web', 0).becomesReady();
  world.worker('web', 1).exits(0);
  assert.equal(world.finished(reply), null);
  world.after(5_000);
  assert.equal(world.finished(reply)?.ok, true);
  assert.deepEqual(
    world.live().map((process) => [process.launch?.slot, process.launch?.pinned.revision]),
    [
      [2, 2],
      [0, 2],
    ],
  );
});

test('a bad revision is rolled back and the old one serves at full strength', () => {
  const world = new World({ apps: [app('web', { workers: 2 })] }).start();
  for (const process of world.live()) process.becomesReady();
  const reply = world.handle({ type: 'reload', spec: null, apps: null });
  world.worker('web', 2).exits(1, { lastLines: ['SyntaxError'] });
  const end = world.finished(reply);
  assert.equal(end?.ok, false);
  assert.deepEqual(end?.lastLines, ['SyntaxError']);
  assert.deepEqual(
    world.live().map((process) => process.launch?.pinned.revision),
    [1, 1],
  );
  assert.equal(world.master.snapshot().apps[0]?.state, 'running');
});

test('an app that never gets ready ends the master after start_attempts', () => {
  const world = new World({ apps: [app('web')] }).start();
  world.worker('web', 0).exits(1);
  world.after(500);
  world.worker('web', 0).exits(1);
  world.after(1_000);
  world.worker('web', 0).exits(1, { lastLines: ['no module'] });
  assert.equal(world.ended?.exitCode, 1);
  assert.equal(world.ended?.error?.code, 'app-never-ready');
  assert.equal(world.clock.pending, 0);
});
