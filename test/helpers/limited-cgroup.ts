/**
 * Real cgroups with limits, of v1 or v2, whichever has the controllers on this host: a parent with the limits, and below it a leaf
 * without any, where processes are put. Made by root only.
 */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { randomUUID } from 'node:crypto';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

export interface LimitedCgroup {
  /** Where a process in the leaf writes its pid to get there, one file for each hierarchy. */
  readonly procs: readonly string[];
  /** The files of the parent that set its limits, as the kernel names them. */
  readonly cpuFile: string;
  readonly memoryFile: string;
  /** How often something wanted more memory than there is; of v2 how often that was not to be had. */
  failures(): number;
  setCpus(cpus: number | null): void;
  setMemory(bytes: number | null): void;
}

const v1 = '/sys/fs/cgroup';
const periodUs = 100_000;

/** Removed when the test ends, with what lives in it then. The test is skipped where there is no way to have one. */
export function limitedCgroup(t: TestContext): LimitedCgroup | null {
  try {
    if (existsSync(`${v1}/cpu/cpu.cfs_quota_us`) && existsSync(`${v1}/memory/memory.limit_in_bytes`))
      return madeOfV1(t);
    const controllers = existsSync(`${v1}/cgroup.subtree_control`)
      ? readFileSync(`${v1}/cgroup.subtree_control`, 'utf8')
      : '';
    if (/\bcpu\b/.test(controllers) && /\bmemory\b/.test(controllers)) return madeOfV2(t);
  } catch {
    // Not root, or a container that may not.
  }
  t.skip('no cgroup with a quota and a memory limit can be made here');
  return null;
}

const newName = () => `supervise-test-${randomUUID().slice(0, 8)}`;

function madeOfV1(t: TestContext): LimitedCgroup {
  const name = newName();
  const [cpu, account, memory] = ['cpu', 'cpuacct', 'memory'].map((controller) => `${v1}/${controller}/${name}`) as [
    string,
    string,
    string,
  ];
  // Where both are mounted together, the second is there already.
  const parents = [...new Set([cpu, ...(existsSync(`${cpu}/cpuacct.usage`) ? [] : [account]), memory])];
  for (const parent of parents) make(t, parent);
  return {
    procs: parents.map((parent) => `${parent}/leaf/cgroup.procs`),
    cpuFile: `${cpu}/cpu.cfs_quota_us`,
    memoryFile: `${memory}/memory.limit_in_bytes`,
    failures: () => Number(readFileSync(`${memory}/memory.failcnt`, 'utf8')),
    setCpus(cpus) {
      writeFileSync(`${cpu}/cpu.cfs_period_us`, String(periodUs));
      writeFileSync(`${cpu}/cpu.cfs_quota_us`, cpus === null ? '-1' : String(cpus * periodUs));
    },
    setMemory: (bytes) => writeFileSync(`${memory}/memory.limit_in_bytes`, String(bytes ?? -1)),
  };
}

function madeOfV2(t: TestContext): LimitedCgroup {
  const parent = `${v1}/${newName()}`;
  make(t, parent);
  return {
    procs: [`${parent}/leaf/cgroup.procs`],
    cpuFile: `${parent}/cpu.max`,
    memoryFile: `${parent}/memory.max`,
    failures: () => Number(/^max (\d+)/m.exec(readFileSync(`${parent}/memory.events`, 'utf8'))?.[1]),
    setCpus: (cpus) => writeFileSync(`${parent}/cpu.max`, `${cpus === null ? 'max' : cpus * periodUs} ${periodUs}`),
    setMemory: (bytes) => writeFileSync(`${parent}/memory.max`, String(bytes ?? 'max')),
  };
}

function make(t: TestContext, parent: string): void {
  mkdirSync(`${parent}/leaf`, { recursive: true });
  t.after(async () => {
    await removed(`${parent}/leaf`);
    await removed(parent);
  });
}

/** Kills what lives there. A cgroup can be removed some moments after its last process was. */
async function removed(directory: string): Promise<void> {
  for (let round = 0; round < 100; round++) {
    try {
      for (const pid of readFileSync(`${directory}/cgroup.procs`, 'utf8').split('\n').filter(Boolean))
        process.kill(Number(pid), 'SIGKILL');
      rmdirSync(directory);
      return;
    } catch {
      await sleep(50);
    }
  }
  throw new Error(`still in ${directory}: ${readFileSync(`${directory}/cgroup.procs`, 'utf8').trim()}`);
}

/** The words that run the words behind them in these cgroups (their files cgroup.procs), in its own process. */
export function inCgroup(procs: readonly string[]): readonly string[] {
  return ['/bin/sh', '-c', `${procs.map((file) => `echo $$ > ${file} && `).join('')}exec "$0" "$@"`];
}
