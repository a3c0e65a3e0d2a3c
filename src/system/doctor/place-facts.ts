/**
 * Looks at the place of a master: who holds its addresses, what dead masters have left, and the room for its STATE.
 *
 * Rules
 * - A TCP address is tried as a start tries it: bound for a moment, never listening, so no client ever reaches it. For a unix socket its
 *   file is looked at, because binding it would take a left one away.
 * - Nothing is killed, removed or made.
 */
import { accessSync, constants, lstatSync, statfsSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import type { DiskFacts, LeftFacts, PortFacts } from '../../core/doctor-place.ts';
import { SuperviseError } from '../../core/errors.ts';
import type { ListenSpec } from '../../core/spec.ts';
import { describeHolder, holderOfTcp, holderOfUnix, type Holder } from '../holders.ts';
import { directoriesFor } from '../instance/directories.ts';
import { instanceLives, recordsIn, readRecord } from '../instance/guard-record.ts';
import { isAlive, readMasterInfo, type MasterInfo } from '../instance/instance.ts';
import { createLocks } from '../instance/locks.ts';
import { leftBy } from '../instance/predecessor.ts';
import { createSockets } from '../sockets/sockets.ts';

/** The masters of this user that live, by what they have written of themselves. @param runtimes see knownRuntimes */
export function livingMasters(runtimes: readonly string[]): readonly MasterInfo[] {
  return runtimes.flatMap((runtime) => {
    const info = readMasterInfo(runtime);
    return info !== null && isAlive(info) ? [info] : [];
  });
}

/** @param masters of ours, which may hold it */
export function portFacts(listen: ListenSpec, masters: readonly MasterInfo[]): PortFacts {
  const { url } = listen;
  const holder = listen.kind === 'tcp' ? holderOfTcp(listen.host, listen.port) : holderOfUnix(listen.path);
  const master = masters.find(({ pid }) => pid === holder?.pid);
  if (master !== undefined) return { url, state: 'ours', master: master.name };
  return listen.kind === 'tcp' ? triedPort(listen) : unixFacts(listen, holder);
}

function triedPort(listen: ListenSpec): PortFacts {
  const sockets = createSockets(createLocks());
  try {
    sockets.bind([listen]);
    return { url: listen.url, state: 'free' };
  } catch (error) {
    if (!(error instanceof SuperviseError)) throw error;
    return { url: listen.url, state: 'refused', why: error.message, hint: error.hint };
  } finally {
    sockets.retain([]);
  }
}

function unixFacts({ url, path }: Extract<ListenSpec, { kind: 'unix' }>, holder: Holder | null): PortFacts {
  const refused = (why: string, hint: string): PortFacts => ({ url, state: 'refused', why, hint });
  if (holder !== null)
    return refused(`${url} is in use by ${describeHolder(holder)}`, 'stop it, or listen at another path');
  try {
    const stat = lstatSync(path, { throwIfNoEntry: false });
    if (stat !== undefined && !stat.isSocket())
      return refused(
        `${url}: expected nothing or a socket at ${path}, found something else`,
        'move it away, or listen at another path',
      );
    accessSync(dirname(path), constants.W_OK | constants.X_OK);
    return { url, state: 'free' };
  } catch (error) {
    const why = `${url}: no socket can be made in ${dirname(path)}: ${(error as NodeJS.ErrnoException).code}`;
    return refused(why, 'make the directory, and give it to the user who runs supervise');
  }
}

/** RUNTIME directories of which no master lives, with what it has left in files and in processes. */
export function leftFacts(runtimes: readonly string[]): readonly LeftFacts[] {
  return runtimes.flatMap((runtime): LeftFacts[] => {
    const info = readMasterInfo(runtime);
    if (info !== null && isAlive(info)) return [];
    const records = readable(() => recordsIn(runtime)).flatMap((file) => readRecord(file) ?? []);
    const dead = records.filter(({ instance }) => !instanceLives(instance));
    if (info === null && dead.length === 0) return [];
    const processes = dead.flatMap(leftBy).map(describeHolder);
    return [{ runtime, name: info?.name ?? basename(runtime), processes }];
  });
}

/** Of the STATE of that master. null: it cannot be told. */
export function diskFacts(name: string): DiskFacts | null {
  try {
    return freeIn(directoriesFor(name, process.env).state);
  } catch {
    return null;
  }
}

/** Of the nearest directory that is there. */
function freeIn(directory: string): DiskFacts {
  if (lstatSync(directory, { throwIfNoEntry: false }) === undefined && directory !== '/')
    return freeIn(dirname(directory));
  const { bavail, bsize, ffree, files } = statfsSync(directory);
  // Some file systems do not count files (btrfs says 0 of 0).
  return { directory, freeBytes: bavail * bsize, freeFiles: files === 0 ? null : ffree };
}

function readable<T>(read: () => readonly T[]): readonly T[] {
  try {
    return read();
  } catch {
    return [];
  }
}
