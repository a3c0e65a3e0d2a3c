/**
 * The listening sockets of all apps. The master holds them from before the hooks until its end, so that no crash and no
 * reload closes one, and it never accepts on them.
 *
 * Rules
 * - Bound first, listening later (after the hooks): until then clients are refused, not kept waiting. Every socket is
 *   close-on-exec; a worker gets it because it is handed to it.
 * - A port in use is found at bind, although libuv keeps it back until listen. Two sockets that are bound and do not
 *   listen yet raise no error at all, so each address is locked besides, against another supervise.
 * - TCP sockets are NODELAY: what is accepted from them inherits it, also in programs that do not know that it is TCP.
 * - `:8000` is IPv6 and IPv4 in one socket (IPv4 alone where the host has no IPv6), `[::]:8000` is IPv6 only.
 * - Where an app's connections are steered, its workers get further listeners on the same address: see lanes.ts.
 * - All or nothing: a bind that fails leaves what was before.
 */
import { fstatSync } from 'node:fs';
import { isIP } from 'node:net';
import { getSystemErrorName } from 'node:util';
import { SuperviseError } from '../../core/errors.ts';
import type { ListenSpec } from '../../core/spec.ts';
import type { Cancel, Sockets } from '../../ports.ts';
import { canonicalIp, describeHolder, holderOfTcp } from '../holders.ts';
import type { Address } from '../sampling/listener-table.ts';
import type { ListenWay } from './listening.ts';
import { listenWays, makeListen } from './listening.ts';
import { Lanes } from './lanes.ts';
import { takeSeat, type Seat, type SeatedApp } from './seat.ts';
import { loadNative, type Native } from '../native.ts';
import type { Locks } from '../instance/locks.ts';
import type { ServerHandle } from './server-handle.ts';
import { createServerHandle } from './server-handle.ts';
import { bindUnix, closeUnix, setAccess } from './unix-socket.ts';

export type TcpSpec = Extract<ListenSpec, { kind: 'tcp' }>;

export interface BoundSockets extends Sockets {
  /** The fd in this process. @throws SuperviseError bug when it is not bound */
  fdOf(url: string): number;
  /** `socket:[123]`, as /proc/PID/fd shows it in every process that has it. @throws SuperviseError bug when it is not bound */
  inodeOf(url: string): string;
  /** The port of a TCP socket as the kernel has it (the spec may say 0), null for a unix socket. @throws SuperviseError bug */
  portOf(url: string): number | null;
  /**
   * A place at each socket of an app, for one process that is to be started. Whoever takes it ends it.
   * @param worker its id
   * @param warn told why connections are not steered, if the app wants them to be and they cannot
   * @throws SuperviseError bug when one is not bound
   */
  seat(app: SeatedApp, worker: string, warn: (message: string) => void): Seat;
  /** `socket:[inode]` of the listeners of each worker that has a seat, by its id. */
  seated(): ReadonlyMap<string, readonly string[]>;
  /** Where a URL listens, as the kernel has it; null: it is not bound. */
  addressOf(url: string): Address | null;
  /** The descriptors of all listeners of an address, in the order of the kernel. @throws SuperviseError bug */
  lanesOf(url: string): readonly number[];
}

/** One open socket, and how to give it back. */
export interface OpenSocket {
  readonly handle: ServerHandle;
  readonly port: number | null;
  readonly close: Cancel;
}

interface Bound extends OpenSocket {
  readonly spec: ListenSpec;
  readonly lanes: Lanes;
  state: 'bound' | 'listening';
}

/** `ways`: how to make sockets listen, best first. `native`: the calls of libc, or null where there are none. */
export function createSockets(
  locks: Locks,
  ways: readonly ListenWay[] = listenWays,
  native: () => Native | null = loadNative,
): BoundSockets {
  const all = new Map<string, Bound>();
  const seats = new Map<string, readonly string[]>();

  const boundAs = (url: string): Bound => {
    const bound = all.get(url);
    if (bound !== undefined) return bound;
    throw new SuperviseError(
      'bug',
      `expected ${url} to be bound, found: ${[...all.keys()].join(', ') || 'nothing is'}`,
    );
  };
  const close = (urls: readonly string[]): void => {
    for (const url of urls) {
      boundAs(url).lanes.close();
      boundAs(url).close();
      all.delete(url);
    }
  };

  return {
    bind(wanted) {
      const added: string[] = [];
      try {
        for (const spec of wanted) {
          const old = all.get(spec.url);
          if (old === undefined) {
            const socket = open(spec, locks);
            all.set(spec.url, { ...socket, spec, lanes: new Lanes(socket.handle.fd, native), state: 'bound' });
            added.push(spec.url);
          } else if (spec.kind === 'unix') {
            setAccess(spec);
          }
        }
      } catch (error) {
        close(added);
        throw error;
      }
    },
    listen() {
      const waiting = [...all.values()].filter((bound) => bound.state === 'bound');
      const result = makeListen(
        waiting.map((bound) => bound.handle.fd),
        ways,
      );
      if (result === null) throw noWay(ways);
      if (!result.done) throw listenFailed(waiting[result.index], result.errno);
      for (const bound of waiting) bound.state = 'listening';
    },
    retain: (urls) => close([...all.keys()].filter((url) => !urls.includes(url))),
    fdOf: (url) => boundAs(url).handle.fd,
    inodeOf: (url) => inodeOfFd(boundAs(url).handle.fd),
    portOf: (url) => boundAs(url).port,
    seat(app, worker, warn) {
      const seat = takeSeat(app, (url) => boundAs(url).lanes, warn);
      const end = (): void => {
        seat.end();
        if (seats.get(worker) === seat.inodes) seats.delete(worker);
      };
      seats.set(worker, seat.inodes);
      return {
        ...seat,
        get isShared() {
          return seat.isShared;
        },
        end,
      };
    },
    seated: () => seats,
    addressOf(url) {
      const bound = all.get(url);
      if (bound === undefined) return null;
      const host = bound.spec.kind === 'tcp' ? bound.spec.host : '';
      return { host, port: bound.port, listeners: bound.lanes.fds.map(inodeOfFd) };
    },
    lanesOf: (url) => boundAs(url).lanes.fds,
  };
}

function inodeOfFd(fd: number): string {
  return `socket:[${fstatSync(fd).ino}]`;
}

function open(spec: ListenSpec, locks: Locks): OpenSocket {
  if (spec.kind === 'tcp') return openTcp(spec, locks);
  const release = lockAddress(spec.url, `address/unix${spec.path}`, locks);
  try {
    const { handle, identity } = bindUnix(spec);
    const close = (): void => {
      closeUnix(handle, spec.path, identity);
      release();
    };
    return { handle, port: null, close };
  } catch (error) {
    release();
    throw error;
  }
}

// ---------------------------------------------------------------- TCP

/** UV_TCP_IPV6ONLY of libuv. */
const ipv6Only = 1;

/** Binds one TCP address, which does not listen yet. @throws SuperviseError socket-in-use, socket-cannot-bind */
export function openTcp(spec: TcpSpec, locks: Locks): OpenSocket {
  const handle = bindTcp(spec);
  try {
    const name: { port?: number; address?: string } = {};
    // A port in use: libuv has kept the error of bind() until now.
    const error = handle.getsockname?.(name) ?? 0;
    if (error < 0) throw tcpFailed(spec, error);
    handle.setNoDelay?.(true);
    const port = name.port ?? spec.port;
    const release = lockTcp(spec, port);
    const close = (): void => {
      handle.close();
      release();
    };
    return { handle, port, close };
  } catch (error) {
    handle.close();
    throw error;
  }

  function lockTcp({ url, host }: TcpSpec, port: number): Cancel {
    const prefix = `address/tcp/${port}/`;
    const own = host === '' ? '*' : canonicalIp(host);
    const release = lockAddress(url, `${prefix}${own}`, locks);
    // Ours is taken before the others are looked at: of two that start together at least one sees the other.
    const clash = locks
      .held(prefix)
      .map((name) => name.slice(prefix.length))
      .find((other) => other !== own && overlap(own, other));
    if (clash === undefined) return release;
    release();
    throw heldBySupervise(url, locks.take(`${prefix}${clash}`));
  }
}

function bindTcp(spec: TcpSpec): ServerHandle {
  const { host, port } = spec;
  const family = isIP(host);
  if (host !== '' && family === 0) {
    throw new SuperviseError('socket-cannot-bind', `cannot bind ${spec.url}: expected an IP address, found "${host}"`, {
      hint: 'write the address itself, as 127.0.0.1 or [::1]; an empty host, as in ":8000", is all addresses',
    });
  }
  let result =
    family === 4
      ? createServerHandle(host, port, 4)
      : createServerHandle(host === '' ? '::' : host, port, 6, host === '::' ? ipv6Only : 0);
  if (host === '' && typeof result === 'number' && withoutIpv6.has(getSystemErrorName(result)))
    result = createServerHandle('0.0.0.0', port, 4);
  if (typeof result === 'number') throw tcpFailed(spec, result);
  return result;
}

/** What a host without IPv6 answers to `::`. */
const withoutIpv6 = new Set(['EAFNOSUPPORT', 'EADDRNOTAVAIL', 'EINVAL', 'EPROTONOSUPPORT']);

/** `*` is everything, 0.0.0.0 all of IPv4, :: all of IPv6. */
function overlap(one: string, other: string): boolean {
  const covers = (a: string, b: string): boolean =>
    a === '*' || (a === '0.0.0.0' && isIP(b) === 4) || (a === '::' && isIP(b) === 6);
  return covers(one, other) || covers(other, one);
}

function tcpFailed(spec: TcpSpec, error: number): SuperviseError {
  const name = getSystemErrorName(error);
  if (name === 'EADDRINUSE') return inUse('bind', spec, spec.port, 'stop it, or listen elsewhere');
  return new SuperviseError('socket-cannot-bind', `cannot bind ${spec.url}: ${name}`, {
    hint: tcpHints[name] ?? 'see bind(2) for what this means',
  });
}

function inUse(what: 'bind' | 'listen on', { url, host }: TcpSpec, port: number, hint: string): SuperviseError {
  const holder = describeHolder(holderOfTcp(host === '' ? '::' : host, port));
  return new SuperviseError('socket-in-use', `cannot ${what} ${url}: port ${port} is in use by ${holder}`, { hint });
}

const tcpHints: Readonly<Record<string, string>> = {
  EACCES:
    'ports below 1024 need root or CAP_NET_BIND_SERVICE (AmbientCapabilities=CAP_NET_BIND_SERVICE in a unit); or use a higher port behind a proxy',
  EADDRNOTAVAIL:
    'no interface of this host has that address; see "ip address", or listen on all with an empty host, as in ":8000"',
  EAFNOSUPPORT: 'this host has no IPv6; use an IPv4 address',
  EINVAL: 'a link-local address needs its interface, as in [fe80::1%eth0]:8000',
};

// ---------------------------------------------------------------- refused

function lockAddress(url: string, name: string, locks: Locks): Cancel {
  const result = locks.take(name);
  if (result.taken) return result.release;
  throw heldBySupervise(url, result);
}

function heldBySupervise(url: string, result: ReturnType<Locks['take']>): SuperviseError {
  if (result.taken) result.release();
  const holder = describeHolder(result.taken ? null : result.holder);
  return new SuperviseError('socket-in-use', `cannot bind ${url}: another supervise has it: ${holder}`, {
    hint: 'stop that one, or listen elsewhere',
  });
}

function listenFailed(bound: Bound | undefined, errno: number): SuperviseError {
  const name = getSystemErrorName(-errno);
  if (bound?.spec.kind === 'tcp' && name === 'EADDRINUSE') {
    return inUse('listen on', bound.spec, bound.port ?? 0, 'it began to listen while the hooks ran; stop it');
  }
  return new SuperviseError('socket-cannot-bind', `cannot listen on ${bound?.spec.url}: ${name}`, {
    hint: 'see listen(2) for what this means',
  });
}

function noWay(ways: readonly ListenWay[]): SuperviseError {
  return new SuperviseError(
    'socket-cannot-bind',
    `expected one of ${ways.join(', ')} to call listen() for the master, found none that works`,
    {
      hint: 'install perl, or the optional package koffi (npm install koffi)',
    },
  );
}
