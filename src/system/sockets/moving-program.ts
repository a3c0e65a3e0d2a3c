/**
 * The program that the kernel runs, where it may, for each new connection and for each that waits at a listener that is closed: it
 * chooses a socket of a map, by index (eBPF). Pure. It does the same as that of steering-program.ts, and in the same way:
 *
 *   with sources:  not an IPv4 packet ? choose : r0 = source address - 127.77.0.0;  r0 >= how many ? choose : answer r0
 *   choose:        r0 = random number; r0 %= how many are chosen from
 *                  for each run of neighbours among them, but the last:  r0 >= end of the run ? next run : r0 += shift; answer r0
 *                  for the last run:                                     r0 += shift
 *   answer r0:     the socket of the map at r0. Where there is none the kernel chooses by a hash among all that listen.
 *
 * A connection that waits brings no packet, or one without a protocol: it goes where new ones go.
 */
import type { BpfInstruction } from '../bpf-calls.ts';
import { firstSource, runsOf } from './runs.ts';

const [r0, r1, r2, r3, r4, r5, r6, r10] = [0, 1, 2, 3, 4, 5, 6, 10];

/** Where the number of the socket, and the source address, are on the stack. */
const indexAt = -4;
const sourceAt = -8;
/** struct sk_reuseport_md */
const protocolAt = 20;
const migratingAt = 48;
/** ETH_P_IP, the greater byte first. */
const ipv4 = 0x0008;
/** In the header of IPv4. */
const sourceAddressAt = 12;
const BPF_HDR_START_NET = 1;
const BPF_PSEUDO_MAP_FD = 1;
const SK_PASS = 1;

const randomNumber = 7;
const loadBytesRelative = 68;
const selectSocket = 82;

const call = (helper: number): BpfInstruction => [0x85, 0, 0, 0, helper];
const copy = (to: number, from: number): BpfInstruction => [0xbf, to, from, 0, 0];
const set = (to: number, value: number): BpfInstruction => [0xb7, to, 0, 0, value];
const addTo = (to: number, value: number): BpfInstruction => [0x07, to, 0, 0, value];
const jump = (by: number): BpfInstruction => [0x05, 0, 0, by, 0];
/** Of 32 bits, without a sign. */
const unlessBelow = (limit: number, by: number): BpfInstruction => [0x36, r0, 0, by, limit];
const addHere = (value: number): BpfInstruction => [0x04, r0, 0, 0, value];

export interface Choice {
  /** Ascending, at least one. */
  readonly indices: readonly number[];
  /** A connection from `sourceFor(index)` below this number gets that socket; 0: none. */
  readonly sources: number;
}

/** @param map the descriptor of the map of sockets */
export function chooseFromMap(map: number, { indices, sources }: Choice): readonly BpfInstruction[] {
  const choice = chooseAmong(indices);
  return [
    demandMoving,
    copy(r6, r1),
    ...(sources === 0 ? [] : bySource(sources, choice.length)),
    ...choice,
    ...answer(map),
  ];
}

/**
 * r2 = the connection that is moved. It is not used; but a kernel before 5.14 knows no such field, and refuses the program. It would
 * not for the attach type, which it does not look at: it would take the program, and reset what waits at a listener that is closed.
 */
const demandMoving: BpfInstruction = [0x79, r2, r1, migratingAt, 0];

/** Comes right before a choice of so many instructions. */
function bySource(count: number, choiceLength: number): readonly BpfInstruction[] {
  const look: readonly BpfInstruction[] = [
    copy(r1, r6),
    set(r2, sourceAddressAt),
    copy(r3, r10),
    addTo(r3, sourceAt),
    set(r4, 4),
    set(r5, BPF_HDR_START_NET),
    call(loadBytesRelative),
    // if r0 != 0 goto the choice
    [0x55, r0, 0, 5, 0],
    // r0 = the source address, in the byte order of this machine
    [0x61, r0, r10, sourceAt, 0],
    [0xdc, r0, 0, 0, 32],
    [0x14, r0, 0, 0, firstSource],
    unlessBelow(count, 1),
    jump(choiceLength),
  ];
  // r1 = protocol; if it is not IPv4 goto the choice
  return [[0x61, r1, r6, protocolAt, 0], [0x55, r1, 0, look.length, ipv4], ...look];
}

function chooseAmong(indices: readonly number[]): readonly BpfInstruction[] {
  const [first = 0] = indices;
  if (indices.length < 2) return [set(r0, first)];
  const runs = runsOf(indices);
  const last = runs.length - 1;
  return [
    call(randomNumber),
    // r0 %= how many
    [0x94, r0, 0, 0, indices.length],
    ...runs.flatMap(({ start, length, before }, at) => {
      const shift = addHere(start - before);
      return at === last ? [shift] : [unlessBelow(before + length, 2), shift, jump((last - 1 - at) * 3 + 1)];
    }),
  ];
}

function answer(map: number): readonly BpfInstruction[] {
  return [
    [0x63, r10, r0, indexAt, 0],
    copy(r1, r6),
    // r2 = the map: an instruction of twice the length
    [0x18, r2, BPF_PSEUDO_MAP_FD, 0, map],
    [0, 0, 0, 0, 0],
    copy(r3, r10),
    addTo(r3, indexAt),
    set(r4, 0),
    call(selectSocket),
    set(r0, SK_PASS),
    [0x95, 0, 0, 0, 0],
  ];
}
