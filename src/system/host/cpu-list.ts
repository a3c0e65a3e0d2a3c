/** Which CPUs the threads of this process may run on. Pure. */

/** `0-2,8` -> [0, 1, 2, 8]; null when it is not such a list. */
export function parseCpuList(text: string): readonly number[] | null {
  const cpus: number[] = [];
  for (const part of text.trim().split(',')) {
    const [, first, last = first] = /^(\d+)(?:-(\d+))?$/.exec(part) ?? [];
    // No kernel has more than 8192 CPUs.
    if (first === undefined || Number(last) > 8191) return null;
    for (let cpu = Number(first); cpu <= Number(last); cpu++) cpus.push(cpu);
  }
  return cpus;
}

/**
 * The CPUs of the affinity mask that are online. The mask may name CPUs that do not exist (it does so where none was ever set), and
 * where /proc/stat is made up for a container (lxcfs) the numbers are others than those of the kernel: then the mask alone counts.
 * @param status the text of /proc/self/status
 * @param online the numbers of the CPUs that are online
 * @returns null when the mask is not told
 */
export function allowedCpus(status: string, online: readonly number[]): readonly number[] | null {
  const mask = parseCpuList(/^Cpus_allowed_list:\s*(\S+)$/m.exec(status)?.[1] ?? '');
  if (mask === null || mask.length === 0) return null;
  const known = new Set(online);
  const both = mask.filter((cpu) => known.has(cpu));
  return both.length === 0 ? mask : both;
}
