import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import type { AppSpec } from '../../src/core/spec.ts';
import { app, World } from '../helpers/world.ts';

function up(parts: Partial<AppSpec> = {}): World {
  return new World({ apps: [app('web', { workers: 2, ...parts })] }).start().allReady();
}

describe('a crash', () => {
  test('keeps the id, the slot and the revision; the restart is counted', () => {
    const it = up();
    it.worker('web', 1).exits(1);
    const [, worker] = it.master.snapshot().apps[0]?.workers ?? [];
    assert.deepEqual(
      [worker?.id, worker?.slot, worker?.revision, worker?.restarts, worker?.state],
      ['web.2', 1, 1, 1, 'starting'],
    );
    assert.deepEqual([worker?.lastExit?.code, worker?.lastExit?.cause], [1, 'crash']);
    assert.equal(it.appState('web'), 'degraded');
    it.allReady();
    assert.equal(it.appState('web'), 'running');
  });

  test('the events tell it in order: exited, then what comes next', () => {
    const it = up();
    const from = it.events.length;
    it.worker('web', 0).exits(1, { lastLines: ['boom'] });
    it.worker('web', 0).exits(1);
    it.after(500);
    const told = it.events
      .slice(from)
      .filter((event) => event.type.startsWith('worker'))
      .map((event) => event.type);
    assert.deepEqual(told, ['worker.exited', 'worker.starting', 'worker.exited', 'worker.backoff', 'worker.starting']);
    assert.deepEqual(
      it.eventsOf('worker.exited').map(({ code, cause, lastLines }) => [code, cause, lastLines]),
      [
        [1, 'crash', ['boom']],
        [1, 'crash', []],
      ],
    );
    assert.deepEqual(
      it.eventsOf('worker.backoff').map(({ delayMs, crashes }) => [delayMs, crashes]),
      [[500, 2]],
    );
  });

  test('a worker that crashes again and again never touches its siblings, and its delays follow the policy', () => {
    const it = up({ workers: 3 });
    for (let n = 0; n < 12; n++) {
      it.worker('web', 1).exits(1);
      while (it.workersOf('web').length < 3) it.after(500);
    }
    assert.deepEqual(
      it.eventsOf('worker.backoff').map((event) => event.delayMs),
      [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000],
    );
    assert.deepEqual(
      it.eventsOf('worker.failed').map((event) => event.delayMs),
      [60_000, 60_000, 60_000, 60_000],
    );
    assert.deepEqual(it.timeline('web.1'), ['starting', 'ready']);
    assert.deepEqual(it.timeline('web.3'), ['starting', 'ready']);
  });

  test('the jitter shortens the delay by the random share of the clock', () => {
    const it = up();
    it.clock.randomValue = 0.5;
    it.worker('web', 0).exits(1);
    it.worker('web', 0).exits(1);
    assert.deepEqual(
      it.eventsOf('worker.backoff').map((event) => event.delayMs),
      [375],
    );
  });

  test('all failed: the app is failed, the master goes on, and a trial that succeeds heals it', () => {
    const it = up({ backoff: { ...app('x').backoff, maxCrashes: 0 } });
    for (const process of it.workersOf('web')) process.exits(1);
    assert.equal(it.appState('web'), 'failed');
    it.expectNotEnded();
    it.after(60_000).allReady();
    assert.equal(it.appState('web'), 'running');
  });

  test('a process that has crashed and is not ready in time again is asked, killed, and tried later', () => {
    const it = up({ workers: 1 });
    it.worker('web', 0).exits(1);
    it.after(60_000);
    assert.deepEqual(it.worker('web', 0).effects, ['SIGTERM']);
    it.after(30_000);
    assert.deepEqual(it.worker('web', 0).effects, ['SIGTERM', 'SIGKILL']);
    it.worker('web', 0).dies('SIGKILL');
    assert.deepEqual(it.names(), []);
    it.after(500);
    assert.deepEqual(it.names(), ['web.1']);
    assert.deepEqual(it.timeline('web.1').slice(2), ['starting', 'stopping', 'killing', 'backoff', 'starting']);
  });
});

describe('callbacks of a process that is no longer current', () => {
  test('ready and warnings are dropped', () => {
    const it = up({ workers: 1 });
    const old = it.worker('web', 0);
    old.exits(1);
    old.becomesReady();
    old.warns('I am late');
    assert.equal(it.timeline('web.1').at(-1), 'starting');
    assert.deepEqual(it.eventsOf('app.warning'), []);
  });

  test('those of a worker that was replaced do nothing', () => {
    const it = up({ workers: 1 });
    const old = it.worker('web', 0);
    it.handle({ type: 'restart', target: { app: 'web', worker: null } });
    it.asked();
    const count = it.events.length;
    old.becomesReady();
    old.warns('I am late');
    assert.equal(it.events.length, count);
  });

  test('a sample of an earlier process is not shown for its successor', () => {
    const it = up({ workers: 1 });
    it.slowSamples = [];
    it.samples.set('web.1', { cpuPercent: 12.5, memoryBytes: 1_000, memoryKind: 'rss', processes: 3 });
    it.after(2_000);
    it.worker('web', 0).exits(1);
    for (const answer of it.slowSamples) answer();
    assert.equal(it.master.snapshot().apps[0]?.workers[0]?.memoryBytes, null);
    it.slowSamples = null;
    it.after(2_000);
    assert.equal(it.master.snapshot().apps[0]?.workers[0]?.memoryBytes, 1_000);
  });
});

describe('warnings of a worker', () => {
  test('are told once, stand in the notes, and go with the worker', () => {
    const it = up();
    it.worker('web', 0).warns('cannot read /proc');
    it.worker('web', 0).warns('cannot read /proc');
    assert.deepEqual(
      it.eventsOf('app.warning').map((event) => event.message),
      ['web.1: cannot read /proc'],
    );
    assert.deepEqual(it.master.snapshot().apps[0]?.notes, ['web.1: cannot read /proc']);
    it.handle({ type: 'restart', target: { app: 'web', worker: 'web.1' } });
    it.asked();
    assert.deepEqual(it.master.snapshot().apps[0]?.notes, []);
  });
});

describe('retry', () => {
  test('ends the backoff of all workers, of an app, or of one', () => {
    const it = new World({ apps: [app('web', { workers: 2 }), app('mail')] }).start().allReady();
    const wait = () => {
      for (let n = 0; n < 9; n++) for (const process of it.live()) process.exits(1);
      assert.deepEqual(it.names(), []);
    };
    wait();
    const one = it.handle({ type: 'retry', target: { app: 'web', worker: 'web.2' } });
    assert.ok(one.ok && /1 worker/.test(one.message));
    assert.deepEqual(it.names(), ['web.2']);
    wait();
    it.handle({ type: 'retry', target: { app: 'web', worker: null } });
    assert.deepEqual(it.names(), ['web.1', 'web.2']);
    wait();
    const all = it.handle({ type: 'retry', target: null });
    assert.ok(all.ok && /3 workers/.test(all.message));
    const none = it.handle({ type: 'retry', target: null });
    assert.ok(none.ok && /no worker was waiting/.test(none.message));
  });

  test('a stale deadline does not start a second process', () => {
    const it = up({ workers: 1 });
    it.worker('web', 0).exits(1);
    it.worker('web', 0).exits(1);
    it.handle({ type: 'retry', target: null });
    it.after(10_000);
    assert.equal(it.processes.length, 3);
  });
});

describe('signal', () => {
  test('reaches the workers, and an exit that follows is not a crash', () => {
    const it = up();
    const reply = it.handle({ type: 'signal', target: { app: 'web', worker: null }, signal: 'SIGUSR1' });
    assert.ok(reply.ok && /2 workers/.test(reply.message));
    assert.deepEqual(
      it.live().map((process) => process.effects),
      [['signal SIGUSR1'], ['signal SIGUSR1']],
    );
    for (let n = 0; n < 10; n++) {
      it.handle({ type: 'signal', target: { app: 'web', worker: 'web.1' }, signal: 'SIGKILL' });
      it.worker('web', 0).dies('SIGKILL');
    }
    assert.deepEqual(it.eventsOf('worker.backoff'), []);
    assert.deepEqual(
      it.eventsOf('worker.exited').map((event) => event.cause),
      Array(10).fill('asked'),
    );
  });

  test('a worker without a process is left out', () => {
    const it = up();
    it.worker('web', 0).exits(1);
    it.worker('web', 0).exits(1);
    const reply = it.handle({ type: 'signal', target: { app: 'web', worker: null }, signal: 'SIGUSR1' });
    assert.ok(reply.ok && /1 worker/.test(reply.message));
  });

  test('unknown targets are refused, and it is said which there are', () => {
    const it = up();
    const app = it.handle({ type: 'signal', target: { app: 'wep', worker: null }, signal: 'SIGUSR1' });
    assert.ok(!app.ok && app.error.code === 'unknown-target' && /web/.test(app.error.hint ?? ''));
    const worker = it.handle({ type: 'signal', target: { app: 'web', worker: 'web.9' }, signal: 'SIGUSR1' });
    assert.ok(!worker.ok && worker.error.code === 'unknown-target' && /web\.1, web\.2/.test(worker.error.hint ?? ''));
  });
});
