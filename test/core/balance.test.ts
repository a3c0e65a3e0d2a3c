import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import {
  describeImbalance,
  imbalanceOf,
  readingsInARow,
  unwatched,
  watchBalance,
  type BalanceWatch,
  type Share,
} from '../../src/core/balance.ts';

/** `web.1` has the first of these, and so on. */
function shares(counts: readonly (number | null)[], first = 1): Share[] {
  return counts.map((connections, index) => ({ worker: `web.${index + first}`, connections }));
}

describe('one reading', () => {
  const cases: readonly (readonly [string, readonly (number | null)[], string | null])[] = [
    ['nobody', [], null],
    ['one worker alone', [400], null],
    ['nothing', [0, 0, 0, 0], null],
    ['the same for all', [10, 10, 10, 10], null],
    ['one with over twice the mean', [3, 4, 31, 2], 'web.3'],
    ['one with just under twice the mean', [180, 1, 199, 20], null],
    ['one with twice the mean, of many', [100, 50, 200, 50], 'web.3'],
    ['all of two workers on one', [0, 40], 'web.2'],
    ['nearly all of two workers on one', [2, 60], null],
    ['all of two workers on one, as chance may have it', [24, 0], null],
    ['all of two workers on one, as chance cannot have it', [25, 0], 'web.1'],
    ['a mean under 4', [0, 1, 14, 0], null],
    ['a mean of 4, as chance may have it', [0, 2, 12, 2], null],
    ['a mean of 4, as chance cannot have it', [0, 2, 13, 1], 'web.3'],
    ['a mean of 9, as chance may have it', [5, 21, 5, 5], null],
    ['a mean of 9, as chance cannot have it', [4, 22, 5, 5], 'web.2'],
    ['one of which nothing is known', [0, 0, 40, null], null],
  ];
  for (const [what, counts, worker] of cases)
    test(what, () => assert.equal(imbalanceOf(shares(counts))?.worker ?? null, worker));
});

describe('readings in a row', () => {
  const bad = shares([3, 4, 31, 2]);
  const good = shares([10, 10, 10, 10]);
  const after = (readings: readonly (readonly Share[])[], from: BalanceWatch = unwatched): BalanceWatch =>
    readings.reduce(watchBalance, from);
  const times = (count: number, reading: readonly Share[]): (readonly Share[])[] =>
    Array.from({ length: count }, () => reading);
  // The first reading tells who is there.
  const unbalanced = after(times(readingsInARow, bad));

  test('a minute of it, and not less', () => {
    assert.equal(after(times(readingsInARow - 1, bad)).state, 'balanced');
    assert.equal(unbalanced.state, 'unbalanced');
    assert.deepEqual(unbalanced.seen, { worker: 'web.3', connections: 31, total: 40, workers: 4 });
  });

  test('another reading in between begins anew', () => {
    for (const other of [good, shares([3, 4, null, 2])]) {
      const once = after([...times(readingsInARow - 1, bad), other, ...times(readingsInARow - 1, bad)]);
      assert.equal(once.state, 'balanced');
      assert.equal(after([bad], once).state, 'unbalanced');
    }
  });

  test('other workers begin anew: one that has just come has none yet, and nobody is to blame', () => {
    const reloaded = shares([3, 4, 31, 2], 5);
    const once = after([...times(readingsInARow - 1, bad), ...times(readingsInARow - 1, reloaded)]);
    assert.equal(once.state, 'balanced');
    assert.equal(after([reloaded], once).state, 'unbalanced');
  });

  test('the order of the workers is nothing', () => {
    const turned = [...bad].reverse();
    assert.equal(after([...times(readingsInARow - 1, bad), turned]).state, 'unbalanced');
  });

  test('it is over after as many that are not so', () => {
    const nearly = after(times(readingsInARow - 1, good), unbalanced);
    assert.equal(nearly.state, 'unbalanced');
    assert.equal(nearly.seen, null);
    assert.equal(after([good], nearly).state, 'balanced');
    assert.equal(after([bad, ...times(readingsInARow - 1, good)], nearly).state, 'unbalanced');
  });

  test('also when nobody is left', () => {
    assert.equal(after(times(readingsInARow + 1, []), unbalanced).state, 'balanced');
  });
});

test('in words, with the arithmetic', () => {
  const seen = { worker: 'web.3', connections: 31, total: 41, workers: 4 };
  assert.match(
    describeImbalance(seen, 'shared'),
    /^web\.3 has 31 of 41 connections \(4 workers, mean 10\.3\): .*balance: steered/,
  );
  assert.match(
    describeImbalance(seen, 'own'),
    /^web\.3 has 31 of 41 connections \(4 workers, mean 10\.3\): .*spread evenly/,
  );
});
