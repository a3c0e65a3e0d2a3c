/**
 * Text on a screen: what may pass, how many columns it takes, and lines of styled spans.
 *
 * - Nothing foreign moves the cursor: no escape sequences, no control characters, nothing that turns the direction of
 *   writing, no marks piled up beyond two.
 * - East Asian and emoji characters are two columns wide, marks none, all else one.
 * - Without UTF-8 every other character is `?`, but bars have a likeness in ASCII.
 */
import { asciiBar, type Charset } from '../sparkline.ts';
import { printable } from '../text.ts';

export type Tone = 'plain' | 'bold' | 'dim' | 'green' | 'yellow' | 'red';

export interface Span {
  readonly text: string;
  readonly tone: Tone;
}

/** One line of the screen. `selected`: shown reversed over its whole width. */
export interface Line {
  readonly spans: readonly Span[];
  readonly selected: boolean;
}

/** One character with its marks. */
export interface Cell {
  readonly text: string;
  readonly width: 1 | 2;
}

const wide =
  /[\u1100-\u115f\u231a\u231b\u23e9-\u23ec\u2614\u2615\u26a1\u2705\u274c\u2753\u2757\u2b50\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f000}-\u{1faff}\u{20000}-\u{3fffd}]/u;
const mark = /[\p{Mn}\p{Me}]/u;
const plainAscii = /^[\u0020-\u007e]*$/;

/** Foreign text, made harmless. */
export function safe(text: string, charset: Charset): string {
  const clean = plainAscii.test(text)
    ? text
    : printable(text)
        .replace(/[\p{Cf}\p{Cs}\ufe00-\ufe0f]/gu, '')
        .replace(/[\u2028\u2029]/g, ' ')
        .replace(/([\p{Mn}\p{Me}]{2})[\p{Mn}\p{Me}]+/gu, '$1');
  return charset === 'unicode' || plainAscii.test(clean) ? clean : asciiOf(clean);
}

function asciiOf(text: string): string {
  return cellsOf(text)
    .map((cell) => (plainAscii.test(cell.text) ? cell.text : (asciiBar(cell.text) ?? ascii[cell.text] ?? '?')))
    .join('');
}

const ascii: Readonly<Record<string, string>> = {
  '…': '~',
  '─': '-',
  '▸': '>',
  '▾': 'v',
  '↑': '^',
  '↓': 'v',
  '·': '-',
};

/** Of safe text. A mark without a character before it stands by itself. */
export function cellsOf(text: string): Cell[] {
  const cells: Cell[] = [];
  for (const character of text) {
    const last = cells.at(-1);
    if (last !== undefined && mark.test(character)) cells[cells.length - 1] = { ...last, text: last.text + character };
    else cells.push({ text: character, width: wide.test(character) ? 2 : 1 });
  }
  return cells;
}

/** How many columns safe text takes. */
export function widthOf(text: string): number {
  if (plainAscii.test(text)) return text.length;
  return cellsOf(text).reduce((sum, { width }) => sum + width, 0);
}

/** Safe text of exactly `width` columns: padded, or cut with an ellipsis as its last character. */
export function fit(text: string, width: number, align: 'left' | 'right' = 'left'): string {
  const used = widthOf(text);
  if (used <= width) return align === 'left' ? text + ' '.repeat(width - used) : ' '.repeat(width - used) + text;
  if (width <= 0) return '';
  const kept = cut(text, width - 1);
  return `${kept}…${' '.repeat(width - 1 - widthOf(kept))}`;
}

/** As much of safe text as `width` columns hold. */
function cut(text: string, width: number): string {
  let kept = '';
  let used = 0;
  for (const cell of cellsOf(text)) {
    used += cell.width;
    if (used > width) break;
    kept += cell.text;
  }
  return kept;
}

/** Safe text without its first `columns` columns; a wide character that begins in them goes too. */
export function without(text: string, columns: number): string {
  let column = 0;
  const kept = cellsOf(text).filter(({ width }) => {
    column += width;
    return column - width >= columns;
  });
  return kept.map((cell) => cell.text).join('');
}

export function span(text: string, tone: Tone = 'plain'): Span {
  return { text, tone };
}

/** A line of exactly `width` columns: what is too long is cut. */
export function line(spans: readonly Span[], width: number, selected = false): Line {
  const kept: Span[] = [];
  let left = width;
  for (const [at, { text, tone }] of spans.entries()) {
    const isLast = at === spans.length - 1;
    const piece = widthOf(text) > left || isLast ? fit(text, left) : text;
    left -= widthOf(piece);
    kept.push({ text: piece, tone });
    if (left <= 0) break;
  }
  if (left > 0) kept.push(span(' '.repeat(left)));
  return { spans: kept, selected };
}
