/**
 * Loaded into a script before its own code (`node --import`). Standalone: imports nothing but Node. It has three parts.
 *
 * With sockets (SUPERVISE_LISTEN): an unmodified server that listens on a configured port or path gets the socket that the
 * master holds, and the master is told when it listens.
 * - `listen()` of a configured port is mapped whatever its host is; of two configured sockets with one port, the one with
 *   that host, else all of them. Every other port, path or handle is left alone.
 * - Closing a mapped server closes its descriptor, so each socket comes with some copies: frameworks listen once per address of
 *   `localhost`, and port finders listen and close before the server does. When they are used up: EADDRINUSE, as without us.
 * - Only the process that was spawned does this (LISTEN_PID): its children inherit the environment, but not the sockets.
 *
 * Under node:cluster (SUPERVISE_CHANNEL, the master's pid): there the IPC channel would keep a finished script alive. It is
 * let go, but for the time between a listen() and the master's answer, when nothing else may be open yet. And a worker that is
 * handed its connections by the master leaves the rotation when it is asked to: rotation.ts.
 *
 * In both cases the process drains at its stop signal: drain.ts. Not in what it starts itself, nor in its threads.
 */
import dgram from 'node:dgram';
import net from 'node:net';
import { isMainThread } from 'node:worker_threads';
import { drainOfProcess } from './drain.ts';
import { leaveWhenAsked } from './rotation.ts';

/** SUPERVISE_LISTEN as JSON. exec-worker.ts writes it. */
interface Given {
  readonly backlog: number;
  readonly sockets: GivenSocket[];
}

interface GivenSocket {
  readonly url: string;
  /** '' and null: a unix socket. */
  readonly host: string;
  readonly port: number | null;
  readonly path: string | null;
  /** Descriptors of this socket that no server has taken yet. */
  readonly fds: number[];
}

/** What a call of listen() asks for. */
interface Wish {
  readonly port: number | null;
  readonly path: string | null;
  readonly host: string | null;
  readonly backlog: number | null;
  readonly signal: unknown;
  readonly callback: (() => void) | null;
}

/** listen() and bind() in all their forms. */
type Open = (this: NodeJS.EventEmitter, ...args: unknown[]) => unknown;

const given: Given | null =
  process.env.LISTEN_PID === String(process.pid)
    ? (JSON.parse(process.env.SUPERVISE_LISTEN ?? 'null') as Given | null)
    : null;
const channel = process.env.SUPERVISE_CHANNEL === String(process.ppid) ? process.channel : undefined;
// Before listen() is taken below: it follows what listens.
if (isMainThread && (given !== null || channel !== undefined)) drainOfProcess();
const servers = net.Server.prototype as unknown as { listen: Open };
const datagrams = dgram.Socket.prototype as unknown as { bind: Open };
const { listen } = servers;

if (given !== null) mapListen(given);
if (channel !== undefined) {
  letGo(channel);
  leaveWhenAsked();
}

// ---------------------------------------------------------------- with sockets

function mapListen({ sockets: all, backlog }: Given): void {
  servers.listen = function (this: net.Server, ...args: unknown[]) {
    const wish = wishOf(args);
    const sockets = wish === null ? [] : matching(all, wish);
    if (wish !== null && sockets.length > 0) return listenOn(this, sockets, wish, backlog);
    this.once('listening', () => tell({ supervise: 'elsewhere', at: this.address() }));
    return listen.apply(this, args);
  } as Open;
}

function listenOn(server: net.Server, sockets: readonly GivenSocket[], wish: Wish, backlog: number): unknown {
  const [first, ...others] = sockets;
  const fd = first === undefined ? undefined : takeFd(first);
  if (first === undefined || fd === undefined) {
    const error = Object.assign(
      new Error(`listen EADDRINUSE: ${sockets[0]?.url} was listened on too often in this process`),
      { code: 'EADDRINUSE', syscall: 'listen' },
    );
    process.nextTick(() => server.emit('error', error));
    return server;
  }
  server.once('listening', () => tell({ supervise: 'listening', url: first.url }));
  if (first.path !== null) showPath(server, first.path);
  for (const other of others) alsoOn(server, other, backlog);
  const options = wish.signal === undefined ? { fd } : { fd, signal: wish.signal };
  return listen.call(server, options, wish.backlog ?? backlog, ...(wish.callback === null ? [] : [wish.callback]));
}

/** A second socket of one server: what it accepts becomes the server's. It closes with the server. */
function alsoOn(server: net.Server, socket: GivenSocket, backlog: number): void {
  const fd = takeFd(socket);
  if (fd === undefined) return;
  const { allowHalfOpen, pauseOnConnect, noDelay } = server as unknown as {
    allowHalfOpen?: boolean;
    pauseOnConnect?: boolean;
    noDelay?: boolean;
  };
  const second = net.createServer({
    allowHalfOpen: allowHalfOpen === true,
    pauseOnConnect: pauseOnConnect === true,
    noDelay: noDelay === true,
  });
  second.on('connection', (connection) => server.emit('connection', connection));
  const close = server.close.bind(server);
  server.close = (callback) => {
    second.close();
    return close(callback);
  };
  listen.call(second, { fd }, backlog);
}

/** A server on a descriptor does not know its path. */
function showPath(server: net.Server, path: string): void {
  const address = server.address.bind(server);
  server.address = () => (server.listening ? path : address());
}

// ---------------------------------------------------------------- which socket

/** The forms of net.Server.listen(): (port, host?, backlog?, cb?), (path, backlog?, cb?), (options, cb?). null: another form. */
function wishOf(args: readonly unknown[]): Wish | null {
  const [first] = args;
  const last = args.at(-1);
  const callback = typeof last === 'function' ? (last as () => void) : null;
  const numbers = args.slice(1, 3).filter((arg) => typeof arg === 'number');
  if (typeof first === 'object' && first !== null) {
    const { port, path, host, backlog, signal, fd, _handle } = first as Record<string, unknown>;
    if (fd !== undefined || _handle !== undefined) return null;
    return {
      port: portOf(port),
      path: textOf(path),
      host: textOf(host),
      backlog: typeof backlog === 'number' ? backlog : (numbers[0] ?? null),
      signal,
      callback,
    };
  }
  const port = portOf(first);
  const rest = { backlog: numbers[0] ?? null, signal: undefined, callback };
  if (port !== null) return { port, path: null, host: textOf(args[1]), ...rest };
  return typeof first === 'string' ? { port: null, path: first, host: null, ...rest } : null;
}

function portOf(value: unknown): number | null {
  if (typeof value !== 'number' && (typeof value !== 'string' || value.trim() === '')) return null;
  const port = Number(value);
  return Number.isInteger(port) && port >= 0 ? port : null;
}

function textOf(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}

function matching(sockets: readonly GivenSocket[], wish: Wish): readonly GivenSocket[] {
  if (wish.port === null) return sockets.filter((socket) => socket.path !== null && socket.path === wish.path);
  const candidates = sockets.filter((socket) => socket.port === wish.port);
  const exact = candidates.filter((socket) => socket.host === wish.host);
  return exact.length > 0 ? exact : candidates;
}

/** Threads get a copy of the environment when they start: what is taken here is not there for them. */
function takeFd(socket: GivenSocket): number | undefined {
  const fd = socket.fds.shift();
  process.env.SUPERVISE_LISTEN = JSON.stringify(given);
  return fd;
}

function tell(
  message:
    | { readonly supervise: 'listening'; readonly url: string }
    | { readonly supervise: 'elsewhere'; readonly at: unknown },
): void {
  // A script may have closed its channel: then nobody waits for the message.
  if (process.connected) process.send?.(message, undefined, undefined, () => undefined);
}

// ---------------------------------------------------------------- under node:cluster

function letGo(channel: { ref(): void; unref(): void }): void {
  const waiting = new Set<NodeJS.EventEmitter>();
  const holding = (open: Open): Open =>
    function (...args) {
      channel.ref();
      waiting.add(this);
      const settle = (): void => {
        if (waiting.delete(this) && waiting.size === 0) channel.unref();
      };
      // Only watched: an error that nobody handles must still end the script.
      for (const event of ['listening', 'close', net.Server.errorMonitor]) this.once(event, settle);
      return open.apply(this, args);
    };
  channel.unref();
  servers.listen = holding(servers.listen);
  datagrams.bind = holding(datagrams.bind);
}
