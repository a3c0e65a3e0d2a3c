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
import { takeInventory, type Interest, type Inventory, type Scope } from './inventory.ts';

export interface WatchedSet extends Scope {
  readonly debounceMs: number;
  /** By the wall clock. */
  readonly sinceMs: number;
}

type State = 'resting' | 'waiting' | 'looking' | 'looking in vain' | 'closed';

const longestWaitMs = 60_000;
const clockLagMs = 20;

export class FileWatch implements FolderListener {
  readonly #set: WatchedSet;
  readonly #events: FolderEvents;
  readonly #report: (changes: readonly Change[]) => void;
  #state: State = 'resting';
  #folders: ReadonlyMap<string, Interest> = new Map();
  #files: Inventory['files'] | null = null;
  #timer: NodeJS.Timeout | null = null;
  /** When the first event came that no finished look has covered. */
  #firstMs: number | null = null;
  /** A look is to find what was changed before this moment, which is then known. */
  #coverMs: number | null = null;

  /** Looks at once; changes are reported from then on, and those of files that were there already from `set.sinceMs` on. */
  constructor(set: WatchedSet, events: FolderEvents, report: (changes: readonly Change[]) => void) {
    this.#set = set;
    this.#events = events;
    this.#report = report;
    this.#lookSafely();
  }

  /** What was changed until now (of the wall clock) is known to whom it concerns: it is not reported. Looks at once. */
  cover(nowMs: number): void {
    if (this.#state === 'closed') return;
    // The times of files lag behind the clock by up to a tick of the kernel.
    this.#coverMs = nowMs - clockLagMs;
    if (this.#state === 'looking' || this.#state === 'looking in vain') return void (this.#state = 'looking in vain');
    this.#clearTimer();
    this.#lookSafely();
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
    if (names !== null) return names.has(name);
    const path = `${folder}/${name}`;
    return !this.#set.ignores(path) && !this.#set.isOwn(path);
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
    const coverMs = this.#coverMs;
    this.#coverMs = null;
    const inventory = await takeInventory(this.#set);
    const state = this.#state as State;
    if (state === 'closed') return;
    this.#folders = inventory.folders;
    const opening = this.#events.hold(this, inventory.folders);
    this.#state = 'resting';
    if (this.#files === null) return this.#settleFirst(inventory, state === 'looking in vain');
    if (coverMs !== null) this.#takeAsKnown(this.#files, inventory, coverMs);
    const isQuiet = state === 'looking' && opening === 0 && !inventory.isTorn && coverMs === null;
    if (isQuiet || this.#leftMs() <= 0) return this.#compare(this.#files, inventory);
    this.#firstMs ??= performance.now();
    // After a cover it may have been quiet for less than that.
    this.#wait(opening > 0 && state === 'looking' ? longestWaitMs : this.#set.debounceMs);
  }

  /** What the first look has seen is what later ones are compared with. */
  #settleFirst(inventory: Inventory, isStale: boolean): void {
    const sinceMs = this.#set.sinceMs - clockLagMs;
    const early = [...inventory.files].filter(([, { changedMs }]) => changedMs > sinceMs);
    // What it was before is not known, but not this.
    const unlike = early.map(([path, file]) => [path, { ...file, mark: '' }] as const);
    this.#files = new Map([...inventory.files, ...unlike]);
    if (isStale || inventory.isTorn || early.length > 0) this.#expect();
  }

  /** Changes since then are left to be found by a later look. */
  #takeAsKnown(before: Inventory['files'], inventory: Inventory, untilMs: number): void {
    const known = new Map(this.#seenNow(before, inventory));
    for (const { path, changedMs } of changesBetween(before, { ...inventory, files: known })) {
      if ((changedMs ?? 0) <= untilMs) continue;
      const earlier = before.get(path);
      if (earlier) known.set(path, earlier);
      else known.delete(path);
    }
    this.#files = known;
  }

  #compare(before: Inventory['files'], inventory: Inventory): void {
    this.#firstMs = null;
    const files = this.#seenNow(before, inventory);
    this.#files = files;
    const changes = changesBetween(before, { ...inventory, files });
    if (changes.length > 0) this.#report(changes);
  }

  /** A certificate that is missing for a moment is not a new one. */
  #seenNow(before: Inventory['files'], { files }: Inventory): Inventory['files'] {
    return this.#set.by === 'content' ? new Map([...before, ...files]) : files;
  }

  #clearTimer(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }
}
