import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import type { AppSpec, HealthSpec } from '../../src/core/spec.ts';
import { app, World } from '../helpers/world.ts';

const health: HealthSpec = {
  probe: { kind: 'http', path: '/healthz', port: null },
  intervalMs: 10_000,
  timeoutMs: 2_000,
  failures: 3,
};

function up(parts: Partial<AppSpec>): World {
  return new World({ apps: [app('web', parts)] }).start().allReady();
}

/** All workers are probed now; those in these slots fail. */
function probes(it: World, sick: readonly number[]): World {
  it.after(10_000);
  for (const process of it.workersOf('web')) {
    if (process.probing !== null) process.answers(sick.includes(process.launch?.slot ?? -1) ? 'answered 503' : null);
  }
  return it;
}

function notes(it: World): string {
  return it.master.snapshot().apps[0]?.notes.join('; ') ?? '';
}

test('one that hung, goes on again and is over its lifetime has its successor first', () => {
  const limits = { memoryBytes: null, lifetimeMs: 30_000, jitter: 0 };
  const stall = { afterMs: 5_000, action: 'restart', signal: null } as const;
  const it = up({ workers: 3, limits, stall });
  it.worker('web', 1).exits(1);
  it.worker('web', 2).exits(1);
  it.worker('web', 0).stalls();
  assert.deepEqual(it.worker('web', 0).effects, [], 'fewer than the floor serve: it may go on again');
  it.after(30_000).worker('web', 0).stalls(null);
  for (const slot of [1, 2]) it.worker('web', slot).becomesReady();
  assert.deepEqual(it.worker('web', 0).effects, []);
  it.worker('web', 3).becomesReady();
  assert.deepEqual(it.worker('web', 0).effects, ['SIGTERM']);
});

describe('health', () => {
  test('a worker that fails its probes in a row is replaced, the new one first', () => {
    const it = up({ workers: 3, health });
    probes(probes(it, [1]), [1]);
    assert.deepEqual(it.names(), ['web.1', 'web.2', 'web.3']);
    probes(it, [1]);
    assert.deepEqual(it.names(), ['web.1', 'web.2', 'web.3'], 'the others may be found to be no better');
    probes(it, [1]).after(1_999);
    assert.deepEqual(it.names(), ['web.1', 'web.2', 'web.3'], 'they have so long to answer');
    it.after(1);
    assert.deepEqual(it.names(), ['web.1', 'web.2', 'web.3', 'web.4']);
    assert.deepEqual(it.worker('web', 1).effects, []);
    assert.equal(it.master.snapshot().apps[0]?.workers[1]?.reason, 'is not healthy: answered 503');
    it.worker('web', 3).becomesReady();
    assert.deepEqual(it.worker('web', 1).effects, ['SIGTERM']);
    it.asked();
    assert.deepEqual(
      it.eventsOf('worker.exited').map(({ worker, cause }) => [worker, cause]),
      [['web.2', 'health']],
    );
    assert.deepEqual(it.names(), ['web.1', 'web.3', 'web.4']);
  });

  test('one good probe in between starts the count anew', () => {
    const it = up({ workers: 2, health });
    for (const sick of [[0], [0], [], [0], [0]]) probes(it, sick);
    assert.deepEqual(
      it.types().filter((type) => type === 'worker.unhealthy'),
      [],
    );
  });

  test('one that is healthy again before its successor serves stays, and the successor goes', () => {
    const it = up({ workers: 2, health });
    for (let n = 0; n < 4; n++) probes(it, [0]);
    it.after(2_000);
    assert.deepEqual(it.names(), ['web.1', 'web.2', 'web.3']);
    probes(it, []);
    assert.deepEqual(
      it.eventsOf('worker.recovered').map(({ worker, from }) => [worker, from]),
      [['web.1', 'health']],
    );
    it.asked();
    assert.deepEqual(it.names(), ['web.1', 'web.2']);
  });

  test('with over half of them unhealthy none is replaced, and status says so', () => {
    const it = up({ workers: 3, health });
    for (let n = 0; n < 6; n++) probes(it, [0, 1]);
    assert.deepEqual(it.names(), ['web.1', 'web.2', 'web.3']);
    assert.equal(it.types().filter((type) => type === 'worker.starting').length, 3, 'not even tried');
    assert.match(notes(it), /over half of the workers are not healthy/);
    assert.deepEqual(
      it.eventsOf('app.warning').map(({ app, message }) => [app, message]),
      [['web', notes(it)]],
      'and the log, once',
    );
    probes(it, [0]);
    assert.deepEqual(it.names(), ['web.1', 'web.2', 'web.3', 'web.4'], 'the one that still is');
    assert.doesNotMatch(notes(it), /over half/);
  });

  test('and the log says so again when it comes to that again', () => {
    const it = up({ workers: 2, health: { ...health, failures: 1 } });
    for (const sick of [[0, 1], [0, 1], [], [0, 1]]) probes(it, sick);
    assert.equal(it.eventsOf('app.warning').length, 2);
  });

  test('a successor inherits the crashes in a row, so that nothing is replaced endlessly without delay', () => {
    const it = up({
      workers: 1,
      health: { ...health, intervalMs: 1_000, failures: 1 },
      backoff: { ...app('x').backoff, stableAfterMs: 60_000 },
    });
    const delays: (number | undefined)[] = [];
    for (let n = 0; n < 4; n++) {
      it.after(1_000);
      for (const process of it.workersOf('web')) if (process.probing !== null) process.answers('down');
      const newest = it.eventsOf('worker.backoff').at(-1)?.delayMs;
      delays.push(newest);
      it.after(newest ?? 0)
        .allReady()
        .asked();
    }
    assert.deepEqual(delays, [undefined, 500, 1000, 2000]);
  });

  test('only its successor inherits them', () => {
    const it = up({
      workers: 1,
      health: { ...health, intervalMs: 1_000, failures: 1 },
      backoff: { ...app('x').backoff, stableAfterMs: 60_000 },
    });
    it.after(1_000).worker('web', 0).answers('down');
    it.allReady().asked().after(1_000);
    it.workersOf('web')[0]?.answers('down');
    it.handle({ type: 'scale', app: 'web', change: { to: 3 } });
    assert.deepEqual(
      it.eventsOf('worker.backoff').map(({ worker }) => worker),
      ['web.3'],
    );
  });

  test('one that falls ill once more hands them on once more', () => {
    const it = up({
      health: { ...health, intervalMs: 1_000, failures: 1 },
      backoff: { ...app('x').backoff, stableAfterMs: 60_000 },
    });
    it.worker('web', 0).exits(1);
    it.allReady();
    for (const failure of ['down', null, 'down']) {
      it.after(1_000).worker('web', 0).answers(failure);
      it.asked();
    }
    assert.deepEqual(
      it.eventsOf('worker.backoff').map(({ worker, delayMs }) => [worker, delayMs]),
      [
        ['web.2', 500],
        ['web.3', 500],
      ],
    );
  });

  test('a probe under way is dropped when the worker ends, and its successor is probed in its own time', () => {
    const it = up({ workers: 1, health: { ...health, failures: 1 } }).after(10_000);
    const process = it.worker('web', 0);
    const answer = process.probing;
    assert.ok(answer);
    process.exits(1);
    assert.equal(process.probing, null, 'it was given up');
    answer('late');
    it.allReady().after(9_999);
    assert.equal(it.worker('web', 0).probing, null);
    it.after(1);
    assert.ok(it.worker('web', 0).probing);
    assert.deepEqual(
      it.types().filter((type) => type === 'worker.unhealthy'),
      [],
    );
  });

  test('restart: never leaves an unhealthy worker alone', () => {
    const it = up({ workers: 1, health, restart: 'never' });
    for (let n = 0; n < 3; n++) probes(it, [0]);
    assert.deepEqual(
      it.eventsOf('worker.unhealthy').map(({ action }) => action),
      ['warn'],
    );
    assert.deepEqual(it.names(), ['web.1']);
  });

  test('a canary that is not healthy is rolled back', () => {
    const it = up({ workers: 2, health: { ...health, intervalMs: 1_000, failures: 2 } });
    const reply = it.handle({ type: 'reload', spec: null, apps: null });
    it.worker('web', 2).becomesReady();
    it.worker('web', 2).written = ['KeyError: TOKEN'];
    for (let n = 0; n < 2; n++) {
      it.after(1_000);
      for (const process of it.workersOf('web')) process.answers(process.launch?.slot === 2 ? 'answered 500' : null);
    }
    it.asked();
    assert.deepEqual([it.finished(reply)?.ok, it.finished(reply)?.lastLines], [false, ['KeyError: TOKEN']]);
    assert.match(it.finished(reply)?.message ?? '', /rolled back: web\.3 of revision 2: is not healthy: answered 500/);
    assert.deepEqual(it.places('web'), ['0 r1', '1 r1']);
  });
});

test('a reload while one that hangs is still being ended: the new revision inherits none of its crashes', () => {
  const it = up({ stall: { afterMs: 30_000, action: 'restart', signal: null } });
  it.worker('web', 0).exits(1);
  it.allReady().worker('web', 0).stalls();
  const reply = it.handle({ type: 'reload', spec: null, apps: null });
  assert.deepEqual(it.eventsOf('rollout.rolled_back'), []);
  for (let n = 0; n < 4; n++) it.asked().allReady().after(5_000);
  assert.equal(it.finished(reply)?.ok, true);
});

const stall = { afterMs: 30_000, action: 'restart', signal: null } as const;

describe('stalls', () => {
  test('a worker that hangs is ended with SIGABRT, and its successor takes its place', () => {
    const it = up({ workers: 2, stall });
    it.worker('web', 0).stalls('it waits in futex_wait');
    const hung = it.worker('web', 0);
    assert.deepEqual(hung.effects, ['SIGABRT']);
    it.after(5_000);
    assert.deepEqual(hung.effects, ['SIGABRT', 'SIGKILL'], 'it is not waited for as long as for others');
    hung.exits(null, { signal: 'SIGKILL' });
    assert.deepEqual(
      it.eventsOf('worker.exited').map(({ cause }) => cause),
      ['stall'],
    );
    assert.deepEqual(it.places('web'), ['0 r1', '1 r1']);
    assert.equal(it.worker('web', 0).name, 'web.3');
  });

  test('its successor inherits the crashes in a row', () => {
    const it = up({ workers: 1, stall });
    it.worker('web', 0).exits(1);
    it.allReady().worker('web', 0).stalls();
    it.asked();
    assert.deepEqual(
      it.eventsOf('worker.backoff').map(({ worker, delayMs }) => [worker, delayMs]),
      [['web.2', 500]],
    );
  });

  test('with a signal of its own', () => {
    const it = up({ workers: 1, stall: { ...stall, signal: 'SIGUSR2' } });
    it.worker('web', 0).stalls();
    assert.deepEqual(it.worker('web', 0).effects, ['SIGUSR2']);
  });

  test('action: warn says so and leaves it alone', () => {
    const it = up({ workers: 1, stall: { ...stall, action: 'warn' } });
    it.worker('web', 0).stalls('it waits');
    assert.deepEqual(
      it.eventsOf('worker.stalled').map(({ reason, action }) => [reason, action]),
      [['it waits', 'warn']],
    );
    assert.equal(it.master.snapshot().apps[0]?.workers[0]?.reason, 'hangs: it waits');
    it.worker('web', 0).stalls(null);
    assert.equal(it.master.snapshot().apps[0]?.workers[0]?.reason, null);
    assert.deepEqual(it.names(), ['web.1']);
  });

  test('a stop of the master asks a hanging worker as any other', () => {
    const it = up({ workers: 1, stall: { ...stall, action: 'warn' } });
    const hung = it.worker('web', 0);
    hung.stalls();
    it.handle({ type: 'stop', how: 'graceful' });
    assert.deepEqual(hung.effects, ['SIGTERM']);
  });
});

describe('limits', () => {
  const sized = (it: World, sizes: Readonly<Record<string, number>>) => {
    it.samples = new Map(
      Object.entries(sizes).map(([id, memoryBytes]) => [
        id,
        { cpuPercent: 1, memoryBytes, memoryKind: 'rss', processes: 1 },
      ]),
    );
    return it.after(2_000);
  };

  test('memory: three samples above the limit in a row, not one', () => {
    const it = up({ workers: 2, limits: { memoryBytes: 100, lifetimeMs: null, jitter: 0 } });
    for (const size of [101, 101, 100, 101, 101]) sized(it, { 'web.1': size, 'web.2': 50 });
    assert.deepEqual(it.names(), ['web.1', 'web.2']);
    sized(it, { 'web.1': 101, 'web.2': 50 });
    assert.deepEqual(it.names(), ['web.1', 'web.2', 'web.3']);
    it.allReady().asked();
    assert.deepEqual(
      it.eventsOf('worker.exited').map(({ cause }) => cause),
      ['memory-limit'],
    );
    it.after(60_000);
    assert.deepEqual(it.names(), ['web.2', 'web.3'], 'that was no crash, and nothing follows');
  });

  test('memory: one that shrinks before its successor serves stays, and nothing is said of it', () => {
    const it = up({ workers: 2, limits: { memoryBytes: 100, lifetimeMs: null, jitter: 0 } });
    for (let n = 0; n < 3; n++) sized(it, { 'web.1': 101, 'web.2': 50 });
    assert.deepEqual(it.names(), ['web.1', 'web.2', 'web.3']);
    sized(it, { 'web.1': 100, 'web.2': 50 });
    it.asked();
    assert.deepEqual(it.names(), ['web.1', 'web.2']);
    assert.ok(!it.types().includes('worker.recovered'), 'it is a word for those that hang or are not healthy');
  });

  test('restart: never leaves alone who hangs, and recycles who is too big', () => {
    const it = up({ restart: 'never', stall, limits: { memoryBytes: 100, lifetimeMs: null, jitter: 0 } });
    it.worker('web', 0).stalls();
    for (let n = 0; n < 3; n++) sized(it, { 'web.1': 101 });
    const found = [...it.eventsOf('worker.stalled'), ...it.eventsOf('worker.over_memory')];
    assert.deepEqual(
      found.map(({ action }) => action),
      ['warn', 'replace'],
    );
    assert.deepEqual(it.names(), ['web.1', 'web.2']);
  });

  test('stranded connections: one makes room for a worker that gets their listener, once', () => {
    const url = 'tcp://127.0.0.1:8000';
    const it = up({ workers: 2, listen: [{ kind: 'tcp', host: '127.0.0.1', port: 8000, url }] });
    const readingMs = 10_000;
    it.stranded = 3;
    it.after(readingMs);
    it.stranded = 0;
    it.after(readingMs);
    it.stranded = 3;
    it.after(readingMs);
    assert.deepEqual(it.names(), ['web.1', 'web.2'], 'one reading is not enough');
    it.after(readingMs);
    assert.deepEqual(it.names(), ['web.1', 'web.2', 'web.3'], 'the successor comes first');
    it.stranded = 0;
    it.after(readingMs);
    assert.deepEqual(it.names(), ['web.1', 'web.2', 'web.3'], 'they wait for it now');
    it.worker('web', 2).becomesReady();
    it.asked();
    assert.deepEqual(it.names(), ['web.2', 'web.3']);
    it.after(10 * readingMs);
    assert.deepEqual(it.names(), ['web.2', 'web.3']);
    assert.deepEqual(
      it.eventsOf('worker.makes_room').map(({ worker, reason }) => [worker, reason]),
      [['web.1', '3 connections wait at a listener that no worker has any more, and its successor will have that']],
    );
    assert.deepEqual(
      it.eventsOf('worker.exited').map(({ cause }) => cause),
      ['stranded'],
    );
  });

  test('stranded connections: nobody makes room while a worker waits for its next start, which gets them', () => {
    const url = 'tcp://127.0.0.1:8000';
    const it = up({
      workers: 2,
      listen: [{ kind: 'tcp', host: '127.0.0.1', port: 8000, url }],
      backoff: { ...app('x').backoff, initialMs: 60_000, maxMs: 600_000, jitter: 0 },
    });
    it.worker('web', 0).exits(1);
    it.worker('web', 0).becomesReady();
    it.worker('web', 0).exits(1);
    it.stranded = 3;
    it.after(50_000);
    assert.deepEqual(it.names(), ['web.2'], 'the other one waits');
    assert.deepEqual(it.eventsOf('worker.makes_room'), []);
  });

  test('lifetime: one at a time, each with its own jitter, and a crash starts the clock anew', () => {
    const it = up({ workers: 3, limits: { memoryBytes: null, lifetimeMs: 60_000, jitter: 0 } });
    it.after(30_000);
    it.worker('web', 1).exits(1);
    it.allReady().after(30_000);
    assert.deepEqual(it.names(), ['web.1', 'web.3', 'web.2', 'web.4'], 'only one successor, two are too old');
    it.worker('web', 3).becomesReady();
    it.asked();
    assert.equal(it.names().length, 4, 'the next one follows');
    it.allReady().asked();
    assert.deepEqual(it.names().toSorted(), ['web.2', 'web.4', 'web.5']);
    it.after(29_999);
    assert.equal(it.names().length, 3);
    it.after(1);
    assert.equal(it.names().length, 4, 'the one that had crashed');
    assert.deepEqual(
      it.eventsOf('worker.over_lifetime').map(({ worker }) => worker),
      ['web.1', 'web.3', 'web.2'],
      'each once',
    );
  });

  test('who was replaced because of its age leaves no crashes to its successor', () => {
    const it = up({ limits: { memoryBytes: null, lifetimeMs: 5_000, jitter: 0 } });
    it.worker('web', 0).exits(1);
    it.allReady().worker('web', 0).exits(1);
    it.after(500).allReady().after(5_000);
    assert.deepEqual(it.names(), ['web.1', 'web.2']);
    assert.deepEqual(
      it.eventsOf('worker.backoff').map(({ worker }) => worker),
      ['web.1'],
    );
  });

  test('a worker that cannot have two at once on its port is stopped first', () => {
    const it = up({ workers: 2, port: 9000, limits: { memoryBytes: null, lifetimeMs: 60_000, jitter: 0 } });
    it.after(60_000);
    assert.deepEqual(it.names(), ['web.1', 'web.2']);
    assert.deepEqual(
      it.workersOf('web').map(({ effects }) => effects.length),
      [1, 0],
    );
    it.worker('web', 0).exits(0);
    assert.deepEqual(it.places('web'), ['0 r1', '1 r1']);
  });

  test('a canary that is too big, or hangs where that only warns, is not rolled back', () => {
    const it = up({
      stall: { ...stall, action: 'warn' },
      limits: { memoryBytes: 100, lifetimeMs: null, jitter: 0 },
      reload: { maxSurge: 1, maxUnavailable: 0, canaryMs: 10_000 },
    });
    const reply = it.handle({ type: 'reload', spec: null, apps: null });
    it.worker('web', 1).becomesReady();
    it.worker('web', 1).stalls();
    for (let n = 0; n < 3; n++) sized(it, { 'web.2': 101 });
    assert.equal(it.eventsOf('worker.over_memory').length, 1);
    it.after(10_000).asked();
    assert.equal(it.finished(reply)?.ok, true);
  });

  test('during a rollout nobody is recycled: all are replaced anyway', () => {
    const it = up({ workers: 2, limits: { memoryBytes: null, lifetimeMs: 60_000, jitter: 0 } });
    it.after(59_000);
    it.handle({ type: 'reload', spec: null, apps: null });
    it.worker('web', 2).becomesReady();
    it.after(2_000);
    assert.deepEqual(it.names(), ['web.1', 'web.2', 'web.3']);
  });
});
