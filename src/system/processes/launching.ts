/**
 * What every kind of process needs at its spawn: the words before its program, and the variables that are its own.
 */
import type { AppSpec } from '../../core/spec.ts';
import type { Launch, WorkerListener } from '../../ports.ts';
import type { LogFileSettings } from '../output/log-file.ts';
import { accountOfApp } from './accounts.ts';
import type { LifeParts } from './child-life.ts';
import type { BoundSockets } from '../sockets/sockets.ts';
import { fillIn, type Environment, type Placeholders } from './environment.ts';
import { findTools, wrap, type Wrapped } from './wrapping.ts';

/** What the spawner is made of, and what every launch may use. */
export interface LaunchParts extends LifeParts {
  readonly masterName: string;
  readonly sockets: Pick<BoundSockets, 'seat'>;
  /** Says it once in the life of this master; with `per`, once for each value of it. */
  warnOnce(message: string, warn: (message: string) => void, per?: string): void;
}

/** Says what holds for all workers of this revision alike, once. */
export function warnOfRevision(
  { pinned: { app, revision } }: Launch,
  parts: LaunchParts,
  listener: WorkerListener,
): (message: string) => void {
  return (message) => parts.warnOnce(message, (once) => listener.warning(once, 'revision'), `${app.name} ${revision}`);
}

export function placeholdersOf({ pinned, slot }: Launch): Placeholders {
  const { app } = pinned;
  return { app: app.name, slot, sockets: app.listen.length, port: app.port === null ? null : app.port + slot };
}

/** The words of the program with the placeholders filled in. */
export function wordsOf(launch: Launch): string[] {
  const values = placeholdersOf(launch);
  return launch.pinned.argv.map((word, index) => (index === 0 ? word : fillIn(word, values)));
}

/** The whole environment of a worker, but for what only its spawn knows (NOTIFY_FD, LISTEN_PID). */
export function workerEnvironment(launch: Launch, parts: LaunchParts): Record<string, string> {
  const { pinned, worker, slot } = launch;
  const { app } = pinned;
  const values = placeholdersOf(launch);
  const configured = Object.keys(app.env).map((name) => [name, fillIn(pinned.env[name] ?? '', values)]);
  return {
    ...pinned.env,
    ...Object.fromEntries(configured),
    ...(values.port === null ? {} : { PORT: String(values.port) }),
    ...(app.listen.length === 0
      ? {}
      : { LISTEN_FDS: String(app.listen.length), LISTEN_FDNAMES: app.listen.map(() => app.name).join(':') }),
    ...parts.guard.environment,
    SUPERVISE_NAME: parts.masterName,
    SUPERVISE_APP: app.name,
    SUPERVISE_WORKER: worker,
    SUPERVISE_SLOT: String(slot),
    SUPERVISE_REVISION: String(pinned.revision),
    SUPERVISE_STOP: `${app.stop.signal} ${app.stop.timeoutMs}`,
  };
}

/** Where the lines of this worker go; null: to the master's stdout. */
export function logFileOf(launch: Launch): LogFileSettings | null {
  const { logs } = launch.pinned.app;
  if (logs.kind === 'inherit' || logs.file === null) return null;
  const { maxSizeBytes, keep, gzip } = logs;
  return { path: fillIn(logs.file, { ...placeholdersOf(launch), sockets: 0 }), maxSizeBytes, keep, gzip };
}

/** What a worker's stdout and stderr are: pipes to the output, or the master's own. */
export function outputOf({ logs }: AppSpec): 'pipe' | 'inherit' {
  return logs.kind === 'inherit' ? 'inherit' : 'pipe';
}

/** The entries that tell this process and its descendants from all others (strays.ts). */
export function markOf(env: Environment, parts: LaunchParts): string[] {
  const own = ['SUPERVISE_WORKER', 'SUPERVISE_HOOK', 'SUPERVISE_PHASE', 'SUPERVISE_PROBE'];
  const names = [...Object.keys(parts.guard.environment), ...own];
  return names.filter((name) => name in env).map((name) => `${name}=${env[name]}`);
}

/** Wraps a worker's program. @throws SuperviseError launch-failed: the account is gone */
export function wrapWorker(launch: Launch, argv: readonly string[], listenPid: 'set' | 'none'): Wrapped {
  const { app } = launch.pinned;
  const { identity } = app;
  return wrapProgram({
    argv,
    account: accountOfApp(app),
    niceness: identity.nice,
    umask: identity.umask,
    listenPid,
  });
}

export function wrapProgram(what: Omit<Parameters<typeof wrap>[0], 'masterPid'>): Wrapped {
  return wrap({ ...what, masterPid: process.pid }, findTools());
}
