/** Calls a function again and again, for as long as nobody cancels it. */
import type { Cancel, Clock } from '../ports.ts';

/** The first time is one period from now. `periodMs` is asked each time. */
export function repeat(clock: Clock, periodMs: () => number, fn: () => void): Cancel {
  let cancel: Cancel;
  const next = () => {
    cancel = clock.schedule(periodMs(), () => {
      next();
      fn();
    });
  };
  next();
  return () => cancel();
}
