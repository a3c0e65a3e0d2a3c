import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { SuperviseError } from '../../src/core/errors.ts';
import type { Reply } from '../../src/core/protocol.ts';
import type { AppSpec } from '../../src/core/spec.ts';
import { app, tcp, World } from '../helpers/world.ts';

function up(parts: Partial<AppSpec> = {}): World {
  return new World({ apps: [app('web', { workers: 2, ...parts })] }).start().allReady();
}

/** Reloads the same config, or the one app with these changes. */
function reload(it: World, parts: Partial<AppSpec> | null = null): Reply {
  const apps = it.spec.apps.map((one) => (one.name === 'web' ? { ...one, ...parts } : one));
  return it.handle({ type: 'reload', spec: parts && { ...it.spec, apps }, apps: null });
}

/** Lets a rollout go on until it ends: everybody gets ready, and leaves when asked. */
function finish(it: World, reply: Reply): World {
  for (let n = 0; n < 40 && it.finished(reply) === null; n++) it.allReady().after(5_000).asked();
  return it.asked();
}

describe('a rolling reload', () => {
  test('replaces every worker; the revision counts up, ids are new', () => {
    const it = up({ workers: 4 });
    const reply = reload(it);
    finish(it, reply);
    assert.equal(it.finished(reply)?.ok, true);
    assert.match(it.finished(reply)?.message ?? '', /revision 2 serves with 4 workers/);
    assert.deepEqual(
      it.workersOf('web').map(({ name, launch }) => [name, launch?.pinned.revision]),
      [
        ['web.5', 2],
        ['web.6', 2],
        ['web.7', 2],
        ['web.8', 2],
      ],
    );
    assert.deepEqual(
      it.eventsOf('rollout.succeeded').map(({ from, to }) => [from, to]),
      [[1, 2]],
    );
  });

  test('with max_surge 2: two canaries at once, and nothing goes before one of them has held', () => {
    const it = up({ workers: 4, reload: { maxSurge: 2, maxUnavailable: 0, canaryMs: 5_000 } });
    reload(it);
    assert.equal(it.names().length, 6);
    it.allReady().after(4_999);
    assert.ok(it.live().every((process) => process.effects.length === 0));
    it.after(1);
    assert.deepEqual(
      it
        .live()
        .filter((process) => process.effects.length > 0)
        .map((process) => process.name),
      ['web.1', 'web.2'],
    );
  });

  test('all that follows the canary is replaced as soon as each is ready', () => {
    const it = up({ workers: 3 });
    const reply = reload(it);
    it.allReady().after(5_000);
    for (let n = 0; n < 3; n++) it.asked().allReady();
    assert.deepEqual(
      it.places('web').map((place) => place.slice(2)),
      ['r2', 'r2', 'r2'],
    );
    assert.equal(it.finished(reply), null, 'canary past the last');
    assert.equal(it.master.snapshot().state, 'reloading');
    it.after(5_000);
    assert.equal(it.finished(reply)?.ok, true);
    assert.deepEqual(it.timeline('master').slice(-2), ['reloading', 'running']);
  });

  test('without a canary there is no wait', () => {
    const it = up({ reload: { maxSurge: 1, maxUnavailable: 0, canaryMs: 0 } });
    const reply = reload(it);
    for (let n = 0; n < 4; n++) it.allReady().asked();
    assert.equal(it.finished(reply)?.ok, true);
  });

  test('tells its steps', () => {
    const it = up();
    const reply = reload(it);
    finish(it, reply);
    const steps = it.eventsOf('rollout.progress').map(({ replaced, total, step }) => `${replaced}/${total} ${step}`);
    assert.deepEqual([steps[0], steps[1]], ['0/2 web.3 starts', '1/2 web.3 is ready, held for 5s']);
    assert.ok(steps.includes('1/2 web.4 starts'), steps.join('\n'));
    const types = it.types();
    assert.ok(
      types.indexOf('operation.started') < types.indexOf('rollout.started'),
      'the operation begins before what it does',
    );
  });

  test('that waits for nobody does not say that it does', () => {
    const it = up();
    finish(it, reload(it));
    const told = it.eventsOf('operation.progress').map(({ message }) => message);
    assert.ok(told.length > 0);
    assert.deepEqual(
      told.filter((message) => /waits for the hooks/.test(message)),
      [],
    );
  });

  test('a worker of the old revision that leaves slowly is waited for, then killed', () => {
    const it = up();
    reload(it);
    it.allReady().after(5_000);
    it.after(29_999);
    assert.equal(it.names().length, 3, 'its place is taken as long as it is there');
    it.after(1);
    assert.deepEqual(
      it.live().flatMap((process) => process.effects),
      ['SIGTERM', 'SIGKILL'],
    );
  });

  test('a reload of the same config rolls too: code changes without it', () => {
    const it = up();
    const reply = reload(it, {});
    assert.deepEqual(it.eventsOf('config.changed'), []);
    assert.equal(it.names().length, 3);
    assert.equal(it.finished(finish(it, reply) && reply)?.ok, true);
  });
});

describe('a rollback', () => {
  const bad = { env: { RELEASE: 'bad' } };

  test('when the canary crashes: the old revision is untouched', () => {
    const it = up();
    const reply = reload(it, bad);
    it.worker('web', 2).exits(1, { lastLines: ['SyntaxError'] });
    const end = it.finished(reply);
    assert.deepEqual([end?.ok, end?.lastLines], [false, ['SyntaxError']]);
    assert.match(
      end?.message ?? '',
      /rolled back: web\.3 of revision 2: exit code 1; revision 1 serves with 2 of 2 workers/,
    );
    assert.deepEqual(it.places('web'), ['0 r1', '1 r1']);
    assert.ok(it.live().every((process) => process.effects.length === 0));
    it.after(60_000);
    assert.deepEqual(it.places('web'), ['0 r1', '1 r1'], 'the bad one is not tried again');
  });

  test('when the canary crashes just before its hold ends', () => {
    const it = up();
    const reply = reload(it, bad);
    it.allReady().after(4_999).worker('web', 2).exits(1);
    it.asked();
    assert.equal(it.finished(reply)?.ok, false);
  });

  test('when the canary is not ready in time', () => {
    const it = up({ readyTimeoutMs: 60_000 });
    const reply = reload(it, bad);
    it.worker('web', 2).written = ['waiting for the database'];
    it.after(60_000);
    assert.deepEqual(
      it.eventsOf('rollout.rolled_back').map(({ worker, reason, lastLines }) => [worker, reason, lastLines]),
      [['web.3', 'web.3 of revision 2: not ready in time', ['waiting for the database']]],
    );
    it.asked();
    assert.deepEqual([it.finished(reply)?.ok, it.finished(reply)?.lastLines], [false, ['waiting for the database']]);
    assert.deepEqual(it.places('web'), ['0 r1', '1 r1']);
  });

  test('when the canary is a script that never listens: it says what to do', () => {
    const it = up({ kind: 'script' });
    const reply = reload(it, bad);
    it.after(60_000).asked();
    assert.match(
      it.finished(reply)?.message ?? '',
      /web\.3 of revision 2: not ready in time \(the script never listened: .*`ready: spawned`.*\); revision 1 serves/,
    );
  });

  test('when its program cannot be executed', () => {
    const it = up();
    const reply = reload(it, bad);
    it.worker('web', 2).exits(null, { error: 'uvicorn: no such file' });
    assert.match(it.finished(reply)?.message ?? '', /no such file/);
  });

  test('with already replaced slots: all of them go back, the floor is kept, full strength at the end', () => {
    const it = up({ workers: 3 });
    const reply = reload(it, bad);
    it.allReady().after(5_000).asked().allReady().asked();
    assert.equal(it.places('web').filter((place) => place.endsWith('r2')).length, 3);
    const last = it.workersOf('web').at(-1);
    last?.exits(1);
    assert.equal(it.finished(reply), null, 'not before the old revision is back');
    for (let n = 0; n < 10; n++) {
      assert.ok(it.master.snapshot().apps[0]!.ready >= 2, 'never below what was left');
      it.allReady().after(1_000).asked();
    }
    assert.equal(it.finished(reply)?.ok, false);
    assert.deepEqual(
      it.places('web').map((place) => place.slice(2)),
      ['r1', 'r1', 'r1'],
    );
    assert.ok(it.eventsOf('worker.stopping').some((event) => event.cause === 'rollback'));
  });

  test('after the last is ready, within canary: still a failure', () => {
    const it = up();
    const reply = reload(it, bad);
    it.allReady().after(5_000).asked().allReady().asked().allReady().after(4_999);
    it.workersOf('web')[0]?.exits(1);
    assert.deepEqual(it.eventsOf('rollout.rolled_back').length, 1);
    assert.equal(it.finished(finish(it, reply) && reply)?.ok, false);
    assert.deepEqual(
      it.places('web').map((place) => place.slice(2)),
      ['r1', 'r1'],
    );
  });

  test('after canary it is a crash as any other: the new revision is restarted', () => {
    const it = up();
    finish(it, reload(it));
    it.workersOf('web')[0]?.exits(1);
    assert.deepEqual(
      it.places('web').map((place) => place.slice(2)),
      ['r2', 'r2'],
    );
  });

  test('burns its number', () => {
    const it = up();
    reload(it, bad);
    it.worker('web', 2).exits(1);
    const reply = reload(it);
    assert.equal(it.worker('web', 2).launch?.pinned.revision, 3);
    finish(it, reply);
    assert.match(it.finished(reply)?.message ?? '', /revision 3 serves/);
  });

  test('an exit of a new worker that an operator signalled is no failure', () => {
    const it = up();
    reload(it);
    it.handle({ type: 'signal', target: { app: 'web', worker: 'web.3' }, signal: 'SIGKILL' });
    it.worker('web', 2).dies('SIGKILL');
    assert.deepEqual(it.eventsOf('rollout.rolled_back'), []);
    assert.equal(it.worker('web', 2).name, 'web.3');
  });
});

describe('a later reload', () => {
  test('supersedes the one that is under way', () => {
    const it = up();
    const first = reload(it);
    const second = reload(it);
    assert.equal(it.finished(first)?.ok, false);
    assert.match(it.finished(first)?.message ?? '', /superseded by a later reload/);
    assert.deepEqual(it.worker('web', 2).effects, ['SIGTERM'], 'what was being tried goes first');
    finish(it, second);
    assert.equal(it.finished(second)?.ok, true);
    assert.deepEqual(
      it.places('web').map((place) => place.slice(2)),
      ['r3', 'r3'],
    );
  });

  test('with already replaced slots; when it fails, all go back to the revision that is known to serve', () => {
    const it = up();
    reload(it);
    it.allReady().after(5_000).asked().allReady();
    const second = reload(it);
    for (let n = 0; n < 3; n++) it.asked().after(1);
    it.live()
      .find((process) => process.launch?.pinned.revision === 3)
      ?.exits(1);
    finish(it, second);
    assert.equal(it.finished(second)?.ok, false);
    assert.deepEqual(
      it.places('web').map((place) => place.slice(2)),
      ['r1', 'r1'],
    );
  });
});

describe('during a rollout', () => {
  test('a worker of the old revision that crashes starts again as what it was', () => {
    const it = up({ workers: 3 });
    reload(it, { env: { RELEASE: 'new' } });
    it.worker('web', 0).exits(1);
    assert.deepEqual([it.worker('web', 0).name, it.worker('web', 0).launch?.pinned.revision], ['web.1', 1]);
    assert.deepEqual(it.worker('web', 0).launch?.pinned.env, {});
    assert.deepEqual(it.worker('web', 0).effects, [], 'and it may serve until a new one does');
  });

  test('old workers without a process are replaced first', () => {
    const it = up({ workers: 3 });
    for (let n = 0; n < 2; n++) it.worker('web', 2).exits(1);
    reload(it);
    assert.deepEqual(it.timeline('web.3').at(-1), 'stopped');
    it.allReady().after(5_000);
    assert.ok(
      it.live().every((process) => process.effects.length === 0),
      'two old and the canary: the floor',
    );
    it.allReady();
    assert.deepEqual(
      it
        .live()
        .filter((process) => process.effects.length > 0)
        .map((process) => process.name),
      ['web.1'],
    );
  });

  test('an old revision of which nothing runs is replaced as well', () => {
    const it = up({ workers: 2, backoff: { ...app('x').backoff, maxCrashes: 0 } });
    for (const process of it.workersOf('web')) process.exits(1);
    assert.equal(it.appState('web'), 'failed');
    const reply = reload(it, { env: { FIXED: '1' } });
    finish(it, reply);
    assert.equal(it.finished(reply)?.ok, true);
    assert.equal(it.appState('web'), 'running');
  });

  test('scaling up and down goes on with it', () => {
    const it = up({ workers: 2 });
    const reply = reload(it);
    it.handle({ type: 'scale', app: 'web', change: { to: 4 } });
    finish(it, reply);
    assert.equal(it.finished(reply)?.ok, true);
    assert.deepEqual(
      it.places('web').map((place) => place.slice(2)),
      ['r2', 'r2', 'r2', 'r2'],
    );
    const again = reload(it);
    it.allReady().after(5_000).asked();
    it.handle({ type: 'scale', app: 'web', change: { to: 1 } });
    finish(it, again);
    assert.equal(it.finished(again)?.ok, true);
    assert.deepEqual(
      it.places('web').map((place) => place.slice(2)),
      ['r3'],
    );
  });

  test('the stop of the master ends it', () => {
    const it = up();
    const reply = reload(it);
    it.allReady().after(5_000);
    it.handle({ type: 'stop', how: 'graceful' });
    assert.equal(it.finished(reply)?.ok, false);
    it.asked();
    it.expectEnded(0);
  });
});

describe('the number of workers', () => {
  const places = (it: World) => it.workersOf('web').length;

  test('of the new config is applied', () => {
    const it = up({ workers: 2 });
    const reply = reload(it, { workers: 4 });
    assert.equal(it.finished(finish(it, reply) && reply)?.ok, true);
    assert.equal(places(it), 4);
    assert.deepEqual(
      it.eventsOf('config.changed').map((event) => event.rescaled),
      [['web']],
    );
  });

  test('that was set by hand holds until the config has another one', () => {
    const it = up({ workers: 2 });
    it.handle({ type: 'scale', app: 'web', change: { to: 5 } });
    it.allReady();
    finish(it, reload(it, { env: { A: '1' } }));
    assert.equal(places(it), 5);
    finish(it, reload(it, { workers: 3 }));
    assert.equal(places(it), 3);
  });

  test('goes back with a rollback', () => {
    const it = up({ workers: 2 });
    const reply = reload(it, { workers: 4 });
    it.worker('web', 2).exits(1);
    finish(it, reply);
    assert.deepEqual([places(it), it.master.snapshot().apps[0]?.goal], [2, 2]);
    assert.deepEqual(
      it.eventsOf('app.scaled').map(({ from, to }) => [from, to]),
      [
        [2, 4],
        [4, 2],
      ],
    );
  });

  test('goes back to what was there before the first of two tries', () => {
    const it = up({ workers: 2 });
    reload(it, { workers: 4 });
    const second = reload(it, { workers: 4 });
    it.live()
      .find((process) => process.launch?.pinned.revision === 3)
      ?.exits(1);
    finish(it, second);
    assert.equal(places(it), 2);
  });

  test('a second try with the old number undoes the first', () => {
    const it = up({ workers: 2 });
    reload(it, { workers: 4 });
    finish(it, reload(it, { workers: 2 }));
    assert.equal(places(it), 2);
  });

  test('that was set by hand during a rollout survives its rollback', () => {
    const it = up({ workers: 2 });
    const reply = reload(it);
    it.handle({ type: 'scale', app: 'web', change: { to: 3 } });
    it.live()
      .find((process) => process.launch?.pinned.revision === 2)
      ?.exits(1);
    finish(it, reply);
    assert.equal(places(it), 3);
  });
});

describe('in place', () => {
  test('an app with a port: the old one goes first, its successor takes the slot, no warning', () => {
    const it = up({ workers: 2, port: 9000 });
    const reply = reload(it);
    assert.deepEqual(
      it.live().map((process) => process.effects),
      [['SIGTERM'], []],
    );
    assert.equal(it.names().length, 2, 'nobody comes before it is gone');
    it.asked();
    assert.deepEqual(it.places('web'), ['0 r2', '1 r1']);
    it.allReady().after(4_999);
    assert.deepEqual(it.worker('web', 1).effects, []);
    it.after(1).asked();
    assert.deepEqual(it.places('web'), ['0 r2', '1 r2']);
    finish(it, reply);
    assert.equal(it.finished(reply)?.ok, true);
    assert.deepEqual(it.eventsOf('app.warning'), []);
  });

  test('an app that binds a port of its own: in place as well, with a warning that says what to write', () => {
    const it = up({ workers: 2 });
    for (const process of it.workersOf('web')) process.ownPort = true;
    const reply = reload(it);
    assert.deepEqual(
      it.live().map((process) => process.effects),
      [['SIGTERM'], []],
    );
    assert.match(it.eventsOf('app.warning')[0]?.message ?? '', /`listen`.*\{fd\}/);
    finish(it, reply);
    assert.equal(it.finished(reply)?.ok, true);
    assert.deepEqual(it.master.snapshot().apps[0]?.notes, [], 'the note goes with the worker that it names');
  });

  test('the rollback is in place too: the bad one is gone before the good one comes', () => {
    for (const parts of [{ port: 9000 }, {}]) {
      const it = up({ workers: 2, ...parts });
      for (const process of it.workersOf('web')) process.ownPort = true;
      const reply = reload(it);
      it.asked().allReady().after(5_000).asked();
      it.workersOf('web')
        .find((process) => process.launch?.slot === 1)
        ?.exits(1);
      assert.equal(it.eventsOf('rollout.rolled_back').length, 1);
      for (let n = 0; n < 10; n++) {
        assert.equal(
          new Set(it.workersOf('web').map((process) => process.launch?.slot)).size,
          it.workersOf('web').length,
        );
        assert.ok(it.workersOf('web').length <= 2, 'two of them would hold the same port');
        it.allReady().after(1_000).asked();
      }
      assert.equal(it.finished(reply)?.ok, false);
      assert.deepEqual(
        it.places('web').map((place) => place.slice(2)),
        ['r1', 'r1'],
      );
    }
  });

  test('one worker: it is gone for a moment, and comes back when the new revision is bad', () => {
    const it = up({ workers: 1, port: 9000 });
    const reply = reload(it);
    it.asked();
    it.worker('web', 0).exits(1);
    assert.deepEqual(it.places('web'), ['0 r1']);
    assert.equal(it.finished(finish(it, reply) && reply)?.ok, false);
  });

  test('a script, and an app with listen, are never asked for ports of their own', () => {
    const it = up({ listen: [tcp(8000)] });
    for (const process of it.workersOf('web')) process.ownPort = true;
    reload(it);
    assert.equal(it.names().length, 3);
  });
});

describe('what fails before anything is touched', () => {
  test('a socket that cannot be bound: nothing changes, what was bound for it is closed', () => {
    const it = up({ listen: [tcp(8000)] });
    it.bindError = new SuperviseError('socket-in-use', '127.0.0.1:8001 is in use by pid 7');
    const before = it.events.length;
    const reply = reload(it, { listen: [tcp(8001)] });
    assert.ok(!reply.ok && reply.error.code === 'socket-in-use');
    assert.deepEqual([it.events.length, it.bound, it.names()], [before, ['tcp://127.0.0.1:8000'], ['web.1', 'web.2']]);
  });

  test('a program that cannot be found', () => {
    const it = up({ listen: [tcp(8000)] });
    it.pinErrorFor = 'web';
    const before = it.events.length;
    const reply = reload(it, { listen: [tcp(8001)], workers: 7 });
    assert.ok(!reply.ok && reply.error.code === 'program-cannot-run');
    assert.deepEqual([it.events.length, it.bound, it.names()], [before, ['tcp://127.0.0.1:8000'], ['web.1', 'web.2']]);
    it.pinErrorFor = null;
    assert.equal(
      it.finished(finish(it, reload(it)) && reload(it)),
      null,
      'and the next one goes on as if nothing had been',
    );
  });

  test('an app that does not exist', () => {
    const it = up();
    const reply = it.handle({ type: 'reload', spec: null, apps: ['wep'] });
    assert.ok(!reply.ok && reply.error.code === 'unknown-target' && /web/.test(reply.error.hint ?? ''));
  });
});

describe('sockets', () => {
  test('another address: bound before, the old one is closed when the last worker that needs it is gone', () => {
    const it = up({ listen: [tcp(8000)] });
    const reply = reload(it, { listen: [tcp(8001)] });
    assert.deepEqual(it.listening, ['tcp://127.0.0.1:8000', 'tcp://127.0.0.1:8001']);
    it.allReady().after(5_000).asked().allReady();
    it.after(5_000);
    assert.equal(it.finished(reply)?.ok, true);
    assert.deepEqual(
      it.bound,
      ['tcp://127.0.0.1:8000', 'tcp://127.0.0.1:8001'],
      'one of the old ones is still leaving',
    );
    it.asked();
    assert.deepEqual(it.bound, ['tcp://127.0.0.1:8001']);
  });

  test('a rollback closes the new address', () => {
    const it = up({ listen: [tcp(8000)] });
    const reply = reload(it, { listen: [tcp(8001)] });
    it.worker('web', 2).exits(1);
    finish(it, reply);
    assert.deepEqual(it.bound, ['tcp://127.0.0.1:8000']);
  });
});
