/**
 * Ends what a killed master has left, before its successor binds a port: workers, hooks, and whatever they started.
 *
 * Rules
 * - To be called with the instance lock held: then the master that wrote the record is dead. A record whose writer lives (`hooks run`
 *   beside us) is left alone.
 * - Killed at once, without being asked: the guard has asked them, or was killed itself.
 * - Never a stranger. A recorded leader is its pid and its start time; from it come its process group, its session and its descendants. Where
 *   the leader is gone, or a process has left all of these, only the variable of that very master in its environment counts;
 *   what cannot be told (another user's environment) is left alone and reported.
 * - It waits, at most 5 s, until all of them are gone: ports are free then. Nothing waits where nothing was left.
 * - Without a /proc nothing can be proved, so nothing is killed.
 */
import type { Stats } from 'node:fs';
import { lstatSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { controlSocketName } from '../../core/paths.ts';
import type { Recorded } from './guard-record.ts';
import { instanceLives, readRecord, recordsIn } from './guard-record.ts';
import { instanceVariable } from './guard.ts';
import { commandOf } from '../holders.ts';
import { isAlive, masterInfoName, pidFileName, readMasterInfo } from './instance.ts';
import type { ProcStat } from '../procfs.ts';
import { allPids, readText, statOf } from '../procfs.ts';

export interface LeftProcess {
  readonly pid: number;
  readonly command: string;
}

export interface CleanUp {
  readonly killed: readonly LeftProcess[];
  /** Could not be killed, or could not be told from a stranger; `reason` says which. */
  readonly left: readonly (LeftProcess & { readonly reason: string })[];
  /** Files that were taken away, absolute. */
  readonly removed: readonly string[];
}

const waitAtMostMs = 5000;

/** `runtime` exists. Synchronous: a start has nothing else to do meanwhile. */
export function cleanUpPredecessor(runtime: string): CleanUp {
  const killed: CleanUp['killed'][number][] = [];
  const left: CleanUp['left'][number][] = [];
  const removed: string[] = [];
  for (const file of recordsIn(runtime)) {
    const recorded = readRecord(file);
    if (recorded !== null && instanceLives(recorded.instance)) continue;
    const ended = recorded === null ? { killed: [], left: [] } : endAll(recorded);
    killed.push(...ended.killed);
    left.push(...ended.left);
    // What could not be ended is looked for again by the next start.
    if (ended.left.length === 0 && removeIf(file, (stat) => stat.isFile())) removed.push(file);
  }
  return { killed, left, removed: [...removed, ...removeStale(runtime)] };
}

/** What a dead master has left running, proved to be its own; nothing is ended. */
export function leftBy(recorded: Recorded): readonly LeftProcess[] {
  return findLeft(recorded).ours.map(({ pid }) => ({ pid, command: commandOf(pid) }));
}

function endAll(recorded: Recorded): Pick<CleanUp, 'killed' | 'left'> {
  const killed = new Map<string, LeftProcess>();
  const deadline = performance.now() + waitAtMostMs;
  for (;;) {
    const { ours, unclear } = findLeft(recorded);
    const alive = ours.filter((stat) => {
      const key = identityOf(stat);
      if (!killed.has(key)) killed.set(key, { pid: stat.pid, command: commandOf(stat.pid) });
      return kill(stat.pid);
    });
    // Once more after the last one is gone: it may have forked before it died.
    if (ours.length === 0 || performance.now() > deadline) {
      const stuck = alive.map((stat) => ({
        pid: stat.pid,
        command: commandOf(stat.pid),
        reason: 'it does not die when it is killed',
      }));
      const strangers = unclear.map((stat) => ({
        pid: stat.pid,
        command: commandOf(stat.pid),
        reason: 'its environment cannot be read, so it may be a stranger',
      }));
      return {
        killed: [...killed.values()].filter(({ pid }) => !stuck.some((other) => other.pid === pid)),
        left: [...stuck, ...strangers],
      };
    }
    sleep(5);
  }
}

/** `ours`: proved to be of that master. `unclear`: in the group or session of a leader that is gone, and not to be asked. */
function findLeft({ instance, processes }: Recorded): { ours: ProcStat[]; unclear: ProcStat[] } {
  const all = new Map<number, ProcStat>();
  for (const pid of allPids()) {
    const stat = statOf(pid);
    if (stat !== null && stat.state !== 'Z' && stat.state !== 'X') all.set(pid, stat);
  }
  const spared = selfAndAncestors(all);
  const leaders = new Set<number>();
  const orphaned = new Set<number>();
  for (const { pid, startTimeTicks } of processes) {
    const stat = all.get(pid);
    if (stat === undefined) orphaned.add(pid);
    else if (stat.startTimeTicks === startTimeTicks) leaders.add(pid);
  }
  const mark = `${instanceVariable}=${instance}`;
  const ours = new Set<number>();
  const unclear: ProcStat[] = [];
  for (const stat of all.values()) {
    if (leaders.has(stat.pid) || leaders.has(stat.pgid) || leaders.has(stat.session)) {
      ours.add(stat.pid);
      continue;
    }
    const environment = readText(`/proc/${stat.pid}/environ`);
    if (environment?.split('\0').includes(mark) === true) ours.add(stat.pid);
    else if (environment === null && (orphaned.has(stat.pgid) || orphaned.has(stat.session))) unclear.push(stat);
  }
  addDescendants(ours, all);
  return {
    ours: [...ours].filter((pid) => !spared.has(pid)).flatMap((pid) => all.get(pid) ?? []),
    unclear: unclear.filter((stat) => !ours.has(stat.pid)),
  };
}

function addDescendants(ours: Set<number>, all: ReadonlyMap<number, ProcStat>): void {
  for (let before = -1; before !== ours.size;) {
    before = ours.size;
    for (const stat of all.values()) if (ours.has(stat.ppid)) ours.add(stat.pid);
  }
}

/** A start that was made from within a worker of the predecessor must not end itself. */
function selfAndAncestors(all: ReadonlyMap<number, ProcStat>): Set<number> {
  const spared = new Set<number>();
  for (let pid = process.pid; pid > 0 && !spared.has(pid); pid = all.get(pid)?.ppid ?? 0) spared.add(pid);
  return spared;
}

function identityOf(stat: ProcStat): string {
  return `${stat.pid} ${stat.startTimeTicks}`;
}

/** Whether there was something to kill. */
function kill(pid: number): boolean {
  try {
    process.kill(pid, 'SIGKILL');
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function removeStale(runtime: string): string[] {
  const info = readMasterInfo(runtime);
  if (info !== null && isAlive(info)) return [];
  const isOurs = (stat: Stats): boolean => stat.isFile() || stat.isSocket() || stat.isSymbolicLink();
  return [pidFileName, masterInfoName, controlSocketName]
    .map((name) => join(runtime, name))
    .filter((path) => removeIf(path, isOurs));
}

function removeIf(path: string, wanted: (stat: Stats) => boolean): boolean {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined || !wanted(stat)) return false;
  rmSync(path, { force: true });
  return true;
}

/** Blocks this thread. */
function sleep(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}
