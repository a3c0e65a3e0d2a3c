import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';
import { delayForAge, PollSchedule } from '../../src/system/readiness/poll-schedule.ts';

test('the pace: 5 ms at first, an eighth of the age later, 200 ms at most', () => {
  assert.deepEqual([0, 40, 80, 800, 1600, 3_600_000].map(delayForAge), [5, 5, 10, 100, 200, 200]);
});

test('looks are made in the order of their due times, once, and not after a cancel', async () => {
  const schedule = new PollSchedule();
  const made: string[] = [];
  const add = (name: string, delayMs: number) => schedule.add(delayMs, () => made.push(name));
  // The last one comes first; the others in the order of their times, however long this test is held up between them.
  add('d', 500);
  add('a', 5);
  schedule.add(8, () => cancelC());
  const cancelC = add('c', 10);
  add('b', 15);
  assert.deepEqual([made, schedule.size], [[], 5]);
  await new Promise<void>((done) => schedule.add(600, done));
  assert.deepEqual([made, schedule.size], [['a', 'b', 'd'], 0]);
});

test('many slow looks get a bounded share of the time, and each of them its turn', async () => {
  const schedule = new PollSchedule();
  const turns = Array.from({ length: 40 }, () => 0);
  let workedMs = 0;
  const cancels = turns.map(() => () => {});
  const again = (at: number): void => {
    cancels[at] = schedule.add(5, () => {
      const startMs = performance.now();
      while (performance.now() - startMs < 1);
      turns[at] = (turns[at] ?? 0) + 1;
      workedMs += performance.now() - startMs;
      again(at);
    });
  };
  const startMs = performance.now();
  for (const at of turns.keys()) again(at);
  while (Math.min(...turns) < 3) await sleep(20);
  const share = workedMs / (performance.now() - startMs);
  assert.ok(share < 0.2, `the looks took ${share} of the time`);
  assert.ok(Math.max(...turns) - Math.min(...turns) <= 2, `turns: ${turns.join(' ')}`);
  for (const cancel of cancels) cancel();
  assert.equal(schedule.size, 0);
});

test('a schedule without looks has no timer', async () => {
  const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
  const before = timers();
  const schedule = new PollSchedule();
  const cancels = [schedule.add(5, () => {}), schedule.add(1000, () => {}), schedule.add(2000, () => {})];
  await new Promise<void>((done) => schedule.add(20, done));
  for (const cancel of cancels) cancel();
  assert.equal(timers(), before);
});
