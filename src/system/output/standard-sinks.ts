/**
 * The master's stdout and stderr as sinks. Where both lead to the same place (`2>&1`, a terminal, the journal) they are
 * one sink, or the lines of the two would cut each other. With a log file both go there.
 *
 * Nothing else in the master may touch process.stdout, process.stderr or console: those write synchronously.
 */
import fs from 'node:fs';
import type { Loss } from './gap.ts';
import { plainGapLine, Sink, type SinkLimits } from './sink.ts';
import { openFileTarget, openTarget } from './sink-target.ts';

export interface StandardSinks {
  readonly out: Sink;
  readonly err: Sink;
}

export interface StandardSinkOptions extends SinkLimits {
  /** Absolute; the file is made with mode 0600 and appended to. */
  readonly logFile?: string | null;
  readonly onLoss?: (loss: Loss) => void;
}

/** @throws what open(2) says about logFile */
export function openStandardSinks(options: StandardSinkOptions = {}): StandardSinks {
  const { logFile, ...rest } = options;
  if (logFile != null) {
    const sink = new Sink({ ...rest, name: logFile, target: openFileTarget(logFile), gapLine: jsonGapLine });
    return { out: sink, err: sink };
  }
  const open = (fd: number, name: string): Sink => {
    const target = openTarget(fd);
    return new Sink({ ...rest, name, target, gapLine: target.kind === 'tty' ? plainGapLine : jsonGapLine });
  };
  if (isSameFile(1, 2)) {
    const both = open(1, 'stdout and stderr');
    return { out: both, err: both };
  }
  return { out: open(1, 'stdout'), err: open(2, 'stderr') };
}

/** The gap as a line among JSON lines: a warning of pino's form (level 40). */
export function jsonGapLine(lines: number, reason: string): string {
  const msg = plainGapLine(lines, reason).trimEnd();
  return `${JSON.stringify({ level: 40, time: new Date().toISOString(), msg, lostLines: lines })}\n`;
}

function isSameFile(one: number, other: number): boolean {
  try {
    const [first, second] = [fs.fstatSync(one), fs.fstatSync(other)];
    return first.dev === second.dev && first.ino === second.ino;
  } catch {
    return false;
  }
}
