/**
 * Makes the real parts, connects them to a master, and waits for its end. Order: directories and instance lock, what a
 * killed predecessor left, then the master binds, runs its hooks and starts. What the first worker does not need is
 * loaded after it.
 */
import { join } from 'node:path';
import { ExitCode, type SuperviseError } from '../core/errors.ts';
import type { Spec } from '../core/spec.ts';
import { version } from '../core/version.ts';
import { Master } from '../master/master.ts';
import { isoTime } from '../master/stream.ts';
import { createClock } from '../system/clock.ts';
import { createUsableHost } from '../system/host/usable.ts';
import { recordName } from '../system/instance/guard-record.ts';
import { startGuard } from '../system/instance/guard.ts';
import { createHistoryStore } from '../system/instance/history-store.ts';
import { removeMasterInfo, writeMasterInfo } from '../system/instance/instance.ts';
import { createLedger } from '../system/instance/ledger.ts';
import type { Loss } from '../system/output/gap.ts';
import { createNotifier } from '../system/notify.ts';
import { Output } from '../system/output/output.ts';
import { createRecords } from '../system/instance/records.ts';
import { cleanUpPredecessor } from '../system/instance/predecessor.ts';
import { createConnectionCounter } from '../system/sampling/connections.ts';
import { createSampler } from '../system/sampling/sampler.ts';
import { reportToSystemd } from '../system/service-status.ts';
import { takeSignals } from '../system/signals.ts';
import { createSockets } from '../system/sockets/sockets.ts';
import { createSpawner } from '../system/processes/spawner.ts';
import { openStandardSinks, type StandardSinks } from '../system/output/standard-sinks.ts';
import { bindDoor, type BoundDoor } from './control-http.ts';
import { controlSocketOf, rereadBeside, serveControl } from './control.ts';
import { followLog } from './log-follower.ts';
import { ordersFor, stopOnBug } from './orders.ts';
import { takePlace, type Place } from './place.ts';
import { reloadOnChanges } from './watching.ts';

export interface StartOptions {
  /** Only warnings and errors in the master's own log. */
  readonly quiet: boolean;
  /** Colours in what people read; null: where the sink is a terminal. */
  readonly color: boolean | null;
  /** Reads the config again, for a reload; null: there is no file. */
  readonly reread: (() => Promise<Spec>) | null;
  /** The master's log goes here instead of stdout and stderr. */
  readonly logFile?: string;
}

/**
 * Runs a master in this process until nothing is left to supervise.
 * @returns the exit code: 0 after a requested stop, 70 after a bug of ours
 * @throws SuperviseError for a start that failed; by then everything is stopped and released
 */
export async function start(spec: Spec, options: StartOptions): Promise<number> {
  const place = takePlace(spec);
  try {
    return await runMaster(spec, options, place);
  } finally {
    removeMasterInfo(place.runtime);
    place.release();
  }
}

async function runMaster(spec: Spec, options: StartOptions, place: Place): Promise<number> {
  const logFile = options.logFile ?? null;
  const onLoss = (loss: Loss): void => master.report({ type: 'logs.dropped', ...loss });
  const sinks = openStandardSinks({ logFile, onLoss });
  const colors = options.color ?? sinks.out.kind === 'tty';
  const output = new Output({ sink: sinks.out, colors, logFile, onLoss, warn: (message) => warn(message) });
  const ended = deferred<{ readonly exitCode: ExitCode; readonly error: SuperviseError | null }>();
  // What is said before there is a master waits for it.
  const early: string[] = [];
  let warn = (message: string): void => void early.push(message);
  const say = (message: string): void => warn(message);
  endPredecessor(place.runtime, say);
  describeMaster(spec, place.runtime, say);
  const guard = startGuard(join(place.runtime, recordName), say);
  const sockets = createSockets(place.locks);
  const ports = {
    clock: createClock(),
    host: createUsableHost(),
    sockets,
    sampler: createSampler(),
    connections: createConnectionCounter(sockets),
    ledger: createLedger(place.state, place.locks, say),
    records: createRecords(place.state, say),
    history: createHistoryStore(place.state, say),
    spawner: createSpawner({ sockets, guard, output, masterName: spec.name }),
  };
  const master: Master = new Master(spec, ports, {
    version,
    pid: process.pid,
    ended: (exitCode, error) => ended.resolve({ exitCode, error }),
  });
  const log = followLog((listener) => master.subscribe(listener), {
    sink: sinks.err,
    colors: options.color ?? sinks.err.kind === 'tty',
    level: options.quiet ? 'warn' : 'info',
    name: spec.name,
  });
  const notifier = createNotifier(process.env, { failed: say });
  if (notifier) master.subscribe(reportToSystemd(notifier, () => master.snapshot()));
  const bug = stopOnBug(master, log);
  const reread = options.reread && rereadBeside(spec, options.reread, say);
  const ignoreSignals = takeSignals(ordersFor(master, { reread, warn: say, reopen: () => output.reopen() }));
  const stopWatching = reloadOnChanges({ master, own: [place.runtime, place.state], warn: say });
  let closeControl = (): void => undefined;
  let http: BoundDoor | null = null;
  try {
    warn = (message) => master.report({ type: 'master.warning', message });
    early.forEach(warn);
    http = bindDoor(spec, place, say);
    master.start();
    const { runtime } = place;
    closeControl = await serveControl(spec, { master, output, reread, runtime, http }, say);
    const { exitCode, error } = await ended.promise;
    if (error) throw error;
    return bug.seen() ? ExitCode.bug : exitCode;
  } finally {
    ignoreSignals();
    stopWatching();
    closeControl();
    http?.close();
    notifier?.close();
    await ports.sampler.settled();
    await ports.connections.settled();
    await ports.records.close();
    await ports.history.close();
    await new Promise<void>((done) => guard.close(done));
    await log.flushed();
    await closeAll(output, sinks);
    bug.forget();
  }
}

/** Ends what a killed predecessor has left. */
function endPredecessor(runtime: string, warn: (message: string) => void): void {
  const { killed, left } = cleanUpPredecessor(runtime);
  for (const one of killed) warn(`ended what a killed master had left: pid ${one.pid} (${one.command})`);
  for (const one of left) warn(`a killed master may have left pid ${one.pid} (${one.command}): ${one.reason}`);
}

/** Writes who we are, for clients to find. A full disk does not stop a service. */
function describeMaster(spec: Spec, runtime: string, warn: (message: string) => void): void {
  try {
    writeMasterInfo(runtime, {
      name: spec.name,
      configFile: spec.file,
      startedAt: isoTime(Date.now()),
      socket: controlSocketOf(spec, runtime),
    });
  } catch (error) {
    warn(`cannot write into ${runtime}, so clients may not find this master: ${(error as Error).message}`);
  }
}

async function closeAll(output: Output, sinks: StandardSinks): Promise<void> {
  await new Promise<void>((done) => output.close(done));
  if (sinks.err !== sinks.out) await new Promise<void>((done) => sinks.err.close(done));
}

function deferred<T>(): { readonly promise: Promise<T>; readonly resolve: (value: T) => void } {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((settle) => (resolve = settle));
  return { promise, resolve };
}
