/**
 * What workers and hooks write: cut into lines, shown on the master's stdout, remembered, and passed to whoever follows.
 *
 * - Whole lines only, of one source at a time: many workers never cut each other's lines.
 * - When the sink asks to pause, the pipes of all sources are paused, so their writers block as they would on a file.
 * - A follower (`logs -f`) that throws is dropped; it decides itself what to do when its own client is slow.
 */
import type { Readable } from 'node:stream';
import type { LogLine } from '../../core/protocol.ts';
import type { LogFormat } from '../../core/spec.ts';
import type { Cancel } from '../../ports.ts';
import { jsonLines, prefixedLines, resolveFormat, type LineSource } from './line-format.ts';
import { decodeBlock, LineSplitter, type Ending } from './lines.ts';
import { RecentLines, type LogFilter } from './recent-lines.ts';
import type { Sink } from './sink.ts';

export interface OutputSource extends LineSource {
  readonly format: LogFormat;
}

export interface OutputOptions {
  /** The master's stdout, or its log file. */
  readonly sink: Sink;
  readonly colors: boolean;
  /** Opened again by `reopen`; null: the sink is an inherited descriptor. */
  readonly logFile?: string | null;
  /** Milliseconds since the epoch. */
  readonly now?: () => number;
}

const widestName = 24;

export class Output {
  readonly #sink: Sink;
  readonly #colors: boolean;
  readonly #logFile: string | null;
  readonly #now: () => number;
  readonly #recent = new RecentLines();
  readonly #followers = new Set<(line: LogLine) => void>();
  /** The streams that still flow, with what ends their last line. */
  readonly #streams = new Map<Readable, () => void>();
  #nameWidth = 0;

  constructor(options: OutputOptions) {
    this.#sink = options.sink;
    this.#colors = options.colors;
    this.#logFile = options.logFile ?? null;
    this.#now = options.now ?? Date.now;
    this.#sink.onDrain(() => {
      for (const stream of this.#streams.keys()) stream.resume();
    });
  }

  /** Takes all that the stream gives, to its end. `onLine` sees each line without its end, before anybody waits for anything. */
  attach(stream: Readable, source: OutputSource, onLine?: (line: string) => void): void {
    const take = this.#taker(source, onLine);
    const splitter = new LineSplitter((bytes, ending) => {
      if (!take(bytes, ending)) this.#pauseAll();
    });
    const end = (): void => {
      if (this.#streams.delete(stream)) splitter.end();
    };
    this.#streams.set(stream, end);
    stream.on('data', (chunk: Buffer | string) =>
      splitter.push(typeof chunk === 'string' ? Buffer.from(chunk) : chunk),
    );
    stream.once('end', end);
    stream.once('close', end);
    stream.on('error', end);
  }

  /** The last lines that the source's present process wrote to stderr; to stdout, where stderr has none. */
  tail(source: string, lines: number): readonly string[] {
    return this.#recent.tail(source, lines);
  }

  /** The source has ended for good; its lines stay readable until some dozens of others have ended. */
  forget(source: string): void {
    this.#recent.forget(source);
  }

  /** The last `count` lines of all that fit, in the order in which they came. */
  recent(filter: LogFilter, count: number): LogLine[] {
    return this.#recent.recent(filter, count);
  }

  /** Calls `fn` with each line from now on. */
  subscribe(fn: (line: LogLine) => void): Cancel {
    const follower = (line: LogLine): void => fn(line); // the same function may follow twice
    this.#followers.add(follower);
    return () => void this.#followers.delete(follower);
  }

  /** Opens the log file again, after logrotate has moved it. @throws what open(2) says; the old file is written on then. */
  reopen(): void {
    if (this.#logFile !== null) this.#sink.reopenFile(this.#logFile);
  }

  /** Ends what still flows and writes what the sink takes, within its time. */
  close(done: () => void): void {
    for (const [stream, end] of this.#streams) {
      stream.pause();
      end();
    }
    this.#sink.close(done);
  }

  #pauseAll(): void {
    for (const stream of this.#streams.keys()) stream.pause();
  }

  /** What happens to each block of lines of one stream; false: the sink asks to pause. */
  #taker(
    source: OutputSource,
    onLine: ((line: string) => void) | undefined,
  ): (bytes: Buffer, ending: Ending) => boolean {
    this.#nameWidth = Math.min(widestName, Math.max(this.#nameWidth, source.source.length));
    const remember = this.#recent.begin(source);
    const kind = resolveFormat(source.format, this.#sink.kind === 'tty' ? 'terminal' : 'elsewhere');
    const format = kind === 'prefix' ? prefixedLines(source, () => this.#nameWidth, this.#colors) : jsonLines(source);
    return (bytes, ending) => {
      const nowMs = this.#now();
      const block = decodeBlock(bytes, ending);
      const { lines } = block;
      remember(lines, nowMs);
      const time = new Date(nowMs).toISOString();
      const goOn = this.#sink.write(kind === 'raw' ? endedByNewline(bytes) : format(block, time), lines.length);
      if (onLine !== undefined) for (const line of lines) onLine(line);
      if (this.#followers.size > 0) this.#tellFollowers(source, lines, time);
      return goOn;
    };
  }

  #tellFollowers(from: OutputSource, lines: readonly string[], at: string): void {
    const { app, source, stream } = from;
    for (const line of lines) {
      for (const follower of this.#followers) {
        try {
          follower({ at, app, source, stream, line });
        } catch {
          this.#followers.delete(follower);
        }
      }
    }
  }
}

/** The last line of a stream may lack its newline, and a piece of a long line has none: the next line is another's. */
function endedByNewline(bytes: Buffer): Buffer {
  return bytes.at(-1) === 10 ? bytes : Buffer.concat([bytes, Buffer.from('\n')]);
}
