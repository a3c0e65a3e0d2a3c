import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import type { Reply } from '../../src/core/protocol.ts';
import type { AppSpec } from '../../src/core/spec.ts';
import { app, tcp, World } from '../helpers/world.ts';

function up(...apps: readonly AppSpec[]): World {
  return new World({ apps }).start().allReady();
}

/** Reloads a config with these apps. */
function reload(it: World, apps: readonly AppSpec[] | null, names: readonly string[] | null = null): Reply {
  return it.handle({ type: 'reload', spec: apps && { ...it.spec, apps }, apps: names });
}

function finish(it: World, reply: Reply): World {
  for (let n = 0; n < 40 && it.finished(reply) === null; n++) it.allReady().after(5_000).asked();
  return it.asked();
}

const apps = (it: World) => it.master.snapshot().apps.map((one) => one.name);

describe('a reload of several apps', () => {
  test('rolls all of them, and is over when each is', () => {
    const it = up(app('cache'), app('web'));
    const reply = reload(it, null);
    assert.deepEqual(it.names(), ['cache.1', 'web.1', 'cache.2', 'web.2']);
    it.allReady().after(5_000);
    it.worker('cache', 0).exits(0);
    assert.equal(it.finished(reply)?.ok ?? null, true, 'who still leaves is not waited for');
    assert.match(it.finished(reply)?.message ?? '', /cache: revision 2.*web: revision 2/);
  });

  test('one that fails is rolled back, the other keeps its new revision, and the reload has failed', () => {
    const it = up(app('cache'), app('web'));
    const reply = reload(it, null);
    it.worker('web', 1).exits(1, { lastLines: ['SyntaxError'] });
    assert.equal(it.finished(reply), null);
    finish(it, reply);
    assert.deepEqual([it.finished(reply)?.ok, it.finished(reply)?.lastLines], [false, ['SyntaxError']]);
    assert.doesNotMatch(it.finished(reply)?.message ?? '', /cache/);
    assert.deepEqual([it.places('cache'), it.places('web')], [['1 r2'], ['0 r1']]);
  });

  test('a named app rolls alone, and what the new config says of the others is not applied', () => {
    const it = up(app('cache'), app('web'));
    const reply = reload(it, [app('cache', { workers: 9 }), app('web', { env: { A: '1' } }), app('mail')], ['web']);
    assert.deepEqual(it.names(), ['cache.1', 'web.1', 'web.2']);
    finish(it, reply);
    assert.deepEqual([apps(it), it.worker('cache', 0).effects], [['cache', 'web'], []]);
    assert.deepEqual(
      it.eventsOf('config.changed').map(({ added, rescaled, changed }) => [added, rescaled, changed]),
      [[[], [], ['web']]],
    );
  });

  test('what was not applied is applied by the next reload of all', () => {
    const it = up(app('cache'), app('web'));
    const next = [app('cache', { workers: 2 }), app('web', { env: { A: '1' } })];
    finish(it, reload(it, next, ['web']));
    finish(it, reload(it, next));
    assert.equal(it.workersOf('cache').length, 2);
  });
});

describe('an added app', () => {
  test('starts beside the others; the reload is over when it serves', () => {
    const it = up(app('web'));
    const reply = reload(it, [app('web'), app('mail', { workers: 2, listen: [tcp(2525)] })]);
    assert.deepEqual(it.names(), ['web.1', 'mail.1', 'mail.2', 'web.2']);
    assert.deepEqual(it.listening, ['tcp://127.0.0.1:2525']);
    it.worker('web', 1).becomesReady();
    it.after(5_000).asked();
    it.worker('mail', 0).becomesReady();
    assert.equal(it.finished(reply), null);
    it.worker('mail', 1).becomesReady();
    assert.equal(it.finished(reply)?.ok, true);
    assert.match(it.finished(reply)?.message ?? '', /mail is added and serves/);
    assert.deepEqual(apps(it), ['web', 'mail']);
  });

  test('is stopped in its place in the order', () => {
    const it = up(app('web'));
    finish(it, reload(it, [app('cache'), app('web')]));
    it.handle({ type: 'stop', how: 'graceful' });
    assert.deepEqual(it.worker('cache', 0).effects, []);
    it.asked();
    it.expectEnded(0);
  });

  test('that never gets ready is taken out again, with its socket; the others serve on', () => {
    const it = up(app('web', { listen: [tcp(8000)] }));
    const next = [
      app('web', { listen: [tcp(8000)] }),
      app('mail', { startAttempts: 2, workers: 2, listen: [tcp(2525)] }),
    ];
    const reply = reload(it, next);
    it.worker('mail', 0).exits(1);
    it.worker('mail', 1).exits(1, { lastLines: ['boom'] });
    finish(it, reply).after(1_000);
    assert.deepEqual([it.finished(reply)?.ok, it.finished(reply)?.lastLines], [false, ['boom']]);
    assert.match(it.finished(reply)?.message ?? '', /mail was not added: .*2 attempts/);
    assert.deepEqual([apps(it), it.bound, it.places('web')], [['web'], ['tcp://127.0.0.1:8000'], ['1 r2']]);
    it.expectNotEnded();

    const again = reload(it, next);
    assert.deepEqual(
      it.workersOf('mail').map((process) => process.name),
      ['mail.3', 'mail.4'],
      'ids are never used again',
    );
    finish(it, again);
    assert.equal(it.finished(again)?.ok, true);
  });

  test('whose program cannot be executed is taken out at once', () => {
    const it = up(app('web'));
    const reply = reload(it, [app('web'), app('mail')]);
    it.worker('mail', 0).exits(null, { error: 'postfix: no such file' });
    finish(it, reply);
    assert.match(it.finished(reply)?.message ?? '', /mail was not added: .*no such file/);
    assert.deepEqual(apps(it), ['web']);
  });

  test('whose workers the restart policy gives up: it is there, but the reload has failed', () => {
    const it = up(app('web'));
    const reply = reload(it, [app('web'), app('job', { restart: 'never' })]);
    it.worker('job', 0).exits(1, { lastLines: ['boom'] });
    finish(it, reply);
    assert.deepEqual([it.finished(reply)?.ok, it.finished(reply)?.lastLines], [false, ['boom']]);
    assert.deepEqual([it.appState('job'), it.appState('web')], ['failed', 'running']);
  });

  test('that a later reload removes before it serves: the first one ends', () => {
    const it = up(app('web'));
    const first = reload(it, [app('web'), app('mail')]);
    const second = reload(it, [app('web')]);
    it.asked();
    assert.equal(it.finished(first)?.ok, false);
    assert.match(it.finished(first)?.message ?? '', /mail was removed by a later reload/);
    assert.equal(it.finished(finish(it, second) && second)?.ok, true);
    assert.deepEqual(apps(it), ['web']);
  });
});

describe('a removed app', () => {
  test('is asked to end when the others serve; the reload is over when it is gone, and nothing of it is left', () => {
    const it = up(app('web'), app('mail', { listen: [tcp(2525)] }));
    const reply = reload(it, [app('web')]);
    it.worker('web', 1).becomesReady();
    assert.deepEqual(it.worker('mail', 0).effects, []);
    it.after(5_000);
    assert.deepEqual(it.worker('mail', 0).effects, ['SIGTERM']);
    assert.equal(it.finished(reply), null);
    it.worker('mail', 0).exits(0);
    assert.equal(it.finished(reply)?.ok, true);
    assert.match(it.finished(reply)?.message ?? '', /mail is removed/);
    it.after(1_000);
    assert.deepEqual([apps(it), it.bound], [['web'], []]);
    const gone = it.handle({ type: 'scale', app: 'mail', change: { to: 2 } });
    assert.ok(!gone.ok && gone.error.code === 'unknown-target');
  });

  test('stays when the reload fails, and the next reload decides again', () => {
    const it = up(app('web'), app('mail', { listen: [tcp(2525)] }));
    const reply = reload(it, [app('api', { listen: [tcp(2525)], startAttempts: 1 })]);
    it.worker('api', 0).exits(1, { lastLines: ['SyntaxError'] });
    it.after(1_000);
    assert.deepEqual([it.finished(reply)?.ok, it.finished(reply)?.lastLines], [false, ['SyntaxError']]);
    assert.match(it.finished(reply)?.message ?? '', /web is not removed; mail is not removed; api was not added/);
    assert.deepEqual(
      [it.appState('web'), it.appState('mail'), it.bound],
      ['running', 'running', ['tcp://127.0.0.1:2525']],
    );
    assert.deepEqual([it.worker('web', 0).effects, it.worker('mail', 0).effects], [[], []]);
    const again = reload(it, [app('api', { listen: [tcp(2525)] })]);
    finish(it, again).after(1_000);
    assert.equal(it.finished(again)?.ok, true);
    assert.deepEqual(apps(it), ['api']);
  });

  test('that a later reload keeps is not removed by the earlier one', () => {
    const it = up(app('web'), app('mail'));
    const first = reload(it, [app('web')]);
    const second = reload(it, [app('web'), app('mail')], ['mail']);
    finish(it, second);
    finish(it, first).after(1_000);
    assert.deepEqual([it.finished(first)?.ok, it.finished(second)?.ok], [false, true]);
    assert.deepEqual([apps(it), it.places('mail')], [['web', 'mail'], ['1 r2']]);
  });

  test('goes first when it holds a port of its own that an added one may need', () => {
    const it = up(app('web'), app('mail', { port: 2525 }));
    reload(it, [app('web'), app('post', { port: 2525 })]);
    assert.deepEqual(it.worker('mail', 0).effects, ['SIGTERM']);
  });

  test('goes last, port or not, when nothing is added', () => {
    const it = up(app('web'), app('mail', { port: 2525 }));
    const reply = reload(it, [app('web')]);
    assert.deepEqual(it.worker('mail', 0).effects, []);
    finish(it, reply);
    assert.deepEqual([it.finished(reply)?.ok, apps(it)], [true, ['web']]);
  });

  test('by name: the others are left alone', () => {
    const it = up(app('web'), app('mail'), app('post'));
    const reply = reload(it, [app('web', { workers: 3 })], ['mail']);
    it.asked();
    assert.equal(it.finished(reply)?.ok, true);
    assert.deepEqual(it.names(), ['web.1', 'post.1']);
  });

  test('that was being rolled: the earlier reload ends', () => {
    const it = up(app('web'), app('mail'));
    const first = reload(it, null);
    const second = reload(it, [app('web')]);
    finish(it, second);
    assert.equal(it.finished(second)?.ok, true);
    assert.equal(it.finished(first)?.ok, false);
    assert.equal(it.timeline('master').at(-1), 'running');
  });

  test('that comes back while it still leaves waits until it is gone, and is a new app: ids and revisions go on counting', () => {
    const it = up(app('web'), app('mail', { workers: 2 }));
    reload(it, [app('web')], ['mail']);
    it.worker('mail', 0).exits(0);
    const reply = reload(it, [app('web'), app('mail', { workers: 2 })], ['mail']);
    const workers = () => it.workersOf('mail').map(({ name, launch }) => [name, launch?.pinned.revision]);
    assert.deepEqual(workers(), [['mail.2', 1]], 'its slots and its port are not free yet');
    const states = it.master.snapshot().apps.map(({ name, state }) => [name, state]);
    assert.deepEqual(states, [
      ['web', 'running'],
      ['mail', 'stopping'],
      ['mail', 'waiting'],
    ]);
    it.after(5_000);
    assert.equal(it.finished(reply), null);
    it.workersOf('mail')[0]!.exits(0);
    assert.deepEqual(workers(), [
      ['mail.3', 2],
      ['mail.4', 2],
    ]);
    finish(it, reply);
    assert.equal(it.finished(reply)?.ok, true);
    assert.deepEqual([apps(it), it.workersOf('mail').length], [['web', 'mail'], 2]);
  });

  test('that comes back while it still leaves and is removed once more never starts', () => {
    const it = up(app('web'), app('mail'));
    reload(it, [app('web')], ['mail']);
    const first = reload(it, [app('web'), app('mail')], ['mail']);
    const second = reload(it, [app('web')], ['mail']);
    it.workersOf('mail')[0]!.exits(0);
    assert.deepEqual([it.finished(first)?.ok, it.finished(second)?.ok], [false, true]);
    it.after(1_000);
    assert.deepEqual([apps(it), it.workersOf('mail')], [['web'], []]);
  });

  test('that waits to come back when the master stops never starts', () => {
    const it = up(app('web'), app('mail'));
    reload(it, [app('web')], ['mail']);
    reload(it, [app('web'), app('mail')], ['mail']);
    it.handle({ type: 'stop', how: 'graceful' });
    it.asked();
    it.asked();
    it.expectEnded(0);
    assert.equal(it.workersOf('mail').length, 0);
  });

  test('that comes back later too', () => {
    const it = up(app('web'), app('mail'));
    finish(it, reload(it, [app('web')], ['mail']));
    it.after(5_000);
    reload(it, [app('web'), app('mail')], ['mail']);
    assert.deepEqual(
      it.workersOf('mail').map(({ name, launch }) => [name, launch?.pinned.revision]),
      [['mail.2', 2]],
    );
  });

  test('is not the first app for TTIN any more', () => {
    const it = up(app('mail'), app('web'));
    reload(it, [app('web')], ['mail']);
    it.handle({ type: 'scale', app: null, change: { by: 1, atLeast: 1 } });
    assert.equal(it.workersOf('web').length, 2);
  });

  test('that has no process when it goes does not take the new sockets of the others with it', () => {
    const it = up(app('mail'), app('web', { listen: [tcp(8000)] }));
    for (let n = 0; n < 2; n++) it.worker('mail', 0).exits(1);
    const reply = reload(it, [app('web', { listen: [tcp(8001)] })]);
    assert.deepEqual(it.listening, ['tcp://127.0.0.1:8000', 'tcp://127.0.0.1:8001']);
    finish(it, reply).after(1_000);
    assert.equal(it.finished(reply)?.ok, true);
    assert.deepEqual(it.bound, ['tcp://127.0.0.1:8001']);
  });

  test('while it still leaves: a stop of the master waits for it', () => {
    const it = up(app('web'), app('mail'));
    reload(it, [app('web')], ['mail']);
    it.handle({ type: 'stop', how: 'graceful' });
    it.worker('web', 0).exits(0);
    it.expectNotEnded();
    it.worker('mail', 0).exits(0);
    it.expectEnded(0);
  });
});

test('an app that is scaled to 0 rolls to its new revision without a process', () => {
  const it = up(app('web'), app('mail'));
  it.handle({ type: 'scale', app: 'mail', change: { to: 0 } });
  it.asked();
  const reply = reload(it, null, ['mail']);
  assert.equal(it.finished(reply)?.ok, true);
  it.handle({ type: 'scale', app: 'mail', change: { to: 1 } });
  assert.deepEqual(it.places('mail'), ['0 r2']);
});
