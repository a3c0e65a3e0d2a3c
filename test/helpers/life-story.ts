/**
 * One worker's life, told without a master: events go into the machine, its effects are recorded, and time passes by
 * hand. `timeout` comes when the deadline of the state is due, as the master would send it.
 */
import type { Cause, Exit } from '../../src/core/protocol.ts';
import type { BackoffSpec, RestartPolicy } from '../../src/core/spec.ts';
import {
  beginLife,
  step,
  type Effect,
  type Life,
  type LifePolicy,
  type Row,
  type Step,
  type Surroundings,
  type WorkerEvent,
} from '../../src/core/worker-machine.ts';
import { usualBackoff } from './specs.ts';

export function exitOf(code: number | null, more: Partial<Exit> = {}): Exit {
  return { code, signal: null, error: null, lastLines: [], ...more };
}

export interface LifeStoryParts {
  readonly restart?: RestartPolicy;
  readonly backoff?: Partial<BackoffSpec>;
  readonly readyTimeoutMs?: number;
  readonly stopTimeoutMs?: number;
  readonly served?: boolean;
  readonly random?: number;
  /** The row of crashes of a predecessor that was not well. */
  readonly inherited?: Row;
}

export class LifeStory {
  readonly policy: LifePolicy;
  readonly effects: Effect[] = [];
  served: boolean;
  random: number;
  nowMs = 1_000_000;
  life: Life;

  constructor(parts: LifeStoryParts = {}) {
    const { restart = 'always', backoff = {}, readyTimeoutMs = 60_000, stopTimeoutMs = 30_000 } = parts;
    this.policy = { restart, backoff: { ...usualBackoff, ...backoff }, readyTimeoutMs, stopTimeoutMs };
    this.served = parts.served ?? true;
    this.random = parts.random ?? 0;
    const first = beginLife(this.around, parts.inherited ?? null);
    this.life = first.life;
    this.#take(first);
  }

  get around(): Surroundings {
    return { nowMs: this.nowMs, random: this.random, served: this.served, policy: this.policy };
  }

  get state(): Life['state'] {
    return this.life.state;
  }

  /** How long until the deadline; null without one. */
  get waitMs(): number | null {
    return this.life.deadlineMs === null ? null : this.life.deadlineMs - this.nowMs;
  }

  get last(): Effect | undefined {
    return this.effects.at(-1);
  }

  send(event: WorkerEvent): this {
    this.#take(step(this.life, event, this.around));
    return this;
  }

  ready(): this {
    return this.send({ type: 'ready' });
  }

  exits(code: number | null, more: Partial<Exit> = {}): this {
    return this.send({ type: 'exited', exit: exitOf(code, more) });
  }

  stop(cause: Cause = 'stop', timeoutMs?: number): this {
    return this.send({ type: 'stop', cause, ...(timeoutMs !== undefined && { timeoutMs }) });
  }

  kill(cause: Cause = 'stop'): this {
    return this.send({ type: 'kill', cause });
  }

  /** Lets time pass; deadlines are met on the way. */
  after(ms: number): this {
    const until = this.nowMs + ms;
    while (this.life.deadlineMs !== null && this.life.deadlineMs <= until) {
      this.nowMs = Math.max(this.nowMs, this.life.deadlineMs);
      this.send({ type: 'timeout' });
    }
    this.nowMs = until;
    return this;
  }

  /** Waits for the deadline of the state. */
  whenDue(): this {
    return this.after(this.waitMs ?? 0);
  }

  #take({ life, effects }: Step): void {
    this.life = life;
    this.effects.push(...effects);
  }
}
