/**
 * A file changes, the app is reloaded: connects what watches files (`watch`, `tls_files`) to the master's door.
 *
 * - Each set of changes is one reload, of that app only, with what has changed as its reason. A rollout that is under way
 *   is superseded by it.
 * - A reload that comes too early (the master still starts, hooks around a reload run) waits until the master runs.
 * - What is watched follows the config: after every event that may change it, it is compared with what the master runs.
 *   Relative paths count from the cwd as it was resolved when the last rollout began.
 * - A rollout takes up all that was changed before it began, whoever asked for it: that is no reason for another one.
 */
import { realOf } from '../config/real-path.ts';
import type { Event, EventType } from '../core/protocol.ts';
import type { AppSpec } from '../core/spec.ts';
import type { Master } from '../master/master.ts';
import type { Cancel } from '../ports.ts';
import type { AppWatch, Where } from '../system/watching/app-watch.ts';

export interface WatchingParts {
  readonly master: Pick<Master, 'handle' | 'subscribe' | 'snapshot' | 'spec'>;
  /** Folders that supervise writes into by itself. */
  readonly own: readonly string[];
  readonly warn: (message: string) => void;
}

const mayChangeWhatIsWatched: ReadonlySet<EventType> = new Set<EventType>([
  ...(['app.starting', 'app.stopping', 'app.stopped', 'config.changed'] as const),
  ...(['rollout.started', 'rollout.rolled_back'] as const),
]);

/** So many reloads, each for a change during the one before: that is no person's work. */
const suspiciousRow = 5;

/** Watches what the apps of this master want watched, until it is cancelled. Nothing is loaded for apps that want nothing. */
export function reloadOnChanges(parts: WatchingParts): Cancel {
  const watching = new Watching(parts);
  const forget = parts.master.subscribe((event) => watching.take(event));
  return () => {
    forget();
    watching.close();
  };
}

class Watching {
  readonly #parts: WatchingParts;
  readonly #watches = new Map<string, { readonly key: string; readonly watch: AppWatch }>();
  /** Reloads that came too early: app -> reason. */
  readonly #waiting = new Map<string, string>();
  /** Apps whose rollout began for a change -> how many such rollouts in a row each met the next change. */
  readonly #rows = new Map<string, number>();
  #refresh: 'none' | 'planned' | 'running' | 'again' | 'closed' = 'none';
  #makeWatch: ((app: AppSpec, where: Where) => AppWatch) | null = null;

  constructor(parts: WatchingParts) {
    this.#parts = parts;
  }

  take(event: Event): void {
    if (event.type === 'rollout.started' || event.type === 'app.starting') this.#takenUp(event.app);
    if (event.type === 'rollout.succeeded' || event.type === 'rollout.rolled_back') this.#rows.delete(event.app);
    if (mayChangeWhatIsWatched.has(event.type)) this.#planRefresh();
    // Not from within the master's own turn.
    if (event.type === 'master.running' && this.#waiting.size > 0) setImmediate(() => this.#retry());
  }

  /** Its new workers have what is on the disk now. */
  #takenUp(app: string): void {
    this.#waiting.delete(app);
    this.#watches.get(app)?.watch.cover(Date.now());
  }

  close(): void {
    this.#refresh = 'closed';
    for (const { watch } of this.#watches.values()) watch.close();
    this.#watches.clear();
    this.#waiting.clear();
  }

  #planRefresh(): void {
    if (this.#refresh === 'running') this.#refresh = 'again';
    if (this.#refresh !== 'none') return;
    this.#refresh = 'planned';
    const sinceMs = Date.now();
    setImmediate(() => {
      this.#runRefresh(sinceMs).catch((error: unknown) => this.#parts.warn(`files are not watched: ${String(error)}`));
    });
  }

  async #runRefresh(sinceMs: number): Promise<void> {
    if (this.#isClosed()) return;
    this.#refresh = 'running';
    try {
      if (this.#parts.master.spec.apps.some(wantsWatching)) await this.#load();
      if (!this.#isClosed()) this.#follow(sinceMs);
    } finally {
      this.#refreshed();
    }
  }

  #refreshed(): void {
    if (this.#isClosed()) return;
    const isStale = this.#refresh === 'again';
    this.#refresh = 'none';
    if (isStale) this.#planRefresh();
  }

  #isClosed(): boolean {
    return this.#refresh === 'closed';
  }

  async #load(): Promise<void> {
    if (this.#makeWatch) return;
    const { appWatches } = await import('../system/watching/app-watch.ts');
    this.#makeWatch = appWatches({
      own: this.#parts.own,
      logFiles: () => this.#parts.master.spec.apps.flatMap(({ logs }) => ('file' in logs && logs.file) || []),
      warn: this.#parts.warn,
      changed: (app, reason) => this.#changed(app, reason),
    });
  }

  /** Starts, ends and renews watches, so that there is one for each app that wants one. */
  #follow(sinceMs: number): void {
    const wanted = new Map(this.#parts.master.spec.apps.filter(wantsWatching).map((app) => [app.name, app]));
    for (const [name, { watch }] of this.#watches) {
      if (wanted.has(name)) continue;
      watch.close();
      this.#watches.delete(name);
    }
    for (const [name, app] of wanted) {
      const cwd = realOf(app.cwd);
      const key = JSON.stringify([cwd, app.watch, app.tlsFiles]);
      const current = this.#watches.get(name);
      if (current?.key === key) continue;
      current?.watch.close();
      this.#watches.set(name, { key, watch: this.#watchOf(app, { cwd, sinceMs }) });
    }
  }

  /** What cannot be watched of one app does not concern the others. */
  #watchOf(app: AppSpec, where: Where): AppWatch {
    try {
      return this.#makeWatch!(app, where);
    } catch (error) {
      this.#parts.warn(`files of ${app.name} are not watched: ${String(error)}`);
      return { cover: () => undefined, close: () => undefined };
    }
  }

  #changed(app: string, reason: string): void {
    this.#noteRow(app, reason);
    this.#reload(app, reason);
  }

  #retry(): void {
    for (const [app, reason] of [...this.#waiting]) this.#reload(app, reason);
  }

  #reload(app: string, reason: string): void {
    this.#waiting.delete(app);
    const { master } = this.#parts;
    const reply = master.handle({ type: 'reload', spec: null, apps: [app], reason });
    if (reply.ok) return;
    const { state } = master.snapshot();
    if (state === 'starting' || state === 'reloading') this.#waiting.set(app, reason);
    else if (state === 'running') this.#parts.warn(`${app} was not reloaded (${reason}): ${reply.error.message}`);
  }

  /** A program that writes what is watched would be reloaded for ever. */
  #noteRow(app: string, reason: string): void {
    const row = (this.#rows.get(app) ?? 0) + 1;
    this.#rows.set(app, row);
    if (row % suspiciousRow !== 0) return;
    this.#parts.warn(
      `${app} is reloaded for the ${row}th time in a row before a reload was over (${reason}). If it writes that file itself, name it in apps.${app}.watch.ignore`,
    );
  }
}

function wantsWatching(app: AppSpec): boolean {
  return app.watch !== null || app.tlsFiles.length > 0;
}
