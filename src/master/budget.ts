/**
 * The memory of all workers of all apps against `resources.memory_budget`: brings what was sampled before core/budget.ts and carries out
 * what that says, then lets each app see what room there is for it.
 *
 * Rules
 * - What else is in use (other programs, the master itself) and does not fit beside the budget is not there for `auto` either.
 * - Each level is an event, with the arithmetic. What else has to be said is a warning of the master.
 * - What was decided by hand counts as fixed, and so does a dry run: nobody is taken away there.
 */
import {
  judgeBudget,
  nearShare,
  unusedBudget,
  type BudgetApp,
  type BudgetJudgement,
  type BudgetStep,
} from '../core/budget.ts';
import type { BudgetSnapshot, EventBody, HostSample } from '../core/protocol.ts';
import type { MemoryBudgetSpec } from '../core/spec.ts';
import type { App } from './app.ts';
import type { Looked } from './sampling.ts';

export interface BudgetHost {
  nowMs(): number;
  spec(): MemoryBudgetSpec;
  apps(): readonly App[];
  emit(body: EventBody): void;
}

export class Budget {
  readonly #host: BudgetHost;
  #state = unusedBudget;
  #snapshot: BudgetSnapshot = { budgetBytes: null, usedBytes: null, level: 'ok' };

  constructor(host: BudgetHost) {
    this.#host = host;
  }

  get snapshot(): BudgetSnapshot {
    return this.#snapshot;
  }

  /** Takes a sample of everything, after the apps have taken theirs. */
  take(looked: Looked): void {
    // One that somebody has asked for comes too soon after the one before it to be counted as another one.
    if (looked.why === 'on time') this.#judge(looked);
    this.#tellApps(looked);
  }

  #judge({ host }: Looked): void {
    const budgetBytes = this.#bytesOf(host.memoryBytes);
    const before = this.#state.level;
    const judgement = judgeBudget(this.#state, {
      nowMs: this.#host.nowMs(),
      budgetBytes,
      usableBytes: host.memoryBytes,
      usedShare: host.memoryUtilisation,
      apps: this.#host.apps().map(asBudgetApp),
    });
    this.#state = judgement.state;
    const { level, usedBytes } = judgement;
    this.#snapshot = { budgetBytes, usedBytes, level };
    for (const step of this.#tell(judgement, before)) this.#perform(step);
  }

  /** @returns the steps that are left */
  #tell({ level, reason, steps }: BudgetJudgement, before: BudgetSnapshot['level']): readonly BudgetStep[] {
    if (level === before) return steps;
    const said = steps.find(({ type }) => type === 'warn');
    const message =
      said?.type === 'warn' ? said.message : `memory is ${level === 'ok' ? 'well below' : level} its limit: ${reason}`;
    const { budgetBytes, usedBytes } = this.#snapshot;
    this.#host.emit({ type: `budget.${level}`, budgetBytes, usedBytes, message });
    return steps.filter((step) => step !== said);
  }

  #perform(step: BudgetStep): void {
    if (step.type === 'warn') return this.#host.emit({ type: 'master.warning', message: step.message });
    const app = this.#host.apps().find(({ name, view }) => name === step.app && !view.isGoing);
    if (step.type === 'recycle') app?.recycle(step.worker, step.reason);
    else app?.staffing.shed(step.to, step.reason);
  }

  /** What everything but our workers has in use, beyond the part of the memory that the budget leaves to it. */
  #elsewhereBytes({ memoryBytes, memoryUtilisation }: HostSample, budgetBytes: number | null): number {
    if (memoryUtilisation === null || budgetBytes === null) return 0;
    const ours = this.#host.apps().reduce((sum, { measures }) => sum + measures.sumBytes, 0);
    const leftBytes = Math.max(0, nearShare * memoryBytes - budgetBytes);
    return Math.max(0, memoryUtilisation * memoryBytes - ours - leftBytes);
  }

  #tellApps({ why, host }: Looked): void {
    const { usedBytes, level } = this.#snapshot;
    const memory = {
      ...{ usableBytes: host.memoryBytes, usedShare: host.memoryUtilisation, level },
      ...{ budgetBytes: this.#bytesOf(host.memoryBytes), budgetUsedBytes: usedBytes },
    };
    const { usableCpus, cpuSource } = host;
    const elsewhereBytes = this.#elsewhereBytes(host, memory.budgetBytes);
    for (const app of this.#host.apps()) {
      const others = this.#host.apps().filter((one) => one !== app);
      const othersBytes = others.reduce((sum, one) => sum + one.staffing.memoryBytes, elsewhereBytes);
      app.staffing.review({ ...{ why, usableCpus, cpuSource, memory, othersBytes }, nowMs: this.#host.nowMs() });
    }
  }

  /** null: it is not known how much there is. */
  #bytesOf(usableBytes: number): number | null {
    const spec = this.#host.spec();
    if (spec.kind === 'bytes') return spec.bytes;
    return usableBytes > 0 ? Math.floor(spec.share * usableBytes) : null;
  }
}

function asBudgetApp(app: App): BudgetApp {
  const { staffing } = app.spec;
  const isOurs = app.staffing.now.by === 'config' && !(staffing.kind === 'scaled' && staffing.dryRun);
  return {
    name: app.name,
    staffing: isOurs ? staffing.kind : 'fixed',
    goal: app.replicas,
    min: staffing.kind === 'scaled' ? staffing.min : 1,
    busy: app.staffing.isUndecided || app.view.isGoing || app.view.isMixed || !app.view.isStill,
    workers: app.measures.forBudget(),
  };
}
