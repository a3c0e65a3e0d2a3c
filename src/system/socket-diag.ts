/**
 * What the kernel tells of the sockets of this network namespace (sock_diag(7)), over libc: asks once, for those of one
 * family that are connected, or for a single one. Needs no rights.
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

export interface SocketDiag {
  /**
   * Calls `each` for every connected socket, until it answers false.
   * @returns whether the kernel has answered; without the module of that family (tcp_diag, unix_diag) it does not
   */
  connected(family: 'ipv4' | 'ipv6' | 'unix', each: (socket: DiagnosedSocket) => boolean): boolean;
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
const UDIAG_SHOW_RQLEN = 0x10;
const UNIX_DIAG_RQLEN = 4;
const INET_DIAG_INFO = 2;
/** struct nlmsghdr, inet_diag_req_v2, inet_diag_msg, unix_diag_req, unix_diag_msg, nlattr */
const [headerBytes, inetRequestBytes, inetBytes, unixRequestBytes, unixBytes, attributeBytes] = [16, 56, 72, 24, 16, 4];
/** In inet_diag_msg. */
const [rqueueAt, wqueueAt, inetInodeAt, unixInodeAt] = [56, 60, 68, 4];
/** In tcp_info. */
const [ackedAt, receivedAt, countedBytes] = [120, 128, 136];
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
      ask(request(family), (message) => each(family === 'unix' ? unixSocket(message) : tcpSocket(message))),
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

function request(family: keyof typeof families): Uint8Array {
  const length = headerBytes + (family === 'unix' ? unixRequestBytes : inetRequestBytes);
  const view = new DataView(new ArrayBuffer(length));
  view.setUint32(0, length, isLittle);
  view.setUint16(4, SOCK_DIAG_BY_FAMILY, isLittle);
  view.setUint16(6, dump, isLittle);
  view.setUint8(headerBytes, families[family]);
  if (family === 'unix') {
    view.setUint32(headerBytes + 4, connectedUnix, isLittle);
    view.setUint32(headerBytes + 12, UDIAG_SHOW_RQLEN, isLittle);
  } else {
    view.setUint8(headerBytes + 1, IPPROTO_TCP);
    view.setUint8(headerBytes + 2, 1 << (INET_DIAG_INFO - 1));
    view.setUint32(headerBytes + 4, connectedTcp, isLittle);
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
const listening = 10;

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
  return message.getUint8(1) === listening ? null : message.getUint32(inetInodeAt, isLittle) !== 0;
}
