import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { backoffDelayMs } from '../../src/core/backoff.ts';
import { usualBackoff } from '../helpers/specs.ts';

describe('backoffDelayMs', () => {
  const cases: readonly [n: number, random: number, expectedMs: number][] = [
    [0, 0, 500],
    [1, 0, 1_000],
    [5, 0, 16_000],
    [6, 0, 30_000],
    [100, 0, 30_000],
    [5_000, 0, 30_000], // 2^5000 is Infinity
    [0, 0.5, 375],
    [6, 0.5, 22_500],
  ];
  for (const [n, random, expectedMs] of cases) {
    test(`delayed start ${n}, random ${random}: ${expectedMs} ms`, () =>
      assert.equal(backoffDelayMs(usualBackoff, n, random), expectedMs));
  }

  test('without jitter it is exact, with all of it nearly nothing may be left', () => {
    assert.equal(backoffDelayMs({ ...usualBackoff, jitter: 0 }, 3, 0.99), 4_000);
    assert.ok(Math.abs(backoffDelayMs({ ...usualBackoff, jitter: 1 }, 0, 0.99) - 5) < 1e-9);
  });

  test('a factor of 1 keeps the first delay', () => {
    assert.equal(backoffDelayMs({ ...usualBackoff, factor: 1 }, 50, 0), 500);
  });

  test('is above 0, never above max, never shortened by more than the jitter, and never shorter than the one before', () => {
    const policy = fc.record({
      initialMs: fc.integer({ min: 1, max: 60_000 }),
      more: fc.integer({ min: 0, max: 600_000 }),
      factor: fc.double({ min: 1, max: 100, noNaN: true }),
      jitter: fc.double({ min: 0, max: 1, noNaN: true }),
    });
    fc.assert(
      fc.property(
        policy,
        fc.integer({ min: 0, max: 2_000 }),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        ({ more, ...parts }, n, random) => {
          const backoff = { ...usualBackoff, ...parts, maxMs: parts.initialMs + more };
          const delayMs = backoffDelayMs(backoff, n, random);
          const baseMs = Math.min(backoff.maxMs, backoff.initialMs * backoff.factor ** n);
          assert.ok(delayMs > 0 && delayMs <= backoff.maxMs);
          assert.ok(delayMs >= baseMs * (1 - backoff.jitter));
          assert.ok(n === 0 || delayMs >= backoffDelayMs(backoff, n - 1, random));
        },
      ),
    );
  });
});
