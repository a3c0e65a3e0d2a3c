/**
 * Thousands of random lives. What must hold is worked out from what went in and from the effects that came out, never
 * from the state that the machine says it is in; only the deadline is read from it, because it is an output.
 */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import type { Signal } from '../../src/core/spec.ts';
import type { WorkerEvent } from '../../src/core/worker-machine.ts';
import { exitOf, LifeStory } from '../helpers/life-story.ts';
import { forSeeds, type Chance, type Log } from '../helpers/random.ts';

const lives = 5_000;
const eventsPerLife = 60;

/** One end of a process, as the outside saw it. */
interface End {
  readonly readyForMs: number | null;
  readonly succeeded: boolean;
  /** An operator's signal explains it. */
  readonly asked: boolean;
  /** It was ended because it did not get ready in time. */
  readonly tooSlow: boolean;
  readonly served: boolean;
}

type Next =
  | { readonly type: 'at once' | 'failed' | 'completed' | 'stopped' | 'failed for good' }
  | { readonly type: 'delay'; readonly n: number };

/** A random life, and what an observer who knows only events and effects has seen of it. */
class Observer {
  readonly #chance: Chance;
  readonly #log: Log;
  readonly #story: LifeStory;
  readonly #ends: End[] = [];
  #alive = true;
  #readyAtMs: number | null = null;
  #signalledAtMs: number | null = null;
  #tooSlow = false;
  #retired = false;
  #over = false;
  #completed = false;
  /** Starts without a delay after a process that was not ready for a second, since one that was, or since an operator acted. */
  #hotStarts = 0;

  constructor(chance: Chance, log: Log) {
    this.#chance = chance;
    this.#log = log;
    const initialMs = chance.between(1, 1_000);
    this.#story = new LifeStory({
      restart: chance.weighted({ 'always': 6, 'on-failure': 3, 'never': 1 }),
      readyTimeoutMs: chance.between(1, 60_000),
      stopTimeoutMs: chance.between(1, 30_000),
      served: chance.happens(0.5),
      backoff: {
        initialMs,
        maxMs: initialMs + chance.between(0, 30_000),
        factor: 1 + 2 * chance.next(),
        jitter: chance.pick([0, 0.5, 1]),
        stableAfterMs: chance.between(1, 20_000),
        maxCrashes: chance.between(0, 8),
        retryFailedEveryMs: chance.between(1, 60_000),
      },
    });
    assert.deepEqual(this.#story.effects, ['spawn'], 'a new life begins with a process');
    log(this.#story.policy);
  }

  live(): void {
    for (let n = 0; n < eventsPerLife; n++) {
      this.#story.random = this.#chance.next();
      if (this.#chance.happens(0.4)) this.#letTimePass();
      else this.#send(this.#anything());
      this.#checkDeadline();
    }
    this.#endIt();
  }

  /** Late and senseless messages are among them: the machine has to live with those. */
  #anything(): WorkerEvent {
    const signal: Signal | null = this.#chance.happens(0.2) ? 'SIGKILL' : null;
    const code = signal ? null : this.#chance.pick([0, 0, 1, 3]);
    const error = this.#chance.happens(0.1) ? 'ENOENT' : null;
    switch (this.#chance.weighted({ ready: 8, exited: 8, stop: 0.3, kill: 0.2, retry: 1, signalled: 1 })) {
      case 'ready':
        return { type: 'ready' };
      case 'exited':
        return { type: 'exited', exit: error === null ? exitOf(code, { signal }) : exitOf(null, { error }) };
      case 'stop':
        return {
          type: 'stop',
          cause: 'stop',
          ...(this.#chance.happens(0.5) && { timeoutMs: this.#chance.between(0, 5_000) }),
        };
      case 'kill':
        return { type: 'kill', cause: 'stop' };
      case 'retry':
        return { type: 'retry' };
      case 'signalled':
        return { type: 'signalled' };
    }
  }

  #letTimePass(): void {
    const { waitMs } = this.#story;
    const someMs = this.#chance.pick([1, 500, 1_000, 5_000, 20_000]) * this.#chance.next();
    if (waitMs === null || someMs < waitMs) {
      this.#story.nowMs += someMs;
      this.#log('+ms', someMs);
      return;
    }
    this.#story.nowMs += waitMs;
    this.#log('+ms', waitMs, 'due');
    const effects = this.#send({ type: 'timeout' });
    assert.ok(effects.length > 0, 'a deadline that is met does something');
  }

  #send(event: WorkerEvent): readonly string[] {
    const before = this.#story.effects.length;
    const wasAlive = this.#alive;
    const expected = event.type === 'exited' && wasAlive ? this.#expectAfter(event) : null;
    this.#noteBefore(event);
    this.#story.send(event);
    const effects = this.#story.effects.slice(before);
    this.#log(event, '->', effects, this.#story.state);
    for (const effect of effects) this.#noteEffect(effect, event);
    if (expected) this.#checkNext(expected, effects);
    if (event.type === 'ready' && this.#alive && this.#readyAtMs === null && !this.#isEnding()) this.#noteReady();
    return effects;
  }

  #noteReady(): void {
    this.#readyAtMs = this.#story.nowMs;
    this.#story.served = true;
  }

  #isEnding(): boolean {
    return this.#retired || this.#tooSlow;
  }

  #noteBefore(event: WorkerEvent): void {
    if (event.type === 'stop' || event.type === 'kill') this.#retired = true;
    if (event.type === 'retry' || (event.type === 'signalled' && this.#alive)) this.#hotStarts = 0;
    if (event.type === 'signalled' && this.#alive && !this.#isEnding()) this.#signalledAtMs = this.#story.nowMs;
    if (event.type === 'timeout' && this.#alive && this.#readyAtMs === null && !this.#isEnding()) this.#tooSlow = true;
    if (event.type === 'retry' && !this.#retired && !this.#alive && !this.#completed) this.#over = false;
    if (event.type === 'exited') this.#alive = false;
  }

  #noteEffect(effect: string, event: WorkerEvent): void {
    if (effect !== 'spawn') {
      assert.ok(this.#alive, `${effect} without a process`);
      return;
    }
    assert.ok(!this.#alive, 'a second process');
    assert.ok(!this.#retired, 'a retired worker starts again');
    assert.ok(!this.#over, 'a worker that is over starts again');
    const end = this.#ends.at(-1);
    if (event.type === 'exited' && end && !end.asked && (end.readyForMs ?? 0) < 1_000) this.#hotStarts++;
    assert.ok(this.#hotStarts <= 1, 'a hot loop: started at once twice, and not ready for a second in between');
    this.#alive = true;
    this.#readyAtMs = null;
    this.#signalledAtMs = null;
    this.#tooSlow = false;
  }

  /** What has to follow this exit: product.md's rules, worked out from all ends so far. */
  #expectAfter(event: Extract<WorkerEvent, { type: 'exited' }>): Next {
    const { nowMs, policy, served } = this.#story;
    const { exit } = event;
    const readyForMs = this.#readyAtMs === null ? null : nowMs - this.#readyAtMs;
    if (readyForMs !== null && readyForMs >= 1_000) this.#hotStarts = 0;
    const asked =
      this.#signalledAtMs !== null &&
      nowMs - this.#signalledAtMs <= policy.stopTimeoutMs &&
      exit.error === null &&
      !this.#tooSlow;
    const succeeded = exit.code === 0 && exit.error === null && !this.#tooSlow;
    this.#ends.push({ readyForMs, succeeded, asked, tooSlow: this.#tooSlow, served });
    if (this.#retired) return { type: 'stopped' };
    if (succeeded && policy.restart !== 'always') return this.#end('completed');
    if (policy.restart === 'never') return this.#end('failed for good');
    return this.#afterCrash();
  }

  #end(type: 'completed' | 'failed for good'): Next {
    this.#over = true;
    this.#completed = type === 'completed';
    return { type };
  }

  #afterCrash(): Next {
    const { backoff } = this.#story.policy;
    let crashes = 0;
    let delayed = 0;
    let next: Next = { type: 'at once' };
    for (const end of this.#ends) {
      if (end.readyForMs !== null && end.readyForMs >= Math.max(1_000, backoff.stableAfterMs)) crashes = delayed = 0;
      if (end.asked || (end.succeeded && end.readyForMs !== null && end.readyForMs >= 1_000)) {
        next = { type: 'at once' };
        continue;
      }
      crashes++;
      if (end.served && crashes > backoff.maxCrashes) next = { type: 'failed' };
      else if (crashes === 1 && end.readyForMs !== null) next = { type: 'at once' };
      else next = { type: 'delay', n: delayed++ };
    }
    return next;
  }

  #checkNext(expected: Next, effects: readonly string[]): void {
    const { waitMs, policy } = this.#story;
    if (expected.type === 'at once') return assert.deepEqual(effects, ['spawn'], 'has to start at once');
    assert.deepEqual(effects, [], `must not start at once: ${JSON.stringify(expected)}`);
    if (expected.type === 'failed')
      return assert.ok(
        Math.abs((waitMs ?? 0) - policy.backoff.retryFailedEveryMs) < 0.01,
        `a slow trial, not in ${waitMs} ms`,
      );
    if (expected.type !== 'delay') return assert.equal(waitMs, null, 'it is over, and has no deadline');
    const { initialMs, maxMs, factor, jitter } = policy.backoff;
    const baseMs = Math.min(maxMs, initialMs * factor ** expected.n);
    assert.ok(
      waitMs !== null && waitMs <= baseMs + 0.01 && waitMs >= baseMs * (1 - jitter) - 0.01,
      `delay ${expected.n} is ${waitMs} ms, of ${baseMs}`,
    );
  }

  /** What has something to do has an end to it; what is ready, or over, may last. */
  #checkDeadline(): void {
    const { deadlineMs } = this.#story.life;
    const serves = this.#alive && this.#readyAtMs !== null && !this.#isEnding();
    const rests = !this.#alive && (this.#retired || this.#over);
    if (serves || rests) assert.equal(deadlineMs, null, 'nothing to wait for, but a deadline');
    else assert.ok(deadlineMs !== null && Number.isFinite(deadlineMs), 'something to do, but no deadline');
  }

  /** Whatever it is in: asked to stop, and with its process gone, it is over for good. */
  #endIt(): void {
    this.#send({ type: 'stop', cause: 'stop' });
    this.#checkDeadline();
    if (this.#alive) this.#send({ type: 'exited', exit: exitOf(0) });
    this.#checkDeadline();
    for (const type of ['timeout', 'retry', 'ready', 'signalled'] as const)
      assert.deepEqual(this.#send({ type }), [], `${type} after the end`);
  }
}

test('random lives keep all promises', () => {
  forSeeds(lives, (chance, log) => new Observer(chance, log).live());
});
