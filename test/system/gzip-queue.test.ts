/** Compressing on a real disk, with the rotation at the one moment that matters: after a file was read, before it is named. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import { GzipQueue } from '../../src/system/output/gzip-queue.ts';
import { rotate } from '../../src/system/output/rotation.ts';

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'gzip-queue-'));
after(() => fs.rmSync(dir, { recursive: true }));
let names = 0;

function newFolder(): string {
  const folder = path.join(dir, String(names++));
  fs.mkdirSync(folder);
  return folder;
}

/** Compresses the rotated files; `meanwhile` runs once, in turn, when the first of them was read and has its name not yet. */
async function compress(file: string, keep: number, meanwhile: (queue: GzipQueue) => Promise<void>): Promise<void> {
  let count = 0;
  const failures: string[] = [];
  const queue = new GzipQueue({
    inTurn: async (step) => {
      if (fs.existsSync(`${file}.gz.part`) && count++ === 0) await meanwhile(queue);
      return step();
    },
    failed: (reason) => failures.push(reason),
    worked: () => undefined,
  });
  queue.compress(file, keep);
  while (queue.isBusy) await sleep(5);
  assert.deepEqual(failures, []);
  assert.ok(count > 0);
}

/** What is in the folder; a link has its target. */
function content(folder: string): Record<string, string> {
  const entries = fs.readdirSync(folder).sort();
  return Object.fromEntries(
    entries.map((name) => {
      const found = path.join(folder, name);
      if (fs.lstatSync(found).isSymbolicLink()) return [name, `-> ${fs.readlinkSync(found)}`];
      const bytes = fs.readFileSync(found);
      return [name, (name.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString()];
    }),
  );
}

test('a file that comes under a number where something else was is compressed too', async () => {
  const folder = newFolder();
  const file = path.join(folder, 'web.log');
  fs.writeFileSync(file, 'new\n');
  fs.symlinkSync('nowhere', `${file}.1`);
  fs.writeFileSync(`${file}.2`, 'old\n');
  await compress(file, 9, async (queue) => {
    await rotate(file, 9);
    fs.writeFileSync(file, 'newest\n');
    queue.compress(file, 9);
  });
  assert.deepEqual(content(folder), {
    'web.log': 'newest\n',
    'web.log.1.gz': 'new\n',
    'web.log.2': '-> nowhere',
    'web.log.3.gz': 'old\n',
  });
});

test('a file that falls out meanwhile is not taken for a newer one to which the disk gives its inode', async () => {
  const folder = newFolder();
  const file = path.join(folder, 'web.log');
  fs.writeFileSync(file, 'second\n');
  fs.writeFileSync(`${file}.1`, 'first\n');
  await compress(file, 1, async (queue) => {
    await rotate(file, 1);
    fs.writeFileSync(file, 'third\n');
    await rotate(file, 1);
    fs.writeFileSync(file, 'fourth\n');
    queue.compress(file, 1);
  });
  assert.deepEqual(content(folder), { 'web.log': 'fourth\n', 'web.log.1.gz': 'third\n' });
});
