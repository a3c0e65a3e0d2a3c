/**
 * How many bytes wait in the sockets of a process: columns tx_queue and rx_queue of /proc/PID/net/tcp and tcp6.
 *
 * - Asked only for a thread that runs without a pause, which a server under full load looks like as well.
 * - The tables are those of the whole host, and cost 3 us a connection: all who ask at about the same time share one reading.
 */
import type { SocketQueues } from '../../core/stall.ts';
import { linkOf, readOrThrow } from '../procfs.ts';

/** Some fifty thousand connections: the table of a greater host is not read to its end, and what is missing is not known. */
const mostBytes = 8 * 1024 * 1024;

/** State, tx_queue, rx_queue, inode. */
const row = /^ *\d+: \S+ \S+ (\S\S) ([\dA-F]+):([\dA-F]+) \S+ \S+ +\d+ +\d+ (\d+)/gm;
const listening = '0A';

type Queues = Map<string, SocketQueues>;

let last: { readonly namespace: string; readonly queues: Queues; readonly atMs: number } | null = null;

/**
 * By `socket:[inode]`, all of those asked for.
 * @param maxAgeMs how old the reading may be
 */
export function queuesOf(pid: number, sockets: ReadonlySet<string>, maxAgeMs: number): Queues {
  const namespace = linkOf(`/proc/${pid}/ns/net`) ?? `of ${pid}`;
  if (last === null || last.namespace !== namespace || performance.now() - last.atMs > maxAgeMs) {
    const reading = { namespace, queues: readTables(pid), atMs: performance.now() };
    last = reading;
    setTimeout(() => void (last === reading && (last = null)), maxAgeMs).unref();
  }
  const { queues } = last;
  return new Map([...sockets].map((socket) => [socket, queues.get(socket) ?? null]));
}

function readTables(pid: number): Queues {
  const queues: Queues = new Map();
  for (const file of ['tcp', 'tcp6']) {
    for (const [, state, unsent = '', readable = '', inode] of table(`/proc/${pid}/net/${file}`).matchAll(row)) {
      // A listener's queue are connections that any worker may take. Inode 0: nobody's any more.
      if (state === listening || inode === '0') continue;
      queues.set(`socket:[${inode}]`, { readableBytes: parseInt(readable, 16), unsentBytes: parseInt(unsent, 16) });
    }
  }
  return queues;
}

function table(path: string): string {
  try {
    return readOrThrow(path, (text) => text.length > mostBytes);
  } catch {
    return '';
  }
}
