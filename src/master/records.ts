/**
 * Listens to the stream and to the samples, and makes a record of every exit; and knows why each process that runs was
 * started. It decides nothing and touches nothing.
 *
 *   worker.exited          a draft
 *   the next of the worker   restarted, backoff, failed, completed: the record is whole
 *   worker.stopped         whole too, with the worker that took its place: one that was started for it before, or
 *                          the one that the very next event of the app starts, or lets wait for its first start
 */
import { SuperviseError } from '../core/errors.ts';
import type { Cause, Event, EventType, Snapshot, Target, WorkerSnapshot } from '../core/protocol.ts';
import {
  addPoint,
  bounded,
  curveBefore,
  isPlanned,
  type ExitRecord,
  type Next,
  type Point,
  type Start,
  type Why,
  type WorkerWhy,
} from '../core/record.ts';
import { endAsReason } from '../core/why.ts';
import type { Records, TreeSample } from '../ports.ts';
import { AppStory } from './app-story.ts';

type EventOf<T extends EventType> = Event extends infer E
  ? E extends { readonly type: infer U }
    ? T extends U
      ? E
      : never
    : never
  : never;

/** An exit whose record is made later: many may end in one turn. */
export interface Draft {
  /** Without its curve, and without what came next. */
  readonly record: ExitRecord;
  readonly points: readonly Point[];
}

/** A worker that there is, as the stream has told of it. */
export interface Tracked {
  readonly id: string;
  readonly slot: number;
  readonly revision: number;
  /** Of the event that started its first process. */
  readonly startSeq: number;
  pid: number | null;
  attempt: number;
  readyMs: number | null;
  points: readonly Point[];
  /** The spare that took the place of this process in the rotation. */
  spare: string | null;
  start: Start;
  /** The worker whose place it takes. */
  inPlaceOf: string | null;
  /** What was seen wrong with this process, by the cause of an end that would follow from it. */
  readonly reasons: Map<Cause, string>;
  /** Of the event since which it is to be replaced; null: it is not. */
  markedSeq: number | null;
  /** Whether its process was asked to end, and did not in time. */
  ending: 'no' | 'asked' | 'overdue';
  exit: Draft | null;
  /** How its last process ended, in words. */
  lastEnd: string | null;
}

export class ExitRecorder {
  readonly #records: Records;
  readonly #workers = new Map<string, Tracked>();
  readonly #apps = new Map<string, AppStory>();
  /** New workers that wait for their first start -> how the one ended whose place they take. */
  readonly #heirs = new Map<string, ExitRecord>();

  constructor(records: Records) {
    this.#records = records;
  }

  take(event: Event): void {
    if ('worker' in event && 'slot' in event) this.#takeOfWorker(event);
    else if ('app' in event) {
      const app = this.#app(event.app);
      this.#settleWaiting(app, null);
      app.take(event);
    } else if (event.type === 'operation.finished') for (const app of this.#apps.values()) app.operationEnded();
  }

  /** `leaders`: whose trees were sampled. A sample of an earlier process is of no use. */
  takeSamples(leaders: ReadonlyMap<string, number>, trees: ReadonlyMap<string, TreeSample>, nowMs: number): void {
    for (const [id, { memoryBytes, cpuPercent }] of trees) {
      const worker = this.#workers.get(id);
      // Nothing in memory: it has ended, and was not waited for yet.
      if (worker === undefined || worker.pid !== leaders.get(id) || memoryBytes === 0) continue;
      worker.points = addPoint(worker.points, { atMs: nowMs, memoryBytes, cpuPercent });
    }
  }

  /** @throws SuperviseError unknown-target: nothing of that name is there, and none has ended lately */
  why(target: Target, n: number, snapshot: Snapshot): Why {
    const app = snapshot.apps.find(({ name }) => name === target.app);
    const workers = (app?.workers ?? []).filter(({ id }) => target.worker === null || id === target.worker);
    const records = this.#recordsOf(target, n);
    const name = target.worker ?? target.app;
    const isKnown = workers.length > 0 || records.length > 0 || (target.worker === null && app !== undefined);
    const told = workers.map((worker) => this.#workerWhy(worker));
    if (isKnown) return { target: name, running: true, workers: told, records };
    const now = snapshot.apps.flatMap((one) => [one.name, ...one.workers.map(({ id }) => id)]);
    const known = [...new Set([...now, ...this.#records.apps()])];
    throw new SuperviseError('unknown-target', `there is no app or worker ${name}, and no record of one`, {
      hint: `known here: ${known.join(', ')}`,
    });
  }

  #recordsOf(target: Target, n: number): readonly ExitRecord[] {
    const waiting = [...(this.#apps.get(target.app)?.waiting ?? [])].reverse();
    const mine = waiting.filter(({ record }) => target.worker === null || record.worker === target.worker);
    return [...mine.map((exit) => whole(exit, nobody)), ...this.#records.recent(target, n)].slice(0, n);
  }

  #workerWhy({ id, state, pid, revision, uptimeMs, reason }: WorkerSnapshot): WorkerWhy {
    return { id, state, pid, revision, uptimeMs, reason, start: this.#workers.get(id)?.start ?? null };
  }

  // -------------------------------------------------------------- events of workers

  #takeOfWorker(event: Extract<Event, { readonly worker: string; readonly slot: number }>): void {
    const app = this.#app(event.app);
    if (event.type === 'worker.starting') return this.#starting(event, app);
    if (event.type === 'worker.promoted') return this.#promoted(event);
    const worker = this.#workers.get(event.worker);
    if (worker === undefined) return this.#waits(event, app);
    this.#settleWaiting(app, null);
    switch (event.type) {
      case 'worker.ready':
        worker.readyMs = event.bootMs;
        return;
      case 'worker.stalled':
      case 'worker.unhealthy':
      case 'worker.over_memory':
      case 'worker.over_budget':
      case 'worker.over_lifetime':
      case 'worker.makes_room':
        worker.reasons.set(causeOf[event.type], event.reason);
        if (event.action === 'replace') worker.markedSeq ??= event.seq;
        return;
      case 'worker.recovered':
        worker.reasons.delete(event.from);
        if (worker.reasons.size === 0) worker.markedSeq = null;
        return;
      case 'worker.stopping':
        worker.ending = 'asked';
        return;
      case 'worker.killing':
        if (worker.ending === 'asked') worker.ending = 'overdue';
        return;
      case 'worker.exited':
        worker.exit = draft(event, worker);
        worker.lastEnd = endAsReason(worker.exit.record);
        Object.assign(worker, { pid: null, points: [] });
        return;
      case 'worker.backoff':
        return this.#finish(worker, { type: 'backoff', delayMs: event.delayMs, crashes: event.crashes });
      case 'worker.failed':
        return this.#finish(worker, { type: 'failed', delayMs: event.delayMs, crashes: event.crashes });
      case 'worker.completed':
        return this.#finish(worker, { type: 'completed' });
      case 'worker.stopped':
        return this.#stopped(worker, app);
      default:
        return;
    }
  }

  /** One that has had no process yet: it inherits crashes, and may be retired before its first start. */
  #waits({ type, worker }: Event & { readonly worker: string }, app: AppStory): void {
    const isRetired = type === 'worker.stopped';
    const predecessor = this.#settleWaiting(app, isRetired ? null : worker);
    if (isRetired) this.#heirs.delete(worker);
    else if (predecessor !== null) this.#heirs.set(worker, predecessor);
  }

  #starting(event: EventOf<'worker.starting'>, app: AppStory): void {
    const before = this.#workers.get(event.worker);
    if (before !== undefined) {
      this.#finish(before, { type: 'restarted' });
      const after = before.lastEnd === null ? null : `its process before ${before.lastEnd}`;
      const start: Start = { at: event.at, why: 'respawn', of: null, after };
      Object.assign(before, fresh(event), { start });
      return;
    }
    const successorOf = this.#settleWaiting(app, event.worker) ?? this.#heirs.get(event.worker) ?? null;
    this.#heirs.delete(event.worker);
    const start = app.startOf(event, successorOf, [...this.#workers.values()]);
    const { worker: id, slot, revision } = event;
    this.#workers.set(id, {
      ...fresh(event),
      id,
      slot,
      revision,
      startSeq: event.seq,
      start,
      inPlaceOf: start.of,
      exit: null,
      lastEnd: null,
    });
    app.workers.add(id);
  }

  /** It comes before what follows from an exit, or before the stop. */
  #promoted({ worker, of }: EventOf<'worker.promoted'>): void {
    const before = of === null ? undefined : this.#workers.get(of);
    if (before === undefined) return;
    before.spare = worker;
    if (before.exit !== null) before.exit = { ...before.exit, record: { ...before.exit.record, spare: worker } };
  }

  #stopped(worker: Tracked, app: AppStory): void {
    this.#workers.delete(worker.id);
    app.workers.delete(worker.id);
    const { exit } = worker;
    if (exit === null) return;
    const { cause } = exit.record;
    if (cause === 'stop' || cause === 'scale-down') return this.#append(exit, nobody);
    const others = [...app.workers].flatMap((id) => this.#workers.get(id) ?? []);
    const successor = app.successorOf(worker, cause, others);
    if (successor === null) return void app.waiting.push(exit);
    successor.inPlaceOf = worker.id;
    successor.start = { ...successor.start, of: worker.id };
    this.#append(exit, { type: 'stopped', by: successor.id });
  }

  /** The event after a worker has stopped tells who follows it, if anybody. @returns whom this new worker follows */
  #settleWaiting(app: AppStory, starting: string | null): ExitRecord | null {
    const [first] = app.waiting;
    if (first === undefined) return null;
    for (const exit of app.waiting.splice(0))
      this.#append(exit, { type: 'stopped', by: exit === first ? starting : null });
    return first.record;
  }

  #finish(worker: Tracked, next: Next): void {
    if (worker.exit !== null) this.#append(worker.exit, next);
    worker.exit = null;
  }

  #append(exit: Draft, next: Next): void {
    this.#records.append(() => whole(exit, next));
  }

  #app(name: string): AppStory {
    let app = this.#apps.get(name);
    if (app === undefined) this.#apps.set(name, (app = new AppStory()));
    return app;
  }
}

/** What is new with each process of a worker. */
function fresh({ pid, attempt }: EventOf<'worker.starting'>) {
  return {
    pid,
    attempt,
    readyMs: null,
    points: [],
    spare: null,
    reasons: new Map<Cause, string>(),
    markedSeq: null,
    ending: 'no' as const,
  };
}

const nobody: Next = { type: 'stopped', by: null };

function draft(event: EventOf<'worker.exited'>, worker: Tracked): Draft {
  const { at, app, slot, pid, cause, code, signal, error, oom, uptimeMs, lastLines } = event;
  const { readyMs, revision, attempt, points, spare } = worker;
  const overdue =
    isPlanned(cause) && worker.ending === 'overdue' ? 'it did not end in time (stop.timeout) and was killed' : null;
  const reason = worker.reasons.get(cause) ?? overdue;
  const record: ExitRecord = {
    ...{ at, app, worker: worker.id, slot, pid, revision, cause, code, signal, error, oom: oom ?? null, reason },
    ...{ uptimeMs, readyMs, restarts: attempt - 1, spare, lastLines, curve: [], next: nobody },
  };
  return { record, points };
}

function whole({ record, points }: Draft, next: Next): ExitRecord {
  return bounded({ ...record, curve: curveBefore(points, Date.parse(record.at)), next });
}

/** The cause of the end that follows from what was seen. */
const causeOf = {
  'worker.stalled': 'stall',
  'worker.unhealthy': 'health',
  'worker.over_memory': 'memory-limit',
  'worker.over_budget': 'memory-budget',
  'worker.over_lifetime': 'lifetime',
  'worker.makes_room': 'stranded',
} as const satisfies Partial<Record<EventType, Cause>>;
