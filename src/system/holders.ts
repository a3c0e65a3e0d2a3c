/**
 * Names the process that holds a socket, for error messages: "in use by pid 812 (nginx: master process)".
 *
 * Rules
 * - The kernel's tables give the socket's inode: /proc/net/tcp, tcp6 and unix. The open files of all processes that may
 *   be looked at give the process. null means: it cannot be known from here, never that nobody holds it.
 * - A listener that is shared by a tree of processes is held by its outermost one: the master, not a worker.
 * - A socket that is bound and does not listen stands in no table of TCP: its holder stays unknown.
 */
import { readdirSync } from 'node:fs';
import { isIP } from 'node:net';
import { endianness } from 'node:os';
import { allPids, linkOf, readText, statOf } from './procfs.ts';

export interface Holder {
  readonly pid: number;
  /** What ps would show, without the directory of the program; at most 80 characters. */
  readonly command: string;
}

export interface UnixRow {
  readonly inode: string;
  /** As the kernel shows it: `@name` for an abstract socket. */
  readonly path: string;
}

/** Whoever keeps others from binding `host`:`port`: a listener of that very address, else one of all addresses, else a connection that has the port. */
export function holderOfTcp(host: string, port: number): Holder | null {
  const own = canonicalIp(host);
  const rows = [...tcpRows('tcp'), ...tcpRows('tcp6')].filter((row) => row.port === port && mayClash(row.host, own));
  const listeners = rows.filter((row) => row.listens);
  const best = [listeners.filter((row) => row.host === own), listeners, rows].find((some) => some.length > 0) ?? [];
  return holderOf(best.map((row) => row.inode));
}

/** Whoever has a socket bound to this path, or to this `@name`. */
export function holderOfUnix(path: string): Holder | null {
  return holderOf(
    unixRows()
      .filter((row) => row.path === path)
      .map((row) => row.inode),
  );
}

/** All named unix sockets of this network namespace; [] without a /proc. */
export function unixRows(): UnixRow[] {
  const rows: UnixRow[] = [];
  // Num RefCount Protocol Flags Type St Inode Path
  for (const line of (readText('/proc/net/unix') ?? '').split('\n')) {
    const match = /^(?:\S+\s+){6}(\d+) (.+)$/.exec(line);
    if (match !== null)
      rows.push({ inode: match[1] ?? '', path: Buffer.from(match[2] ?? '', 'latin1').toString('utf8') });
  }
  return rows;
}

/** `pid 812 (nginx: master process)`, or what can be said when nothing is known. */
export function describeHolder(holder: Holder | null): string {
  if (holder === null)
    return 'another process (which one cannot be seen from here: ask root, or look into other containers)';
  return `pid ${holder.pid} (${holder.command})`;
}

/** The command line of a process without the directory of its program; its short name where there is none. */
export function commandOf(pid: number): string {
  const words = (readText(`/proc/${pid}/cmdline`) ?? '').split('\0').join(' ');
  const printable = words
    .replace(/[^\x20-\x7e]/g, '?')
    .trim()
    .replace(/^\/\S*\//, '');
  const command = printable === '' ? (statOf(pid)?.comm ?? 'unknown') : printable;
  return command.length > 80 ? `${command.slice(0, 77)}...` : command;
}

/** An IP address in the one spelling that can be compared; v4-mapped ones as v4. */
export function canonicalIp(host: string): string {
  if (isIP(host) !== 6) return host;
  const [address = '', zone] = host.split('%');
  const canonical = new URL(`http://[${address}]`).hostname.slice(1, -1);
  const mapped = /^::ffff:([0-9a-f]+):([0-9a-f]+)$/.exec(canonical);
  if (mapped !== null) return v4FromNumber(parseInt(mapped[1] ?? '0', 16) * 65536 + parseInt(mapped[2] ?? '0', 16));
  return zone === undefined ? canonical : `${canonical}%${zone}`;
}

/** Whether two sockets on one port get into each other's way: the same address, or one of them has all. */
function mayClash(one: string, other: string): boolean {
  const all = ['0.0.0.0', '::'];
  return one === other || all.includes(one) || all.includes(other);
}

interface TcpRow {
  readonly host: string;
  readonly port: number;
  readonly listens: boolean;
  readonly inode: string;
}

function tcpRows(table: 'tcp' | 'tcp6'): TcpRow[] {
  const rows: TcpRow[] = [];
  // sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode
  for (const line of (readText(`/proc/net/${table}`) ?? '').split('\n').slice(1)) {
    const fields = line.trim().split(/\s+/);
    const [address, port] = (fields[1] ?? '').split(':');
    const inode = fields[9];
    if (address === undefined || port === undefined || inode === undefined || inode === '0') continue;
    rows.push({ host: addressFromHex(address), port: parseInt(port, 16), listens: fields[3] === '0A', inode });
  }
  return rows;
}

/** The table shows each 32-bit word in the byte order of the machine. */
function addressFromHex(hex: string): string {
  const words = (hex.match(/.{8}/g) ?? []).map((word) => {
    const bytes = Buffer.from(word, 'hex');
    return (endianness() === 'LE' ? bytes.reverse() : bytes).readUInt32BE();
  });
  if (words.length === 1) return v4FromNumber(words[0] ?? 0);
  const groups = words.flatMap((word) => [word >>> 16, word & 0xffff]).map((group) => group.toString(16));
  return canonicalIp(groups.join(':'));
}

function v4FromNumber(value: number): string {
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join('.');
}

function holderOf(inodes: readonly string[]): Holder | null {
  if (inodes.length === 0) return null;
  const links = new Set(inodes.map((inode) => `socket:[${inode}]`));
  const holders = new Set(allPids().filter((pid) => holdsAny(pid, links)));
  // Outermost: its parent does not hold it.
  const outermost = [...holders].find((pid) => !holders.has(statOf(pid)?.ppid ?? 0));
  return outermost === undefined ? null : { pid: outermost, command: commandOf(outermost) };
}

function holdsAny(pid: number, links: ReadonlySet<string>): boolean {
  let fds: string[];
  try {
    fds = readdirSync(`/proc/${pid}/fd`);
  } catch {
    return false;
  }
  return fds.some((fd) => links.has(linkOf(`/proc/${pid}/fd/${fd}`) ?? ''));
}
