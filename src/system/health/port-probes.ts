/**
 * One try of an http or tcp probe against a port of the worker's own, on 127.0.0.1: for readiness and for health.
 *
 * Rules
 * - A try answers once, never at once: null is a yes, else it is why not, in words.
 * - It ends after `timeoutMs`, whatever the other side does.
 * - http: GET; 2xx and 3xx are a yes. A new connection per try, closed after the head of the answer.
 * - tcp: a connection that is accepted is a yes; it is reset, which leaves no TIME_WAIT.
 * - Cancelled: no answer comes, the connection is gone.
 */
import { request } from 'node:http';
import { connect } from 'node:net';
import { formatDuration } from '../../core/units.ts';
import type { Cancel } from '../../ports.ts';

const host = '127.0.0.1';

export interface Aim {
  readonly port: number;
  readonly timeoutMs: number;
}

export type PortProbe = (answer: (failure: string | null) => void) => Cancel;

export function httpProbe(aim: Aim & { readonly path: string }): PortProbe {
  const { port, timeoutMs } = aim;
  const path = escaped(aim.path);
  const what = `GET http://${host}:${port}${path}`;
  return (answer) => {
    const headers = { 'connection': 'close', 'user-agent': 'supervise' };
    const get = request({ host, port, path, method: 'GET', agent: false, headers });
    const late = `${what}: no answer within ${formatDuration(timeoutMs)}`;
    const end = once({ timeoutMs, late, answer, close: () => get.destroy() });
    get.on('response', ({ statusCode = 0 }) => end(isYes(statusCode) ? null : `${what} answered ${statusCode}`));
    get.on('error', (error) => end(`${what}: ${inWords(error)}`));
    get.end();
    return () => end('cancelled');
  };
}

/** A path as it may stand in a request: node:http throws for blanks and for letters beyond Latin-1. */
function escaped(path: string): string {
  return path.replaceAll(/[^\x21-\x7e]/gu, encodeURIComponent);
}

function isYes(status: number): boolean {
  return status >= 200 && status < 400;
}

export function tcpProbe({ port, timeoutMs }: Aim): PortProbe {
  return (answer) => {
    const socket = connect({ host, port });
    const late = `${host}:${port}: no connection within ${formatDuration(timeoutMs)}`;
    const end = once({ timeoutMs, late, answer, close: () => socket.resetAndDestroy() });
    socket.on('connect', () => end(null));
    socket.on('error', (error) => end(`${host}:${port}: ${inWords(error)}`));
    return () => end('cancelled');
  };
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
  readonly timeoutMs: number;
  /** What is answered when the time is over. */
  readonly late: string;
  answer(failure: string | null): void;
  close(): void;
}

/** The end of a try: it happens once, closes what is open, and tells the answer unless it was cancelled. */
function once({ timeoutMs, late, answer, close }: Try): (how: string | null) => void {
  let over = false;
  const end = (how: string | null): void => {
    if (over) return;
    over = true;
    clearTimeout(timer);
    close();
    if (how !== 'cancelled') answer(how);
  };
  const timer = setTimeout(() => end(late), timeoutMs);
  return end;
}
