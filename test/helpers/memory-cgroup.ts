/**
 * A memory cgroup with a limit that a test may use up: of v1 or v2, whichever has the memory controller of this host. Made
 * by root only; `null` with the reason where it cannot be made.
 */
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { randomUUID } from 'node:crypto';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

export interface SmallCgroup {
  /** As the kernel names it. */
  readonly path: string;
  /** Where a process writes its pid to move there. */
  readonly procs: string;
}

const limitBytes = 48 * 1024 * 1024;
const roots = [
  { directory: '/sys/fs/cgroup/memory', limit: 'memory.limit_in_bytes' },
  { directory: '/sys/fs/cgroup', limit: 'memory.max' },
];

/** Removed when the test ends; by then nothing may live in it. The test is skipped where there is no way to have one. */
export function smallCgroup(t: TestContext): SmallCgroup | null {
  for (const { directory, limit } of roots) {
    const own = `${directory}/supervise-test-${randomUUID().slice(0, 8)}`;
    try {
      mkdirSync(own);
    } catch {
      continue;
    }
    t.after(() => removed(own));
    try {
      writeFileSync(`${own}/${limit}`, String(limitBytes));
      return { path: `/${basename(own)}`, procs: `${own}/cgroup.procs` };
    } catch {
      // No memory controller here.
    }
  }
  t.skip('no memory cgroup can be made here (not root, or no memory controller)');
  return null;
}

/** A cgroup can be removed some moments after its last process was. */
async function removed(directory: string): Promise<void> {
  for (let round = 0; round < 100; round++) {
    try {
      rmdirSync(directory);
      return;
    } catch {
      await sleep(50);
    }
  }
  throw new Error(`still in ${directory}: ${readFileSync(`${directory}/cgroup.procs`, 'utf8').trim()}`);
}

/** A shell command that moves into the cgroup, waits for a line on its stdin (`wait`) and then takes more than the limit. */
export function hungry({ procs }: SmallCgroup, wait: 'stdin' | 'none' = 'none'): string {
  const program = `${wait === 'stdin' ? 'import sys; print("up", flush=True); sys.stdin.readline(); ' : ''}x = bytearray(10**9)`;
  return `echo $$ > ${procs}; exec /usr/bin/python3 -c '${program}'`;
}
