/**
 * The library face, and the one place where master/ and system/ meet: it makes the real parts, connects them, and
 * waits for the end. Order: directories, instance lock, what a killed predecessor left, then the master binds, runs
 * its hooks and starts. What is not needed for the first worker is loaded after it.
 */
import { join } from 'node:path';
import { ExitCode, SuperviseError } from './core/errors.ts';
import { narrate } from './core/narrate.ts';
import type { Event } from './core/protocol.ts';
import type { Spec } from './core/spec.ts';
import { version } from './core/version.ts';
import { Hooks } from './master/hooks.ts';
import { Master } from './master/master.ts';
import { createClock } from './system/clock.ts';
import { directoriesFor, prepareDirectories, socketPath } from './system/directories.ts';
import { startGuard } from './system/guard.ts';
import { removeMasterInfo, takeInstanceLock, writeMasterInfo } from './system/instance.ts';
import { createLedger } from './system/ledger.ts';
import { createLocks } from './system/locks.ts';
import { createNotifier } from './system/notify.ts';
import { Output } from './system/output.ts';
import { cleanUpPredecessor } from './system/predecessor.ts';
import { createSampler } from './system/sampler.ts';
import { reportToSystemd } from './system/service-status.ts';
import { takeSignals } from './system/signals.ts';
import { createSockets } from './system/sockets.ts';
import { createSpawner } from './system/spawner.ts';
import { openStandardSinks } from './system/standard-sinks.ts';

export { SuperviseError } from './core/errors.ts';
export type { Spec } from './core/spec.ts';

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

/** What a running master needs besides the master itself; taken once, released in `end`. */
interface Place {
  readonly runtime: string;
  readonly state: string;
  readonly locks: ReturnType<typeof createLocks>;
  readonly release: () => void;
}

/**
 * Runs a master in this process until nothing is left to supervise.
 * @returns the exit code after a requested stop
 * @throws SuperviseError for a start that failed; by then everything is stopped and released
 */
export async function start(spec: Spec, options: StartOptions): Promise<number> {
  const place = takePlace(spec);
  const sinks = openStandardSinks({ logFile: options.logFile ?? null, onLoss: (loss) => master.report({ type: 'logs.dropped', ...loss }) });
  const colors = options.color ?? sinks.err.kind === 'tty';
  const output = new Output({ sink: sinks.out, colors, logFile: options.logFile ?? null });
  const guard = startGuard(join(place.runtime, 'workers'));
  const sockets = createSockets(place.locks);
  const ended = deferred<{ exitCode: ExitCode; error: SuperviseError | null }>();
  const ports = {
    clock: createClock(), sockets, sampler: createSampler(),
    spawner: createSpawner({ sockets, guard, output, masterName: spec.name, runtimeDir: place.runtime }),
    ledger: createLedger(place.state, place.locks),
  };
  const master = new Master(spec, ports, { version, pid: process.pid, ended: (exitCode, error) => ended.resolve({ exitCode, error }) });
  const finish = async () => {};
  return 0;
}

function deferred<T>(): { readonly promise: Promise<T>; readonly resolve: (value: T) => void } {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((settle) => (resolve = settle));
  return { promise, resolve };
}

function takePlace(spec: Spec): Place {
  const directories = prepareDirectories(directoriesFor(spec.name, process.env), process.env);
  const locks = createLocks();
  const unlock = takeInstanceLock(locks, directories.runtime);
  return { ...directories, locks, release: unlock };
}
