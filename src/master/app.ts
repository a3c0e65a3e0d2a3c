/**
 * One app: its goal, its revisions and its workers. It changes the goal or takes an event, and then settles (walk.ts).
 * There is no procedure for scaling, reloading or rolling back anywhere.
 */
import type { SuperviseError } from '../core/errors.ts';
import type { AppSnapshot, AppState, Cause, EventBody } from '../core/protocol.ts';
import { appStateOf, startIsOver, type AppPhase } from '../core/status.ts';
import { hasProcess, type WorkerEvent } from '../core/worker-machine.ts';
import type { AppSpec, Signal } from '../core/spec.ts';
import type { Pinned, Ports, TreeSample } from '../ports.ts';
import { AppNews } from './app-news.ts';
import { Crew, type Trouble } from './crew.ts';
import { givenUp, neverReady, workerSnapshot } from './describe.ts';
import { Revisions, type RolloutEnd } from './revisions.ts';
import { Walk } from './walk.ts';
import { Ward } from './ward.ts';
import { WorkerRunner, type RunnerHost } from './worker-runner.ts';

/** What an app needs of the master. */
export interface AppHost {
  readonly ports: Pick<Ports, 'clock' | 'spawner'>;
  emit(body: EventBody): void;
  /** Something about it changed: state, workers, rollout. */
  changed(app: App): void;
  /** It has never served, and it has failed often enough (or in a way that trying again cannot mend). */
  failedToStart(app: App, error: SuperviseError): void;
}

/** Each is faster than the one before: ask; ask, and kill after 2 s; kill. */
const stopHows = ['graceful', 'quick', 'now'] as const;
export type StopHow = (typeof stopHows)[number];

const quickStopMs = 2_000;
export class App {
  readonly name: string;
  readonly #host: AppHost;
  readonly #runnerHost: RunnerHost;
  readonly #crew = new Crew();
  readonly #samples = new Map<string, TreeSample>();
  /** What an operator should know -> the worker that it is about; it goes with the worker. */
  readonly #warnings = new Map<string, string>();
  readonly #revisions: Revisions;
  readonly #ward: Ward;
  readonly #walk: Walk;
  readonly #news: AppNews;
  #replicas: number;
  #phase: AppPhase = 'waiting';
  /** How it is being stopped; null: it is not. */
  #stopping: StopHow | null = null;
  #lastNumber: number;
  #servedAtMs: number | null = null;
  #failedBoots = 0;

  /**
   * @param pinned its first revision, pinned already: a program that cannot run is known before anything starts.
   * @param lastNumber the last worker's number of an earlier app of this name: ids are never used again.
   */
  constructor(pinned: Pinned, host: AppHost, lastNumber = 0) {
    this.name = pinned.app.name;
    this.#host = host;
    this.#revisions = new Revisions(pinned, (body) => host.emit(body));
    this.#replicas = pinned.app.workers;
    this.#lastNumber = lastNumber;
    this.#ward = new Ward({
      clock: host.ports.clock,
      emit: (body) => host.emit(body),
      changed: () => this.settle(),
      replacing: (runner, ailment) => this.#walk.replaces(runner, ailment),
    });
    this.#news = new AppNews(this.name, (body) => host.emit(body));
    this.#walk = this.#makeWalk();
    this.#runnerHost = {
      clock: host.ports.clock,
      spawner: host.ports.spawner,
      emit: (body) => host.emit(body),
      served: () => this.#served(),
      exited: () => this.#walk.fillRotation(),
      changed: (runner, after) => this.#workerChanged(runner, after),
      stalled: (runner, reason) => this.#ward.takeStall(runner.id, reason),
      warn: (worker, message) => this.#warn(worker, `${worker}: ${message}`),
    };
  }

  #makeWalk(): Walk {
    const { clock } = this.#host.ports;
    return new Walk({
      ...{ clock, crew: this.#crew, revisions: this.#revisions, ward: this.#ward },
      emit: (body) => this.#emit(body),
      staff: () => ({ replicas: this.#replicas, spares: this.spares }),
      isActive: () => this.#phase === 'active',
      add: (slot) => this.#add(slot),
      goBackTo: (replicas) => this.#setReplicas(replicas),
      forget: (workers) => workers.forEach(({ id }) => this.#forget(id)),
      warn: (worker, message) => this.#warn(worker, message),
      settled: () => this.#settled(),
    });
  }

  // -------------------------------------------------------------- commands

  start(): void {
    this.#phase = 'active';
    this.settle();
  }

  takeRevision(): number {
    return this.#revisions.takeNumber();
  }

  /** Starts to replace all workers by those of a new revision. An unfinished rollout is superseded. */
  roll(next: Pinned): void {
    const rescaled = this.#revisions.goal.app.workers !== next.app.workers;
    const inPlace = this.#walk.chooseWay(next);
    this.#revisions.begin(next, { inPlace, replicasBefore: this.#replicas });
    if (rescaled) this.#setReplicas(next.app.workers);
    this.settle();
  }

  /** Rolls back the rollout of this revision, if it is still under way. */
  giveUp(revision: number, why: string): void {
    const { rollout } = this.#revisions;
    if (!rollout || !this.#revisions.giveUp(revision, why)) return;
    this.#setReplicas(rollout.replicasBefore);
    this.settle();
  }

  /** Changes the number of workers, as the config wants it. The workers that run are not replaced. */
  rescaleTo(app: AppSpec): void {
    this.#revisions.rescaled(app);
    this.#setReplicas(app.workers);
    this.settle();
  }

  /** Changes the number of workers by hand. It holds until the config's `workers` changes, also when a rollout fails. */
  rescale(replicas: number): void {
    this.#revisions.keepReplicas(replicas);
    this.#setReplicas(replicas);
    this.settle();
  }

  #setReplicas(replicas: number): void {
    if (replicas === this.#replicas) return;
    this.#emit({ type: 'app.scaled', app: this.name, from: this.#replicas, to: replicas });
    this.#replicas = replicas;
  }

  /** Stops these workers (null: all); each successor takes the slot of its predecessor. */
  restart(worker: string | null): readonly string[] {
    const chosen = this.#crew.chosen(worker);
    for (const runner of chosen) runner.send({ type: 'stop', cause: 'restart' });
    this.settle();
    return chosen.map((runner) => runner.id);
  }

  /** Ends the wait of these workers (null: all). @returns how many were waiting */
  retry(worker: string | null): number {
    const waiting = this.#crew.chosen(worker).filter(({ life }) => life.state === 'backoff' || life.state === 'failed');
    for (const runner of waiting) runner.send({ type: 'retry' });
    return waiting.length;
  }

  /** @returns how many processes were signalled */
  signal(worker: string | null, signal: Signal): number {
    const running = this.#crew.chosen(worker).filter(({ life }) => hasProcess(life));
    for (const runner of running) runner.signal(signal);
    return running.length;
  }

  /** Retires every worker. Asked again, it can only become faster. */
  stop(how: StopHow, cause: Cause = 'stop'): void {
    if (this.#stopping !== null && stopHows.indexOf(how) <= stopHows.indexOf(this.#stopping)) return;
    this.#stopping = how;
    if (this.#phase === 'stopped') return;
    this.#phase = 'stopping';
    this.#revisions.drop();
    this.#walk.end();
    for (const runner of this.#crew.all()) {
      if (how === 'now') runner.send({ type: 'kill', cause });
      else runner.send({ type: 'stop', cause, ...(how === 'quick' && { timeoutMs: quickStopMs }) });
    }
    this.settle();
  }

  /** `pid`: whose tree was sampled; a sample of an earlier process is of no use. */
  takeSample(id: string, pid: number, sample: TreeSample): void {
    if (this.#crew.get(id)?.pid !== pid) return;
    this.#samples.set(id, sample);
    this.#ward.takeSample(id, sample.memoryBytes);
  }

  // -------------------------------------------------------------- what others ask

  /** How many workers should serve. */
  get replicas(): number {
    return this.#replicas;
  }

  /** How many more should stand by; none where none is to serve. */
  get spares(): number {
    return this.#replicas === 0 ? 0 : this.spec.spares;
  }

  /** How many workers there should be in all. */
  get #wanted(): number {
    return this.#replicas + this.spares;
  }

  get spec(): AppSpec {
    return this.#revisions.goal.app;
  }

  /** The listeners that its running and its coming workers need. */
  get listenUrls(): readonly string[] {
    const pins = [this.#revisions.good, this.#revisions.goal, ...this.#crew.all().map((runner) => runner.pinned)];
    return pins.flatMap((pinned) => pinned.app.listen.map((listen) => listen.url));
  }

  get state(): AppState {
    const states = this.#crew.up().map(({ life }) => life.state);
    return appStateOf({ phase: this.#phase, served: this.#served(), goal: this.#replicas, spares: this.spares, states });
  }

  /** How many serve: they are ready, and in the rotation. */
  get ready(): number {
    return this.#crew.serving().length;
  }

  /** "3 of 4 ready, 0 of 1 spare" */
  get readiness(): string {
    const { goal, ready } = this.#standby();
    const spares = goal === 0 ? '' : `, ${ready} of ${goal} ${goal === 1 ? 'spare' : 'spares'}`;
    return `${this.ready} of ${this.#replicas} ready${spares}`;
  }

  #standby(): AppSnapshot['spares'] {
    return { goal: this.spares, ready: this.#crew.ready().length - this.ready };
  }

  /** The number of the worker that was made last. */
  get lastNumber(): number {
    return this.#lastNumber;
  }

  /** The highest revision number that was taken. */
  get lastRevision(): number {
    return this.#revisions.last;
  }

  /**
   * As many workers as wanted, nobody leaving, and all that were made after worker number `since` serve. Older ones
   * are not looked at: one bad worker does not hold up what is done to its siblings.
   */
  isQuietSince(since: number): boolean {
    return this.#crew.isWhole(this.#wanted) && this.#crew.serveSince(since);
  }

  /** Its workers listen on ports that nobody else can have meanwhile. */
  get holdsPorts(): boolean {
    return this.spec.port !== null || this.#crew.up().some((runner) => runner.bindsOwnPort());
  }

  /** As many workers as wanted, and none on its way: each serves, has completed, or waits for its next start. */
  get isStill(): boolean {
    return this.#crew.isWhole(this.#wanted) && this.#crew.isStill();
  }

  /** It is being stopped for good, or has been. */
  get isGoing(): boolean {
    return this.#phase === 'stopping' || this.#phase === 'stopped';
  }

  /** Workers of another revision than the wanted one are still there. */
  get isMixed(): boolean {
    return this.#crew.isMixed(this.revision);
  }

  get startIsOver(): boolean {
    if (this.ended !== null) return true;
    const firstBoots = this.#crew.up().filter(({ life }) => life.state === 'starting' && life.restarts === 0).length;
    return startIsOver(this.state, this.#served(), firstBoots);
  }

  /** Every worker has ended for good; `failed`: one of them badly. null: something can still run. */
  get ended(): 'completed' | 'failed' | null {
    if (this.#phase !== 'active' || this.#replicas === 0 || this.#crew.size < this.#wanted || !this.#crew.isOver())
      return null;
    return this.#crew.all().some(({ life }) => life.state === 'failed') ? 'failed' : 'completed';
  }

  get revision(): number {
    return this.#revisions.goal.revision;
  }

  /** How the rollout of this revision ended; null: it has not. */
  rolloutEnd(revision: number): RolloutEnd | null {
    return this.#revisions.end(revision);
  }

  /** "2 of 4 replaced; web.7 starts"; null without a rollout. */
  get rolloutStep(): string | null {
    return this.#revisions.rollout && this.#news.rolloutLine;
  }

  /** A worker made after worker number `since` that crashed or never got ready, and does not serve again. Rolled back ones do not count. */
  troubleSince(since: number): Trouble | null {
    return this.#crew.troubleSince(since, this.revision);
  }

  /** Why nothing of it can run any more; null when something can, or when all of it has completed. */
  get failure(): SuperviseError | null {
    const runner = this.#crew.up().find(({ life }) => life.state === 'failed');
    if (this.ended !== 'failed' || !runner) return null;
    return this.#served() ? givenUp(runner) : neverReady(runner, this.#failedBoots);
  }

  has(worker: string): boolean {
    return this.#crew.get(worker) !== undefined;
  }

  leaders(): [string, number][] {
    return this.#crew.leaders();
  }

  snapshot(): AppSnapshot {
    const workers = this.#crew.all().sort((a, b) => a.slot - b.slot || a.number - b.number);
    const { goal, rollout } = this.#revisions;
    const { app, revision } = goal;
    const now = this.#host.ports.clock.now();
    const notes = [
      rollout && `reload: revision ${rollout.from} -> ${rollout.to}`,
      this.#ward.note(this.#crew.ready().length),
      ...this.#warnings.keys(),
    ].filter((note) => note !== null);
    return {
      name: this.name,
      kind: app.kind,
      state: this.state,
      goal: this.#replicas,
      ready: this.ready,
      spares: this.#standby(),
      revision,
      listen: app.listen.map((listen) => listen.url),
      notes,
      workers: workers.map((runner) => {
        const illness = this.#ward.illnessOf(runner.id);
        return workerSnapshot(runner, { sample: this.#samples.get(runner.id), illness }, now);
      }),
    };
  }

  // -------------------------------------------------------------- settling

  /** Walks towards the goal. Called after every change and once a second: a missed call heals itself. */
  settle(): void {
    this.#walk.settle();
  }

  #settled(): void {
    if (this.#phase === 'stopping' && this.#crew.size === 0) this.#phase = 'stopped';
    this.#news.tellState(this.state, this.ready, this.#replicas);
    const { rollout } = this.#revisions;
    if (rollout) this.#news.tellRollout(rollout, this.#crew.up(), this.#wanted);
    this.#host.changed(this);
  }

  #add(slot: number): void {
    const place = { pinned: this.#revisions.goal, number: ++this.#lastNumber, slot };
    const runner = new WorkerRunner(place, this.#runnerHost);
    this.#crew.add(runner);
    runner.begin(this.#ward.inheritance());
  }

  #forget(worker: string): void {
    this.#samples.delete(worker);
    for (const [message, about] of this.#warnings) if (about === worker) this.#warnings.delete(message);
  }

  // -------------------------------------------------------------- events of its workers

  #workerChanged(runner: WorkerRunner, after: WorkerEvent['type'] | 'begin'): void {
    if (after === 'ready' && runner.life.state === 'ready') {
      this.#servedAtMs ??= this.#host.ports.clock.now();
      this.#ward.admit(runner);
    }
    if (runner.life.state !== 'ready') this.#ward.discharge(runner.id);
    if (after === 'exited') {
      this.#samples.delete(runner.id);
      if (!this.#served()) this.#countFailedBoot(runner);
    }
    this.settle();
  }

  /** First failure is loud: an app that has never served is not tried for ever. */
  #countFailedBoot(runner: WorkerRunner): void {
    const { life } = runner;
    if (this.#phase !== 'active' || !life.lastExit || (life.state !== 'backoff' && life.state !== 'failed')) return;
    this.#failedBoots++;
    const { cause, exit } = life.lastExit;
    const mayWork = cause !== 'spawn-failed' || exit.transient === true;
    if (this.#failedBoots < runner.pinned.app.startAttempts && mayWork) return;
    this.#host.failedToStart(this, neverReady(runner, this.#failedBoots));
  }

  #served(): boolean {
    return this.#servedAtMs !== null;
  }

  #warn(worker: string, message: string): void {
    if (this.#warnings.has(message)) return;
    this.#warnings.set(message, worker);
    this.#emit({ type: 'app.warning', app: this.name, message });
  }

  #emit(body: EventBody): void {
    this.#host.emit(body);
  }
}
