/**
 * The place of one process at the sockets of its app: what it inherits, and its way into the rotation and out of it.
 */
import { fstatSync } from 'node:fs';
import type { Cancel } from '../../ports.ts';
import type { Holder } from './lanes.ts';

export interface Seat {
  /** In the order of `listen`. */
  readonly fds: readonly number[];
  /** `socket:[inode]` of each, as /proc/PID/fd shows it. */
  readonly inodes: readonly string[];
  /** It is ready: new connections may go to it. */
  enter(): void;
  /**
   * Takes it out of the rotation. `empty` is called once, at once or later, when no connection waits for it any more, or
   * after `mostMs`. The answer cancels that.
   */
  leave(mostMs: number, empty: () => void): Cancel;
  /** Takes it out of the rotation at once: it has ended, or is about to be killed. */
  drop(): void;
  /** Its process and all that it left behind are gone. */
  end(): void;
}

/** A seat for what has no sockets. */
export const noSeat: Seat = seatOf([]);

export function seatOf(holders: readonly Holder[]): Seat {
  const fds = holders.map((holder) => holder.fd);
  return {
    fds,
    inodes: fds.map((fd) => `socket:[${fstatSync(fd).ino}]`),
    enter: () => holders.forEach((holder) => holder.enter()),
    leave(mostMs, empty) {
      let left = holders.length;
      if (left === 0) empty();
      const cancels = holders.map((holder) => holder.leave(mostMs, () => --left === 0 && empty()));
      return () => cancels.forEach((cancel) => cancel());
    },
    drop: () => holders.forEach((holder) => holder.drop()),
    end: () => holders.forEach((holder) => holder.end()),
  };
}
