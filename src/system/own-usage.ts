/** What this very process uses: for metrics. */
import { readdirSync } from 'node:fs';

export interface ProcessUsage {
  /** User and system time since its start. */
  readonly cpuSeconds: number;
  readonly residentBytes: number;
  /** null: not known on this host. */
  readonly openFiles: number | null;
  /** Time in which its event loop did not wait. */
  readonly loopBusySeconds: number;
}

export function ownUsage(): ProcessUsage {
  const { user, system } = process.cpuUsage();
  return {
    cpuSeconds: (user + system) / 1e6,
    residentBytes: process.memoryUsage.rss(),
    openFiles: openFiles(),
    loopBusySeconds: performance.eventLoopUtilization().active / 1000,
  };
}

function openFiles(): number | null {
  try {
    // without the one that reads the folder
    return readdirSync('/proc/self/fd').length - 1;
  } catch {
    return null;
  }
}
