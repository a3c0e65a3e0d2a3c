/** STATE/history.json against the real file system: written and read again, broken, foreign, and on a full disk. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { minuteMs, type HistoryPoint, type StoredHistory } from '../../src/core/history.ts';
import { createHistoryStore } from '../../src/system/instance/history-store.ts';

const firstMs = Date.parse('2026-01-01T00:00:00.000Z');

function point(nth: number): HistoryPoint {
  return {
    ...{ atMs: firstMs + nth * minuteMs, cpuPercent: 12.3, cpuMaxPercent: nth % 7 === 0 ? null : 99.9 },
    ...{ memoryBytes: 8_000_000_000 + nth, memoryMaxBytes: 9_000_000_000, queue: 3, ready: 4, goal: 4 },
  };
}

const minutes = (count: number) => Array.from({ length: count }, (_, nth) => point(nth));
const day = (count = 1_440): StoredHistory => ({
  usableCpus: 1.5,
  host: minutes(count),
  apps: new Map([
    ['web', minutes(count)],
    ['jobs', []],
  ]),
});

function place(t: TestContext, dir = mkdtempSync(join(tmpdir(), 'supervise-history-'))) {
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const warnings: string[] = [];
  return {
    dir,
    file: join(dir, 'history.json'),
    warnings,
    open: () => createHistoryStore(dir, (one) => warnings.push(one)),
  };
}

describe('the file of the day', () => {
  test('is written anew and read as it was, for its owner only; a day of an app is some 90 KB', async (t) => {
    const { dir, file, warnings, open } = place(t);
    const store = open();
    assert.equal(store.load(), null);
    store.save(() => day());
    assert.deepEqual(readdirSync(dir), [], 'nothing is written in the turn of a sample');
    await store.close();
    assert.deepEqual(open().load(), day());
    assert.deepEqual(readdirSync(dir), ['history.json']);
    const { mode, size } = statSync(file);
    assert.equal(mode & 0o777, 0o600);
    assert.ok(size < 2 * 92_160, `${size} bytes of the host and one app`);
    assert.deepEqual(warnings, []);
  });

  test('of what is asked for while it is being written only the last is written', async (t) => {
    const { open } = place(t);
    const store = open();
    const made: number[] = [];
    for (const count of [1, 2, 3]) store.save(() => (made.push(count), day(count)));
    await new Promise((turn) => setImmediate(turn));
    await new Promise((turn) => setImmediate(turn));
    for (const count of [4, 5]) store.save(() => (made.push(count), day(count)));
    await store.close();
    assert.deepEqual(made, [3, 5]);
    assert.deepEqual(open().load(), day(5));
  });

  const broken: readonly (readonly [string, (file: string) => void, RegExp])[] = [
    ['torn', (file) => truncateSync(file, 1_000), /is of no use \(.+\): the history of CPU and memory begins anew/],
    ['empty', (file) => truncateSync(file, 0), /is of no use/],
    [
      'of another version',
      (file) => writeFileSync(file, '{"version":2,"host":[],"apps":{}}'),
      /expected version 1, found 2/,
    ],
    ['another document', (file) => writeFileSync(file, 'null'), /expected version 1, found undefined/],
    ['without apps', (file) => writeFileSync(file, '{"version":1,"host":[]}'), /expected an object as "apps"/],
    ['with a list as apps', (file) => writeFileSync(file, '{"version":1,"host":[],"apps":[]}'), /expected an object/],
    [
      'with a row too short',
      (file) => writeFileSync(file, '{"version":1,"host":[],"apps":{"web":[[1,2,3]]}}'),
      /expected a minute and seven numbers in row 1 of web/,
    ],
    [
      'with a text for a number',
      (file) => writeFileSync(file, '{"version":1,"host":[[1,2,3,4,5,6,7,"8"]],"apps":{}}'),
      /row 1 of host/,
    ],
    [
      'with a minute that is none',
      (file) => writeFileSync(file, '{"version":1,"host":[[1.5,2,3,4,5,6,7,8]],"apps":{}}'),
      /row 1 of host/,
    ],
    [
      'with too many rows',
      (file) =>
        writeFileSync(
          file,
          JSON.stringify({ version: 1, host: Array(1_441).fill([1, 2, 3, 4, 5, 6, 7, 8]), apps: {} }),
        ),
      /at most 1440 rows for host/,
    ],
    [
      'too large to be ours',
      (file) => truncateSync(file, 2 ** 30),
      /expected at most 67108864 bytes, found 1073741824/,
    ],
    ['a pipe', (file) => (rmSync(file), assert.equal(spawnSync('mkfifo', [file]).status, 0)), /\(expected a file\)/],
    ['a directory', (file) => (rmSync(file), mkdirSync(file)), /is of no use/],
  ];
  for (const [what, breakIt, message] of broken)
    test(`that is ${what} is said once and replaced`, async (t) => {
      const { file, warnings, open } = place(t);
      const before = open();
      before.save(() => day());
      await before.close();
      breakIt(file);
      const store = open();
      assert.equal(store.load(), null);
      assert.equal(warnings.length, 1);
      assert.match(warnings[0] ?? '', message);
      if (what === 'a directory') return;
      store.save(() => day(3));
      await store.close();
      assert.deepEqual(open().load(), day(3));
      assert.equal(warnings.length, 1);
    });

  test('on a full disk is one warning, and the old one stays', async (t) => {
    const dir = mkdtempSync(join(tmpdir(), 'supervise-history-'));
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', dir], { encoding: 'utf8' });
    if (mounted.status !== 0) {
      rmSync(dir, { recursive: true, force: true });
      return t.skip(`cannot mount: ${mounted.stderr.trim()}`);
    }
    t.after(() => spawnSync('umount', [dir]));
    const { warnings, open } = place(t, dir);
    const store = open();
    store.save(() => day(1_000));
    await store.close();
    writeFileSync(join(dir, 'other'), Buffer.alloc(100_000));
    for (const count of [1_400, 1_440]) {
      store.save(() => day(count));
      await store.close();
    }
    assert.equal(warnings.length, 1);
    assert.match(warnings[0] ?? '', /cannot write .*history\.json: .*ENOSPC/);
    assert.deepEqual(open().load(), day(1_000));
    assert.deepEqual(readdirSync(dir).toSorted(), ['history.json', 'other']);
    rmSync(join(dir, 'other'));
    store.save(() => day(5));
    await store.close();
    assert.deepEqual(open().load(), day(5));
    assert.equal(warnings.length, 1);
  });
});
