/**
 * The program that the kernel runs for each new connection, to choose one of the sockets that share an address. Pure.
 *
 *   A = random number; A %= how many are chosen from
 *   for each run of neighbours among them, but the last:   A >= end of the run ? next run : A += shift; answer A
 *   for the last run:                                      A += shift; answer A
 *
 * Three instructions for each gap, so it stays short for hundreds of workers of which a few are out of the rotation.
 */
import type { Instruction } from '../socket-calls.ts';

const loadAbsolute = 0x20;
const modulo = 0x94;
const add = 0x04;
const jumpIfAtLeast = 0x35;
const answer = 0x06;
const answerA = 0x16;
/** SKF_AD_OFF + SKF_AD_RANDOM, as the unsigned number that it is in the instruction. */
const randomNumber = 0xfffff000 + 56;

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

interface Run {
  readonly start: number;
  readonly length: number;
  /** How many come before it. */
  readonly before: number;
}

function runsOf(indices: readonly number[]): readonly Run[] {
  const runs: Run[] = [];
  for (const [before, index] of indices.entries()) {
    const last = runs.at(-1);
    if (last !== undefined && last.start + last.length === index)
      runs.splice(-1, 1, { ...last, length: last.length + 1 });
    else runs.push({ start: index, length: 1, before });
  }
  return runs;
}
