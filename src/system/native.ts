/**
 * The few calls of libc that Node does not offer, through koffi: an optional dependency with prebuilt binaries, loaded at
 * the first use only (some 10 ms and 3 MB). `null` means: not installed, or not for this platform; every caller has another way.
 */
import { constants } from 'node:fs';
import { createRequire } from 'node:module';
import { bpfCalls, type BpfCalls } from './bpf-calls.ts';
import { socketCalls, type SocketCalls } from './socket-calls.ts';
import { processCalls, type ProcessCalls } from './process-calls.ts';
import { socketDiag, type SocketDiag } from './socket-diag.ts';

export interface Native {
  /** listen(2). 0, or the errno. */
  listen(fd: number, backlog: number): number;
  /** Clears O_NONBLOCK of the open file description, for everybody who shares it. 0, or the errno. */
  makeBlocking(fd: number): number;
  /** A socket that sends datagrams to a unix socket (`@name`: an abstract one). Close-on-exec, never blocks. */
  datagramSocket(path: string): DatagramSocket;
  /** What steering needs; Linux only. */
  readonly sockets: SocketCalls;
  /** Linux only. */
  readonly bpf: BpfCalls;
  /** Linux only. */
  readonly diag: SocketDiag;
  /** Linux only; null: this libc has not all of it. */
  readonly processes: ProcessCalls | null;
}

export interface DatagramSocket {
  /** 0, or the errno: EAGAIN when the receiver's queue is full. */
  send(text: string): number;
  close(): void;
}

/** What is used of koffi. */
export interface Koffi {
  load(path: string | null): Libc;
  errno(): number;
  struct(name: string, fields: Readonly<Record<string, string>>): unknown;
  sizeof(type: unknown): number;
}

export interface Libc {
  func(prototype: string): (...values: unknown[]) => number | bigint;
}

/** 0 for a result that is not negative, else the errno of the call that was made last. */
export type ErrnoOf = (result: number | bigint) => number;

let loaded: Native | null | undefined;

/** The same answer every time. Never throws. */
export function loadNative(): Native | null {
  if (loaded === undefined) loaded = loadOnce();
  return loaded;
}

/** As loadNative, but null as long as nobody has needed it. */
export function loadedNative(): Native | null {
  return loaded ?? null;
}

function loadOnce(): Native | null {
  try {
    return bindings(createRequire(import.meta.url)('koffi') as Koffi);
  } catch {
    return null;
  }
}

const F_GETFL = 3;
const F_SETFL = 4;

function bindings(koffi: Koffi): Native {
  // The symbols of this very process: its libc, glibc or musl.
  const libc = koffi.load(null);
  const listen = libc.func('int listen(int, int)');
  const fcntl = libc.func('int fcntl(int, int, ...)');
  const errnoOf: ErrnoOf = (result) => (Number(result) < 0 ? koffi.errno() : 0);
  let sockets: SocketCalls | null = null;
  let bpf: BpfCalls | null = null;
  let diag: SocketDiag | null = null;
  let processes: ProcessCalls | null | undefined;
  return {
    listen: (fd, backlog) => errnoOf(listen(fd, backlog)),
    makeBlocking(fd) {
      const flags = fcntl(fd, F_GETFL);
      if (Number(flags) < 0) return koffi.errno();
      return errnoOf(fcntl(fd, F_SETFL, 'int', Number(flags) & ~constants.O_NONBLOCK));
    },
    datagramSocket: (path) => datagramSocket(libc, errnoOf, path),
    get sockets() {
      return (sockets ??= socketCalls(koffi, libc, errnoOf));
    },
    get bpf() {
      return (bpf ??= bpfCalls(koffi, libc, errnoOf));
    },
    get diag() {
      return (diag ??= socketDiag(libc));
    },
    get processes() {
      if (processes === undefined) processes = processCalls(libc);
      return processes;
    },
  };
}

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;

function datagramSocket(libc: Libc, errnoOf: ErrnoOf, path: string): DatagramSocket {
  const socket = libc.func('int socket(int, int, int)');
  const sendto = libc.func('intptr_t sendto(int, const void *, uintptr_t, int, const void *, uint32_t)');
  const close = libc.func('int close(int)');
  const address = unixAddress(path);
  const fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  return {
    send(text) {
      const bytes = Buffer.from(text);
      return errnoOf(sendto(fd, bytes, bytes.length, MSG_DONTWAIT | MSG_NOSIGNAL, address, address.length));
    },
    close: () => void close(fd),
  };
}

/** struct sockaddr_un: the family, then the path with a closing NUL, or a NUL and the abstract name. */
function unixAddress(path: string): Buffer {
  const name = Buffer.from(path.startsWith('@') ? `\0${path.slice(1)}` : `${path}\0`);
  const family = Buffer.alloc(2);
  if (new Uint8Array(new Uint16Array([AF_UNIX]).buffer)[0] === AF_UNIX) family.writeUInt16LE(AF_UNIX);
  else family.writeUInt16BE(AF_UNIX);
  return Buffer.concat([family, name]);
}
