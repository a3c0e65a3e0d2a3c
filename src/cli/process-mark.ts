/**
 * Whether a process that we knew has ended. A pid alone does not say it: it may be reused, belong to another pid
 * namespace, or be a zombie that nobody has waited for. So the start time is remembered with it.
 */
import { readFileSync } from 'node:fs';

export interface ProcessMark {
  readonly pid: number;
  /** In clock ticks since boot; null where /proc is missing. */
  readonly startTicks: string | null;
}

/** null when there is no such process here (another pid namespace, or gone). */
export function markOf(pid: number): ProcessMark | null {
  const now = lookAt(pid);
  return now === 'gone' ? null : { pid, startTicks: now };
}

export function isGone({ pid, startTicks }: ProcessMark): boolean {
  const now = lookAt(pid);
  return now === 'gone' || now !== startTicks;
}

/** Its start time; null when it lives but that cannot be read. A zombie has ended. */
function lookAt(pid: number): string | null | 'gone' {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // the second field is the name in parentheses and may hold anything
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (fields[0] === 'Z' || fields[0] === 'X') return 'gone';
    return fields[19] ?? null;
  } catch {
    return isSignallable(pid) ? null : 'gone';
  }
}

function isSignallable(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
