/**
 * Locks between processes that the kernel gives up by itself when their holder dies, however it dies.
 *
 * Rules
 * - A lock is the name of an abstract unix socket that is bound and never used: binding it is atomic, costs some 6 us,
 *   and needs no file. It excludes whoever shares the network namespace.
 * - The name is padded to the full length of an address, because libuv before 1.47 (Node 20) binds all of it and later ones
 *   only what is named: without padding a master on Node 20 and one on Node 22 would not exclude each other.
 * - Where there are no abstract sockets (macOS): a file that is linked into place with the holder's pid in it, and counts
 *   only while that process lives.
 */
import { createHash } from 'node:crypto';
import { linkSync, mkdirSync, readdirSync, readFileSync, renameSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Cancel } from '../../ports.ts';
import type { Holder } from '../holders.ts';
import { commandOf, holderOfUnix, unixRows } from '../holders.ts';
import { createServerHandle } from '../sockets/server-handle.ts';

export type LockResult =
  | { readonly taken: true; readonly release: Cancel }
  | { readonly taken: false; readonly holder: Holder | null };

export interface Locks {
  /** Never waits. `holder` is null when it cannot be known. */
  take(name: string): LockResult;
  /** The names of all locks that are held now and begin so. */
  held(prefix: string): string[];
}

/** Locks by abstract sockets where there are such, else by files in `directory`. */
export function createLocks(
  how: 'abstract' | 'files' = process.platform === 'linux' ? 'abstract' : 'files',
  directory = fileDirectory(),
): Locks {
  return how === 'abstract' ? abstractLocks : fileLocks(directory);
}

// ---------------------------------------------------------------- abstract sockets

/** sizeof(sun_path), with the leading NUL. */
const addressBytes = 108;
const mark = '@supervise/';

const abstractLocks: Locks = {
  take(name) {
    const address = addressOf(name);
    const handle = createServerHandle(`\0${address}`, -1, -1);
    if (typeof handle !== 'number') return { taken: true, release: () => handle.close() };
    return { taken: false, holder: holderOfUnix(`@${address}`) };
  },
  held(prefix) {
    const names = unixRows()
      .filter((row) => row.path.startsWith(mark))
      .map((row) => nameFrom(row.path.slice(mark.length)));
    return names.filter((name) => name.startsWith(prefix));
  },
};

/** `|` ends the name and dots fill the rest, so two names never make one address. A name that is too long is hashed. */
function addressOf(name: string): string {
  const room = addressBytes - mark.length - 1;
  const short = Buffer.byteLength(name) <= room ? name : `#${createHash('sha256').update(name).digest('hex')}`;
  const address = `${mark.slice(1)}${short}|`;
  return address + '.'.repeat(addressBytes - 1 - Buffer.byteLength(address));
}

function nameFrom(padded: string): string {
  return padded.slice(0, padded.lastIndexOf('|'));
}

// ---------------------------------------------------------------- files

function fileDirectory(): string {
  return join(tmpdir(), `supervise-locks-${process.getuid?.() ?? 0}`);
}

function fileLocks(directory: string): Locks {
  const fileOf = (name: string): string => join(directory, fileName(name));
  return {
    take(name) {
      mkdirSync(directory, { recursive: true, mode: 0o700 });
      const file = fileOf(name);
      const mine = join(directory, `.${process.pid}`);
      writeFileSync(mine, `${process.pid}\n`);
      try {
        for (;;) {
          if (linked(mine, file)) return { taken: true, release: () => removeOwn(file) };
          const pid = pidIn(file);
          if (pid !== null && lives(pid)) return { taken: false, holder: { pid, command: commandOf(pid) } };
          removeStale(file, join(directory, `.stale.${process.pid}`));
        }
      } finally {
        unlinkSync(mine);
      }
    },
    held(prefix) {
      return namesIn(directory).filter((name) => name.startsWith(prefix) && lives(pidIn(fileOf(name)) ?? 0));
    },
  };
}

function fileName(name: string): string {
  const encoded = encodeURIComponent(name);
  return encoded.length <= 200 ? encoded : `#${createHash('sha256').update(name).digest('hex')}`;
}

/** link() is atomic and, other than open with O_EXCL, shows the file only with its content. */
function linked(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

function pidIn(file: string): number | null {
  try {
    return Number(readFileSync(file, 'utf8'));
  } catch {
    return null;
  }
}

function lives(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Takes a dead holder's file away. If another process was quicker, what we moved is a live lock: it goes back. */
function removeStale(file: string, aside: string): void {
  try {
    renameSync(file, aside);
  } catch {
    return;
  }
  if (lives(pidIn(aside) ?? 0)) linked(aside, file);
  unlinkSync(aside);
}

function removeOwn(file: string): void {
  if (pidIn(file) === process.pid) unlinkSync(file);
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory)
      .filter((file) => !file.startsWith('.') && !file.startsWith('#'))
      .map(decodeURIComponent);
  } catch {
    return [];
  }
}
