/**
 * What the kernel tells of the sockets of this network namespace (sock_diag(7)), over libc: asks once, for those of one
 * family that are connected, for those that serve some ports, for those that are about to be, or for a single one. Needs no rights.
 */
import type { Libc } from './native.ts';

export interface DiagnosedSocket {
  readonly inode: number;
  /** What it has received and its process has not read yet. */
  readonly readableBytes: number;
  /** What its process has written and the peer has not acknowledged (TCP) or read (unix) yet. */
  readonly unsentBytes: number;
  /** TCP: what the peer has acknowledged, and what came from it, ever (Linux 4.1); null: not counted. */
  readonly acknowledgedBytes: number | null;
  readonly receivedBytes: number | null;
}

/** A listener, or a connection that was made to one. */
export interface ServingSocket {
  /** 0: no process has it (yet). */
  readonly inode: number;
  /** How many connections wait to be accepted; null: it does not listen. */
  readonly waiting: number | null;
}

export interface SocketDiag {
  /**
   * Calls `each` for every connected socket, until it answers false.
   * @returns whether the kernel has answered; without the module of that family (tcp_diag, unix_diag) it does not
   */
  connected(family: 'ipv4' | 'ipv6' | 'unix', each: (socket: DiagnosedSocket) => boolean): boolean;
  /**
   * Calls `each` for every socket that listens on one of these local ports, or is connected on it, until it answers false.
   * The kernel leaves out all others, so that it costs little on a host with many connections.
   * @param ports at least one
   * @returns as above
   */
  serving(family: 'ipv4' | 'ipv6', ports: readonly number[], each: (socket: ServingSocket) => boolean): boolean;
  /**
   * The connections to this local port whose handshake is not over (SYN_RECV): each a name that is its own; none where the
   * kernel does not tell.
   */
  handshakes(port: number): ReadonlySet<string>;
  /** Whether the server's end of a connection has been accepted; null: it is gone, or the kernel does not tell. */
  isAccepted(connection: { readonly server: Endpoint; readonly client: Endpoint }): boolean | null;
}

/** Of IPv4. */
export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const NETLINK_SOCK_DIAG = 4;
const MSG_DONTWAIT = 0x40;
const SOCK_DIAG_BY_FAMILY = 20;
/** NLM_F_REQUEST, NLM_F_DUMP */
const dump = 0x301;
const families = { unix: 1, ipv4: 2, ipv6: 10 } as const;
const IPPROTO_TCP = 6;
/** Bits: ESTABLISHED; and FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT, LAST_ACK, CLOSING. */
const connectedUnix = 1 << 1;
const connectedTcp = connectedUnix | (1 << 4) | (1 << 5) | (1 << 8) | (1 << 9) | (1 << 11);
const TCP_LISTEN = 10;
/** SYN_RECV; and NEW_SYN_RECV, which is what the kernel calls one that has no socket yet. */
const inHandshake = (1 << 3) | (1 << 12);
const UDIAG_SHOW_RQLEN = 0x10;
const UNIX_DIAG_RQLEN = 4;
const INET_DIAG_INFO = 2;
const INET_DIAG_REQ_BYTECODE = 1;
const [INET_DIAG_BC_JMP, INET_DIAG_BC_S_GE, INET_DIAG_BC_S_LE] = [1, 2, 3];
/** struct nlmsghdr, inet_diag_req_v2, inet_diag_msg, unix_diag_req, unix_diag_msg, nlattr */
const [headerBytes, inetRequestBytes, inetBytes, unixRequestBytes, unixBytes, attributeBytes] = [16, 56, 72, 24, 16, 4];
/** In inet_diag_msg. */
const stateAt = 1;
const [peersAt, peersBytes] = [4, 36];
const [rqueueAt, wqueueAt, inetInodeAt, unixInodeAt] = [56, 60, 68, 4];
/** In tcp_info. */
const [ackedAt, receivedAt, countedBytes] = [120, 128, 136];
/** More at once are a flood. */
const mostHandshakes = 1_000;
/** A dump comes in parts of at most this. */
const partBytes = 64 * 1024;
const isLittle = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

export function socketDiag(libc: Libc): SocketDiag {
  const socket = libc.func('int socket(int, int, int)');
  const send = libc.func('intptr_t send(int, const void *, uintptr_t, int)');
  const receive = libc.func('intptr_t recv(int, void *, uintptr_t, int)');
  const close = libc.func('int close(int)');
  const ask = (asked: Uint8Array, each: (message: DataView) => boolean): boolean => {
    const fd = Number(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
    if (fd < 0) return false;
    try {
      if (Number(send(fd, asked, asked.length, 0)) !== asked.length) return false;
      const part = new Uint8Array(partBytes);
      for (;;) {
        const length = Number(receive(fd, part, partBytes, MSG_DONTWAIT));
        if (length < headerBytes) return false;
        const ended = readPart(new DataView(part.buffer, 0, length), each);
        if (ended !== null) return ended;
      }
    } finally {
      close(fd);
    }
  };
  return {
    connected: (family, each) =>
      family === 'unix'
        ? ask(unixRequest(), (message) => each(unixSocket(message)))
        : ask(tcpRequest(family, connectedTcp, 'counted'), (message) => each(tcpSocket(message))),
    serving: (family, ports, each) =>
      ask(tcpRequest(family, connectedTcp | (1 << TCP_LISTEN), anyOfPorts(ports)), (message) =>
        each(servingSocket(message)),
      ),
    handshakes(port) {
      const found = new Set<string>();
      for (const family of ['ipv4', 'ipv6'] as const) {
        ask(tcpRequest(family, inHandshake, anyOfPorts([port])), (message) => {
          found.add(peersIn(message));
          return found.size < mostHandshakes;
        });
      }
      return found;
    },
    isAccepted(connection) {
      let accepted: boolean | null = null;
      ask(requestFor(connection), (message) => {
        accepted = acceptedIn(message);
        return false;
      });
      return accepted;
    },
  };
}

function unixRequest(): Uint8Array {
  const view = messageOf('unix', unixRequestBytes);
  view.setUint32(headerBytes + 4, connectedUnix, isLittle);
  view.setUint32(headerBytes + 12, UDIAG_SHOW_RQLEN, isLittle);
  return new Uint8Array(view.buffer);
}

/** @param wish all of them, with what they have counted; or only those that pass this filter */
function tcpRequest(family: 'ipv4' | 'ipv6', states: number, wish: 'counted' | Uint8Array): Uint8Array {
  const filterBytes = wish === 'counted' ? 0 : attributeBytes + wish.length;
  const view = messageOf(family, inetRequestBytes + filterBytes);
  view.setUint8(headerBytes + 1, IPPROTO_TCP);
  view.setUint32(headerBytes + 4, states, isLittle);
  const bytes = new Uint8Array(view.buffer);
  if (wish === 'counted') {
    view.setUint8(headerBytes + 2, 1 << (INET_DIAG_INFO - 1));
  } else {
    const at = headerBytes + inetRequestBytes;
    view.setUint16(at, filterBytes, isLittle);
    view.setUint16(at + 2, INET_DIAG_REQ_BYTECODE, isLittle);
    bytes.set(wish, at + attributeBytes);
  }
  return bytes;
}

function messageOf(family: keyof typeof families, bodyBytes: number): DataView {
  const length = headerBytes + bodyBytes;
  const view = new DataView(new ArrayBuffer(length));
  view.setUint32(0, length, isLittle);
  view.setUint16(4, SOCK_DIAG_BY_FAMILY, isLittle);
  view.setUint16(6, dump, isLittle);
  view.setUint8(headerBytes, families[family]);
  return view;
}

/**
 * The filter (inet_diag(7): code, where to go on if so, where if not, in bytes from here; a port stands in a word of its own behind
 * its question). To arrive exactly at the end is to pass; 4 bytes behind it is not to. For each port:
 *
 *   local port >= it ? on : next port;   local port <= it ? on : next port;   to the end
 */
function anyOfPorts(ports: readonly number[]): Uint8Array {
  const [questionBytes, portBytes] = [8, 20];
  const view = new DataView(new ArrayBuffer(ports.length * portBytes));
  const put = (at: number, op: { code: number; yes: number; no: number }): void => {
    view.setUint8(at, op.code);
    view.setUint8(at + 1, op.yes);
    view.setUint16(at + 2, op.no, isLittle);
  };
  for (const [index, port] of ports.entries()) {
    const at = index * portBytes;
    const isLast = index === ports.length - 1;
    for (const [question, code] of [INET_DIAG_BC_S_GE, INET_DIAG_BC_S_LE].entries()) {
      const here = at + question * questionBytes;
      put(here, { code, yes: questionBytes, no: isLast ? view.byteLength + 4 - here : at + portBytes - here });
      put(here + 4, { code: 0, yes: 0, no: port });
    }
    const jump = at + 2 * questionBytes;
    put(jump, { code: INET_DIAG_BC_JMP, yes: 4, no: view.byteLength - jump });
  }
  return new Uint8Array(view.buffer);
}

/** @returns null while more parts follow, else whether the answer is whole */
function readPart(part: DataView, each: (message: DataView) => boolean): boolean | null {
  for (let at = 0; at + headerBytes <= part.byteLength;) {
    const length = part.getUint32(at, isLittle);
    const type = part.getUint16(at + 4, isLittle);
    if (length < headerBytes || at + length > part.byteLength) return false;
    // NLMSG_DONE closes a whole answer; NLMSG_ERROR stands for a family that is not known.
    if (type !== SOCK_DIAG_BY_FAMILY) return type === 3;
    const message = new DataView(part.buffer, at + headerBytes, length - headerBytes);
    if (!each(message)) return true;
    at += align(length);
  }
  return null;
}

function tcpSocket(message: DataView): DiagnosedSocket {
  const info = attribute(message, inetBytes, INET_DIAG_INFO);
  const counted = info !== null && info.byteLength >= countedBytes;
  return {
    inode: message.getUint32(inetInodeAt, isLittle),
    readableBytes: message.getUint32(rqueueAt, isLittle),
    unsentBytes: message.getUint32(wqueueAt, isLittle),
    acknowledgedBytes: counted ? Number(info.getBigUint64(ackedAt, isLittle)) : null,
    receivedBytes: counted ? Number(info.getBigUint64(receivedAt, isLittle)) : null,
  };
}

function servingSocket(message: DataView): ServingSocket {
  const listens = message.getUint8(stateAt) === TCP_LISTEN;
  return {
    inode: message.getUint32(inetInodeAt, isLittle),
    waiting: listens ? message.getUint32(rqueueAt, isLittle) : null,
  };
}

/** Both ports and both addresses. */
function peersIn({ buffer, byteOffset }: DataView): string {
  return Buffer.from(buffer, byteOffset + peersAt, peersBytes).toString('latin1');
}

function unixSocket(message: DataView): DiagnosedSocket {
  const queues = attribute(message, unixBytes, UNIX_DIAG_RQLEN);
  return {
    inode: message.getUint32(unixInodeAt, isLittle),
    readableBytes: queues?.getUint32(0, isLittle) ?? 0,
    unsentBytes: queues?.getUint32(4, isLittle) ?? 0,
    acknowledgedBytes: null,
    receivedBytes: null,
  };
}

/** The attributes (type, length, value) begin at `from`. */
function attribute(message: DataView, from: number, wanted: number): DataView | null {
  for (let at = from; at + attributeBytes <= message.byteLength;) {
    const length = message.getUint16(at, isLittle);
    if (length < attributeBytes || at + length > message.byteLength) return null;
    if (message.getUint16(at + 2, isLittle) === wanted) {
      return new DataView(message.buffer, message.byteOffset + at + attributeBytes, length - attributeBytes);
    }
    at += align(length);
  }
  return null;
}

function align(length: number): number {
  return Math.ceil(length / 4) * 4;
}

// ---------------------------------------------------------------- one connection

/** NLM_F_REQUEST */
const single = 0x1;
/** In inet_diag_req_v2; in the cookie all bits stand for any socket. */
const [serverPortAt, clientPortAt, serverAt, clientAt, cookieAt] = [8, 10, 12, 28, 48];

/** Asks for the server's end of it. */
function requestFor({ server, client }: Parameters<SocketDiag['isAccepted']>[0]): Uint8Array {
  const request = new Uint8Array(headerBytes + inetRequestBytes);
  const view = new DataView(request.buffer);
  view.setUint32(0, request.length, isLittle);
  view.setUint16(4, SOCK_DIAG_BY_FAMILY, isLittle);
  view.setUint16(6, single, isLittle);
  request.set([families.ipv4, IPPROTO_TCP], headerBytes);
  // As in a packet: the greater byte first.
  view.setUint16(headerBytes + serverPortAt, server.port);
  view.setUint16(headerBytes + clientPortAt, client.port);
  request.set(server.address.split('.').map(Number), headerBytes + serverAt);
  request.set(client.address.split('.').map(Number), headerBytes + clientAt);
  request.fill(0xff, headerBytes + cookieAt);
  return request;
}

/** A socket has no inode before it is accepted. Where the connection is gone, the one that listens is found, or none. */
function acceptedIn(message: DataView): boolean | null {
  return message.getUint8(1) === TCP_LISTEN ? null : message.getUint32(inetInodeAt, isLittle) !== 0;
}
