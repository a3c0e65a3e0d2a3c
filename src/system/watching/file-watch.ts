/**
 * Watches one set of files and says once for each set of changes what has changed.
 *
 *   resting --something happened--> waiting --quiet for `debounceMs`--> looking --> resting
 *                                     ^                                   |
 *                                     '-- it happened again meanwhile ----'
 *
 * - One look after the last event finds what all of them did together: a burst of writes, an editor that renames, a link
 *   that is swapped. What was put back to what it was before is no change.
 * - A folder that is new is set up first and looked at again, so that what is written into it belongs to the same set.
 * - Where it is never quiet, a look is taken after `longestWaitMs` all the same.
 */
import type { FolderEvents, FolderListener } from './folder-events.ts';
import { changesBetween, type Change } from './changes.ts';
import { takeInventory, type FileMark, type Interest, type Inventory, type Scope } from './inventory.ts';

export interface WatchedSet extends Scope {
  readonly debounceMs: number;
}

type State = 'resting' | 'waiting' | 'looking' | 'looking in vain' | 'closed';

const longestWaitMs = 60_000;

export class FileWatch implements FolderListener {
  readonly #set: WatchedSet;
  readonly #events: FolderEvents;
  readonly #report: (changes: readonly Change[]) => void;
  #state: State = 'resting';
  #folders: ReadonlyMap<string, Interest> = new Map();
  #files: ReadonlyMap<string, FileMark> | null = null;
  #timer: NodeJS.Timeout | null = null;
  /** When the first event came that no finished look has covered. */
  #firstMs: number | null = null;
  #coveredMs = 0;

  /** Looks at once; changes from then on are reported. */
  constructor(set: WatchedSet, events: FolderEvents, report: (changes: readonly Change[]) => void) {
    this.#set = set;
    this.#events = events;
    this.#report = report;
    this.#lookSafely();
  }

  /** Changes made before this moment (of the wall clock) are known to whom it concerns: they are not reported. */
  cover(untilMs: number): void {
    // The times of files lag behind the clock by up to a tick of the kernel.
    this.#coveredMs = untilMs - 20;
  }

  close(): void {
    this.#state = 'closed';
    this.#clearTimer();
    this.#events.hold(this, new Map());
  }

  happened(folder: string, name: string | null): void {
    if (this.#concerns(folder, name)) this.#expect();
  }

  #concerns(folder: string, name: string | null): boolean {
    const names = this.#folders.get(folder)?.names;
    // The folder itself is named where it was moved or deleted.
    if (name === null || names === undefined || folder.endsWith(`/${name}`)) return true;
    return names === null ? !this.#set.ignores(`${folder}/${name}`) : names.has(name);
  }

  #expect(): void {
    if (this.#state === 'closed') return;
    this.#firstMs ??= performance.now();
    if (this.#state === 'looking' || this.#state === 'looking in vain') this.#state = 'looking in vain';
    else this.#wait(this.#set.debounceMs);
  }

  #wait(ms: number): void {
    this.#clearTimer();
    this.#state = 'waiting';
    this.#timer = setTimeout(() => this.#lookSafely(), Math.max(0, Math.min(ms, this.#leftMs())));
  }

  /** Until a look is overdue. */
  #leftMs(): number {
    return this.#firstMs === null ? longestWaitMs : this.#firstMs + longestWaitMs - performance.now();
  }

  /** What goes wrong here must not end a service. */
  #lookSafely(): void {
    this.#look().catch((error: unknown) => {
      if (this.#state !== 'closed') this.#state = 'resting';
      this.#events.warn(`changes of files were not looked at: ${String(error)}`);
    });
  }

  async #look(): Promise<void> {
    this.#state = 'looking';
    const inventory = await takeInventory(this.#set);
    const state = this.#state as State;
    if (state === 'closed') return;
    this.#folders = inventory.folders;
    const opening = this.#events.hold(this, inventory.folders);
    this.#state = 'resting';
    if (this.#files === null) return this.#settleFirst(inventory, state === 'looking in vain');
    const isQuiet = state === 'looking' && opening === 0 && !inventory.isTorn;
    if (isQuiet || this.#leftMs() <= 0) return this.#compare(this.#files, inventory.files);
    this.#firstMs ??= performance.now();
    this.#wait(opening > 0 && state === 'looking' ? longestWaitMs : this.#set.debounceMs);
  }

  /** What the first look has seen is what later ones are compared with. */
  #settleFirst(inventory: Inventory, isStale: boolean): void {
    this.#files = inventory.files;
    if (isStale || inventory.isTorn) this.#expect();
  }

  #compare(before: ReadonlyMap<string, FileMark>, seen: ReadonlyMap<string, FileMark>): void {
    this.#firstMs = null;
    // A certificate that is missing for a moment is not a new one.
    const after = this.#set.by === 'content' ? new Map([...before, ...seen]) : seen;
    this.#files = after;
    const changes = changesBetween(before, after).filter(({ changedMs }) => (changedMs ?? Infinity) > this.#coveredMs);
    if (changes.length > 0) this.#report(changes);
  }

  #clearTimer(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }
}
