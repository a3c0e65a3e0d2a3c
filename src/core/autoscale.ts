/**
 * How many workers an app with `workers: {min, max, ...}` needs, after the algorithm of Kubernetes' HorizontalPodAutoscaler
 * (https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale/, "Algorithm details" and "Default behavior"; the
 * arithmetic with workers that are not ready is that of its replica_calculator.go):
 *
 *   desired = ceil(ready workers x metric / target)        2 workers at 140 % CPU, target 70 %: 2 x 140 / 70 = 4
 *
 * | metric | mean per ready worker of | target |
 * | --- | --- | --- |
 * | CPU | its whole tree, 100 % = one core | target_cpu |
 * | queue | connections that wait to be accepted | 2 |
 *
 * Of two metrics the higher demand holds. A mean, not the maximum: one hot worker among idle ones has work that another worker would not
 * take from it (kept connections), so it alone is no reason for more.
 *
 * Why 2: a worker that takes one request at a time makes a newcomer wait for two others by then. One with an event loop takes all that wait
 * at every turn, so a count finds fewer, unless its turns are long.
 *
 * A queue tells that there are too few workers, not how many are missing: with 1 % too few it grows as long as with half of them, only later.
 * So it asks for as many again at most. Of the last two counts since the number has changed the lower one is taken: a burst is no queue. And one that has got shorter by
 * a tenth is being worked off: it keeps what is there.
 *
 * Rules
 * - It decides every 15 s, on the mean of the readings since the last decision.
 * - Within 10 % of the target nothing is changed.
 * - Missing data decide nothing: while a ready worker has no sample, or none is ready, the number stays. (HPA guesses 0 or 100 %.)
 * - Workers that are not ready count as idle when more are wanted, and not at all when fewer are; neither turns up into down.
 * - Up at once, by at most as many again or 4, whichever is more. Down to the highest demand within scale_down_after.
 * - Memory is a ceiling, never a reason for fewer: nothing is added that, with the mean memory of a ready worker, would bring what is in
 *   use above target_memory, or the workers near their budget (see budget.ts, which alone takes away).
 * - CPU does not tell what workers need that wait for something else. When a queue is why some were added while CPU was below its target,
 *   they stay for 6 times scale_down_after, and then go one by one; if a queue comes back, so does one. Else the same load would add and remove
 *   them for ever.
 * - A goal of 0 was set by hand, and stays.
 */
import { nearShare } from './budget.ts';
import type { BudgetLevel } from './protocol.ts';
import type { ScaledStaffing } from './spec.ts';
import { formatBytes, formatDuration, formatPercent } from './units.ts';

export const decideEveryMs = 15_000;
export const tolerance = 0.1;
export const queueTarget = 2;
/** What floating point may add. */
const rounding = 1e-9;
const addAtMost = 4;
const timesAtMost = 2;
/** A queue asks for so many times as many workers at most. */
const queueAtMost = 2;
/** Workers for a queue stay for so many times scale_down_after. */
const queueHoldTimes = 6;

/** A worker of the app that serves or is to serve: neither a spare nor on its way out. */
export interface ScaledWorker {
  readonly ready: boolean;
  /** 100 = one core busy; null: not known. */
  readonly cpuPercent: number | null;
  readonly memoryBytes: number | null;
}

export interface ScaleFacts {
  readonly nowMs: number;
  /** Wanted workers. */
  readonly goal: number;
  readonly workers: readonly ScaledWorker[];
  /** They are being replaced (a reload, say). */
  readonly busy: boolean;
  /** Connections that wait at all its addresses, and when they were counted; null: not known, or there is nothing to count. */
  readonly queue: { readonly waiting: number; readonly atMs: number } | null;
  readonly memory: ScaleMemory;
}

export interface ScaleMemory {
  /** Memory that may be used, and how much of it is, 0..1, as in HostSample; null: not known. */
  readonly usableBytes: number;
  readonly usedShare: number | null;
  /** Of the workers of all apps, as in BudgetSnapshot. */
  readonly budgetBytes: number | null;
  readonly budgetUsedBytes: number | null;
  readonly level: BudgetLevel;
}

export interface ScaleState {
  /** null: there was no decision yet; the time of the first reading. */
  readonly decidedAtMs: number | null;
  /** Readings since the last decision, and the sum of their mean CPU (1 = one core). */
  readonly readings: number;
  readonly cpuSum: number;
  /** When it was last changed here: earlier counts tell nothing. null: never. */
  readonly changedAtMs: number | null;
  /** The last two counts of what waits, oldest first. */
  readonly counts: readonly { readonly waiting: number; readonly atMs: number }[];
  /** Demands within scale_down_after, oldest first; one that a later and higher one covers is left out. */
  readonly demands: readonly Demand[];
  /** What a queue has asked for while CPU did not. */
  readonly forQueue: Demand | null;
  /** With dry_run: what it was last said to become; null: nothing. */
  readonly said: number | null;
}

export interface Demand {
  readonly workers: number;
  readonly atMs: number;
}

export const unscaled: ScaleState = {
  ...{ decidedAtMs: null, readings: 0, cpuSum: 0, changedAtMs: null, counts: [] },
  ...{ demands: [], forQueue: null, said: null },
};

export interface ScaleDecision {
  readonly state: ScaleState;
  /** `wait`: nothing was decided. `stay`: decided so. `would`: a dry run, said once. */
  readonly kind: 'wait' | 'stay' | 'scale' | 'would';
  /** How many workers there are to be; with `would`, there would be. */
  readonly to: number;
  /** The arithmetic, or why nothing is done, in words. */
  readonly reason: string;
}

/** Takes one reading (call it at every sample), and decides when it is time to. */
export function autoscale(spec: ScaledStaffing, before: ScaleState, facts: ScaleFacts): ScaleDecision {
  const { nowMs, goal } = facts;
  const wait = (state: ScaleState, reason: string): ScaleDecision => ({ state, kind: 'wait', to: goal, reason });
  if (goal === 0)
    return wait({ ...unscaled, said: before.said }, 'scaled to 0 by hand: it stays so until it is scaled again');
  const begun = before.decidedAtMs === null ? begin(before, facts) : before;
  if (facts.busy) return wait({ ...begun, readings: 0, cpuSum: 0 }, 'its workers are being replaced');
  const missing = whatIsMissing(facts.workers);
  if (missing !== null) return wait(counted(begun, facts), missing);
  const state = taken(counted(begun, facts), facts);
  const sinceMs = nowMs - (state.decidedAtMs ?? nowMs);
  if (sinceMs < decideEveryMs)
    return wait(state, `the next decision is due in ${formatDuration(decideEveryMs - sinceMs)}`);
  return decide(spec, state, facts);
}

/** The number of workers that there are counts as wanted at the start, so that nothing is taken away before scale_down_after. */
function begin(before: ScaleState, { nowMs, goal }: ScaleFacts): ScaleState {
  return { ...unscaled, said: before.said, decidedAtMs: nowMs, demands: [{ workers: goal, atMs: nowMs }] };
}

function whatIsMissing(workers: readonly ScaledWorker[]): string | null {
  const ready = workers.filter((worker) => worker.ready);
  if (ready.length === 0) return 'no worker is ready';
  const unknown = ready.filter(({ cpuPercent, memoryBytes }) => cpuPercent === null || memoryBytes === null).length;
  return unknown === 0
    ? null
    : `${unknown} of ${ready.length} ready workers ${unknown === 1 ? 'has' : 'have'} no sample yet`;
}

function counted(state: ScaleState, { queue }: ScaleFacts): ScaleState {
  if (queue === null) return { ...state, counts: [] };
  const lastAtMs = state.counts.at(-1)?.atMs ?? state.changedAtMs ?? -Infinity;
  if (queue.atMs <= lastAtMs) return state;
  return { ...state, counts: [...state.counts.slice(-1), queue] };
}

function taken(state: ScaleState, { workers }: ScaleFacts): ScaleState {
  const ready = workers.filter((worker) => worker.ready);
  const cpu = ready.reduce((sum, { cpuPercent }) => sum + (cpuPercent ?? 0) / 100, 0) / ready.length;
  return { ...state, readings: state.readings + 1, cpuSum: state.cpuSum + cpu };
}

// ---------------------------------------------------------------- the decision

/** A number and how it came about. */
interface Figure {
  readonly workers: number;
  readonly words: string;
}

function decide(spec: ScaledStaffing, state: ScaleState, facts: ScaleFacts): ScaleDecision {
  const { nowMs, goal } = facts;
  const cpu = demandOfCpu(spec, state, facts);
  const queue = demandOfQueue(state, { facts, isProbing: isProbing(spec, state.forQueue, nowMs) });
  const forQueue = queue.workers > goal && cpu.workers <= goal ? within(spec, queue.workers) : null;
  const held = forQueue === null ? state.forQueue : { workers: forQueue, atMs: nowMs };
  const demand = highest([cpu, queue, heldForQueue(spec, held, nowMs)]);
  const demands = remembered(
    state.demands,
    { workers: within(spec, demand.workers), atMs: nowMs },
    spec.scaleDownAfterMs,
  );
  const { workers: to, words: reason } = limited(spec, facts, demand, demands);
  const next: ScaleState = { ...state, decidedAtMs: nowMs, readings: 0, cpuSum: 0, demands, forQueue: held };
  if (to === goal) return { state: { ...next, said: null }, kind: 'stay', to, reason };
  if (!spec.dryRun) return { state: { ...next, counts: [], changedAtMs: nowMs }, kind: 'scale', to, reason };
  if (state.said === to) return { state: next, kind: 'stay', to: goal, reason };
  return { state: { ...next, said: to }, kind: 'would', to, reason };
}

function demandOfCpu({ targetCpu }: ScaledStaffing, state: ScaleState, facts: ScaleFacts): Figure {
  const mean = state.cpuSum / state.readings;
  const words = `CPU ${formatPercent(mean)} per worker, target ${formatPercent(targetCpu)}`;
  return demandOf(facts, { ratio: mean / targetCpu, words });
}

function demandOfQueue(
  { counts }: ScaleState,
  { facts, isProbing }: { readonly facts: ScaleFacts; readonly isProbing: boolean },
): Figure {
  if (counts.length < 2) return { workers: 0, words: 'queue not known' };
  const { goal } = facts;
  const ready = facts.workers.filter((worker) => worker.ready).length;
  const [earlier = 0, latest = 0] = counts.map(({ waiting }) => waiting / ready);
  const perWorker = Math.min(earlier, latest);
  const ratio = perWorker / queueTarget;
  const words = `queue ${Math.round(perWorker * 10) / 10} per worker, target ${queueTarget}`;
  if (ratio > 1 && latest <= (1 - tolerance) * earlier)
    return { workers: goal, words: `${words}, but it gets shorter` };
  const capped = ratio > queueAtMost ? `${words}, at most twice as many` : words;
  const demand = demandOf(facts, { ratio: Math.min(ratio, queueAtMost), words: capped });
  if (!isProbing || demand.workers <= goal) return demand;
  return { workers: goal + 1, words: `${words}, since one was taken away` };
}

/** HPA's formula, with its tolerance and its treatment of workers that are not ready. */
function demandOf({ goal, workers }: ScaleFacts, { ratio, words }: { ratio: number; words: string }): Figure {
  const ready = workers.filter((worker) => worker.ready).length;
  const others = workers.length - ready;
  const counts = ratio > 1 ? ready + others : ready;
  const spread = (ratio * ready) / counts;
  const isSmall = Math.abs(1 - spread) <= tolerance + rounding || (ratio > 1 && spread < 1);
  if (isSmall) return { workers: goal, words: `${words}: no change` };
  const desired = ceil(spread * counts);
  const turned = (spread > 1 && desired < goal) || (spread < 1 && desired > goal);
  const formula = `${ready} x ${Math.round(ratio * 100) / 100} = ${desired}`;
  return turned ? { workers: goal, words: `${words}: no change` } : { workers: desired, words: `${words}: ${formula}` };
}

/** Without what floating point adds: 5 x (0.98 / 0.7) is 7, not 7.000000000000001. */
function ceil(value: number): number {
  return Math.ceil(value - rounding);
}

/** How many of those that a queue has asked for are to go by now. */
function goneForQueue({ scaleDownAfterMs }: ScaledStaffing, held: Demand, nowMs: number): number {
  const beyondMs = nowMs - held.atMs - queueHoldTimes * scaleDownAfterMs;
  return beyondMs < 0 ? 0 : Math.floor(beyondMs / scaleDownAfterMs) + 1;
}

/** Whether it is being tried how many fewer will do. */
function isProbing(spec: ScaledStaffing, held: Demand | null, nowMs: number): boolean {
  if (held === null) return false;
  const gone = goneForQueue(spec, held, nowMs);
  return gone > 0 && gone <= held.workers;
}

function heldForQueue(spec: ScaledStaffing, held: Demand | null, nowMs: number): Figure {
  if (held === null) return { workers: 0, words: '' };
  const workers = Math.max(0, held.workers - goneForQueue(spec, held, nowMs));
  return { workers, words: `a queue needed ${held.workers} ${formatDuration(nowMs - held.atMs)} ago, now ${workers}` };
}

function highest(figures: readonly Figure[]): Figure {
  return figures.reduce((most, figure) => (figure.workers > most.workers ? figure : most));
}

/** A demand that a later one equals or exceeds can never be the highest again. */
function remembered(demands: readonly Demand[], latest: Demand, windowMs: number): readonly Demand[] {
  return [...demands.filter(({ workers, atMs }) => workers > latest.workers && latest.atMs - atMs < windowMs), latest];
}

// ---------------------------------------------------------------- the limits

function within({ min, max }: ScaledStaffing, workers: number): number {
  return Math.min(max, Math.max(min, workers));
}

function limited(spec: ScaledStaffing, facts: ScaleFacts, demand: Figure, demands: readonly Demand[]): Figure {
  const { goal } = facts;
  const bounded = within(spec, demand.workers);
  const bound =
    bounded === demand.workers ? '' : `, ${bounded < demand.workers ? `max ${spec.max}` : `min ${spec.min}`}`;
  const words = `${demand.words}${bound}`;
  if (bounded > goal) return limitedUp(spec, facts, { workers: bounded, words });
  const most = within(spec, Math.max(...demands.map(({ workers }) => workers)));
  if (most === bounded || bounded === goal) return { workers: bounded, words };
  const recent = `, but ${Math.min(goal, most)} were needed within ${formatDuration(spec.scaleDownAfterMs)}`;
  return { workers: Math.min(within(spec, goal), most), words: `${words}${recent}` };
}

function limitedUp(spec: ScaledStaffing, facts: ScaleFacts, wanted: Figure): Figure {
  const { goal } = facts;
  const step = Math.max(timesAtMost * goal, goal + addAtMost);
  const stepped = Math.min(wanted.workers, step);
  const words = stepped === wanted.workers ? wanted.words : `${wanted.words}, at most ${step} at once`;
  const ceiling = ceilingByMemory(spec, facts);
  if (ceiling.workers >= stepped) return { workers: stepped, words };
  return { workers: Math.max(goal, ceiling.workers), words: `${words}, but ${ceiling.words}` };
}

/** How many workers there may be for their memory; those that are not measured yet are reckoned with. */
function ceilingByMemory({ targetMemory }: ScaledStaffing, { workers, memory }: ScaleFacts): Figure {
  const { usableBytes, usedShare, budgetBytes, budgetUsedBytes, level } = memory;
  if (level !== 'ok') return { workers: 0, words: `memory is ${level} its limit: nothing is added` };
  if (usedShare === null || budgetBytes === null || budgetUsedBytes === null) {
    return { workers: 0, words: 'the memory in use is not known yet: nothing is added' };
  }
  const ready = workers.filter((worker) => worker.ready);
  const eachBytes = ready.reduce((sum, { memoryBytes }) => sum + (memoryBytes ?? 0), 0) / ready.length;
  const unmeasured = workers.filter(({ memoryBytes }) => memoryBytes === null).length;
  const ofUsable = targetMemory * usableBytes - usedShare * usableBytes;
  const ofBudget = nearShare * budgetBytes - budgetUsedBytes;
  const room = Math.max(0, Math.min(ofUsable, ofBudget));
  const fits = eachBytes <= 0 ? Infinity : Math.max(0, Math.floor(room / eachBytes) - unmeasured);
  const sum =
    ofUsable <= ofBudget
      ? `${formatPercent(targetMemory)} of ${formatBytes(usableBytes)} - ${formatBytes(usedShare * usableBytes)} in use`
      : `${formatPercent(nearShare)} of the ${formatBytes(budgetBytes)} budget - ${formatBytes(budgetUsedBytes)} of the workers`;
  const coming = unmeasured === 0 ? '' : ` - ${unmeasured} on their way`;
  return {
    workers: workers.length + fits,
    words: `memory has room for ${fits} more: (${sum}) / ${formatBytes(eachBytes)} each${coming}`,
  };
}
