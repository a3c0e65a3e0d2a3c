/**
 * What the end-to-end tests read from /proc by themselves. Independent of src/system on purpose: these are the eyes that
 * check it.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

export function allPids(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

/** null: it is gone, or it is not ours to read. */
function read(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}

/** The fields of /proc/PID/stat from the third on (index 0: state); null when it is gone. */
function statFields(pid: number): string[] | null {
  const text = read(`/proc/${pid}/stat`);
  return text === null ? null : text.slice(text.lastIndexOf(')') + 2).split(' ');
}

/** Zombies are dead. */
export function isAlive(pid: number): boolean {
  const state = statFields(pid)?.[0];
  return state !== undefined && state !== 'Z' && state !== 'X';
}

/** Whether every thread of it has been stopped by SIGSTOP. */
export function isStopped(pid: number): boolean {
  const threads = readdirSync(`/proc/${pid}/task`);
  return threads.every((tid) => statFields(Number(tid))?.[0] === 'T');
}

export function parentOf(pid: number): number | null {
  const parent = statFields(pid)?.[1];
  return parent === undefined ? null : Number(parent);
}

export function sessionOf(pid: number): number | null {
  const session = statFields(pid)?.[3];
  return session === undefined ? null : Number(session);
}

/** The process and all that descends from it. */
export function treeOf(pid: number): number[] {
  const children = new Map<number, number[]>();
  for (const one of allPids()) {
    const parent = isAlive(one) ? parentOf(one) : null;
    if (parent !== null) children.set(parent, [...(children.get(parent) ?? []), one]);
  }
  const below = (leader: number): number[] => [leader, ...(children.get(leader) ?? []).flatMap(below)];
  return below(pid);
}

/** Resident memory, as `ps` shows it. */
export function residentBytes(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB/m.exec(read(`/proc/${pid}/status`) ?? '')?.[1];
  return Number(kilobytes ?? 0) * 1024;
}

/** Its share of what it has in memory: the sum of the PSS of its mappings (smaps of proc(5)). */
export function proportionalBytes(pid: number): number {
  const mappings = (read(`/proc/${pid}/smaps`) ?? '').matchAll(/^Pss:\s+(\d+) kB$/gm);
  return [...mappings].reduce((sum, [, kilobytes]) => sum + Number(kilobytes) * 1024, 0);
}

/** Of the process itself, in hundredths of a second (USER_HZ of every Linux that Node runs on). */
export function cpuTicks(pid: number): number {
  const fields = statFields(pid);
  return fields === null ? 0 : Number(fields[11]) + Number(fields[12]);
}

export function niceOf(pid: number): number {
  return Number(statFields(pid)?.[16]);
}

/** A line of /proc/PID/status: `Uid`, `Umask`. */
export function statusLine(pid: number, name: string): string | null {
  return new RegExp(`^${name}:\\s+(.*)$`, 'm').exec(read(`/proc/${pid}/status`) ?? '')?.[1] ?? null;
}

export function environmentOf(pid: number): string[] {
  return (read(`/proc/${pid}/environ`) ?? '').split('\0');
}

export function commandLine(pid: number): string {
  return (read(`/proc/${pid}/cmdline`) ?? '').split('\0').join(' ').trim();
}

export function cwdOf(pid: number): string {
  return readlinkSync(`/proc/${pid}/cwd`);
}

/** What its open files are: paths, `socket:[123]`, `pipe:[123]`. */
export function openFiles(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
      try {
        return [readlinkSync(`/proc/${pid}/fd/${fd}`)];
      } catch {
        return []; // closed meanwhile
      }
    });
  } catch {
    return [];
  }
}

interface PortSocket {
  readonly inode: string;
  /** Else it is a connection, in whatever state. */
  readonly listening: boolean;
  /** The other end's port; 0: it has none. */
  readonly peerPort: number;
  /** How many connections wait to be accepted; of a connection: bytes that wait to be read. */
  readonly waiting: number;
}

/** The sockets on a local TCP port, IPv4 and IPv6. */
export function socketsOnPort(port: number): PortSocket[] {
  const hex = port.toString(16).toUpperCase().padStart(4, '0');
  const lines = ['/proc/net/tcp', '/proc/net/tcp6'].flatMap((file) => (read(file) ?? '').split('\n').slice(1));
  return lines
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[1]?.endsWith(`:${hex}`) === true)
    .map((fields) => ({
      inode: `socket:[${fields[9]}]`,
      listening: fields[3] === '0A',
      peerPort: parseInt(fields[2]?.split(':')[1] ?? '', 16),
      waiting: parseInt(fields[4]?.split(':')[1] ?? '', 16),
    }));
}

/** Whose connections on this port a process has accepted and not closed: the ports of the clients. */
export function acceptedFrom(pid: number, port: number): Set<number> {
  const open = new Set(openFiles(pid));
  return new Set(socketsOnPort(port).flatMap(({ inode, peerPort }) => (open.has(inode) ? [peerPort] : [])));
}

/** The sockets that are bound to a path, or were accepted there. */
export function socketsAtPath(path: string): { inode: string; listening: boolean }[] {
  return (read('/proc/net/unix') ?? '').split('\n').flatMap((line) => {
    const fields = line.trim().split(/\s+/);
    return fields[7] === path ? [{ inode: `socket:[${fields[6]}]`, listening: fields[3] === '00010000' }] : [];
  });
}

/** Where it works; null when it is gone. */
export function workingDirectory(pid: number): string | null {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return null;
  }
}
