/**
 * The program that the kernel runs for each new connection, to choose one of the sockets that share an address. Pure.
 *
 *   A = random number; A %= how many are chosen from
 *   for each run of neighbours among them, but the last:   A >= end of the run ? next run : A += shift; answer A
 *   for the last run:                                      A += shift; answer A
 *
 * Three instructions for each gap, so it stays short for hundreds of workers of which a few are out of the rotation.
 *
 * Where probes have to reach one certain socket, whether it is chosen from or not, six instructions come before that:
 *
 *   not an IPv4 packet ? go on : A = source address - 127.77.0.0;  A >= how many sockets ? go on : answer A
 *
 * So a connection from 127.77.x.y gets socket x.y. Nobody but a process of this host has such an address: from outside it is a martian.
 * An IPv4 client of an IPv6 socket comes as an IPv4 packet as well; one of IPv6 cannot choose.
 */
import type { Instruction } from '../socket-calls.ts';
import { firstSource, runsOf } from './runs.ts';

const loadAbsolute = 0x20;
const modulo = 0x94;
const add = 0x04;
const subtract = 0x14;
const jumpIfEqual = 0x15;
const jumpIfAtLeast = 0x35;
const answer = 0x06;
const answerA = 0x16;
/** SKF_AD_OFF + SKF_AD_RANDOM, as the unsigned number that it is in the instruction; so are the two below. */
const randomNumber = 0xfffff000 + 56;
/** SKF_AD_OFF + SKF_AD_PROTOCOL: ETH_P_IP or ETH_P_IPV6. */
const protocol = 0xfffff000;
const ipv4 = 0x0800;
/** SKF_NET_OFF + the source in the header of IPv4. The packet itself begins behind that of TCP. */
const sourceAddress = 0xfff00000 + 12;

/**
 * Chooses among these sockets, each as likely as any other.
 * @param indices ascending, at least one
 */
export function chooseAmong(indices: readonly number[]): readonly Instruction[] {
  const [first = 0] = indices;
  if (indices.length < 2) return [[answer, 0, 0, first]];
  const program: Instruction[] = [
    [loadAbsolute, 0, 0, randomNumber],
    [modulo, 0, 0, indices.length],
  ];
  for (const run of runsOf(indices)) {
    const end = run.before + run.length;
    if (end < indices.length) program.push([jumpIfAtLeast, 2, 0, end]);
    program.push([add, 0, 0, run.start - run.before], [answerA, 0, 0, 0]);
  }
  return program;
}

/** Comes before the choice: a connection from `sourceFor(index)` gets that socket. @param count how many sockets there are */
export function letSourceChoose(count: number): readonly Instruction[] {
  return [
    [loadAbsolute, 0, 0, protocol],
    [jumpIfEqual, 0, 4, ipv4],
    [loadAbsolute, 0, 0, sourceAddress],
    [subtract, 0, 0, firstSource],
    [jumpIfAtLeast, 1, 0, count],
    [answerA, 0, 0, 0],
  ];
}
