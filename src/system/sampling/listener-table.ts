/**
 * What the kernel says of listeners, and of the connections that were made to them, in one look for all of them.
 *
 * - TCP is asked of the kernel itself (sock_diag), which leaves out what has another port; without koffi, or where it does not answer,
 *   /proc/net/tcp and tcp6 tell the same, of all sockets of the host. koffi is not loaded for this alone: it would cost 3 MB. But it is
 *   where those tables are long.
 * - Unix sockets are in /proc/net/unix: a connection carries the path of its listener, and one that nobody has accepted yet has no inode.
 * - A connection that waits to be accepted, or that its process has closed, belongs to nobody (inode 0) and is no accepted one.
 */
import { isIP } from 'node:net';
import { loadedNative, loadNative } from '../native.ts';
import { readOrThrow } from '../procfs.ts';

/** An address at which somebody listens. */
export interface Address {
  /** TCP: as configured, '' for all. */
  readonly host: string;
  /** null: a unix socket. */
  readonly port: number | null;
  /** `socket:[inode]` of its listeners. */
  readonly listeners: readonly string[];
}

/** Sockets are named as in /proc/PID/fd: `socket:[inode]`. */
export interface ListenerTable {
  /** By listener: how many connections nobody has accepted yet. */
  readonly waiting: ReadonlyMap<string, number>;
  /** The accepted connections. */
  readonly accepted: ReadonlySet<string>;
}

/** With more connections, or longer tables, nothing is known. */
const mostConnections = 50_000;
const mostBytes = 2 * 1024 * 1024;
/** Tables of this length, some 1,700 connections, take longer to read than koffi to load. */
const longBytes = 256 * 1024;

interface Draft {
  readonly waiting: Map<string, number>;
  readonly accepted: Set<string>;
}

/** null: it cannot be told. */
export function readListeners(addresses: readonly Address[]): ListenerTable | null {
  const table: Draft = { waiting: new Map(), accepted: new Set() };
  const told = readTcp(addresses, table) && readUnix(addresses, table);
  return told && table.accepted.size < mostConnections ? table : null;
}

function readTcp(addresses: readonly Address[], table: Draft): boolean {
  const wanted = addresses.filter(({ port }) => port !== null);
  return (['ipv4', 'ipv6'] as const).every((family) => {
    // An address of both families has one listener, of IPv6, or of IPv4 on a host without it.
    const other = family === 'ipv4' ? 6 : 4;
    const ports = wanted.filter(({ host }) => isIP(host) !== other).map(({ port }) => port ?? 0);
    if (ports.length === 0) return true;
    const unique = [...new Set(ports)];
    return (loadedNative() !== null && askKernel(family, unique, table)) || readTcpTable(family, unique, table);
  });
}

export function askKernel(family: 'ipv4' | 'ipv6', ports: readonly number[], table: Draft): boolean {
  const diag = loadNative()?.diag;
  return (
    diag?.serving(family, ports, ({ inode, waiting }) => {
      note(table, inode, waiting);
      return table.accepted.size < mostConnections;
    }) ?? false
  );
}

function note({ waiting, accepted }: Draft, inode: number, queue: number | null): void {
  if (inode === 0) return;
  if (queue === null) accepted.add(`socket:[${inode}]`);
  else waiting.set(`socket:[${inode}]`, queue);
}

/** The local port, the state, rx_queue, the inode (proc(5)): rx_queue of a listener is what waits to be accepted. */
const tcpRow = /^ *\d+: \w+:(\w{4}) \S+ (\w\w) \w+:(\w+) \S+ \S+ +\d+ +\d+ (\d+)/gm;
const listening = '0A';
/** TIME_WAIT and SYN_RECV are no sockets of a process. */
const notThere: ReadonlySet<string> = new Set(['06', '03', '0C']);

export function readTcpTable(family: 'ipv4' | 'ipv6', ports: readonly number[], table: Draft): boolean {
  const text = textOf(`/proc/net/${family === 'ipv4' ? 'tcp' : 'tcp6'}`);
  // No such table: no such family on this host.
  if (text === null) return family === 'ipv6';
  if (text.length > longBytes && loadNative() !== null && askKernel(family, ports, table)) return true;
  if (text.length > mostBytes) return false;
  const wanted = new Set(ports);
  for (const [, port = '', state = '', queue = '', inode] of text.matchAll(tcpRow)) {
    if (!wanted.has(parseInt(port, 16)) || notThere.has(state)) continue;
    note(table, Number(inode), state === listening ? parseInt(queue, 16) : null);
  }
  return true;
}

/** Flags, state, inode, path. A state of 02 is a connection that nobody has accepted; __SO_ACCEPTCON is the flag of a listener. */
const unixRow = /^\w+: \w+ \w+ (\w+) 0001 (\w\w) +(\d+) (.+)$/gm;
const acceptFlag = '00010000';
const [unaccepted, connected] = ['02', '03'];

function readUnix(addresses: readonly Address[], table: Draft): boolean {
  const own = new Set(addresses.filter(({ port }) => port === null).flatMap(({ listeners }) => listeners));
  if (own.size === 0) return true;
  const text = textOf('/proc/net/unix');
  if (text === null || text.length > mostBytes) return false;
  const rows = [...text.matchAll(unixRow)];
  const byPath = new Map<string, string>();
  for (const [, flags, , inode, path = ''] of rows) {
    const name = `socket:[${inode}]`;
    if (flags === acceptFlag && own.has(name)) byPath.set(path, name);
  }
  for (const listener of byPath.values()) table.waiting.set(listener, 0);
  for (const [, , state, inode, path = ''] of rows) {
    const listener = byPath.get(path);
    if (listener === undefined) continue;
    if (state === connected) note(table, Number(inode), null);
    else if (state === unaccepted && inode === '0') table.waiting.set(listener, (table.waiting.get(listener) ?? 0) + 1);
  }
  return true;
}

/** null: there is none. */
function textOf(path: string): string | null {
  try {
    return readOrThrow(path, (text) => text.length > mostBytes);
  } catch {
    return null;
  }
}
