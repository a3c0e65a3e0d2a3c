/**
 * Random histories of a whole master on fakes: processes get ready, crash, hang and leave as they like, and commands
 * come at any time. What must hold is worked out from the events, the processes and the effects on them.
 */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { ailments } from '../../src/core/ailments.ts';
import type { AppSnapshot, Cause, Command, Event, Target } from '../../src/core/protocol.ts';
import type { AppSpec, HealthSpec, ReloadSpec, Spec, StaffingSpec } from '../../src/core/spec.ts';
import { forSeeds, type Chance, type Log } from '../helpers/random.ts';
import { app, hook, spec, tcp, World, type FakeProcess } from '../helpers/world.ts';

const histories = 500;
const stepsPerHistory = 100;

const backoff = {
  initialMs: 500,
  maxMs: 10_000,
  factor: 2,
  jitter: 0.5,
  stableAfterMs: 5_000,
  maxCrashes: 3,
  retryFailedEveryMs: 20_000,
};

const health: HealthSpec = {
  probe: { kind: 'tcp', port: 9_100 },
  intervalMs: 2_000,
  timeoutMs: 1_000,
  failures: 2,
};
const memoryLimit = 100;
const mostCpus = 4;
const gb = 2 ** 30;

class History {
  readonly #chance: Chance;
  readonly #log: Log;
  readonly #world: World;
  readonly #watch: Watch;
  #spec: Spec;

  constructor(chance: Chance, log: Log) {
    this.#chance = chance;
    this.#log = log;
    const pre_start = chance.happens(0.3)
      ? [
          hook('migrate', { retries: 2, retryDelayMs: 1_000, timeoutMs: 20_000 }),
          hook('seed', { onFailure: 'continue' }),
        ]
      : [];
    const post_start = chance.happens(0.2)
      ? [hook('notify', { phase: 'post_start', onFailure: 'continue', timeoutMs: 20_000 })]
      : [];
    const pre_stop = chance.happens(0.2)
      ? [hook('drain', { phase: 'pre_stop', onFailure: 'continue', timeoutMs: 20_000 })]
      : [];
    const pre_reload = chance.happens(0.2)
      ? [
          hook('check', {
            phase: 'pre_reload',
            timeoutMs: 20_000,
            onFailure: chance.pick(['abort', 'continue'] as const),
          }),
        ]
      : [];
    const post_reload = chance.happens(0.2)
      ? [hook('tell', { phase: 'post_reload', timeoutMs: 20_000, onFailure: 'continue' })]
      : [];
    this.#spec = spec({
      hooks: { pre_start, post_start, pre_stop, pre_reload, post_reload },
      apps: [this.#web(), this.#cache(), this.#job()],
    });
    log(
      this.#spec.apps.map(({ name, workers, staffing, restart, reload, startAttempts }) => ({
        name,
        workers,
        staffing,
        restart,
        reload,
        startAttempts,
      })),
    );
    this.#world = new World(this.#spec);
    this.#watch = new Watch(this.#world, log);
  }

  live(): void {
    this.#world.start();
    for (let n = 0; n < stepsPerHistory && this.#world.ended === null; n++) this.#step();
    if (this.#world.ended === null && this.#chance.happens(0.7)) this.#calmDown();
    this.#stop();
    this.#watch.checkEnd();
  }

  // ---------------------------------------------------------------- the config

  #reloadSpec(): ReloadSpec {
    const maxSurge = this.#chance.between(0, 2);
    return {
      maxSurge,
      maxUnavailable: maxSurge === 0 ? 1 : this.#chance.pick([0, 0, 1]),
      canaryMs: this.#chance.pick([0, 3_000]),
    };
  }

  #staffing(): Pick<AppSpec, 'workers' | 'staffing'> {
    const staffing = this.#chance.pick<StaffingSpec>([
      { kind: 'fixed' },
      { kind: 'fixed' },
      { kind: 'auto' },
      {
        ...{ kind: 'scaled', min: this.#chance.between(1, 2), max: this.#chance.between(2, 4) },
        ...{ targetCpu: 0.7, targetMemory: 0.8, scaleDownAfterMs: 20_000, dryRun: this.#chance.happens(0.2) },
      },
    ]);
    const fixed = this.#chance.between(0, 4);
    return { staffing, workers: staffing.kind === 'scaled' ? staffing.min : staffing.kind === 'auto' ? 1 : fixed };
  }

  #parts(): Partial<AppSpec> {
    return {
      ...this.#staffing(),
      startAttempts: this.#chance.pick([3, 50]),
      readyTimeoutMs: 10_000,
      stop: { signal: 'SIGTERM', timeoutMs: 8_000 },
      backoff,
      reload: this.#reloadSpec(),
      health: this.#chance.happens(0.3) ? health : null,
      stall: this.#chance.happens(0.5) ? { afterMs: 5_000, action: 'restart', signal: null } : null,
      limits: {
        memoryBytes: this.#chance.happens(0.3) ? memoryLimit : null,
        lifetimeMs: this.#chance.happens(0.2) ? 60_000 : null,
        jitter: 0.3,
      },
    };
  }

  #web(): AppSpec {
    const listen = this.#chance.happens(0.5) ? [tcp(this.#chance.between(8_000, 8_002))] : [];
    return app('web', {
      ...this.#parts(),
      listen,
      spares: listen.length === 0 ? 0 : this.#chance.pick([0, 1, 2]),
      dependsOn: this.#chance.happens(0.3) ? ['cache'] : [],
    });
  }

  #cache(): AppSpec {
    return app('cache', { ...this.#parts(), port: this.#chance.happens(0.5) ? 9_000 : null });
  }

  #job(): AppSpec {
    return app('job', { ...this.#parts(), restart: this.#chance.pick(['always', 'on-failure', 'never'] as const) });
  }

  #nextSpec(): Spec {
    const fresh = { web: () => this.#web(), cache: () => this.#cache(), job: () => this.#job() };
    const apps = (['web', 'cache', 'job'] as const)
      .filter(() => this.#chance.happens(0.8))
      .map((name) => {
        const before = this.#spec.apps.find((one) => one.name === name);
        return before && this.#chance.happens(0.5) ? before : fresh[name]();
      });
    return { ...this.#spec, apps: apps.length === 0 ? this.#spec.apps : apps };
  }

  // ---------------------------------------------------------------- one step

  #step(): void {
    switch (this.#chance.weighted({ time: 4, process: 12, ailing: 1.5, late: 1, command: 1.5, machine: 0.4 })) {
      case 'time':
        this.#wait(this.#chance.pick([1, 300, 1_000, 3_000, 11_000]));
        break;
      case 'process':
        if (this.#world.live().length > 0) this.#act(this.#chance.pick(this.#world.live()));
        break;
      case 'ailing':
        this.#ail();
        break;
      case 'late':
        this.#late();
        break;
      case 'machine':
        this.#changeMachine();
        break;
      case 'command':
        this.#handle(this.#command());
        break;
    }
    this.#watch.check();
  }

  /** A cgroup has other limits now, or others need more of the memory; and everybody has more to do, or less, for a while. */
  #changeMachine(): void {
    const cpus = this.#chance.pick([0.5, 1.5, 2, mostCpus]);
    const memoryBytes = this.#chance.pick([1, 8, 32]) * gb;
    this.#world.usable = { ...this.#world.usable, cpus, memoryBytes };
    this.#world.memoryUtilisation = this.#chance.pick([null, 0.3, 0.3, 0.93, 0.99]);
    this.#log('machine', cpus, memoryBytes, this.#world.memoryUtilisation);
    const cpuPercent = this.#chance.pick([1, 60, 300]);
    const each = this.#chance.pick([50, gb / 2, 2 * gb]);
    for (const { launch, name } of this.#world.live())
      if (launch) this.#world.samples.set(name, { cpuPercent, memoryBytes: each, memoryKind: 'rss', processes: 1 });
    this.#wait(this.#chance.pick([3_000, 17_000]));
  }

  #wait(ms: number): void {
    this.#world.clock.randomValue = this.#chance.next();
    this.#log('+ms', ms);
    this.#world.after(ms);
  }

  /** What a process does next depends on what was asked of it. */
  #act(process: FakeProcess): void {
    const killed = process.effects.includes('SIGKILL');
    const asked = killed || process.effects.some((effect) => effect === 'SIGTERM' || effect === 'SIGABRT');
    const does = killed
      ? this.#chance.weighted({ dies: 9, hangs: 1 })
      : asked
        ? this.#chance.weighted({ exits: 6, fails: 1, ready: 1, hangs: 2 })
        : process.launch
          ? this.#chance.weighted({ ready: 10, fails: 1.5, exits: 0.7, dies: 0.5, hangs: 1, missing: 0.1, warns: 0.2 })
          : this.#chance.weighted({ exits: 6, fails: 1, hangs: 1 });
    this.#log(process.name, does);
    if (does === 'ready') process.becomesReady();
    if (does === 'exits') process.exits(0);
    if (does === 'fails') process.exits(1);
    if (does === 'dies') process.dies('SIGKILL');
    if (does === 'missing') process.exits(null, { error: 'no such file' });
    if (does === 'warns') process.warns('something');
  }

  /** Something becomes wrong with a worker that runs, or is well again. */
  #ail(): void {
    const running = this.#world.live().filter((process) => process.launch);
    if (running.length === 0) return;
    const process = this.#chance.pick(running);
    const what = this.#chance.weighted({ hangs: 2, goesOn: 1, sick: 4, healthy: 1, big: 3, small: 3 });
    this.#log(process.name, what);
    if (what === 'hangs' || what === 'goesOn') {
      // Only an app with `stall` is watched.
      if (process.launch?.pinned.app.stall) process.stalls(what === 'hangs' ? 'it waits' : null);
    } else if (what === 'big' || what === 'small') {
      const sample = {
        cpuPercent: this.#chance.pick([null, 1, 50, 60, 300]),
        memoryBytes: what === 'big' ? this.#chance.pick([memoryLimit + 1, gb, 4 * gb]) : 1,
        memoryKind: 'rss' as const,
        processes: 1,
      };
      this.#world.samples.set(process.name, sample);
    } else if (process.probing !== null) process.answers(what === 'sick' ? 'no answer' : null);
  }

  /** Processes that are gone still have something to say; nothing may come of it. */
  #late(): void {
    const gone = this.#world.processes.filter((process) => !process.alive && process.launch);
    if (gone.length === 0) return;
    const process = this.#chance.pick(gone);
    const count = this.#world.events.length;
    process.becomesReady();
    process.warns('late');
    process.stalls('late');
    assert.equal(this.#world.events.length, count, `${process.name} is gone, but was listened to`);
  }

  #command(): Command {
    const apps = this.#world.master.snapshot().apps.filter((one) => one.state !== 'stopping');
    const name = apps.length === 0 ? 'web' : this.#chance.pick(apps).name;
    const ids = apps.find((one) => one.name === name)?.workers.map((worker) => worker.id) ?? [];
    const target: Target = {
      app: name,
      worker: ids.length > 0 && this.#chance.happens(0.5) ? this.#chance.pick(ids) : null,
    };
    switch (
      this.#chance.weighted({
        scale: 4,
        by: 2,
        restart: 3,
        retry: 2,
        signal: 2,
        reload: 4,
        change: 5,
        named: 2,
        stop: 0.3,
      })
    ) {
      case 'scale':
        return { type: 'scale', app: name, change: { to: this.#chance.between(0, 5) } };
      case 'by':
        return { type: 'scale', app: null, change: { by: this.#chance.pick([-1, 1]), atLeast: 1 } };
      case 'restart':
        return { type: 'restart', target };
      case 'retry':
        return { type: 'retry', target: this.#chance.happens(0.5) ? target : null };
      case 'signal':
        return { type: 'signal', target, signal: 'SIGUSR1' };
      case 'reload':
        return { type: 'reload', spec: null, apps: null };
      case 'change':
        return {
          type: 'reload',
          spec: this.#nextSpec(),
          apps: null,
          ...(this.#chance.happens(0.3) && { changedOnly: true }),
          ...(this.#chance.happens(0.3) && { timeoutMs: 15_000 }),
        };
      case 'named':
        return { type: 'reload', spec: this.#nextSpec(), apps: [name] };
      case 'stop':
        return { type: 'stop', how: this.#chance.pick(['graceful', 'quick'] as const) };
    }
  }

  #handle(command: Command): void {
    if (command.type === 'reload' && this.#chance.happens(0.1)) this.#world.pinErrorFor = 'web';
    const before = this.#world.events.length;
    const reply = this.#world.handle(command);
    this.#world.pinErrorFor = null;
    this.#log(
      command.type === 'reload'
        ? {
            type: 'reload',
            apps: command.apps,
            spec: command.spec?.apps.map(({ name, workers, staffing, listen, port }) => ({
              name,
              workers,
              staffing,
              listen: listen.length,
              port,
            })),
          }
        : command,
      reply.ok ? 'ok' : reply.error.message,
    );
    if (!reply.ok) return assert.equal(this.#world.events.length, before, 'a refused command has changed something');
    if (command.type === 'reload' && command.spec)
      this.#spec = { ...command.spec, apps: command.apps ? this.#spec.apps : command.spec.apps };
    this.#watch.began(reply.operation);
  }

  // ---------------------------------------------------------------- the end

  /** From here on everybody does what is asked: all has to come to rest at the goal. */
  #calmDown(): void {
    this.#log('calm');
    for (let n = 0; n < 60 && this.#world.ended === null; n++) {
      for (const process of this.#world.live().filter((one) => one.launch === null)) process.exits(0);
      this.#settle();
      this.#world.after(5_000);
      this.#settle();
      this.#watch.check();
    }
    if (this.#world.ended === null) this.#watch.checkRest();
  }

  /** Everybody who is too old, too big or not well is replaced, without any time passing. */
  #settle(): void {
    this.#world.samples.clear();
    for (let n = 0; n < 20; n++) {
      for (const process of this.#world.live()) {
        if (process.probing !== null) process.answers();
        if (process.launch?.pinned.app.stall) process.stalls(null);
      }
      this.#world.allReady().asked();
    }
  }

  #stop(): void {
    if (this.#world.ended === null && this.#chance.happens(0.8)) {
      this.#handle({ type: 'stop', how: this.#chance.pick(['graceful', 'quick', 'now'] as const) });
      for (let n = 0; n < 10 && this.#world.ended === null; n++) this.#step();
    }
    if (this.#world.ended === null) this.#handle({ type: 'stop', how: 'now' });
    for (const process of this.#world.live())
      assert.ok(process.effects.includes('SIGKILL'), `${process.name} is not killed`);
    this.#world.asked(137);
    const code = this.#world.ended as { exitCode: 0 | 1 } | null;
    this.#world.expectEnded(code?.exitCode ?? 0);
    this.#everyExitHasItsRecord();
  }

  /** One each, and whoever took a place was started, and took no other's. */
  #everyExitHasItsRecord(): void {
    const key = (one: { worker: string; pid: number | null; at: string }) => `${one.worker} ${one.pid} ${one.at}`;
    const records = this.#world.exitRecords;
    assert.deepEqual(records.map(key).toSorted(), this.#world.eventsOf('worker.exited').map(key).toSorted());
    const successors = records.flatMap(({ next }) => (next.type === 'stopped' ? (next.by ?? []) : []));
    assert.equal(new Set(successors).size, successors.length, 'a worker took two places');
    // One that inherits crashes has the place while it waits for its first start, which may never come.
    const firsts = (['worker.starting', 'worker.backoff', 'worker.failed'] as const).flatMap((type) =>
      this.#world.eventsOf(type).map(({ worker }) => worker),
    );
    const known = new Set(firsts);
    assert.deepEqual(
      successors.filter((worker) => !known.has(worker)),
      [],
    );
  }
}

const replacing: readonly Cause[] = ['reload', 'rollback', ...ailments];

/** Holds what is seen of a master against its promises. */
class Watch {
  readonly #world: World;
  readonly #log: Log;
  /** Workers that are ready, or have completed their work, and their app. */
  readonly #ready = new Map<string, string>();
  readonly #stopped = new Set<string>();
  readonly #known = new Set<string>();
  readonly #lastNumber = new Map<string, number>();
  readonly #operations = new Set<number>();
  readonly #started = new Set<number>();
  #hooksAreOver = false;
  #checked = 0;

  constructor(world: World, log: Log) {
    this.#world = world;
    this.#log = log;
    world.master.subscribe((event) => this.#see(event));
  }

  began(operation: number | null): void {
    if (operation !== null) this.#started.add(operation);
  }

  #see(event: Event): void {
    this.#log(
      '   ',
      event.seq,
      event.type,
      'worker' in event ? event.worker : '',
      'cause' in event ? event.cause : '',
      event.type.startsWith('operation.') || event.type.startsWith('app.') ? event : '',
    );
    switch (event.type) {
      case 'app.scaled':
      case 'app.would_scale':
        if (event.reason !== null) this.#checkDecision(event);
        break;
      case 'worker.starting':
        this.#ready.delete(event.worker);
        this.#checkNew(event.app, event.worker);
        assert.ok(!this.#stopped.has(event.worker), `${event.worker} had stopped for good`);
        break;
      case 'worker.backoff':
      case 'worker.failed':
        // The successor of one that was not well may have to wait before its first start.
        this.#checkNew(event.app, event.worker);
        break;
      case 'worker.ready':
      case 'worker.completed':
        this.#ready.set(event.worker, event.app);
        break;
      case 'worker.stopping':
        if (this.#ready.delete(event.worker) && replacing.includes(event.cause))
          this.#checkFloor(event.app, event.worker, event.cause);
        break;
      case 'worker.killing':
      case 'worker.exited':
        this.#ready.delete(event.worker);
        break;
      case 'worker.stopped':
        this.#ready.delete(event.worker);
        this.#stopped.add(event.worker);
        break;
      case 'operation.finished':
        assert.ok(!this.#operations.has(event.operation), `operation ${event.operation} finished twice`);
        this.#operations.add(event.operation);
        break;
      default:
        break;
    }
  }

  /** What supervise decides itself is within the bounds of the config, and leaves one. */
  #checkDecision({ app: name, type, from, to }: Extract<Event, { type: 'app.scaled' | 'app.would_scale' }>): void {
    const { staffing } = this.#world.master.snapshot().apps.find((one) => one.name === name && one.goal === from)!;
    assert.notEqual(staffing.kind, 'fixed', `${name}: ${type} to ${to}`);
    const most = staffing.max ?? Math.max(from, mostCpus);
    assert.ok(
      to >= Math.max(1, staffing.min) && to <= most,
      `${name}: ${type} to ${to}, of ${staffing.min} to ${most}`,
    );
  }

  /** Unless somebody has scaled it by hand, an app is within the bounds of its config. */
  #checkStaffing(): void {
    for (const { name, goal, staffing, state } of this.#world.master.snapshot().apps) {
      const { kind, min, max, reason } = staffing;
      if (kind === 'fixed' || state === 'stopping' || state === 'stopped' || / by hand, /.test(reason ?? '')) continue;
      assert.ok(goal >= min && goal <= (max ?? Infinity), `${name}: ${goal} workers are wanted of ${min} to ${max}`);
    }
  }

  /** An id is new, and there is room for one more. */
  #checkNew(name: string, id: string): void {
    if (this.#known.has(id)) return;
    this.#known.add(id);
    const number = Number(id.split('.')[1]);
    assert.ok(number > (this.#lastNumber.get(name) ?? 0), `${id} was used before`);
    this.#lastNumber.set(name, number);
    this.#hooksAreOver = true;
    const apps = this.#world.master
      .snapshot()
      .apps.filter((one) => one.name === name && one.workers.some((worker) => worker.id === id));
    const [found] = apps;
    if (found)
      assert.ok(
        found.workers.length <= found.goal + found.spares.goal + this.#reloadSpec(found).maxSurge,
        `${found.workers.length} workers of ${name}, but the goal is ${found.goal} + ${found.spares.goal}`,
      );
  }

  /** We have just ended a worker that served, for a newer one: enough others must be ready. */
  #checkFloor(name: string, id: string, cause: Cause): void {
    const left = [...this.#ready.values()].filter((one) => one === name).length;
    const found = this.#world.master
      .snapshot()
      .apps.find((one) => one.name === name && one.workers.some((worker) => worker.id === id));
    if (!found) return;
    // Workers that cannot share a port, or that hang, are replaced in their place, one by one.
    const inPlace = cause === 'stall' || this.#world.pins.some((pin) => pin.app.name === name && pin.app.port !== null);
    const floor = found.goal - Math.max(inPlace ? 1 : 0, this.#reloadSpec(found).maxUnavailable);
    assert.ok(left >= floor, `${id} was ended, and only ${left} of ${name} are ready; the floor is ${floor}`);
  }

  /** The bounds of the revision that is wanted. */
  #reloadSpec({ name, revision }: AppSnapshot): ReloadSpec {
    const pinned = this.#world.pins.findLast((pin) => pin.app.name === name && pin.revision === revision);
    assert.ok(pinned, `revision ${revision} of ${name} was never pinned`);
    return pinned.app.reload;
  }

  /** After every step. */
  check(): void {
    const live = this.#world.live();
    const ids = live.map((process) => process.name);
    assert.equal(new Set(ids).size, ids.length, `two processes at once: ${ids.join(' ')}`);
    const hooks = live.filter((process) => process.name === 'hook.migrate' || process.name === 'hook.seed');
    assert.ok(hooks.length <= 1, 'two hooks at once');
    assert.ok(hooks.length === 0 || !this.#hooksAreOver, 'a pre-start hook runs, but workers have been started');
    this.#checkSlots(live);
    this.#checkRotation();
    this.#checkStaffing();
    for (; this.#checked < this.#world.events.length; this.#checked++)
      assert.equal(this.#world.events[this.#checked]!.seq, this.#checked + 1, 'a gap in the stream');
  }

  /** Of those that are ready as many serve as should, and more of them stand by than serve only where enough serve. */
  #checkRotation(): void {
    for (const one of this.#world.master.snapshot().apps) {
      if (['stopping', 'stopped', 'waiting'].includes(one.state)) continue;
      const ready = one.workers.filter(({ state }) => state === 'ready');
      const serving = ready.filter(({ id }) =>
        this.#world.live().some(({ name, admitted }) => name === id && admitted),
      );
      const spares = ready.filter(({ spare }) => spare);
      assert.equal(serving.length + spares.length, ready.length, `${one.name}: neither in the rotation nor a spare`);
      assert.equal(one.ready, serving.length);
      assert.ok(serving.length >= Math.min(one.goal, ready.length), `${one.name}: ${spares.length} spares look on`);
      const current = serving.filter(({ revision }) => revision === one.revision);
      const most = one.goal + ready.filter(({ reason }) => reason !== null).length;
      if (one.spares.goal > 0) assert.ok(current.length <= most, `${one.name}: ${current.length} serve of ${one.goal}`);
    }
  }

  #checkSlots(live: readonly FakeProcess[]): void {
    for (const name of ['web', 'cache', 'job']) {
      // An app that was removed and has come back meanwhile is another app.
      if (this.#world.master.snapshot().apps.filter((one) => one.name === name).length > 1) continue;
      const slots = live
        .filter((process) => process.launch?.pinned.app.name === name)
        .map((process) => process.launch?.slot);
      assert.equal(new Set(slots).size, slots.length, `${name}: a slot twice: ${slots.join(' ')}`);
    }
  }

  /** After a time in which nothing went wrong. */
  checkRest(): void {
    const { apps, state } = this.#world.master.snapshot();
    if (state === 'stopping') return;
    assert.equal(state, 'running');
    // Where a worker failed for good, whatever served before may have to stay.
    for (const one of apps.filter((candidate) => candidate.workers.every((worker) => worker.state !== 'failed'))) {
      const found = one.workers.map((worker) => `${worker.revision} ${worker.state}`);
      const expected = one.workers.map(
        (worker) => `${one.revision} ${worker.state === 'completed' ? 'completed' : 'ready'}`,
      );
      assert.deepEqual(
        [found.length, ...found],
        [one.goal + one.spares.goal, ...expected],
        `${one.name} has not come to rest`,
      );
    }
    const open = [...this.#started].filter((operation) => !this.#operations.has(operation));
    assert.deepEqual(open, [], 'operations that never end');
    const needed = new Set(apps.flatMap((one) => one.listen));
    assert.deepEqual(this.#world.bound.toSorted(), [...needed].toSorted(), 'sockets that nobody needs');
  }

  checkEnd(): void {
    this.check();
    const open = [...this.#started].filter((operation) => !this.#operations.has(operation));
    assert.deepEqual(open, [], 'operations that never end');
    const migrations = this.#world.processes.filter((process) => process.name === 'hook.migrate');
    assert.ok(migrations.length <= 3, `the hook ran ${migrations.length} times`);
  }
}

test('random histories of a master keep all promises', () => {
  forSeeds(histories, (chance, log) => new History(chance, log).live());
});
