/**
 * What workers and hooks write: cut into lines, shown on the master's stdout or written to a log file, remembered, and
 * passed to whoever follows.
 *
 * - Whole lines only, of one source at a time: many workers never cut each other's lines.
 * - When a sink asks to pause, the pipes of all sources that write there are paused, so their writers block as they would
 *   on a file. Those that write elsewhere go on.
 * - Lines become text only where somebody reads them as text: a follower, `onLine`.
 * - A follower (`logs -f`) that throws is dropped; it decides itself what to do when its own client is slow.
 */
import type { Readable } from 'node:stream';
import type { LogLine } from '../../core/protocol.ts';
import type { LogFormat } from '../../core/spec.ts';
import type { Cancel } from '../../ports.ts';
import type { Loss } from './gap.ts';
import { jsonLines, prefixedLines, rawLines, resolveFormat, type FormatLines, type LineSource } from './line-format.ts';
import { decodeLines, LineSplitter, type Ending } from './lines.ts';
import type { LogFileSettings } from './log-file.ts';
import { LogFiles } from './log-files.ts';
import { RecentLines, type LogFilter } from './recent-lines.ts';
import type { Sink } from './sink.ts';

export interface OutputSource extends LineSource {
  readonly format: LogFormat;
  /** Where its lines go; null or missing: the master's stdout. */
  readonly file?: LogFileSettings | null;
}

export interface OutputOptions {
  /** The master's stdout, or its log file. */
  readonly sink: Sink;
  readonly colors: boolean;
  /** Opened again by `reopen`; null: the sink is an inherited descriptor. */
  readonly logFile?: string | null;
  /** Hears of lines that a log file of workers has lost. */
  readonly onLoss?: (loss: Loss) => void;
  /** Hears of log files that cannot be opened, rotated or compressed. */
  readonly warn?: (message: string) => void;
  /** Milliseconds since the epoch. */
  readonly now?: () => number;
}

const widestName = 24;

/** One stream that flows. */
interface Flow {
  readonly sink: Sink;
  /** Ends its last line, once. */
  readonly end: () => void;
}

export class Output {
  readonly #sink: Sink;
  readonly #colors: boolean;
  readonly #logFile: string | null;
  readonly #now: () => number;
  readonly #recent = new RecentLines();
  readonly #files: LogFiles;
  readonly #followers = new Set<(line: LogLine) => void>();
  /** The streams that still flow. */
  readonly #flows = new Map<Readable, Flow>();
  /** The sinks that tell when their writers may go on. */
  readonly #heard = new WeakSet<Sink>();
  #nameWidth = 0;

  constructor(options: OutputOptions) {
    this.#sink = options.sink;
    this.#colors = options.colors;
    this.#logFile = options.logFile ?? null;
    this.#now = options.now ?? Date.now;
    this.#files = new LogFiles({
      ...(options.onLoss === undefined ? {} : { onLoss: options.onLoss }),
      ...(options.warn === undefined ? {} : { tell: options.warn }),
    });
  }

  /** Takes all that the stream gives, to its end. `onLine` sees each line without its end, before anybody waits for anything. */
  attach(stream: Readable, source: OutputSource, onLine?: (line: string) => void): void {
    const to = this.#sinkFor(source);
    this.#hear(to.sink);
    const take = this.#taker(source, to, onLine);
    const splitter = new LineSplitter((bytes, ending) => {
      if (!take(bytes, ending)) this.#pauseAll(to.sink);
    });
    const end = (): void => {
      if (!this.#flows.delete(stream)) return;
      splitter.end();
      to.release();
    };
    this.#flows.set(stream, { sink: to.sink, end });
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

  /** Opens all log files again, after logrotate has moved them. @throws what open(2) says of the master's own; the old file is written on then. */
  reopen(): void {
    this.#files.reopen();
    if (this.#logFile !== null) this.#sink.reopenFile(this.#logFile);
  }

  /** Ends what still flows and writes what the sinks take, within their time. */
  close(done: () => void): void {
    for (const [stream, { end }] of this.#flows) {
      stream.pause();
      end();
    }
    let left = 2;
    const one = (): void => void (--left === 0 && done());
    this.#files.close(one);
    this.#sink.close(one);
  }

  #sinkFor({ file, format }: OutputSource): Channel {
    if (file == null) {
      const to = this.#sink.kind === 'tty' ? 'terminal' : 'elsewhere';
      return { sink: this.#sink, to, format: resolveFormat(format, to), release: () => undefined };
    }
    const resolved = resolveFormat(format, 'file');
    return { to: 'file', format: resolved, ...this.#files.take(file, resolved) };
  }

  /** Lets its writers go on when it asks for it. */
  #hear(sink: Sink): void {
    if (this.#heard.has(sink)) return;
    this.#heard.add(sink);
    sink.onDrain(() => {
      for (const [stream, flow] of this.#flows) if (flow.sink === sink) stream.resume();
    });
  }

  #pauseAll(sink: Sink): void {
    for (const [stream, flow] of this.#flows) if (flow.sink === sink) stream.pause();
  }

  /** What happens to each block of lines of one stream; false: the sink asks to pause. */
  #taker(
    source: OutputSource,
    to: Channel,
    onLine: ((line: string) => void) | undefined,
  ): (bytes: Buffer, ending: Ending) => boolean {
    const remember = this.#recent.begin(source);
    const format = this.#formatFor(source, to);
    return (bytes, ending) => {
      const nowMs = this.#now();
      remember(bytes, nowMs);
      const goOn = to.sink.write(format(bytes, ending, nowMs));
      if (onLine !== undefined || this.#followers.size > 0) {
        const lines = decodeLines(bytes);
        if (onLine !== undefined) for (const line of lines) onLine(line);
        if (this.#followers.size > 0) this.#tellFollowers(source, lines, new Date(nowMs).toISOString());
      }
      return goOn;
    };
  }

  #formatFor(source: OutputSource, { to, format }: Channel): FormatLines {
    if (format === 'raw') return rawLines;
    if (format === 'json') return jsonLines(source);
    this.#nameWidth = Math.min(widestName, Math.max(this.#nameWidth, source.source.length));
    const colors = this.#colors && to !== 'file';
    return prefixedLines(source, { width: () => this.#nameWidth, colors, stamped: to === 'file' });
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

/** Where the lines of one stream go, and how they are written there. */
interface Channel {
  readonly sink: Sink;
  readonly to: 'terminal' | 'file' | 'elsewhere';
  readonly format: 'prefix' | 'json' | 'raw';
  /** It will write no more. */
  readonly release: Cancel;
}
