/**
 * One app: its goal, its revisions and its workers. It changes the goal or takes an event, and then settles (walk.ts).
 * There is no procedure for scaling, reloading or rolling back anywhere.
 */
import type { SuperviseError } from '../core/errors.ts';
import type { Cause, EventBody } from '../core/protocol.ts';
import type { AppPhase } from '../core/status.ts';
import { hasProcess, type WorkerEvent } from '../core/worker-machine.ts';
import type { AppSpec, Signal } from '../core/spec.ts';
import type { AppConnections, CountedApp, Pinned, Ports, TreeSample } from '../ports.ts';
import { AppNews } from './app-news.ts';
import { AppView } from './app-view.ts';
import { AppWarnings } from './app-warnings.ts';
import { Connections } from './connections.ts';
import { Crew } from './crew.ts';
import { neverReady } from './describe.ts';
import { Measures } from './measures.ts';
import { Revisions, type RolloutEnd } from './revisions.ts';
import { Staffing } from './staffing.ts';
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
  /** Samples all workers at once: more are started when this is known. */
  sampleNow(): void;
}

/** Each is faster than the one before: ask; ask, and kill after 2 s; kill. */
const stopHows = ['graceful', 'quick', 'now'] as const;
export type StopHow = (typeof stopHows)[number];

const quickStopMs = 2_000;
export class App {
  readonly name: string;
  /** What others ask of it. */
  readonly view: AppView;
  /** How many workers should serve. */
  readonly staffing: Staffing;
  readonly #host: AppHost;
  readonly #runnerHost: RunnerHost;
  readonly #crew = new Crew();
  readonly measures = new Measures(this.#crew);
  readonly #connections: Connections;
  /** What an operator should know -> the worker that it is about; it goes with the worker. */
  readonly #warnings = new AppWarnings();
  readonly #revisions: Revisions;
  readonly #ward: Ward;
  readonly #walk: Walk;
  readonly #news: AppNews;
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
    this.#lastNumber = lastNumber;
    this.#connections = new Connections(this.name, (body) => host.emit(body));
    this.staffing = new Staffing(pinned.app, {
      ...{ crew: this.#crew, measures: this.measures, connections: this.#connections },
      emit: (body) => host.emit(body),
      nowMs: () => host.ports.clock.now(),
      isActive: () => this.#phase === 'active',
      isRolling: () => this.#revisions.rollout !== null || this.view.isMixed,
      changed: () => this.settle(),
    });
    this.#ward = new Ward({
      clock: host.ports.clock,
      emit: (body) => host.emit(body),
      changed: () => this.settle(),
      replacing: (runner, ailment) => this.#walk.replaces(runner, ailment),
    });
    this.#news = new AppNews(this.name, (body) => host.emit(body));
    this.#walk = this.#makeWalk();
    this.view = this.#makeView();
    this.#runnerHost = {
      clock: host.ports.clock,
      spawner: host.ports.spawner,
      emit: (body) => host.emit(body),
      served: () => this.#served(),
      leftRotation: () => this.#walk.fillRotation(),
      changed: (runner, after) => this.#workerChanged(runner, after),
      stalled: (runner, reason) => this.#ward.takeStall(runner.id, reason),
      warn: (about, message) => this.#warn(about, typeof about === 'string' ? `${about}: ${message}` : message),
    };
  }

  #makeView(): AppView {
    return new AppView({
      ...{ crew: this.#crew, revisions: this.#revisions, ward: this.#ward },
      ...{ measures: this.measures, connections: this.#connections, warnings: this.#warnings },
      nowMs: () => this.#host.ports.clock.now(),
      facts: () => ({
        ...{ phase: this.#phase, replicas: this.replicas, staffing: this.staffing, spares: this.spares },
        ...{ served: this.#served(), failedBoots: this.#failedBoots },
      }),
    });
  }

  #makeWalk(): Walk {
    const { clock } = this.#host.ports;
    return new Walk({
      ...{ clock, crew: this.#crew, revisions: this.#revisions, ward: this.#ward },
      emit: (body) => this.#emit(body),
      staff: () => ({ replicas: this.replicas, spares: this.spares }),
      isActive: () => this.#phase === 'active',
      add: (slot) => this.#add(slot),
      goBackTo: (before) => this.staffing.giveBack(before),
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
    const inPlace = this.#walk.chooseWay(next);
    this.#revisions.begin(next, { inPlace, staffedBefore: this.staffing.now });
    this.staffing.follow(next.app);
    this.settle();
  }

  /** Rolls back the rollout of this revision, if it is still under way. */
  giveUp(revision: number, why: string): void {
    const { rollout } = this.#revisions;
    if (!rollout || !this.#revisions.giveUp(revision, why)) return;
    this.staffing.giveBack(rollout.staffedBefore);
    this.settle();
  }

  /** Changes the number of workers, as the config wants it. The workers that run are not replaced. */
  rescaleTo(app: AppSpec): void {
    this.staffing.follow(app);
    this.#revisions.rescaled(app);
    this.#revisions.keepStaffed(this.staffing.now);
    this.settle();
    if (this.staffing.stage === 'open') this.#host.sampleNow();
  }

  /** Changes the number of workers by hand. It holds until the config's `workers` changes, also when a rollout fails. */
  rescale(replicas: number): void {
    this.staffing.hold(replicas);
    this.#revisions.keepStaffed(this.staffing.now);
    this.settle();
  }

  /** Stops these workers (null: all); each successor takes the slot of its predecessor. */
  restart(worker: string | null): readonly string[] {
    const chosen = this.#crew.chosen(worker);
    // Spares first: none of them is to take a place that it leaves at once.
    const inOrder = chosen.toSorted((a, b) => Number(a.isAdmitted) - Number(b.isAdmitted));
    for (const runner of inOrder) runner.send({ type: 'stop', cause: 'restart' });
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
  takeSample(id: string, pid: number, sample: TreeSample, begunAtMs: number): void {
    const runner = this.#crew.get(id);
    if (runner === undefined || runner.pid !== pid) return;
    this.measures.take(runner, sample, begunAtMs);
    this.#ward.takeSample(id, sample.memoryBytes);
  }

  /** Replaces a worker gracefully, for want of memory. */
  recycle(worker: string, reason: string): void {
    this.#ward.takeOverBudget(worker, reason);
  }

  /** Whose connections are to be counted; null: it has no sockets. */
  get toBeCounted(): CountedApp | null {
    const urls = this.view.listenUrls;
    if (urls.length === 0) return null;
    return { name: this.name, urls: [...new Set(urls)], workers: new Map(this.#crew.leaders()) };
  }

  takeConnections(counted: AppConnections): void {
    const serving = new Map(this.#crew.serving().map(({ id, pid }) => [id, pid]));
    this.#connections.take(counted, serving, this.#host.ports.clock.now());
    // Who starts next gets their listener.
    const isComing = this.#crew.up().some(({ life }) => life.state === 'starting' || life.state === 'backoff');
    this.#ward.takeStranded(isComing ? 0 : (counted.stranded ?? 0));
  }

  // -------------------------------------------------------------- what others ask

  /** How many workers should serve. */
  get replicas(): number {
    return this.staffing.replicas;
  }

  /** How many more should stand by; none where none is to serve. */
  get spares(): number {
    return this.replicas === 0 ? 0 : this.spec.spares;
  }

  get spec(): AppSpec {
    return this.#revisions.goal.app;
  }

  /** The number of the worker that was made last. */
  get lastNumber(): number {
    return this.#lastNumber;
  }

  /** The highest revision number that was taken. */
  get lastRevision(): number {
    return this.#revisions.last;
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

  // -------------------------------------------------------------- settling

  /** Walks towards the goal. Called after every change and once a second: a missed call heals itself. */
  settle(): void {
    this.#walk.settle();
  }

  #settled(): void {
    if (this.#phase === 'stopping' && this.#crew.size === 0) this.#phase = 'stopped';
    if (this.staffing.stage === 'filling' && this.view.startIsOver) this.staffing.filled();
    this.#news.tellState(this.view.state, this.view.ready, this.replicas);
    const { rollout } = this.#revisions;
    if (rollout) this.#news.tellRollout(rollout, this.#crew.up(), this.view.wanted);
    this.#host.changed(this);
    if (this.staffing.wantsSample) this.#host.sampleNow();
  }

  #add(slot: number): void {
    const place = { pinned: this.#revisions.goal, number: ++this.#lastNumber, slot };
    const runner = new WorkerRunner(place, this.#runnerHost);
    this.#crew.add(runner);
    const inherited = this.#ward.inheritance();
    // Crashes of the revision before are nothing that a new one has done.
    runner.begin(this.#revisions.rollout === null ? inherited : null);
  }

  #forget(worker: string): void {
    this.measures.forget(worker);
    const revisions = new Set(
      [this.#revisions.goal, ...this.#crew.all().map(({ pinned }) => pinned)].map(({ revision }) => revision),
    );
    this.#warnings.forget((about) => (typeof about === 'string' ? about === worker : !revisions.has(about)));
  }

  // -------------------------------------------------------------- events of its workers

  #workerChanged(runner: WorkerRunner, after: WorkerEvent['type'] | 'begin'): void {
    if (after === 'ready' && runner.life.state === 'ready') {
      this.#servedAtMs ??= this.#host.ports.clock.now();
      this.#ward.admit(runner);
    }
    if (runner.life.state !== 'ready') this.#ward.discharge(runner.id);
    if (after === 'exited') {
      this.measures.forget(runner.id);
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

  #warn(about: string | number, message: string): void {
    if (!this.#warnings.add(message, about)) return;
    this.#emit({ type: 'app.warning', app: this.name, message });
  }

  #emit(body: EventBody): void {
    this.#host.emit(body);
  }
}
