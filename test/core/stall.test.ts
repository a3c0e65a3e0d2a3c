import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  beginStall,
  forgetThread,
  judgeStall,
  socketsMoved,
  stallEveryMs,
  type SocketUse,
  type StallLooks,
  type StallState,
  type ThreadLook,
} from '../../src/core/stall.ts';
import { forSeeds, type Chance } from '../helpers/random.ts';

const rule = { afterMs: 8000, everyMs: 2000, home: 'its listener' };

function look(wanted: Partial<ThreadLook> & { calls?: number; cpuMs?: number; place?: string } = {}): ThreadLook {
  const { calls = 0, cpuMs = 0, place = null, ...rest } = wanted;
  return {
    thread: '10/10',
    isMain: true,
    posture: 'elsewhere',
    switches: 5,
    detail: { calls, cpuMs, place },
    ...rest,
  };
}

type Round =
  | readonly ThreadLook[]
  | 'other progress'
  | { readonly afterMs: number; readonly looks: readonly ThreadLook[] };

/** What is told in rounds 2 s apart. */
function told(rounds: readonly Round[]): (string | null)[] {
  let state: StallState = beginStall(0);
  let atMs = 0;
  const said: (string | null)[] = [];
  for (const round of rounds) {
    const isPlain = round === 'other progress' || 'length' in round;
    atMs += isPlain ? 2000 : round.afterMs;
    const looks = round === 'other progress' ? [look()] : isPlain ? round : round.looks;
    const one = judgeStall(state, { atMs, looks, otherProgress: round === 'other progress' }, rule);
    state = one.state;
    if (one.told !== undefined) said.push(one.told);
  }
  return said;
}

const times = (count: number, round: (n: number) => Round): Round[] =>
  Array.from({ length: count }, (_, n) => round(n));
const seen: Round = [look({ posture: 'there' })];

describe('stalled', () => {
  const reasons: readonly (readonly [name: string, round: (n: number) => ThreadLook[], reason: string])[] = [
    [
      'it waits elsewhere',
      () => [look({ place: 'futex_wait (a lock)' })],
      'its main thread has not come back to its listener for 8s; it waits in futex_wait (a lock)',
    ],
    [
      'it runs',
      (n) => [look({ posture: 'running', cpuMs: n * 2000 })],
      'its main thread has not come back to its listener for 8s; it runs on the CPU all the time',
    ],
    [
      'the kernel does not tell where',
      () => [look({ isMain: false, thread: '10/12' })],
      'its thread 10/12 has not come back to its listener for 8s; it waits in a place that the kernel does not tell',
    ],
    ['it is stopped', () => [look({ posture: 'stopped', detail: null })], 'stopped by a signal (state T)'],
    ['a debugger holds it', () => [look({ posture: 'traced', detail: null })], 'stopped by a debugger (state t)'],
    [
      'two of them hang, one is stopped',
      () => [look(), look({ thread: '11/11', posture: 'stopped' })],
      'stopped by a signal (state T)',
    ],
    [
      'two of them hang',
      () => [look({ place: 'futex_wait' }), look({ thread: '10/11', isMain: false })],
      'none of its 2 threads has come back to its listener for 8s; the first waits in futex_wait',
    ],
  ];
  for (const [name, round, reason] of reasons) {
    test(name, () => {
      // The first look at a thread is a beginning; 8 s later it is over.
      assert.deepEqual(told(times(4, round)), []);
      assert.deepEqual(told(times(5, round)), [reason]);
    });
  }

  test('it is told once, and once that it goes on', () => {
    const stuck = times(9, () => [look()]);
    assert.equal(told([seen, ...stuck]).length, 1);
    const [first, second, third] = told([seen, ...stuck, seen, seen, ...stuck]);
    assert.deepEqual([typeof first, second, typeof third], ['string', null, 'string']);
  });

  test('threads that are gone are no reason any more', () =>
    assert.deepEqual(told([seen, ...times(9, () => [look()]), []]).slice(1), [null]));
});

describe('not stalled', () => {
  const healthy: readonly (readonly [string, (n: number) => Round])[] = [
    ['it waits there', () => seen],
    ['it gave up the CPU meanwhile', (n) => [look({ switches: n })]],
    ['it is stopped again and again', (n) => [look({ posture: 'stopped', switches: n })]],
    ['it reads or writes', (n) => [look({ posture: 'running', calls: n, cpuMs: n * 2000 })]],
    ['its sockets move', () => 'other progress'],
    ['one thread waits there, another hangs', () => [look(), look({ thread: '10/11', posture: 'there' })]],
    ['no thread is known', () => []],
    ['it gets no CPU', () => [look({ posture: 'running', cpuMs: 70 })]],
    ['it gets a little CPU', (n) => [look({ posture: 'running', cpuMs: n * 130 })]],
    ['we looked too seldom', () => ({ afterMs: 6001, looks: [look()] })],
    ['it is well at every fourth look', (n) => (n % 4 === 3 ? seen : [look()])],
  ];
  for (const [name, round] of healthy) test(name, () => assert.deepEqual(told(times(30, round)), []));

  test('a gap in our own looks begins the wait anew', () => {
    const stuck = times(4, () => [look()]);
    const gap: Round = { afterMs: 60_000, looks: [look()] };
    assert.deepEqual(told([...stuck, gap, ...times(3, () => [look()])]), []);
    assert.equal(told([...stuck, gap, ...times(4, () => [look()])]).length, 1);
  });

  test('between two late looks no more than twice the usual time counts', () => {
    const late = (count: number): Round[] => times(count, () => ({ afterMs: 5900, looks: [look()] }));
    assert.deepEqual(told([seen, ...late(1)]), []);
    assert.equal(told([seen, ...late(2)]).length, 1);
  });

  test('starved first, it is found when it has had its share of the CPU', () => {
    const rounds = times(20, (n) => [look({ posture: 'running', cpuMs: n < 10 ? 0 : (n - 9) * 500 })]);
    assert.deepEqual(told(rounds.slice(0, 11)), []);
    assert.equal(told(rounds).length, 1);
  });

  test('a thread that comes back under its old name is a beginning', () => {
    let { state } = judgeStall(beginStall(0), { atMs: 0, looks: [look()], otherProgress: false }, rule);
    state = forgetThread(state, '10/10');
    state = judgeStall(state, { atMs: 2000, looks: [look()], otherProgress: false }, rule).state;
    assert.equal(state.quietMs, 0);
  });
});

test('how often: a quarter of `after`, at least every 2 s', () =>
  assert.deepEqual([1000, 4000, 30_000].map(stallEveryMs), [250, 1000, 2000]));

describe('socketsMoved', () => {
  const queues = (readableBytes: number, unsentBytes: number, usedBytes: number | null = null): SocketUse => ({
    readableBytes,
    unsentBytes,
    usedBytes,
  });
  const cases: readonly (readonly [string, Record<string, SocketUse>, Record<string, SocketUse>, boolean])[] = [
    ['nothing', {}, {}, false],
    ['the same', { a: queues(1, 1) }, { a: queues(1, 1) }, false],
    ['the peer sent', { a: queues(1, 1) }, { a: queues(9, 1) }, false],
    ['the peer acknowledged', { a: queues(1, 9) }, { a: queues(1, 0) }, false],
    ['it read', { a: queues(9, 0) }, { a: queues(1, 0) }, true],
    ['it wrote', { a: queues(0, 0) }, { a: queues(0, 9) }, true],
    ['it accepted', { a: queues(0, 0) }, { a: queues(0, 0), b: null }, true],
    ['it closed', { a: null, b: null }, { a: null }, true],
    ['it closed one and accepted another', { a: null }, { b: null }, true],
    ['it was asked and has answered, and looks the same', { a: queues(9, 0, 100) }, { a: queues(9, 0, 150) }, true],
    ['a longer question and a lost answer, counted', { a: queues(1, 9, 100) }, { a: queues(9, 0, 100) }, false],
    ['counted only once', { a: queues(1, 1, 100) }, { a: queues(1, 1) }, false],
    ['counted only once, and it read', { a: queues(9, 1, 100) }, { a: queues(1, 1) }, true],
    ['unknown ones', { a: null, b: queues(9, 0) }, { a: queues(0, 9), b: null }, false],
  ];
  for (const [name, before, now, expected] of cases) {
    test(name, () =>
      assert.equal(socketsMoved(new Map(Object.entries(before)), new Map(Object.entries(now))), expected),
    );
  }
});

// ---------------------------------------------------------------- random lives

/** A thread as it really is: when it last made progress, and what can be seen of it. */
class RealThread {
  readonly name: string;
  #look: ThreadLook;

  constructor(name: string) {
    this.name = name;
    this.#look = look({ thread: name, switches: 0 });
  }

  /** Lets time pass, healthily or not, and answers whether it made progress that can be seen. */
  live(chance: Chance, forMs: number, hangs: boolean): boolean {
    const { detail } = this.#look;
    if (detail === null) throw new Error('these looks have details');
    if (hangs) {
      const posture = chance.pick(['running', 'elsewhere', 'stopped', 'traced'] as const);
      this.#look = { ...this.#look, posture, detail: { ...detail, cpuMs: detail.cpuMs + chance.between(0, forMs) } };
      return false;
    }
    const how = chance.pick(['there', 'switches', 'calls'] as const);
    this.#look = {
      ...this.#look,
      posture: how === 'there' ? 'there' : chance.pick(['running', 'elsewhere'] as const),
      switches: this.#look.switches + (how === 'switches' ? chance.between(1, 9) : 0),
      detail: { ...detail, calls: detail.calls + (how === 'calls' ? 1 : 0) },
    };
    return true;
  }

  get look(): ThreadLook {
    return this.#look;
  }
}

test('random lives: never told before a hang of `after` without a gap, and found soon after it', () => {
  forSeeds(2000, (chance, log) => {
    const threads = Array.from({ length: chance.between(1, 3) }, (_, n) => new RealThread(`10/${n}`));
    let state = beginStall(0);
    let atMs = 0;
    // For how long no thread made progress and no gap was in the looks; computed from what happened alone.
    let hangsMs = 0;
    let isTold = false;
    let phase: 'healthy' | 'hangs' = 'healthy';
    for (let round = 0; round < 60; round++) {
      if (chance.happens(0.1)) phase = chance.pick(['healthy', 'hangs', 'hangs'] as const);
      const gapMs = chance.happens(0.05) ? chance.between(6001, 90_000) : chance.between(500, 6000);
      atMs += gapMs;
      const active = phase === 'healthy' ? chance.between(0, threads.length - 1) : -1;
      let progress = false;
      threads.forEach((thread, n) => {
        if (thread.live(chance, gapMs, n !== active)) progress = true;
      });
      const otherProgress = chance.happens(0.03);
      const looks: StallLooks = { atMs, looks: threads.map((thread) => thread.look), otherProgress };
      const isFirst = round === 0;
      hangsMs = progress || otherProgress || isFirst || gapMs > 6000 ? 0 : hangsMs + Math.min(gapMs, 4000);
      const { state: next, told: said } = judgeStall(state, looks, rule);
      state = next;
      log(atMs, phase, looks.looks, said ?? '-');
      if (typeof said === 'string') {
        assert.ok(!isTold, 'told twice');
        assert.ok(hangsMs >= rule.afterMs, `told ${hangsMs} ms after the last progress`);
        isTold = true;
      } else if (said === null) {
        assert.ok(isTold && (progress || otherProgress), 'it goes on, without progress');
        isTold = false;
      }
      const starved = threads.some(({ look: { posture } }) => posture === 'running');
      if (!isTold && !starved) assert.ok(hangsMs < rule.afterMs, 'not found');
    }
  });
});
