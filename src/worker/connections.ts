/**
 * The connections of all servers of this process, and which of them may be closed while the process drains. Standalone.
 *
 *   HTTP/1   a request in hand (until its last byte is sent)   stays; its response says `Connection: close`
 *            a request arriving                                stays
 *            kept alive, idle                                  closed once nothing came for `idleSweeps` sweeps in a row
 *            new, without a byte yet                           closed after `newSweeps` sweeps: browsers open some on stock
 *   HTTP/2   GOAWAY: its streams are finished, new ones go elsewhere
 *   others   upgraded (WebSocket, CONNECT) and raw connections: nobody here can tell whether they are idle, so they stay
 *
 * - An idle connection is not closed in the very moment: whoever uses it often brings another request within the pause, whose
 *   answer then says `Connection: close`. Else that request and the end of the connection could cross on the way.
 * - Which HTTP/1 connections are idle only Node's parser knows: closeIdleConnections() is asked, with nothing being
 *   destroyed. By itself it would also cut off answers that are not yet on the wire in full.
 */
import type { Server, Socket } from 'node:net';

/** What http adds to its sockets and servers. */
type HttpSocket = Socket & {
  readonly parser?: object | null;
  readonly _httpMessage?: Response | null;
  /** The server that reads requests from it, which may be another than the one that has accepted it. */
  readonly server?: HttpServer;
};
type HttpServer = Server & { closeIdleConnections?(): void };

interface Response {
  readonly headersSent: boolean;
  shouldKeepAlive: boolean;
}

interface Http2Session extends NodeJS.EventEmitter {
  close(): void;
  destroy(): void;
}

/** What is known of a connection. */
interface Known {
  /** Whether it brings a TLS handshake first. What is inside of it is another socket. */
  readonly isTls: boolean;
  /** For how many sweeps in a row it could have been closed. */
  sweeps: number;
}

/** How often `sweep` is to be called. */
export const sweepEveryMs = 50;
const idleSweeps = 5;
const newSweeps = 20;

export class Connections {
  readonly #sockets = new Map<HttpSocket, Known>();
  readonly #sessions = new Set<Http2Session>();
  readonly #marked = new WeakSet<Server>();
  #sessionsMay: 'go on' | 'finish' = 'go on';

  /** Follows the connections of a server that will listen. */
  follow(server: Server): void {
    const enter = (socket: Socket, isTls: boolean): void => {
      this.#sockets.set(socket, { isTls, sweeps: 0 });
      socket.once('close', () => this.#sockets.delete(socket));
    };
    server.on('connection', (socket: Socket) => enter(socket, 'setSecureContext' in server));
    server.on('secureConnection', (socket: Socket) => enter(socket, false));
    server.on('session', (session: Http2Session) => {
      this.#sessions.add(session);
      session.once('close', () => this.#sessions.delete(session));
      if (this.#sessionsMay === 'finish') session.close();
    });
  }

  /** From now on every HTTP/1 response whose headers are not sent yet says `Connection: close`. */
  sayClose(servers: Iterable<Server>): void {
    for (const server of servers) this.#mark(server);
    for (const { _httpMessage } of this.#sockets.keys()) markResponse(_httpMessage);
  }

  /** GOAWAY on every HTTP/2 session, also on those to come. */
  closeSessions(): void {
    this.#sessionsMay = 'finish';
    for (const session of this.#sessions) session.close();
  }

  /** Closes what has been idle for long enough. */
  sweep(): void {
    const idle = this.#idle();
    for (const [socket, known] of this.#sockets) {
      const isNew = isUnused(socket, known);
      if (!isNew && !idle.has(socket)) known.sweeps = 0;
      else if (++known.sweeps >= (isNew ? newSweeps : idleSweeps)) socket.destroy();
    }
  }

  /** Cuts off what is left. */
  destroy(): void {
    for (const session of this.#sessions) session.destroy();
    for (const socket of this.#sockets.keys()) socket.destroy();
  }

  #mark(server: Server): void {
    if (this.#marked.has(server)) return;
    this.#marked.add(server);
    const mark = (_: unknown, response: Response): void => markResponse(response);
    server.prependListener('request', mark);
    // To listen for these where the program does not would change what Node answers.
    for (const event of ['checkContinue', 'checkExpectation'])
      if (server.listenerCount(event) > 0) server.prependListener(event, mark);
  }

  /** The kept-alive connections on which nothing is under way. */
  #idle(): Set<HttpSocket> {
    const idle = new Set<HttpSocket>();
    const readers = new Map<HttpServer, HttpSocket[]>();
    for (const socket of this.#sockets.keys()) {
      const reader = socket.parser ? socket.server : undefined;
      if (reader?.closeIdleConnections === undefined) continue;
      const sockets = readers.get(reader);
      if (sockets === undefined) readers.set(reader, [socket]);
      else sockets.push(socket);
    }
    for (const [reader, sockets] of readers) {
      this.#mark(reader);
      for (const socket of wouldBeClosed(reader, sockets))
        if (!socket._httpMessage && socket.writableLength === 0) idle.add(socket);
    }
    return idle;
  }
}

/** Which of them closeIdleConnections() would destroy. */
function wouldBeClosed(server: HttpServer, sockets: readonly HttpSocket[]): readonly HttpSocket[] {
  const found: HttpSocket[] = [];
  const before = sockets.map((socket) => Object.getOwnPropertyDescriptor(socket, 'destroy'));
  try {
    for (const socket of sockets) socket.destroy = () => (found.push(socket), socket);
    server.closeIdleConnections?.();
  } finally {
    sockets.forEach((socket, index) => {
      const own = before[index];
      if (own === undefined) delete (socket as Partial<Socket>).destroy;
      else Object.defineProperty(socket, 'destroy', own);
    });
  }
  return found;
}

function markResponse(response: Response | null | undefined): void {
  if (response && !response.headersSent) response.shouldKeepAlive = false;
}

/** Whether it is to bring HTTP/1 or TLS, and not a byte has come yet. */
function isUnused(socket: HttpSocket, { isTls }: Known): boolean {
  return socket.bytesRead === 0 && (isTls || Boolean(socket.parser));
}
