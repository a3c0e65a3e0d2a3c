/**
 * How long to wait before a crashed worker starts again. The wait grows by a factor up to a cap and is then
 * shortened by a random share, so that workers that fell together do not come back together.
 */
import type { BackoffSpec } from './spec.ts';

/**
 * The wait in milliseconds before delayed start number `n` of a row of crashes (0 for the first delayed one).
 * `random` is in [0, 1). The result is in (base × (1 − jitter), base] with base = min(max, initial × factor^n).
 */
export function backoffDelayMs(backoff: BackoffSpec, n: number, random: number): number {
  // factor^n overflows to Infinity for a large n; the minimum brings it back to the cap.
  const base = Math.min(backoff.maxMs, backoff.initialMs * backoff.factor ** n);
  return base * (1 - backoff.jitter * random);
}
