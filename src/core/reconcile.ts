/**
 * Goal + live workers -> what to add and what to stop. It looks at the world and remembers nothing: scaling,
 * rolling, rolling back and replacing are all this one walk towards the goal.
 *
 * A rolling replacement of 4 workers with max_surge 1, max_unavailable 0 (o old, n new, lower case not available):
 *   OOOO  ->  OOOOn  (one above 4)  ->  OOOON  ->  OOO-N (one old is stopped)  ->  OOONn ...  ->  NNNN
 *
 * Rules
 * - Never fewer available workers than replicas − maxUnavailable by our own doing.
 * - Never more places taken than replicas + maxSurge, workers that are still leaving included: a slot is theirs until they are gone.
 * - Old workers without a process go first and never count towards the floor.
 * - A worker that is being restarted keeps its place: its successor takes the same slot.
 */
import type { WorkerState } from './protocol.ts';

export interface Goal {
  readonly replicas: number;
  readonly revision: number;
  readonly maxSurge: number;
  readonly maxUnavailable: number;
  /** How many workers of the goal's revision may be on their way at once; Infinity when nothing is being rolled. */
  readonly inFlight: number;
}

export interface LiveWorker {
  readonly id: string;
  readonly slot: number;
  readonly revision: number;
  readonly state: WorkerState;
  /** `restarting`: it leaves, and its successor waits for its slot. */
  readonly leaving: 'no' | 'retiring' | 'restarting';
  /** Ready, and for a canary: ready long enough. */
  readonly available: boolean;
}

export type Change =
  | { readonly type: 'add'; readonly slot: number }
  | { readonly type: 'stop'; readonly id: string; readonly why: 'scale-down' | 'replaced' };

/** The next changes towards the goal. Called again after every event: it need not foresee anything. */
export function reconcile(goal: Goal, live: readonly LiveWorker[]): Change[] {
  const up = live.filter((worker) => worker.leaving === 'no');
  const current = up.filter((worker) => worker.revision === goal.revision);
  const old = up.filter((worker) => worker.revision !== goal.revision);
  return [...stopSurplus(goal, current), ...stopReplaced(goal, up, old), ...add(goal, live, current)];
}

function stopSurplus(goal: Goal, current: readonly LiveWorker[]): Change[] {
  const surplus = Math.max(0, current.length - goal.replicas);
  return [...current].sort(byScaleDownOrder).slice(0, surplus).map(({ id }) => ({ type: 'stop', id, why: 'scale-down' }));
}

function stopReplaced(goal: Goal, up: readonly LiveWorker[], old: readonly LiveWorker[]): Change[] {
  const floor = goal.replicas - goal.maxUnavailable;
  let available = up.filter((worker) => worker.available).length;
  const changes: Change[] = [];
  for (const worker of [...old].sort(byReplacementOrder)) {
    if (worker.available && --available < floor) break;
    changes.push({ type: 'stop', id: worker.id, why: 'replaced' });
  }
  return changes;
}

function add(goal: Goal, live: readonly LiveWorker[], current: readonly LiveWorker[]): Change[] {
  const restarting = live.filter((worker) => worker.leaving === 'restarting').length;
  const missing = goal.replicas - current.length - restarting;
  const room = goal.replicas + goal.maxSurge - live.length;
  const pace = goal.inFlight - current.filter((worker) => !worker.available).length;
  const count = Math.max(0, Math.min(missing, room, pace));
  return freeSlots(live, count).map((slot) => ({ type: 'add', slot }));
}

/** The `count` lowest slots that nobody holds. */
function freeSlots(live: readonly LiveWorker[], count: number): number[] {
  const taken = new Set(live.map((worker) => worker.slot));
  const free: number[] = [];
  for (let slot = 0; free.length < count; slot++) if (!taken.has(slot)) free.push(slot);
  return free;
}

const scaleDownRank: Readonly<Record<WorkerState, number>> = {
  failed: 0, backoff: 1, completed: 2, starting: 3, ready: 4, stopping: 4, killing: 4, stopped: 4,
};

/** Failed, backing off, starting, then the highest slots. */
function byScaleDownOrder(a: LiveWorker, b: LiveWorker): number {
  return scaleDownRank[a.state] - scaleDownRank[b.state] || b.slot - a.slot;
}

/** Those that serve nobody first, then the lowest slots. */
function byReplacementOrder(a: LiveWorker, b: LiveWorker): number {
  return Number(a.available) - Number(b.available) || scaleDownRank[a.state] - scaleDownRank[b.state] || a.slot - b.slot;
}
