import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import type { AppSpec } from '../../src/core/spec.ts';
import { app, tcp, World } from '../helpers/world.ts';

function up(...apps: readonly AppSpec[]): World {
  return new World({ apps }).start().allReady();
}

const three = () => up(app('cache'), app('web', { workers: 2, listen: [tcp(8000)] }), app('mail'));

describe('a graceful stop', () => {
  test('stops the apps in reverse order, each after the one before is gone', () => {
    const it = three();
    const reply = it.handle({ type: 'stop', how: 'graceful' });
    assert.deepEqual(
      it.live().map((process) => process.effects.length),
      [0, 0, 0, 1],
    );
    it.worker('mail', 0).exits(0);
    assert.deepEqual(
      it.live().map((process) => process.effects.length),
      [0, 1, 1],
    );
    it.worker('web', 0).exits(0);
    assert.deepEqual(it.worker('cache', 0).effects, []);
    it.worker('web', 1).exits(0);
    it.worker('cache', 0).exits(0);
    it.expectEnded(0);
    assert.equal(it.finished(reply)?.ok, true);
  });

  test('sends the stop signal of the app, once', () => {
    const it = up(app('web', { stop: { signal: 'SIGINT', timeoutMs: 30_000 } }));
    it.handle({ type: 'stop', how: 'graceful' });
    it.handle({ type: 'stop', how: 'graceful' });
    assert.deepEqual(it.worker('web', 0).effects, ['SIGINT']);
  });

  test('kills after stop.timeout, and again, and still exits 0', () => {
    const it = up(app('web', { stop: { signal: 'SIGTERM', timeoutMs: 10_000 } }));
    it.handle({ type: 'stop', how: 'graceful' });
    it.after(9_999);
    assert.deepEqual(it.worker('web', 0).effects, ['SIGTERM']);
    it.after(1 + 2 * 5_000);
    assert.deepEqual(it.worker('web', 0).effects, ['SIGTERM', 'SIGKILL', 'SIGKILL', 'SIGKILL']);
    it.worker('web', 0).dies('SIGKILL');
    it.expectEnded(0);
  });

  test('workers without a process need no time', () => {
    const it = up(app('web', { workers: 2 }));
    for (let n = 0; n < 2; n++) it.worker('web', 0).exits(1);
    it.handle({ type: 'stop', how: 'graceful' });
    assert.equal(it.timeline('web.1').at(-1), 'stopped');
    it.asked();
    it.expectEnded(0);
  });

  test('a worker that is being ended because of its boot does not come back', () => {
    const it = up(app('web', { workers: 2 }));
    it.worker('web', 1).exits(1);
    it.after(60_000);
    it.handle({ type: 'stop', how: 'graceful' });
    it.asked();
    it.expectEnded(0);
  });

  test('an exit with a code is no failure of the stop', () => {
    const it = up(app('web'));
    it.handle({ type: 'stop', how: 'graceful' });
    it.worker('web', 0).exits(143);
    it.expectEnded(0);
    assert.deepEqual(
      it.eventsOf('worker.exited').map((event) => event.cause),
      ['stop'],
    );
  });

  test('during the start: workers that are starting are asked too', () => {
    const it = new World({ apps: [app('cache'), app('web')] }).start();
    it.worker('cache', 0).becomesReady();
    it.handle({ type: 'stop', how: 'graceful' });
    it.asked();
    it.expectEnded(0);
    assert.ok(!it.timeline('master').includes('running'));
  });

  test('before anything was started', () => {
    const it = new World({ apps: [app('web')] });
    it.handle({ type: 'stop', how: 'graceful' });
    it.expectEnded(0);
  });

  test('other commands are refused, and operations that are under way end badly', () => {
    const it = up(app('web', { workers: 2 }));
    const reload = it.handle({ type: 'reload', spec: null, apps: null });
    const scale = it.handle({ type: 'scale', app: 'web', change: { to: 5 } });
    it.handle({ type: 'stop', how: 'graceful' });
    assert.deepEqual([it.finished(reload)?.ok, it.finished(scale)?.ok], [false, false]);
    const late = it.handle({ type: 'scale', app: 'web', change: { to: 9 } });
    assert.ok(!late.ok && late.error.code === 'operation-failed' && /stopping/.test(late.error.message));
    it.asked();
    it.expectEnded(0);
  });

  test('progress is told: how many workers of which apps are left', () => {
    const it = three();
    it.handle({ type: 'stop', how: 'graceful' });
    it.asked();
    const told = it.eventsOf('operation.progress').map((event) => event.message);
    assert.ok(
      told.some((message) => /4 workers of cache, web, mail left/.test(message)),
      told.join('\n'),
    );
    assert.ok(
      told.some((message) => /1 worker of cache left/.test(message)),
      told.join('\n'),
    );
  });
});

describe('a quick stop', () => {
  test('asks all apps at once, and kills after 2 s', () => {
    const it = three();
    it.handle({ type: 'stop', how: 'quick' });
    assert.deepEqual(
      it.live().map((process) => process.effects),
      Array(4).fill(['SIGTERM']),
    );
    it.after(1_999);
    assert.deepEqual(
      it.live().map((process) => process.effects),
      Array(4).fill(['SIGTERM']),
    );
    it.after(1);
    assert.deepEqual(
      it.live().map((process) => process.effects),
      Array(4).fill(['SIGTERM', 'SIGKILL']),
    );
    it.asked();
    it.expectEnded(0);
  });

  test('after a graceful one shortens the wait of those that were asked, and asks the rest', () => {
    const it = three();
    it.handle({ type: 'stop', how: 'graceful' });
    it.after(5_000).handle({ type: 'stop', how: 'quick' });
    it.after(2_000);
    assert.deepEqual(
      it.live().map((process) => process.effects),
      Array(4).fill(['SIGTERM', 'SIGKILL']),
    );
  });

  test('never makes a short stop.timeout longer', () => {
    const it = up(app('web', { stop: { signal: 'SIGTERM', timeoutMs: 500 } }));
    it.handle({ type: 'stop', how: 'quick' });
    it.after(500);
    assert.deepEqual(it.worker('web', 0).effects, ['SIGTERM', 'SIGKILL']);
  });
});

describe('a stop now', () => {
  test('kills everything at once', () => {
    const it = three();
    const reply = it.handle({ type: 'stop', how: 'now' });
    assert.deepEqual(
      it.live().map((process) => process.effects),
      Array(4).fill(['SIGKILL']),
    );
    it.asked();
    it.expectEnded(0);
    assert.equal(it.finished(reply)?.ok, true);
  });

  test('after a graceful one kills what was asked, and what was not', () => {
    const it = three();
    const first = it.handle({ type: 'stop', how: 'graceful' });
    const second = it.handle({ type: 'stop', how: 'now' });
    assert.deepEqual(
      it.live().map((process) => process.effects.at(-1)),
      Array(4).fill('SIGKILL'),
    );
    it.asked();
    it.expectEnded(0);
    assert.deepEqual([it.finished(first)?.ok, it.finished(second)?.ok], [true, true]);
  });

  test('kills what is leaving already: scaled down, removed by a reload', () => {
    const it = up(app('cache'), app('web', { workers: 2 }));
    it.handle({ type: 'scale', app: 'web', change: { to: 1 } });
    it.handle({ type: 'reload', spec: { ...it.spec, apps: [app('web')] }, apps: ['cache'] });
    assert.deepEqual(it.worker('cache', 0).effects, ['SIGTERM']);
    it.handle({ type: 'stop', how: 'now' });
    assert.deepEqual(
      it.live().map((process) => process.effects.at(-1)),
      Array(it.live().length).fill('SIGKILL'),
    );
    it.asked();
    it.expectEnded(0);
  });

  test('is not undone by a slower one', () => {
    const it = three();
    it.handle({ type: 'stop', how: 'now' });
    it.handle({ type: 'stop', how: 'graceful' });
    assert.deepEqual(
      it.live().map((process) => process.effects),
      Array(4).fill(['SIGKILL']),
    );
  });
});
