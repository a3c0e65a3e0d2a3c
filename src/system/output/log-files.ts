/**
 * The log files that are open, one sink for each path, however many workers write there.
 *
 * - Who takes one gives it back when its streams have ended. A sink that nobody has, in which nothing waits and whose
 *   rotated files are compressed, is closed a second later; so a restart of a worker does not close and open its file.
 * - The settings of a path are those of whoever took it last: after a reload, those of the new workers.
 */
import type { Cancel } from '../../ports.ts';
import type { Loss } from './gap.ts';
import { LogFile, type LogFileSettings, type Tell } from './log-file.ts';
import { plainGapLine, Sink, type SinkLimits } from './sink.ts';
import { jsonGapLine } from './standard-sinks.ts';

export interface LogFilesOptions extends SinkLimits {
  readonly onLoss?: (loss: Loss) => void;
  /** What an operator should know: a file that cannot be opened, a rotation that failed. */
  readonly tell?: Tell;
}

interface OpenFile {
  readonly sink: Sink;
  readonly file: LogFile;
  users: number;
}

const lookEveryMs = 1_000;

export class LogFiles {
  readonly #options: LogFilesOptions;
  readonly #open = new Map<string, OpenFile>();
  #timer: NodeJS.Timeout | null = null;

  constructor(options: LogFilesOptions = {}) {
    this.#options = options;
  }

  /** The sink of this file, and what gives it back. Never throws: a file that cannot be opened is tried again. */
  take(
    settings: LogFileSettings,
    format: 'prefix' | 'json' | 'raw',
  ): { readonly sink: Sink; readonly release: Cancel } {
    const open = this.#open.get(settings.path) ?? this.#openNow(settings, format);
    open.file.configure(settings);
    open.users++;
    const release = (): void => {
      open.users--;
      this.#timer ??= setInterval(() => this.#closeUnused(), lookEveryMs).unref();
    };
    return { sink: open.sink, release };
  }

  /** Opens all of them again, after logrotate has moved them. */
  reopen(): void {
    for (const { sink } of this.#open.values()) sink.reopen();
  }

  /** Writes what can be written, within its time. */
  close(done: () => void): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    let left = this.#open.size;
    if (left === 0) return void setImmediate(done);
    for (const { sink } of this.#open.values()) sink.close(() => void (--left === 0 && done()));
  }

  #openNow(settings: LogFileSettings, format: 'prefix' | 'json' | 'raw'): OpenFile {
    const { onLoss, tell = () => undefined, ...limits } = this.#options;
    const file = new LogFile(settings, tell);
    const sink = new Sink({
      ...limits,
      name: settings.path,
      target: file,
      gapLine: format === 'json' ? jsonGapLine : stampedGapLine,
      ...(onLoss === undefined ? {} : { onLoss }),
    });
    const open: OpenFile = { sink, file, users: 0 };
    this.#open.set(settings.path, open);
    return open;
  }

  #closeUnused(): void {
    let unused = 0;
    for (const [path, { sink, file, users }] of this.#open) {
      if (users > 0) continue;
      unused++;
      if (!sink.isIdle || file.isBusy) continue;
      this.#open.delete(path);
      sink.close(() => undefined);
    }
    if (unused > 0 || this.#timer === null) return;
    clearInterval(this.#timer);
    this.#timer = null;
  }
}

/** In a file nobody else says when. */
function stampedGapLine(lines: number, reason: string): string {
  return `${new Date().toISOString()} ${plainGapLine(lines, reason)}`;
}
