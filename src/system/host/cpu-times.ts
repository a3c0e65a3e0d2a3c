/**
 * How busy the CPUs were, by /proc/stat (proc(5)). Pure. Waiting for a disk is not busy; time that a hypervisor took away is.
 */

export interface CpuTimes {
  readonly busy: number;
  readonly total: number;
}

/** The first line: all CPUs together. */
export function parseCpuTimes(procStat: string): CpuTimes | null {
  const line = procStat.slice(0, Math.max(0, procStat.indexOf('\n')));
  return line.startsWith('cpu ') ? timesIn(line) : null;
}

/** Some of the CPUs together; null when one of them has no line. */
export function timesOfCpus(procStat: string, cpus: readonly number[]): CpuTimes | null {
  const lines = new Map([...procStat.matchAll(/^cpu(\d+) .*$/gm)].map(([line, number]) => [Number(number), line]));
  let [busy, total] = [0, 0];
  for (const cpu of cpus) {
    const times = timesIn(lines.get(cpu) ?? '');
    if (times === null) return null;
    busy += times.busy;
    total += times.total;
  }
  return { busy, total };
}

/** user nice system idle iowait irq softirq steal; guest time is in user already. */
function timesIn(line: string): CpuTimes | null {
  const times = line.split(/\s+/).slice(1, 9).map(Number);
  if (times.length < 8 || !times.every(Number.isFinite)) return null;
  const total = times.reduce((sum, time) => sum + time, 0);
  return { total, busy: total - (times[3] ?? 0) - (times[4] ?? 0) };
}

/** Processes and threads started since boot; null when it does not say. */
export function parseForks(procStat: string | null): number | null {
  const forks = /^processes (\d+)$/m.exec(procStat ?? '')?.[1];
  return forks === undefined ? null : Number(forks);
}
