/** Asks this host what it has. Nothing is changed, and nothing throws: what cannot be asked is unknown. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { release } from 'node:os';
import type { HostFacts, SystemdFacts } from '../../core/doctor.ts';
import { parseCgroupMounts } from '../host/cgroup-tree.ts';
import { UsableReader } from '../host/usable.ts';
import { loadNative } from '../native.ts';
import { findTools } from '../processes/wrapping.ts';
import { hasProcfs, readText } from '../procfs.ts';
import { trySteering } from './steering-trial.ts';

export function hostFacts(): HostFacts {
  const reader = new UsableReader();
  const { cpus, cpuSource, memoryBytes, memorySource } = reader.read();
  const tools = findTools();
  const mountinfo = readText('/proc/self/mountinfo') ?? '';
  return {
    nodeVersion: process.versions.node,
    platform: process.platform,
    kernel: release(),
    systemd: systemdFacts(),
    cgroups: cgroupsIn(mountinfo),
    ...{ cpus, cpuSource, memoryBytes, memorySource },
    koffi: loadNative() === null ? 'missing' : 'loaded',
    steering: trySteering(),
    missingPrograms: (['setpriv', 'setsid', 'nice'] as const).filter((name) => tools[name] === null),
    openFiles: softLimit(limits(), 'Max open files'),
    processes: processLimit(reader),
    proc: hasProcfs() ? hiddenOrOpen(mountinfo) : 'none',
    pss: (readText('/proc/self/smaps_rollup') ?? '').includes('\nPss:') ? 'readable' : 'closed',
    backlog: wholeNumber(readText('/proc/sys/net/core/somaxconn')),
  };
}

export function cgroupsIn(mountinfo: string): HostFacts['cgroups'] {
  const versions = new Set(parseCgroupMounts(mountinfo).map(({ version }) => version));
  if (versions.size === 2) return 'hybrid';
  return versions.size === 0 ? 'none' : versions.has(1) ? 'v1' : 'v2';
}

/** As systemctl itself says; sd_booted(3) is how to know whether it is the init. */
function systemdFacts(): SystemdFacts {
  const { stdout } = spawnSync('systemctl', ['--version'], { encoding: 'utf8', timeout: 5_000 });
  const version = /^systemd (\d+)/.exec(stdout ?? '')?.[1];
  return {
    version: version === undefined ? null : Number(version),
    isInit: existsSync('/run/systemd/system'),
    unit: unitIn(readText('/proc/self/cgroup') ?? ''),
  };
}

/** The innermost unit in the text of /proc/self/cgroup: in the hierarchy of v2 or in systemd's own of v1, whichever it uses. */
export function unitIn(cgroups: string): string | null {
  const paths = [...cgroups.matchAll(/^(?:0:|\d+:name=systemd):(.*)$/gm)].flatMap(([, path = '']) => path.split('/'));
  return paths.findLast((name) => /\.(service|scope)$/.test(name)) ?? null;
}

function limits(): string {
  return readText('/proc/self/limits') ?? '';
}

/** null: unlimited. Node raises its soft limit of open files to the hard one, and workers inherit that. */
export function softLimit(text: string, name: string): number | null {
  return wholeNumber(new RegExp(`^${name}\\s+(\\d+)`, 'm').exec(text)?.[1] ?? null);
}

/** The smaller of RLIMIT_NPROC, which does not bind root, and of pids.max. */
function processLimit(reader: UsableReader): HostFacts['processes'] {
  const own = process.getuid?.() === 0 ? null : softLimit(limits(), 'Max processes');
  const inGroup = reader.cgroups.taskLimit();
  if (inGroup !== null && (own === null || inGroup.value < own)) return { limit: inGroup.value, setBy: inGroup.file };
  return own === null ? null : { limit: own, setBy: 'ulimit -u' };
}

/** hidepid is an option of the mount (proc(5)); root, and the group of gid=, see everything all the same. */
function hiddenOrOpen(mountinfo: string): HostFacts['proc'] {
  const option = /^.* \/proc .*hidepid=(\w+)/m.exec(mountinfo)?.[1] ?? '0';
  if (option === '0' || option === 'off') return 'open';
  return canRead('/proc/1/stat') ? 'open' : 'hidden';
}

function canRead(file: string): boolean {
  try {
    readFileSync(file);
    return true;
  } catch {
    return false;
  }
}

function wholeNumber(text: string | null): number | null {
  return text !== null && /^\d+\s*$/.test(text) ? Number(text) : null;
}
