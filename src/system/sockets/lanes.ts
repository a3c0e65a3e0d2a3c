/**
 * The listeners of one address, called lanes, and the processes that have them. The first lane is the socket that was bound at the
 * start; where connections are steered each worker has a lane of its own, and the kernel is told which lanes are in the rotation.
 *
 *   starting --enter--> ready (in the rotation) --leave--> leaving --end--> gone; its lane is free
 *
 * Where a new connection goes
 * - to one of the lanes with a ready worker, each as likely as any other;
 * - without any: it is parked, at a listener that nobody has, and goes to the first worker that is ready.
 *
 * What waits at a lane whose processes are all gone goes where new connections go (see listener-group.ts).
 *
 * Where the kernel cannot move what waits
 * - A connection without a ready worker goes to the lane of the worker that has been starting for longest; without such a one to the
 *   lane that was left last. So connections queue, and are not refused.
 * - What waits at a lane that nobody has waits for the next worker that gets it.
 *
 * Which lane a worker gets
 * - a free one (nobody holds it): that where most connections wait; that where connections go now; the first. Else a new one.
 * - A lane is never given up before the address is.
 * - O_NONBLOCK, which the last worker may have set, is cleared while nobody holds the lane; never later (see listening.ts).
 *
 * A probe goes to the lane of its worker, in the rotation or not: by its source address, of which the kernel is told with the first probe.
 *
 * Leaving takes a moment: out of the rotation, then at least `holdMs`, until the handshakes are over that were under way (their
 * connections are in no queue yet, and go where they were sent when they began), and until the accept queue is empty. It is skipped where nobody else is in the rotation: there is no other lane for the clients to go to.
 */
import type { Cancel } from '../../ports.ts';
import { loadNative, type Native } from '../native.ts';
import { ListenerGroup, SteeringRefused, type Chosen } from './listener-group.ts';
import { sourceFor } from './runs.ts';

/** What the kernel does at the moment is over by then. */
const holdMs = 150;
/** A handshake whose answer was lost once is over by then. */
const handshakeMostMs = 3_000;
const lookAgainMs = 20;
/** What the kernel has refused, most likely for want of memory or descriptors, is told again. */
const tellAgainMs = 1_000;

type Stage = 'starting' | 'ready' | 'leaving';

interface Lane {
  readonly fd: number;
  /** Who has it, in the order in which they came. */
  readonly holders: Map<Holder, Stage>;
}

export interface Holder {
  readonly fd: number;
  /** Whether others accept from the same listener. */
  readonly isShared: boolean;
  /** It may serve: new connections may go to it. */
  enter(): void;
  /**
   * Takes it out of the rotation. `empty` is called once, at once or later, when nothing waits for it any more, or after `mostMs`.
   * The answer cancels that.
   */
  leave(mostMs: number, empty: () => void): Cancel;
  /** Takes it out of the rotation at once: it has ended, or is about to be killed. */
  drop(): void;
  /** Its process and all that it left behind are gone. */
  end(): void;
  /** How a connection gets to this process and no other, whether it is in the rotation or not; null: others accept from the same lane. */
  reach(): Reach | null;
}

/** What a connection over IPv4 has to be bound to; nothing where there is one lane only. */
export interface Reach {
  readonly localAddress?: string;
}

export class Lanes {
  readonly #lanes: Lane[];
  readonly #group: ListenerGroup;
  readonly #native: () => Native | null;
  /** Workers that are starting, in the order in which they came, and their lanes. */
  readonly #starting = new Map<Holder, Lane>();
  /** Those who wait to be called because others are in the rotation. */
  readonly #leaving = new Set<() => void>();
  /** Where connections go while nobody is there. */
  #last: Lane;
  /** Whether connections choose their lane by their source: as soon as the first wants to. */
  #sources: 'alike' | 'choose' = 'alike';
  #state: 'open' | 'closed' = 'open';
  #again: NodeJS.Timeout | null = null;

  /** @param native how to get the calls of libc; tests pass one that has none */
  constructor(fd: number, native: () => Native | null = loadNative) {
    this.#last = { fd, holders: new Map() };
    this.#lanes = [this.#last];
    this.#group = new ListenerGroup(fd, native);
    this.#native = native;
  }

  /** The listeners of all of them, in the order of the kernel, and that of connections that nobody can serve yet. */
  get fds(): readonly number[] {
    return this.#group.fds;
  }

  /** Why connections cannot be steered on this host, in words, as far as it can be told without trying; null: they can. Loads koffi. */
  whyNot(): string | null {
    return this.#group.whyNot();
  }

  /** Why what waits for a worker that is gone waits for its successor, in words; null: others serve it, or there is one lane only. */
  get whyStaying(): string | null {
    return this.#group.whyStaying;
  }

  /** A place at the first lane, beside all others who are there. */
  share(): Holder {
    return this.#hold(this.#lanes[0]!);
  }

  /** A place at a lane of its own. @throws SteeringRefused */
  take(): Holder {
    const free = this.#lanes.filter((lane) => lane.holders.size === 0);
    const lane = free.length === 0 ? this.#open() : this.#fittest(free);
    // With one lane alone nothing has been loaded yet, and its flag was cleared before the first worker.
    if (this.#lanes.length > 1) this.#native()?.makeBlocking(lane.fd);
    return this.#hold(lane);
  }

  /** Closes all but the first, whose owner closes it. */
  close(): void {
    this.#state = 'closed';
    if (this.#again !== null) clearTimeout(this.#again);
    this.#lanes.splice(1);
    this.#group.close();
  }

  /** How many wait in a lane's accept queue; null where it cannot be known. */
  waiting(fd: number): number | null {
    return this.#lanes.length === 1 ? null : (this.#native()?.sockets.waiting(fd) ?? null);
  }

  // ---------------------------------------------------------------- lanes

  #fittest(free: readonly Lane[]): Lane {
    const queues = free.map((lane) => this.waiting(lane.fd) ?? 0);
    const longest = Math.max(...queues);
    if (longest > 0) return free[queues.indexOf(longest)]!;
    return this.#ready.length === 0 && free.includes(this.#last) ? this.#last : free[0]!;
  }

  #open(): Lane {
    const lane: Lane = { fd: this.#group.add(), holders: new Map() };
    this.#lanes.push(lane);
    try {
      this.#tell();
      return lane;
    } catch (error) {
      this.#lanes.pop();
      this.#group.removeLast();
      throw error;
    }
  }

  // ---------------------------------------------------------------- who is there

  #hold(lane: Lane): Holder {
    let stopWaiting: Cancel = () => undefined;
    const drop = (): void => {
      stopWaiting();
      this.#move(lane, holder, 'leaving');
    };
    const holder: Holder = {
      fd: lane.fd,
      get isShared() {
        return lane.holders.size > 1;
      },
      enter: () => {
        if (lane.holders.get(holder) === 'starting') this.#move(lane, holder, 'ready');
      },
      leave: (mostMs, empty) => {
        const wasReady = lane.holders.get(holder) === 'ready';
        drop();
        if (wasReady && !isReady(lane) && this.#ready.length > 0) stopWaiting = this.#untilEmpty(lane, mostMs, empty);
        else empty();
        return () => stopWaiting();
      },
      drop,
      end: () => {
        drop();
        lane.holders.delete(holder);
        if (lane.holders.size === 0) this.#vacated(lane);
      },
      reach: () => (lane.holders.size === 1 ? this.#reach(lane) : null),
    };
    this.#move(lane, holder, 'starting');
    return holder;
  }

  #move(lane: Lane, holder: Holder, stage: Stage): void {
    const wasReady = isReady(lane);
    lane.holders.set(holder, stage);
    if (stage === 'starting') this.#starting.set(holder, lane);
    else this.#starting.delete(holder);
    if (wasReady && !isReady(lane)) this.#last = lane;
    this.#try();
    if (this.#ready.length === 0) for (const finish of [...this.#leaving]) finish();
  }

  get #ready(): readonly Lane[] {
    return this.#lanes.filter(isReady);
  }

  #reach(lane: Lane): Reach | null {
    this.#sources = 'choose';
    if (this.#lanes.length === 1) return {};
    return this.#try() ? { localAddress: sourceFor(this.#lanes.indexOf(lane)) } : null;
  }

  /** Those of now: where they will arrive was settled when they began. */
  #handshakes(): ReadonlySet<string> {
    const native = this.#native();
    const port = native?.sockets.portOf(this.#lanes[0]!.fd) ?? null;
    return native === null || port === null ? new Set() : native.diag.handshakes(port);
  }

  #untilEmpty(lane: Lane, mostMs: number, empty: () => void): Cancel {
    const beganMs = performance.now();
    const deadlineMs = beganMs + mostMs;
    let underWay = this.#handshakes();
    let timer: NodeJS.Timeout;
    const isEmpty = (): boolean => {
      if (underWay.size > 0 && performance.now() - beganMs < handshakeMostMs) {
        const now = this.#handshakes();
        underWay = new Set([...underWay].filter((one) => now.has(one)));
        if (underWay.size > 0) return false;
      }
      return (this.waiting(lane.fd) ?? 0) === 0;
    };
    const finish = (): void => {
      cancel();
      empty();
    };
    const look = (): void => {
      const leftMs = deadlineMs - performance.now();
      if (leftMs <= 0 || isEmpty()) return finish();
      timer = setTimeout(look, Math.min(leftMs, lookAgainMs));
    };
    const cancel = (): void => {
      clearTimeout(timer);
      this.#leaving.delete(finish);
    };
    timer = setTimeout(look, Math.min(holdMs, mostMs));
    this.#leaving.add(finish);
    return cancel;
  }

  // ---------------------------------------------------------------- the kernel

  /** What was not taken is told again with the next change, and after a second. @returns whether it was taken */
  #try(): boolean {
    if (this.#state === 'closed' || this.#lanes.length === 1) return false;
    try {
      this.#tell();
      return true;
    } catch (error) {
      if (!(error instanceof SteeringRefused)) throw error;
      this.#again ??= setTimeout(() => {
        this.#again = null;
        this.#try();
      }, tellAgainMs).unref();
      return false;
    }
  }

  /** @throws SteeringRefused */
  #tell(): void {
    const chosen = this.#chosen();
    this.#group.tell(chosen, this.#sources);
    // Only now: what was parked goes where the kernel has just been told to send all others.
    if (chosen !== 'parked' && this.#group.unpark()) this.#group.wake(chosen);
  }

  #chosen(): Chosen {
    const ready = this.#ready;
    if (ready.length === 0 && this.#group.park()) return 'parked';
    const [eldest] = this.#starting.values();
    const lanes = ready.length > 0 ? ready : [eldest ?? this.#last];
    return lanes.map((lane) => this.#lanes.indexOf(lane));
  }

  /** Nobody has it any more: what waits there goes to others, where it can. */
  #vacated(lane: Lane): void {
    if (!this.#try()) return;
    const [index, chosen] = [this.#lanes.indexOf(lane), this.#chosen()];
    if (chosen !== 'parked' && chosen.includes(index)) return;
    this.#group.renew(index);
    if (chosen !== 'parked') this.#group.wake(chosen);
  }
}

function isReady(lane: Lane): boolean {
  return [...lane.holders.values()].includes('ready');
}
