/**
 * Time for the whole program: milliseconds since the epoch that never go backwards. The wall clock is read once, at
 * the start of the process; a later jump of it (NTP, a resumed VM) moves no deadline.
 */
import { performance } from 'node:perf_hooks';
import type { Clock } from '../ports.ts';

/** setTimeout fires at once for anything longer. */
const longestTimerMs = 2 ** 31 - 1;

export function createClock(): Clock {
  return {
    now: () => performance.timeOrigin + performance.now(),
    random: Math.random,
    schedule(delayMs, fn) {
      let timer: NodeJS.Timeout;
      const arm = (leftMs: number) => {
        const stepMs = Math.min(leftMs, longestTimerMs);
        timer = setTimeout(() => (leftMs > stepMs ? arm(leftMs - stepMs) : fn()), stepMs);
      };
      arm(Math.max(0, delayMs));
      return () => clearTimeout(timer);
    },
  };
}
