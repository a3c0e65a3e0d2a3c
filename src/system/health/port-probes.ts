/**
 * One try of an http or tcp probe, for readiness and for health: against a port of the worker's own, where the worker
 * listens, or against a listener of the master's that this worker alone accepts from.
 *
 * Rules
 * - A try answers once, never at once: null is a yes, else it is why not, in words.
 * - It ends after `timeoutMs`, whatever the other side does.
 * - http: GET; 2xx and 3xx are a yes. A new connection per try, closed after the head of the answer.
 * - tcp: a connection that is accepted is a yes. It is never reset: that is an error event at the server, which ends a Node
 *   program that does not expect it. We end our side and read on until the server has ended its own, for a second at most.
 * - Cancelled: no answer comes any more, the connection is gone, or has ended as above.
 *
 * The master's listener always listens, so a connection to it is made also when the worker takes none, and stands in the
 * queue then, also when it is closed, until somebody accepts it. Therefore, there:
 * - tcp: the kernel is asked (sock_diag) until it says that the connection has been accepted.
 * - A try that is late while its connection has not been accepted answers as `waiting`, and is not over: it keeps the
 *   connection, and answers once more in its end. Whoever does not try again before leaves one in the queue at most.
 */
import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { formatDuration } from '../../core/units.ts';
import type { Cancel } from '../../ports.ts';
import { loadNative } from '../native.ts';

export interface Aim {
  readonly host: string;
  readonly port: number;
  /** Where the connection has to come from, if that matters. */
  readonly localAddress?: string;
  /** Who has made the socket listen. */
  readonly listener: 'worker' | 'master';
  readonly timeoutMs: number;
}

/** `waiting`: late, but not over. */
export type Answer = (failure: string | null, state: 'over' | 'waiting') => void;
export type PortProbe = (answer: Answer) => Cancel;

/** How often the kernel is asked whether a connection has been accepted. */
const lookAgainMs = 20;
/** How long a server has to end its side of a connection that we have ended. */
const partMs = 1_000;
const mostParting = 64;

export function httpProbe(aim: Aim & { readonly path: string }): PortProbe {
  const { host, port, localAddress } = aim;
  const path = escaped(aim.path);
  const what = `GET http://${host}:${port}${path}`;
  return (answer) => {
    const headers = { 'connection': 'close', 'user-agent': 'supervise' };
    const to = { host, port, ...(localAddress !== undefined && { localAddress }) };
    const get = request({ ...to, path, method: 'GET', agent: false, headers });
    const close = (): void => void get.destroy();
    const waits = (): boolean => isAccepted(aim, get.socket) === false;
    const end = once(aim, { late: `${what}: no answer`, answer, close, waits });
    get.on('response', ({ statusCode = 0 }) => end(isYes(statusCode) ? null : `${what} answered ${statusCode}`));
    get.on('error', (error) => end(`${what}: ${inWords(error)}`));
    get.end();
    return () => end('cancelled');
  };
}

/**
 * A path as it may stand in a request: node:http throws for blanks and for letters beyond Latin-1, encodeURIComponent for half a
 * surrogate pair.
 */
function escaped(path: string): string {
  return path.replaceAll(/\p{Surrogate}/gu, '\ufffd').replaceAll(/[^\x21-\x7e]/gu, encodeURIComponent);
}

function isYes(status: number): boolean {
  return status >= 200 && status < 400;
}

export function tcpProbe(aim: Aim): PortProbe {
  const { host, port, localAddress, listener } = aim;
  return (answer) => {
    const socket = connect({ host, port, ...(localAddress !== undefined && { localAddress }) });
    let again: NodeJS.Timeout | undefined;
    const close = (): void => {
      clearTimeout(again);
      if (isTaken) part(socket);
      else socket.destroy();
    };
    let isTaken = false;
    const waits = (): boolean => isAccepted(aim, socket) === false;
    const end = once(aim, { late: `${host}:${port}: no connection`, answer, close, waits });
    const look = (): void => {
      isTaken = listener === 'worker' || isAccepted(aim, socket) === true;
      if (isTaken) return end(null);
      again = setTimeout(look, lookAgainMs);
    };
    socket.on('connect', look);
    // It has been accepted, and closed.
    socket.on('end', () => end(null)).resume();
    socket.on('error', (error) => end(`${host}:${port}: ${inWords(error)}`));
    return () => end('cancelled');
  };
}

/** Closes a connection so that the server sees its end, and no reset for what it has sent or still sends. Keeps no process alive. */
function part(socket: Socket): void {
  const timer = setTimeout(() => socket.destroy(), partMs).unref();
  parting.add(socket);
  socket.once('close', () => {
    clearTimeout(timer);
    parting.delete(socket);
  });
  socket.unref().end();
  const [oldest] = parting;
  if (parting.size > mostParting) oldest?.destroy();
}

/** In the order in which they have ended. */
const parting = new Set<Socket>();

/** Whether the worker has taken it; null: it cannot be told, or does not matter. */
function isAccepted({ listener }: Aim, socket: Socket | null): boolean | null {
  const { localAddress, localPort, remoteAddress, remotePort } = socket ?? {};
  if (listener === 'worker' || localAddress === undefined || localPort === undefined) return null;
  if (remoteAddress === undefined || remotePort === undefined) return null;
  const client = { address: localAddress, port: localPort };
  return loadNative()?.diag.isAccepted({ client, server: { address: remoteAddress, port: remotePort } }) ?? null;
}

function inWords(error: NodeJS.ErrnoException): string {
  const known: Record<string, string> = {
    ECONNREFUSED: 'nothing listens there',
    ECONNRESET: 'it closed the connection without an answer',
  };
  const text = known[error.code ?? ''] ?? error.message;
  return error.code === undefined ? text : `${text} (${error.code})`;
}

interface Try {
  /** What is answered when the time is over, but for the time. */
  readonly late: string;
  answer: Answer;
  close(): void;
  /** Whether the connection is known to wait for being accepted. */
  waits(): boolean;
}

/** The end of a try: it happens once, closes what is open, and tells the answer unless it was cancelled. */
function once({ timeoutMs }: Aim, { late, answer, close, waits }: Try): (how: string | null) => void {
  let over = false;
  let timer: NodeJS.Timeout;
  const end = (how: string | null): void => {
    if (over) return;
    over = true;
    clearTimeout(timer);
    close();
    if (how !== 'cancelled') answer(how, 'over');
  };
  const begin = (): void => {
    timer = setTimeout(() => {
      const failure = `${late} within ${formatDuration(timeoutMs)}`;
      if (!waits()) return end(failure);
      begin();
      answer(`${failure}; it has not accepted the connection`, 'waiting');
    }, timeoutMs);
  };
  begin();
  return end;
}
