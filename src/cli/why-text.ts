/** The answer to `why` for people: a headline a paragraph, its facts indented, the worker's own last lines behind a bar. */
import type { Why } from '../core/record.ts';
import { whyParagraphs, type Paragraph } from '../core/why.ts';
import type { Colours, Paint } from './render.ts';
import { printable } from './text.ts';

/** The whole of `why`. `nowMs`: what happened on another day is told with its date. */
export function whyText(why: Why, colours: Colours, nowMs = Date.now()): string {
  const clock = (at: string) => clockText(at, new Date(nowMs));
  const paragraphs = whyParagraphs(why, clock).map((one) => paragraphText(one, colours));
  const notes = why.running ? [] : [colours.yellow('no master runs; this is what the last one has left')];
  if (why.records.length === 0) notes.push(colours.dim(`no exit of ${printable(why.target)} is recorded`));
  return [...(why.running ? [] : notes.splice(0, 1)), ...paragraphs, ...notes].map((text) => `${text}\n`).join('\n');
}

function paragraphText({ kind, headline, details, lastLines }: Paragraph, colours: Colours): string {
  const paints: Readonly<Record<Paragraph['kind'], Paint>> = {
    trouble: colours.yellow,
    fine: colours.green,
    crash: colours.red,
    planned: colours.bold,
  };
  return [
    paints[kind](printable(headline)),
    ...details.map((line) => `  ${printable(line)}`),
    ...lastLines.map((line) => `  ${colours.dim('|')} ${printable(line)}`),
  ].join('\n');
}

/** `12:03:04`, on another day `2026-01-01 12:03:04`; in the reader's own time. */
function clockText(at: string, now: Date): string {
  const time = new Date(at);
  if (Number.isNaN(time.getTime())) return printable(at);
  const two = (part: number) => String(part).padStart(2, '0');
  const clock = `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
  if (time.toDateString() === now.toDateString()) return clock;
  return `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())} ${clock}`;
}
