/**
 * One try of an http or tcp probe against a port of the worker's own, on 127.0.0.1.
 *
 * Rules
 * - A try ends after 1 s, whatever the other side does, and answers once, never at once.
 * - http: GET; 2xx and 3xx are a yes. A new connection per try, closed after the head of the answer.
 * - tcp: a connection that is accepted is a yes; it is reset, which leaves no TIME_WAIT.
 * - Cancelled: no answer comes, the connection is gone.
 */
import { request } from 'node:http';
import { connect } from 'node:net';
import type { Cancel } from '../../ports.ts';

const tryMs = 1000;
const host = '127.0.0.1';

export type Probe = (answer: (yes: boolean) => void) => Cancel;

export function httpProbe(port: number, path: string): Probe {
  return (answer) => {
    const headers = { 'connection': 'close', 'user-agent': 'supervise' };
    const get = request({ host, port, path: escaped(path), method: 'GET', agent: false, headers });
    const end = once(answer, () => get.destroy());
    get.on('response', (response) => end(isReady(response.statusCode ?? 0)));
    get.on('error', () => end(false));
    get.end();
    return () => end(null);
  };
}

/** A path as it may stand in a request: node:http throws for blanks and for letters beyond Latin-1. */
function escaped(path: string): string {
  return path.replaceAll(/[^\x21-\x7e]/gu, encodeURIComponent);
}

function isReady(status: number): boolean {
  return status >= 200 && status < 400;
}

export function tcpProbe(port: number): Probe {
  return (answer) => {
    const socket = connect({ host, port });
    const end = once(answer, () => socket.resetAndDestroy());
    socket.on('connect', () => end(true));
    socket.on('error', () => end(false));
    return () => end(null);
  };
}

/** The end of a try: it happens once, closes what is open, and tells the answer unless that is null. */
function once(answer: (yes: boolean) => void, close: () => void): (yes: boolean | null) => void {
  let over = false;
  const end = (yes: boolean | null): void => {
    if (over) return;
    over = true;
    clearTimeout(timer);
    close();
    if (yes !== null) answer(yes);
  };
  const timer = setTimeout(() => end(false), tryMs);
  return end;
}
