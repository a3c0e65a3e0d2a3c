/**
 * The memory cgroup of a process, and how often the kernel has killed in it for want of memory.
 *
 * | | which cgroup | the counter |
 * | --- | --- | --- |
 * | v2 | `0::/path`, or the nearest above it with a memory controller | `oom_kill` of memory.events.local (before Linux 5.2: memory.events) |
 * | v1 | `N:memory:/path` | `oom_kill` of memory.oom_control |
 *
 * (Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst.) Where the hierarchy is mounted, and from which cgroup
 * on, is in /proc/self/mountinfo: in a container without a cgroup namespace the path is that of the host.
 */
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { parseCgroupMounts, type CgroupMount } from '../host/cgroup-tree.ts';
import { readText } from '../procfs.ts';

export interface MemoryCgroup {
  /** As /proc/PID/cgroup names it. */
  readonly path: string;
  /** The file with the counter. */
  readonly file: string;
}

type Mount = Omit<CgroupMount, 'controllers'>;

let ownMounts: readonly Mount[] | null = null;

/** null: it is gone, or there is no memory cgroup with a counter to be seen from here. */
export function memoryCgroupOf(pid: number): MemoryCgroup | null {
  ownMounts ??= parseMounts(readText('/proc/self/mountinfo') ?? '');
  return memoryCgroupIn(readText(`/proc/${pid}/cgroup`) ?? '', ownMounts);
}

/** By the text of /proc/PID/cgroup. The first of v1 counts: a controller is in one hierarchy only. */
export function memoryCgroupIn(cgroups: string, mounts: readonly Mount[]): MemoryCgroup | null {
  const v1 = /^\d+:(?:[^:\n]*,)?memory(?:,[^:\n]*)?:(.*)$/m.exec(cgroups)?.[1];
  if (v1 !== undefined) return counterOf(v1, 1, mounts);
  const v2 = /^0::(.*)$/m.exec(cgroups)?.[1];
  return v2 === undefined ? null : counterOf(v2, 2, mounts);
}

function counterOf(path: string, version: 1 | 2, mounts: readonly Mount[]): MemoryCgroup | null {
  const mount = mounts.find((one) => one.version === version && isBelow(path, one.root));
  if (mount === undefined) return null;
  const files = version === 1 ? ['memory.oom_control'] : ['memory.events.local', 'memory.events'];
  let directory = `${mount.at}${mount.root === '/' ? path : path.slice(mount.root.length)}`.replace(/\/$/, '');
  for (; directory.length >= mount.at.length; directory = dirname(directory)) {
    const file = files.map((name) => `${directory}/${name}`).find((one) => existsSync(one));
    if (file !== undefined) return { path, file };
    if (version === 1) return null;
  }
  return null;
}

function isBelow(path: string, root: string): boolean {
  return root === '/' || path === root || path.startsWith(`${root}/`);
}

/** How often the kernel has killed there since the cgroup was made; null: it is gone, or a kernel before 4.13. */
export function oomKillsOf({ file }: MemoryCgroup): number | null {
  const count = /^oom_kill (\d+)$/m.exec(readText(file) ?? '')?.[1];
  return count === undefined ? null : Number(count);
}

/** The memory hierarchies in the text of /proc/PID/mountinfo. */
export function parseMounts(mountinfo: string): readonly Mount[] {
  return parseCgroupMounts(mountinfo)
    .filter(({ version, controllers }) => version === 2 || controllers.includes('memory'))
    .map(({ version, root, at }) => ({ version, root, at }));
}
