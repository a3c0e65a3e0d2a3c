/**
 * The place of one process at the sockets of its app: what it inherits, and its way into the rotation and out of it.
 *
 *   balance: auto       a lane of its own at each TCP address; where that cannot be had, the one that all share, and it is said
 *   balance: steered    the same; what can be known without trying is said at the start, also to an app of one worker
 *   balance: shared     the lane that all share
 *   a unix socket       the same: it has one listener
 */
import { fstatSync } from 'node:fs';
import type { AppSpec, ListenSpec } from '../../core/spec.ts';
import type { Cancel } from '../../ports.ts';
import { SteeringRefused } from './listener-group.ts';
import type { Holder, Lanes, Reach } from './lanes.ts';

export interface Seat {
  /** In the order of `listen`. */
  readonly fds: readonly number[];
  /** `socket:[inode]` of each, as /proc/PID/fd shows it. */
  readonly inodes: readonly string[];
  /** Whether others accept from the same socket as well: connections come to it whether it is in the rotation or not. */
  readonly isShared: boolean;
  /** It may serve: new connections may go to it. */
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
  /** How a connection to this socket (of `listen`, from 0) gets to this process and no other; null: it cannot. */
  reach(index: number): Reach | null;
}

/** A seat for what has no sockets. */
export const noSeat: Seat = seatOf([]);

type Warn = (message: string) => void;

/** What matters here of an app. */
export type SeatedApp = Pick<AppSpec, 'listen' | 'balance' | 'spares'>;

/** A seat at each socket of an app. `warn` is told why connections are not steered that should be. */
export function takeSeat(app: SeatedApp, lanesOf: (url: string) => Lanes, warn: Warn): Seat {
  const holders = app.listen.map((spec) => {
    const lanes = lanesOf(spec.url);
    const tell = (why: string): void => warn(notSteered(spec.url, why, app.spares));
    if (app.balance === 'steered') tellWhyNot(spec, lanes, tell);
    if (spec.kind === 'unix' || app.balance === 'shared') return lanes.share();
    const holder = takeOrShare(lanes, tell);
    // For all others it is the difference between soon and at once, and no reason for a warning.
    if (app.spares > 0 && lanes.whyStaying !== null) warn(notMoved(spec.url, lanes.whyStaying));
    return holder;
  });
  return seatOf(holders);
}

function takeOrShare(lanes: Lanes, tell: (why: string) => void): Holder {
  try {
    return lanes.take();
  } catch (error) {
    if (!(error instanceof SteeringRefused)) throw error;
    tell(error.message);
    return lanes.share();
  }
}

/** Later, so that the first worker does not wait for it. */
function tellWhyNot({ kind }: ListenSpec, lanes: Lanes, tell: (why: string) => void): void {
  setImmediate(() => {
    const why = kind === 'unix' ? 'a unix socket has one listener' : lanes.whyNot();
    if (why !== null) tell(why);
  });
}

function notSteered(url: string, why: string, spares: number): string {
  const effect = `its workers accept from one socket, as with balance: shared, and new connections may reach one that is stopping`;
  const alsoSpares =
    spares === 0 ? '' : '; so its spares cannot be kept out of the rotation, and serve like the others';
  return `connections to ${url} are not steered: ${why}; ${effect}${alsoSpares}`;
}

function notMoved(url: string, why: string): string {
  return `what waits for a worker that dies cannot be moved at ${url}: ${why}; a spare takes new connections at once, those that waited wait for the successor`;
}

function seatOf(holders: readonly Holder[]): Seat {
  const fds = holders.map((holder) => holder.fd);
  return {
    fds,
    inodes: fds.map((fd) => `socket:[${fstatSync(fd).ino}]`),
    get isShared() {
      return holders.some((holder) => holder.isShared);
    },
    enter: () => holders.forEach((holder) => holder.enter()),
    leave(mostMs, empty) {
      let left = holders.length;
      if (left === 0) empty();
      const cancels = holders.map((holder) => holder.leave(mostMs, () => --left === 0 && empty()));
      return () => cancels.forEach((cancel) => cancel());
    },
    drop: () => holders.forEach((holder) => holder.drop()),
    end: () => holders.forEach((holder) => holder.end()),
    reach: (index) => holders[index]?.reach() ?? null,
  };
}
