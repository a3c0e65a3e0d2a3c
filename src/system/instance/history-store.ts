/**
 * STATE/history.json: CPU and memory of the host and of the apps in the last 24 hours.
 *
 * Rules
 * - It is written anew, by rename, so a crash leaves the old or the new one. Nothing waits for it: the thread pool writes,
 *   and of what is asked for meanwhile only the last is written.
 * - It is bounded: minutes of a day, of as many apps as a master knows. A file that is larger than any of ours is not read.
 * - What is not readable is said once and replaced by the next one that is written; it never stops a start.
 * - What cannot be written (a full disk) is one warning, until it can be again.
 */
import { readFileSync, statSync } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { historyText, parseHistory } from '../../core/history-file.ts';
import type { StoredHistory } from '../../core/history.ts';
import { historyName } from '../../core/paths.ts';
import type { HistoryStore } from '../../ports.ts';

/** Some 100 KB an app. */
const mostBytes = 64 * 1024 * 1024;

/** `state` is a directory that exists. `warn` hears sentences. */
export function createHistoryStore(
  state: string,
  warn: (message: string) => void,
): HistoryStore & { close(): Promise<void> } {
  const file = join(state, historyName);
  let next: (() => StoredHistory) | null = null;
  let writing: Promise<void> | null = null;
  let isBroken = false;

  const writeAll = async (): Promise<void> => {
    // After the turn in which it was asked for: a sample goes first.
    await new Promise((turn) => setImmediate(turn));
    while (next !== null) {
      const made = next();
      next = null;
      try {
        await replace(file, historyText(made));
        isBroken = false;
      } catch (error) {
        if (!isBroken)
          warn(
            `cannot write ${file}: ${(error as Error).message}; the next start may know less of the CPU and memory of the last day`,
          );
        isBroken = true;
      }
    }
  };
  return {
    load: () => read(file, warn),
    save(make) {
      next = make;
      writing ??= writeAll().finally(() => {
        writing = null;
      });
    },
    /** Resolves when everything that was saved is written, or cannot be. */
    async close() {
      while (writing !== null) await writing;
    },
  };
}

function read(file: string, warn: (message: string) => void): StoredHistory | null {
  try {
    const stat = statSync(file);
    // A pipe would never end.
    if (!stat.isFile()) throw new Error('expected a file');
    const { size } = stat;
    if (size > mostBytes) throw new Error(`expected at most ${mostBytes} bytes, found ${size}`);
    return parseHistory(readFileSync(file, 'utf8'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
      warn(
        `${file} is of no use (${(error as Error).message}): the history of CPU and memory begins anew, and the file will be replaced`,
      );
    return null;
  }
}

async function replace(file: string, text: string): Promise<void> {
  const temporary = `${file}.new`;
  try {
    const handle = await open(temporary, 'w', 0o600);
    try {
      await handle.writeFile(text);
      await handle.datasync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw error;
  }
}
