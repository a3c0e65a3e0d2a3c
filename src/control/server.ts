/**
 * The control server: HTTP/JSON on a unix socket that only its owner can open.
 *
 * A client can do nothing to the master but send it commands: a request has to be complete in time, a body and a head
 * have limits, a connection serves one request, only so many are open and only so many of these may follow a stream,
 * a reader that does not read is dropped, and whatever a handler throws becomes an answer.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { Socket } from 'node:net';
import type { ErrorBody, Served } from './face.ts';
import type { StreamLimits } from './line-stream.ts';
import { LineStream } from './line-stream.ts';
import type { Exchange } from './routes.ts';
import { answer, routeFor } from './routes.ts';
import { linkSocket, listenPrivately, unlinkSocket } from './socket-file.ts';
import type { Fields } from './wire.ts';
import { HttpError, errorAnswer, parseBody } from './wire.ts';

export interface ControlLimits extends StreamLimits {
  readonly maxConnections: number;
  readonly maxFollowers: number;
  readonly maxBodyBytes: number;
  /** From the connect to the end of the head. */
  readonly headTimeoutMs: number;
  /** From the connect to the end of the body. */
  readonly requestTimeoutMs: number;
  readonly checkEveryMs: number;
  /** How long one snapshot serves all who ask, unless something happens before. */
  readonly snapshotAgeMs: number;
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
  const server = createServer(
    {
      headersTimeout: limits.headTimeoutMs,
      requestTimeout: limits.requestTimeoutMs,
      connectionsCheckingInterval: limits.checkEveryMs,
      keepAliveTimeout: limits.headTimeoutMs,
      requireHostHeader: false,
    },
    (request, response) => void desk.receive(request, response),
  );
  server.maxConnections = limits.maxConnections;
  server.on('clientError', refuseClient);
  await listenPrivately(server, options.socketPath);
  // an accept that fails (no fds left) is the client's trouble
  server.on('error', () => {});
  const warning = linkSocket(link, options.socketPath);
  return { warning, close: () => close(server, desk, () => unlinkSocket(link, options.socketPath)) };
}

/** What a listener of ours throws must not reach the one who reports. */
function contained({ master, logs, reread }: Served): Served {
  const guard = <T>(fn: (value: T) => void) => (value: T) => {
    try {
      fn(value);
    } catch {
      // the stream it was for is cut by its own limits
    }
  };
  return {
    reread,
    master: {
      snapshot: () => master.snapshot(),
      handle: (command) => master.handle(command),
      recentEvents: () => master.recentEvents(),
      subscribe: (listener) => master.subscribe(guard(listener)),
    },
    logs: {
      recent: (filter, n) => logs.recent(filter, n),
      subscribe: (listener) => logs.subscribe(guard(listener)),
    },
  };
}

function close(server: Server, desk: Desk, unlink: () => void): void {
  if (!server.listening) return;
  unlink();
  server.close();
  desk.close();
  server.closeIdleConnections();
  setTimeout(() => server.closeAllConnections(), 500).unref();
}

/** Takes requests and answers them; knows the open streams. */
class Desk {
  readonly #served: Served;
  readonly #limits: ControlLimits;
  readonly #streams = new Set<LineStream>();
  readonly #forget: () => void;
  #followers = 0;
  #snapshot: { readonly json: string; readonly atMs: number } | null = null;

  constructor(served: Served, limits: ControlLimits) {
    this.#served = served;
    this.#limits = limits;
    this.#forget = served.master.subscribe(() => {
      this.#snapshot = null;
    });
  }

  close(): void {
    this.#forget();
    for (const stream of this.#streams) stream.end();
  }

  /** Never rejects. */
  async receive(request: IncomingMessage, response: ServerResponse): Promise<void> {
    request.on('error', () => {});
    response.on('error', () => {});
    response.setTimeout(this.#limits.stallMs * 3, () => {
      if (!response.headersSent || response.writableEnded) response.destroy();
    });
    try {
      const url = urlOf(request);
      const route = routeFor(request.method ?? '', url.pathname);
      const fields = route.method === 'GET' ? Object.fromEntries(url.searchParams) : await this.#body(request);
      await answer(route, this.#exchange(fields, response));
    } catch (error) {
      sendError(response, error);
    }
  }

  async #body(request: IncomingMessage): Promise<Fields> {
    return parseBody(await readBody(request, this.#limits.maxBodyBytes));
  }

  #exchange(fields: Fields, response: ServerResponse): Exchange {
    return {
      served: this.#served,
      fields,
      snapshotJson: () => this.#snapshotJson(),
      json: (text) => send(response, 200, text),
      open: (kind) => this.#open(kind, response),
    };
  }

  #open(kind: 'short' | 'follow', response: ServerResponse): LineStream {
    const follows = kind === 'follow';
    if (follows && this.#followers >= this.#limits.maxFollowers) {
      throw new HttpError(503, `${this.#followers} clients follow events or logs already`, 'end one of them, or ask without follow');
    }
    const stream = new LineStream(response, this.#limits);
    this.#streams.add(stream);
    if (follows) this.#followers += 1;
    stream.onClose(() => {
      this.#streams.delete(stream);
      if (follows) this.#followers -= 1;
    });
    return stream;
  }

  #snapshotJson(): string {
    const nowMs = performance.now();
    if (this.#snapshot === null || nowMs - this.#snapshot.atMs > this.#limits.snapshotAgeMs) {
      this.#snapshot = { json: JSON.stringify(this.#served.master.snapshot()), atMs: nowMs };
    }
    return this.#snapshot.json;
  }
}

function urlOf(request: IncomingMessage): URL {
  try {
    return new URL(request.url ?? '/', 'http://supervise');
  } catch {
    throw new HttpError(400, 'expected a path as /v1/status');
  }
}

/** @throws HttpError 413 as soon as it is known to be too large */
function readBody(request: IncomingMessage, maxBytes: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const pieces: Buffer[] = [];
    let bytes = 0;
    const tooLarge = () => {
      request.removeAllListeners('data');
      request.pause();
      reject(new HttpError(413, `expected a body of at most ${maxBytes} bytes, found more`));
    };
    if (Number(request.headers['content-length'] ?? 0) > maxBytes) return tooLarge();
    request.on('data', (piece: Buffer) => {
      bytes += piece.length;
      if (bytes > maxBytes) return tooLarge();
      pieces.push(piece);
    });
    request.on('end', () => resolve(Buffer.concat(pieces).toString('utf8')));
    request.on('close', () => reject(new HttpError(400, 'the request was cut')));
  });
}

function send(response: ServerResponse, status: number, text: string): void {
  const body = `${text}\n`;
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    'connection': 'close',
  });
  response.end(body);
}

function sendError(response: ServerResponse, error: unknown): void {
  if (response.headersSent) return void response.destroy();
  const { status, body } = errorAnswer(error);
  send(response, status, JSON.stringify(body));
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
