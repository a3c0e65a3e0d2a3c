/**
 * The listeners of one address, called lanes, and the processes that have them. The first lane is the socket that was bound at the
 * start; where connections are steered each worker has a lane of its own, and the kernel is told which lanes are in the rotation.
 *
 *   starting --enter--> ready (in the rotation) --leave--> leaving --end--> gone; its lane is free
 *
 * Where a new connection goes
 * - to one of the lanes with a ready worker, each as likely as any other;
 * - without any: to the lane of the worker that has been starting for longest; without such a one: to the lane that was left last.
 *   So connections queue, and are not refused.
 *
 * Which lane a worker gets
 * - a free one (nobody holds it): that where most connections wait; that where connections go now; the first. Else a new one.
 * - A lane is never closed before the address is: the kernel counts lanes in the order in which they began to listen,
 *   and what is queued would be reset.
 * - O_NONBLOCK, which the last worker may have set, is cleared while nobody holds the lane; never later (see listening.ts).
 *
 * A probe goes to the lane of its worker, in the rotation or not: by its source address, of which the kernel is told with the first probe.
 *
 * Leaving takes a moment: out of the rotation, then at least `holdMs`, until the handshakes are over that were under way (their
 * connections are in no queue yet, and go where they were sent when they began), and until the accept queue is empty. It is skipped where nobody else is in the rotation: there is no other lane for the clients to go to.
 */
import { getSystemErrorName } from 'node:util';
import type { Cancel } from '../../ports.ts';
import { loadNative, type Native } from '../native.ts';
import { backlog } from './listening.ts';
import { chooseAmong, letSourceChoose, sourceFor } from './steering-program.ts';

/** What the kernel does at the moment is over by then. */
const holdMs = 150;
/** A handshake whose answer was lost once is over by then. */
const handshakeMostMs = 3_000;
const lookAgainMs = 20;

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

/** Why connections cannot be steered here, in words. */
export class SteeringRefused extends Error {}

export class Lanes {
  readonly #lanes: Lane[];
  readonly #native: () => Native | null;
  /** Workers that are starting, in the order in which they came, and their lanes. */
  readonly #starting = new Map<Holder, Lane>();
  /** Those who wait to be called because others are in the rotation. */
  readonly #leaving = new Set<() => void>();
  /** Where connections go while nobody is there. */
  #last: Lane;
  /** What the kernel has been told. */
  #told = '';
  /** Whether connections choose their lane by their source: as soon as the first wants to. */
  #sources: 'alike' | 'choose' = 'alike';
  #state: 'open' | 'closed' = 'open';

  /** @param native how to get the calls of libc; tests pass one that has none */
  constructor(fd: number, native: () => Native | null = loadNative) {
    this.#last = { fd, holders: new Map() };
    this.#lanes = [this.#last];
    this.#native = native;
  }

  /** All of them, in the order of the kernel. */
  get fds(): readonly number[] {
    return this.#lanes.map((lane) => lane.fd);
  }

  /** Why connections cannot be steered on this host, in words, as far as it can be told without trying; null: they can. Loads koffi. */
  whyNot(): string | null {
    if (process.platform !== 'linux') return 'only Linux can';
    return this.#native() === null ? withoutKoffi : null;
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
    for (const lane of this.#lanes.splice(1)) this.#native()?.sockets.close(lane.fd);
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
    const why = this.whyNot();
    const sockets = this.#native()?.sockets;
    if (why !== null || sockets === undefined) throw new SteeringRefused(why ?? withoutKoffi);
    const first = this.#lanes[0]!.fd;
    if (this.#lanes.length === 1) demand(sockets.shareAddress(first), 'SO_REUSEPORT');
    const fd = sockets.listenBeside(first, backlog);
    demand(fd < 0 ? -fd : 0, 'another listener');
    const lane: Lane = { fd, holders: new Map() };
    this.#lanes.push(lane);
    const errno = this.#tell();
    if (errno === 0) return lane;
    this.#lanes.pop();
    sockets.close(fd);
    throw refusal(errno, 'SO_ATTACH_REUSEPORT_CBPF');
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
    if (this.#state === 'open') this.#tell();
    if (this.#ready.length === 0) for (const finish of [...this.#leaving]) finish();
  }

  get #ready(): readonly Lane[] {
    return this.#lanes.filter(isReady);
  }

  #reach(lane: Lane): Reach | null {
    this.#sources = 'choose';
    if (this.#lanes.length === 1) return {};
    return this.#tell() === 0 ? { localAddress: sourceFor(this.#lanes.indexOf(lane)) } : null;
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

  /** 0, or the errno. What was not taken is told again with the next change. */
  #tell(): number {
    if (this.#lanes.length === 1) return 0;
    const indices = this.#inRotation().map((lane) => this.#lanes.indexOf(lane));
    const { length } = this.#lanes;
    const wanted = `${indices.join()} of ${length}, sources ${this.#sources}`;
    if (wanted === this.#told) return 0;
    const sources = this.#sources === 'choose' ? letSourceChoose(length) : [];
    const program = [...sources, ...chooseAmong(indices)];
    const errno = this.#native()?.sockets.chooseBy(this.#lanes[0]!.fd, program) ?? 0;
    this.#told = errno === 0 ? wanted : '';
    return errno;
  }

  #inRotation(): readonly Lane[] {
    const ready = this.#ready;
    if (ready.length > 0) return ready;
    const [eldest] = this.#starting.values();
    return [eldest ?? this.#last];
  }
}

function isReady(lane: Lane): boolean {
  return [...lane.holders.values()].includes('ready');
}

const withoutKoffi = 'the optional package koffi cannot be loaded (npm install koffi)';

function demand(errno: number, what: string): void {
  if (errno !== 0) throw refusal(errno, what);
}

function refusal(errno: number, what: string): SteeringRefused {
  return new SteeringRefused(`the kernel refuses ${what}: ${getSystemErrorName(-errno)}`);
}
