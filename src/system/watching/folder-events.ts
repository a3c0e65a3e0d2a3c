/**
 * Tells when something happens in a folder: chokidar, one watch per folder and none per file, shared by all apps.
 *
 * - An event is a hint to look, nothing more; what has changed is found by looking (inventory.ts). So chokidar is given
 *   every path to ignore but the folder itself, and its raw events are taken: they come for each file, and at once.
 * - Folders are set up in the background, a few at a time: chokidar reads each of them first. When one is set up, its
 *   owners are told to look again.
 * - Where the system has no watch left (ENOSPC, EMFILE) it is said once, and the owners look every few seconds instead.
 *   The same, without a word, where CHOKIDAR_USEPOLLING asks for it (network file systems that send no events).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { FSWatcher } from 'chokidar';
import type { Interest } from './inventory.ts';

/** Who wants to hear of folders. */
export interface FolderListener {
  /** `name`: what in the folder; null: not known, or the folder has just been set up. */
  happened(folder: string, name: string | null): void;
}

interface Watched {
  readonly identity: string;
  readonly owners: Set<FolderListener>;
  state: 'opening' | 'open' | 'polled' | 'closed';
  watcher: FSWatcher | null;
}

const fewAtOnce = 8;
const mostSetUpMs = 5_000;
/** Between two looks at what sends no events. */
const pollMs = 5_000;

export class FolderEvents {
  readonly warn: (message: string) => void;
  readonly #folders = new Map<string, Watched>();
  readonly #queue: { readonly path: string; readonly watched: Watched }[] = [];
  #beginning = 0;
  #poll: NodeJS.Timeout | null = null;
  #isWarned = false;

  constructor(warn: (message: string) => void) {
    this.warn = warn;
  }

  /**
   * The owner wants to hear of these folders from now on, and of no other.
   * @returns how many of them are still being set up; it hears of each when it is
   */
  hold(owner: FolderListener, wanted: ReadonlyMap<string, Interest>): number {
    for (const [path, watched] of this.#folders) if (!wanted.has(path)) this.#drop(path, watched, owner);
    let opening = 0;
    for (const [path, { identity }] of wanted) {
      const watched = this.#folders.get(path);
      const current = watched?.identity === identity ? watched : this.#open(path, identity, watched);
      current.owners.add(owner);
      if (current.state === 'opening') opening++;
    }
    this.#pollWhereNeeded();
    return opening;
  }

  #open(path: string, identity: string, before: Watched | undefined): Watched {
    if (before) close(before);
    const watched: Watched = { identity, owners: new Set(before?.owners), state: 'opening', watcher: null };
    this.#folders.set(path, watched);
    this.#queue.push({ path, watched });
    this.#beginNext();
    return watched;
  }

  #beginNext(): void {
    while (this.#beginning < fewAtOnce) {
      const next = this.#queue.shift();
      if (!next) return;
      if (next.watched.state === 'closed') continue;
      this.#beginning++;
      this.#begin(next.path, next.watched)
        .catch((error: unknown) => this.#failed(next.path, next.watched, error))
        .finally(() => {
          this.#beginning--;
          this.#beginNext();
        });
    }
  }

  /** Resolves when it is set up, or will not be. */
  async #begin(path: string, watched: Watched): Promise<void> {
    const { watch } = await import('chokidar');
    if (watched.state === 'closed') return;
    const watcher = watch(path, {
      depth: 0,
      followSymlinks: false,
      ignoreInitial: true,
      atomic: false,
      ignored: (one) => one !== path,
    });
    watched.watcher = watcher;
    const tell = (name: string | null) => watched.owners.forEach((owner) => owner.happened(path, name));
    watcher.on('raw', (_event, name) => tell(typeof name === 'string' ? name : null));
    watcher.on('error', (error) => this.#failed(path, watched, error));
    // A folder that vanishes while it is read is never ready.
    await Promise.race([
      new Promise<void>((done) => watcher.on('ready', done)),
      sleep(mostSetUpMs, undefined, { ref: false }),
    ]);
    if (watched.state === 'opening') watched.state = watcher.options.usePolling ? 'polled' : 'open';
    this.#pollWhereNeeded();
    if ((watched.state as string) !== 'closed') tell(null);
  }

  #failed(path: string, watched: Watched, error: unknown): void {
    if (watched.state === 'closed') return;
    watched.state = 'polled';
    this.#pollWhereNeeded();
    if (this.#isWarned) return;
    this.#isWarned = true;
    const { code = '', message } = error as NodeJS.ErrnoException;
    this.warn(
      `${path} cannot be watched for changes: ${whatIsMissing[code] ?? message}; until the next start it and others like it are looked at every ${pollMs / 1000} s instead`,
    );
  }

  #drop(path: string, watched: Watched, owner: FolderListener): void {
    if (!watched.owners.delete(owner) || watched.owners.size > 0) return;
    close(watched);
    this.#folders.delete(path);
  }

  #pollWhereNeeded(): void {
    const isNeeded = [...this.#folders.values()].some(({ state }) => state === 'polled');
    if (isNeeded === (this.#poll !== null)) return;
    if (this.#poll !== null) clearInterval(this.#poll);
    this.#poll = isNeeded ? setInterval(() => this.#pollNow(), pollMs) : null;
  }

  #pollNow(): void {
    for (const [path, { state, owners }] of this.#folders)
      if (state === 'polled') for (const owner of owners) owner.happened(path, null);
  }
}

function close(watched: Watched): void {
  watched.state = 'closed';
  void watched.watcher?.close();
}

const whatIsMissing: Readonly<Record<string, string>> = {
  ENOSPC:
    'this user has no inotify watch left (ENOSPC). Raise fs.inotify.max_user_watches (sysctl), or watch less with "ignore"',
  EMFILE:
    'this user has no inotify instance or no file descriptor left (EMFILE). Raise fs.inotify.max_user_instances (sysctl) or the limit of open files',
};
