/**
 * Watches one ready worker for a stall, until it is ended. What is seen is judged in core/stall.ts.
 *
 *   a look:  remembered threads, cheaply -> one goes on? done
 *                 | none does
 *            their counters -> one goes on? done
 *                 | none does, and that for an eighth of `after` already
 *            their sockets -> they move? done
 *                 | they do not
 *            every thread that waits at a station now is remembered too -> judged
 *
 * Rules
 * - All watches share one schedule, on common beats: many idle workers wake it as often as one. It is not that of the
 *   workers that boot: a look that takes long must not make them wait.
 * - Until a first thread is seen to wait nothing is judged. It is looked for after 5 ms, and then after an eighth of the
 *   age: whoever hangs in its first request has been seen before that.
 * - What /proc hides for three looks in a row ends the watch with one warning.
 */
import { beginStall, forgetThread, judgeStall, progressed, socketsMoved, stallEveryMs } from '../../core/stall.ts';
import type { SocketUse, StallRule, StallState, ThreadLook } from '../../core/stall.ts';
import type { Cancel } from '../../ports.ts';
import { hasProcfs } from '../procfs.ts';
import { PollSchedule } from '../readiness/poll-schedule.ts';
import { usesOf } from './socket-use.ts';
import { findWaiters, nameOf, socketsOf, type StationTarget, type Waiter } from './stations.ts';
import { detailOf, lookAt } from './thread-looks.ts';

const stallLooks = new PollSchedule();
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
  #uses: ReadonlyMap<string, SocketUse> | null = null;
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

  /** At the next beat; a suspect sooner, and at no fixed distance: what works in a rhythm would look the same each time. */
  #again(isSuspect: boolean): void {
    const { everyMs } = this.#rule;
    this.#schedule(isSuspect ? (everyMs / 4) * (1 + Math.random()) : everyMs - (performance.now() % everyMs));
  }

  #schedule(delayMs: number): void {
    this.#cancel = stallLooks.add(delayMs, () => this.#look());
  }

  #look(): void {
    if (!hasProcfs()) return this.#off('there is no /proc here');
    const looks = this.#looks();
    if (looks === 'closed') return this.#hidden();
    if (this.#anyProgressed(looks)) return this.#judge(looks, true);
    const closer = this.#closer(looks);
    if (this.#anyProgressed(closer)) return this.#judge(closer, true);
    if (closer.length > 0 && this.#state.quietMs < this.#rule.afterMs / 8) return this.#judge(closer, false);
    if (this.#socketsMoved(closer)) return this.#judge(closer, true);
    const found = findWaiters(this.#target);
    for (const waiter of found.waiters) {
      const name = nameOf(waiter);
      if (waiter.seen === 'waiting' || !this.#waiters.has(name)) this.#waiters.set(name, waiter);
    }
    if (found.closed && !found.anyWaits && closer.length === 0) return this.#hidden();
    // Nobody to judge: what was told of threads that are gone is over.
    this.#judge(closer, found.anyWaits);
  }

  #anyProgressed(looks: readonly ThreadLook[]): boolean {
    return looks.some((look) => progressed(this.#state, look));
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

  /** With the details of each; those that are gone are forgotten. */
  #closer(looks: readonly ThreadLook[]): ThreadLook[] {
    return looks.flatMap((look) => {
      const waiter = this.#waiters.get(look.thread);
      const detail = waiter === undefined ? null : detailOf(waiter);
      if (detail !== null) return [{ ...look, detail }];
      this.#forget(look.thread);
      return [];
    });
  }

  /** Whether the sockets of those that run show that they work. */
  #socketsMoved(looks: readonly ThreadLook[]): boolean {
    const running = looks.filter((look) => look.posture === 'running');
    const pids = new Set(running.map((look) => this.#waiters.get(look.thread)?.station.pid ?? 0));
    const before = this.#uses;
    const maxAgeMs = this.#rule.everyMs / 8;
    const uses = new Map([...pids].flatMap((pid) => [...usesOf(pid, socketsOf(pid), maxAgeMs)]));
    this.#uses = pids.size === 0 ? null : uses;
    return before !== null && pids.size > 0 && socketsMoved(before, uses);
  }

  #judge(looks: readonly ThreadLook[], otherProgress: boolean): void {
    const { state, told } = judgeStall(this.#state, { atMs: performance.now(), looks, otherProgress }, this.#rule);
    this.#state = state;
    this.#closed = 0;
    const runs = looks.some((look) => look.posture === 'running');
    if (looks.length > 0 || otherProgress) this.#again(runs && state.verdict === 'fine' && state.quietMs > 0);
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
    if (this.#closed < closedLooks) this.#again(false);
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
