/**
 * One event as one line: the local time of day, the type, the sentence the log has for it. Last lines follow, indented,
 * where something failed. An event of a newer master that has no sentence here is shown as its JSON.
 */
import { narrate } from '../core/narrate.ts';
import type { Event } from '../core/protocol.ts';
import type { Colours, Paint } from './render.ts';
import { printable } from './text.ts';

/** Without the closing newline. */
export function eventText(event: Event, colours: Colours): string {
  const { level, message, lastLines } = toldOf(event);
  const paint: Partial<Record<typeof level, Paint>> = { debug: colours.dim, warn: colours.yellow, error: colours.red };
  const text = printable(message);
  const head = `${colours.dim(clockText(event.at))} ${event.type.padEnd(18)} ${(paint[level] ?? plain)(text)}`;
  return [head, ...lastLines.map((line) => `    ${printable(line)}`)].join('\n');
}

const plain: Paint = (text) => text;

/** The sentence of an event, and how bad it is. */
export function toldOf(event: Event): {
  level: 'debug' | 'info' | 'warn' | 'error';
  message: string;
  lastLines: readonly string[];
} {
  try {
    const { level, message, fields } = narrate(event);
    const lines = fields.lastLines;
    return { level, message, lastLines: Array.isArray(lines) ? lines.map(String) : [] };
  } catch {
    const { seq: _seq, at: _at, type: _type, ...rest } = event;
    return { level: 'info', message: JSON.stringify(rest), lastLines: [] };
  }
}

/** `12:03:04.250`, in the reader's own time. */
export function clockText(at: string): string {
  const time = new Date(at);
  if (Number.isNaN(time.getTime())) return printable(at);
  const [hours, minutes, seconds] = [time.getHours(), time.getMinutes(), time.getSeconds()].map((part) =>
    String(part).padStart(2, '0'),
  );
  return `${hours}:${minutes}:${seconds}.${String(time.getMilliseconds()).padStart(3, '0')}`;
}
