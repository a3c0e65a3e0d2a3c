/**
 * Writes whole lines to one destination, asynchronously, and decides what happens when it takes none.
 *
 * - Lines wait in a queue; above the high-water mark `write` answers false: "pause, I call you back". So a slow
 *   destination slows whoever writes, as a file would.
 * - `stuck`: the queue is full and for `stuckAfterMs` not a byte was taken. `broken`: a write failed (ENOSPC, EIO); it is
 *   tried again every `retryEveryMs`. In both, what the queue cannot hold is lost, and nobody is asked to pause.
 * - Once a line is lost, all after it are, until the queue is half empty again: then one line in the stream says how many
 *   are missing at that place. `onLoss` hears of it a second after the first lost line, ever more seldom while it lasts,
 *   and at its end; its numbers add up.
 * - `gone`: nobody can ever read it again (EPIPE); from then on everything is lost.
 * - Nothing in here throws, blocks, or keeps the process alive, but `close`, and that for a bounded time.
 */
import { Backlog, countLines } from './backlog.ts';
import { Gap, type Loss } from './gap.ts';
import { openFileTarget, type Target } from './sink-target.ts';
import type { Cancel } from '../../ports.ts';

export interface SinkLimits {
  /** So many bytes may wait before writers are asked to pause. Default 1 MiB. */
  readonly highWaterBytes?: number;
  /** A full sink that takes nothing for so long loses lines instead of stopping the writers. Default 10 s. */
  readonly stuckAfterMs?: number;
  /** How often a write that failed is tried again. Default 1 s. */
  readonly retryEveryMs?: number;
  /** `close` waits no longer than this for a destination that takes nothing (default 1 s), and five times it in all. */
  readonly closeAfterMs?: number;
  /** The first report of a loss comes so long after it, the next ones after ever doubled times. Default 1 s. */
  readonly reportAfterMs?: number;
}

export interface SinkOptions extends SinkLimits {
  /** How reports name it: stdout, stderr, or a path. */
  readonly name: string;
  readonly target: Target;
  /** Called never from within `write`. */
  readonly onLoss?: (loss: Loss) => void;
  /** The line that stands in the stream where lines are missing, with its newline. */
  readonly gapLine?: (lines: number, reason: string) => string;
}

type State = 'flowing' | 'stuck' | 'broken' | 'gone' | 'closed';

const goneCodes: ReadonlySet<string> = new Set(['EPIPE', 'ECONNRESET', 'ENOTCONN', 'EBADF', 'ERR_STREAM_DESTROYED']);

export class Sink {
  readonly name: string;
  readonly #limits: Required<SinkLimits>;
  readonly #onLoss: (loss: Loss) => void;
  readonly #gapLine: (lines: number, reason: string) => string;
  readonly #backlog = new Backlog();
  readonly #drained = new Set<() => void>();
  readonly #closed: (() => void)[] = [];

  #target: Target;
  #state: State = 'flowing';
  #reason = '';
  #gap: Gap | null = null;
  /** The piece that is being written now, or waits to be tried again. */
  #piece: Buffer | null = null;
  #pausing: 'pausing' | 'going' = 'going';
  /** When a byte was taken last, or began to wait. */
  #progressMs = 0;
  /** When the last write began. */
  #writtenAtMs = Number.NEGATIVE_INFINITY;
  #gatherTimer: NodeJS.Timeout | undefined;
  #stuckTimer: NodeJS.Timeout | undefined;
  #retryTimer: NodeJS.Timeout | undefined;
  #closeTimer: NodeJS.Timeout | undefined;

  constructor(options: SinkOptions) {
    this.name = options.name;
    this.#target = options.target;
    this.#onLoss = options.onLoss ?? (() => undefined);
    this.#gapLine = options.gapLine ?? plainGapLine;
    this.#limits = {
      highWaterBytes: options.highWaterBytes ?? 1024 * 1024,
      stuckAfterMs: options.stuckAfterMs ?? 10_000,
      retryEveryMs: options.retryEveryMs ?? 1000,
      closeAfterMs: options.closeAfterMs ?? 1000,
      reportAfterMs: options.reportAfterMs ?? 1000,
    };
  }

  get kind(): Target['kind'] {
    return this.#target.kind;
  }

  /** Takes a copy of whole lines, each with its newline. False: pause and wait for `onDrain`; what was given is taken all the same. */
  write(text: string | Buffer): boolean {
    const full = this.#backlog.bytes >= this.#limits.highWaterBytes;
    const bytes = typeof text === 'string' ? Buffer.from(text) : text;
    if (this.#state === 'closed' || bytes.length === 0) return true;
    if (this.#state === 'gone' || this.#gap !== null || (full && this.#state !== 'flowing')) {
      this.#lose(countLines(bytes), bytes.length);
      return true;
    }
    if (this.#backlog.bytes === 0) this.#progressMs = performance.now();
    this.#backlog.add(bytes);
    this.#pump();
    if (this.#state !== 'flowing' || this.#backlog.bytes < this.#limits.highWaterBytes) return true;
    this.#pause();
    return false;
  }

  /** Calls `fn` each time that writers may go on. */
  onDrain(fn: () => void): Cancel {
    this.#drained.add(fn);
    return () => void this.#drained.delete(fn);
  }

  /** Opens `path` again and goes on there, after the piece that is being written. @throws what open(2) says; the old file stays then. */
  reopenFile(path: string): void {
    if (this.#state === 'closed') return;
    const old = this.#target;
    this.#target = openFileTarget(path);
    old.close();
    if (this.#retryTimer !== undefined) this.#retry();
  }

  /** Opens what the target writes to again, where it can (a log file that was moved); what failed is tried at once. */
  reopen(): void {
    this.#target.reopen?.();
    if (this.#retryTimer !== undefined) this.#retry();
  }

  /** Nothing waits to be written, and no gap is open. */
  get isIdle(): boolean {
    return this.#backlog.bytes === 0 && this.#piece === null && this.#gap === null;
  }

  /** Writes what can be written, gives up on what cannot, and calls `done` once, later: see `closeAfterMs`. */
  close(done: () => void): void {
    if (this.#state === 'closed') return void setImmediate(done);
    this.#closed.push(done);
    if (this.#closeTimer !== undefined) return;
    const startMs = performance.now();
    const { closeAfterMs } = this.#limits;
    const look = (): void => {
      const nowMs = performance.now();
      const quietMs = nowMs - Math.max(this.#progressMs, startMs);
      const over = quietMs >= closeAfterMs || nowMs - startMs >= closeAfterMs * 5;
      if (over || this.#backlog.bytes === 0 || this.#state === 'gone' || this.#state === 'broken') this.#finish();
    };
    this.#closeTimer = setInterval(look, Math.max(1, Math.min(50, closeAfterMs / 4)));
    this.#pump();
    setImmediate(look);
  }

  // ---------------------------------------------------------------- writing

  #pump(): void {
    if (this.#piece !== null || this.#backlog.bytes === 0 || this.#gathers()) return;
    this.#writtenAtMs = performance.now();
    this.#piece = this.#backlog.peek(this.#target.pieceBytes);
    this.#writePiece(this.#piece);
  }

  /** Whether to wait for more, because little waits and the last write was just now. */
  #gathers(): boolean {
    const { gatherMs = 0, pieceBytes } = this.#target;
    if (gatherMs === 0 || this.#backlog.bytes * 2 > pieceBytes || this.#closeTimer !== undefined) return false;
    if (performance.now() - this.#writtenAtMs >= gatherMs) return false;
    this.#gatherTimer ??= setTimeout(() => {
      this.#gatherTimer = undefined;
      this.#writtenAtMs = Number.NEGATIVE_INFINITY;
      this.#pump();
    }, gatherMs).unref();
    return true;
  }

  #writePiece(piece: Buffer): void {
    this.#target.write(piece, (code, taken) => {
      if (this.#state === 'closed') return;
      if (code === null) this.#written(piece, taken);
      else if (goneCodes.has(code)) this.#goes(code);
      else this.#breaks(code);
    });
  }

  #written(piece: Buffer, taken: number): void {
    this.#progressMs = performance.now();
    this.#backlog.drop(taken);
    this.#piece = taken < piece.length ? piece.subarray(taken) : null;
    this.#state = 'flowing';
    if (this.#backlog.bytes <= this.#limits.highWaterBytes / 2) {
      if (this.#gap !== null) this.#endGap(this.#gap);
      this.#goOn();
    }
    if (this.#piece !== null) this.#writePiece(this.#piece);
    else this.#pump();
    if (this.#closeTimer !== undefined && this.#backlog.bytes === 0) this.#finish();
  }

  #breaks(code: string): void {
    this.#state = 'broken';
    this.#reason = describe(code);
    this.#retryTimer = setTimeout(() => this.#retry(), this.#limits.retryEveryMs).unref();
    this.#goOn();
  }

  #retry(): void {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = undefined;
    if (this.#piece !== null) this.#writePiece(this.#piece);
  }

  #goes(code: string): void {
    this.#state = 'gone';
    this.#reason = describe(code);
    this.#loseBacklog();
    this.#goOn();
  }

  // ---------------------------------------------------------------- back-pressure

  #pause(): void {
    this.#pausing = 'pausing';
    this.#stuckTimer ??= this.#lookIn(this.#limits.stuckAfterMs);
  }

  /** Looks after the events that came meanwhile were handled: this process itself may have been stopped all the time. */
  #lookIn(delayMs: number): NodeJS.Timeout {
    return setTimeout(() => setImmediate(() => this.#lookWhetherStuck()), delayMs).unref();
  }

  #lookWhetherStuck(): void {
    this.#stuckTimer = undefined;
    if (this.#pausing === 'going' || this.#state !== 'flowing') return;
    const leftMs = this.#progressMs + this.#limits.stuckAfterMs - performance.now();
    if (leftMs > 0) {
      this.#stuckTimer = this.#lookIn(Math.ceil(leftMs));
      return;
    }
    this.#state = 'stuck';
    this.#reason = `it took nothing for ${this.#limits.stuckAfterMs / 1000} s`;
    this.#goOn();
  }

  #goOn(): void {
    if (this.#pausing === 'going') return;
    this.#pausing = 'going';
    for (const fn of this.#drained) fn();
  }

  // ---------------------------------------------------------------- losses

  #lose(lines: number, bytes: number): void {
    const report = (lostLines: number, lostBytes: number): void => {
      this.#onLoss({ sink: this.name, lines: lostLines, bytes: lostBytes, reason: this.#reason });
    };
    this.#gap ??= new Gap(report, this.#limits.reportAfterMs);
    this.#gap.add(lines, bytes);
  }

  #loseBacklog(): void {
    const { lines, bytes } = this.#backlog.clear();
    this.#piece = null;
    if (lines > 0) this.#lose(lines, bytes);
  }

  #endGap(gap: Gap): void {
    this.#gap = null;
    this.#backlog.add(Buffer.from(this.#gapLine(gap.lines, this.#reason)));
    gap.end();
  }

  #finish(): void {
    if (this.#state === 'closed') return;
    if (this.#state === 'flowing' && this.#backlog.bytes > 0)
      this.#reason = 'it had not taken them when supervise ended';
    this.#loseBacklog();
    this.#state = 'closed';
    this.#gap?.end();
    clearTimeout(this.#gatherTimer);
    clearTimeout(this.#stuckTimer);
    clearTimeout(this.#retryTimer);
    clearInterval(this.#closeTimer);
    this.#target.close();
    for (const done of this.#closed.splice(0)) done();
  }
}

export function plainGapLine(lines: number, reason: string): string {
  return `… ${lines} ${lines === 1 ? 'line' : 'lines'} lost here: ${reason}\n`;
}

const meanings: Readonly<Record<string, string>> = {
  EPIPE: 'its reader is gone',
  ENOSPC: 'no space is left on the device',
  EDQUOT: 'the disk quota is used up',
  EFBIG: 'the file may not grow any more',
  EIO: 'an input/output error',
  EACCES: 'permission denied',
  EROFS: 'the file system is read-only',
  EEXIST: 'a file is where a directory should be',
  ENOTDIR: 'a part of the path is not a directory',
  EISDIR: 'it is a directory',
  EMFILE: 'the master has no more file descriptors',
};

/** What an error's code means, in words. */
export function describe(code: string): string {
  const meaning = meanings[code];
  return meaning === undefined ? code : `${meaning} (${code})`;
}
