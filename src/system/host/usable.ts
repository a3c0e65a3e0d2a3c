/**
 * The CPUs and the memory that this process, and what it starts, may use: the host's, its affinity, and its cgroups of v1 and v2.
 *
 * Rules
 * - CPUs: those of the affinity mask (cpusets are in it) that are online; a quota below that number is what may be used.
 * - Memory: what the host has; a limit below that is what may be used.
 * - Node's own answers do not serve. availableParallelism() does not know of quotas before Node 22, drops or rounds down their fractions
 *   since, and never knows those of v1; constrainedMemory() sees the own cgroup only. It is asked where /proc tells no affinity.
 * - A reading is some ten small files: the first takes 1 ms, most of it for code that runs for the first time, each later one 0.1 ms.
 *   So it is made anew each time, and follows every change.
 */
import { availableParallelism, freemem, totalmem } from 'node:os';
import { formatBytes } from '../../core/units.ts';
import type { Usable, UsableHost } from '../../ports.ts';
import { readText } from '../procfs.ts';
import { CgroupReader, type Limit } from './cgroup-reader.ts';
import { allowedCpus, parseCpuList } from './cpu-list.ts';
import { valueIn } from './limit-texts.ts';

export interface Reading extends Usable {
  /** The CPUs that threads may run on; null: they are not told, and `wholeCpus` is what Node says. */
  readonly allowed: readonly number[] | null;
  readonly wholeCpus: number;
  /** That sets `cpus`; null: no quota does. */
  readonly quota: Limit | null;
  /** That sets `memoryBytes`; null: no limit does. */
  readonly limit: Limit | null;
  /** Memory of the host that is free, or that the kernel would give back. */
  readonly hostFreeBytes: number;
}

/** A reader that remembers where the files are. Without an argument it reads this machine; tests give the root of another one. */
export class UsableReader {
  readonly cgroups: CgroupReader;
  readonly #root: string;

  constructor(root = '') {
    this.#root = root;
    this.cgroups = new CgroupReader(root);
  }

  /** Never throws. */
  read(): Reading {
    this.cgroups.look();
    return { ...this.#readCpus(), ...this.#readMemory() };
  }

  #readCpus(): Pick<Reading, 'allowed' | 'wholeCpus' | 'quota' | 'cpus' | 'cpuSource'> {
    // A tenth of what /proc/stat costs, which tells the same.
    const online = parseCpuList(this.#text('/sys/devices/system/cpu/online')) ?? [];
    const allowed = allowedCpus(this.#text('/proc/self/status'), online);
    const wholeCpus = allowed?.length ?? availableParallelism();
    const quota = this.cgroups.cpuQuota();
    if (quota !== null && quota.value < wholeCpus) {
      const cpus = rounded(quota.value);
      const cpuSource = `cgroup quota of ${counted(cpus)} (${quota.file})`;
      return { allowed, wholeCpus, quota, cpus, cpuSource };
    }
    const all = Math.max(online.length, wholeCpus);
    const cpuSource =
      wholeCpus < all
        ? `affinity to ${wholeCpus} of ${counted(all)} (/proc/self/status)`
        : `${counted(wholeCpus)} online`;
    return { allowed, wholeCpus, quota: null, cpus: wholeCpus, cpuSource };
  }

  #readMemory(): Pick<Reading, 'limit' | 'memoryBytes' | 'memorySource' | 'hostFreeBytes'> {
    const meminfo = this.#text('/proc/meminfo');
    const hostBytes = kilobytesIn(meminfo, 'MemTotal') ?? totalmem();
    const hostFreeBytes = kilobytesIn(meminfo, 'MemAvailable') ?? freemem();
    const limit = this.cgroups.memoryLimit();
    if (limit === null || limit.value >= hostBytes)
      return { limit: null, memoryBytes: hostBytes, memorySource: 'memory of the host', hostFreeBytes };
    const memorySource = `cgroup limit of ${formatBytes(limit.value)} (${limit.file})`;
    return { limit, memoryBytes: limit.value, memorySource, hostFreeBytes };
  }

  #text(path: string): string {
    return readText(`${this.#root}${path}`) ?? '';
  }
}

/** A value of /proc/meminfo, in bytes. */
function kilobytesIn(meminfo: string, name: string): number | null {
  const kilobytes = valueIn(meminfo, `${name}:`);
  return kilobytes === null ? null : kilobytes * 1024;
}

/** Synchronous, and cheap enough for the start of a master. */
export function createUsableHost(reader = new UsableReader()): UsableHost {
  return { usable: () => usableResources(reader) };
}

/** What may be used now. */
export function usableResources(reader = new UsableReader()): Usable {
  const { cpus, cpuSource, memoryBytes, memorySource } = reader.read();
  return { cpus, cpuSource, memoryBytes, memorySource };
}

/** A third of a CPU is 0.333. */
function rounded(cpus: number): number {
  return Math.max(0.001, Math.round(cpus * 1000) / 1000);
}

function counted(cpus: number): string {
  return `${cpus} ${cpus === 1 ? 'CPU' : 'CPUs'}`;
}
