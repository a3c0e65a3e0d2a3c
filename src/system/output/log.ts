/**
 * The master's own log: pino's JSON lines on stderr, or one readable line each on a terminal.
 *
 *   {"level":30,"time":"2026-01-01T00:00:00.000Z","name":"shop","event":"worker.ready","app":"web",...,"msg":"web.1 is ready ..."}
 *   12:00:00.123 info  web.1 is ready after 0.8 s (pid 4250)
 *
 * A field `at` (ISO 8601) is the line's time, or what waited for this module to be loaded would seem to have happened late.
 * It writes into a sink and never waits: no transport, no worker thread, no synchronous write.
 * Import this module lazily: pino is not needed before the first worker runs.
 */
import picocolors from 'picocolors';
import { pino, type Logger } from 'pino';
import type { Sink } from './sink.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

export interface LogOptions {
  /** The master's stderr. On a terminal the lines are for people, elsewhere JSON. */
  readonly sink: Sink;
  readonly colors: boolean;
  /** What is less than this is not logged: info, or warn for --quiet. */
  readonly level?: LogLevel;
  /** The master's name: a field of each JSON line. */
  readonly name?: string;
}

export function createLog(options: LogOptions): Logger {
  const { sink, colors, name } = options;
  const readable = readableLines(colors);
  const write =
    sink.kind === 'tty' ? (line: string) => void sink.write(readable(line)) : (line: string) => void sink.write(line);
  let happenedAt: string | null = null;
  return pino(
    {
      level: options.level ?? 'info',
      base: name === undefined ? null : { name },
      timestamp: () => `,"time":"${happenedAt ?? new Date().toISOString()}"`,
      hooks: {
        logMethod(args, log) {
          const [given, ...rest] = args;
          happenedAt = timeOf(given);
          log.apply(this, happenedAt === null ? args : [{ ...(given as object), at: undefined }, ...rest]);
          happenedAt = null;
        },
      },
    },
    { write },
  );
}

/** When what is logged happened, if it says so itself. */
function timeOf(given: unknown): string | null {
  return typeof given === 'object' && given !== null && 'at' in given && typeof given.at === 'string' ? given.at : null;
}

/**
 * Turns one of pino's JSON lines into one line for people: time, level, message, then what else was given as key=value.
 * An event's own fields are left out, because its sentence says them; last lines of output and a stack follow, indented.
 */
export function readableLines(colors: boolean): (json: string) => string {
  const paint = picocolors.createColors(colors);
  const label = (level: number): string => {
    if (level >= 50) return paint.red('error');
    if (level >= 40) return paint.yellow('warn ');
    return level >= 30 ? paint.green('info ') : paint.dim('debug');
  };
  return (json) => {
    const { level, time, name: _, msg, lastLines, err, ...rest } = JSON.parse(json) as Record<string, unknown>;
    const at = paint.dim(clock(new Date(String(time))));
    const extra =
      'event' in rest
        ? ''
        : Object.entries(rest)
            .map(([key, value]) => ` ${paint.dim(`${key}=`)}${inLine(value)}`)
            .join('');
    const below = [...(Array.isArray(lastLines) ? lastLines.map(String) : []), ...stackOf(err)];
    const indented = below.map((line) => `    ${paint.dim('|')} ${line}\n`).join('');
    return `${at} ${label(Number(level))} ${String(msg ?? '')}${extra}\n${indented}`;
  };
}

/** The local time of day, with milliseconds. */
function clock(time: Date): string {
  const two = (part: number): string => String(part).padStart(2, '0');
  return `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}.${String(time.getMilliseconds()).padStart(3, '0')}`;
}

function inLine(value: unknown): string {
  return typeof value === 'string' && /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value);
}

/** pino's form of an error: its stack, which begins with the message. */
function stackOf(error: unknown): string[] {
  if (typeof error !== 'object' || error === null || !('stack' in error)) return [];
  return String(error.stack).split('\n');
}
