/**
 * The listeners that share one address, by index, and how the kernel is told which of them it may choose. Two ways:
 *
 *   moving   an eBPF program and a map of the listeners (Linux 5.14, CAP_BPF). When a listener is closed the kernel moves what waits
 *            there, and what is in the middle of its handshake, to where new connections go. So a listener that nobody has is
 *            renewed, and connections that nobody can serve yet are parked at a listener of their own, which is closed later.
 *   staying  a classic program, which counts the listeners in the order in which they began to listen. None is ever closed:
 *            the last would move into its place, and what waits there would be reset.
 *
 * Which way is settled with the second listener. Until then there is nothing to choose, and nothing is loaded.
 */
import { getSystemErrorName } from 'node:util';
import type { Native } from '../native.ts';
import { backlog } from './listening.ts';
import { chooseFromMap } from './moving-program.ts';
import { chooseAmong, letSourceChoose } from './steering-program.ts';

/** More than there are listeners; the last place is for what is parked. */
const mapSize = 4096;
const parkedAt = mapSize - 1;

/** Why connections cannot be steered here, in words. */
export class SteeringRefused extends Error {}

/** Among which listeners the kernel chooses: ascending indices, or where connections are parked. */
export type Chosen = readonly number[] | 'parked';

type Way = { readonly kind: 'moving'; readonly map: number } | { readonly kind: 'staying'; readonly why: string };

export class ListenerGroup {
  readonly #fds: number[];
  readonly #native: () => Native | null;
  /** null: not settled yet. */
  #way: Way | null = null;
  #parked: number | null = null;
  /** What the kernel has been told. */
  #told = '';

  /** @param fd the first listener, whose owner closes it; its number stays, the socket behind it may be renewed */
  constructor(fd: number, native: () => Native | null) {
    this.#fds = [fd];
    this.#native = native;
  }

  /** All of them, that of parked connections last. */
  get fds(): readonly number[] {
    return this.#parked === null ? this.#fds : [...this.#fds, this.#parked];
  }

  /** Why connections cannot be steered on this host, in words, as far as it can be told without trying; null: they can. Loads koffi. */
  whyNot(): string | null {
    if (process.platform !== 'linux') return 'only Linux can';
    return this.#native() === null ? withoutKoffi : null;
  }

  /** Why what waits at a listener stays there, in words; null: it is moved, or there is only one. */
  get whyStaying(): string | null {
    return this.#way?.kind === 'staying' ? this.#way.why : null;
  }

  /** Opens one more listener, at the next index. The kernel does not choose it before it is told to. @throws SteeringRefused */
  add(): number {
    const why = this.whyNot();
    const native = this.#native();
    if (why !== null || native === null) throw new SteeringRefused(why ?? withoutKoffi);
    const first = this.#fds[0]!;
    if (this.#way === null) demand(native.sockets.shareAddress(first), 'SO_REUSEPORT');
    const fd = native.sockets.listenBeside(first, backlog);
    demand(fd < 0 ? -fd : 0, 'another listener');
    this.#way ??= settle(native, first);
    const errno = this.#put(this.#fds.length, fd);
    if (errno === 0) return (this.#fds.push(fd), fd);
    native.sockets.close(fd);
    throw refusal(errno, 'BPF_MAP_UPDATE_ELEM');
  }

  /** Takes the last listener back, which the kernel does not choose. */
  removeLast(): void {
    this.#native()?.sockets.close(this.#fds.pop()!);
  }

  /**
   * Tells the kernel, if that is new to it.
   * @param sources whether connections may choose their listener by their source
   * @throws SteeringRefused with what was told before still in force; it is told again with the next call
   */
  tell(chosen: Chosen, sources: 'alike' | 'choose'): void {
    if (this.#fds.length === 1) return;
    const wanted = `${String(chosen)} of ${this.#fds.length}, sources ${sources}`;
    if (wanted === this.#told) return;
    this.#told = '';
    this.#attach(chosen === 'parked' ? [parkedAt] : chosen, sources === 'choose' ? this.#fds.length : 0);
    this.#told = wanted;
  }

  /** Opens the listener where connections wait that nobody can serve. @returns whether it is there */
  park(): boolean {
    const sockets = this.#native()?.sockets;
    if (this.#parked !== null) return true;
    if (this.#way?.kind !== 'moving' || sockets === undefined) return false;
    const fd = sockets.listenBeside(this.#fds[0]!, backlog);
    if (fd < 0) return false;
    this.#parked = fd;
    if (this.#put(parkedAt, fd) === 0) return true;
    this.unpark();
    return false;
  }

  /**
   * Closes it: what is parked goes where new connections go. To be called when the kernel has been told where that is.
   * @returns whether it was there
   */
  unpark(): boolean {
    if (this.#parked === null) return false;
    this.#native()?.sockets.close(this.#parked);
    this.#parked = null;
    return true;
  }

  /**
   * Puts a new listener in the place of one that nobody has: what waits there goes where new connections go. Where it cannot, the
   * old one stays, with what waits there.
   * @param index one that the kernel does not choose
   */
  renew(index: number): void {
    const sockets = this.#native()?.sockets;
    if (this.#way?.kind !== 'moving' || sockets === undefined) return;
    const fresh = sockets.listenBeside(this.#fds[0]!, backlog);
    if (fresh < 0) return;
    if (this.#put(index, fresh) === 0) sockets.replace(this.#fds[index]!, fresh);
    sockets.close(fresh);
  }

  /** Wakes those who wait at these: they may have got what was moved. */
  wake(indices: readonly number[]): void {
    for (const index of indices) this.#native()?.sockets.wake(this.#fds[index]!);
  }

  /** Closes all but the first. */
  close(): void {
    const sockets = this.#native()?.sockets;
    this.unpark();
    for (const fd of this.#fds.splice(1)) sockets?.close(fd);
    if (this.#way?.kind === 'moving') sockets?.close(this.#way.map);
    this.#way = null;
  }

  /** 0, or the errno. */
  #put(index: number, fd: number): number {
    return this.#way?.kind === 'moving' ? (this.#native()?.bpf.putSocket(this.#way.map, index, fd) ?? 0) : 0;
  }

  #attach(indices: readonly number[], sources: number): void {
    const native = this.#native();
    const first = this.#fds[0]!;
    if (native === null || this.#way === null) return;
    if (this.#way.kind === 'moving')
      return attachMoving(native, first, chooseFromMap(this.#way.map, { indices, sources }));
    const program = [...(sources === 0 ? [] : letSourceChoose(sources)), ...chooseAmong(indices)];
    demand(native.sockets.chooseBy(first, program), 'SO_ATTACH_REUSEPORT_CBPF');
  }
}

/** Tries the better way, with the first listener alone. */
function settle(native: Native, first: number): Way {
  const why = native.bpf.whyNot();
  if (why !== null) return { kind: 'staying', why };
  const map = native.bpf.socketMap(mapSize);
  try {
    demand(map < 0 ? -map : 0, 'BPF_MAP_CREATE');
    demand(native.bpf.putSocket(map, 0, first), 'BPF_MAP_UPDATE_ELEM');
    attachMoving(native, first, chooseFromMap(map, { indices: [0], sources: 0 }));
    return { kind: 'moving', map };
  } catch (error) {
    if (map >= 0) native.sockets.close(map);
    return { kind: 'staying', why: `${(error as Error).message} (it takes CAP_BPF, and Linux 5.14)` };
  }
}

function attachMoving({ bpf, sockets }: Native, fd: number, program: ReturnType<typeof chooseFromMap>): void {
  const loaded = bpf.loadChooser(program);
  demand(loaded < 0 ? -loaded : 0, 'BPF_PROG_LOAD');
  const errno = sockets.chooseByLoaded(fd, loaded);
  sockets.close(loaded);
  demand(errno, 'SO_ATTACH_REUSEPORT_EBPF');
}

const withoutKoffi = 'the optional package koffi cannot be loaded (npm install koffi)';

function demand(errno: number, what: string): void {
  if (errno !== 0) throw refusal(errno, what);
}

function refusal(errno: number, what: string): SteeringRefused {
  return new SteeringRefused(`the kernel refuses ${what}: ${getSystemErrorName(-errno)}`);
}
