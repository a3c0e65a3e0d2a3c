/** The rings: what they keep, how much of it, for how long, and what outlives the master. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { fineStepMs, minuteMs, type HistoryPoint, type StoredHistory } from '../../src/core/history.ts';
import type { HostSample } from '../../src/core/protocol.ts';
import { Histories, deadKept, type AppNow, type WorkerNow } from '../../src/master/history.ts';
import type { HistoryStore, TreeSample } from '../../src/ports.ts';
import { app, World } from '../helpers/world.ts';

const startMs = Date.parse('2026-01-01T00:00:00.000Z');
const hourMs = 60 * minuteMs;

class KeptStore implements HistoryStore {
  stored: StoredHistory | null;
  saves = 0;

  constructor(stored: StoredHistory | null = null) {
    this.stored = stored;
  }

  load(): StoredHistory | null {
    return this.stored;
  }

  save(make: () => StoredHistory): void {
    this.stored = make();
    this.saves++;
  }
}

const host = (cpuUtilisation: number | null = 0.5): HostSample => ({
  ...{ cpus: 2, usableCpus: 2, cpuSource: '', cpuUtilisation },
  ...{ memoryBytes: 1000, memorySource: '', memoryUtilisation: 0.25 },
});

const worker = (id: string, cpuPercent: number | null, memoryBytes: number, queue: number | null = 0): WorkerNow => {
  const sample: TreeSample = { cpuPercent, memoryBytes, memoryKind: 'pss', processes: 1 };
  return { id, sample, queue };
};

const web = (workers: readonly WorkerNow[], more: Partial<AppNow> = {}): AppNow => ({
  ...{ name: 'web', ready: workers.length, goal: workers.length, queue: 0, workers },
  ...more,
});

/** Samples as often as `everyMs` says, from `fromMs` on, `count` times. */
function feed(
  histories: Histories,
  { fromMs = startMs, everyMs = 2_000, count = 1 }: { fromMs?: number; everyMs?: number; count?: number },
  appsAt: (nth: number) => readonly AppNow[],
): number {
  for (let nth = 0; nth < count; nth++) histories.take(fromMs + nth * everyMs, everyMs, host(), appsAt(nth));
  return fromMs + (count - 1) * everyMs;
}

const pointsOf = (histories: Histories, target: string, span: 'fine' | 'day', nowMs: number): readonly HistoryPoint[] =>
  histories.of(target, span, nowMs)?.points ?? assert.fail(`nothing is known of ${target}`);

describe('fine', () => {
  test('every sample of the last ten minutes is a point, and no older one', () => {
    const histories = new Histories(new KeptStore());
    const nowMs = feed(histories, { count: 1_000 }, (nth) => [web([worker('web.1', nth % 100, 1_000 + nth)])]);
    for (const target of ['host', 'web', 'web.1']) {
      const points = pointsOf(histories, target, 'fine', nowMs);
      assert.equal(points.length, 300);
      assert.deepEqual([points[0]?.atMs, points.at(-1)?.atMs], [nowMs - 299 * 2_000, nowMs]);
    }
    assert.deepEqual(pointsOf(histories, 'web.1', 'fine', nowMs).at(-1), {
      ...{ atMs: nowMs, cpuPercent: 99, cpuMaxPercent: 99, memoryBytes: 1_999, memoryMaxBytes: 1_999 },
      ...{ queue: 0, ready: null, goal: null },
    });
    assert.deepEqual(pointsOf(histories, 'web.1', 'fine', nowMs + 2 * hourMs), []);
    assert.equal(histories.of('web.2', 'fine', nowMs), null);
  });

  for (const everyMs of [100, 700, 1_500, 2_000, 7_000, 60_000]) {
    test(`a sample every ${everyMs} ms: at most 300 points that reach for ten minutes`, () => {
      const histories = new Histories(new KeptStore());
      const count = Math.ceil(900_000 / everyMs);
      const nowMs = feed(histories, { everyMs, count }, () => [web([worker('web.1', 1, 1)])]);
      const points = pointsOf(histories, 'web.1', 'fine', nowMs);
      const stepMs = histories.of('web.1', 'fine', nowMs)?.stepMs ?? 0;
      assert.equal(stepMs, fineStepMs(everyMs));
      assert.ok(points.length <= 300, `${points.length} points`);
      assert.ok(points.length * stepMs > 600_000 - 2 * stepMs, `${points.length} points of ${stepMs} ms`);
      assert.ok(points.slice(1).every(({ atMs }, at) => atMs - points[at]!.atMs === stepMs));
    });
  }

  test('what is thinned keeps its mean and its peak', () => {
    const histories = new Histories(new KeptStore());
    // 20 samples are one point; one of them is a peak.
    const peak = (nth: number) => nth === 25;
    const nowMs = feed(histories, { everyMs: 100, count: 60 }, (nth) => [
      web([worker('web.1', peak(nth) ? 90 : 10, peak(nth) ? 5_000 : 1_000, peak(nth) ? 7 : 0)], {
        ready: peak(nth) ? 0 : 1,
        queue: peak(nth) ? 9 : 0,
      }),
    ]);
    const points = pointsOf(histories, 'web.1', 'fine', nowMs);
    assert.deepEqual(
      points.map(({ cpuPercent, cpuMaxPercent, memoryBytes, memoryMaxBytes, queue }) => [
        ...[cpuPercent, cpuMaxPercent],
        ...[memoryBytes, memoryMaxBytes, queue],
      ]),
      [
        [10, 10, 1_000, 1_000, 0],
        [14, 90, 1_200, 5_000, 7],
        [10, 10, 1_000, 1_000, 0],
      ],
    );
    const staff = pointsOf(histories, 'web', 'fine', nowMs).map(({ queue, ready, goal }) => [queue, ready, goal]);
    assert.deepEqual(staff, [
      [0, 1, 1],
      [9, 0, 1],
      [0, 1, 1],
    ]);
  });

  test('samples that come a little late, or early, are a point each', () => {
    const histories = new Histories(new KeptStore());
    for (const [nth, late] of [0, 300, 20, -200, 900, 0].entries())
      histories.take(startMs + nth * 2_000 + late, 2_000, host(), []);
    assert.equal(pointsOf(histories, 'host', 'fine', startMs + 10_000).length, 6);
  });
});

describe('day', () => {
  test('a minute is a point with its mean and its peak; the oldest go after 24 hours', () => {
    const histories = new Histories(new KeptStore());
    const nowMs = feed(histories, { everyMs: 20_000, count: 3 * 60 * 26 }, (nth) => [
      web([worker('web.1', nth % 3 === 1 ? 40 : 10, 1_000)]),
    ]);
    for (const target of ['host', 'web', 'web.1']) {
      const points = pointsOf(histories, target, 'day', nowMs);
      assert.equal(points.length, 1_440);
      assert.deepEqual(
        [points[0]?.atMs, points.at(-1)?.atMs],
        [startMs + 2 * hourMs, startMs + 26 * hourMs - minuteMs],
      );
    }
    const [point] = pointsOf(histories, 'web.1', 'day', nowMs);
    assert.deepEqual([point?.cpuPercent, point?.cpuMaxPercent], [20, 40]);
  });

  test('a gap is a gap', () => {
    const histories = new Histories(new KeptStore());
    const apps = [web([worker('web.1', 1, 1)])];
    for (const minute of [0, 1, 90, 2_000, 2_001]) histories.take(startMs + minute * minuteMs, 2_000, host(), apps);
    const minutes = (nowMs: number) =>
      pointsOf(histories, 'web.1', 'day', nowMs).map(({ atMs }) => (atMs - startMs) / minuteMs);
    assert.deepEqual(minutes(startMs + 2_001 * minuteMs), [2_000, 2_001]);
    const other = new Histories(new KeptStore());
    for (const minute of [0, 1, 90]) other.take(startMs + minute * minuteMs, 2_000, host(), apps);
    const kept = pointsOf(other, 'web.1', 'day', startMs + 90 * minuteMs);
    assert.deepEqual(
      kept.map(({ atMs }) => (atMs - startMs) / minuteMs),
      [0, 1, 90],
    );
  });

  test('the host: 100 is all its CPUs; an app: the sum of its workers, what is not known left out', () => {
    const histories = new Histories(new KeptStore());
    const waiting: WorkerNow = { id: 'web.3', sample: undefined, queue: null };
    const apps = [
      web([worker('web.1', 80, 300), worker('web.2', null, 200), waiting], { ready: 2, queue: 4 }),
      web([], { name: 'off' }),
      web([{ ...waiting, id: 'new.1' }], { name: 'new', queue: null, ready: 0 }),
    ];
    histories.take(startMs, 2_000, host(), apps);
    histories.take(startMs + 2_000, 2_000, host(null), apps);
    const last = (target: string) => {
      const { atMs: _, ...point } = pointsOf(histories, target, 'fine', startMs + 2_000)[0] ?? { atMs: 0 };
      return Object.values(point);
    };
    assert.deepEqual(last('host'), [50, 50, 250, 250, null, null, null]);
    assert.deepEqual(last('web'), [80, 80, 500, 500, 4, 2, 3]);
    assert.deepEqual(last('web.2'), [null, null, 200, 200, 0, null, null]);
    assert.deepEqual(last('off'), [0, 0, 0, 0, 0, 0, 0]);
    assert.deepEqual(last('new'), [null, null, null, null, null, 0, 1]);
    assert.equal(histories.of('web.3', 'fine', startMs), null);
    const [, second] = pointsOf(histories, 'host', 'fine', startMs + 2_000);
    assert.equal(second?.cpuPercent, null);
  });
});

describe('who is gone', () => {
  test(`the latest ${deadKept} workers of each app are kept`, () => {
    const histories = new Histories(new KeptStore());
    const nowMs = feed(histories, { count: 40 }, (nth) => [
      web([worker(`web.${nth}`, 1, 1)]),
      web([worker('jobs.1', 1, 1)], { name: 'jobs' }),
    ]);
    const known = Array.from({ length: 40 }, (_, nth) => nth).filter((nth) => histories.of(`web.${nth}`, 'day', nowMs));
    assert.deepEqual(
      known,
      Array.from({ length: deadKept + 1 }, (_, nth) => 40 - deadKept - 1 + nth),
    );
    assert.equal(pointsOf(histories, 'jobs.1', 'fine', nowMs).length, 40);
  });

  test('one that waits for its next start is not gone', () => {
    const histories = new Histories(new KeptStore());
    const down: WorkerNow = { id: 'web.1', sample: undefined, queue: null };
    feed(histories, { count: 3 }, () => [web([worker('web.1', 1, 1)])]);
    feed(histories, { fromMs: startMs + 6_000, count: 40 }, (nth) => [web([down, worker(`web.${nth + 2}`, 1, 1)])]);
    const nowMs = feed(histories, { fromMs: startMs + 86_000, count: 2 }, () => [web([worker('web.1', 1, 1)])]);
    assert.equal(pointsOf(histories, 'web.1', 'fine', nowMs).length, 5);
  });

  test('an app that is gone keeps its day until it is over, and of very many the latest', () => {
    const store = new KeptStore();
    const histories = new Histories(store);
    feed(histories, { count: 5, everyMs: minuteMs }, () => [web([worker('web.1', 1, 1)])]);
    const many = Array.from({ length: 50 }, (_, nth) => web([], { name: `app${nth}` }));
    for (const [nth, one] of many.entries()) histories.take(startMs + (6 + nth) * minuteMs, minuteMs, host(), [one]);
    histories.store(startMs + 60 * minuteMs);
    const names = [...(store.stored?.apps.keys() ?? [])];
    assert.equal(names.length, 33, 'one that is there, 32 that are gone');
    assert.ok(names.includes('app49') && !names.includes('app0') && !names.includes('web'));
    assert.equal(histories.of('web.1', 'day', startMs + 60 * minuteMs), null);
    histories.take(startMs + 30 * hourMs, minuteMs, host(), []);
    histories.store(startMs + 30 * hourMs);
    assert.deepEqual([...(store.stored?.apps.keys() ?? [])], []);
  });
});

describe('what it takes', () => {
  /** As docs/reference/control-api.md has it. */
  const workerBytes = 5 * 4 * (300 + 1_440);
  const appBytes = 7 * 4 * (300 + 1_440);
  const axisBytes = 300 * 8;

  test('a day of 64 workers, with 16 that are gone, is as large as the reference says, and grows no more', () => {
    const histories = new Histories(new KeptStore());
    const ids = Array.from({ length: 64 }, (_, nth) => `web.${nth}`);
    const all = (revision: string) => web(ids.map((id) => worker(id + revision, 1, 1)));
    const sizes: number[] = [];
    for (const [nth, revision] of ['a', 'b', 'c'].entries()) {
      feed(histories, { fromMs: startMs + nth * 25 * hourMs, everyMs: minuteMs, count: 25 * 60 }, () => [
        all(revision),
      ]);
      sizes.push(histories.sizeBytes);
    }
    const living = axisBytes + 65 * workerBytes + appBytes;
    assert.deepEqual(sizes, [living, living + deadKept * workerBytes, living + deadKept * workerBytes]);
    const megabytes = ((64 * workerBytes + appBytes) / 2 ** 20).toFixed(1);
    assert.equal(megabytes, '2.2');
    assert.equal((workerBytes / 1024).toFixed(1), '34.0');
    assert.equal(((1_000 * workerBytes) / 2 ** 20).toFixed(0), '33');
  });

  test('it grows as needed: in the first ten minutes a worker takes 6.2 KB', () => {
    const histories = new Histories(new KeptStore());
    feed(histories, { count: 300 }, () => [web(Array.from({ length: 100 }, (_, nth) => worker(`web.${nth}`, 1, 1)))]);
    assert.equal(histories.sizeBytes, axisBytes + (101 * 5 + 7) * 4 * (300 + 16));
  });
});

describe('what outlives the master', () => {
  const day = (): KeptStore => {
    const store = new KeptStore();
    const histories = new Histories(store);
    const nowMs = feed(histories, { everyMs: 30_000, count: 60 }, (nth) => [
      web([worker('web.1', nth, nth), worker('web.2', nth, nth)], { queue: nth }),
    ]);
    histories.store(nowMs);
    return store;
  };

  test('the day of the host and the apps goes on after a gap; workers begin anew', () => {
    const store = day();
    const before = store.stored;
    const next = new Histories(store);
    const nowMs = startMs + 2 * hourMs;
    next.take(nowMs, 2_000, host(), [web([worker('web.1', 7, 70)])]);
    const points = pointsOf(next, 'web', 'day', nowMs);
    assert.deepEqual(points.slice(0, -1), before?.apps.get('web'));
    assert.equal(points.length, 31);
    assert.deepEqual([points.at(-1)?.atMs, points.at(-1)?.cpuPercent], [nowMs, 7]);
    assert.deepEqual(pointsOf(next, 'host', 'day', nowMs).slice(0, -1), before?.host);
    assert.equal(pointsOf(next, 'web.1', 'day', nowMs).length, 1);
    assert.equal(pointsOf(next, 'web', 'fine', nowMs).length, 1, 'the last minutes are not stored');
  });

  test('the CPU of the host is told in what may be used now, also when that changes meanwhile', () => {
    const next = new Histories(day());
    const last = () => pointsOf(next, 'host', 'day', startMs + hourMs).at(0);
    assert.deepEqual([last()?.cpuPercent, last()?.cpuMaxPercent, last()?.memoryBytes], [50, 50, 250]);
    const nowMs = startMs + hourMs;
    next.take(nowMs, 2_000, { ...host(), usableCpus: 0.5 }, []);
    assert.deepEqual([last()?.cpuPercent, last()?.cpuMaxPercent, last()?.memoryBytes], [200, 200, 250]);
    assert.equal(pointsOf(next, 'host', 'fine', nowMs).at(-1)?.cpuPercent, 50);
    next.take(nowMs + 2_000, 2_000, { ...host(), usableCpus: 2 }, []);
    assert.equal(last()?.cpuPercent, 50);
    assert.deepEqual(
      pointsOf(next, 'host', 'fine', nowMs + 2_000).map(({ cpuPercent }) => cpuPercent),
      [12.5, 50],
    );
  });

  test('it is known before the first sample', () => {
    assert.equal(pointsOf(new Histories(day()), 'web', 'day', startMs + hourMs).length, 30);
  });

  test('in the minute in which the earlier one has ended, both are seen', () => {
    const store = day();
    const next = new Histories(store);
    const nowMs = startMs + 29.9 * minuteMs;
    next.take(nowMs, 2_000, host(), [web([worker('web.1', 1_000, 1)])]);
    const points = pointsOf(next, 'web', 'day', nowMs);
    assert.equal(points.length, 30);
    assert.equal(points.at(-1)?.cpuMaxPercent, 1_000);
    assert.equal(points.at(-1)?.memoryMaxBytes, 118);
  });

  test('a clock that has gone back forgets what lies ahead; one that has gone on, what is over', () => {
    const back = new Histories(day());
    const earlierMs = startMs + 10 * minuteMs;
    back.take(earlierMs, 2_000, host(), []);
    assert.deepEqual(
      pointsOf(back, 'web', 'day', earlierMs)
        .map(({ atMs }) => atMs)
        .at(-1),
      earlierMs,
    );
    assert.equal(pointsOf(back, 'web', 'day', earlierMs).length, 11);
    const later = new Histories(day());
    later.take(startMs + 30 * hourMs, 2_000, host(), [web([worker('web.1', 1, 1)])]);
    assert.equal(pointsOf(later, 'web', 'day', startMs + 30 * hourMs).length, 1);
  });

  test('it is stored every five minutes and at the end, and not before anything was sampled', () => {
    const store = new KeptStore();
    const histories = new Histories(store);
    histories.store(startMs);
    assert.equal(store.saves, 0);
    const nowMs = feed(histories, { count: 451 }, () => []);
    assert.equal(store.saves, 3);
    histories.store(nowMs);
    assert.equal(store.saves, 4);
  });
});

describe('a master', () => {
  test('feeds it with its samples and counts, and answers for what it knows', () => {
    const world = new World({ apps: [app('web', { workers: 2 })], sampleEveryMs: 2_000 }).start().allReady();
    const sample: TreeSample = { cpuPercent: 50, memoryBytes: 100, memoryKind: 'rss', processes: 1 };
    world.samples = new Map([
      ['web.1', sample],
      ['web.2', sample],
    ]);
    assert.deepEqual(world.master.history('web.1', 'fine'), { target: 'web.1', stepMs: 2_000, points: [] });
    world.after(120_000);
    const { points, stepMs } = world.master.history('web', 'fine');
    assert.deepEqual([points.length, stepMs], [60, 2_000]);
    const last = points.at(-1);
    assert.deepEqual([last?.cpuPercent, last?.memoryBytes, last?.ready, last?.goal], [100, 200, 2, 2]);
    assert.equal(world.master.history('web.2', 'day').points.length, 3);
    assert.equal(world.master.history('host', 'day').stepMs, 60_000);
    world.worker('web', 0).exits(1);
    assert.equal(world.master.history('web.1', 'fine').points.length, 60, 'a crash keeps it');
    assert.throws(() => world.master.history('wep', 'fine'), {
      code: 'unknown-target',
      hint: /known here: host, web$/,
    });
  });

  test('stores it when it ends', () => {
    const world = new World({ apps: [app('web')] }).start().allReady().after(10_000);
    const stored = () => world.storedHistory;
    assert.equal(stored(), null);
    world.handle({ type: 'stop', how: 'graceful' });
    world.asked();
    assert.notEqual(world.ended, null);
    assert.deepEqual([stored()?.host.length, [...(stored()?.apps.keys() ?? [])]], [1, ['web']]);
  });
});
