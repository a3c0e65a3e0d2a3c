/**
 * The calls on sockets that steering needs and Node does not offer (socket(7), tcp(7)), over libc. Numbers are those of Linux
 * on every platform that koffi has a binary for.
 */
import type { ErrnoOf, Koffi, Libc } from './native.ts';

/** One instruction of classic BPF: code, jump if true, jump if false, operand. */
export type Instruction = readonly [code: number, jt: number, jf: number, k: number];

export interface SocketCalls {
  /** Lets more sockets of this user have the address of this one (SO_REUSEPORT); also after it listens. 0, or the errno. */
  shareAddress(fd: number): number;
  /**
   * One more socket that listens on the address of this one: close-on-exec, blocking, NODELAY.
   * @returns its descriptor, or the negative errno
   */
  listenBeside(fd: number, backlog: number): number;
  /**
   * Lets a program choose the socket for each new connection, among all that share the address of this one
   * (SO_ATTACH_REUSEPORT_CBPF, Linux 4.5). It answers with an index, in the order in which they began to listen. 0, or the errno.
   */
  chooseBy(fd: number, program: readonly Instruction[]): number;
  /** The same by a program that has been loaded (SO_ATTACH_REUSEPORT_EBPF); its descriptor may be closed then. 0, or the errno. */
  chooseByLoaded(fd: number, program: number): number;
  /** Closes what `fd` was, and makes it another name of `fresh`; close-on-exec. 0, or the errno. */
  replace(fd: number, fresh: number): number;
  /**
   * Has everybody who waits at this listener look at it. Of the kernels that move connections to another queue not all wake its owner.
   * It shuts the sending side, which a listener has not got; the kernel wakes those who wait, and changes nothing (inet_shutdown).
   */
  wake(fd: number): void;
  /** The local port; null: it has none. */
  portOf(fd: number): number | null;
  /** How many connections wait to be accepted; null: not a TCP socket that listens. */
  waiting(fd: number): number | null;
  close(fd: number): void;
}

const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_REUSEPORT = 15;
const SO_ATTACH_REUSEPORT_CBPF = 51;
const SO_ATTACH_REUSEPORT_EBPF = 52;
const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;
const TCP_INFO = 11;
const IPPROTO_IPV6 = 41;
const IPV6_V6ONLY = 26;
const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM = 1;
/** O_CLOEXEC as well. */
const SOCK_CLOEXEC = 0o2000000;
const SHUT_WR = 1;
/** struct sockaddr_storage */
const addressBytes = 128;
/** Of struct tcp_info: for a socket that listens, the length of its accept queue. */
const tcpiUnackedAt = 24;
const tcpInfoBytes = 104;

interface Address {
  /** A socket that has it. */
  readonly like: number;
  readonly family: number;
  /** struct sockaddr */
  readonly name: Uint8Array;
}

export function socketCalls(koffi: Koffi, libc: Libc, errnoOf: ErrnoOf): SocketCalls {
  const fprog = koffi.struct('sock_fprog', { len: 'uint16_t', filter: 'const void *' });
  const socket = libc.func('int socket(int, int, int)');
  const setOption = libc.func('int setsockopt(int, int, int, const void *, uint32_t)');
  const setProgram = libc.func('int setsockopt(int, int, int, const sock_fprog *, uint32_t)');
  const getOption = libc.func('int getsockopt(int, int, int, void *, void *)');
  const getName = libc.func('int getsockname(int, void *, void *)');
  const bind = libc.func('int bind(int, const void *, uint32_t)');
  const listen = libc.func('int listen(int, int)');
  const close = libc.func('int close(int)');
  const dup3 = libc.func('int dup3(int, int, int)');
  const shutdown = libc.func('int shutdown(int, int)');

  const set = (fd: number, level: number, option: number, value: number): number =>
    errnoOf(setOption(fd, level, option, int(value), 4));
  const get = (fd: number, level: number, option: number): number => {
    const value = int(0);
    return errnoOf(getOption(fd, level, option, value, int(4))) === 0 ? (value[0] ?? 0) : 0;
  };

  /** Gives `fd` this address, and makes it listen. 0, or the errno of the first step that fails. */
  const settle = (fd: number, { like, family, name }: Address, backlog: number): number =>
    set(fd, SOL_SOCKET, SO_REUSEPORT, 1) ||
    // Or connections of the past (TIME_WAIT) would keep the address.
    set(fd, SOL_SOCKET, SO_REUSEADDR, 1) ||
    set(fd, IPPROTO_TCP, TCP_NODELAY, 1) ||
    (family === AF_INET6 ? set(fd, IPPROTO_IPV6, IPV6_V6ONLY, get(like, IPPROTO_IPV6, IPV6_V6ONLY)) : 0) ||
    errnoOf(bind(fd, name, name.length)) ||
    errnoOf(listen(fd, backlog));

  return {
    shareAddress: (fd) => set(fd, SOL_SOCKET, SO_REUSEPORT, 1),
    listenBeside(like, backlog) {
      const storage = new Uint8Array(addressBytes);
      const size = int(addressBytes);
      const unnamed = errnoOf(getName(like, storage, size));
      if (unnamed !== 0) return -unnamed;
      const family = new Uint16Array(storage.buffer, 0, 1)[0] ?? 0;
      const fd = Number(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
      if (fd < 0) return -errnoOf(fd);
      const errno = settle(fd, { like, family, name: storage.subarray(0, size[0]) }, backlog);
      if (errno === 0) return fd;
      close(fd);
      return -errno;
    },
    chooseBy: (fd, program) =>
      errnoOf(
        setProgram(
          fd,
          SOL_SOCKET,
          SO_ATTACH_REUSEPORT_CBPF,
          { len: program.length, filter: encode(program) },
          koffi.sizeof(fprog),
        ),
      ),
    chooseByLoaded: (fd, program) => set(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, program),
    replace: (fd, fresh) => errnoOf(dup3(fresh, fd, SOCK_CLOEXEC)),
    wake: (fd) => void shutdown(fd, SHUT_WR),
    portOf(fd) {
      const name = new DataView(new ArrayBuffer(addressBytes));
      if (errnoOf(getName(fd, new Uint8Array(name.buffer), int(addressBytes))) !== 0) return null;
      const family = new Uint16Array(name.buffer, 0, 1)[0];
      // As in a packet: the greater byte first.
      return family === AF_INET || family === AF_INET6 ? name.getUint16(2) : null;
    },
    waiting(fd) {
      const info = new Uint8Array(tcpInfoBytes);
      const failed = errnoOf(getOption(fd, IPPROTO_TCP, TCP_INFO, info, int(tcpInfoBytes)));
      return failed === 0 ? (new Uint32Array(info.buffer, tcpiUnackedAt, 1)[0] ?? 0) : null;
    },
    close: (fd) => void close(fd),
  };
}

/** An int of C, in memory of its own. */
function int(value: number): Int32Array {
  return Int32Array.of(value);
}

/** struct sock_filter, one after the other, in the byte order of this machine. */
function encode(program: readonly Instruction[]): Uint8Array {
  const bytes = new Uint8Array(program.length * 8);
  const [shorts, words] = [new Uint16Array(bytes.buffer), new Uint32Array(bytes.buffer)];
  for (const [index, [code, jt, jf, k]] of program.entries()) {
    shorts[index * 4] = code;
    bytes[index * 8 + 2] = jt;
    bytes[index * 8 + 3] = jf;
    words[index * 2 + 1] = k;
  }
  return bytes;
}
