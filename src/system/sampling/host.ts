/**
 * CPU and memory of the whole host.
 *
 * Rules
 * - cpuUtilisation is the busy share of all CPUs since the sample before: null at the first one. Waiting for a disk is
 *   not busy; time that a hypervisor took away is.
 * - Memory that the kernel would give back (caches) counts as free: MemAvailable. Elsewhere (macOS) os.freemem() has to do.
 */
import { availableParallelism, cpus, freemem, totalmem } from 'node:os';
import type { HostSample } from '../../core/protocol.ts';
import { readText } from '../procfs.ts';

interface CpuTimes {
  readonly busy: number;
  readonly total: number;
}

/** A reader that remembers its last sample. It is given the text of /proc/stat; null where there is none. */
export function createHostReader(): (procStat: string | null) => HostSample {
  let before: CpuTimes | null = null;
  return (procStat) => {
    const now = parseCpuTimes(procStat ?? '') ?? osCpuTimes();
    const cpuUtilisation = before === null ? null : shareBetween(before, now);
    before = now;
    const cpus = availableParallelism();
    return { cpus, usableCpus: cpus, cpuSource: `${cpus} CPUs online`, cpuUtilisation, ...memory() };
  };
}

function shareBetween(before: CpuTimes, now: CpuTimes): number | null {
  const total = now.total - before.total;
  if (total <= 0) return null;
  // The kernel lets iowait go back at times.
  return rounded(Math.min(1, Math.max(0, (now.busy - before.busy) / total)));
}

/** Processes and threads started since boot, by the text of /proc/stat; null when it does not say. */
export function parseForks(procStat: string | null): number | null {
  const forks = /^processes (\d+)$/m.exec(procStat ?? '')?.[1];
  return forks === undefined ? null : Number(forks);
}

/** The first line of /proc/stat (proc(5)): user nice system idle iowait irq softirq steal; guest time is in user already. */
export function parseCpuTimes(procStat: string): CpuTimes | null {
  const line = procStat.slice(0, Math.max(0, procStat.indexOf('\n')));
  const times = line.split(/\s+/).slice(1, 9).map(Number);
  if (!line.startsWith('cpu ') || times.length < 8 || !times.every(Number.isFinite)) return null;
  const total = times.reduce((sum, time) => sum + time, 0);
  return { total, busy: total - (times[3] ?? 0) - (times[4] ?? 0) };
}

function osCpuTimes(): CpuTimes {
  let total = 0;
  let idle = 0;
  for (const { times } of cpus()) {
    total += times.user + times.nice + times.sys + times.idle + times.irq;
    idle += times.idle;
  }
  return { total, busy: total - idle };
}

function memory(): Pick<HostSample, 'memoryBytes' | 'memorySource' | 'memoryUtilisation'> {
  const text = readText('/proc/meminfo') ?? '';
  const totalKb = kilobytes(text, 'MemTotal');
  const availableKb = kilobytes(text, 'MemAvailable');
  if (totalKb === null || availableKb === null) {
    return {
      memoryBytes: totalmem(),
      memorySource: 'memory of the host',
      memoryUtilisation: rounded(1 - freemem() / totalmem()),
    };
  }
  return {
    memoryBytes: totalKb * 1024,
    memorySource: 'memory of the host',
    memoryUtilisation: rounded(1 - availableKb / totalKb),
  };
}

function kilobytes(meminfo: string, name: string): number | null {
  const found = new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(meminfo)?.[1];
  return found === undefined ? null : Number(found);
}

function rounded(share: number): number {
  return Math.round(share * 10_000) / 10_000;
}
