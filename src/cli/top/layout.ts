/**
 * How many lines of the screen each part gets. The table is never without a line; what matters less goes first where the
 * screen is low.
 *
 * | part | from this height on |
 * | --- | --- |
 * | keys, or the question | 2 |
 * | a notice, while there is one | 4 |
 * | head of the table | 5 |
 * | master | 4 |
 * | host | 6 |
 * | more of the selected row | 9 |
 * | hooks that are not done or failed | 12 |
 * | events with their heading | 14: a quarter of the screen, 12 lines at most |
 */
import type { State } from './state.ts';

export interface Layout {
  readonly master: number;
  readonly host: number;
  readonly hooks: number;
  readonly head: number;
  readonly list: number;
  readonly detail: number;
  readonly events: number;
  readonly notice: number;
  readonly footer: number;
}

export function layoutOf(state: State): Layout {
  const { rows } = state.size;
  const from = (height: number, lines = 1) => (rows >= height ? lines : 0);
  const parts = {
    master: from(4),
    host: from(6),
    hooks: troubledHooks(state).length > 0 ? from(12) : 0,
    head: from(5),
    detail: from(9),
    events: from(14, Math.min(12, Math.floor(rows / 4))),
    notice: state.notice === null ? 0 : from(4),
    footer: from(2),
  };
  const taken = Object.values(parts).reduce((sum, lines) => sum + lines, 0);
  return { ...parts, list: Math.max(1, rows - taken) };
}

/** The lines of a page: all but its heading and the keys. */
export function pageHeight({ size: { rows } }: State): number {
  return Math.max(1, rows - (rows >= 3 ? 1 : 0) - (rows >= 2 ? 1 : 0));
}

export function troubledHooks({ snapshot }: State): NonNullable<State['snapshot']>['hooks'] {
  return (snapshot?.hooks ?? []).filter(({ state }) => state !== 'succeeded' && state !== 'skipped');
}
