/** What both programs that choose a listener have in common: steering-program.ts and moving-program.ts. Pure. */

/** 127.77.0.0: a connection from 127.77.x.y gets socket x.y, where sources may choose. */
export const firstSource = 0x7f4d0000;

/** The address that a connection has to come from to get this socket. @param index below 65536 */
export function sourceFor(index: number): string {
  return `127.77.${index >> 8}.${index & 255}`;
}

/** Neighbours among those that are chosen from. */
export interface Run {
  readonly start: number;
  readonly length: number;
  /** How many come before it. */
  readonly before: number;
}

/** @param indices ascending */
export function runsOf(indices: readonly number[]): readonly Run[] {
  const runs: Run[] = [];
  for (const [before, index] of indices.entries()) {
    const last = runs.at(-1);
    if (last !== undefined && last.start + last.length === index)
      runs.splice(-1, 1, { ...last, length: last.length + 1 });
    else runs.push({ start: index, length: 1, before });
  }
  return runs;
}
