/**
 * How much of the usable CPUs and memory is in use.
 *
 * | what sets the CPUs | their use |
 * | --- | --- |
 * | a quota | the CPU time of the cgroup that has it, of the quota; null where nobody counts that (v1 without cpuacct) |
 * | affinity | the busy share of these CPUs |
 * | neither | the busy share of all CPUs of the host |
 *
 * Rules
 * - CPU is what was used since the sample before: null at the first one, and at the first one after what sets it has changed.
 * - Memory that the kernel would give back (caches) counts as free: MemAvailable of the host, the working set of a cgroup with a limit.
 *   Elsewhere (macOS) os.freemem() has to do.
 */
import { cpus } from 'node:os';
import type { HostSample } from '../../core/protocol.ts';
import { parseCpuTimes, timesOfCpus, type CpuTimes } from './cpu-times.ts';
import { UsableReader, type Reading } from './usable.ts';

/** Used and possible CPU time so far, of what `of` names. */
interface CpuReading extends CpuTimes {
  readonly of: string;
}

/** A reader that remembers its last sample. It is given the text of /proc/stat; null where there is none. */
export function createHostReader(reader = new UsableReader()): (procStat: string | null) => HostSample {
  let before: CpuReading | null = null;
  return (procStat) => {
    const reading = reader.read();
    const now = cpuReading(reader, reading, procStat ?? '');
    const cpuUtilisation = before === null || now === null ? null : shareBetween(before, now);
    before = now;
    const { wholeCpus, cpus: usableCpus, cpuSource, memoryBytes, memorySource } = reading;
    const memoryUtilisation = memoryShare(reader, reading);
    return { cpus: wholeCpus, usableCpus, cpuSource, cpuUtilisation, memoryBytes, memorySource, memoryUtilisation };
  };
}

function cpuReading(reader: UsableReader, { quota, allowed }: Reading, procStat: string): CpuReading | null {
  if (quota !== null) {
    const usedUs = reader.cgroups.cpuUsedUs(quota.level);
    const of = `${quota.file} ${quota.value}`;
    return usedUs === null ? null : { of, busy: usedUs, total: performance.now() * 1000 * quota.value };
  }
  const some = allowed === null ? null : timesOfCpus(procStat, allowed);
  if (allowed !== null && some !== null) return { of: `cpu ${allowed.join(',')}`, ...some };
  return { of: 'cpu', ...(parseCpuTimes(procStat) ?? osCpuTimes()) };
}

function shareBetween(before: CpuReading, now: CpuReading): number | null {
  const total = now.total - before.total;
  if (total <= 0 || before.of !== now.of) return null;
  // The kernel lets iowait go back at times, and a cgroup may be some moments ahead of its quota.
  return share(now.busy - before.busy, total);
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

function memoryShare(reader: UsableReader, { limit, memoryBytes, hostFreeBytes }: Reading): number | null {
  if (limit === null) return share(memoryBytes - hostFreeBytes, memoryBytes);
  const used = reader.cgroups.memoryUsed(limit.level);
  return used === null ? null : share(used, memoryBytes);
}

/** 0..1, to four digits. */
function share(part: number, whole: number): number {
  if (whole <= 0) return 1;
  return Math.round(Math.min(1, Math.max(0, part / whole)) * 10_000) / 10_000;
}
