/**
 * What the CLI knows of the two ends of its output. Results go to stdout; progress, warnings and errors for people to
 * stderr. Interactive (one updating line, screens that are redrawn) only on a real terminal: CI=true and TERM=dumb
 * count as none.
 *
 * Colours: --no-color, then NO_COLOR (not empty), then FORCE_COLOR (0 is off), then whether it is a terminal.
 *
 * Neither stream is touched before something is written: a foreground master writes to the descriptors by itself.
 */
import { isatty } from 'node:tty';

export interface Terminal {
  out(text: string): void;
  err(text: string): void;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly outIsScreen: boolean;
  readonly errIsScreen: boolean;
  /** The width of stderr's screen in columns. */
  columns(): number;
}

export interface ProcessTerminal extends Terminal {
  /** Calls `done` when all that was written has left the process. */
  flush(done: () => void): void;
}

export function processTerminal(): ProcessTerminal {
  const { env } = process;
  const screen = !isSet(env.CI) && env.TERM !== 'dumb';
  const used = new Set<NodeJS.WriteStream>();
  const write = (stream: NodeJS.WriteStream, text: string) => {
    if (!used.has(stream)) stream.on('error', stream === process.stdout ? endWithReader : () => {});
    used.add(stream);
    stream.write(text);
  };
  return {
    out: (text) => write(process.stdout, text),
    err: (text) => write(process.stderr, text),
    env,
    outIsScreen: screen && isatty(1),
    errIsScreen: screen && isatty(2),
    columns: () => process.stderr.columns || 80,
    flush: (done) => {
      const streams = [...used];
      const next = (): void => void (streams.pop()?.write('', next) ?? done());
      next();
    },
  };
}

/** `supervise logs | head` ends quietly. */
function endWithReader(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE') throw error;
  process.exit();
}

function isSet(value: string | undefined): boolean {
  return value !== undefined && value !== '' && value !== '0' && value !== 'false';
}

/** What flags and environment say about colours; null: it depends on where the output goes. */
export function colourWish(noColorFlag: boolean, env: Terminal['env']): boolean | null {
  if (noColorFlag) return false;
  if (env.NO_COLOR !== undefined && env.NO_COLOR !== '') return false;
  if (env.FORCE_COLOR !== undefined && env.FORCE_COLOR !== '') return isSet(env.FORCE_COLOR);
  return null;
}
