/**
 * The unix socket as a file: nobody but its owner can ever connect, a stale one is taken over, a live one never.
 *
 * - Mode 0600 from the first moment: the umask is set around the bind, which is synchronous.
 * - A file in the way is removed only when it is a socket that refuses a connect.
 * - `link`: where the config puts the socket elsewhere, RUNTIME/control.sock becomes a symlink to it, so that a
 *   client that knows only the name finds it.
 */
import { lstatSync, readlinkSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import type { Server } from 'node:net';
import { connect } from 'node:net';
import { SuperviseError } from '../core/errors.ts';

/** sun_path with its closing zero, on Linux; macOS has 104. */
const longestPathBytes = process.platform === 'darwin' ? 103 : 107;

export type SocketCondition = 'live' | 'stale' | 'absent' | 'denied' | 'not-a-socket';

/** Whether something listens there, by connecting (the connection is closed at once). */
export async function probeSocket(path: string): Promise<SocketCondition> {
  try {
    // the connect follows a symlink; what is looked at here is what would be removed
    const file = lstatSync(path);
    if (!file.isSocket() && !file.isSymbolicLink()) return 'not-a-socket';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EACCES' ? 'denied' : 'absent';
  }
  return new Promise((resolve) => {
    const socket = connect({ path });
    const answer = (condition: SocketCondition) => {
      socket.destroy();
      resolve(condition);
    };
    socket.once('connect', () => answer('live'));
    socket.once('error', (error: NodeJS.ErrnoException) => answer(conditionOf(error.code)));
  });
}

function conditionOf(code: string | undefined): SocketCondition {
  if (code === 'EACCES' || code === 'EPERM') return 'denied';
  // EAGAIN: its backlog is full, so somebody listens
  if (code === 'EAGAIN') return 'live';
  // refused; or ENOENT, which is a symlink to nothing
  return 'stale';
}

/** @throws SuperviseError socket-in-use, socket-cannot-bind */
export async function listenPrivately(server: Server, path: string): Promise<void> {
  const bytes = Buffer.byteLength(path);
  if (bytes > longestPathBytes) {
    throw cannotBind(
      path,
      `a socket's path can have ${longestPathBytes} bytes, this one has ${bytes}`,
      'set control.socket to a shorter path',
    );
  }
  await makeRoom(path);
  await new Promise<void>((resolve, reject) => {
    const failed = (error: Error) =>
      reject(cannotBind(path, error.message, 'the directory must exist and be writable'));
    server.once('error', failed);
    const before = process.umask(0o177);
    try {
      server.listen({ path }, () => {
        server.removeListener('error', failed);
        resolve();
      });
    } finally {
      process.umask(before);
    }
  });
}

/** Makes `link` a symlink to `path`; nothing when they are the same. Failing is not fatal: the answer is a warning. */
export function linkSocket(link: string | null, path: string): string | null {
  if (link === null || link === path) return null;
  const fresh = `${link}.${process.pid}`;
  try {
    symlinkSync(path, fresh);
    renameSync(fresh, link);
    return null;
  } catch (error) {
    rmSync(fresh, { force: true });
    return `clients find this master by ${path} only, not by its name: ${(error as Error).message}`;
  }
}

/** Removes the symlink if it is still ours. */
export function unlinkSocket(link: string | null, path: string): void {
  if (link === null || link === path) return;
  try {
    if (readlinkSync(link) === path) rmSync(link);
  } catch {
    // it is gone, or something else by now: not ours
  }
}

async function makeRoom(path: string): Promise<void> {
  const condition = await probeSocket(path);
  if (condition === 'absent') return;
  if (condition === 'stale') return rmSync(path, { force: true });
  if (condition === 'not-a-socket') throw cannotBind(path, 'there is a file that is not a socket', 'move it away');
  if (condition === 'denied')
    throw cannotBind(path, 'there is a socket of another user', 'set control.socket to another path');
  throw new SuperviseError('socket-in-use', `control socket ${path}: another program listens there`, {
    hint: 'set control.socket to another path, or stop that program',
  });
}

function cannotBind(path: string, reason: string, hint: string): SuperviseError {
  return new SuperviseError('socket-cannot-bind', `control socket ${path}: ${reason}`, { hint });
}
