/**
 * Looks at one worker's tree again and again until a process of it waits for connections (`accepting`) or has a
 * listening socket (`listening`).
 *
 * A look at a process goes this way:
 *   our own rights -> closed -> a reader under its uid -> closed for 500 ms in a row -> given up, told as `closed`
 * A process is closed for a moment while it changes its uid, so one closed look says nothing.
 */
import type { ReadySpec } from '../../core/spec.ts';
import type { Cancel } from '../../ports.ts';
import { listeningSockets, livingTree, unseenWay, waitsOnOne } from './accepting.ts';
import { delayForAge, polls } from './poll-schedule.ts';
import { ownReader, viewProcess, type ProcessView } from './process-view.ts';
import { identityOf, leaseReader, type Lease } from './user-reader.ts';

const closedForMs = 500;
const unseenAfterMs = 10_000;

export interface TreeTarget {
  /** The leader of the worker's tree. */
  readonly pid: number;
  readonly ready: ReadySpec;
  /** `socket:[inode]` of the inherited listeners. */
  readonly listeners: readonly string[];
}

export interface TreeWatchListener {
  /** The end: this process waits on a listener, or (null) something of the tree listens. */
  ready(waiting: number | null): void;
  /** Once at most, the watch goes on: it may be waiting in a way that nobody can see. */
  unseen(why: string): void;
  /** The end: nobody can look into it. */
  closed(why: string): void;
}

export class TreeWatch {
  readonly #target: TreeTarget;
  readonly #on: TreeWatchListener;
  readonly #sinceMs = performance.now();
  #stop: Cancel = () => {};
  #lease: { readonly pid: number; readonly reader: Lease } | null = null;
  /** Since when every answer of the reader has been that it is closed; null: it has not. */
  #closedSinceMs: number | null = null;
  #toldUnseen = false;
  #over = false;

  constructor(target: TreeTarget, on: TreeWatchListener) {
    this.#target = target;
    this.#on = on;
    this.#again();
  }

  /** Nothing is called after it, and no timer and no reader is left. May be called again. */
  end(): void {
    this.#over = true;
    this.#stop();
    this.#lease?.reader.close();
    this.#lease = null;
  }

  get #ageMs(): number {
    return performance.now() - this.#sinceMs;
  }

  #again(): void {
    this.#stop = polls.add(delayForAge(this.#ageMs), () => this.#look());
  }

  #look(): void {
    const views = livingTree(this.#target.pid).map((pid) => viewProcess(ownReader, process.arch, pid, this.#wanted));
    const closed = views.filter((view) => view.access === 'closed').map((view) => view.pid);
    if (closed[0] === undefined) {
      this.#closedSinceMs = null;
      if (!this.#concludes(views)) this.#again();
      return;
    }
    this.#askReader(closed[0], closed, (theirs) => {
      const both = views.map((view) => theirs?.find((other) => other.pid === view.pid) ?? view);
      if (this.#concludes(both)) return;
      if (!both.some((view) => view.access === 'closed')) this.#closedSinceMs = null;
      else if (this.#isGivenUp(closed[0] ?? 0)) return;
      this.#again();
    });
  }

  /** The sockets that matter: the inherited ones; without any, all of them, or none of them for `listening`. */
  get #wanted(): readonly string[] | null {
    const { listeners, ready } = this.#target;
    return listeners.length > 0 ? listeners : ready.kind === 'listening' ? [] : null;
  }

  /** Says that it is ready, if it is. Warns, once and late, when it may be and nobody can tell. */
  #concludes(views: readonly ProcessView[]): boolean {
    const { listeners, ready } = this.#target;
    const own = ready.kind === 'listening' || listeners.length === 0 ? this.#ownListeners(views) : [];
    const awaited = listeners.length > 0 ? listeners : own;
    const waiting = views.find((view) => waitsOnOne(view, awaited))?.pid ?? null;
    if (waiting !== null || (ready.kind === 'listening' && own.length > 0)) {
      this.end();
      this.#on.ready(waiting);
    } else if (!this.#toldUnseen && this.#ageMs > unseenAfterMs) {
      this.#tellUnseen(views, awaited);
    }
    return this.#over;
  }

  /** What the tree itself opened and listens on. */
  #ownListeners(views: readonly ProcessView[]): string[] {
    const listening = listeningSockets(this.#target.pid);
    const isOwn = (socket: string): boolean => listening.has(socket) && !this.#target.listeners.includes(socket);
    return views.flatMap((view) => view.sockets.filter(isOwn));
  }

  #tellUnseen(views: readonly ProcessView[], listeners: readonly string[]): void {
    for (const view of views) {
      const way = unseenWay(view, listeners);
      if (way === null) continue;
      this.#toldUnseen = true;
      this.#on.unseen(`cannot see whether process ${view.pid} accepts connections: ${way}`);
      return;
    }
  }

  #askReader(pid: number, closed: readonly number[], answer: (views: readonly ProcessView[] | null) => void): void {
    const identity = identityOf(pid);
    if (identity === null) return this.#again();
    if (this.#lease?.pid !== pid) {
      this.#lease?.reader.close();
      this.#lease = { pid, reader: leaseReader(identity) };
    }
    this.#lease.reader.view(closed, this.#wanted, answer);
  }

  /** It stayed closed to us and to the reader for long enough: tells so, and ends. */
  #isGivenUp(pid: number): boolean {
    this.#closedSinceMs ??= performance.now();
    if (performance.now() - this.#closedSinceMs < closedForMs) return false;
    this.end();
    const uid = identityOf(pid)?.uid ?? 'unknown';
    const rights = `uid ${process.geteuid?.() ?? 'unknown'} without CAP_SYS_PTRACE`;
    this.#on.closed(
      `cannot see whether process ${pid} accepts connections: /proc/${pid} of uid ${uid} is closed to ${rights}, and to a process under that uid`,
    );
    return true;
  }
}
