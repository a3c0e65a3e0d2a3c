/**
 * A small model of an app under load, sampled as a real one is: for simulations of core/autoscale.ts.
 *
 * Work arrives, in cores: 2.5 is what keeps two and a half cores busy. It is spread over the ready workers, each of which does at most one
 * core of it; what none of them gets done waits (and a connection stands for `workPerConnection` of it). A new worker takes `bootMs`.
 */
import { autoscale, unscaled, type ScaleFacts, type ScaleState } from '../../src/core/autoscale.ts';
import type { BudgetLevel } from '../../src/core/protocol.ts';
import type { ScaledStaffing } from '../../src/core/spec.ts';

export const sampleEveryMs = 2000;
/** A queue is counted at every fifth sample. */
const samplesPerCount = 5;

export interface Model {
  readonly spec: ScaledStaffing;
  /** The work that arrives, in cores. */
  readonly load: (atMs: number) => number;
  readonly forMs: number;
  readonly bootMs?: number;
  /** The share of a worker's time that it uses the CPU, while it is busy: below 1 it waits for something else. */
  readonly cpuShare?: number;
  /** Work that only the first worker can do, in cores. */
  readonly hotWork?: (atMs: number) => number;
  /** Of one worker, by its age. */
  readonly memoryBytes?: (ageMs: number) => number;
  readonly usableBytes?: number;
  readonly budgetBytes?: number;
  /** Which samples are missing, by time and worker. */
  readonly isMissing?: (atMs: number, worker: number) => boolean;
  readonly queueIsKnown?: boolean;
  /** Added to each worker's CPU. */
  readonly noise?: () => number;
}

export interface Moment {
  readonly atMs: number;
  /** Before the decision, and after it. */
  readonly goal: number;
  readonly to: number;
  readonly kind: ReturnType<typeof autoscale>['kind'];
  readonly reason: string;
  readonly ready: number;
  readonly load: number;
  readonly waiting: number;
  readonly usedBytes: number;
  readonly hasMissing: boolean;
  readonly state: ScaleState;
}

const workPerConnection = 0.02;
const mostWaiting = 4096;
const megabyte = 2 ** 20;

/** Runs it from `spec.min` workers that are ready. */
export function simulate(model: Model): readonly Moment[] {
  const { spec, bootMs = 3000, cpuShare = 1, memoryBytes = () => 50 * megabyte, noise = () => 0 } = model;
  const { usableBytes = 64 * 1024 * megabyte, budgetBytes = 64 * 1024 * megabyte } = model;
  const moments: Moment[] = [];
  let state = unscaled;
  let workers: readonly { readonly id: number; readonly startedAtMs: number }[] = Array.from(
    { length: spec.min },
    (_, id) => ({ id, startedAtMs: -bootMs }),
  );
  let nextId = spec.min;
  /** Work that waits. */
  let behind = 0;
  let queue: ScaleFacts['queue'] = null;
  for (let index = 0; index * sampleEveryMs <= model.forMs; index++) {
    const atMs = index * sampleEveryMs;
    const ready = workers.filter(({ startedAtMs }) => atMs - startedAtMs >= bootMs);
    const seconds = sampleEveryMs / 1000;
    const offered = model.load(atMs) * seconds + behind;
    const each = ready.length === 0 ? 0 : Math.min(seconds, offered / ready.length);
    const hot = Math.min(seconds - each, (model.hotWork?.(atMs) ?? 0) * seconds);
    behind = Math.min(mostWaiting * workPerConnection, offered - each * ready.length);
    if (index % samplesPerCount === 0 && model.queueIsKnown !== false) {
      queue = { waiting: Math.floor(behind / workPerConnection), atMs };
    }
    const isMissing = (id: number) => model.isMissing?.(atMs, id) ?? false;
    const sampled = workers.map(({ id, startedAtMs }) => {
      const isReady = atMs - startedAtMs >= bootMs;
      const busy = (each + (id === ready[0]?.id ? hot : 0)) / seconds;
      return {
        ready: isReady,
        cpuPercent: isMissing(id) ? null : Math.max(0, (isReady ? busy * cpuShare + noise() : 0.9) * 100),
        memoryBytes: isMissing(id) ? null : memoryBytes(atMs - startedAtMs),
      };
    });
    const usedBytes = workers.reduce((sum, { startedAtMs }) => sum + memoryBytes(atMs - startedAtMs), 0);
    const share = usedBytes / budgetBytes;
    const level: BudgetLevel = share > 1 ? 'over' : share >= 0.9 ? 'near' : 'ok';
    const memory = { usableBytes, usedShare: usedBytes / usableBytes, budgetBytes, budgetUsedBytes: usedBytes, level };
    const goal = workers.length;
    const decision = autoscale(spec, state, { nowMs: atMs, goal, workers: sampled, busy: false, queue, memory });
    state = decision.state;
    const to = decision.kind === 'scale' ? decision.to : goal;
    moments.push({
      ...{ atMs, goal, to, kind: decision.kind, reason: decision.reason, ready: ready.length },
      ...{ load: model.load(atMs), waiting: queue?.waiting ?? 0, usedBytes, state },
      hasMissing: ready.some(({ id }) => isMissing(id)),
    });
    const added = Array.from({ length: Math.max(0, to - goal) }, () => ({ id: nextId++, startedAtMs: atMs }));
    workers = [...workers.slice(0, to), ...added];
  }
  return moments;
}

export function changes(moments: readonly Moment[]): readonly Moment[] {
  return moments.filter(({ goal, to }) => goal !== to);
}

/** How often it went up after it had gone down, or down after it had gone up. */
export function turns(moments: readonly Moment[]): number {
  const directions = changes(moments).map(({ goal, to }) => Math.sign(to - goal));
  return directions.filter((direction, index) => index > 0 && direction !== directions[index - 1]).length;
}

/** The fewest workers with which each uses no more than the target. */
export function needed(load: number, { targetCpu, min, max }: ScaledStaffing): number {
  return Math.min(max, Math.max(min, Math.ceil(load / targetCpu - 1e-9)));
}
