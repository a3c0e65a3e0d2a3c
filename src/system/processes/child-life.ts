/**
 * The life of one spawned process, from its spawn until nothing of it is left: the same for workers and hooks.
 *
 *   running --terminate--> leaving --nothing waits for it any more--> asked --kill--> killing
 *      |                      |                                         |               |
 *      '----------------------'------- the leader has exited -----------'---------------'
 *                  | something is left?
 *                  |   running, leaving: it is killed        asked: it may finish; the master's kill ends that
 *                  v
 *              draining --the pipes are read to their end--> over: `exited`, exactly once
 *
 * - Leaving: it is out of the rotation, and serves what has been sent to it before. It takes half of the time to stop at most.
 * - Draining is bounded: a pipe that an escaped process holds open, and that stays silent, is closed. One that waits for
 *   a slow sink is left to drain on, but `exited` does not wait for it longer than a second.
 */
import type { Readable } from 'node:stream';
import type { Exit } from '../../core/protocol.ts';
import type { HealthSpec, LogFormat, Signal } from '../../core/spec.ts';
import type { Cancel, ProcessListener, RunningProcess, WorkerListener } from '../../ports.ts';
import type { LogFileSettings } from '../output/log-file.ts';
import { groupExists, ProcessTree, type Shape } from './process-tree.ts';
import { hasProcfs } from '../procfs.ts';
import type { OomWitness } from './oom.ts';
import type { Seat } from '../sockets/seat.ts';
import type { Child } from './start-program.ts';
import { isAlive, type Leader, type ProcessId, type Strays } from './strays.ts';
import { wrapperFailure } from './wrapping.ts';

/** What is needed of output.ts. */
export interface OutputPort {
  attach(
    stream: Readable,
    source: LifeSpec['source'] & { stream: 'stdout' | 'stderr' },
    onLine?: (line: string) => void,
  ): void;
  tail(source: string, lines: number): readonly string[];
  forget(source: string): void;
}

/** What is needed of guard.ts. */
export interface GuardPort {
  /** Names this very master: to be put into every environment. */
  readonly environment: Readonly<Record<string, string>>;
  add(entry: ProcessId & { readonly signal: Signal; readonly timeoutMs: number }): void;
  endsAt(pid: number, acceptingPid: number): void;
  remove(pid: number): void;
}

export interface LifeParts {
  readonly output: OutputPort;
  readonly guard: GuardPort;
  readonly strays: Strays;
  readonly oom: OomWitness;
}

export interface LifeSpec {
  readonly source: {
    readonly app: string;
    readonly source: string;
    readonly format: LogFormat;
    /** null or missing: the master's stdout. */
    readonly file?: LogFileSettings | null;
  };
  readonly shape: Shape;
  /** Its place at the sockets that it inherits. */
  readonly seat: Seat;
  readonly stop: { readonly signal: Signal; readonly timeoutMs: number };
  /** Sees each line of both streams. */
  readonly onLine?: (line: string) => void;
  /** Probes its health; null: it has none (hooks). */
  readonly probe: RunningProcess['probe'] | null;
}

/** A hook has no place that somebody could take: nobody asks when its leader is gone. */
type LifeListener = Pick<ProcessListener, 'exited'> & Partial<Pick<WorkerListener, 'gone'>>;

const tailLines = 20;
/** As many as there are: a signal other than that for a stop asks for a dump of stacks, the innermost first. */
const dumpLines = 200;
const drainTickMs = 50;
const drainMostMs = 1_000;

type Stage = 'running' | 'leaving' | 'asked' | 'killing' | 'draining' | 'over';

export class ChildLife implements RunningProcess {
  readonly pid: number;
  readonly tree: ProcessTree;
  readonly #child: Child;
  readonly #leader: Leader;
  readonly #spec: LifeSpec;
  readonly #parts: LifeParts;
  readonly #listener: LifeListener;
  #stage: Stage = 'running';
  /** What it was asked to end with last. */
  #asked: Signal | null = null;
  /** How the leader ended; null while it lives. */
  #end: { code: number | null; signal: Signal | null } | null = null;
  /** It was sent a SIGKILL by us, on whoever's behalf. */
  #isKilled = false;
  /** What proves that the kernel has ended it for want of memory. */
  #oom: string | null = null;
  #stopLeaving: Cancel = () => undefined;
  /** Called once, when it is asked to end or ends. */
  readonly #atEnd = new Set<() => void>();
  #waits = 0;
  #timer: NodeJS.Timeout | null = null;

  /** Takes over a process that has just been spawned, before anything else can happen to it. */
  constructor(
    child: Child & { pid: number },
    leader: Leader,
    spec: LifeSpec,
    parts: LifeParts & { listener: LifeListener },
  ) {
    this.pid = child.pid;
    this.#child = child;
    this.#leader = leader;
    this.#spec = spec;
    this.#parts = parts;
    this.#listener = parts.listener;
    this.tree = new ProcessTree(leader, spec.shape, spec.seat.inodes);
    parts.oom.watch(leader);
    parts.guard.add({
      pid: this.pid,
      startTimeTicks: leader.startTimeTicks,
      signal: spec.stop.signal,
      timeoutMs: spec.stop.timeoutMs,
    });
    for (const stream of ['stdout', 'stderr'] as const) {
      const pipe = child[stream];
      if (pipe !== null) parts.output.attach(pipe, { ...spec.source, stream }, spec.onLine);
    }
    child.once('exit', (code, signal) => this.#leaderExited(code, signal));
    // A signal or a message that could not be sent; the process itself is not affected.
    child.on('error', () => undefined);
  }

  /** Whether nobody has asked it to end yet, and its leader lives. */
  get isRunning(): boolean {
    return this.#stage === 'running' && this.#end === null;
  }

  /** Calls `fn` once: as soon as it is asked to end, or its leader has exited. The answer takes it back. */
  onceEnding(fn: () => void): Cancel {
    this.#atEnd.add(fn);
    return () => this.#atEnd.delete(fn);
  }

  #tellEnding(): void {
    for (const fn of this.#atEnd) fn();
    this.#atEnd.clear();
  }

  /**
   * Tells the guard where its chain of stop signals ends, now that it is ready.
   * @param waiting the process that was seen to wait for connections; null: look
   */
  becameReady(waiting: number | null): void {
    this.tree.note();
    const end = waiting ?? this.tree.acceptingPid();
    if (end !== null) this.#parts.guard.endsAt(this.pid, end);
  }

  admit(): void {
    if (this.isRunning) this.#spec.seat.enter();
  }

  get sharesListener(): boolean {
    return this.#spec.seat.isShared;
  }

  terminate(signal: Signal): void {
    // Another signal than that for a stop is for one that hangs: it will not serve what waits for it.
    const isStop = signal === this.#spec.stop.signal;
    if (isStop && this.#stage === 'running' && this.#end === null) return this.#leave(signal);
    if (this.#stage === 'running' || this.#stage === 'leaving' || this.#stage === 'asked') this.#ask(signal);
  }

  #leave(signal: Signal): void {
    this.#stage = 'leaving';
    this.#tellEnding();
    const { seat, stop } = this.#spec;
    this.#stopLeaving = seat.leave(stop.timeoutMs / 2, () => this.#ask(signal));
  }

  #ask(signal: Signal): void {
    this.#stopLeaving();
    this.#spec.seat.drop();
    this.#stage = 'asked';
    this.#isKilled ||= signal === 'SIGKILL';
    this.#asked = signal;
    this.#tellEnding();
    if (this.#end !== null) return;
    if (signal === this.#spec.stop.signal) this.tree.terminate(signal);
    else this.tree.terminateWithDump(signal);
  }

  kill(): void {
    if (this.#stage === 'draining' || this.#stage === 'over') return;
    this.#spec.seat.drop();
    this.#stage = 'killing';
    this.#isKilled = true;
    this.#tellEnding();
    if (this.#end === null) return this.tree.kill();
    this.#waits = 0;
    this.#lookForRest();
  }

  signal(signal: Signal): void {
    this.#isKilled ||= signal === 'SIGKILL';
    if (this.#end === null) this.tree.signal(signal);
  }

  /** Nothing is answered any more as soon as it is asked to end, or has ended. */
  probe(health: HealthSpec, done: (failure: string | null) => void): Cancel {
    if (!this.isRunning || this.#spec.probe === null) return () => undefined;
    const cancel = this.#spec.probe(health, (failure) => {
      takeBack();
      done(failure);
    });
    const takeBack = this.onceEnding(cancel);
    return () => {
      takeBack();
      cancel();
    };
  }

  bindsOwnPort(): boolean {
    return this.#end === null && this.tree.bindsOwnPort();
  }

  lastLines(): readonly string[] {
    return this.#parts.output.tail(this.#spec.source.source, tailLines);
  }

  // -------------------------------------------------------------- after the leader's exit

  #leaderExited(code: number | null, signal: Signal | null): void {
    this.#end = { code, signal };
    // 137: a shell in front of the program tells of its death in this way.
    const isUnexplained = !this.#isKilled && (signal === 'SIGKILL' || code === 137);
    if (isUnexplained) this.#oom = this.#parts.oom.testimony(this.#leader, this.tree.seen);
    this.#spec.seat.drop();
    this.#tellEnding();
    this.#listener.gone?.();
    this.#lookForRest();
  }

  #lookForRest(): void {
    this.#clearTimer();
    if (hasProcfs()) this.#parts.strays.ask(this.#leader, this.tree.seen, (rest) => this.#judge(rest));
    else this.#judge(groupExists(this.pid) ? [this.#leader] : []);
  }

  #judge(rest: readonly ProcessId[]): void {
    if (this.#stage === 'draining' || this.#stage === 'over') return;
    if (rest.length === 0) return this.#drain();
    if (this.#stage === 'running' || this.#stage === 'leaving') this.#stage = 'killing';
    if (this.#stage === 'killing') this.tree.killThese(rest);
    this.#waitFor(rest);
  }

  /** Looks again when the known rest is gone; killed processes are looked for soon, asked ones at leisure. */
  #waitFor(rest: readonly ProcessId[]): void {
    this.#waits++;
    const waitMs = Math.min(2 ** this.#waits, this.#stage === 'killing' ? 50 : 100);
    this.#timer = setTimeout(() => {
      const left = hasProcfs() ? rest.filter(isAlive) : rest;
      if (this.#stage === 'asked' && hasProcfs() && left.length > 0) this.#waitFor(left);
      else this.#lookForRest();
    }, waitMs);
  }

  // -------------------------------------------------------------- the pipes

  #drain(): void {
    this.#stage = 'draining';
    // Before its last lines are read: what waits for it need not wait for them.
    this.#spec.seat.end();
    const open = new Set<Readable>();
    for (const pipe of [this.#child.stdout, this.#child.stderr]) if (pipe !== null && !pipe.closed) open.add(pipe);
    if (open.size === 0) return this.#report();
    const read = new Map<Readable, number>();
    let ticks = 0;
    const timer = setInterval(() => {
      ticks++;
      for (const pipe of open) {
        const bytes = (pipe as Readable & { bytesRead?: number }).bytesRead ?? 0;
        if (!pipe.isPaused() && pipe.readableLength === 0 && read.get(pipe) === bytes) pipe.destroy();
        read.set(pipe, bytes);
      }
      if (ticks * drainTickMs < drainMostMs) return;
      timer.unref();
      this.#report();
    }, drainTickMs);
    for (const pipe of open) {
      pipe.once('close', () => {
        open.delete(pipe);
        if (open.size > 0) return;
        clearInterval(timer);
        this.#report();
      });
    }
  }

  #report(): void {
    if (this.#stage === 'over') return;
    this.#stage = 'over';
    this.#clearTimer();
    for (const stream of this.#child.stdio.slice(3)) stream?.destroy();
    if (this.#child.connected) this.#child.disconnect();
    this.#parts.guard.remove(this.pid);
    this.#parts.strays.forget(this.#leader);
    this.#parts.oom.forget(this.#leader);
    const { output } = this.#parts;
    const { source } = this.#spec.source;
    const hasDump = this.#asked !== null && this.#asked !== this.#spec.stop.signal;
    const lastLines = output.tail(source, hasDump ? dumpLines : tailLines);
    output.forget(source);
    this.#listener.exited(this.#exit(lastLines));
  }

  #exit(lastLines: readonly string[]): Exit {
    const { code, signal } = this.#end ?? { code: null, signal: null };
    const failure = wrapperFailure(code, lastLines);
    const error = failure === null ? null : `the program cannot be executed: ${failure}`;
    return { code, signal, error, ...(this.#oom !== null && { oom: this.#oom }), lastLines };
  }

  #clearTimer(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }
}
