/**
 * Where the cgroups of this process are in the file system: from its own one up to the outermost that can be seen. Pure.
 *
 * Rules (cgroups(7), proc(5), Documentation/admin-guide/cgroup-v2.rst)
 * - A controller is in one hierarchy only: that of v1 that /proc/self/cgroup names it in, else that of v2 (`0::`). So a hybrid
 *   host needs no case of its own.
 * - A mount may begin at a cgroup below the root (the `root` field of mountinfo): in a container without a cgroup namespace the
 *   path is that of the host, and what is above the mount cannot be seen.
 * - Where no mount has the path below it, the mount itself is all that there is to look at, as in a container whose paths are
 *   told by another namespace. A path that leads out of the namespace (`/../x`) is nowhere.
 */

/** A mounted hierarchy, or a part of one. */
export interface CgroupMount {
  readonly version: 1 | 2;
  /** Of v1; [] for v2. */
  readonly controllers: readonly string[];
  /** The cgroup that is mounted there. */
  readonly root: string;
  readonly at: string;
}

/** One cgroup: its path as the kernel names it, and where its files are. */
export interface CgroupLevel {
  readonly version: 1 | 2;
  readonly path: string;
  readonly directory: string;
}

/** The cgroup hierarchies in the text of /proc/PID/mountinfo: fields 4 and 5, and after ` - ` type and options. */
export function parseCgroupMounts(mountinfo: string): readonly CgroupMount[] {
  const mounts: CgroupMount[] = [];
  for (const line of mountinfo.split('\n')) {
    const end = line.indexOf(' - cgroup');
    if (end < 0) continue;
    const [, , , root = '/', at = ''] = line.slice(0, end).split(' ', 5);
    const [type, , options = ''] = line.slice(end + 3).split(' ');
    const controllers = type === 'cgroup2' ? [] : options.split(',');
    mounts.push({ version: type === 'cgroup2' ? 2 : 1, controllers, root: unescaped(root), at: unescaped(at) });
  }
  return mounts;
}

/**
 * The cgroups that a controller counts this process in, its own first, then those above it; [] when there are none to be seen.
 * @param cgroups the text of /proc/self/cgroup
 * @param controller a controller, or null for the hierarchy of v2
 */
export function levelsOf(
  controller: string | null,
  cgroups: string,
  mounts: readonly CgroupMount[],
): readonly CgroupLevel[] {
  const found = membershipOf(controller, cgroups);
  if (found === null || found.path === '/..' || found.path.startsWith('/../')) return [];
  const { version, path } = found;
  let [best, last]: [CgroupMount | null, CgroupMount | null] = [null, null];
  for (const mount of mounts) {
    if (mount.version !== version || (version === 1 && !mount.controllers.includes(controller ?? ''))) continue;
    last = mount;
    // The one that shows most of what is above; of two at the same place the later one hides the earlier.
    if (isBelow(path, mount.root) && (best === null || mount.root.length <= best.root.length)) best = mount;
  }
  if (best !== null) return upwards(best, path);
  return last === null ? [] : [{ version, path: last.root, directory: last.at }];
}

function membershipOf(controller: string | null, cgroups: string): Pick<CgroupLevel, 'version' | 'path'> | null {
  let unified: string | null = null;
  for (const line of cgroups.split('\n')) {
    // ID:controllers:path; the path may hold colons
    const first = line.indexOf(':');
    const second = line.indexOf(':', first + 1);
    if (first < 0 || second < 0) continue;
    const [controllers, path] = [line.slice(first + 1, second), line.slice(second + 1)];
    if (controllers === '') unified = path;
    else if (controller !== null && controllers.split(',').includes(controller)) return { version: 1, path };
  }
  return unified === null ? null : { version: 2, path: unified };
}

function upwards({ version, root, at }: CgroupMount, path: string): CgroupLevel[] {
  const below = root === '/' ? path : path.slice(root.length);
  const names = below.split('/').filter((name) => name !== '');
  const levels: CgroupLevel[] = [];
  for (let depth = names.length; depth >= 0; depth--) {
    const part = names.slice(0, depth).map((name) => `/${name}`);
    const own = `${root === '/' ? '' : root}${part.join('')}`;
    levels.push({ version, path: own === '' ? '/' : own, directory: `${at}${part.join('')}` });
  }
  return levels;
}

function isBelow(path: string, root: string): boolean {
  return root === '/' || path === root || path.startsWith(`${root}/`);
}

/** mountinfo writes a space, a tab, a line feed and a backslash as octal numbers. */
function unescaped(field: string): string {
  if (!field.includes('\\')) return field;
  return field.replace(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}
