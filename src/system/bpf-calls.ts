/**
 * The calls of bpf(2) that moving queues needs, over libc: a map of sockets, and a program that chooses among them. Linux 5.14 for
 * a program that is asked about connections that wait as well; CAP_BPF.
 *
 * A filter of system calls may end the process that calls bpf(2), instead of refusing it (SystemCallFilter= of systemd). So under
 * a filter it is not called at all.
 */
import { constants } from 'node:os';
import { readText } from './procfs.ts';
import type { ErrnoOf, Koffi, Libc } from './native.ts';

/** One instruction of eBPF: code, destination and source register, offset, immediate. */
export type BpfInstruction = readonly [code: number, dst: number, src: number, offset: number, immediate: number];

export interface BpfCalls {
  /** Why bpf(2) is not to be called here, in words; null: it may be tried. */
  whyNot(): string | null;
  /** A map of so many sockets that share an address, by index; close-on-exec. Its descriptor, or the negative errno. */
  socketMap(size: number): number;
  /** Puts a socket that listens at this index, in place of another one that may be there. 0, or the errno. */
  putSocket(map: number, index: number, socket: number): number;
  /**
   * Loads a program that chooses a socket for a new connection, and for one that waited at a listener that is closed
   * (BPF_SK_REUSEPORT_SELECT_OR_MIGRATE). Its descriptor, or the negative errno.
   */
  loadChooser(program: readonly BpfInstruction[]): number;
}

/** By the name that Node has for the kind of processor. All of them have 64 bits, the lesser byte first. */
const callNumbers: Readonly<Record<string, number>> = { x64: 321, arm64: 280, riscv64: 280, loong64: 280 };

const BPF_MAP_CREATE = 0;
const BPF_MAP_UPDATE_ELEM = 2;
const BPF_PROG_LOAD = 5;
const BPF_MAP_TYPE_REUSEPORT_SOCKARRAY = 20;
const BPF_PROG_TYPE_SK_REUSEPORT = 21;
const BPF_SK_REUSEPORT_SELECT_OR_MIGRATE = 40;

/** A load takes 0.1 ms; with 100 signals a second 1 of 200 was interrupted. */
const loadAttempts = 20;

/** The beginning of union bpf_attr; what is left out counts as 0. */
const mapFields = { type: 'uint32_t', keyBytes: 'uint32_t', valueBytes: 'uint32_t', size: 'uint32_t' };
const elementFields = { map: 'uint32_t', key: 'const void *', value: 'const void *', flags: 'uint64_t' };
const programFields = {
  type: 'uint32_t',
  count: 'uint32_t',
  instructions: 'const void *',
  license: 'const char *',
  log: 'uint64_t',
  logAt: 'uint64_t',
  kernel: 'uint32_t',
  flags: 'uint32_t',
  name: 'uint64_t',
  nameEnd: 'uint64_t',
  device: 'uint32_t',
  attachType: 'uint32_t',
};

export function bpfCalls(koffi: Koffi, libc: Libc, errnoOf: ErrnoOf): BpfCalls {
  const number = callNumbers[process.arch];
  const syscall = libc.func('long syscall(long, ...)');
  const sizes = new Map(
    Object.entries({ bpf_map: mapFields, bpf_element: elementFields, bpf_program: programFields }).map(
      ([name, fields]) => [name, koffi.sizeof(koffi.struct(name, fields))],
    ),
  );
  const bpf = (command: number, name: string, attributes: object): number => {
    const result = syscall(number, 'int', command, `${name} *`, attributes, 'unsigned int', sizes.get(name));
    return Number(result) < 0 ? -errnoOf(result) : Number(result);
  };
  return {
    whyNot() {
      if (number === undefined) return `supervise does not know bpf(2) of ${process.arch}`;
      const isFiltered = !/^Seccomp:\s*0$/m.test(readText('/proc/self/status') ?? '');
      return isFiltered ? 'system calls are filtered (seccomp), so bpf(2) is not tried' : null;
    },
    socketMap: (size) =>
      bpf(BPF_MAP_CREATE, 'bpf_map', { type: BPF_MAP_TYPE_REUSEPORT_SOCKARRAY, keyBytes: 4, valueBytes: 8, size }),
    putSocket(map, index, socket) {
      const [key, value] = [Uint32Array.of(index), BigUint64Array.of(BigInt(socket))];
      return -bpf(BPF_MAP_UPDATE_ELEM, 'bpf_element', { map, key, value, flags: 0 });
    },
    loadChooser(program) {
      const attributes = {
        ...Object.fromEntries(Object.keys(programFields).map((field) => [field, 0])),
        type: BPF_PROG_TYPE_SK_REUSEPORT,
        count: program.length,
        instructions: encode(program),
        license: '',
        attachType: BPF_SK_REUSEPORT_SELECT_OR_MIGRATE,
      };
      // The kernel gives up its check of a program when a signal comes (EAGAIN): SIGCHLD, most of all when many workers die.
      for (let left = loadAttempts; ; left--) {
        const result = bpf(BPF_PROG_LOAD, 'bpf_program', attributes);
        if (result !== -constants.errno.EAGAIN || left === 1) return result;
      }
    },
  };
}

/** struct bpf_insn, one after the other. */
function encode(program: readonly BpfInstruction[]): Uint8Array {
  const bytes = new DataView(new ArrayBuffer(program.length * 8));
  for (const [index, [code, dst, src, offset, immediate]] of program.entries()) {
    bytes.setUint8(index * 8, code);
    bytes.setUint8(index * 8 + 1, dst | (src << 4));
    bytes.setInt16(index * 8 + 2, offset, true);
    bytes.setInt32(index * 8 + 4, immediate, true);
  }
  return new Uint8Array(bytes.buffer);
}
