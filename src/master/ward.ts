/**
 * Watches the ready workers of one app for what ails them: probes their health, compares samples with the memory limit,
 * keeps their lifetimes, takes reports of stalls. It says what it finds; core/ailments.ts decides who is replaced.
 */
import {
  ailments,
  chooseReplacement,
  countsAsCrash,
  inARow,
  lifetimeMs,
  memorySamples,
  strandedReadings,
  mostAreUnhealthy,
  type Ailment,
  type Illness,
} from '../core/ailments.ts';
import type { EventBody } from '../core/protocol.ts';
import type { AppSpec } from '../core/spec.ts';
import { formatBytes, formatDuration } from '../core/units.ts';
import type { Row } from '../core/worker-machine.ts';
import type { Cancel, Clock } from '../ports.ts';
import type { WorkerRunner } from './worker-runner.ts';

/** What it needs of the app. */
export interface WardHost {
  readonly clock: Clock;
  emit(body: EventBody): void;
  /** Somebody fell ill, or is well again. */
  changed(): void;
  /** The replacement of this one begins. */
  replacing(runner: WorkerRunner, ailment: Ailment): void;
}

/** A ready worker under watch. */
interface Patient {
  readonly runner: WorkerRunner;
  readonly illnesses: Map<Ailment, Illness>;
  failedProbes: number;
  highSamples: number;
  cancelProbe: Cancel;
  cancelLifetime: Cancel;
}

const nothing: Cancel = () => undefined;

export class Ward {
  readonly #host: WardHost;
  readonly #patients = new Map<string, Patient>();
  /** Readings in a row. */
  #stranded = 0;
  /** Whose replacement has begun, and the row of crashes that is left to the successor. */
  #chosen: { readonly illness: Illness; readonly runner: WorkerRunner; row: Row | null } | null = null;

  /** It was said that nobody is replaced because most are unhealthy. */
  #hasWarned = false;

  constructor(host: WardHost) {
    this.#host = host;
  }

  /** It has become ready: the watch begins. */
  admit(runner: WorkerRunner): void {
    this.discharge(runner.id);
    const patient: Patient = {
      runner,
      illnesses: new Map(),
      failedProbes: 0,
      highSamples: 0,
      cancelProbe: nothing,
      cancelLifetime: nothing,
    };
    this.#patients.set(runner.id, patient);
    const { health, limits } = runner.pinned.app;
    const { clock } = this.#host;
    if (health !== null) this.#probeLater(patient, health.intervalMs);
    if (limits.lifetimeMs === null) return;
    const ageMs = lifetimeMs(limits.lifetimeMs, limits.jitter, clock.random());
    patient.cancelLifetime = clock.schedule(ageMs, () =>
      this.#fallIll(patient, 'lifetime', `it was older than its lifetime of ${formatDuration(ageMs)}`),
    );
  }

  /** Its process has ended, or is asked to. */
  discharge(worker: string): void {
    const patient = this.#patients.get(worker);
    if (patient === undefined) return;
    patient.cancelProbe();
    patient.cancelLifetime();
    this.#patients.delete(worker);
  }

  /** `reason` null: it goes on again. */
  takeStall(worker: string, reason: string | null): void {
    const patient = this.#patients.get(worker);
    if (patient === undefined) return;
    if (reason === null) this.#recover(patient, 'stall');
    else this.#fallIll(patient, 'stall', reason);
  }

  takeSample(worker: string, memoryBytes: number): void {
    const patient = this.#patients.get(worker);
    const limitBytes = patient?.runner.pinned.app.limits.memoryBytes ?? null;
    if (patient === undefined || limitBytes === null) return;
    patient.highSamples = inARow(patient.highSamples, memoryBytes > limitBytes);
    if (patient.highSamples === 0) return this.#recover(patient, 'memory-limit');
    if (patient.highSamples < memorySamples) return;
    const figures = `${formatBytes(memoryBytes)} of its limit of ${formatBytes(limitBytes)}`;
    this.#fallIll(patient, 'memory-limit', `it used ${figures} in ${memorySamples} samples in a row`);
  }

  /** The workers of all apps together are over their budget, and this one has grown most. Nobody recovers from it. */
  takeOverBudget(worker: string, reason: string): void {
    const patient = this.#patients.get(worker);
    if (patient !== undefined) this.#fallIll(patient, 'memory-budget', reason);
  }

  /** So many connections wait at listeners that no worker has: a new worker takes such a listener, so one makes room for it. */
  takeStranded(connections: number): void {
    this.#stranded = inARow(this.#stranded, connections > 0);
    const patients = [...this.#patients.values()];
    const [eldest] = patients;
    // Nobody recovers from it: as soon as the successor is started, they are no longer stranded.
    if (this.#stranded < strandedReadings || eldest === undefined) return;
    if (patients.some(({ illnesses }) => illnesses.has('stranded'))) return;
    const wait = connections === 1 ? '1 connection waits' : `${connections} connections wait`;
    this.#fallIll(
      eldest,
      'stranded',
      `${wait} at a listener that no worker has any more, and its successor will have that`,
    );
  }

  /** Who is to be replaced now; null: nobody. @param ready how many workers are */
  choose(ready: number): Illness | null {
    this.#warn(ready);
    const current = this.#chosen?.illness.worker ?? null;
    const illness = chooseReplacement(this.#ill(), { ready, current, nowMs: this.#host.clock.now() });
    const runner = illness && this.#patients.get(illness.worker)?.runner;
    if (!illness || !runner) {
      // One that is leaving has a successor to come; one that is well again has none.
      if (this.#chosen?.runner.leaving === 'no') this.#chosen = null;
      return null;
    }
    const before = this.#chosen?.runner === runner ? this.#chosen : null;
    if (before?.illness.ailment === illness.ailment) return illness;
    // One that no longer hangs may be too old still: then its successor can come first.
    const wasCrash = before !== null && countsAsCrash(before.illness.ailment);
    const row = wasCrash ? before.row : runner.row;
    this.#chosen = { illness, runner, row: countsAsCrash(illness.ailment) ? row : null };
    this.#host.replacing(runner, illness.ailment);
    return illness;
  }

  /** The row of crashes that a new worker inherits; once. */
  inheritance(): Row | null {
    const row = this.#chosen?.row ?? null;
    if (this.#chosen) this.#chosen.row = null;
    return row;
  }

  /** What ails this worker most, whatever follows from it. */
  illnessOf(worker: string): Illness | null {
    const all = [...(this.#patients.get(worker)?.illnesses.values() ?? [])];
    return all.sort((a, b) => ailments.indexOf(a.ailment) - ailments.indexOf(b.ailment))[0] ?? null;
  }

  /** What is as bad as a crash. */
  crashLike(worker: string): Illness | null {
    const illness = this.illnessOf(worker);
    return illness?.action === 'replace' && countsAsCrash(illness.ailment) ? illness : null;
  }

  /** What an operator should know. */
  note(ready: number): string | null {
    return mostAreUnhealthy(this.#ill(), ready) ? mostAreIll : null;
  }

  /** Once, each time that it becomes so. */
  #warn(ready: number): void {
    const [patient] = this.#patients.values();
    const message = this.note(ready);
    if (message !== null && !this.#hasWarned && patient !== undefined)
      this.#host.emit({ type: 'app.warning', app: patient.runner.ref.app, message });
    this.#hasWarned = message !== null;
  }

  #ill(): Illness[] {
    return [...this.#patients.values()].flatMap(({ illnesses }) => [...illnesses.values()]);
  }

  // -------------------------------------------------------------- health

  #probeLater(patient: Patient, delayMs: number): void {
    patient.cancelProbe = this.#host.clock.schedule(delayMs, () => this.#probe(patient));
  }

  #probe(patient: Patient): void {
    const { health } = patient.runner.pinned.app;
    if (health === null) return;
    patient.cancelProbe = patient.runner.probe(health, (failure) => {
      this.#probeLater(patient, health.intervalMs);
      patient.failedProbes = inARow(patient.failedProbes, failure !== null);
      if (failure === null) this.#recover(patient, 'health');
      else if (patient.failedProbes >= health.failures) this.#fallIll(patient, 'health', failure);
    });
  }

  // -------------------------------------------------------------- ill and well again

  #fallIll(patient: Patient, ailment: Ailment, reason: string): void {
    if (patient.illnesses.has(ailment)) return;
    const { runner, illnesses } = patient;
    const action = actionOn(ailment, runner.pinned.app);
    const sinceMs = this.#host.clock.now();
    const { health } = runner.pinned.app;
    // By then every other worker has been probed once more.
    const waitMs = ailment === 'health' && health !== null ? health.intervalMs + health.timeoutMs : 0;
    illnesses.set(ailment, { worker: runner.id, ailment, reason, sinceMs, notBeforeMs: sinceMs + waitMs, action });
    this.#host.emit({ type: eventOf[ailment], ...runner.ref, reason, action });
    this.#host.changed();
  }

  #recover(patient: Patient, ailment: Ailment): void {
    if (!patient.illnesses.delete(ailment)) return;
    if (ailment === 'stall' || ailment === 'health')
      this.#host.emit({ type: 'worker.recovered', ...patient.runner.ref, from: ailment });
    this.#host.changed();
  }
}

const mostAreIll =
  'over half of the workers are not healthy, so none of them is replaced: what they depend on is the likely cause';

const eventOf = {
  'stall': 'worker.stalled',
  'health': 'worker.unhealthy',
  'memory-limit': 'worker.over_memory',
  'memory-budget': 'worker.over_budget',
  'lifetime': 'worker.over_lifetime',
  'stranded': 'worker.makes_room',
} as const;

/** What counts as a crash is not started again by `restart: never`: such a worker is left alone. */
function actionOn(ailment: Ailment, { stall, restart }: AppSpec): Illness['action'] {
  if (ailment === 'stall' && stall?.action !== 'restart') return 'warn';
  return restart === 'never' && countsAsCrash(ailment) ? 'warn' : 'replace';
}
