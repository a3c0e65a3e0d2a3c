/**
 * What the processes of workers have done with their sockets.
 *
 * - The kernel is asked (sock_diag): for TCP it counts every byte, for unix sockets it tells what waits in them. Without
 *   koffi, for a process in another network namespace, or where the kernel does not answer, the columns tx_queue and rx_queue
 *   of /proc/PID/net/tcp and tcp6 have to do.
 * - Asked only for a thread that runs without a pause, which a server under full load looks like as well.
 * - The answers are those of the whole host, and cost 1 to 3 us a connection: all who ask at about the same time share one.
 */
import type { SocketUse } from '../../core/stall.ts';
import { loadNative } from '../native.ts';
import { linkOf, readOrThrow } from '../procfs.ts';
import type { DiagnosedSocket, SocketDiag } from '../socket-diag.ts';

/** On a greater host not all is read, and what is missing is not known. */
const mostSockets = 50_000;
const mostBytes = 8 * 1024 * 1024;

/** State, tx_queue, rx_queue, inode. */
const row = /^ *\d+: \S+ \S+ (\S\S) ([\dA-F]+):([\dA-F]+) \S+ \S+ +\d+ +\d+ (\d+)/gm;
const listening = '0A';

type Uses = Map<string, SocketUse>;

let last: { readonly namespace: string; readonly uses: Uses; readonly atMs: number } | null = null;

/**
 * By `socket:[inode]`, all of those asked for.
 * @param maxAgeMs how old the answer may be
 */
export function usesOf(pid: number, sockets: ReadonlySet<string>, maxAgeMs: number): Uses {
  const namespace = linkOf(`/proc/${pid}/ns/net`) ?? `of ${pid}`;
  if (last === null || last.namespace !== namespace || performance.now() - last.atMs > maxAgeMs) {
    const diag = namespace === linkOf('/proc/self/ns/net') ? loadNative()?.diag : undefined;
    const uses = (diag && askKernel(diag)) ?? readTables(pid);
    const reading = { namespace, uses, atMs: performance.now() };
    last = reading;
    setTimeout(() => void (last === reading && (last = null)), maxAgeMs).unref();
  }
  const { uses } = last;
  return new Map([...sockets].map((socket) => [socket, uses.get(socket) ?? null]));
}

/** Null: it does not tell of TCP. */
export function askKernel(diag: SocketDiag): Uses | null {
  const uses: Uses = new Map();
  const keep = (socket: DiagnosedSocket): boolean => {
    const { inode, readableBytes, unsentBytes } = socket;
    // Inode 0: nobody's any more.
    if (inode !== 0) uses.set(`socket:[${inode}]`, { readableBytes, unsentBytes, usedBytes: usedBytes(socket) });
    return uses.size < mostSockets;
  };
  const told = diag.connected('ipv4', keep) && diag.connected('ipv6', keep);
  diag.connected('unix', keep);
  return told ? uses : null;
}

/** Read: what came, less what still waits to be read. Written: what arrived at the peer, and what still waits for that. */
function usedBytes({ readableBytes, unsentBytes, acknowledgedBytes, receivedBytes }: DiagnosedSocket): number | null {
  if (acknowledgedBytes === null || receivedBytes === null) return null;
  return receivedBytes - readableBytes + acknowledgedBytes + unsentBytes;
}

export function readTables(pid: number): Uses {
  const uses: Uses = new Map();
  for (const file of ['tcp', 'tcp6']) {
    for (const [, state, unsent = '', readable = '', inode] of table(`/proc/${pid}/net/${file}`).matchAll(row)) {
      // A listener's queue are connections that any worker may take.
      if (state === listening || inode === '0') continue;
      const waiting = { readableBytes: parseInt(readable, 16), unsentBytes: parseInt(unsent, 16) };
      uses.set(`socket:[${inode}]`, { ...waiting, usedBytes: null });
    }
  }
  return uses;
}

function table(path: string): string {
  try {
    return readOrThrow(path, (text) => text.length > mostBytes);
  } catch {
    return '';
  }
}
