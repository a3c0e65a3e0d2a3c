/**
 * What the metrics count of the event stream: plain numbers, from the master's start on.
 *
 * - Totals are kept by app, never by worker: they go on when a worker is gone.
 * - Bounded: of apps, hooks and log sinks only the last `mostKeys` that something happened to are kept. Names come from the config,
 *   and a config can be reloaded for ever.
 * - It begins with the events that the stream still has, so it may be made a little after the start.
 */
import { ailments, type Ailment } from '../../core/ailments.ts';
import type { Cause, Event } from '../../core/protocol.ts';

const mostKeys = 1_000;

export const scalers = ['operator', 'supervise', 'dry-run'] as const;
export const rolloutResults = ['succeeded', 'rolled_back', 'superseded'] as const;
export const hookResults = ['succeeded', 'failed', 'timed-out', 'cancelled', 'skipped'] as const;

/** Numbers by a word; what was never counted is 0. */
export class Counts<Word extends string = string> {
  readonly #counts = new Map<Word, number>();

  add(word: Word, count = 1): void {
    this.#counts.set(word, this.of(word) + count);
  }

  of(word: Word): number {
    return this.#counts.get(word) ?? 0;
  }
}

/** What happened to one app since the master started. */
export class AppTally {
  starts = 0;
  boots = 0;
  bootMs = 0;
  promotions = 0;
  warnings = 0;
  readonly exits = new Counts<Cause>();
  readonly restarts = new Counts<Cause>();
  readonly ailments = new Counts<Ailment>();
  readonly scalings = new Counts<`${'up' | 'down'} ${(typeof scalers)[number]}`>();
  readonly rollouts = new Counts<(typeof rolloutResults)[number]>();
  rolloutStartedMs: number | null = null;
  lastRolloutMs: number | null = null;
  isUnbalanced = false;
  /** Why the last process of each worker ended; of those that may be started again. */
  readonly lastCauses = new Map<string, Cause>();
}

/** What happened to one hook. `lastMs`: how long its last run took, with its retries. */
export interface HookTally {
  readonly runs: Counts<(typeof hookResults)[number]>;
  lastMs: number | null;
}

interface DroppedTally {
  lines: number;
  bytes: number;
}

export class Tally {
  readonly #apps = new Map<string, AppTally>();
  readonly #hooks = new Map<string, HookTally>();
  readonly dropped = new Map<string, DroppedTally>();
  readonly operations = new Counts();
  warnings = 0;

  app(name: string): AppTally {
    return entry(this.#apps, name, () => new AppTally());
  }

  hook(phase: string, name: string): HookTally {
    return entry(this.#hooks, `${phase} ${name}`, () => ({ runs: new Counts(), lastMs: null }));
  }

  /** Counts one event. */
  take(event: Event): void {
    if ('worker' in event && 'slot' in event) return takeWorkerEvent(this.app(event.app), event);
    switch (event.type) {
      case 'rollout.started':
        this.app(event.app).rolloutStartedMs = Date.parse(event.at);
        return;
      case 'rollout.succeeded':
      case 'rollout.superseded':
      case 'rollout.rolled_back':
        return endRollout(this.app(event.app), event.type, event.at);
      case 'app.scaled':
      case 'app.would_scale': {
        const by = event.type === 'app.would_scale' ? 'dry-run' : event.reason === null ? 'operator' : 'supervise';
        return this.app(event.app).scalings.add(`${event.to < event.from ? 'down' : 'up'} ${by}`);
      }
      case 'app.unbalanced':
      case 'app.balanced':
        this.app(event.app).isUnbalanced = event.type === 'app.unbalanced';
        return;
      case 'app.warning':
        this.app(event.app).warnings += 1;
        return;
      case 'master.warning':
        this.warnings += 1;
        return;
      case 'operation.finished':
        return this.operations.add(`${event.name} ${event.ok ? 'ok' : 'failed'}`);
      case 'logs.dropped':
        return this.#drop(event.sink, event);
      case 'hook.succeeded':
      case 'hook.failed':
      case 'hook.timed-out':
      case 'hook.cancelled':
      case 'hook.skipped': {
        const hook = this.hook(event.phase, event.hook);
        hook.runs.add(event.type.slice('hook.'.length) as (typeof hookResults)[number]);
        hook.lastMs = event.durationMs ?? hook.lastMs;
        return;
      }
      default: // of no number here
    }
  }

  #drop(sink: string, { lines, bytes }: DroppedTally): void {
    const dropped = entry(this.dropped, sink, () => ({ lines: 0, bytes: 0 }));
    dropped.lines += lines;
    dropped.bytes += bytes;
  }
}

type WorkerEvent = Extract<Event, { readonly worker: string; readonly slot: number }>;

/** The event that says that a worker has it. */
const foundBy = {
  'stall': 'worker.stalled',
  'health': 'worker.unhealthy',
  'memory-limit': 'worker.over_memory',
  'memory-budget': 'worker.over_budget',
  'lifetime': 'worker.over_lifetime',
  'stranded': 'worker.makes_room',
} as const satisfies Record<Ailment, Event['type']>;

const ailmentOf = new Map<Event['type'], Ailment>(ailments.map((ailment) => [foundBy[ailment], ailment]));

function takeWorkerEvent(app: AppTally, event: WorkerEvent): void {
  const { worker } = event;
  const ailment = ailmentOf.get(event.type);
  if (ailment !== undefined) return app.ailments.add(ailment);
  if (event.type === 'worker.starting') {
    app.starts += 1;
    const cause = app.lastCauses.get(worker);
    if (cause !== undefined) app.restarts.add(cause);
  } else if (event.type === 'worker.ready') {
    app.boots += 1;
    app.bootMs += event.bootMs;
  } else if (event.type === 'worker.promoted') {
    app.promotions += 1;
  } else if (event.type === 'worker.exited') {
    app.exits.add(event.cause);
    app.lastCauses.set(worker, event.cause);
  } else if (event.type === 'worker.stopped') {
    app.lastCauses.delete(worker);
  }
}

function endRollout(
  app: AppTally,
  type: 'rollout.succeeded' | 'rollout.superseded' | 'rollout.rolled_back',
  at: string,
): void {
  app.rollouts.add(type.slice('rollout.'.length) as (typeof rolloutResults)[number]);
  if (app.rolloutStartedMs !== null) app.lastRolloutMs = Date.parse(at) - app.rolloutStartedMs;
  app.rolloutStartedMs = null;
}

/** The entry of `key`, made where there is none. The one that was made first goes when there are too many. */
function entry<Value>(map: Map<string, Value>, key: string, make: () => Value): Value {
  const old = map.get(key);
  if (old !== undefined) return old;
  if (map.size >= mostKeys) map.delete(map.keys().next().value!);
  const value = make();
  map.set(key, value);
  return value;
}
