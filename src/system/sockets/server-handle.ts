/**
 * The one place that touches net._createServerHandle: how node:cluster itself binds a socket without listening on it.
 * It carries an underscore and is not in the type definitions, but Node 20 to 26 have it. A public way (net.BoundSocket) exists
 * only from Node 24.19 on.
 */
import net from 'node:net';
import { SuperviseError } from '../../core/errors.ts';

/** A bound socket. Unreferenced handles are kept by libuv until they are closed. */
export interface ServerHandle {
  readonly fd: number;
  close(): void;
  /** Only of TCP. Fills `out`; an error that bind() left behind comes out here, as a negative errno. */
  getsockname?(out: { address?: string; port?: number; family?: string }): number;
  /** Only of TCP. */
  setNoDelay?(on: boolean): number;
}

type CreateServerHandle = (
  address: string | null,
  port: number,
  family: 4 | 6 | -1,
  fd?: number,
  flags?: number,
) => ServerHandle | number;

/**
 * Binds TCP (family 4 or 6, a literal address), or a unix socket (port and family -1; a leading NUL makes it abstract).
 * Close-on-exec, non-blocking. A number is a negative errno. For TCP a port in use is found by getsockname() only.
 */
export function createServerHandle(
  address: string,
  port: number,
  family: 4 | 6 | -1,
  flags = 0,
): ServerHandle | number {
  const create = (net as unknown as { _createServerHandle?: CreateServerHandle })._createServerHandle;
  if (typeof create !== 'function') {
    throw new SuperviseError('bug', `expected net._createServerHandle, found none in Node ${process.version}`, {
      hint: 'run supervise on a Node version from 20.19 to 26',
    });
  }
  return create(address, port, family, undefined, flags);
}
