/**
 * Writes the lines to a terminal, and of them only what differs from what is there.
 *
 * - It has the alternate screen, so that what was there before comes back; no cursor, and no wrapping: a character that
 *   the terminal shows wider than we think cannot break a line.
 * - Within a row of narrow characters only the runs that changed are written. A row with others is written as a whole,
 *   for terminals do not agree on their width.
 * - Without colours no style is written at all: the selected row has a mark.
 */
import { cellsOf, type Line, type Tone } from './cells.ts';

/** One character as it is drawn. */
interface Drawn {
  readonly text: string;
  readonly width: 1 | 2;
  readonly sgr: string;
}

const sgrOf: Readonly<Record<Tone, string>> = {
  plain: '',
  bold: ';1',
  dim: ';2',
  green: ';32',
  yellow: ';33',
  red: ';31',
};

/** So many equal characters are written again, for to step over them is not shorter. */
const shortGap = 8;

export class Screen {
  readonly #write: (text: string) => void;
  readonly #styles: 'coloured' | 'none';
  #rows: (readonly Drawn[])[] = [];
  #sgr = '';
  #entered: 'in' | 'out' = 'out';

  constructor(write: (text: string) => void, styles: 'coloured' | 'none') {
    this.#write = write;
    this.#styles = styles;
  }

  /** To the alternate screen. Again does nothing. */
  enter(): void {
    if (this.#entered === 'in') return;
    this.#entered = 'in';
    this.#write('\u001b[?1049h\u001b[?25l\u001b[?7l');
    this.forget();
  }

  /** Back to what was there before. Again does nothing. */
  leave(): void {
    if (this.#entered === 'out') return;
    this.#entered = 'out';
    this.#write('\u001b[0m\u001b[?7h\u001b[?25h\u001b[?1049l');
  }

  /** Nothing is known of what the terminal shows: the next picture is written in full. */
  forget(): void {
    this.#rows = [];
    this.#sgr = '';
  }

  draw(lines: readonly Line[]): void {
    if (this.#entered === 'out') return;
    const rows = lines.map((one) => this.#drawn(one));
    let bytes = this.#rows.length === rows.length ? '' : `${this.#style('')}\u001b[2J`;
    if (bytes !== '') this.#rows = [];
    for (const [at, row] of rows.entries()) bytes += this.#row(at, row, this.#rows[at] ?? null);
    this.#rows = rows;
    bytes += this.#style('');
    if (bytes !== '') this.#write(bytes);
  }

  #drawn({ spans, selected }: Line): readonly Drawn[] {
    return spans.flatMap(({ text, tone }) => {
      const sgr = this.#styles === 'none' ? '' : sgrOf[tone] + (selected ? ';7' : '');
      return cellsOf(text).map((cell) => ({ ...cell, sgr }));
    });
  }

  #row(at: number, row: readonly Drawn[], before: readonly Drawn[] | null): string {
    if (before === null) return isBlank(row) ? '' : moveTo(at, 0) + this.#text(row);
    if (!row.every(isNarrow) || !before.every(isNarrow) || row.length !== before.length) {
      const isSame = row.length === before.length && row.every((cell, column) => equal(cell, before[column]));
      return isSame ? '' : `${moveTo(at, 0)}${this.#style('')}\u001b[2K${this.#text(row)}`;
    }
    return runsIn(row, before)
      .map(([from, to]) => moveTo(at, from) + this.#text(row.slice(from, to)))
      .join('');
  }

  #text(cells: readonly Drawn[]): string {
    return cells.map(({ text, sgr }) => this.#style(sgr) + text).join('');
  }

  #style(sgr: string): string {
    if (sgr === this.#sgr) return '';
    this.#sgr = sgr;
    return `\u001b[0${sgr}m`;
  }
}

/** The stretches that differ, `[from, to)`. */
function runsIn(row: readonly Drawn[], before: readonly Drawn[]): readonly (readonly [number, number])[] {
  const runs: [number, number][] = [];
  for (const [at, cell] of row.entries()) {
    if (equal(cell, before[at])) continue;
    const last = runs.at(-1);
    if (last !== undefined && at - last[1] < shortGap) last[1] = at + 1;
    else runs.push([at, at + 1]);
  }
  return runs;
}

function equal(a: Drawn, b: Drawn | undefined): boolean {
  return b !== undefined && a.text === b.text && a.sgr === b.sgr;
}

/** One character of a width on which all terminals agree. */
function isNarrow({ text, width }: Drawn): boolean {
  return (
    width === 1 && text.length === 1 && (text <= '\u02ff' || (text >= '\u2500' && text <= '\u25bf') || text === '…')
  );
}

function isBlank(row: readonly Drawn[]): boolean {
  return row.every(({ text, sgr }) => text === ' ' && sgr === '');
}

/** Counted from 0. */
function moveTo(row: number, column: number): string {
  return `\u001b[${row + 1};${column + 1}H`;
}
