/**
 * The control API over TCP: who may come in. A browser on this host can be made to send requests by any page, and everybody on this host
 * can connect to a loopback port, so none of these checks is enough alone:
 *
 * - Host: an IP address, `localhost` or a name of this host. A page whose name was made to lead here (DNS rebinding) has its own.
 * - Origin: what a browser sends for a page of another site is refused, also for reading. There are no CORS headers.
 * - Authorization: Bearer and the token, compared in constant time. Only the front page, which tells nothing of the master, needs none.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { HttpError } from './wire.ts';

export interface HttpDoor {
  /** A bound TCP handle that does not listen yet, as server.listen() takes it. */
  readonly handle: object;
  readonly token: string;
  /** Where the token is, for messages. */
  readonly tokenFile: string;
  /** Names of this host that a client may use besides `localhost` and addresses; in small letters. */
  readonly hostNames: readonly string[];
}

/** Lets a request in, or throws. @throws HttpError 401, 403 */
export function admission(door: HttpDoor): (request: IncomingMessage, path: string) => void {
  const wanted = digest(door.token);
  return ({ headers }, path) => {
    checkHost(headers.host, door.hostNames);
    checkOrigin(headers.origin, headers.host ?? '');
    if (path === '/') return;
    const [, given = ''] = /^bearer +(\S+) *$/i.exec(headers.authorization ?? '') ?? [];
    if (timingSafeEqual(digest(given), wanted)) return;
    const found = headers.authorization === undefined ? 'nothing' : given === '' ? 'something else' : 'another token';
    throw new HttpError(
      401,
      `expected the header "Authorization: Bearer TOKEN", found ${found}`,
      'the token is in the file that the log of the master names',
    );
  };
}

function checkHost(host: string | undefined, names: readonly string[]): void {
  const [, bracketed, plain = ''] = /^(?:\[([\da-f:.]+)\]|([^\s:/@[\]]+))(?::\d{1,5})?$/i.exec(host ?? '') ?? [];
  const name = plain.toLowerCase();
  if (bracketed === undefined ? isIP(name) === 4 : isIP(bracketed) === 6) return;
  if (name === 'localhost' || names.includes(name)) return;
  // the names themselves are not told: who is refused here may be a page that must not learn them
  const found = host === undefined ? 'none' : 'another name';
  throw new HttpError(403, `Host: expected an IP address, localhost or the name of this host; found ${found}`);
}

/** The scheme may be another one: a proxy speaks TLS in front of us. */
function checkOrigin(origin: string | undefined, host: string): void {
  if (origin === undefined || /^https?:\/\/(.+)$/.exec(origin.toLowerCase())?.[1] === host.toLowerCase()) return;
  throw new HttpError(403, 'Origin: expected none, or the address of this server; found that of another site');
}

/** Of one length, whatever the token's is. */
function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
