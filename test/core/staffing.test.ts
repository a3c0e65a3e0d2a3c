import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  autoWorkers,
  growAfterMs,
  growAfterShedMs,
  growAuto,
  memoryOfOne,
  noGrowth,
  type AutoFacts,
} from '../../src/core/staffing.ts';

const megabyte = 2 ** 20;

function facts(more: Partial<AutoFacts>): AutoFacts {
  return {
    ...{ usableCpus: 4, cpuSource: '', budgetBytes: null, workerBytes: null },
    ...{ othersBytes: 0, spares: 0, max: null },
    ...more,
  };
}

describe('autoWorkers', () => {
  const budget = { budgetBytes: 240 * megabyte, workerBytes: 90 * megabyte };
  const cases: readonly (readonly [string, Partial<AutoFacts>, number, string])[] = [
    ['CPUs alone', { cpuSource: '4 CPUs online' }, 4, '4 workers: 4 CPUs (4 CPUs online)'],
    ['one CPU', { usableCpus: 1 }, 1, '1 worker: 1 CPU'],
    ['a quota of 1.5', { usableCpus: 1.5, cpuSource: 'cgroup quota' }, 2, '2 workers: 1.5 CPUs, so 2 (cgroup quota)'],
    ['a quota of 1.4', { usableCpus: 1.4 }, 1, '1 worker: 1.4 CPUs, so 1'],
    ['a quota of 0.2', { usableCpus: 0.2 }, 1, '1 worker: 0.2 CPUs, so 1'],
    [
      'what fits',
      { ...budget, othersBytes: 60 * megabyte },
      2,
      '2 workers: min(4 CPUs, (240MB budget - 60MB of others) / 90MB each = 2)',
    ],
    [
      'CPUs, where more would fit',
      { ...budget, workerBytes: 10 * megabyte },
      4,
      '4 workers: min(4 CPUs, 240MB budget / 10MB each = 24)',
    ],
    ['all of it', { ...budget, workerBytes: 80 * megabyte }, 3, '3 workers: min(4 CPUs, 240MB budget / 80MB each = 3)'],
    [
      'spares',
      { ...budget, workerBytes: 60 * megabyte, spares: 1 },
      3,
      '3 workers: min(4 CPUs, 240MB budget / 60MB each - 1 spare = 3)',
    ],
    [
      'nothing fits',
      { ...budget, othersBytes: 500 * megabyte, spares: 2 },
      1,
      '1 worker: min(4 CPUs, (240MB budget - 500MB of others) / 90MB each - 2 spares = -2), but never fewer than 1',
    ],
    ['ports', { max: 2 }, 2, '2 workers: min(4 CPUs, at most 2)'],
    ['more ports than CPUs', { max: 9 }, 4, '4 workers: 4 CPUs'],
    ['a budget without a measurement', { budgetBytes: megabyte }, 4, '4 workers: 4 CPUs'],
  ];
  for (const [what, given, workers, reason] of cases)
    test(what, () => assert.deepEqual(autoWorkers(facts(given)), { workers, reason }));

  const some = fc.record({
    usableCpus: fc.double({ min: 0.01, max: 256, noNaN: true }),
    budgetBytes: fc.integer({ min: 1, max: 2 ** 36 }),
    workerBytes: fc.integer({ min: 1, max: 2 ** 32 }),
    othersBytes: fc.integer({ min: 0, max: 2 ** 36 }),
    spares: fc.integer({ min: 0, max: 5 }),
    max: fc.option(fc.integer({ min: 0, max: 100 })),
  });

  test('never fewer than 1; more than that only within CPUs, budget and ports', () => {
    fc.assert(
      fc.property(some, (given) => {
        const { workers } = autoWorkers(facts(given));
        assert.ok(Number.isInteger(workers) && workers >= 1);
        if (workers === 1) return;
        assert.ok(workers <= given.usableCpus + 0.5);
        assert.ok(workers <= (given.max ?? Infinity));
        assert.ok((workers + given.spares) * given.workerBytes + given.othersBytes <= given.budgetBytes);
      }),
    );
  });

  test('one more would be too many', () => {
    fc.assert(
      fc.property(some, (given) => {
        const next = autoWorkers(facts(given)).workers + 1;
        const isTooMany =
          next > given.usableCpus + 0.5 ||
          next > (given.max ?? Infinity) ||
          (next + given.spares) * given.workerBytes + given.othersBytes > given.budgetBytes;
        assert.ok(isTooMany);
      }),
    );
  });
});

test('memoryOfOne: the most of those that are known', () => {
  assert.equal(memoryOfOne([]), null);
  assert.equal(memoryOfOne([null, null]), null);
  assert.equal(memoryOfOne([3, null, 7, 5]), 7);
});

describe('growAuto', () => {
  /** `fits` at each sample, 2 s apart. @returns the goal after each */
  function follow(fits: readonly (number | null)[], goal: number, before = noGrowth): readonly number[] {
    let growth = before;
    let workers = goal;
    return fits.map((now, index) => {
      ({ growth, workers } = growAuto(growth, { nowMs: index * 2000, goal: workers, fits: now }));
      return workers;
    });
  }
  const samples = growAfterMs / 2000 + 1;
  const of = (count: number, fits: number | null) => Array.from({ length: count }, () => fits);

  test('adds what has fitted for a minute', () => {
    assert.deepEqual(follow(of(samples, 5), 2), [...of(samples - 1, 2), 5]);
  });

  test('no more than what fitted at every sample', () => {
    const fits = of(samples, 5).map((most, index) => (index === 7 ? 3 : most));
    assert.equal(follow(fits, 2).at(-1), 3);
  });

  test('begins anew when for once nothing more fits, or nothing is known', () => {
    for (const once of [2, 1, null]) {
      const fits = [...of(samples - 1, 5), once, ...of(samples - 1, 5)];
      assert.equal(follow(fits, 2).at(-1), 2, String(once));
      assert.equal(follow([...fits, 5], 2).at(-1), 5, String(once));
    }
  });

  test('never takes one away', () => {
    assert.deepEqual(follow(of(100, 1), 4), of(100, 4));
  });

  test('waits ten minutes after the budget has taken one away', () => {
    const shed = { ...noGrowth, shedAtMs: 0 };
    const long = growAfterShedMs / 2000 + 1;
    const goals = follow(of(long + 1, 5), 2, shed);
    assert.deepEqual(new Set(goals.slice(0, long - 1)), new Set([2]));
    assert.equal(goals.at(-1), 5);
  });

  test('what fits in turns and does not is never added', () => {
    const flapping = Array.from({ length: 500 }, (_, index) => (index % 20 === 0 ? 2 : 6));
    assert.deepEqual(new Set(follow(flapping, 2)), new Set([2]));
  });
});
