import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import type { ScaleChange } from '../../src/core/protocol.ts';
import type { AppSpec } from '../../src/core/spec.ts';
import { app, World } from '../helpers/world.ts';

function up(workers: number, parts: Partial<AppSpec> = {}): World {
  return new World({ apps: [app('web', { workers, ...parts })] }).start().allReady();
}

function scale(it: World, change: ScaleChange) {
  return it.handle({ type: 'scale', app: 'web', change });
}

describe('scale', () => {
  test('up: new workers in the lowest free slots; done when they are ready', () => {
    const it = up(2);
    const reply = scale(it, { to: 4 });
    assert.deepEqual(it.names(), ['web.1', 'web.2', 'web.3', 'web.4']);
    it.worker('web', 2).becomesReady();
    assert.equal(it.finished(reply), null);
    it.worker('web', 3).becomesReady();
    assert.equal(it.finished(reply)?.ok, true);
    assert.deepEqual(
      it.eventsOf('app.scaled').map(({ from, to }) => [from, to]),
      [[2, 4]],
    );
  });

  test('by +N and -N, not below what the sender allows', () => {
    const it = up(2);
    scale(it, { by: 2, atLeast: 0 });
    assert.equal(it.names().length, 4);
    scale(it, { by: -3, atLeast: 0 });
    it.asked();
    assert.equal(it.names().length, 1);
    scale(it, { by: -1, atLeast: 1 });
    it.asked();
    assert.equal(it.names().length, 1);
    scale(it, { by: -5, atLeast: 0 });
    it.asked();
    assert.deepEqual(it.names(), []);
    scale(it, { by: -1, atLeast: 1 });
    assert.deepEqual(it.names(), [], 'from 0 it does not go up to 1');
  });

  test('more than there are ports for are refused; so many, and fewer, are not', () => {
    const tcp = { probe: { kind: 'tcp', port: null }, intervalMs: 1000, timeoutMs: 1000, failures: 3 } as const;
    const refusals = [{ port: 65_532 }, { port: 8000, ready: { kind: 'tcp', port: 65_532 } as const }].map((more) => {
      const it = up(2, { health: tcp, ...more });
      const reply = scale(it, { to: 4 });
      assert.equal(it.names().length, 2);
      assert.ok(scale(it, { to: 3 }).ok && scale(it, { to: 1 }).ok);
      return reply.ok ? null : [reply.error.code, reply.error.message];
    });
    const refusal =
      'web: expected at most 3 workers, found 4: slot n has port 65532 + n, and 65535 is the last; 1 more runs during a reload';
    assert.deepEqual(refusals, [
      ['usage', refusal],
      ['usage', refusal],
    ]);
  });

  test('down: the highest slots go; done when they are gone', () => {
    const it = up(4);
    const reply = scale(it, { to: 2 });
    assert.deepEqual(
      it.live().map((process) => process.effects),
      [[], [], ['SIGTERM'], ['SIGTERM']],
    );
    it.worker('web', 3).exits(0);
    assert.equal(it.finished(reply), null);
    it.worker('web', 2).exits(0);
    assert.equal(it.finished(reply)?.ok, true);
    assert.deepEqual(it.names(), ['web.1', 'web.2']);
  });

  test('down: failed, backoff and starting ones go before those that serve', () => {
    const it = up(4);
    it.worker('web', 0).exits(1);
    for (let n = 0; n < 2; n++) it.worker('web', 1).exits(1);
    scale(it, { to: 2 });
    it.asked();
    assert.deepEqual(it.names(), ['web.3', 'web.4']);
  });

  test('to 0: the app is running without workers, and the master goes on', () => {
    const it = up(2);
    const reply = scale(it, { to: 0 });
    it.asked();
    assert.equal(it.finished(reply)?.ok, true);
    it.after(60_000);
    it.expectNotEnded();
    assert.equal(it.appState('web'), 'running');
    scale(it, { to: 1 });
    assert.deepEqual(it.names(), ['web.3'], 'a slot is reused, an id never');
  });

  test('another scale supersedes it', () => {
    const it = up(1);
    const first = scale(it, { to: 4 });
    const second = scale(it, { to: 2 });
    assert.equal(it.finished(first)?.ok, false);
    it.asked().allReady();
    assert.equal(it.finished(second)?.ok, true);
    assert.deepEqual(it.places('web'), ['0 r1', '1 r1']);
  });

  test('a new worker that does not come up: the operation fails with its last lines, the old ones are left alone', () => {
    const it = up(2);
    const reply = scale(it, { to: 3 });
    it.worker('web', 2).exits(1, { lastLines: ['out of licences'] });
    const end = it.finished(reply);
    assert.deepEqual([end?.ok, end?.lastLines], [false, ['out of licences']]);
    assert.match(end?.message ?? '', /web\.3.*exit code 1/);
    it.after(500).allReady();
    assert.equal(it.appState('web'), 'running', 'it is tried again all the same');
  });

  test('a sibling that was in trouble before, or gets into it now, does not fail the operation, nor hold it up', () => {
    const it = up(3);
    for (let n = 0; n < 2; n++) it.worker('web', 0).exits(1);
    const reply = scale(it, { to: 4 });
    it.worker('web', 1).exits(1);
    assert.equal(it.finished(reply), null);
    it.worker('web', 3).becomesReady();
    assert.equal(it.finished(reply)?.ok, true);
  });

  test('to what it is already: done at once', () => {
    const it = up(2);
    assert.equal(it.finished(scale(it, { to: 2 }))?.ok, true);
    assert.deepEqual(it.eventsOf('app.scaled'), []);
  });

  test('while those of an earlier scale-down still leave: their slots and places stay taken', () => {
    const it = up(4);
    scale(it, { to: 1 });
    scale(it, { to: 4 });
    assert.deepEqual(it.places('web').length, 5, 'four leave or stay, and max_surge is 1');
    it.asked().allReady();
    assert.deepEqual(it.places('web').length, 4);
  });

  test('without a name: the first app; an unknown name is refused', () => {
    const it = new World({ apps: [app('web'), app('mail')] }).start().allReady();
    it.handle({ type: 'scale', app: null, change: { by: 1, atLeast: 1 } });
    assert.equal(it.workersOf('web').length, 2);
    const wrong = it.handle({ type: 'scale', app: 'wep', change: { to: 3 } });
    assert.ok(!wrong.ok && wrong.error.code === 'unknown-target');
  });
});

describe('restart', () => {
  test('of an app: all are asked, each successor takes the slot; new ids, the same revision', () => {
    const it = up(2);
    const reply = it.handle({ type: 'restart', target: { app: 'web', worker: null } });
    assert.deepEqual(
      it.live().map((process) => process.effects),
      [['SIGTERM'], ['SIGTERM']],
    );
    it.worker('web', 1).exits(0);
    assert.deepEqual([it.worker('web', 1).name, it.worker('web', 1).launch?.pinned.revision], ['web.3', 1]);
    it.worker('web', 0).exits(0);
    assert.equal(it.worker('web', 0).name, 'web.4');
    assert.equal(it.finished(reply), null);
    it.allReady();
    assert.equal(it.finished(reply)?.ok, true);
  });

  test('of one worker, in a slot above a free one: the successor takes that slot', () => {
    const it = up(2);
    const reply = it.handle({ type: 'reload', spec: null, apps: null });
    for (let n = 0; n < 4; n++) it.allReady().after(5_000).asked();
    assert.equal(it.finished(reply)?.ok, true);
    assert.deepEqual(it.places('web'), ['0 r2', '2 r2']);
    it.handle({ type: 'restart', target: { app: 'web', worker: it.worker('web', 2).name } });
    it.asked();
    assert.deepEqual(it.places('web'), ['0 r2', '2 r2']);
  });

  test('of workers without a process: at once, in the same slots', () => {
    const it = up(3);
    for (let n = 0; n < 2; n++) for (const slot of [1, 2]) it.worker('web', slot).exits(1);
    const reply = it.handle({ type: 'restart', target: { app: 'web', worker: 'web.3' } });
    assert.equal(it.worker('web', 2).name, 'web.4');
    it.worker('web', 2).becomesReady();
    assert.equal(it.finished(reply)?.ok, true);
  });

  test('the crashes of the predecessor are forgotten', () => {
    const it = up(1);
    for (let n = 0; n < 2; n++) it.worker('web', 0).exits(1);
    it.handle({ type: 'restart', target: { app: 'web', worker: null } });
    it.allReady().worker('web', 0).exits(1);
    assert.equal(it.timeline('web.2').at(-1), 'starting');
  });

  test('a successor that does not come up: the operation fails', () => {
    const it = up(1);
    const reply = it.handle({ type: 'restart', target: { app: 'web', worker: 'web.1' } });
    it.asked();
    it.worker('web', 0).exits(1, { lastLines: ['boom'] });
    assert.deepEqual([it.finished(reply)?.ok, it.finished(reply)?.lastLines], [false, ['boom']]);
  });

  test('one that does not end in time is killed, and the successor waits for its end', () => {
    const it = up(1);
    it.handle({ type: 'restart', target: { app: 'web', worker: null } });
    it.after(30_000);
    assert.deepEqual(
      it.live().map((process) => process.effects),
      [['SIGTERM', 'SIGKILL']],
    );
    it.worker('web', 0).dies('SIGKILL');
    assert.deepEqual(it.names(), ['web.2']);
  });

  test('of an app that has completed or failed for good: it runs again', () => {
    const it = new World({ apps: [app('web'), app('job', { restart: 'never' })] }).start();
    it.worker('web', 0).becomesReady();
    it.worker('job', 0).exits(1);
    it.handle({ type: 'restart', target: { app: 'job', worker: null } });
    assert.deepEqual(it.names(), ['web.1', 'job.2']);
  });

  test('an unknown worker is refused', () => {
    const it = up(1);
    const reply = it.handle({ type: 'restart', target: { app: 'web', worker: 'web.7' } });
    assert.ok(!reply.ok && reply.error.code === 'unknown-target');
  });
});
