/**
 * How a worker's lines are written.
 *
 *   prefix   web.1  | text          on stderr: web.1  ! text; one colour per source, the ! red
 *            in a file the time stands before it: 2026-01-01T00:00:00.000Z web.1  | text
 *   json     {"time":"2026-01-01T00:00:00.000Z","app":"web","worker":"web.1","stream":"stdout","msg":"text"}
 *            a hook has "hook":"migrate" instead of app and worker; a piece of an overlong line has "partial":true
 *   raw      the line's bytes as they are
 *   auto     raw in a file; on the master's stdout prefix where that is a terminal, else json
 *
 * Work per line is what costs, so it is done on bytes: a line is copied, and what belongs between two lines is put there.
 * Only where bytes are no UTF-8, or have to be escaped or taken out, they become text in between.
 */
import { isUtf8 } from 'node:buffer';
import picocolors from 'picocolors';
import type { LogFormat } from '../../core/spec.ts';
import { framed, isPlain } from './framing.ts';
import { decodeLines, type Ending } from './lines.ts';

/** Where lines come from. A hook's `source` is `hook.NAME`; a worker's is its id, `APP.N`. */
export interface LineSource {
  readonly app: string;
  readonly source: string;
  readonly stream: 'stdout' | 'stderr';
}

/**
 * The bytes of whole lines (or of one piece), written as they are to stand in the stream, each line with its newline.
 * They are good until the next call of any format.
 */
export type FormatLines = (bytes: Buffer, ending: Ending, nowMs: number) => Buffer;

const newline = 10;
const carriageReturn = 13;
const newlineBytes = Buffer.from('\n');

export function resolveFormat(format: LogFormat, to: 'terminal' | 'file' | 'elsewhere'): 'prefix' | 'json' | 'raw' {
  if (format !== 'auto') return format;
  if (to === 'file') return 'raw';
  return to === 'terminal' ? 'prefix' : 'json';
}

/** The last line of a stream may lack its newline, and a piece of a long line has none: the next line is another's. */
export const rawLines: FormatLines = (bytes) =>
  bytes.at(-1) === newline ? bytes : Buffer.concat([bytes, newlineBytes]);

export function jsonLines(from: LineSource): FormatLines {
  const who = isWorker(from) ? { app: from.app, worker: from.source } : { hook: from.source.replace(/^hook\./, '') };
  const head = `,${JSON.stringify({ ...who, stream: from.stream }).slice(1, -1)},"msg":`;
  return (bytes, ending, nowMs) => {
    const start = `{"time":"${isoOf(nowMs)}"${head}`;
    const end = ending === 'piece' ? ',"partial":true}\n' : '}\n';
    if (isUtf8(bytes) && isPlain(bytes)) return framed(bytes, `${start}"`, `"${end}`);
    let text = '';
    for (const line of decodeLines(bytes)) text += start + JSON.stringify(line) + end;
    return Buffer.from(text);
  };
}

export interface PrefixLook {
  /** How wide the names are now; it grows as longer ones come. */
  readonly width: () => number;
  readonly colors: boolean;
  /** Whether the time stands before the name. */
  readonly stamped: boolean;
}

export function prefixedLines(from: LineSource, { width, colors, stamped }: PrefixLook): FormatLines {
  const paint = picocolors.createColors(colors);
  const hue =
    [paint.cyan, paint.green, paint.magenta, paint.yellow, paint.blue, paint.white][hash(from.source) % 6] ??
    paint.cyan;
  const bar = from.stream === 'stderr' ? paint.red('!') : hue('|');
  return (bytes, _ending, nowMs) => {
    const start = `${stamped ? `${isoOf(nowMs)} ` : ''}${hue(from.source.padEnd(width()))} ${bar} `;
    const isGood = !bytes.includes(carriageReturn) && isUtf8(bytes);
    return framed(isGood ? bytes : Buffer.from(`${decodeLines(bytes).join('\n')}\n`), start, '\n');
  };
}

// ---------------------------------------------------------------- words

let isoMs = Number.NaN;
let iso = '';

/** The same text for all that comes within a millisecond. */
function isoOf(nowMs: number): string {
  if (nowMs !== isoMs) {
    isoMs = nowMs;
    iso = new Date(nowMs).toISOString();
  }
  return iso;
}

function isWorker(from: LineSource): boolean {
  return from.source.startsWith(`${from.app}.`) && /^\d+$/.test(from.source.slice(from.app.length + 1));
}

/** web.1 and web.2 follow each other in the palette. */
function hash(text: string): number {
  const number = Number(/\d+$/.exec(text)?.[0] ?? 0) % 1_000_000;
  let sum = number;
  for (const character of text.replace(/\d+$/, '')) sum += character.charCodeAt(0);
  return sum;
}
