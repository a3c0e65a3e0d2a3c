/** The lines of a page: as they came, or derived where the state knows them by itself. */
import type { LogLine } from '../../core/protocol.ts';
import type { Why } from '../../core/record.ts';
import { clockText, toldOf } from '../event-text.ts';
import type { Colours } from '../render.ts';
import { whyText } from '../why-text.ts';
import type { Tone } from './cells.ts';
import { paneKeys, tableKeys, type KeyRow } from './keymap.ts';
import type { Pane, PaneLine, State } from './state.ts';
import type { Event } from '../../core/protocol.ts';

export function pageLines({ events }: State, pane: Pane): readonly PaneLine[] {
  if (pane.kind === 'events') return events.flatMap(eventLines);
  return pane.kind === 'help' ? helpLines : pane.lines;
}

const tones: Readonly<Record<'debug' | 'info' | 'warn' | 'error', Tone>> = {
  debug: 'dim',
  info: 'plain',
  warn: 'yellow',
  error: 'red',
};

/** One event in one line. */
export function eventLine(event: Event): PaneLine {
  const { level, message } = toldOf(event);
  return { text: `${clockText(event.at).slice(0, 8)} ${message}`, tone: tones[level] };
}

function eventLines(event: Event): PaneLine[] {
  const last = toldOf(event).lastLines.map((text): PaneLine => ({ text: `         | ${text}`, tone: 'dim' }));
  return [eventLine(event), ...last];
}

/** A line of a worker may be a megabyte, and a page keeps thousands of them. */
export const longestLine = 10_000;

/** `of`: whose lines are shown; of an app each says which worker wrote it. */
export function logLine({ at, source, stream, line }: LogLine, of: string): PaneLine {
  const who = source === of ? '' : `${source} `;
  const text = `${clockText(at).slice(0, 8)} ${who}| ${shortened(line)}`;
  return { text, tone: stream === 'stderr' ? 'yellow' : 'plain' };
}

/** A copy: a slice would keep the whole line in memory. */
function shortened(line: string): string {
  if (line.length <= longestLine) return line;
  return `${Buffer.from(line.slice(0, longestLine), 'utf16le').toString('utf16le')}…`;
}

const uncoloured: Colours = { green: String, yellow: String, red: String, dim: String, bold: String };

export function whyLines(why: Why): PaneLine[] {
  const text = whyText(why, uncoloured).trimEnd().split('\n');
  return text.map((one) => ({ text: one, tone: /^\S/.test(one) ? 'bold' : 'plain' }));
}

const helpLines: readonly PaneLine[] = [
  ...section('In the table', tableKeys),
  { text: '', tone: 'plain' },
  ...section('In logs, why, events and here', paneKeys),
  { text: '', tone: 'plain' },
  { text: 'The table', tone: 'bold' },
  ...[
    'READY/PID  of an app the workers that are ready of those that are wanted; of a worker its process',
    'RST        restarts of a worker since it was made',
    'CPU        of the whole process tree, 100 % is one core; of the host 100 % is all of it',
    'MEM        of the whole process tree',
    'CONN QUEUE client connections, and those that wait to be accepted; counted now and then',
    'bars       the highest value in each stretch of time; CPU from 0 to a core or the peak, memory from 0 to the peak',
  ].map((text): PaneLine => ({ text: `  ${text}`, tone: 'plain' })),
];

function section(title: string, rows: readonly KeyRow[]): readonly PaneLine[] {
  const lines = rows.map(({ keys, help }): PaneLine => ({ text: `  ${keys.padEnd(15)} ${help}`, tone: 'plain' }));
  return [{ text: title, tone: 'bold' }, ...lines];
}
