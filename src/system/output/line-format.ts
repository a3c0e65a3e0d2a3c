/**
 * How a worker's line looks on the master's stdout.
 *
 *   prefix   web.1  | text          on stderr: web.1  ! text; one colour per source, the ! red
 *   json     {"time":"2026-01-01T00:00:00.000Z","app":"web","worker":"web.1","stream":"stdout","msg":"text"}
 *            a hook has "hook":"migrate" instead of app and worker; a piece of an overlong line has "partial":true
 *   raw      the line's bytes as they are
 *   auto     prefix on a terminal, else json
 */
import picocolors from 'picocolors';
import type { LogFormat } from '../../core/spec.ts';
import type { Block } from './lines.ts';

/** Where lines come from. A hook's `source` is `hook.NAME`; a worker's is its id, `APP.N`. */
export interface LineSource {
  readonly app: string;
  readonly source: string;
  readonly stream: 'stdout' | 'stderr';
}

/** The text of a block's lines, each with its newline. `time`: ISO 8601. */
export type FormatBlock = (block: Block, time: string) => string;

/** Matches what JSON would escape, apart from the newlines between lines. */
const escaped = /[^\n\u0020-\u0021\u0023-\u005b\u005d-\uffff]/;

export function resolveFormat(format: LogFormat, to: 'terminal' | 'elsewhere'): 'prefix' | 'json' | 'raw' {
  if (format !== 'auto') return format;
  return to === 'terminal' ? 'prefix' : 'json';
}

export function jsonLines(from: LineSource): FormatBlock {
  const who = isWorker(from) ? { app: from.app, worker: from.source } : { hook: from.source.replace(/^hook\./, '') };
  const head = `,${JSON.stringify({ ...who, stream: from.stream }).slice(1, -1)},"msg":`;
  return ({ lines, text: plain, ending }, time) => {
    const start = `{"time":"${time}"${head}`;
    const end = ending === 'piece' ? ',"partial":true}\n' : '}\n';
    if (!escaped.test(plain)) return `${start}"${lines.join(`"${end}${start}"`)}"${end}`; // a third cheaper
    let text = '';
    for (const line of lines) text += start + JSON.stringify(line) + end;
    return text;
  };
}

/** `width`: how wide the names are now; it grows as longer ones come. */
export function prefixedLines(from: LineSource, width: () => number, colors: boolean): FormatBlock {
  const paint = picocolors.createColors(colors);
  const hue =
    [paint.cyan, paint.green, paint.magenta, paint.yellow, paint.blue, paint.white][hash(from.source) % 6] ??
    paint.cyan;
  const bar = from.stream === 'stderr' ? paint.red('!') : hue('|');
  return ({ lines }) => {
    const start = `${hue(from.source.padEnd(width()))} ${bar} `;
    return `${start}${lines.join(`\n${start}`)}\n`;
  };
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
