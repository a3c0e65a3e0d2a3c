/**
 * Watches one ready worker for a stall, until it is ended. What is seen is judged in core/stall.ts.
 *
 *   a look:  remembered threads, cheaply -> one goes on? done
 *                 | none does
 *            every thread that waits at a station now is remembered too -> there is one? done
 *                 | none
 *            their counters and their sockets -> judged
 *
 * Rules
 * - All watches share the one schedule of this process, on common beats: many idle workers wake it as often as one.
 * - Until a first thread is seen to wait nothing is judged. It is looked for after 5 ms, and then after an eighth of the
 *   age: whoever hangs in its first request has been seen before that.
 * - What /proc hides for three looks in a row ends the watch with one warning.
 */
import { beginStall, forgetThread, judgeStall, progressed, socketsMoved, stallEveryMs } from '../../core/stall.ts';
import type { SocketQueues, StallRule, StallState, ThreadLook } from '../../core/stall.ts';
import type { Cancel } from '../../ports.ts';
import { hasProcfs } from '../procfs.ts';
import { polls } from '../readiness/poll-schedule.ts';
import { queuesOf } from './socket-queues.ts';
import { findWaiters, nameOf, socketsOf, type StationTarget, type Waiter } from './stations.ts';
import { detailOf, lookAt } from './thread-looks.ts';

const closedLooks = 3;
const searchAtMostMs = 20_000;
const unseenSearches = 60;

export interface StallListener {
  /** Why it hangs, or null: it goes on again. */
  stalled(reason: string | null): void;
  /** Once, and the watch is over: it cannot be told whether it hangs. */
  warning(message: string): void;
}

export class StallWatch {
  readonly #target: StationTarget;
  readonly #rule: StallRule;
  readonly #listener: StallListener;
  readonly #waiters = new Map<string, Waiter>();
  #state: StallState;
  #queues: ReadonlyMap<string, SocketQueues> | null = null;
  #closed = 0;
  #searchSinceMs: number | null = null;
  #searches = 0;
  #cancel: Cancel = () => undefined;

  constructor(target: StationTarget, afterMs: number, listener: StallListener) {
    const home = target.kind === 'script' ? 'its event loop' : 'its listener';
    this.#target = target;
    this.#rule = { afterMs, everyMs: stallEveryMs(afterMs), home };
    this.#listener = listener;
    this.#state = beginStall(performance.now());
    this.#look();
  }

  /** Nothing is told after it, and no timer is left. May be called again. */
  end(): void {
    this.#cancel();
    this.#cancel = () => undefined;
  }

  /** At the next beat. */
  #again(): void {
    const { everyMs } = this.#rule;
    this.#schedule(everyMs - (performance.now() % everyMs));
  }

  #schedule(delayMs: number): void {
    this.#cancel = polls.add(delayMs, () => this.#look());
  }

  #look(): void {
    if (!hasProcfs()) return this.#off('there is no /proc here');
    const looks = this.#looks();
    if (looks === 'closed') return this.#hidden();
    if (looks.some((look) => progressed(this.#state, look))) return this.#judge(looks, true);
    const found = findWaiters(this.#target);
    for (const waiter of found.waiters) {
      const name = nameOf(waiter);
      if (waiter.seen === 'waiting' || !this.#waiters.has(name)) this.#waiters.set(name, waiter);
    }
    if (found.anyWaits) return this.#judge(looks, true);
    if (looks.length > 0) return this.#lookCloser(looks);
    if (found.closed) return this.#hidden();
    // What was told of threads that are gone is over.
    this.#judge([], false);
  }

  /** Of the remembered threads, up to the first that shows progress; those that are gone are forgotten. */
  #looks(): ThreadLook[] | 'closed' {
    const looks: ThreadLook[] = [];
    for (const [thread, waiter] of this.#waiters) {
      const look = lookAt(waiter, this.#state.seen.get(thread)?.switches ?? null);
      if (look === 'closed') return look;
      if (look === 'gone') {
        this.#forget(thread);
        continue;
      }
      looks.push(look);
      if (progressed(this.#state, look)) break;
    }
    return looks;
  }

  #lookCloser(looks: readonly ThreadLook[]): void {
    const closer: ThreadLook[] = [];
    const running = new Set<number>();
    for (const look of looks) {
      const waiter = this.#waiters.get(look.thread);
      const detail = waiter === undefined ? null : detailOf(waiter);
      if (waiter === undefined || detail === null) {
        this.#forget(look.thread);
        continue;
      }
      closer.push({ ...look, detail });
      if (look.posture === 'running') running.add(waiter.station.pid);
    }
    const before = this.#queues;
    const queues = new Map([...running].flatMap((pid) => [...queuesOf(pid, socketsOf(pid))]));
    this.#judge(closer, before !== null && running.size > 0 && socketsMoved(before, queues));
    this.#queues = running.size > 0 ? queues : null;
  }

  #judge(looks: readonly ThreadLook[], otherProgress: boolean): void {
    const { state, told } = judgeStall(this.#state, { atMs: performance.now(), looks, otherProgress }, this.#rule);
    this.#state = state;
    this.#closed = 0;
    if (state.verdict === 'fine' && otherProgress) this.#queues = null;
    if (looks.length > 0 || otherProgress) this.#again();
    else this.#search();
    if (told !== undefined) this.#listener.stalled(told);
  }

  /** There is nobody to judge. */
  #search(): void {
    const nowMs = performance.now();
    this.#searches++;
    this.#searchSinceMs ??= nowMs;
    if (this.#searches === unseenSearches) {
      this.#listener.warning(
        'no thread of it was seen to wait for connections so far: a hang is not detected until one is',
      );
    }
    this.#schedule(Math.min(searchAtMostMs, Math.max(5, (nowMs - this.#searchSinceMs) / 8)));
  }

  #hidden(): void {
    this.#closed++;
    if (this.#closed < closedLooks) this.#again();
    else this.#off('this system hides what its threads do: that needs the same user, or CAP_SYS_PTRACE');
  }

  #off(why: string): void {
    this.end();
    this.#listener.warning(`stall detection is off: ${why}`);
  }

  #forget(thread: string): void {
    this.#waiters.delete(thread);
    this.#state = forgetThread(this.#state, thread);
  }
}
