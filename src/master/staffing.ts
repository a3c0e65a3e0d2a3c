/**
 * How many workers one app is to have, and who says so: the config (`workers: N`), the arithmetic of `workers: auto` (core/staffing.ts),
 * the autoscaler (core/autoscale.ts), the memory budget, or whoever has scaled it by hand.
 *
 * | stage | |
 * |---|---|
 * | measuring | auto, at the start: one worker, until it was measured while it is ready. The app counts as starting |
 * | filling | the others that fit have their first chance. The app counts as starting |
 * | steady | it grows when it may (auto), follows what there is to do (scaled), or stays (N) |
 * | open | auto, when the config has changed or a rollout has begun: worked out anew at the next sample, until then it stays |
 *
 * Rules
 * - By hand holds until the config's `workers` changes: nothing else is decided meanwhile.
 * - While a rollout replaces workers, and on the way back from one, nothing is decided: it has to give back what was there.
 * - A worker that cannot be measured (it has ended, nothing is known of it) holds up the others no longer than `patience` samples.
 */
import { changesStaffing } from '../config/diff.ts';
import { autoscale, unscaled, type ScaleMemory } from '../core/autoscale.ts';
import { mostWorkers } from '../core/own-ports.ts';
import type { EventBody } from '../core/protocol.ts';
import type { AppSpec, ScaledStaffing } from '../core/spec.ts';
import { autoWorkers, growAuto, noGrowth, type AutoStaff } from '../core/staffing.ts';
import { isOver } from '../core/worker-machine.ts';
import type { Connections } from './connections.ts';
import type { Crew } from './crew.ts';
import type { Measures } from './measures.ts';
import type { Looked } from './sampling.ts';

/** What there is, as the last sample says, for the workers of one app. */
export interface Room {
  readonly why: Looked['why'];
  readonly nowMs: number;
  readonly usableCpus: number;
  readonly cpuSource: string;
  readonly memory: ScaleMemory;
  /** What the workers of all other apps have, or will have when all of them are there, and other programs beyond what is left to them. */
  readonly othersBytes: number;
}

/** What it needs of the app. */
export interface StaffingHost {
  readonly crew: Crew;
  readonly measures: Measures;
  readonly connections: Connections;
  emit(body: EventBody): void;
  nowMs(): number;
  /** Whether it is to have workers at all: it has started, and does not stop. */
  isActive(): boolean;
  /** A rollout replaces workers, or they are on the way back from one. */
  isRolling(): boolean;
  /** Another number is wanted. */
  changed(): void;
}

type Stage = 'measuring' | 'filling' | 'steady' | 'open';

/** All that a rollout gives back when it fails. */
export interface Staffed {
  readonly app: AppSpec;
  readonly replicas: number;
  readonly by: 'config' | 'hand';
  readonly stage: Stage;
  readonly reason: string | null;
}

/** So many samples of a ready worker may say nothing of it. */
const patience = 3;

export class Staffing {
  readonly #host: StaffingHost;
  #now: Staffed;
  #growth = noGrowth;
  #scale = unscaled;
  /** Samples in a row that have said nothing of anybody who is ready. */
  #misses = 0;

  constructor(app: AppSpec, host: StaffingHost) {
    this.#host = host;
    const stage = app.staffing.kind === 'auto' ? 'measuring' : 'steady';
    this.#now = { app, replicas: app.workers, by: 'config', stage, reason: null };
  }

  /** What a rollout gives back when it fails. */
  get now(): Staffed {
    return this.#now;
  }

  /** How many workers should serve. */
  get replicas(): number {
    return this.#now.replicas;
  }

  get stage(): Stage {
    return this.#now.stage;
  }

  /** Who says so, and the arithmetic; null: the config names the number. */
  get reason(): string | null {
    const { app, replicas, by, stage, reason } = this.#now;
    if (by === 'hand' && app.staffing.kind !== 'fixed')
      return `scaled to ${replicas} by hand, until \`workers\` in the config changes or the master starts again`;
    if (stage === 'measuring') return 'the first worker is measured when it is ready, then the others follow';
    return reason;
  }

  /** The number is not known yet: it is worked out at the next sample of those that are ready. */
  get isUndecided(): boolean {
    const { stage } = this.#now;
    return (stage === 'open' || stage === 'measuring') && this.#host.crew.ready().length > 0;
  }

  /** What its workers have, or will have when all of them are there. */
  get memoryBytes(): number {
    const { measures } = this.#host;
    const { app, replicas } = this.#now;
    return Math.max(measures.sumBytes, (measures.ofOneBytes ?? 0) * (replicas + app.spares));
  }

  /** Whether a sample is wanted at once: the others wait for it. */
  get wantsSample(): boolean {
    const { by, stage } = this.#now;
    if (by === 'hand' || (stage !== 'measuring' && stage !== 'open') || this.#host.isRolling()) return false;
    return this.#host.measures.isMissing || this.#isPointless();
  }

  // -------------------------------------------------------------- what others decide

  /** By hand. */
  hold(replicas: number): void {
    this.#set(replicas, null);
    this.#now = { ...this.#now, by: 'hand', stage: 'steady', reason: null };
  }

  /** The config says so from now on; where it says what it said before, whoever has decided since then is right. */
  follow(app: AppSpec): void {
    const isNews = changesStaffing(this.#now.app, app);
    this.#now = { ...this.#now, app };
    if (isNews) {
      this.#set(firstNumber(app, this.replicas), null);
      this.#growth = noGrowth;
      this.#scale = unscaled;
      this.#now = { ...this.#now, by: 'config', reason: null };
    }
    const { by, stage } = this.#now;
    if (app.staffing.kind !== 'auto') this.#now = { ...this.#now, stage: 'steady' };
    else if (by === 'config' && stage === 'steady') this.#now = { ...this.#now, stage: 'open' };
  }

  /** As it was before a rollout that has failed. */
  giveBack(before: Staffed): void {
    this.#set(before.replicas, null);
    this.#now = before;
    this.#growth = noGrowth;
    this.#scale = unscaled;
  }

  /** One worker fewer, for want of memory. */
  shed(to: number, reason: string): void {
    this.#set(to, reason);
    this.#now = { ...this.#now, reason };
    this.#growth = { ...noGrowth, shedAtMs: this.#host.nowMs() };
    this.#host.changed();
  }

  /** Each of those that fit has had its first chance. */
  filled(): void {
    if (this.#now.stage === 'filling') this.#now = { ...this.#now, stage: 'steady' };
  }

  // -------------------------------------------------------------- what follows from samples

  /** Draws its conclusions from a sample, when all apps have taken it. */
  review(room: Room): void {
    const before = this.#now;
    const { by, app, stage } = before;
    if (by === 'hand' || !this.#host.isActive()) return;
    if (app.staffing.kind === 'scaled') this.#followLoad(app.staffing, room);
    if (app.staffing.kind === 'auto') {
      if (this.#host.isRolling()) this.#growth = { ...noGrowth, shedAtMs: this.#growth.shedAtMs };
      else if (stage === 'steady' || stage === 'filling') this.#grow(room);
      else this.#workOut(room);
    }
    if (this.#now !== before) this.#host.changed();
  }

  /** The number, from what one worker was measured to need. */
  #workOut(room: Room): void {
    const { measures } = this.#host;
    if (room.why === 'on time') this.#misses = measures.isMissing ? this.#misses + 1 : 0;
    const isHopeless = this.#isPointless() || this.#misses >= patience;
    if (measures.ofOneBytes === null && !isHopeless) return;
    this.#misses = 0;
    const { workers, reason } = this.#fitting(room);
    const isFirst = this.#now.stage === 'measuring';
    this.#set(workers, reason, isFirst ? 'said in any case' : 'said if it changes');
    this.#now = { ...this.#now, stage: isFirst ? 'filling' : 'steady', reason };
  }

  /** Nobody will be measured: the first one has ended for good. */
  #isPointless(): boolean {
    const up = this.#host.crew.up();
    return this.#now.stage === 'measuring' && up.length > 0 && up.every(({ life }) => isOver(life));
  }

  #grow(room: Room): void {
    const mayGrow = room.memory.level === 'ok' && this.#host.measures.ofOneBytes !== null;
    const fitting = mayGrow ? this.#fitting(room) : null;
    const facts = { nowMs: room.nowMs, goal: this.replicas, fits: fitting?.workers ?? null };
    const { growth, workers } = growAuto(this.#growth, facts);
    this.#growth = growth;
    if (fitting === null || workers === this.replicas) return;
    const reason =
      fitting.workers === workers ? fitting.reason : `${workers} fitted all the time; now ${fitting.reason}`;
    this.#set(workers, reason);
    this.#now = { ...this.#now, reason };
  }

  #fitting({ usableCpus, cpuSource, memory, othersBytes }: Room): AutoStaff {
    const { app } = this.#now;
    return autoWorkers({
      ...{ usableCpus, cpuSource, othersBytes, budgetBytes: memory.budgetBytes },
      workerBytes: this.#host.measures.ofOneBytes,
      spares: app.spares,
      max: mostWorkers(app),
    });
  }

  #followLoad(spec: ScaledStaffing, { why, nowMs, memory }: Room): void {
    if (why !== 'on time') return;
    const { measures, connections } = this.#host;
    const { state, kind, to, reason } = autoscale(spec, this.#scale, {
      ...{ nowMs, memory, goal: this.replicas, busy: this.#host.isRolling() },
      workers: measures.forScaling(this.replicas),
      queue: connections.waiting,
    });
    this.#scale = state;
    if (kind === 'wait') return;
    if (kind === 'scale') this.#set(to, reason);
    if (kind === 'would')
      this.#host.emit({ type: 'app.would_scale', app: this.#now.app.name, from: this.replicas, to, reason });
    if (reason !== this.#now.reason) this.#now = { ...this.#now, reason };
  }

  #set(to: number, reason: string | null, say: 'said in any case' | 'said if it changes' = 'said if it changes'): void {
    const from = this.replicas;
    if (to === from && say === 'said if it changes') return;
    this.#host.emit({ type: 'app.scaled', app: this.#now.app.name, from, to, reason });
    this.#now = { ...this.#now, replicas: to };
  }
}

/** How many there are at first when the config says something else than before. */
function firstNumber({ staffing, workers }: AppSpec, current: number): number {
  if (staffing.kind === 'fixed') return workers;
  if (staffing.kind === 'scaled') return Math.min(staffing.max, Math.max(staffing.min, current));
  return Math.max(1, current);
}
