/**
 * Makes and checks the directories of a master on this host. Where they are is decided in core/paths.ts.
 *
 * Rules
 * - A directory belongs to whoever runs the master: one that is owned by somebody else is refused, whoever we are.
 * - Ours are 0700. What systemd made (RUNTIME_DIRECTORY, STATE_DIRECTORY) keeps its mode, but nobody else may write to it; it may be a symlink, as
 *   with DynamicUser. In /tmp nothing is followed: everybody can put a symlink there.
 */
import type { Stats } from 'node:fs';
import { chmodSync, lstatSync, mkdirSync, readdirSync, realpathSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { SuperviseError } from '../../core/errors.ts';
import type { HostUser } from '../../core/paths.ts';
import { namelessRuntimes, runtimeDirectory, runtimeParents, stateDirectory } from '../../core/paths.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

export interface Directories {
  /** Socket, pid, what runs. Emptied by systemd at every restart. */
  readonly runtime: string;
  /** What has to outlive the master. */
  readonly state: string;
}

/** The longest path that fits into a sockaddr_un, with its closing NUL. */
const longestSocketPath = process.platform === 'linux' ? 107 : 103;

/** RUNTIME and STATE of the master of that name; nothing is made. @throws SuperviseError usage when it cannot name a directory */
export function directoriesFor(name: string, env: Environment): Directories {
  if (name === '' || name === '.' || name === '..' || /[/\0]/.test(name) || Buffer.byteLength(name) > 64) {
    throw new SuperviseError(
      'usage',
      `expected a name that can be a directory's name, of at most 64 bytes, found ${JSON.stringify(name)}`,
      {
        hint: 'use letters, digits, dots and dashes, as in --name shop',
      },
    );
  }
  const user = hostUser(usableEnvironment(env));
  return { runtime: runtimeDirectory(name, user), state: stateDirectory(name, user) };
}

/**
 * Makes both directories where they are missing and checks their owner and mode; answers their paths without symlinks.
 * @throws SuperviseError directory-unsafe
 */
export function prepareDirectories(directories: Directories, env: Environment): Directories {
  const isGiven = (path: string, list: string | undefined): boolean =>
    (list ?? '').split(':')[0]?.replace(/\/$/, '') === path;
  return {
    runtime: prepare(directories.runtime, isGiven(directories.runtime, env.RUNTIME_DIRECTORY) ? 'given' : 'ours'),
    state: prepare(directories.state, isGiven(directories.state, env.STATE_DIRECTORY) ? 'given' : 'ours'),
  };
}

/** A path for a unix socket, checked. @throws SuperviseError socket-cannot-bind when it is too long for the kernel */
export function socketPath(path: string): string {
  const bytes = Buffer.byteLength(path);
  if (bytes <= longestSocketPath) return path;
  const message = `expected a path of at most ${longestSocketPath} bytes for a unix socket (the kernel takes no more), found ${bytes} bytes: ${path}`;
  throw new SuperviseError('socket-cannot-bind', message, {
    hint: 'use a shorter directory: /run/NAME, or a RUNTIME_DIRECTORY near the root',
  });
}

/** The RUNTIME directories that masters of this user have, or had, and (for `name`) that where systemd makes it. Absolute; they are there. */
export function knownRuntimes(name: string | null, env: Environment): readonly string[] {
  const user = hostUser(usableEnvironment(env));
  const named = runtimeParents(user).flatMap((parent) => entriesOf(parent).map((entry) => join(parent, entry)));
  const real = [...namelessRuntimes(name, user), ...named].flatMap((path) => look(() => [realpathSync(path)]) ?? []);
  return [...new Set(real)];
}

function entriesOf(directory: string): readonly string[] {
  try {
    return readdirSync(directory).toSorted();
  } catch {
    return [];
  }
}

function hostUser(env: Environment): HostUser {
  return { uid: process.getuid?.() ?? 0, home: env.HOME ?? homeOrRoot(), env };
}

/** A uid without an entry in passwd and without $HOME, as in containers, has no home. */
function homeOrRoot(): string {
  try {
    return homedir();
  } catch {
    return '/';
  }
}

/** An XDG_RUNTIME_DIR that is not there or not ours (left over from before a `su`) is as good as none; its specification asks for both. */
function usableEnvironment(env: Environment): Environment {
  const { XDG_RUNTIME_DIR: directory, ...rest } = env;
  return directory !== undefined && statOrNull(directory)?.uid === (process.getuid?.() ?? 0) ? env : rest;
}

// ---------------------------------------------------------------- making them

function prepare(path: string, whose: 'ours' | 'given'): string {
  if (whose === 'ours') makeParent(dirname(path));
  attempt(path, () => mkdirSync(path, { recursive: whose === 'given', mode: 0o700 }));
  const stat = whose === 'given' ? statOrNull(path) : lstatOrNull(path);
  checkOwner(path, stat);
  if (whose === 'ours') chmodSync(path, 0o700);
  else if ((stat.mode & 0o022) !== 0)
    throw unsafe(path, `mode ${(stat.mode & 0o777).toString(8)}: others can write to it`, `chmod go-w ${path}`);
  return realpathSync(path);
}

/** /run/supervise and /var/lib/supervise can be passed through by all, /tmp/supervise-UID and what is in XDG only by us. */
function makeParent(parent: string): void {
  const isShared = process.getuid?.() === 0 && !parent.startsWith('/tmp/');
  attempt(parent, () => mkdirSync(parent, { recursive: true, mode: isShared ? 0o755 : 0o700 }));
  checkOwner(parent, parent.startsWith('/tmp/') ? lstatOrNull(parent) : statOrNull(parent));
}

function checkOwner(path: string, stat: Stats | null): asserts stat is Stats {
  const uid = process.getuid?.() ?? 0;
  if (stat === null) throw unsafe(path, 'nothing: it was taken away while we looked', 'start again');
  if (stat.isSymbolicLink())
    throw unsafe(path, 'a symbolic link', `look at it, and remove it if it is not yours: ls -l ${path}`);
  if (!stat.isDirectory()) throw unsafe(path, 'something that is no directory', `move it away: ${path}`);
  if (stat.uid !== uid)
    throw unsafe(
      path,
      `one that belongs to uid ${stat.uid}`,
      'run as that user, choose another --name, or set RUNTIME_DIRECTORY and STATE_DIRECTORY',
    );
}

function attempt(path: string, make: () => void): void {
  try {
    make();
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') return;
    throw unsafe(
      path,
      `no way to make one: ${message}`,
      'set RUNTIME_DIRECTORY and STATE_DIRECTORY to directories that this user can write to',
    );
  }
}

function unsafe(path: string, found: string, hint: string): SuperviseError {
  const uid = process.getuid?.() ?? 0;
  return new SuperviseError('directory-unsafe', `${path}: expected a directory of uid ${uid}, found ${found}`, {
    hint,
  });
}

function statOrNull(path: string): Stats | null {
  return look(() => statSync(path));
}

function lstatOrNull(path: string): Stats | null {
  return look(() => lstatSync(path));
}

function look<T>(stat: () => T): T | null {
  try {
    return stat();
  } catch {
    return null;
  }
}
