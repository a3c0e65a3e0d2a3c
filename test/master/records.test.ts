/** The record of every exit, what came next, and why each process was started. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import type { Target } from '../../src/core/protocol.ts';
import type { AppSpec } from '../../src/core/spec.ts';
import { whyParagraphs } from '../../src/core/why.ts';
import { app, World } from '../helpers/world.ts';

function up(parts: Partial<AppSpec> = {}): World {
  return new World({ apps: [app('web', { workers: 2, ...parts })] }).start().allReady();
}

const target = (name: string): Target => ({
  app: name.split('.')[0] ?? name,
  worker: name.includes('.') ? name : null,
});

const starts = (it: World, name: string) =>
  it.master.why(target(name), 5).workers.map(({ id, start }) => [id, start?.why, start?.of, start?.after]);

describe('an exit', () => {
  test('is recorded with all that is known of it', () => {
    const it = up();
    it.after(3_000);
    it.worker('web', 1).exits(3, { lastLines: ['boom'] });
    const [record, ...others] = it.exitRecords;
    assert.deepEqual(others, []);
    assert.deepEqual(record, {
      at: '2026-01-01T00:00:03.000Z',
      app: 'web',
      worker: 'web.2',
      slot: 1,
      pid: 1001,
      revision: 1,
      cause: 'crash',
      code: 3,
      signal: null,
      error: null,
      oom: null,
      reason: null,
      uptimeMs: 3_000,
      readyMs: 0,
      restarts: 0,
      spare: null,
      lastLines: ['boom'],
      curve: [],
      next: { type: 'restarted' },
    });
    assert.deepEqual(starts(it, 'web.2'), [['web.2', 'respawn', null, 'its process before crashed with exit code 3']]);
  });

  test('says what came next: backoff with its delay, failed, completed', () => {
    const it = up();
    for (const _ of [1, 2]) it.worker('web', 0).exits(1);
    it.after(500);
    assert.deepEqual(
      it.exitRecords.map(({ next, readyMs, restarts }) => [next, readyMs, restarts]),
      [
        [{ type: 'backoff', delayMs: 500, crashes: 2 }, null, 1],
        [{ type: 'restarted' }, 0, 0],
      ],
    );
    const never = up({ restart: 'never' });
    never.worker('web', 0).exits(1);
    never.worker('web', 1).exits(0);
    assert.deepEqual(
      never.exitRecords.map(({ next, cause }) => [cause, next]),
      [
        ['exit', { type: 'completed' }],
        ['crash', { type: 'failed', delayMs: null, crashes: 0 }],
      ],
    );
  });

  test('that the kernel forced for want of memory is of the cause oom, with its proof; it counts as a crash', () => {
    const it = up();
    it.worker('web', 0).exits(null, { signal: 'SIGKILL', oom: 'memory cgroup /x counted 1 oom_kill' });
    it.worker('web', 0).exits(null, { signal: 'SIGKILL' });
    assert.deepEqual(
      it.exitRecords.map(({ cause, oom, next }) => [cause, oom, next.type]),
      [
        ['signal', null, 'backoff'],
        ['oom', 'memory cgroup /x counted 1 oom_kill', 'restarted'],
      ],
    );
    assert.deepEqual(
      it.eventsOf('worker.exited').map(({ cause, oom }) => [cause, oom]),
      [
        ['oom', 'memory cgroup /x counted 1 oom_kill'],
        ['signal', undefined],
      ],
    );
  });

  test('of a worker that is being stopped keeps the reason of the stop, whatever killed it', () => {
    const it = up();
    it.handle({ type: 'stop', how: 'graceful' });
    it.worker('web', 0).exits(null, { signal: 'SIGKILL', oom: 'proof' });
    it.asked();
    assert.deepEqual(
      it.exitRecords.map(({ worker, cause, next }) => [worker, cause, next]),
      [
        ['web.2', 'stop', { type: 'stopped', by: null }],
        ['web.1', 'stop', { type: 'stopped', by: null }],
      ],
    );
    it.expectEnded(0);
  });

  test('keeps the curve of its own process only', () => {
    const it = up({ workers: 1 });
    const sampled = (memoryBytes: number) => {
      it.samples = new Map([['web.1', { cpuPercent: 1, memoryBytes, memoryKind: 'rss', processes: 1 }]]);
      it.after(2_000);
    };
    [10, 20, 30, 0].forEach(sampled);
    it.worker('web', 0).exits(1);
    it.allReady();
    sampled(5);
    it.worker('web', 0).exits(1);
    assert.deepEqual(
      it.exitRecords.map(({ curve }) => curve.map(({ beforeMs, memoryBytes }) => [beforeMs, memoryBytes])),
      [
        [[0, 5]],
        [
          [6_000, 10],
          [4_000, 20],
          [2_000, 30],
        ],
      ],
    );
  });

  test('while a sample is being taken: what comes late is not the next process’s', () => {
    const it = up({ workers: 1 });
    it.slowSamples = [];
    it.samples = new Map([['web.1', { cpuPercent: 1, memoryBytes: 99, memoryKind: 'rss', processes: 1 }]]);
    it.after(2_000);
    it.worker('web', 0).exits(1);
    it.slowSamples.forEach((answer) => answer());
    it.worker('web', 0).exits(1);
    assert.deepEqual(
      it.exitRecords.map(({ curve }) => curve),
      [[], []],
    );
  });
});

describe('who takes whose place', () => {
  test('in a reload each old worker is replaced by a new one, each new one by itself', () => {
    const it = up({ workers: 3 });
    it.handle({ type: 'reload', spec: null, apps: null });
    for (let round = 0; round < 8; round++) it.allReady().asked().after(1_000);
    assert.deepEqual(it.places('web').length, 3);
    const replaced = it.exitRecords.map(({ worker, cause, next }) => [
      worker,
      cause,
      next.type === 'stopped' ? next.by : next.type,
    ]);
    assert.deepEqual(replaced.toReversed(), [
      ['web.1', 'reload', 'web.4'],
      ['web.2', 'reload', 'web.5'],
      ['web.3', 'reload', 'web.6'],
    ]);
    assert.deepEqual(
      starts(it, 'web')
        .map(([id, why, of]) => `${id} ${why} ${of}`)
        .toSorted(),
      ['web.4 reload web.1', 'web.5 reload web.2', 'web.6 reload web.3'],
    );
  });

  test('in a restart the successor takes the slot', () => {
    const it = up();
    it.handle({ type: 'restart', target: { app: 'web', worker: null } });
    it.asked().allReady();
    assert.deepEqual(
      it.exitRecords.map(({ worker, cause, next }) => [worker, cause, next]),
      [
        ['web.2', 'restart', { type: 'stopped', by: 'web.4' }],
        ['web.1', 'restart', { type: 'stopped', by: 'web.3' }],
      ],
    );
    assert.deepEqual(starts(it, 'web.3'), [['web.3', 'restart', 'web.1', null]]);
  });

  test('after a scale down nobody; a scale up and the first start say so', () => {
    const it = up();
    assert.deepEqual(
      starts(it, 'web').map(([, why]) => why),
      ['start', 'start'],
    );
    it.handle({ type: 'scale', app: 'web', change: { to: 3 } });
    assert.deepEqual(starts(it, 'web.3'), [['web.3', 'scale-up', null, null]]);
    it.allReady().handle({ type: 'scale', app: 'web', change: { to: 1 } });
    it.asked();
    assert.deepEqual(
      it.exitRecords.map(({ worker, cause, next }) => [worker, cause, next]),
      [
        ['web.3', 'scale-down', { type: 'stopped', by: null }],
        ['web.2', 'scale-down', { type: 'stopped', by: null }],
      ],
    );
  });

  test('after a failed reload the failed worker is replaced by nobody, and the old ones are left alone', () => {
    const it = up();
    it.handle({ type: 'reload', spec: null, apps: null });
    it.worker('web', 2).exits(1, { lastLines: ['no such module'] });
    it.asked().after(1_000);
    assert.deepEqual(it.places('web'), ['0 r1', '1 r1']);
    assert.deepEqual(
      it.exitRecords.map(({ worker, revision, cause, lastLines }) => [worker, revision, cause, lastLines]),
      [['web.3', 2, 'crash', ['no such module']]],
    );
    assert.deepEqual(
      starts(it, 'web').map(([, why]) => why),
      ['start', 'start'],
    );
    it.worker('web', 0).exits(1);
    assert.deepEqual(
      starts(it, 'web.1').map(([, why]) => why),
      ['respawn'],
    );
  });
});

describe('a worker that is replaced for what ails it', () => {
  const none = { memoryBytes: null, lifetimeMs: null, jitter: 0 };
  const told = (it: World) =>
    it.exitRecords.map(({ worker, cause, reason, next }) => [
      worker,
      cause,
      reason,
      next.type === 'stopped' ? next.by : next.type,
    ]);

  test('for its memory: the reason, the curve, and who followed', () => {
    const it = up({ limits: { ...none, memoryBytes: 100 } });
    it.samples = new Map([['web.1', { cpuPercent: 1, memoryBytes: 101, memoryKind: 'rss', processes: 1 }]]);
    it.after(6_000);
    assert.match(it.master.why(target('web.1'), 1).workers[0]?.reason ?? '', /memory/);
    const [[id, why, of, after] = []] = starts(it, 'web.3');
    assert.deepEqual([id, why, of], ['web.3', 'replacement', 'web.1']);
    it.allReady().asked();
    assert.deepEqual(told(it), [['web.1', 'memory-limit', after, 'web.3']]);
    assert.match(String(after), /^it used 101B of its limit of 100B in 3 samples in a row$/);
    assert.deepEqual(
      it.exitRecords[0]?.curve.map(({ memoryBytes }) => memoryBytes),
      [101, 101, 101],
    );
  });

  test('for its age, one after the other', () => {
    const it = up({ limits: { ...none, lifetimeMs: 60_000 } });
    it.after(60_000);
    for (let round = 0; round < 3; round++) it.allReady().asked();
    assert.deepEqual(told(it).toReversed(), [
      ['web.1', 'lifetime', 'it was older than its lifetime of 1m', 'web.3'],
      ['web.2', 'lifetime', 'it was older than its lifetime of 1m', 'web.4'],
    ]);
  });

  test('for hanging', () => {
    const it = up({ stall: { afterMs: 30_000, action: 'restart', signal: null } });
    it.worker('web', 0).stalls('it spins');
    assert.equal(it.master.why(target('web.1'), 1).workers[0]?.reason, 'stall; killed in 5s');
    for (let round = 0; round < 4; round++) it.allReady().asked().after(1_000);
    assert.deepEqual(told(it), [['web.1', 'stall', 'it spins', 'web.3']]);
  });
});

function whyText(it: World, worker: string): string {
  return whyParagraphs(it.master.why(target(worker), 5), (at) => at)
    .map(({ headline }) => headline)
    .join('\n');
}

describe('why', () => {
  test('tells what is wrong with a worker that waits', () => {
    const it = up();
    for (const _ of [1, 2]) it.worker('web', 0).exits(1);
    const { workers, records, running } = it.master.why(target('web.1'), 1);
    assert.equal(running, true);
    assert.deepEqual(
      workers.map(({ id, state, reason }) => [id, state, reason]),
      [['web.1', 'backoff', 'exit code 1, 2 crashes in a row; next start in 500ms']],
    );
    assert.deepEqual(
      records.map(({ restarts }) => restarts),
      [1],
    );
  });

  test('tells of a worker that had to be killed at its stop, but not of one that nobody asked', () => {
    const it = up();
    it.handle({ type: 'restart', target: { app: 'web', worker: 'web.1' } });
    it.after(30_000).asked(137);
    const reasons = () => it.exitRecords.map(({ worker, cause, reason }) => [worker, cause, reason]);
    assert.deepEqual(reasons(), [['web.1', 'restart', 'it did not end in time (stop.timeout) and was killed']]);
    assert.match(whyText(it, 'web.1'), /was stopped by `supervise restart` at .*: it did not end in time/);
    it.handle({ type: 'stop', how: 'now' });
    it.asked(137);
    assert.deepEqual(reasons()[0]?.slice(1), ['stop', null]);
  });

  test('knows a worker that is gone by its record, and names what is known else', () => {
    const it = up();
    it.handle({ type: 'restart', target: { app: 'web', worker: 'web.1' } });
    it.asked();
    assert.deepEqual(
      it.master.why(target('web.1'), 5).records.map(({ cause }) => cause),
      ['restart'],
    );
    assert.deepEqual(it.master.why(target('web'), 0).records, []);
    assert.throws(() => it.master.why(target('wbe'), 5), {
      code: 'unknown-target',
      message: 'there is no app or worker wbe, and no record of one',
      hint: 'known here: web, web.3, web.2',
    });
    assert.throws(() => it.master.why(target('web.9'), 5), { code: 'unknown-target' });
  });
});
