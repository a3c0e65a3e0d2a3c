/** Gathers what `core/capacity.ts` judges: the histories of the host, of the apps and of their workers, and what ended for want of memory. */
import type { CapacityAppFacts, CapacityFacts, HistoryPair } from '../core/capacity.ts';
import { hostTarget, type History, type HistorySpan } from '../core/history.ts';
import type { AppSnapshot, BudgetSnapshot, Cause, HostSample, Target, WorkerSnapshot } from '../core/protocol.ts';
import type { ExitRecord } from '../core/record.ts';
import type { Spec } from '../core/spec.ts';

export interface CapacitySources {
  readonly nowMs: number;
  readonly spanMs: number;
  readonly spec: Spec;
  readonly host: HostSample;
  readonly budget: BudgetSnapshot;
  readonly apps: readonly AppSnapshot[];
  history(target: string, span: HistorySpan): History;
  /** Newest first. */
  exits(target: Target, n: number): readonly ExitRecord[];
}

/** Of more workers than these nobody is compared with the others: reading so many histories would hold up the master. */
const mostCompared = 64;
const mostExits = 1_000;
const forItsMemory: ReadonlySet<Cause> = new Set(['memory-limit', 'memory-budget']);

export function capacityFacts(sources: CapacitySources): CapacityFacts {
  const { nowMs, spanMs, spec, host, apps } = sources;
  return {
    nowMs,
    spanMs,
    target: spec.targetUtilisation,
    host,
    budgetBytes: sources.budget.budgetBytes,
    hostHistory: pairOf(sources, hostTarget),
    apps: apps.map((app) => appFacts(app, sources)),
  };
}

function appFacts(app: AppSnapshot, sources: CapacitySources): CapacityAppFacts {
  const { name, staffing, goal, workers, listen, spares } = app;
  const compared = workers.length > mostCompared ? [] : workers.filter(isServing);
  const sinceMs = sources.nowMs - sources.spanMs;
  const exits = sources.exits({ app: name, worker: null }, mostExits).filter(({ at }) => Date.parse(at) >= sinceMs);
  return {
    name,
    staffing: { kind: staffing.kind, max: staffing.max },
    goal,
    surge: sources.spec.apps.find((one) => one.name === name)?.reload.maxSurge ?? 0,
    spares: spares.ready,
    serves: listen.length > 0,
    history: pairOf(sources, name),
    workers: compared.map(({ id }) => ({ id, history: pairOf(sources, id) })),
    oomKills: exits.filter(({ cause }) => cause === 'oom').length,
    recycled: exits.filter(({ cause }) => forItsMemory.has(cause)).length,
  };
}

function isServing({ state, spare }: WorkerSnapshot): boolean {
  return state === 'ready' && !spare;
}

function pairOf({ history }: CapacitySources, target: string): HistoryPair {
  return { fine: history(target, 'fine'), day: history(target, 'day') };
}
