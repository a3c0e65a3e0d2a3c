/**
 * Why a worker is in its state, in words: what an operator reads in `status`. A sentence says what happens next.
 */
import type { Exit, Cause } from './protocol.ts';
import { formatDuration } from './units.ts';
import type { Life } from './worker-machine.ts';

/** "exit code 1", "signal SIGKILL", "program cannot be executed: ..." */
export function describeExit(exit: Pick<Exit, 'code' | 'signal' | 'error'>): string {
  if (exit.error !== null) return exit.error;
  if (exit.signal !== null) return `signal ${exit.signal}`;
  if (exit.code !== null) return `exit code ${exit.code}`;
  return 'ended without a code';
}

/** A worker's state in words; null when the state says it all. */
export function reasonOf(life: Life, nowMs: number): string | null {
  const left = life.deadlineMs === null ? null : formatDuration(Math.max(0, Math.round(life.deadlineMs - nowMs)));
  switch (life.state) {
    case 'starting':
      return left === null ? null : `not ready yet; given up in ${left}`;
    case 'stopping':
    case 'killing':
      return endingInWords(life, left);
    case 'backoff':
      return `${howItEnded(life)}; ${life.lastExit === null ? 'first' : 'next'} start in ${left ?? '0s'}`;
    case 'failed':
      return left === null
        ? `${howItEnded(life)}; the restart policy starts it no more`
        : `${howItEnded(life)}; next trial in ${left}`;
    default:
      return null;
  }
}

function endingInWords(life: Life, left: string | null): string {
  const words: Partial<Record<Cause, string>> = { 'start-timeout': 'not ready in time', 'scale-down': 'scaled down' };
  const cause = life.ending?.cause ?? 'stop';
  return `${words[cause] ?? cause}${left === null ? '' : life.state === 'stopping' ? `; killed in ${left}` : '; killed, waiting for it to go'}`;
}

function howItEnded(life: Life): string {
  const past = life.lastExit;
  const { crashes } = life.row;
  // It has had no process yet: these are the crashes of the workers whose place it takes.
  if (past === null) return `takes over ${crashes} ${crashes === 1 ? 'crash' : 'crashes'} in a row`;
  const how = past.cause === 'start-timeout' ? 'not ready in time' : describeExit(past.exit);
  return crashes > 1 ? `${how}, ${crashes} crashes in a row` : how;
}
