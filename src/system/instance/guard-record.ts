/**
 * RUNTIME/workers: which processes a master has started, for a start that finds both master and guard killed. `hooks run` has
 * a record of its own, RUNTIME/hooks-run.PID.
 *
 *   = PID-STARTTICKS BOOTID   who wrote it, and in which boot: start times count from there
 *   + PID STARTTICKS          started
 *   - PID                     gone, with all it left behind
 *
 * Rules
 * - A line is one small append (some 5 us), so a kill at any moment leaves whole lines and at most one torn one at the end.
 * - It is written anew when most of it is about processes that are gone, so it stays small however often workers crash.
 * - A file that cannot be written is said once, and never stops the master.
 */
import { closeSync, openSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { readText, statOf } from '../procfs.ts';

export interface GuardRecord {
  add(pid: number, startTimeTicks: number): void;
  remove(pid: number): void;
  /** Takes the file away when nothing stands in it any more. */
  close(): void;
}

export interface RecordedProcess {
  readonly pid: number;
  readonly startTimeTicks: number;
}

export interface Recorded {
  /** Of whoever wrote it: the value of SUPERVISE_INSTANCE. */
  readonly instance: string;
  readonly processes: readonly RecordedProcess[];
}

export const recordName = 'workers';

/** Lines above this many are worth a new file, when four of five are about what is gone. */
const compactAbove = 1000;

/** Starts the file anew. `failed` hears at most once that it cannot be written. */
export function openRecord(path: string, instance: string, failed: (message: string) => void): GuardRecord {
  const live = new Map<number, string>();
  let fd: number | null = null;
  let lines = 0;

  const attempt = (write: () => void): void => {
    try {
      write();
    } catch (error) {
      fd = null;
      failed(
        `cannot write ${path}: ${(error as Error).message}; if this master and its guard are both killed, the next start will not find the workers`,
      );
    }
  };
  const rewrite = (): void =>
    attempt(() => {
      if (fd !== null) closeSync(fd);
      writeFileSync(`${path}.new`, [`= ${instance} ${bootId()}\n`, ...live.values()].join(''), { mode: 0o600 });
      renameSync(`${path}.new`, path);
      fd = openSync(path, 'a');
      lines = live.size;
    });
  const append = (line: string): void => {
    if (fd === null) return;
    const to = fd;
    attempt(() => writeSync(to, line));
    lines += 1;
    if (lines > compactAbove && lines > live.size * 5) rewrite();
  };
  rewrite();

  return {
    add(pid, startTimeTicks) {
      const line = `+ ${pid} ${startTimeTicks}\n`;
      live.set(pid, line);
      append(line);
    },
    remove(pid) {
      live.delete(pid);
      append(`- ${pid}\n`);
    },
    close() {
      if (fd !== null) closeSync(fd);
      fd = null;
      if (live.size === 0) rmSync(path, { force: true });
    },
  };
}

/** The records in a RUNTIME directory, absolute. */
export function recordsIn(runtime: string): string[] {
  return readdirSync(runtime)
    .filter((name) => name === recordName || /^hooks-run\.\d+$/.test(name))
    .map((name) => join(runtime, name));
}

/** Names this process for good, within this boot: its pid and its start time. */
export function ownInstance(): string {
  return `${process.pid}-${statOf(process.pid)?.startTimeTicks ?? Date.now()}`;
}

/** Whether whoever has this name still lives. */
export function instanceLives(instance: string): boolean {
  const [pid, ticks] = instance.split('-').map(Number);
  const stat = statOf(pid ?? 0);
  return stat !== null && stat.startTimeTicks === ticks && stat.state !== 'Z' && stat.state !== 'X';
}

/** What stands in a record of this boot; null when there is none, or it is of another boot: then nothing of it lives. */
export function readRecord(path: string): Recorded | null {
  let lines: string[];
  try {
    lines = readFileSync(path, 'utf8').split('\n');
  } catch {
    return null;
  }
  const [mark, instance, boot] = (lines[0] ?? '').split(' ');
  if (mark !== '=' || instance === undefined || boot !== bootId()) return null;
  const processes = new Map<number, RecordedProcess>();
  // The last piece is empty, or a line that was never finished.
  for (const line of lines.slice(1, -1)) {
    const [kind, pid, ticks] = line.split(' ');
    if (kind === '+') processes.set(Number(pid), { pid: Number(pid), startTimeTicks: Number(ticks) });
    else processes.delete(Number(pid));
  }
  return { instance, processes: [...processes.values()] };
}

function bootId(): string {
  return readText('/proc/sys/kernel/random/boot_id')?.trim() ?? 'unknown';
}
