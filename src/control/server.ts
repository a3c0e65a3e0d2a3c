/**
 * The control server: HTTP/JSON on a unix socket that only its owner can open; and, where the config says so, on a TCP port
 * with a token (see http-door.ts).
 *
 * A client can do nothing to the master but send it commands: a request has to be complete in time, a body and a head
 * have limits, a connection serves one request, only so many are open and only so many of these may follow a stream,
 * a reader that does not read is dropped, and whatever a handler throws becomes an answer.
 */
import type { RequestListener, Server, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { Socket } from 'node:net';
import type { DeskLimits } from './desk.ts';
import { Desk } from './desk.ts';
import type { ErrorBody, Served } from './face.ts';
import type { HttpDoor } from './http-door.ts';
import { admission } from './http-door.ts';
import { linkSocket, listenPrivately, unlinkSocket } from './socket-file.ts';

export interface ControlLimits extends DeskLimits {
  readonly maxConnections: number;
  /** From the connect to the end of the head. */
  readonly headTimeoutMs: number;
  /** From the connect to the end of the body. */
  readonly requestTimeoutMs: number;
  readonly checkEveryMs: number;
}

const defaultLimits: ControlLimits = {
  maxConnections: 64,
  maxFollowers: 32,
  maxBodyBytes: 64 * 1024,
  headTimeoutMs: 5000,
  requestTimeoutMs: 10_000,
  checkEveryMs: 2000,
  snapshotAgeMs: 200,
  maxBufferedBytes: 1024 * 1024,
  stallMs: 10_000,
};

export interface ServeOptions extends Served {
  readonly socketPath: string;
  /** A symlink to make to the socket, for clients that know only the name; null or the same path: none. */
  readonly link?: string | null;
  /** null: no TCP port. */
  readonly http?: HttpDoor | null;
  /** For tests; the defaults are the promise. */
  readonly limits?: Partial<ControlLimits>;
}

/** `close` stops listening, lets streams end and cuts what is left after half a second. It may be called twice. */
export interface ControlServer {
  /** Something the operator should know although it serves. */
  readonly warning: string | null;
  close(): void;
}

/** Starts to serve. @throws SuperviseError socket-in-use, socket-cannot-bind */
export async function serve(options: ServeOptions): Promise<ControlServer> {
  const limits = { ...defaultLimits, ...options.limits };
  const link = options.link ?? null;
  const desk = new Desk(contained(options), limits);
  const server = newServer(limits, (request, response) => void desk.receive(request, response));
  await listenPrivately(server, options.socketPath);
  // an accept that fails (no fds left) is the client's trouble
  server.on('error', () => {});
  const warning = linkSocket(link, options.socketPath);
  const servers = [server, ...(options.http ? [await openDoor(options.http, desk, limits)] : [])];
  return { warning, close: () => close(servers, desk, () => unlinkSocket(link, options.socketPath)) };
}

/** A server of its own, with a count of connections of its own: who floods the port does not keep the operator out of the socket. */
async function openDoor(door: HttpDoor, desk: Desk, limits: ControlLimits): Promise<Server> {
  const admit = admission(door);
  const server = newServer(limits, (request, response) => void desk.receive(request, response, admit));
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(door.handle, resolve);
  });
  server.on('error', () => {});
  return server;
}

function newServer(limits: ControlLimits, receive: RequestListener): Server {
  const server = createServer(
    {
      headersTimeout: limits.headTimeoutMs,
      requestTimeout: limits.requestTimeoutMs,
      connectionsCheckingInterval: limits.checkEveryMs,
      keepAliveTimeout: limits.headTimeoutMs,
      requireHostHeader: false,
    },
    onePerConnection(receive),
  );
  server.maxConnections = limits.maxConnections;
  server.on('clientError', refuseClient);
  return server;
}

/**
 * What comes behind the request of a connection is not carried out. The parser would go on and keep it all until the first answer
 * is over, and a stream may have no end: so who sends more during an answer is cut, and behind one nothing more is read.
 */
function onePerConnection(receive: RequestListener): RequestListener {
  const answers = new WeakMap<Socket, ServerResponse>();
  return (request, response) => {
    const { socket } = request;
    const answer = answers.get(socket);
    if (answer === undefined) {
      answers.set(socket, response);
      receive(request, response);
    } else if (answer.writableEnded) socket.pause();
    else socket.destroy();
  };
}

/** What a listener of ours throws must not reach the one who reports. */
function contained({ master, logs, reread, own }: Served): Served {
  const guard =
    <T>(fn: (value: T) => void) =>
    (value: T) => {
      try {
        fn(value);
      } catch {
        // the stream it was for is cut by its own limits
      }
    };
  return {
    reread,
    own,
    master: {
      snapshot: () => master.snapshot(),
      handle: (command) => master.handle(command),
      recentEvents: () => master.recentEvents(),
      why: (target, n) => master.why(target, n),
      history: (target, span) => master.history(target, span),
      capacity: (spanMs) => master.capacity(spanMs),
      subscribe: (listener) => master.subscribe(guard(listener)),
    },
    logs: {
      recent: (filter, n) => logs.recent(filter, n),
      subscribe: (listener) => logs.subscribe(guard(listener)),
    },
  };
}

function close(servers: readonly Server[], desk: Desk, unlink: () => void): void {
  if (!servers.some((server) => server.listening)) return;
  unlink();
  for (const server of servers) server.close();
  desk.close();
  for (const server of servers) server.closeIdleConnections();
  setTimeout(() => servers.forEach((server) => server.closeAllConnections()), 500).unref();
}

/** What the parser refuses: no HTTP, an endless head, a head or body that did not come in time. */
function refuseClient(error: Error & { code?: string }, socket: Socket): void {
  const [status, reason, message] =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? [431, 'Request Header Fields Too Large', 'the head of the request is too large']
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? [408, 'Request Timeout', 'the request did not come in time']
        : [400, 'Bad Request', 'this is no HTTP request'];
  if (!socket.writable) return void socket.destroy();
  const body: ErrorBody = { error: { code: 'usage', message, hint: null, exitCode: 64, lastLines: [] } };
  const text = `${JSON.stringify(body)}\n`;
  const head = `HTTP/1.1 ${status} ${reason}\r\ncontent-type: application/json\r\ncontent-length: ${text.length}\r\nconnection: close\r\n\r\n`;
  socket.end(head + text, () => socket.destroy());
}
