/**
 * What others ask of one app: everything here is derived from its workers and its goal at the moment it is asked, and
 * nothing is stored.
 */
import type { SuperviseError } from '../core/errors.ts';
import type { AppSnapshot, AppState } from '../core/protocol.ts';
import { appStateOf, startIsOver, type AppPhase } from '../core/status.ts';
import type { AppSpec } from '../core/spec.ts';
import type { AppWarnings } from './app-warnings.ts';
import { uncounted, type Connections } from './connections.ts';
import type { Crew, Trouble } from './crew.ts';
import type { AppNow } from './history.ts';
import { givenUp, neverReady, workerSnapshot } from './describe.ts';
import type { Measures } from './measures.ts';
import type { Revisions } from './revisions.ts';
import type { Staffing } from './staffing.ts';
import type { Ward } from './ward.ts';

/** What the app knows at this moment besides its workers. */
export interface AppFacts {
  readonly phase: AppPhase;
  /** How many workers should serve, who says so, and how many more should stand by. */
  readonly replicas: number;
  readonly staffing: Pick<Staffing, 'stage' | 'reason'>;
  readonly spares: number;
  /** It has had a ready worker since the master started. */
  readonly served: boolean;
  readonly failedBoots: number;
}

export interface AppViewParts {
  readonly crew: Crew;
  readonly revisions: Revisions;
  readonly ward: Ward;
  readonly measures: Measures;
  readonly connections: Connections;
  /** What an operator should know. */
  readonly warnings: AppWarnings;
  nowMs(): number;
  facts(): AppFacts;
}

export class AppView {
  readonly #parts: AppViewParts;
  readonly #crew: Crew;
  readonly #revisions: Revisions;

  constructor(parts: AppViewParts) {
    this.#parts = parts;
    this.#crew = parts.crew;
    this.#revisions = parts.revisions;
  }

  get #facts(): AppFacts {
    return this.#parts.facts();
  }

  /** How many workers there should be in all. */
  get wanted(): number {
    const { replicas, spares } = this.#facts;
    return replicas + spares;
  }

  get state(): AppState {
    const state = this.#stateOfWorkers;
    const { stage } = this.#facts.staffing;
    // The number of workers is not known yet, or they have just been started.
    const isOneOfMany = stage === 'measuring' && (state === 'completed' || state === 'failed');
    const isStaffed = stage !== 'measuring' && stage !== 'filling';
    return isOneOfMany || (!isStaffed && (state === 'running' || state === 'degraded')) ? 'starting' : state;
  }

  get #stateOfWorkers(): AppState {
    const states = this.#crew.up().map((runner) => runner.state);
    const { phase, replicas, spares, served } = this.#facts;
    return appStateOf({ phase, goal: replicas, spares, served, states });
  }

  /** How many serve: they are ready, and in the rotation. */
  get ready(): number {
    return this.#crew.serving().length;
  }

  /** "3 of 4 ready, 0 of 1 spare" */
  get readiness(): string {
    const { goal, ready } = this.#standby();
    const spares = goal === 0 ? '' : `, ${ready} of ${goal} ${goal === 1 ? 'spare' : 'spares'}`;
    return `${this.ready} of ${this.#facts.replicas} ready${spares}`;
  }

  #standby(): AppSnapshot['spares'] {
    return { goal: this.#facts.spares, ready: this.#crew.ready().length - this.ready };
  }

  /** The listeners that its running and its coming workers need. */
  get listenUrls(): readonly string[] {
    const pins = [this.#revisions.good, this.#revisions.goal, ...this.#crew.all().map((runner) => runner.pinned)];
    return pins.flatMap((pinned) => pinned.app.listen.map((listen) => listen.url));
  }

  /**
   * As many workers as wanted, nobody leaving, and all that were made after worker number `since` serve. Older ones
   * are not looked at: one bad worker does not hold up what is done to its siblings.
   */
  isQuietSince(since: number): boolean {
    return this.#crew.isWhole(this.wanted) && this.#crew.serveSince(since);
  }

  /** Its workers listen on ports that nobody else can have meanwhile. */
  get holdsPorts(): boolean {
    return this.#revisions.goal.app.port !== null || this.#crew.up().some((runner) => runner.bindsOwnPort());
  }

  /** As many workers as wanted, and none on its way: each serves, has completed, or waits for its next start. */
  get isStill(): boolean {
    return this.#crew.isWhole(this.wanted) && this.#crew.isStill();
  }

  /** It is being stopped for good, or has been. */
  get isGoing(): boolean {
    const { phase } = this.#facts;
    return phase === 'stopping' || phase === 'stopped';
  }

  /** Workers of another revision than the wanted one are still there. */
  get isMixed(): boolean {
    return this.#crew.isMixed(this.#revisions.goal.revision);
  }

  get startIsOver(): boolean {
    if (this.ended !== null) return true;
    if (this.#facts.staffing.stage === 'measuring') return false;
    const firstBoots = this.#crew.up().filter(({ life }) => life.state === 'starting' && life.restarts === 0).length;
    return startIsOver(this.#stateOfWorkers, this.#facts.served, firstBoots);
  }

  /** Every worker has ended for good; `failed`: one of them badly. null: something can still run. */
  get ended(): 'completed' | 'failed' | null {
    const { phase, replicas, staffing } = this.#facts;
    if (
      staffing.stage === 'measuring' ||
      phase !== 'active' ||
      replicas === 0 ||
      this.#crew.size < this.wanted ||
      !this.#crew.isOver()
    )
      return null;
    return this.#crew.all().some(({ life }) => life.state === 'failed') ? 'failed' : 'completed';
  }

  /** A worker made after worker number `since` that crashed or never got ready, and does not serve again. Rolled back ones do not count. */
  troubleSince(since: number): Trouble | null {
    return this.#crew.troubleSince(since, this.#revisions.goal.revision);
  }

  /** Why nothing of it can run any more; null when something can, or when all of it has completed. */
  get failure(): SuperviseError | null {
    const runner = this.#crew.up().find(({ life }) => life.state === 'failed');
    if (this.ended !== 'failed' || !runner) return null;
    const { served, failedBoots } = this.#facts;
    return served ? givenUp(runner) : neverReady(runner, failedBoots);
  }

  has(worker: string): boolean {
    return this.#crew.get(worker) !== undefined;
  }

  leaders(): [string, number][] {
    return this.#crew.leaders();
  }

  /** What its history is made of. */
  now(): AppNow {
    const { measures, connections } = this.#parts;
    const workers = this.#crew.all().map(({ id, pid }) => ({
      id,
      sample: pid === null ? undefined : measures.last.get(id),
      queue: connections.of(id, pid)?.queue ?? null,
    }));
    const { name } = this.#revisions.goal.app;
    return { name, ready: this.ready, goal: this.#facts.replicas, queue: connections.figures.queue, workers };
  }

  snapshot(): AppSnapshot {
    const workers = this.#crew.all().sort((a, b) => a.slot - b.slot || a.number - b.number);
    const { goal, rollout } = this.#revisions;
    const { ward, measures, connections, warnings } = this.#parts;
    const { app, revision } = goal;
    const nowMs = this.#parts.nowMs();
    const notes = [
      rollout && `reload: revision ${rollout.from} -> ${rollout.to}`,
      ward.note(this.#crew.ready().length),
      connections.note,
      ...warnings.messages,
    ].filter((note) => note !== null);
    return {
      name: app.name,
      kind: app.kind,
      state: this.state,
      goal: this.#facts.replicas,
      ready: this.ready,
      spares: this.#standby(),
      staffing: { ...staffingOf(app), reason: this.#facts.staffing.reason },
      revision,
      listen: app.listen.map((listen) => listen.url),
      ...(app.listen.length > 0 ? connections.figures : uncounted),
      notes,
      workers: workers.map((runner) => {
        const illness = ward.illnessOf(runner.id);
        const counted = connections.of(runner.id, runner.pid);
        return workerSnapshot(runner, { sample: measures.last.get(runner.id), illness, counted }, nowMs);
      }),
    };
  }
}

function staffingOf({ staffing, workers }: AppSpec): Omit<AppSnapshot['staffing'], 'reason'> {
  const { kind } = staffing;
  if (kind === 'scaled') return { kind, min: staffing.min, max: staffing.max };
  return { kind, min: kind === 'auto' ? 1 : workers, max: kind === 'auto' ? null : workers };
}
