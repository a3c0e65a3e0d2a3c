/**
 * Compresses rotated files, in the background: zlib works on the thread pool, one file of the whole process at a time, so
 * that writing lines never waits for it.
 *
 * - FILE.n becomes FILE.gz.part, and when that is whole and on the disk, FILE.n.gz; only then FILE.n goes. A kill in between
 *   leaves both, told by their equal time, or a part: the next look takes away what is left.
 * - What comes next is chosen and opened while no rotation is under way: its number means the same file then.
 * - Later a file may move to another number, or fall out: it is known by its inode when it is done. It stays open until
 *   then, so that no new file can have that inode.
 */
import { createWriteStream, type Stats } from 'node:fs';
import { lstat, open, rename, type FileHandle } from 'node:fs/promises';
import type * as streams from 'node:stream/promises';
import type * as zlib from 'node:zlib';
import { rotatedFiles, unlinkIfThere, type Rotated } from './rotation.ts';
import { describe } from './sink.ts';

export interface GzipParts {
  /** Runs a step while no rotation is under way. */
  readonly inTurn: <T>(step: () => Promise<T>) => Promise<T>;
  readonly failed: (reason: string) => void;
  readonly worked: () => void;
}

const chunkBytes = 256 * 1024;

/** One after the other, over all log files. */
let lastOne: Promise<void> = Promise.resolve();

export class GzipQueue {
  readonly #parts: GzipParts;
  readonly #stopped = new AbortController();
  #state: 'idle' | 'busy' | 'busy, look again' = 'idle';

  constructor(parts: GzipParts) {
    this.#parts = parts;
  }

  get isBusy(): boolean {
    return this.#state !== 'idle';
  }

  /** Compresses what is not compressed yet among the rotated files 1 to `keep` of this one. */
  compress(file: string, keep: number): void {
    if (this.#state !== 'idle') {
      this.#state = 'busy, look again';
      return;
    }
    this.#state = 'busy';
    lastOne = lastOne.then(() => this.#all(file, keep));
  }

  /** Gives up what is being compressed; it is done after the next start. */
  stop(): void {
    this.#stopped.abort();
  }

  async #all(file: string, keep: number): Promise<void> {
    try {
      await this.#parts.inTurn(() => tidy(file));
      while (!this.#stopped.signal.aborted) {
        this.#state = 'busy';
        const next = await this.#parts.inTurn(() => openNext(file, keep));
        if (next === null) {
          if ((this.#state as string) === 'busy') break; // else a rotation meanwhile has said so
          continue;
        }
        try {
          await this.#one(file, next);
        } finally {
          await next.close();
        }
      }
      this.#parts.worked();
    } catch (error) {
      await unlinkIfThere(partOf(file)).catch(() => undefined);
      if (!this.#stopped.signal.aborted) this.#parts.failed(reasonOf(error));
    } finally {
      this.#state = 'idle';
    }
  }

  async #one(file: string, source: FileHandle): Promise<void> {
    this.#stopped.signal.throwIfAborted(); // it may have been long until its turn
    const stats = await source.stat();
    const part = partOf(file);
    const { createGzip, pipeline } = loaded();
    await pipeline(
      piecesOf(source),
      createGzip({ chunkSize: chunkBytes }),
      createWriteStream(part, { flags: 'wx', mode: stats.mode & 0o777, highWaterMark: chunkBytes }),
      { signal: this.#stopped.signal },
    );
    await toDisk(part, stats);
    await this.#parts.inTurn(async () => {
      const now = await find(file, stats.ino);
      if (now === null) return unlinkIfThere(part);
      await rename(part, `${now.path}.gz`);
      await unlinkIfThere(now.path);
    });
  }
}

/** Loaded late, because most masters never need them. (A bundle that runs from its code cache cannot import them.) */
function loaded(): { createGzip: typeof zlib.createGzip; pipeline: typeof streams.pipeline } {
  const { createGzip } = process.getBuiltinModule('node:zlib');
  const { pipeline } = process.getBuiltinModule('node:stream/promises');
  return { createGzip, pipeline };
}

function partOf(file: string): string {
  return `${file}.gz.part`;
}

/** Whole seconds, as gzip keeps them: a compressed file has the time of its original. */
function wholeSeconds(mtimeMs: number): number {
  return Math.floor(mtimeMs / 1000);
}

/** With the time, the mode and the owner of its original. */
async function toDisk(part: string, { mtimeMs, mode, uid, gid }: Stats): Promise<void> {
  const handle = await open(part, 'r+');
  try {
    await handle.chown(uid, gid).catch(() => undefined);
    await handle.chmod(mode & 0o777).catch(() => undefined);
    await handle.utimes(wholeSeconds(mtimeMs), wholeSeconds(mtimeMs));
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * The newest that is not compressed, open for reading; null: there is none. What has a compressed file beside it is not ours
 * to compress: it would be replaced.
 */
async function openNext(file: string, keep: number): Promise<FileHandle | null> {
  const all = await rotatedFiles(file);
  const compressed = new Set(all.filter(({ kind }) => kind === 'gzip').map(({ number }) => number));
  for (const { kind, number, path } of all) {
    if (kind === 'gzip' || number > keep || compressed.has(number)) continue;
    const found = await openIfThere(path);
    if (found !== null) return found;
  }
  return null;
}

/** Leaves it open, unlike a stream. */
async function* piecesOf(source: FileHandle): AsyncGenerator<Buffer> {
  for (;;) {
    const { bytesRead, buffer } = await source.read(Buffer.allocUnsafeSlow(chunkBytes), 0, chunkBytes);
    if (bytesRead === 0) return;
    yield buffer.subarray(0, bytesRead);
  }
}

/** null: there is none, or it is no regular file (opening a FIFO would wait). */
async function openIfThere(path: string): Promise<FileHandle | null> {
  try {
    return (await lstat(path)).isFile() ? await open(path, 'r') : null;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

/** Under which number it is now; null: it has fallen out. */
async function find(file: string, ino: number): Promise<Rotated | null> {
  for (const rotated of await rotatedFiles(file)) {
    if (rotated.kind === 'plain' && (await lstat(rotated.path)).ino === ino) return rotated;
  }
  return null;
}

/** Takes away what a killed master has left: the part of a file, and originals whose compressed file is there. */
async function tidy(file: string): Promise<void> {
  await unlinkIfThere(partOf(file));
  const all = await rotatedFiles(file);
  for (const plain of all) {
    const gzip = all.find(({ kind, number }) => kind === 'gzip' && number === plain.number);
    if (plain.kind === 'gzip' || gzip === undefined) continue;
    const [one, other] = [await lstat(plain.path), await lstat(gzip.path)];
    if (one.isFile() && wholeSeconds(one.mtimeMs) === wholeSeconds(other.mtimeMs)) await unlinkIfThere(plain.path);
  }
}

function reasonOf(error: unknown): string {
  return describe((error as NodeJS.ErrnoException).code ?? String(error));
}
