/**
 * One master per user and RUNTIME directory, and what it tells others about itself.
 *
 * Rules
 * - The lock (an abstract socket) decides. RUNTIME/master.json and supervise.pid only describe who holds it; they are written
 *   after it was taken, by rename, and may be left behind by a kill -9.
 * - A process is named by its pid and its start time. A file that names a dead or another process means nothing.
 * - A master of another network namespace does not share our lock: there a live process in master.json counts as one.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SuperviseError } from '../../core/errors.ts';
import type { Cancel } from '../../ports.ts';
import type { Holder } from '../holders.ts';
import { describeHolder } from '../holders.ts';
import type { Locks } from './locks.ts';
import { hasProcfs, statOf } from '../procfs.ts';

/** The content of RUNTIME/master.json. */
export interface MasterInfo {
  readonly pid: number;
  /** As of /proc/PID/stat; 0 where there is no /proc. */
  readonly startTimeTicks: number;
  readonly name: string;
  /** Absolute; null when the flags alone made the config. */
  readonly configFile: string | null;
  /** ISO 8601, UTC. */
  readonly startedAt: string;
  /** Of the control socket, absolute. */
  readonly socket: string;
}

export const masterInfoName = 'master.json';
export const pidFileName = 'supervise.pid';

/**
 * Takes the lock of this RUNTIME directory (an absolute path without symlinks). Freed by the answer, or by the kernel.
 * @throws SuperviseError already-running
 */
export function takeInstanceLock(locks: Locks, runtime: string): Cancel {
  const result = locks.take(`instance/${process.getuid?.() ?? 0}${runtime}`);
  const info = readMasterInfo(runtime);
  if (!result.taken) {
    const current = info !== null && (result.holder === null || result.holder.pid === info.pid) ? info : null;
    throw alreadyRunning(runtime, current, result.holder);
  }
  if (info !== null && info.pid !== process.pid && isAlive(info)) {
    result.release();
    throw alreadyRunning(runtime, info, null);
  }
  return result.release;
}

/** Writes master.json and supervise.pid. To be called with the lock held. */
export function writeMasterInfo(runtime: string, info: Omit<MasterInfo, 'pid' | 'startTimeTicks'>): MasterInfo {
  const full = { pid: process.pid, startTimeTicks: statOf(process.pid)?.startTimeTicks ?? 0, ...info };
  writeByRename(join(runtime, masterInfoName), `${JSON.stringify(full)}\n`);
  writeByRename(join(runtime, pidFileName), `${full.pid}\n`);
  return full;
}

/** Takes both files away, if they are this process's own. */
export function removeMasterInfo(runtime: string): void {
  if (readMasterInfo(runtime)?.pid !== process.pid) return;
  rmSync(join(runtime, pidFileName), { force: true });
  rmSync(join(runtime, masterInfoName), { force: true });
}

/** null when there is no such file, it is not ours to read, or it is not what we write. Says nothing about being alive. */
export function readMasterInfo(runtime: string): MasterInfo | null {
  try {
    const info = JSON.parse(readFileSync(join(runtime, masterInfoName), 'utf8')) as Partial<MasterInfo> | null;
    return typeof info?.pid === 'number' && typeof info.name === 'string' ? (info as MasterInfo) : null;
  } catch {
    return null;
  }
}

/** Whether the process that wrote this is still there. */
export function isAlive(info: MasterInfo): boolean {
  if (hasProcfs()) {
    const stat = statOf(info.pid);
    return stat !== null && stat.state !== 'Z' && stat.state !== 'X' && stat.startTimeTicks === info.startTimeTicks;
  }
  try {
    process.kill(info.pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function alreadyRunning(runtime: string, info: MasterInfo | null, holder: Holder | null): SuperviseError {
  if (info === null) {
    return new SuperviseError(
      'already-running',
      `another master already runs with ${runtime}: ${describeHolder(holder)}`,
      {
        hint: 'stop it first, or give this one another name with --name',
      },
    );
  }
  const config = info.configFile === null ? 'no config file' : `config ${info.configFile}`;
  const message = `another master already runs with ${runtime}: pid ${info.pid}, --name ${info.name}, ${config}`;
  return new SuperviseError('already-running', message, {
    hint: `"supervise stop --name ${info.name}" stops it, "supervise reload --name ${info.name}" takes a new config; or give this one another name with --name`,
  });
}

function writeByRename(path: string, text: string): void {
  const temporary = `${path}.${process.pid}`;
  writeFileSync(temporary, text, { mode: 0o600 });
  renameSync(temporary, path);
}
