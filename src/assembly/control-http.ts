/** The control API over TCP: its socket is bound, and its token is there, before any hook runs. */
import { hostname } from 'node:os';
import type { HttpDoor } from '../control/http-door.ts';
import type { Spec, TcpListenSpec } from '../core/spec.ts';
import type { Cancel } from '../ports.ts';
import { tokenIn } from '../system/instance/token.ts';
import { openTcp } from '../system/sockets/sockets.ts';
import type { Place } from './place.ts';

export interface BoundDoor {
  readonly door: HttpDoor;
  readonly url: string;
  readonly close: Cancel;
}

/** null: the config asks for none. @throws SuperviseError socket-in-use, socket-cannot-bind, directory-unsafe */
export function bindDoor(
  { controlHttp }: Spec,
  { state, locks }: Place,
  warn: (message: string) => void,
): BoundDoor | null {
  if (controlHttp === null) return null;
  const { text: token, file: tokenFile } = tokenIn(state);
  const { handle, close } = openTcp(controlHttp, locks);
  if (!isLoopback(controlHttp)) {
    warn(
      `control.http: ${controlHttp.url} can be reached from other hosts, and the token passes there in plain text; put a proxy with TLS in front of it, or use 127.0.0.1`,
    );
  }
  const url = controlHttp.url.replace('tcp://', 'http://');
  return { door: { handle, token, tokenFile, hostNames: ownNames() }, url, close };
}

function isLoopback({ host }: TcpListenSpec): boolean {
  return host === '::1' || host.startsWith('127.');
}

/** As it calls itself, and without its domain. */
function ownNames(): string[] {
  const name = hostname().toLowerCase();
  return [...new Set([name, name.split('.')[0] ?? name])];
}
