/**
 * The kernel's own word that it has killed a process for want of memory: /dev/kmsg (Documentation/ABI/testing/dev-kmsg).
 *
 *   6,991,16219643951,-;oom-kill:constraint=...,task_memcg=/x,task=python3,pid=8237,uid=0
 *   3,992,16219643962,-;Memory cgroup out of memory: Killed process 8237 (python3) total-vm:990516kB, anon-rss:30464kB, ...
 *
 * Rules
 * - Usable for root (or with dmesg_restrict 0) in the initial pid namespace only: elsewhere its pids mean other processes.
 * - Read when it is asked for, never before, and without waiting. The first time all that the ring holds is read (5 to 10 us
 *   a record), later only what is new.
 * - Only lines of the kernel count (facility 0, a prefix below 8): root can write others into it.
 */
import { closeSync, constants, openSync, readlinkSync, readSync } from 'node:fs';

export interface OomKill {
  readonly pid: number;
  /** Since boot, of the kernel's own clock: near CLOCK_MONOTONIC, never exactly. */
  readonly atMs: number;
  /** Without its sizes of lesser interest. */
  readonly text: string;
  /** The memory cgroup that it was in; null: not told. */
  readonly cgroup: string | null;
}

/** The inode of the pid namespace that the kernel has started with (PROC_PID_INIT_INO). */
const initialPids = 'pid:[4026531836]';
/** Enough for one record; a smaller buffer is refused (EINVAL). */
const recordBytes = 8192;
/** A ring that fills faster than it is read must not hold us up. */
const mostRecords = 100_000;
const keptKills = 1_000;

export class KernelLog {
  readonly #path: string;
  readonly #isOurs: boolean;
  /** null: it cannot be read. */
  #fd: number | null | undefined;
  readonly #kills: OomKill[] = [];
  readonly #cgroups = new Map<number, string>();
  #forgotten = 0;

  /** `path` and `pids` (whose pids it speaks of) are another one for tests. */
  constructor(path = '/dev/kmsg', pids = pidNamespace()) {
    this.#path = path;
    this.#isOurs = pids === initialPids;
  }

  /** Whether what it does not tell has not happened. */
  get isUsable(): boolean {
    if (this.#fd === undefined) this.#fd = this.#isOurs ? openOrNull(this.#path) : null;
    return this.#fd !== null;
  }

  /** How many kills were read so far. */
  get count(): number {
    return this.#forgotten + this.#kills.length;
  }

  /** The kills from number `from` on, newest first; it reads on. */
  killsSince(from: number): readonly OomKill[] {
    if (this.isUsable) this.#readOn();
    return this.#kills.slice(Math.max(0, from - this.#forgotten)).toReversed();
  }

  close(): void {
    if (typeof this.#fd === 'number') closeSync(this.#fd);
    this.#fd = null;
  }

  #readOn(): void {
    const buffer = Buffer.allocUnsafe(recordBytes);
    for (let n = 0; n < mostRecords; n++) {
      try {
        const bytes = readSync(this.#fd ?? -1, buffer);
        if (bytes === 0) return;
        for (const line of buffer.toString('latin1', 0, bytes).split('\n')) this.#take(line);
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        // EPIPE: records were overwritten before they were read; it goes on with the oldest that is left.
        if (code === 'EPIPE') continue;
        if (code !== 'EAGAIN' && code !== 'EINTR') this.close();
        return;
      }
    }
  }

  #take(line: string): void {
    const place = /^[0-7],\d+,\d+,[^;]*;oom-kill:.*task_memcg=([^,]*),task=.*,pid=(\d+),uid=\d+$/.exec(line);
    if (place !== null) this.#cgroups.set(Number(place[2]), place[1] ?? '');
    const kill = parseKill(line);
    if (kill === null) return;
    this.#kills.push({ ...kill, cgroup: this.#cgroups.get(kill.pid) ?? null });
    this.#cgroups.delete(kill.pid);
    if (this.#kills.length <= keptKills) return;
    this.#kills.shift();
    this.#forgotten++;
  }
}

/** A record of /dev/kmsg that tells of a kill; null for every other. Kernels from 4.x on word it so. */
export function parseKill(line: string): Omit<OomKill, 'cgroup'> | null {
  const found = /^[0-7],\d+,(\d+),[^;]*;((?:[\w ()]+: )?Killed process (\d+)\b.*)$/.exec(line);
  if (found === null) return null;
  const [, atUs, text = '', pid] = found;
  return { pid: Number(pid), atMs: Number(atUs) / 1000, text: text.replace(/, (?:file-rss|UID):.*$/, '') };
}

function openOrNull(path: string): number | null {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch {
    return null;
  }
}

function pidNamespace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid');
  } catch {
    return 'unknown';
  }
}
