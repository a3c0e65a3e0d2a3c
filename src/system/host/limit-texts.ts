/**
 * What the files of a cgroup say about its limits, as numbers. null: no limit, or no number. Pure.
 *
 * "No limit" is written as `max` (v2), as -1 (a quota of v1), or as the greatest number of pages (memory of v1: some 2^63, another one
 * for each page size). A memory limit above what the host has is none either: the caller, who knows the host, sees to that.
 */

/** cpu.max: `150000 100000` are 1.5 CPUs. */
export function quotaOfV2(cpuMax: string): number | null {
  const [quota = '', period = ''] = cpuMax.trim().split(/\s+/);
  return cpus(quota, period);
}

/** cpu.cfs_quota_us and cpu.cfs_period_us. */
export function quotaOfV1(quotaUs: string, periodUs: string): number | null {
  return cpus(quotaUs.trim(), periodUs.trim());
}

function cpus(quotaUs: string, periodUs: string): number | null {
  const [quota, period] = [positive(quotaUs), positive(periodUs)];
  return quota === null || period === null ? null : quota / period;
}

/** memory.max, memory.high, memory.limit_in_bytes, pids.max. 0 is a limit: nothing may be used. */
export function wholeNumber(text: string): number | null {
  return /^\d+\s*$/.test(text) ? Number(text) : null;
}

/** A line of a file such as memory.stat or cpu.stat: `name number`; of /proc/meminfo: `name: number kB`. */
export function valueIn(text: string, name: string): number | null {
  const at = text.startsWith(`${name} `) ? 0 : text.indexOf(`\n${name} `) + 1;
  if (at === 0 && !text.startsWith(`${name} `)) return null;
  const value = Number.parseInt(text.slice(at + name.length), 10);
  return Number.isNaN(value) ? null : value;
}

function positive(text: string): number | null {
  return /^[1-9]\d*$/.test(text) ? Number(text) : null;
}
