/**
 * A log file that rotates by its size: the target that a sink writes to. Everything runs on the thread pool, one step after
 * the other; while a file is being rotated, lines wait in the sink's queue.
 *
 * - A file is only left at the end of a line, by rotation and by `reopen`; so none is cut in two. Where that end may never come
 *   (the disk is full), or nobody could read it (it was deleted), `reopen` leaves at once, and begins the line anew.
 * - It is opened by name again where the name leads elsewhere than we write to: after `reopen` (logrotate has moved it), and
 *   before a rotation, which would else move somebody else's file.
 * - What a killed predecessor has left is taken over: the size counts, half a line at the end gets its newline.
 * - A rotation that fails goes on in the same file, and is tried again after a minute. Nothing in here throws.
 */
import type { Stats } from 'node:fs';
import { mkdir, open, realpath, stat, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { GzipQueue } from './gzip-queue.ts';
import { rotate } from './rotation.ts';
import { describe } from './sink.ts';
import type { Target, Written } from './sink-target.ts';

export interface LogFileSettings {
  /** Absolute. */
  readonly path: string;
  readonly maxSizeBytes: number;
  /** How many rotated files are kept: FILE.1 is the newest. */
  readonly keep: number;
  readonly gzip: boolean;
}

/** Tells what an operator should know, in words. */
export type Tell = (message: string) => void;

interface Opened {
  readonly handle: FileHandle;
  /** Symlinks resolved: what is rotated is the file, not a link to it. */
  readonly path: string;
  readonly stats: Stats;
}

const newline = 10;
const pieceBytes = 512 * 1024;
/** A write costs as much as copying 100 KB, and a worker may write each line by itself. */
const gatherMs = 5;
const rotateAgainAfterMs = 60_000;
/** A longer line is not begun anew. */
const mostBegunBytes = 64 * 1024;
const nothing = Buffer.alloc(0);
const fileMode = 0o640;
const directoryMode = 0o755;

export class LogFile implements Target {
  readonly kind = 'file';
  readonly pieceBytes = pieceBytes;
  readonly gatherMs = gatherMs;
  readonly #tell: Tell;
  readonly #gzip: GzipQueue;
  #settings: LogFileSettings;
  #opened: Opened | null = null;
  #sizeBytes = 0;
  /** What was written of a line whose end is to come; null: too much to be kept. */
  #begun: Buffer | null = nothing;
  /** To be written before anything else. */
  #owed: Buffer = nothing;
  #wanted: 'as it is' | 'reopened' | 'closed' = 'as it is';
  /** No rotation is tried before. */
  #rotateFromMs = 0;
  /** What went wrong and was told, until it works again. */
  readonly #troubles = new Set<string>();
  #lastStep: Promise<unknown> = Promise.resolve();

  constructor(settings: LogFileSettings, tell: Tell) {
    this.#settings = settings;
    this.#tell = tell;
    this.#gzip = new GzipQueue({
      inTurn: (step) => this.#inTurn(step),
      failed: (reason) => this.#failed('gzip', `rotated files of ${this.#settings.path} are not compressed: ${reason}`),
      worked: () => this.#troubles.delete('gzip'),
    });
    // A file that cannot be opened is tried again by the first write, which has somebody to report to.
    void this.#inTurn(() => this.#open()).catch((error: unknown) => this.#cannotWrite(error));
  }

  /** Whether there is still something to be compressed. */
  get isBusy(): boolean {
    return this.#gzip.isBusy;
  }

  /** From the next write on. */
  configure(settings: LogFileSettings): void {
    this.#settings = settings;
  }

  write(bytes: Buffer, written: Written): void {
    this.#inTurn(() => this.#write(bytes)).then(
      (taken) => {
        this.#troubles.delete('write');
        written(null, taken);
      },
      (error: unknown) => written(this.#cannotWrite(error), 0),
    );
  }

  reopen(): void {
    if (this.#wanted === 'closed') return;
    this.#wanted = 'reopened';
    void this.#inTurn(() => this.#reopenIfWanted());
  }

  close(): void {
    this.#wanted = 'closed';
    this.#gzip.stop();
    void this.#inTurn(async () => {
      await this.#opened?.handle.close();
      this.#opened = null;
    }).catch(() => undefined);
  }

  /** One step after the other, so that none sees the middle of another one. */
  #inTurn<T>(step: () => Promise<T>): Promise<T> {
    const result = this.#lastStep.then(step);
    this.#lastStep = result.catch(() => undefined);
    return result;
  }

  // ---------------------------------------------------------------- writing

  async #write(bytes: Buffer): Promise<number> {
    await this.#reopenIfWanted();
    if (this.#opened === null) await this.#open();
    let count = this.#fitting(bytes);
    if (count === 0) {
      await this.#rotate();
      count = this.#fitting(bytes) || bytes.lastIndexOf(newline) + 1 || bytes.length;
    }
    const opened = this.#opened;
    if (opened === null) throw Object.assign(new Error('closed'), { code: 'EBADF' });
    await this.#writeOwed(opened);
    const { bytesWritten } = await opened.handle.write(bytes, 0, count);
    this.#sizeBytes += bytesWritten;
    this.#noteLine(bytes.subarray(0, bytesWritten));
    return bytesWritten;
  }

  async #writeOwed({ handle }: Opened): Promise<void> {
    while (this.#owed.length > 0) {
      const { bytesWritten } = await handle.write(this.#owed);
      this.#sizeBytes += bytesWritten;
      this.#owed = this.#owed.subarray(bytesWritten);
    }
  }

  #noteLine(written: Buffer): void {
    const lineAt = written.lastIndexOf(newline) + 1;
    const before = lineAt > 0 ? nothing : this.#begun;
    const length = (before?.length ?? 0) + written.length - lineAt;
    if (length === 0) this.#begun = nothing;
    else if (before === null || length > mostBegunBytes) this.#begun = null;
    else this.#begun = Buffer.concat([before, written.subarray(lineAt)]);
  }

  get #isWithinLine(): boolean {
    return this.#begun === null || this.#begun.length > 0;
  }

  /** How many bytes the file still takes: whole lines, or one that is too long for any file. 0: rotate first. */
  #fitting(bytes: Buffer): number {
    const roomBytes = this.#settings.maxSizeBytes - this.#sizeBytes;
    if (bytes.length <= roomBytes || this.#opened?.stats.isFile() === false) return bytes.length;
    const end = roomBytes > 0 ? bytes.lastIndexOf(newline, roomBytes - 1) + 1 : 0;
    if (end > 0 || (this.#sizeBytes > 0 && !this.#isWithinLine)) return end;
    return bytes.indexOf(newline) + 1 || bytes.length;
  }

  // ---------------------------------------------------------------- opening

  async #open(): Promise<void> {
    const { path } = this.#settings;
    await mkdir(dirname(path), { recursive: true, mode: directoryMode });
    await refuseOddities(path);
    await this.#goOnIn(path, await open(path, 'a+', fileMode));
  }

  async #goOnIn(path: string, handle: FileHandle): Promise<void> {
    try {
      const stats = await handle.stat();
      await endLastLine(handle, stats);
      await this.#opened?.handle.close().catch(() => undefined);
      this.#opened = { handle, path: stats.isFile() ? await realpath(path) : path, stats };
      this.#sizeBytes = (await handle.stat()).size;
      this.#begun = nothing;
      this.#owed = nothing;
    } catch (error) {
      await handle.close();
      throw error;
    }
    this.#compress();
  }

  async #reopenIfWanted(): Promise<void> {
    if (this.#wanted !== 'reopened') return;
    const begun = this.#opened !== null && this.#isWithinLine ? this.#begun : nothing;
    if (begun !== nothing && !(await this.#mayLeaveLine())) return;
    this.#wanted = 'as it is';
    try {
      await this.#open();
      this.#begun = begun ?? nothing;
      this.#owed = this.#begun;
      this.#troubles.delete('reopen');
    } catch (error) {
      const where = this.#opened === null ? '' : '; lines go on into the file that was open';
      this.#failed('reopen', `${this.#settings.path} was not opened again: ${reasonOf(error)}${where}`);
    }
  }

  /** Whether the rest of the line would never be found in the file that is open, or may never be written. */
  async #mayLeaveLine(): Promise<boolean> {
    if (this.#opened === null) return true;
    const { handle, path } = this.#opened;
    const stats = await handle.stat().catch(() => null);
    if (stats === null) return true;
    if (await leadsTo(path, stats)) return false;
    return stats.nlink === 0 || this.#troubles.has('write');
  }

  // ---------------------------------------------------------------- rotating

  async #rotate(): Promise<void> {
    const opened = this.#opened;
    if (opened === null || performance.now() < this.#rotateFromMs) return;
    try {
      const now = await opened.handle.stat();
      const isShorter = now.size < this.#sizeBytes; // somebody has emptied it: logrotate's copytruncate
      this.#sizeBytes = now.size;
      if (isShorter && now.size < this.#settings.maxSizeBytes) return;
      const isOurs = await leadsTo(opened.path, now);
      if (isOurs) await rotate(opened.path, this.#settings.keep);
      const fresh = isOurs ? await newFile(opened.path, now) : null;
      if (fresh === null) await this.#open();
      else await this.#goOnIn(opened.path, fresh);
      this.#troubles.delete('rotate');
    } catch (error) {
      this.#rotateFromMs = performance.now() + rotateAgainAfterMs;
      const message = `${opened.path} cannot be rotated, and grows on: ${reasonOf(error)}`;
      this.#failed('rotate', message);
    }
  }

  #compress(): void {
    if (this.#opened === null || !this.#opened.stats.isFile() || this.#wanted === 'closed') return;
    const { gzip, keep } = this.#settings;
    if (gzip) this.#gzip.compress(this.#opened.path, keep);
  }

  // ---------------------------------------------------------------- what goes wrong

  /** Answers the error's code. */
  #cannotWrite(error: unknown): string {
    const waiting = 'what does not fit into the queue is lost until it works again';
    this.#failed('write', `${this.#settings.path} cannot be written: ${reasonOf(error)}; ${waiting}`);
    return codeOf(error);
  }

  #failed(what: string, message: string): void {
    if (this.#troubles.has(what) || this.#wanted === 'closed') return;
    this.#troubles.add(what);
    this.#tell(message);
  }
}

/**
 * A file that was not there before, with the owner and the mode of its predecessor: who could read the log still can. null:
 * somebody was faster; then what is there is not ours to give away.
 */
async function newFile(path: string, { mode, uid, gid }: Stats): Promise<FileHandle | null> {
  const handle = await open(path, 'ax+', fileMode).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'EEXIST') return null;
    throw error;
  });
  await handle?.chown(uid, gid).catch(() => undefined);
  await handle?.chmod(mode & 0o777).catch(() => undefined);
  return handle;
}

/** Whether the path leads to this very file. */
async function leadsTo(path: string, { dev, ino }: Stats): Promise<boolean> {
  const found = await stat(path).catch(() => null);
  return found !== null && found.dev === dev && found.ino === ino;
}

/** Opening a FIFO waits for its reader, and a terminal or a socket cannot be treated as a file. */
async function refuseOddities(path: string): Promise<void> {
  const found = await stat(path).catch(() => null);
  if (found === null || found.isFile() || found.isDirectory() || path === '/dev/null') return;
  throw Object.assign(new Error('it is no regular file'), { code: 'no regular file' });
}

/** A master that was killed may have left half a line. */
async function endLastLine(handle: FileHandle, stats: Stats): Promise<void> {
  if (!stats.isFile() || stats.size === 0) return;
  const last = Buffer.alloc(1);
  await handle.read(last, 0, 1, stats.size - 1);
  if (last[0] !== newline) await handle.write(Buffer.from('\n'));
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? 'EIO';
}

function reasonOf(error: unknown): string {
  return describe(codeOf(error));
}
