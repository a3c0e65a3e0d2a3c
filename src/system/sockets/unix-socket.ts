/**
 * Binding and giving back a unix socket, which is a file besides: it may be left over, belong to somebody else, or have been
 * replaced while we ran.
 *
 * Rules
 * - A socket file that refuses a connection is left over from a killed process, and is unlinked. One that takes it, or cannot be asked, is in
 *   use. What is no socket is never touched.
 * - Mode and group are set before anybody can connect: nothing listens until listen().
 * - On close the file is unlinked only if it is still the one that we made.
 */
import { spawnSync } from 'node:child_process';
import type { Stats } from 'node:fs';
import { chmodSync, chownSync, linkSync, lstatSync, readFileSync, renameSync, unlinkSync } from 'node:fs';
import { dirname } from 'node:path';
import { getSystemErrorName } from 'node:util';
import { SuperviseError } from '../../core/errors.ts';
import type { ListenSpec } from '../../core/spec.ts';
import { socketPath } from '../instance/directories.ts';
import { describeHolder, holderOfUnix } from '../holders.ts';
import type { ServerHandle } from './server-handle.ts';
import { createServerHandle } from './server-handle.ts';

export type UnixSpec = Extract<ListenSpec, { kind: 'unix' }>;

/** Which file it is: `dev:ino`. */
export type FileIdentity = string;

/** @throws SuperviseError socket-in-use, socket-cannot-bind */
export function bindUnix(spec: UnixSpec): { handle: ServerHandle; identity: FileIdentity } {
  const path = socketPath(spec.path);
  makeRoom(spec);
  const handle = createServerHandle(path, -1, -1);
  if (typeof handle === 'number') throw bindFailed(spec, getSystemErrorName(handle));
  try {
    setAccess(spec);
    return { handle, identity: identityOf(path) ?? '' };
  } catch (error) {
    handle.close();
    throw error;
  }
}

/** Sets mode and group as the spec has them. @throws SuperviseError socket-cannot-bind */
export function setAccess(spec: UnixSpec): void {
  try {
    if (spec.group !== null) chownSync(spec.path, process.geteuid?.() ?? 0, gidOf(spec.group));
    chmodSync(spec.path, spec.mode);
  } catch (error) {
    if (error instanceof SuperviseError) throw error;
    const wish = `mode ${spec.mode.toString(8)}${spec.group === null ? '' : ` and group ${spec.group}`}`;
    throw new SuperviseError('socket-cannot-bind', `cannot give ${spec.path} ${wish}: ${(error as Error).message}`, {
      hint: 'only root, or a member of the group, can give a file to a group: see socket_group and socket_mode',
    });
  }
}

/** Closes the socket. libuv unlinks its path without looking at it, so a file that somebody else has put there since is moved out of the way. */
export function closeUnix(handle: ServerHandle, path: string, identity: FileIdentity): void {
  const now = identityOf(path);
  if (now === null || now === identity) {
    handle.close();
    return;
  }
  const aside = `${path}.${process.pid}`;
  linkSync(path, aside);
  handle.close();
  renameSync(aside, path);
}

function makeRoom(spec: UnixSpec): void {
  const stat = look(spec.path);
  if (stat === null) return;
  if (!stat.isSocket()) {
    throw new SuperviseError(
      'socket-cannot-bind',
      `cannot bind ${spec.url}: expected nothing or a socket at ${spec.path}, found ${kindOf(stat)}`,
      {
        hint: 'it is left as it is; move it away, or listen at another path',
      },
    );
  }
  const answer = connectError(spec.path);
  if (answer === 'ENOENT') return;
  if (answer !== 'ECONNREFUSED') {
    const holder = describeHolder(holderOfUnix(spec.path));
    throw new SuperviseError('socket-in-use', `cannot bind ${spec.url}: it is in use by ${holder}`, {
      hint: 'stop it, or listen at another path',
    });
  }
  try {
    unlinkSync(spec.path);
  } catch (error) {
    throw bindFailed(spec, (error as NodeJS.ErrnoException).code ?? 'EACCES');
  }
}

const connectProgram = `
require('net').connect(process.argv[1])
  .on('connect', () => { process.stdout.write('none'); process.exit(0); })
  .on('error', (error) => { process.stdout.write(error.code); process.exit(0); });`;

/** How a connection ends: 'none' when it is taken. By a Node child (some 60 ms), because nothing in Node connects and waits; needed after a kill only. */
function connectError(path: string): string {
  const { stdout } = spawnSync(process.execPath, ['-e', connectProgram, path], {
    encoding: 'utf8',
    env: {},
    timeout: 10_000,
  });
  return stdout === '' ? 'unknown' : stdout;
}

function bindFailed(spec: UnixSpec, code: string): SuperviseError {
  const folder = dirname(spec.path);
  const missing = look(folder) === null;
  const message = `cannot bind ${spec.url}: ${missing ? `expected a directory ${folder}, found none` : code}`;
  const hint = missing
    ? `make it for this user: install -d -o USER ${folder}`
    : `this user has to be able to write to ${folder}`;
  return new SuperviseError('socket-cannot-bind', message, { hint });
}

function gidOf(group: string): number {
  if (/^\d+$/.test(group)) return Number(group);
  const line =
    lineOf(readFileSync('/etc/group', 'utf8'), group) ??
    lineOf(spawnSync('getent', ['group', group], { encoding: 'utf8' }).stdout ?? '', group);
  if (line !== undefined) return Number(line.split(':')[2]);
  throw new SuperviseError('socket-cannot-bind', `expected a group of this host as socket_group, found "${group}"`, {
    hint: 'getent group lists them',
  });
}

function lineOf(groups: string, group: string): string | undefined {
  return groups.split('\n').find((line) => line.startsWith(`${group}:`));
}

function identityOf(path: string): FileIdentity | null {
  const stat = look(path);
  return stat === null ? null : `${stat.dev}:${stat.ino}`;
}

function kindOf(stat: Stats): string {
  if (stat.isDirectory()) return 'a directory';
  return stat.isSymbolicLink() ? 'a symbolic link' : 'a file';
}

/** null also where we may not look: what cannot be done there, bind() says. */
function look(path: string): Stats | null {
  try {
    return lstatSync(path);
  } catch {
    return null;
  }
}
