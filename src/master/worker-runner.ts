/**
 * Performs one worker's life: feeds events into the machine, carries out its effects, keeps its one timer. It decides
 * nothing. What an earlier process of this worker still has to say is dropped: every spawn has its own listener.
 */
import type { Cause, EventBody, WorkerRef, WorkerState } from '../core/protocol.ts';
import {
  beginLife,
  hasProcess,
  rowOf,
  step,
  type Effect,
  type Life,
  type LifePolicy,
  type Row,
  type Step,
  type Surroundings,
  type WorkerEvent,
} from '../core/worker-machine.ts';
import type { HealthSpec, Signal } from '../core/spec.ts';
import type { Cancel, Clock, Pinned, RunningProcess, Spawner, WorkerListener } from '../ports.ts';

/** What a runner needs of its app. */
export interface RunnerHost {
  readonly clock: Clock;
  readonly spawner: Spawner;
  emit(body: EventBody): void;
  /** Whether the app has ever had a ready worker. */
  served(): boolean;
  /** It has left the rotation, because its process has ended. What follows from that is not done yet: it takes its time. */
  leftRotation(): void;
  /** Its life has changed. `after` is the event that did it. */
  changed(runner: WorkerRunner, after: WorkerEvent['type'] | 'begin'): void;
  /** @param about the id of a worker, or the number of a revision */
  warn(about: string | number, message: string): void;
  /** It was seen to hang (why, in words), or to go on again (null). */
  stalled(runner: WorkerRunner, reason: string | null): void;
}

export interface Place {
  readonly pinned: Pinned;
  /** The number in the id; never reused. */
  readonly number: number;
  readonly slot: number;
}

export class WorkerRunner {
  readonly pinned: Pinned;
  readonly number: number;
  readonly slot: number;
  readonly id: string;
  readonly #host: RunnerHost;
  readonly #policy: LifePolicy;
  #life!: Life;
  #process: RunningProcess | null = null;
  #cancelDeadline: Cancel | null = null;
  /** The process that was let into the rotation. */
  #admitted: RunningProcess | null = null;
  /** The process whose leader has exited, while what it left behind is being ended. */
  #gone: RunningProcess | null = null;

  constructor(place: Place, host: RunnerHost) {
    this.pinned = place.pinned;
    this.number = place.number;
    this.slot = place.slot;
    this.id = `${place.pinned.app.name}.${place.number}`;
    this.#host = host;
    const { restart, backoff, readyTimeoutMs, stop } = place.pinned.app;
    this.#policy = { restart, backoff, readyTimeoutMs, stopTimeoutMs: stop.timeoutMs };
  }

  /** Starts its first process. `inherited`: the row of crashes of the worker whose place it takes. */
  begin(inherited: Row | null = null): void {
    this.#take(beginLife(this.#around(), inherited), 'begin');
  }

  send(event: WorkerEvent): void {
    this.#take(step(this.#life, event, this.#around()), event.type);
  }

  get life(): Life {
    return this.#life;
  }

  /** Its state as others see it: one whose leader has exited is not ready, though its life goes on until all of it has ended. */
  get state(): WorkerState {
    const { state } = this.#life;
    return state === 'ready' && this.#gone !== null && this.#gone === this.#process ? 'stopping' : state;
  }

  get pid(): number | null {
    return hasProcess(this.#life) ? (this.#process?.pid ?? null) : null;
  }

  /** Lets new connections come to its process, which is ready. */
  admit(): void {
    this.#admitted = this.#process;
    this.#process?.admit();
  }

  /** Whether it is in the rotation: ready, and let in. */
  get isAdmitted(): boolean {
    return this.state === 'ready' && this.#admitted !== null && this.#admitted === this.#process;
  }

  /** Whether connections come to it in any case, because its listener is not its own. */
  get sharesListener(): boolean {
    return this.#process?.sharesListener ?? false;
  }

  get leaving(): 'no' | 'retiring' | 'restarting' {
    if (this.#life.ending?.then !== 'retire') return 'no';
    return this.#life.ending.cause === 'restart' ? 'restarting' : 'retiring';
  }

  /** What its process has written last; without one, what the one before had. */
  get lastLines(): readonly string[] {
    return this.#process?.lastLines() ?? this.#life.lastExit?.exit.lastLines ?? [];
  }

  /** Its crashes in a row, as they are when it ends now. */
  get row(): Row {
    return rowOf(this.#life, this.#around());
  }

  /** Probes its health once; `done` is called unless it is cancelled, or the process ends. */
  probe(health: HealthSpec, done: (failure: string | null) => void): Cancel {
    const probed = this.#process;
    return probed?.probe(health, (failure) => probed === this.#process && done(failure)) ?? (() => undefined);
  }

  /** Whether it listens on a port that we did not give it. */
  bindsOwnPort(): boolean {
    const { kind, listen } = this.pinned.app;
    return (
      kind === 'command' &&
      listen.length === 0 &&
      this.#life.state === 'ready' &&
      (this.#process?.bindsOwnPort() ?? false)
    );
  }

  /** Sends a signal on an operator's behalf: an exit that follows is not a crash. */
  signal(signal: Signal): void {
    this.send({ type: 'signalled' });
    this.#process?.signal(signal);
    this.#host.emit({ type: 'worker.signalled', ...this.ref, signal });
  }

  #around(): Surroundings {
    const { clock } = this.#host;
    return { nowMs: clock.now(), random: clock.random(), served: this.#host.served(), policy: this.#policy };
  }

  #take(next: Step, after: WorkerEvent['type'] | 'begin'): void {
    const before = this.#life as Life | undefined;
    if (before === next.life) return;
    const pid = this.#process?.pid ?? null;
    this.#life = next.life;
    if (after === 'exited' && before) {
      this.#process = null;
      this.#reportExit(before, pid);
      this.#host.leftRotation();
    }
    for (const effect of next.effects) this.#perform(effect);
    this.#keepDeadline(before);
    if (before?.state !== next.life.state || next.effects.includes('spawn')) this.#reportState(pid);
    this.#host.changed(this, after);
  }

  #perform(effect: Effect): void {
    if (effect === 'spawn') this.#spawn();
    else if (effect === 'terminate') this.#process?.terminate(this.#stopSignal());
    else this.#process?.kill();
  }

  /** One that hangs would not take notice of the usual one: it is to leave a dump of its stacks. */
  #stopSignal(): Signal {
    const { stall, stop } = this.pinned.app;
    return this.#life.ending?.cause === 'stall' ? (stall?.signal ?? 'SIGABRT') : stop.signal;
  }

  #spawn(): void {
    const guard: { current: RunningProcess | null } = { current: null };
    const mine = () => guard.current !== null && guard.current === this.#process;
    const listener: WorkerListener = {
      ready: () => mine() && this.send({ type: 'ready' }),
      exited: (exit) => {
        if (!mine()) return;
        this.send({ type: 'exited', exit });
      },
      gone: () => {
        if (!mine()) return;
        this.#gone = guard.current;
        if (this.#life.state === 'ready') this.#host.leftRotation();
      },
      stalled: (reason) => mine() && this.#host.stalled(this, reason),
      warning: (message, about) =>
        (guard.current === null || mine()) &&
        this.#host.warn(about === 'revision' ? this.pinned.revision : this.id, message),
    };
    guard.current = this.#host.spawner.spawn({ pinned: this.pinned, worker: this.id, slot: this.slot }, listener);
    this.#process = guard.current;
  }

  #keepDeadline(before: Life | undefined): void {
    const { deadlineMs, sinceMs } = this.#life;
    if (before && before.deadlineMs === deadlineMs && before.sinceMs === sinceMs && before.state === this.#life.state)
      return;
    this.#cancelDeadline?.();
    this.#cancelDeadline = null;
    if (deadlineMs === null) return;
    const waitMs = Math.max(0, deadlineMs - this.#host.clock.now());
    this.#cancelDeadline = this.#host.clock.schedule(waitMs, () => this.send({ type: 'timeout' }));
  }

  #reportExit(before: Life, pid: number | null): void {
    const past = this.#life.lastExit;
    if (!past) return;
    const { code, signal, error, oom, lastLines } = past.exit;
    const uptimeMs = before.startedMs === null ? 0 : Math.round(past.atMs - before.startedMs);
    this.#host.emit({
      type: 'worker.exited',
      ...this.ref,
      pid,
      code,
      signal,
      cause: past.cause,
      uptimeMs,
      error,
      ...(oom !== undefined && { oom }),
      lastLines,
    });
  }

  #reportState(pidBefore: number | null): void {
    const { state, sinceMs, row, restarts, deadlineMs, readyMs, startedMs, ending, lastExit } = this.#life;
    const ref = this.ref;
    // As it was decided: the time that passed since then is none of the policy's.
    const waitMs = deadlineMs === null ? null : Math.round(deadlineMs - sinceMs);
    const cause: Cause = ending?.cause ?? 'stop';
    const crashes = { crashes: row.crashes, ...(lastExit === null && { inherited: true as const }) };
    switch (state) {
      case 'starting':
        return this.#host.emit({
          type: 'worker.starting',
          ...ref,
          pid: this.pid,
          revision: this.pinned.revision,
          attempt: restarts + 1,
        });
      case 'ready':
        return this.#host.emit({
          type: 'worker.ready',
          ...ref,
          pid: this.pid,
          bootMs: Math.round((readyMs ?? 0) - (startedMs ?? 0)),
        });
      case 'stopping':
      case 'killing':
        return this.#host.emit({ type: `worker.${state}`, ...ref, pid: pidBefore, cause });
      case 'backoff':
        return this.#host.emit({ type: 'worker.backoff', ...ref, delayMs: waitMs ?? 0, ...crashes });
      case 'failed':
        return this.#host.emit({ type: 'worker.failed', ...ref, ...crashes, delayMs: waitMs });
      case 'completed':
      case 'stopped':
        return this.#host.emit({ type: `worker.${state}`, ...ref });
    }
  }

  get ref(): WorkerRef {
    return { app: this.pinned.app.name, worker: this.id, slot: this.slot };
  }
}
