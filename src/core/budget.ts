/**
 * The memory of all workers against `resources.memory_budget`, and what follows:
 *
 *   ok --> near: it is said, and nothing is added
 *      --> over: the worker whose replacement gives back most is replaced, one at a time
 *                where that cannot help: one worker fewer of an app that is `auto` or scaled, never below its least
 *
 * | | rises to near | to over | falls to near | to ok |
 * | --- | --- | --- | --- | --- |
 * | memory of the workers, of the budget | 90 % | 100 % | 95 % | 85 % |
 * | memory in use, of what may be used (the tightest limit) | 90 % | 95 % | 92 % | 87 % |
 *
 * The second line is for the kernel's OOM killer: it looks at all that is in use, not at our budget, and asks nobody.
 *
 * Rules
 * - A level changes when three samples in a row say so. After a step three more have to, and the step must have had its effect: the
 *   successor serves and was measured, or the surplus is gone.
 * - Replacing helps with what a worker has gained since it became ready: at least a quarter of what it had then, and 1 % of the budget.
 *   Who would give back most goes first.
 * - An app that was replaced for its memory twice over within ten minutes has no leak, it needs what it takes: then one fewer is better.
 * - The successor runs beside its predecessor for a while. Where it would not fit into what is left, one fewer comes first.
 * - `workers: N` is what somebody asked for: of such an app nobody is taken away.
 * - A worker that was not measured counts as nothing: a level rises without it all the same, but never falls.
 * - Where RSS was measured, pages that workers share count several times: their sum is then no more than all that is in use.
 */
import type { BudgetLevel, MemoryKind } from './protocol.ts';
import type { StaffingSpec } from './spec.ts';
import { formatBytes, formatPercent } from './units.ts';

/** So many samples in a row must say the same. */
export const samplesInARow = 3;

/** What is added must leave the workers below this share of the budget. */
export const nearShare = 0.9;

const ofBudget = { near: nearShare, over: 1, notOver: 0.95, notNear: 0.85 };
const ofUsable = { near: 0.9, over: 0.95, notOver: 0.92, notNear: 0.87 };

/** A worker must have gained so much since it was ready, of what it had then; and of the budget. */
const leastGain = 0.25;
const leastGainOfBudget = 0.01;

const recycleWindowMs = 600_000;
/** A step that has had no effect for so long has failed, and another one is tried. */
const stepTimeoutMs = 600_000;

export interface BudgetWorker {
  readonly id: string;
  /** Only of ready workers is memory compared; of all of them it counts. */
  readonly ready: boolean;
  readonly memoryBytes: number | null;
  readonly memoryKind: MemoryKind | null;
  /** At its first sample after it became ready; null: there was none. */
  readonly firstBytes: number | null;
}

export interface BudgetApp {
  readonly name: string;
  readonly staffing: StaffingSpec['kind'];
  /** Wanted workers, and the fewest that it may have: 1 for auto, `min` where it is scaled. */
  readonly goal: number;
  readonly min: number;
  /** Its workers are being replaced already, or its number changes: it is left alone. */
  readonly busy: boolean;
  /** Spares and those on their way out as well. */
  readonly workers: readonly BudgetWorker[];
}

export interface BudgetFacts {
  readonly nowMs: number;
  /** null: not known. */
  readonly budgetBytes: number | null;
  /** Memory that may be used, and how much of it is, 0..1, as in HostSample; null: not known. */
  readonly usableBytes: number;
  readonly usedShare: number | null;
  readonly apps: readonly BudgetApp[];
}

export type BudgetStep =
  | { readonly type: 'warn'; readonly message: string }
  /** Replace it gracefully. `reason`: the arithmetic. */
  | { readonly type: 'recycle'; readonly app: string; readonly worker: string; readonly reason: string }
  /** One worker fewer. */
  | { readonly type: 'shed'; readonly app: string; readonly to: number; readonly reason: string };

export interface BudgetState {
  readonly level: BudgetLevel;
  /** What the last samples said instead of `level`, and how many of them in a row. */
  readonly towards: BudgetLevel;
  readonly inARow: number;
  /** Samples in a row that were over, since the last step. */
  readonly overInARow: number;
  /** Whose effect is waited for. */
  readonly pending: { readonly app: string; readonly worker: string | null; readonly atMs: number } | null;
  /** Replacements of the last ten minutes. */
  readonly recycled: readonly { readonly app: string; readonly atMs: number }[];
  /** It was said that nothing can be done. */
  readonly isHelpless: boolean;
}

export const unusedBudget: BudgetState = {
  ...{ level: 'ok', towards: 'ok', inARow: 0, overInARow: 0 },
  ...{ pending: null, recycled: [], isHelpless: false },
};

export interface BudgetJudgement {
  readonly state: BudgetState;
  /** null: not known. */
  readonly usedBytes: number | null;
  readonly level: BudgetLevel;
  /** In words, for status: "188MB of 240MB (78%)". */
  readonly reason: string;
  /** In this order; at most one recycle or shed. */
  readonly steps: readonly BudgetStep[];
}

export function judgeBudget(before: BudgetState, facts: BudgetFacts): BudgetJudgement {
  const reading = readingOf(facts);
  const levelled = nextLevel(before, reading);
  const settled = withoutPast(levelled, facts);
  const isOver = settled.level === 'over' && reading.says(settled.level) === 'over';
  const isNews = before.level !== 'over';
  const overInARow = isOver ? (isNews ? samplesInARow : settled.overInARow + 1) : 0;
  const waiting: BudgetState = { ...settled, overInARow };
  const told = tellLevel(before, waiting, reading);
  const common = { usedBytes: reading.usedBytes, level: waiting.level, reason: reading.words };
  if (overInARow < samplesInARow || waiting.pending !== null) {
    return { ...common, state: waiting.level === 'over' ? waiting : { ...waiting, isHelpless: false }, steps: told };
  }
  const step = nextStep(waiting, facts, reading);
  const steps = step.type === 'warn' && waiting.isHelpless ? told : [...told, step];
  return { ...common, state: afterStep(waiting, step, facts), steps };
}

// ---------------------------------------------------------------- the level

interface Reading {
  readonly usedBytes: number | null;
  readonly isComplete: boolean;
  readonly words: string;
  says(level: BudgetLevel): BudgetLevel;
}

function readingOf({ apps, budgetBytes, usableBytes, usedShare }: BudgetFacts): Reading {
  const workers = apps.flatMap((app) => app.workers);
  const sumBytes = workers.reduce((sum, { memoryBytes }) => sum + (memoryBytes ?? 0), 0);
  const inUseBytes = usedShare === null ? null : usedShare * usableBytes;
  const hasRss = workers.some(({ memoryKind }) => memoryKind === 'rss');
  const usedBytes = hasRss && inUseBytes !== null ? Math.min(sumBytes, inUseBytes) : sumBytes;
  const share = budgetBytes === null || budgetBytes <= 0 ? null : usedBytes / budgetBytes;
  const words = [
    ...(share === null || budgetBytes === null
      ? []
      : [
          `workers have ${formatBytes(usedBytes)} of a budget of ${formatBytes(budgetBytes)} (${formatPercent(share)})`,
        ]),
    ...(usedShare === null ? [] : [`${formatPercent(usedShare)} of ${formatBytes(usableBytes)} usable is in use`]),
  ];
  return {
    usedBytes,
    isComplete: workers.every(({ ready, memoryBytes }) => !ready || memoryBytes !== null),
    words: words.length === 0 ? 'memory is not known yet' : words.join(', '),
    says: (level) => highest(levelOf(share, ofBudget, level), levelOf(usedShare, ofUsable, level)),
  };
}

function levelOf(share: number | null, limits: typeof ofBudget, level: BudgetLevel): BudgetLevel {
  if (share === null) return 'ok';
  if (share > limits.over || (level === 'over' && share >= limits.notOver)) return 'over';
  if (share >= limits.near || (level !== 'ok' && share >= limits.notNear)) return 'near';
  return 'ok';
}

const rank: Readonly<Record<BudgetLevel, number>> = { ok: 0, near: 1, over: 2 };

function highest(a: BudgetLevel, b: BudgetLevel): BudgetLevel {
  return rank[a] >= rank[b] ? a : b;
}

function nextLevel(before: BudgetState, reading: Reading): BudgetState {
  const says = reading.says(before.level);
  if (says === before.level || (rank[says] < rank[before.level] && !reading.isComplete)) {
    return { ...before, towards: before.level, inARow: 0 };
  }
  const inARow = says === before.towards ? before.inARow + 1 : 1;
  if (inARow < samplesInARow) return { ...before, towards: says, inARow };
  return { ...before, level: says, towards: says, inARow: 0 };
}

function tellLevel(before: BudgetState, { level }: BudgetState, { words }: Reading): BudgetStep[] {
  if (rank[level] <= rank[before.level]) return [];
  const follows =
    level === 'near' ? 'no worker is added' : 'no worker is added, and those that have grown most are replaced';
  return [{ type: 'warn', message: `memory is ${level === 'near' ? 'near' : 'over'} its limit: ${words}; ${follows}` }];
}

// ---------------------------------------------------------------- the steps

/** Forgets a step that has had its effect, and old replacements. */
function withoutPast(state: BudgetState, { nowMs, apps }: BudgetFacts): BudgetState {
  const recycled = state.recycled.filter(({ atMs }) => nowMs - atMs < recycleWindowMs);
  if (state.pending === null || !isOver(state.pending, apps, nowMs)) return { ...state, recycled };
  return { ...state, recycled, pending: null, overInARow: 0 };
}

function isOver(pending: NonNullable<BudgetState['pending']>, apps: readonly BudgetApp[], nowMs: number): boolean {
  const app = apps.find(({ name }) => name === pending.app);
  if (app === undefined || nowMs - pending.atMs >= stepTimeoutMs) return true;
  const ready = app.workers.filter((worker) => worker.ready);
  if (app.busy || app.workers.some(({ id }) => id === pending.worker)) return false;
  if (app.workers.length > ready.length) return false;
  return ready.every(({ firstBytes }) => firstBytes !== null);
}

interface Gain {
  readonly app: BudgetApp;
  readonly worker: BudgetWorker;
  readonly bytes: number;
  readonly firstBytes: number;
  readonly gainedBytes: number;
}

function nextStep(state: BudgetState, facts: BudgetFacts, { words }: Reading): BudgetStep {
  const gain = gains(facts).at(0) ?? null;
  const app = whoSheds(facts);
  const leftBytes = facts.usedShare === null ? Infinity : (1 - facts.usedShare) * facts.usableBytes;
  const isInVain = gain !== null && wasReplacedTwice(state, gain.app);
  const isCrowded = gain !== null && gain.firstBytes > leftBytes;
  if (gain !== null && (app === null || (!isInVain && !isCrowded))) {
    const { worker, bytes, firstBytes, gainedBytes } = gain;
    const grown = `${formatBytes(bytes)} - ${formatBytes(firstBytes)} when it became ready = ${formatBytes(gainedBytes)} to gain`;
    return { type: 'recycle', app: gain.app.name, worker: worker.id, reason: `${words}; ${worker.id}: ${grown}` };
  }
  if (app !== null) {
    const why = isInVain
      ? `${gain.app.name} was replaced for its memory again and again`
      : isCrowded
        ? `a successor of ${formatBytes(gain.firstBytes)} does not fit into ${formatBytes(leftBytes)} that are left`
        : 'no worker has grown since it became ready';
    return { type: 'shed', app: app.name, to: app.goal - 1, reason: `${words}; ${why}: one worker fewer` };
  }
  return {
    type: 'warn',
    message: `memory is over its limit: ${words}; no worker has grown since it became ready, and none may be taken away: allow more memory, or fewer workers`,
  };
}

/** Who would give back enough, most first. */
function gains({ apps, budgetBytes, usableBytes }: BudgetFacts): readonly Gain[] {
  const leastBytes = leastGainOfBudget * (budgetBytes ?? usableBytes);
  return apps
    .filter(({ busy }) => !busy)
    .flatMap((app) => app.workers.map((worker) => gainOf(app, worker)))
    .filter((gain) => gain !== null)
    .filter(({ gainedBytes, firstBytes }) => gainedBytes >= Math.max(leastBytes, leastGain * firstBytes))
    .toSorted((a, b) => b.gainedBytes - a.gainedBytes);
}

function gainOf(app: BudgetApp, worker: BudgetWorker): Gain | null {
  const { ready, memoryBytes: bytes, firstBytes } = worker;
  if (!ready || bytes === null || firstBytes === null) return null;
  return { app, worker, bytes, firstBytes, gainedBytes: bytes - firstBytes };
}

function wasReplacedTwice({ recycled }: BudgetState, { name, goal }: BudgetApp): boolean {
  return recycled.filter(({ app }) => app === name).length >= 2 * Math.max(1, goal);
}

/** The app of which one worker fewer gives back most. */
function whoSheds({ apps }: BudgetFacts): BudgetApp | null {
  const able = apps.filter(({ staffing, goal, min, busy }) => staffing !== 'fixed' && !busy && goal > Math.max(1, min));
  return able.toSorted((a, b) => meanBytes(b) - meanBytes(a)).at(0) ?? null;
}

function meanBytes({ workers }: BudgetApp): number {
  const known = workers.map(({ memoryBytes }) => memoryBytes).filter((bytes) => bytes !== null);
  return known.length === 0 ? 0 : known.reduce((sum, bytes) => sum + bytes, 0) / known.length;
}

function afterStep(state: BudgetState, step: BudgetStep, { nowMs }: BudgetFacts): BudgetState {
  if (step.type === 'warn') return { ...state, isHelpless: true };
  const worker = step.type === 'recycle' ? step.worker : null;
  const pending = { app: step.app, worker, atMs: nowMs };
  const recycled = worker === null ? state.recycled : [...state.recycled, { app: step.app, atMs: nowMs }];
  return { ...state, overInARow: 0, isHelpless: false, pending, recycled };
}
