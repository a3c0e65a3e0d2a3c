/**
 * The CPU that a tree of processes used between two readings.
 *
 * | process                                   | counts with |
 * |-------------------------------------------|-------------|
 * | in both readings (same pid, same start)   | what it used in between |
 * | new, and started after the first reading  | all it has used: the children of a shell that live for a moment |
 * | new, but older                            | nothing yet: we do not know when it used it |
 * | gone                                      | what its parent has waited for since, less what was counted before |
 *
 * The last line is what makes a worker visible that starts a program per request: a program that came and went between
 * two readings is seen only in the times of its parent's waited-for children.
 */
import { tickMs } from '../procfs.ts';

export interface ProcessReading {
  readonly pid: number;
  /** With the pid, the identity of the process. */
  readonly startTimeTicks: number;
  /** Since its start. */
  readonly cpuMs: number;
  /** Of the children it has waited for. */
  readonly childMs: number;
}

export interface TreeReading {
  readonly leader: number;
  /** Of a clock that never goes back. */
  readonly atMs: number;
  /** The same moment in the clock of the start times. */
  readonly uptimeMs: number;
  readonly processes: ReadonlyMap<number, ProcessReading>;
}

/** 100 = one core busy; null when there is nothing to compare with: no earlier reading, or one of another process. */
export function cpuPercent(before: TreeReading | undefined, now: TreeReading): number | null {
  if (before === undefined || now.atMs <= before.atMs || !isSameLeader(before, now)) return null;
  let usedMs = 0;
  let waitedForMs = 0;
  for (const process of now.processes.values()) {
    const known = sameProcess(before, process);
    if (known !== null) {
      usedMs += Math.max(0, process.cpuMs - known.cpuMs);
      waitedForMs += process.childMs - known.childMs;
    } else if (process.startTimeTicks * tickMs >= before.uptimeMs) {
      usedMs += process.cpuMs;
      waitedForMs += process.childMs;
    }
  }
  for (const process of before.processes.values()) {
    if (sameProcess(now, process) === null) waitedForMs -= process.cpuMs + process.childMs;
  }
  const percent = ((usedMs + Math.max(0, waitedForMs)) / (now.atMs - before.atMs)) * 100;
  return Math.round(percent * 10) / 10;
}

function isSameLeader(before: TreeReading, now: TreeReading): boolean {
  const leader = now.processes.get(now.leader);
  return leader !== undefined && before.leader === now.leader && sameProcess(before, leader) !== null;
}

function sameProcess(reading: TreeReading, process: ProcessReading): ProcessReading | null {
  const other = reading.processes.get(process.pid);
  return other !== undefined && other.startTimeTicks === process.startTimeTicks ? other : null;
}
