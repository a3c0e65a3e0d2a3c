/**
 * Reads what the cgroups of this process leave it, and what they have used, now.
 *
 * Rules
 * - A limit holds for all below it: of all levels the smallest counts; of equal ones the outermost, which others use up as well.
 * - Where the cgroups are is found once, and again when /proc/self/cgroup says otherwise. The limits are read each time, so one that
 *   is changed counts at once. A file that is not there costs a look: a controller may be turned on while we live.
 * - memory.high is a limit: above it the kernel does not kill, it slows down, which is no better for a service.
 * - v1 tells the smallest limit of all levels above, also of those that cannot be seen from a container (hierarchical_memory_limit).
 * - Nothing here throws. A cgroup that cannot be read has no limit.
 */
import { existsSync } from 'node:fs';
import { readText } from '../procfs.ts';
import { levelsOf, parseCgroupMounts, type CgroupLevel, type CgroupMount } from './cgroup-tree.ts';
import { wholeNumber, quotaOfV1, quotaOfV2, valueIn } from './limit-texts.ts';

/** What holds at one level. */
export interface Limit {
  /** CPUs, or bytes. */
  readonly value: number;
  readonly level: CgroupLevel;
  /** The file that says so. */
  readonly file: string;
}

export class CgroupReader {
  readonly #root: string;
  /** Files that were not there when they were last wanted. */
  readonly #missing = new Set<string>();
  #cgroups: string | null = null;
  #mounts: readonly CgroupMount[] = [];
  /** By controller; null: the hierarchy of v2. */
  readonly #found = new Map<string | null, readonly CgroupLevel[]>();

  /** @param root where /proc and /sys are below: '' */
  constructor(root: string) {
    this.#root = root;
  }

  /** Sees whether the process was moved. To be called before what follows. */
  look(): void {
    const cgroups = readText(`${this.#root}/proc/self/cgroup`) ?? '';
    if (cgroups === this.#cgroups) return;
    this.#cgroups = cgroups;
    this.#missing.clear();
    this.#found.clear();
    this.#mounts = parseCgroupMounts(readText(`${this.#root}/proc/self/mountinfo`) ?? '');
  }

  /** In CPUs, with fractions; null: there is none. */
  cpuQuota(): Limit | null {
    return smallest(this.#levels('cpu'), (level) => {
      if (level.version === 2) return this.#limit(level, 'cpu.max', quotaOfV2);
      return this.#limit(level, 'cpu.cfs_quota_us', (quota) =>
        // Without a quota there is no need for the period.
        quota.startsWith('-') ? null : quotaOfV1(quota, this.#read(level, 'cpu.cfs_period_us') ?? ''),
      );
    });
  }

  /** In bytes; null: there is none. It may be more than the host has. */
  memoryLimit(): Limit | null {
    const levels = this.#levels('memory');
    const seen = smallest(levels, (level) => {
      if (level.version === 1) return this.#limit(level, 'memory.limit_in_bytes', wholeNumber);
      const [most, high] = ['memory.max', 'memory.high'].map((name) => this.#limit(level, name, wholeNumber));
      return lesser(most ?? null, high ?? null);
    });
    return lesser(seen, this.#unseenLimit(levels));
  }

  /** How many processes and threads there may be (pids.max, of v1 and v2); null: as many as one likes. */
  taskLimit(): Limit | null {
    return smallest(this.#levels('pids'), (level) => this.#limit(level, 'pids.max', wholeNumber));
  }

  /** Memory in use there, without what the kernel would give back (the working set); null: not known. */
  memoryUsed(level: CgroupLevel): number | null {
    const [usage, name] =
      level.version === 1 ? ['memory.usage_in_bytes', 'total_inactive_file'] : ['memory.current', 'inactive_file'];
    const used = wholeNumber(this.#read(level, usage) ?? '');
    const inactive = valueIn(this.#read(level, 'memory.stat') ?? '', name);
    return used === null || inactive === null ? null : Math.max(0, used - inactive);
  }

  /** CPU time that was used there since it was made, in microseconds; null: nobody counts it. */
  cpuUsedUs(level: CgroupLevel): number | null {
    if (level.version === 2) return this.#unifiedUsedUs(level);
    // The quota and the count are two controllers, which may be mounted apart: the same path is the same cgroup.
    const [counted, unified] = ['cpuacct', null].map((controller) =>
      this.#levels(controller).find(({ path }) => path === level.path),
    );
    const usedNs = counted === undefined ? null : wholeNumber(this.#read(counted, 'cpuacct.usage') ?? '');
    if (usedNs !== null) return usedNs / 1000;
    return unified === undefined ? null : this.#unifiedUsedUs(unified);
  }

  #unifiedUsedUs(level: CgroupLevel): number | null {
    return valueIn(this.#read(level, 'cpu.stat') ?? '', 'usage_usec');
  }

  #levels(controller: string | null): readonly CgroupLevel[] {
    const found = this.#found.get(controller) ?? levelsOf(controller, this.#cgroups ?? '', this.#mounts);
    this.#found.set(controller, found);
    return found;
  }

  #unseenLimit(levels: readonly CgroupLevel[]): Limit | null {
    const [own, top] = [levels[0], levels.at(-1)];
    // Above the root there is nothing.
    if (own?.version !== 1 || top === undefined || top.path === '/') return null;
    const value = valueIn(this.#read(own, 'memory.stat') ?? '', 'hierarchical_memory_limit');
    return value === null ? null : { value, level: top, file: `${own.directory}/memory.stat` };
  }

  #limit(level: CgroupLevel, name: string, parse: (text: string) => number | null): Limit | null {
    const value = parse(this.#read(level, name) ?? '');
    return value === null ? null : { value, level, file: `${level.directory}/${name}` };
  }

  #read(level: CgroupLevel, name: string): string | null {
    const path = `${this.#root}${level.directory}/${name}`;
    if (this.#missing.has(path) && !existsSync(path)) return null;
    const text = readText(path);
    if (text === null) this.#missing.add(path);
    else this.#missing.delete(path);
    return text;
  }
}

/** `levels`: from the inside out. */
function smallest(levels: readonly CgroupLevel[], limitOf: (level: CgroupLevel) => Limit | null): Limit | null {
  return levels.map(limitOf).reduce((best, limit) => lesser(limit, best), null);
}

/** Of equal ones the first. */
function lesser(one: Limit | null, other: Limit | null): Limit | null {
  if (one === null || other === null) return one ?? other;
  return one.value <= other.value ? one : other;
}
