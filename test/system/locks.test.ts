/** Locks between real processes, of both kinds. */
import assert from 'node:assert/strict';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { createLocks } from '../../src/system/instance/locks.ts';
import { fixture, killed, linesOf, start, systemFolder, temporaryDirectory } from './processes.ts';

for (const how of ['abstract', 'files'] as const) {
  describe(`locks by ${how}`, () => {
    test('one process has it; the other is told who; a kill -9 frees it', async (t) => {
      const directory = temporaryDirectory(t);
      const locks = createLocks(how, directory);
      const name = `test/${directory}`;
      const holder = start(t, [process.execPath, fixture('hold-lock.mjs'), systemFolder, how, directory, name], {
        stdio: ['pipe', 'pipe', 'ignore'],
      });
      assert.equal(await linesOf(holder)(), 'taken');

      const refused = locks.take(name);
      assert.equal(refused.taken, false);
      assert.equal(refused.holder?.pid, holder.pid);
      assert.match(refused.holder?.command ?? '', /^node .*hold-lock/);
      assert.deepEqual(locks.held(`test/${directory}`), [name]);

      await killed(holder);
      assert.deepEqual(locks.held(`test/${directory}`), []);
      const mine = locks.take(name);
      assert.equal(mine.taken, true);
      mine.release();
    });

    test('released by its holder, it can be taken; other names are free all along', async (t) => {
      const directory = temporaryDirectory(t);
      const locks = createLocks(how, directory);
      const name = `test/${directory}`;
      const holder = start(t, [process.execPath, fixture('hold-lock.mjs'), systemFolder, how, directory, name], {
        stdio: ['pipe', 'pipe', 'ignore'],
      });
      const line = linesOf(holder);
      await line();
      for (const other of [`${name}.`, `${name}|`, `${name}/x`, 'x'.repeat(300) + directory]) {
        const result = locks.take(other);
        assert.equal(result.taken, true, other);
        assert.equal(locks.take(other).taken, false, other);
        result.release();
      }
      holder.stdin?.write('release\n');
      assert.equal(await line(), 'released');
      const mine = locks.take(name);
      assert.equal(mine.taken, true);
      mine.release();
      if (how === 'files') assert.deepEqual(readdirSync(directory), []);
    });
  });
}

test('names too long for an address are locked all the same, and told apart', (t) => {
  const directory = temporaryDirectory(t);
  const locks = createLocks('abstract');
  const [one, other] = [`${directory}/${'x'.repeat(200)}1`, `${directory}/${'x'.repeat(200)}2`];
  const first = locks.take(one);
  const second = locks.take(other);
  assert.deepEqual([first.taken, second.taken, locks.take(one).taken], [true, true, false]);
  for (const result of [first, second]) if (result.taken) result.release();
});

test('a lock file of a process that is gone, or with anything else in it, does not count', (t) => {
  const directory = temporaryDirectory(t);
  const locks = createLocks('files', directory);
  for (const content of ['4194304000\n', 'nonsense', '']) {
    writeFileSync(join(directory, 'name'), content);
    const result = locks.take('name');
    assert.equal(result.taken, true, content);
    if (result.taken) result.release();
  }
});
