/**
 * What is on the disk now: each watched file with a mark that differs when the file has changed, and the folders whose
 * events can tell of the next change. Everything is looked at anew, so that nothing depends on which events came.
 *
 * - A path is walked step by step. Where a step is a link, the folder that holds the link is one to hear of, for that
 *   name; so a link that is replaced anywhere in the chain (`..data`, `live/x/fullchain.pem`) is noticed.
 * - Where a step is missing, the last folder that exists is one to hear of, for that name.
 * - Below a folder every file counts that is not ignored, also through links; a folder is entered once.
 */
import { createHash } from 'node:crypto';
import type { BigIntStats, Dirent } from 'node:fs';
import { lstat, readFile, readdir, readlink, stat } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join } from 'node:path';
import type { Ignores } from './ignoring.ts';

export interface Scope {
  /** Files and folders, absolute. */
  readonly roots: readonly string[];
  /** Of a path as it is called. */
  readonly ignores: Ignores;
  /** Of a path without links: written by supervise itself. */
  readonly isOwn: Ignores;
  /** `stamp`: size, time of change and inode. `content`: a hash; a file that was only touched has not changed. */
  readonly by: 'stamp' | 'content';
}

export interface FileMark {
  readonly mark: string;
  /** When it, or a link that leads to it, was last changed (ctime: also by a rename). */
  readonly changedMs: number;
}

export interface Interest {
  /** Which folder it is, so that a new one of the same name is not taken for it. */
  readonly identity: string;
  /** null: everything in it that is not ignored. */
  readonly names: ReadonlySet<string> | null;
}

export interface Inventory {
  readonly files: ReadonlyMap<string, FileMark>;
  /** When something in a watched folder, or in one above it, was last added, removed or renamed; by the name it is called. */
  readonly changedMs: ReadonlyMap<string, number>;
  readonly folders: ReadonlyMap<string, Interest>;
  /** Something vanished while it was looked at: another look is needed. */
  readonly isTorn: boolean;
}

interface Found {
  /** Without links. */
  readonly real: string;
  readonly stats: BigIntStats;
  readonly changedMs: number;
}

const mostLinks = 40;
const filesAtOnce = 64;
const mostHashedBytes = 1024 * 1024;

/** Never throws: what cannot be read counts as missing. */
export async function takeInventory(scope: Scope): Promise<Inventory> {
  const survey = new Survey(scope);
  for (const root of scope.roots) await survey.addRoot(root);
  return survey.finish();
}

class Survey {
  readonly #scope: Scope;
  readonly #files = new Map<string, FileMark>();
  readonly #names = new Map<string, Set<string> | null>();
  readonly #changedMs = new Map<string, number>();
  readonly #entered = new Set<string>();

  constructor(scope: Scope) {
    this.#scope = scope;
  }

  async addRoot(root: string): Promise<void> {
    await this.#add(root, await this.#resolve(root));
  }

  async finish(): Promise<Inventory> {
    const folders = new Map<string, Interest>();
    for (const [path, names] of this.#names) {
      const identity = await identityOf(path);
      if (identity !== null) folders.set(path, { identity, names });
    }
    return { files: this.#files, changedMs: this.#changedMs, folders, isTorn: folders.size < this.#names.size };
  }

  async #add(path: string, found: Found | null): Promise<void> {
    if (found?.stats.isDirectory()) await this.#enter(path, found);
    else if (found?.stats.isFile()) this.#files.set(path, await this.#markOf(found));
  }

  /** `path`: as it is called; `real`: the same without links. */
  async #enter(path: string, { real, changedMs }: Pick<Found, 'real' | 'changedMs'>): Promise<void> {
    if (this.#entered.has(real)) return;
    this.#entered.add(real);
    this.#names.set(real, null);
    const folder = { real, changedMs: Math.max(changedMs, await changeTimeOf(real)) };
    this.#changedMs.set(path, folder.changedMs);
    const entries = (await readdir(real, { withFileTypes: true }).catch(() => []))
      .filter(({ name }) => !this.#scope.ignores(join(path, name)) && !this.#scope.isOwn(join(real, name)))
      .toSorted((a, b) => (a.name < b.name ? -1 : 1));
    for (let first = 0; first < entries.length; first += filesAtOnce)
      await Promise.all(entries.slice(first, first + filesAtOnce).map((entry) => this.#addFile(path, real, entry)));
    for (const entry of entries)
      if (entry.isDirectory()) await this.#enter(join(path, entry.name), { ...folder, real: join(real, entry.name) });
    for (const entry of entries)
      if (entry.isSymbolicLink()) await this.#follow(join(path, entry.name), join(real, entry.name));
  }

  async #follow(path: string, link: string): Promise<void> {
    const found = await this.#resolve(link);
    if (found !== null && !this.#scope.isOwn(found.real)) await this.#add(path, found);
  }

  async #addFile(path: string, real: string, entry: Dirent): Promise<void> {
    if (!entry.isFile()) return;
    const file = join(real, entry.name);
    const stats = await lstat(file, { bigint: true }).catch(() => null);
    if (stats?.isFile() !== true) return;
    this.#files.set(
      join(path, entry.name),
      await this.#markOf({ real: file, stats, changedMs: Number(stats.ctimeMs) }),
    );
  }

  /** null: it does not exist, or leads nowhere. */
  async #resolve(path: string): Promise<Found | null> {
    const steps = stepsOf(path);
    let [at, links, changedMs] = ['/', 0, 0];
    let stats = await lstat(at, { bigint: true });
    for (let step = steps.shift(); step !== undefined; step = steps.shift()) {
      const next = join(at, step);
      const seen = stats.isDirectory() ? await lstat(next, { bigint: true }).catch(() => null) : null;
      if (seen === null) return this.#listenForStep(at, stats, step);
      if (!seen.isSymbolicLink()) {
        [at, stats] = [next, seen];
        continue;
      }
      this.#listen(at, step);
      changedMs = Math.max(changedMs, Number(seen.ctimeMs));
      const target = await readlink(next).catch(() => null);
      if (target === null || ++links > mostLinks) return null;
      if (isAbsolute(target)) [at, stats] = ['/', await lstat('/', { bigint: true })];
      steps.unshift(...stepsOf(target));
    }
    if (stats.isFile()) this.#listen(dirname(at), basename(at));
    return { real: at, stats, changedMs: Math.max(changedMs, Number(stats.ctimeMs)) };
  }

  #listenForStep(at: string, stats: BigIntStats, step: string): null {
    if (stats.isDirectory()) this.#listen(at, step);
    else this.#listen(dirname(at), basename(at));
    return null;
  }

  #listen(folder: string, name: string): void {
    const names = this.#names.get(folder);
    if (names === undefined) this.#names.set(folder, new Set([name]));
    else names?.add(name);
  }

  async #markOf({ real, stats, changedMs }: Found): Promise<FileMark> {
    const stamp = `${stats.size}:${stats.mtimeNs}:${stats.dev}:${stats.ino}`;
    if (this.#scope.by === 'stamp' || stats.size > mostHashedBytes) return { mark: stamp, changedMs };
    const content = await readFile(real).catch(() => null);
    // One that we may not read is judged from outside.
    return { mark: content === null ? stamp : createHash('sha256').update(content).digest('hex'), changedMs };
  }
}

function stepsOf(path: string): string[] {
  return path.split('/').filter((step) => step !== '' && step !== '.');
}

async function changeTimeOf(folder: string): Promise<number> {
  return Number((await stat(folder, { bigint: true }).catch(() => null))?.ctimeMs ?? 0);
}

/** An inode's number alone is given to the next file. */
async function identityOf(folder: string): Promise<string | null> {
  const stats = await stat(folder, { bigint: true }).catch(() => null);
  return stats?.isDirectory() === true ? `${stats.dev}:${stats.ino}:${stats.birthtimeNs}` : null;
}
