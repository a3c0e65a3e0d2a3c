/**
 * Goal + live workers -> what to add and what to stop. It looks at the world and remembers nothing: scaling,
 * rolling, rolling back and replacing are all this one walk towards the goal. N workers are wanted: replicas + spares.
 *
 * A rolling replacement of 4 workers with max_surge 1, max_unavailable 0 (o old, n new, lower case not available):
 *   OOOO  ->  OOOOn  (one above 4)  ->  OOOON  ->  OOO-N (one old is stopped)  ->  OOONn ...  ->  NNNN
 *
 * Rules
 * - Never fewer available workers than N − maxUnavailable by our own doing. But one that is ill goes as soon as replicas − maxUnavailable
 *   are left: a spare takes its place, and is made good afterwards.
 * - Never more places taken than N + maxSurge, workers that are still leaving included: a slot is theirs until they are gone.
 * - Never more than `replicas` serve: of a surplus they go first. Then who serves nobody does.
 * - Old workers without a process go first and never count towards the floor.
 * - Old workers on their way to ready go next, but for those that the floor lacks: they may serve again before a new one does.
 * - Of what remains the newest revision goes first: it has not proved itself, the good one has.
 * - A worker that is being restarted keeps its place: its successor takes the same slot, if it is still within bounds.
 */
import type { WorkerState } from './protocol.ts';

export interface Goal {
  /** How many should serve. */
  readonly replicas: number;
  /** How many more should be ready, out of the rotation. */
  readonly spares: number;
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
  /** It is in the rotation; a ready one that is not is a spare. */
  readonly admitted: boolean;
  /** Its listener is not its own: connections come to it whether it is in the rotation or not. */
  readonly sharesListener?: boolean;
  /** Of the goal's revision, and still to be replaced: it hangs, is not healthy, too big or too old. At most one at a time. */
  readonly doomed?: boolean;
}

export type Change = { readonly type: 'add'; readonly slot: number } | Stop;

interface Stop {
  readonly type: 'stop';
  readonly id: string;
  readonly why: 'scale-down' | 'replaced';
}

/**
 * The next changes towards the goal. Called again after every event: it need not foresee anything.
 * `vacated`: slots that were left just now by workers whose successors take the same place.
 */
export function reconcile(goal: Goal, live: readonly LiveWorker[], vacated: readonly number[] = []): Change[] {
  const up = live.filter((worker) => worker.leaving === 'no');
  const current = up.filter((worker) => isCurrent(goal, worker));
  const old = up.filter((worker) => !isCurrent(goal, worker));
  const surplus = stopSurplus(goal, current);
  const staying = up.filter((worker) => !surplus.some((change) => change.id === worker.id));
  return [...surplus, ...stopReplaced(goal, staying, old), ...add(goal, live, vacated)];
}

/** How many workers are wanted in all. */
function wanted({ replicas, spares }: Goal): number {
  return replicas + spares;
}

/** Of the goal's revision, and not to be replaced. */
export function isCurrent(goal: Pick<Goal, 'revision'>, { revision, doomed = false }: LiveWorker): boolean {
  return revision === goal.revision && !doomed;
}

function stopSurplus(goal: Goal, current: readonly LiveWorker[]): Stop[] {
  const inOrder = [...current].sort(byScaleDownOrder);
  const serving = inOrder.filter((worker) => isServing(worker) && !worker.sharesListener);
  const tooMany = upTo(serving, serving.length - goal.replicas);
  const others = inOrder.filter((worker) => !tooMany.includes(worker));
  const gone = [...tooMany, ...upTo(others, current.length - wanted(goal) - tooMany.length)];
  return inOrder.filter((worker) => gone.includes(worker)).map(({ id }) => ({ type: 'stop', id, why: 'scale-down' }));
}

function stopReplaced(goal: Goal, up: readonly LiveWorker[], old: readonly LiveWorker[]): Stop[] {
  const floor = (old.some(({ doomed }) => doomed) ? goal.replicas : wanted(goal)) - goal.maxUnavailable;
  const available = up.filter((worker) => worker.available).length;
  const inOrder = [...old].sort(byReplacementOrder);
  const idle = inOrder.filter((worker) => !worker.available && withoutProcess(worker));
  const coming = inOrder.filter((worker) => !worker.available && !withoutProcess(worker));
  const serving = inOrder.filter((worker) => worker.available);
  const gone = [
    ...idle,
    ...upTo(coming, coming.length - Math.max(0, floor - available)),
    ...upTo(serving, available - floor),
  ];
  return gone.map(({ id }) => ({ type: 'stop', id, why: 'replaced' }));
}

function upTo<T>(list: readonly T[], count: number): readonly T[] {
  return list.slice(0, Math.max(0, count));
}

function withoutProcess({ state }: LiveWorker): boolean {
  return state === 'backoff' || state === 'failed' || state === 'completed';
}

function add(goal: Goal, live: readonly LiveWorker[], vacated: readonly number[]): Change[] {
  const current = live.filter((worker) => worker.leaving === 'no' && isCurrent(goal, worker));
  const restarting = live.filter((worker) => worker.leaving === 'restarting').length;
  const missing = wanted(goal) - current.length - restarting;
  const room = wanted(goal) + goal.maxSurge - live.length;
  const pace = goal.inFlight - current.filter((worker) => !worker.available).length;
  const count = Math.max(0, Math.min(missing, room, pace));
  if (count === 0) return [];
  const inBounds = vacated.filter((slot) => slot < wanted(goal) + goal.maxSurge);
  return freeSlots(live, inBounds, count).map((slot) => ({ type: 'add', slot }));
}

/** `count` slots that nobody holds: the wanted ones, then the lowest. */
function freeSlots(live: readonly LiveWorker[], wanted: readonly number[], count: number): number[] {
  const taken = new Set(live.map((worker) => worker.slot));
  const free: number[] = [];
  const take = (slot: number) => {
    if (free.length === count || taken.has(slot)) return;
    taken.add(slot);
    free.push(slot);
  };
  wanted.forEach(take);
  for (let slot = 0; free.length < count; slot++) take(slot);
  return free;
}

const scaleDownRank: Readonly<Record<WorkerState, number>> = {
  failed: 0,
  backoff: 1,
  completed: 2,
  starting: 3,
  stopping: 3,
  killing: 3,
  ready: 4,
  stopped: 4,
};

function isServing({ state, admitted }: LiveWorker): boolean {
  return state === 'ready' && admitted;
}

/** What serves nobody comes first; of the ready ones those are the spares. */
function byUse(a: LiveWorker, b: LiveWorker): number {
  return scaleDownRank[a.state] - scaleDownRank[b.state] || Number(isServing(a)) - Number(isServing(b));
}

/** Failed, backing off, starting (or ended because it did not get ready), spares, then the highest slots. */
function byScaleDownOrder(a: LiveWorker, b: LiveWorker): number {
  return byUse(a, b) || b.slot - a.slot;
}

/** What has not proved itself first, then what serves nobody, then the lowest slots. */
function byReplacementOrder(a: LiveWorker, b: LiveWorker): number {
  return b.revision - a.revision || byUse(a, b) || a.slot - b.slot;
}
