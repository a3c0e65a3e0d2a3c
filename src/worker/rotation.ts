/**
 * Takes a worker of node:cluster's round robin out of the rotation when the master asks for it, before its stop signal.
 * Standalone: imports nothing but Node.
 *
 * The master accepts, and hands each connection to a worker. One that it hands to a worker that is ending gets no answer, and
 * nobody closes it. So, at `leave`:
 *
 * - Each server's place in the master is given up, as its close() would, but the server is not closed: a script that closes
 *   it at its stop signal must find it as it was.
 * - What is on its way here meanwhile is refused by node:cluster, and the master hands it to another worker. All of it is here
 *   before a second `leave`, because the channel keeps the order. So the answer to the second one says that nothing is lost.
 *
 * `leave` has a name that node:cluster reserves (NODE_): a script that reads messages does not see it.
 */
import net from 'node:net';

/** Also in round-robin-seat.ts. */
const leave = 'NODE_SUPERVISE_LEAVE';
const left = { supervise: 'left' };

/** What stands for a listening socket that the master has. Not a handle of libuv: a plain object, kept alive by a timer. */
interface Place {
  close(done?: () => void): void;
  ref(): void;
  unref(): void;
}
type Listen = (this: net.Server, ...args: unknown[]) => unknown;

/** Follows every server that listens from now on. */
export function leaveWhenAsked(): void {
  const servers = new Set<net.Server>();
  const prototype = net.Server.prototype as unknown as { listen: Listen };
  const { listen } = prototype;
  let isLeaving = false;
  prototype.listen = function (...args) {
    this.once('listening', () => {
      servers.add(this);
      if (isLeaving) giveUpPlace(this);
    });
    this.once('close', () => servers.delete(this));
    return listen.apply(this, args);
  };
  process.on('internalMessage', (message: { readonly cmd?: unknown }) => {
    if (message.cmd !== leave) return;
    isLeaving = true;
    servers.forEach(giveUpPlace);
    if (process.connected) process.send?.(left, undefined, undefined, () => undefined);
  });
}

function giveUpPlace(server: net.Server): void {
  const place = (server as unknown as { readonly _handle: Place | null })._handle;
  // A socket of its own (`exclusive`) is nobody else's to close.
  if (place === null || Object.getPrototypeOf(place) !== Object.prototype) return;
  place.close();
  // The process has not been asked to end yet.
  place.ref();
  place.close = (done) => {
    place.unref();
    done?.();
  };
}
