/** Records of exits: bounds, thinning, and what a reader makes of a damaged file. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import {
  addPoint,
  appsIn,
  bounded,
  curveBefore,
  curveMs,
  curvePoints,
  isPlanned,
  parseRecord,
  recordLine,
  recordsIn,
  thin,
  type Point,
} from '../../src/core/record.ts';
import { causes } from '../../src/core/protocol.ts';
import { exitRecord } from '../helpers/exit-record.ts';

const point = (atMs: number, memoryBytes = atMs, cpuPercent: number | null = 10): Point => ({
  atMs,
  memoryBytes,
  cpuPercent,
});

describe('a curve', () => {
  test('of few points is kept as it is', () => {
    const points = [point(0), point(2000), point(9000)];
    assert.equal(thin(points, 3), points);
    assert.deepEqual(thin([], 3), []);
  });

  test('is thinned evenly in time: each span keeps its highest memory and the mean of its CPU', () => {
    const points = [
      [0, 5, 10],
      [10, 9, 20],
      [20, 1, 60],
      [30, 2, null],
      [31, 3, 30],
      [40, 4, null],
    ].map(([atMs, memory, cpu]) => point(atMs ?? 0, memory ?? 0, cpu ?? null));
    assert.deepEqual(thin(points, 2), [point(10, 9, 15), point(40, 4, 45)]);
    assert.deepEqual(thin([point(0), point(0), point(0)], 2), [point(0)]);
  });

  test('never grows beyond its bounds, and a peak is never lost, however often it is sampled', () => {
    for (const everyMs of [1, 100, 2_000, 10_000, 400_000]) {
      let points: readonly Point[] = [];
      const peakAtMs = 1_000 * everyMs - Math.min(everyMs * 5, curveMs / 2);
      for (let atMs = 0; atMs < 1_000 * everyMs; atMs += everyMs)
        points = addPoint(points, point(atMs, atMs >= peakAtMs && atMs < peakAtMs + everyMs ? 999 : 1));
      assert.ok(points.length <= 2 * curvePoints, `${points.length} points at ${everyMs} ms`);
      const curve = curveBefore(points, 1_000 * everyMs);
      assert.ok(curve.length <= curvePoints, `${curve.length} points of a curve at ${everyMs} ms`);
      assert.ok(curve.every(({ beforeMs }) => beforeMs >= 0 && beforeMs <= curveMs));
      if (everyMs < curveMs)
        assert.ok(
          curve.some(({ memoryBytes }) => memoryBytes === 999),
          `the peak at ${everyMs} ms`,
        );
      const times = curve.map(({ beforeMs }) => beforeMs);
      assert.deepEqual(
        times,
        times.toSorted((a, b) => b - a),
      );
    }
  });

  test('of five minutes at two seconds has its points equally far apart, within a factor', () => {
    let points: readonly Point[] = [];
    for (let atMs = 0; atMs <= 3_600_000; atMs += 2_000) points = addPoint(points, point(atMs));
    const curve = curveBefore(points, 3_600_000);
    assert.ok(curve.length > curvePoints / 2, `${curve.length} points`);
    assert.ok((curve[0]?.beforeMs ?? 0) > 0.95 * curveMs);
    const gaps = curve.slice(1).map(({ beforeMs }, n) => (curve[n]?.beforeMs ?? 0) - beforeMs);
    assert.ok(Math.max(...gaps) <= 3 * (curveMs / curvePoints), `a gap of ${Math.max(...gaps)} ms`);
  });
});

describe('a record', () => {
  test('is bounded in every text, line and point', () => {
    const long = 'x'.repeat(10_000);
    const record = bounded(
      exitRecord({
        cause: 'crash',
        error: long,
        oom: long,
        reason: long,
        lastLines: Array.from({ length: 100 }, () => long),
      }),
    );
    assert.equal(record.lastLines.length, 20);
    for (const text of [record.error, record.oom, record.reason, ...record.lastLines]) assert.equal(text?.length, 500);
    assert.ok(recordLine(record).length < 16_000);
  });

  test('keeps the newest lines; of a planned end only a few, and no curve', () => {
    const lastLines = Array.from({ length: 30 }, (_, n) => `line ${n}`);
    const curve = [{ beforeMs: 1, memoryBytes: 1, cpuPercent: 1 }];
    for (const cause of causes) {
      const { lastLines: kept, curve: points } = bounded(exitRecord({ cause, lastLines, curve }));
      assert.equal(kept.at(-1), 'line 29');
      // The stacks of one that hung are longer than that.
      const expected = isPlanned(cause) ? [5, 0] : [cause === 'stall' ? 30 : 20, 1];
      assert.deepEqual([kept.length, points.length], expected, cause);
    }
  });

  test('survives being written and read', () => {
    const record = exitRecord({
      lastLines: ['"quoted" \n \u001b[31m'],
      next: { type: 'backoff', delayMs: 5, crashes: 2 },
    });
    assert.deepEqual(parseRecord(recordLine(record)), record);
    const { spare: _spare, ...older } = record;
    assert.equal(parseRecord(JSON.stringify(older))?.spare, null, 'one of a version without spares');
    assert.ok(!recordLine(record).includes('\n'));
  });
});

describe('a file of records', () => {
  const lines = [
    recordLine(exitRecord({ app: 'web', worker: 'web.1', pid: 1 })),
    recordLine(exitRecord({ app: 'web', worker: 'web.11', pid: 2 })),
    recordLine(exitRecord({ app: 'api', worker: 'api.1', pid: 3, lastLines: ['"app":"web"'] })),
    recordLine(exitRecord({ app: 'web', worker: 'web.1', pid: 4 })),
  ];

  test('is read newest first, by app or by worker, and no further than wanted', () => {
    const pids = (app: string, worker: string | null, n = 10) =>
      recordsIn(lines, { app, worker }, n).map(({ pid }) => pid);
    assert.deepEqual(pids('web', null), [4, 2, 1]);
    assert.deepEqual(pids('web', null, 2), [4, 2]);
    assert.deepEqual(pids('web', 'web.1'), [4, 1]);
    assert.deepEqual(pids('api', null), [3]);
    assert.deepEqual(pids('we', null), []);
    assert.deepEqual(pids('web', 'web.2'), []);
    assert.deepEqual(appsIn(lines), ['web', 'api']);
  });

  test('may be torn anywhere: the whole lines are still read', () => {
    const [first = '', ...rest] = lines;
    for (const torn of [
      '',
      '{',
      first.slice(0, 50),
      first.slice(0, -1),
      'null',
      '[]',
      '{"app":"web"}',
      '\0\0\0',
      `${first}${first}`,
    ])
      assert.deepEqual(
        recordsIn([torn, ...rest, torn], { app: 'web', worker: null }, 10).map(({ pid }) => pid),
        [4, 2],
        torn.slice(0, 30),
      );
  });
});
