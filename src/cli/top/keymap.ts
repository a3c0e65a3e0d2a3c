/**
 * The keys: what the footer and the help say of them. What they do stands in press.ts.
 *
 * Looking acts at once, everything that touches workers asks first: one `y`, or Enter behind a number that is shown.
 */

export interface KeyRow {
  readonly keys: string;
  readonly help: string;
  /** In the footer, those with the lowest rank where there is little room. null: only in the help. */
  readonly footer: { readonly text: string; readonly rank: number } | null;
}

export const tableKeys: readonly KeyRow[] = [
  { keys: '↑ ↓  k j', help: 'select the row above, below', footer: { text: '↑↓ select', rank: 9 } },
  { keys: 'PgUp PgDn', help: 'a page up, down (also Ctrl-B, Ctrl-F)', footer: null },
  { keys: 'Home End  g G', help: 'the first, the last row', footer: null },
  { keys: 'l', help: 'logs of the selected app or worker', footer: { text: 'l logs', rank: 3 } },
  { keys: 'w  Enter', help: 'why it is as it is, and how it ended before', footer: { text: 'w why', rank: 4 } },
  { keys: 'r', help: 'restart the selected app or worker (asks first)', footer: { text: 'r restart', rank: 5 } },
  {
    keys: 's  + -',
    help: 'scale its app: type a number, or + and -, then Enter',
    footer: { text: 's scale', rank: 6 },
  },
  {
    keys: 'R',
    help: 'reload its app, or all apps, without a lost request (asks first)',
    footer: { text: 'R reload', rank: 7 },
  },
  {
    keys: 'o O',
    help: 'the next, the previous order; the order of slots shows workers below their app',
    footer: { text: 'o order', rank: 8 },
  },
  { keys: '1 2 3 4 5', help: 'order by slot, CPU, memory, uptime, restarts', footer: null },
  {
    keys: '/',
    help: 'filter by app: type a part of its name, Enter; Esc shows all again',
    footer: { text: '/ filter', rank: 10 },
  },
  { keys: 'e', help: 'all recent events', footer: { text: 'e events', rank: 11 } },
  { keys: 't', help: 'what the bars span: 2 minutes, 10 minutes, 24 hours', footer: { text: 't span', rank: 12 } },
  { keys: 'Ctrl-L', help: 'draw the screen anew', footer: null },
  { keys: 'Ctrl-Z', help: 'suspend; `fg` comes back', footer: null },
  { keys: '?', help: 'this help', footer: { text: '? help', rank: 1 } },
  { keys: 'q  Ctrl-C', help: 'quit; the master and its workers run on', footer: { text: 'q quit', rank: 0 } },
];

export const paneKeys: readonly KeyRow[] = [
  { keys: '↑ ↓  k j', help: 'a line up, down', footer: { text: '↑↓ PgUp PgDn scroll', rank: 1 } },
  { keys: '← →', help: 'to the sides, of long lines', footer: { text: '←→ sideways', rank: 4 } },
  { keys: 'f  End', help: 'follow what comes; scrolling up holds it', footer: { text: 'f follow', rank: 2 } },
  { keys: 'l w e', help: 'change to logs, why, events', footer: { text: 'l w e change', rank: 5 } },
  { keys: 'q  Esc', help: 'back to the table', footer: { text: 'q back', rank: 0 } },
];
