/**
 * STATE/exits.ndjson: the records of exits, one JSON object a line, oldest first.
 *
 * Rules
 * - Nothing is written while exits are being dealt with: a batch is made and written after the turn, by the thread pool.
 *   A second batch waits for the first.
 * - Bounded: a file that has grown too large is replaced by its newest half, written anew and renamed.
 * - What a power cut or a full disk has torn is passed over by the reader, and the next batch begins on a line of its own.
 * - What cannot be written (a full disk) is one warning, and the service goes on; the last records are kept in memory,
 *   and written with a later batch.
 */
import { readFileSync } from 'node:fs';
import { open, readFile, rename, rm, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { recordsName } from '../../core/paths.ts';
import { appsIn, recordLine, recordsIn } from '../../core/record-file.ts';
import type { ExitRecord } from '../../core/record.ts';
import type { Records } from '../../ports.ts';

export interface RecordsLimits {
  /** A file larger than this is cut to half of it. */
  readonly mostBytes: number;
  /** How many records wait at most for a disk that takes nothing; the oldest go first. */
  readonly mostWaiting: number;
}

export interface StoredRecords extends Records {
  /** Resolves when everything that was appended is written, or cannot be. */
  close(): Promise<void>;
}

const usualLimits: RecordsLimits = { mostBytes: 4 * 1024 * 1024, mostWaiting: 512 };
/** So many records are made in one turn: a few milliseconds of work. */
const batchRecords = 64;

/** `state` is a directory that exists; nothing is opened before the first record. `warn` hears sentences. */
export function createRecords(
  state: string,
  warn: (message: string) => void,
  limits: RecordsLimits = usualLimits,
): StoredRecords {
  const file = join(state, recordsName);
  const store = new RecordsFile(file, limits.mostBytes);
  let waiting: (() => ExitRecord)[] = [];
  let writing: Promise<void> | null = null;
  let isBroken = false;

  const writeAll = async (): Promise<void> => {
    // After the turn in which it was asked for: what follows from an exit goes first.
    await new Promise((turn) => setImmediate(turn));
    while (waiting.length > 0) {
      const batch = waiting.slice(0, batchRecords);
      try {
        await store.append(batch.map((made) => `${recordLine(made())}\n`).join(''));
        isBroken = false;
      } catch (error) {
        if (!isBroken)
          warn(
            `cannot write records of exits to ${file}: ${(error as Error).message}; \`supervise why\` may know less after the next start`,
          );
        isBroken = true;
        return;
      }
      waiting = waiting.filter((made) => !batch.includes(made));
    }
  };
  const write = (): void => {
    writing ??= writeAll().finally(() => {
      writing = null;
    });
  };
  return {
    append(make) {
      let made: ExitRecord | null = null;
      waiting.push(() => (made ??= make()));
      if (waiting.length > limits.mostWaiting) waiting.shift();
      write();
    },
    recent: (target, n) => {
      // What is being written at this moment may be in both.
      const lines = new Set([...linesOf(file), ...waiting.map((made) => recordLine(made()))]);
      return recordsIn([...lines], target, n);
    },
    apps: () => [...new Set([...appsIn(linesOf(file)), ...waiting.map((made) => made().app)])],
    async close() {
      while (writing !== null) await writing;
      await store.close();
    },
  };
}

/** The file as it is written: whole lines only, and never much larger than `mostBytes`. */
class RecordsFile {
  readonly #path: string;
  readonly #mostBytes: number;
  #handle: FileHandle | null = null;

  constructor(path: string, mostBytes: number) {
    this.#path = path;
    this.#mostBytes = mostBytes;
  }

  /** @throws when not all of it can be written; then nothing of it is */
  async append(text: string): Promise<void> {
    const handle = await this.#opened();
    const { size } = await handle.stat();
    if (size > 2 * this.#mostBytes) throw new Error('it is too large, and cannot be replaced by its newest half');
    const isTorn = size > 0 && (await lastByte(handle, size)) !== newline;
    try {
      await handle.appendFile(isTorn ? `\n${text}` : text);
    } catch (error) {
      await handle.truncate(size).catch(() => undefined);
      throw error;
    }
    if (size + Buffer.byteLength(text) > this.#mostBytes) await this.#compact();
  }

  async close(): Promise<void> {
    await this.#handle?.close();
    this.#handle = null;
  }

  /** Whoever has removed the file gets a new one. */
  async #opened(): Promise<FileHandle> {
    if (this.#handle !== null && (await this.#handle.stat()).nlink === 0) await this.close();
    this.#handle ??= await open(this.#path, 'a+', 0o600);
    return this.#handle;
  }

  /** Keeps the newest half. Where that fails the file stays as it is, and the next batch tries again. */
  async #compact(): Promise<void> {
    const next = `${this.#path}.new`;
    try {
      const bytes = await readFile(this.#path);
      const kept = bytes.subarray(bytes.indexOf(newline, bytes.length - Math.floor(this.#mostBytes / 2)) + 1);
      const handle = await open(next, 'w', 0o600);
      try {
        await handle.writeFile(kept);
        await handle.datasync();
      } finally {
        await handle.close();
      }
      await rename(next, this.#path);
      await this.close();
    } catch {
      await rm(next, { force: true }).catch(() => undefined);
    }
  }
}

const newline = 0x0a;

async function lastByte(handle: FileHandle, size: number): Promise<number | undefined> {
  const { buffer } = await handle.read(Buffer.alloc(1), 0, 1, size - 1);
  return buffer[0];
}

/** The lines of a file of records; none when it is not there or not to be read. */
function linesOf(file: string): readonly string[] {
  try {
    return readFileSync(file, 'utf8').split('\n');
  } catch {
    return [];
  }
}
