/**
 * `logs`: recent and live lines of workers and hooks. Text is `source | line`; on a screen control characters are
 * taken out of the lines, elsewhere they pass as they are. --json gives one object a line.
 */
import { ExitCode, SuperviseError } from '../../core/errors.ts';
import type { LogLine } from '../../core/protocol.ts';
import { coloursFor } from '../colours.ts';
import type { Invocation } from '../invocation.ts';
import { hasOption, textOption } from '../invocation.ts';
import type { Colours } from '../render.ts';
import { printable } from '../text.ts';
import { connectionFor } from '../which.ts';

const defaultLines = 100;
const mostLines = 100_000;

/** @throws SuperviseError no-master, usage, unknown-target, operation-failed */
export async function logs(invocation: Invocation): Promise<number> {
  const n = linesFrom(textOption(invocation, 'lines'));
  const { client } = await connectionFor(invocation);
  const { terminal, globals, args } = invocation;
  const textOf = lineWriter(coloursFor(invocation), terminal.outIsScreen);
  for await (const line of client.logs({ target: args[0] ?? null, n, follow: hasOption(invocation, 'follow') })) {
    terminal.out(`${globals.json ? JSON.stringify(line) : textOf(line)}\n`);
  }
  return ExitCode.ok;
}

/** Keeps the prefixes as wide as the widest so far. */
export function lineWriter(colours: Colours, onScreen: boolean): (line: LogLine) => string {
  let width = 0;
  return ({ source, stream, line }) => {
    width = Math.max(width, source.length);
    const bar = stream === 'stderr' ? colours.yellow('|') : colours.dim('|');
    return `${source.padEnd(width)} ${bar} ${onScreen ? printable(line) : line}`;
  };
}

function linesFrom(text: string | null): number {
  if (text === null) return defaultLines;
  const n = /^\d{1,6}$/.test(text) ? Number(text) : Number.NaN;
  if (n <= mostLines) return n;
  throw new SuperviseError('usage', `--lines: expected a whole number from 0 to ${mostLines}, found ${text}`);
}
