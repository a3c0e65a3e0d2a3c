/** The file of records against the real file system: batches, torn lines, its bound, a full disk. */
import { describe, test, type TestContext } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { recordLine } from '../../src/core/record-file.ts';
import { createRecords, type RecordsLimits, type StoredRecords } from '../../src/system/instance/records.ts';
import { exitRecord } from '../helpers/exit-record.ts';

const web = { app: 'web', worker: null };

interface Place {
  readonly dir: string;
  readonly file: string;
  readonly warnings: string[];
  open(limits?: RecordsLimits): StoredRecords;
}

function place(t: TestContext, dir = mkdtempSync(join(tmpdir(), 'supervise-records-'))): Place {
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const warnings: string[] = [];
  const open = (limits?: RecordsLimits) => createRecords(dir, (message) => warnings.push(message), limits);
  return { dir, file: join(dir, 'exits.ndjson'), warnings, open };
}

const pids = (records: StoredRecords, n = 1_000) => records.recent(web, n).map(({ pid }) => pid);

/** Everything that was appended is on its way to the disk, or has failed to get there. */
async function settled(records: StoredRecords): Promise<void> {
  await records.close();
}

describe('records of exits', () => {
  test('are known at once, are on the disk when it is closed, and outlive the one who wrote them', async (t) => {
    const { file, open, warnings } = place(t);
    const first = open();
    for (const pid of [1, 2, 3]) first.append(() => exitRecord({ pid }));
    first.append(() => exitRecord({ app: 'api', worker: 'api.1', pid: 4 }));
    assert.deepEqual(pids(first), [3, 2, 1]);
    assert.throws(() => statSync(file), 'nothing is written in the turn of an exit');
    await first.close();
    const second = open();
    second.append(() => exitRecord({ pid: 5, worker: 'web.8' }));
    assert.deepEqual(pids(second, 2), [5, 3]);
    assert.deepEqual(
      second.recent({ app: 'web', worker: 'web.8' }, 9).map(({ pid }) => pid),
      [5],
    );
    assert.deepEqual(second.apps(), ['web', 'api']);
    await second.close();
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.equal(readFileSync(file, 'utf8').split('\n').length, 6);
    assert.deepEqual(warnings, []);
  });

  test('of 256 exits at once are written in order, none twice, while they are asked for', async (t) => {
    const { open } = place(t);
    const records = open();
    const wanted = Array.from({ length: 256 }, (_, pid) => pid).toReversed();
    for (const pid of wanted.toReversed()) records.append(() => exitRecord({ pid }));
    for (let turn = 0; turn < 50; turn++) {
      assert.deepEqual(pids(records), wanted);
      await new Promise((next) => setImmediate(next));
    }
    await records.close();
    assert.deepEqual(pids(open()), wanted);
  });

  test('a torn last line is passed over, and what follows is not lost to it', async (t) => {
    const { file, open } = place(t);
    const first = open();
    for (const pid of [1, 2]) first.append(() => exitRecord({ pid }));
    await first.close();
    truncateSync(file, statSync(file).size - 20);
    const second = open();
    assert.deepEqual(pids(second), [1]);
    second.append(() => exitRecord({ pid: 3 }));
    await second.close();
    appendFileSync(file, '{"at":"2026');
    assert.deepEqual(pids(open()), [3, 1]);
  });

  test('a file that grows too large is cut to its newest half, and to whole lines', async (t) => {
    const { dir, file, open } = place(t);
    const size = recordLine(exitRecord({ pid: 1000 })).length + 1;
    const limits = { mostBytes: 100 * size, mostWaiting: 10 };
    const records = open(limits);
    for (let pid = 1000; pid < 1500; pid++) {
      records.append(() => exitRecord({ pid }));
      await settled(records);
      assert.ok(statSync(file).size <= limits.mostBytes, `${statSync(file).size} bytes after ${pid}`);
    }
    const kept = pids(records).toReversed();
    assert.ok(kept.length >= 49, `${kept.length} records are left`);
    assert.deepEqual(
      kept,
      Array.from({ length: kept.length }, (_, n) => 1500 - kept.length + n),
    );
    assert.deepEqual(readdirSync(dir), ['exits.ndjson']);
  });

  test('whoever removes the file gets a new one', async (t) => {
    const { file, open } = place(t);
    const records = open();
    records.append(() => exitRecord({ pid: 1 }));
    await settled(records);
    const other = open();
    other.append(() => exitRecord({ pid: 2 }));
    while (readFileSync(file, 'utf8').split('\n').length < 3) await new Promise((next) => setImmediate(next));
    rmSync(file);
    other.append(() => exitRecord({ pid: 3 }));
    await other.close();
    assert.deepEqual(pids(records), [3]);
  });

  test('that cannot be written are one warning, stay known, and are written when that is possible again', async (t) => {
    const { dir, file, open, warnings } = place(t);
    const records = open({ mostBytes: 1e6, mostWaiting: 3 });
    rmSync(dir, { recursive: true });
    for (const pid of [1, 2, 3, 4, 5]) {
      records.append(() => exitRecord({ pid }));
      await settled(records);
    }
    assert.equal(warnings.length, 1);
    assert.match(warnings[0] ?? '', /^cannot write records of exits to .*exits\.ndjson: ENOENT/);
    assert.deepEqual(pids(records), [5, 4, 3]);
    spawnSync('mkdir', ['-p', dir]);
    records.append(() => exitRecord({ pid: 6 }));
    await settled(records);
    assert.deepEqual(pids(open()), [6, 5, 4]);
    assert.equal(readFileSync(file, 'utf8').split('\n').length, 4);
    assert.equal(warnings.length, 1);
  });

  test('on a full disk are one warning, and no line on it is torn', async (t) => {
    const dir = mkdtempSync(join(tmpdir(), 'supervise-records-'));
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', dir]);
    if (mounted.status !== 0) {
      rmSync(dir, { recursive: true });
      return t.skip(`a small disk cannot be made here: ${String(mounted.stderr).trim()}`);
    }
    t.after(() => spawnSync('umount', ['-l', dir]));
    const { file, open, warnings } = place(t, dir);
    const records = open();
    const lastLines = Array.from({ length: 10 }, (_, n) => String(n).repeat(400));
    for (let pid = 1; pid <= 40; pid++) {
      records.append(() => exitRecord({ pid, lastLines }));
      await settled(records);
    }
    assert.equal(warnings.length, 1, warnings.join('\n'));
    assert.match(warnings[0] ?? '', /ENOSPC/);
    assert.equal(pids(records).length, 40);
    const written = readFileSync(file, 'utf8');
    assert.ok(written.endsWith('}\n'), 'the last line is torn');
    const count = written.split('\n').length - 1;
    assert.ok(count > 5 && count < 20, `${count} lines on a disk of 64 KB`);
    writeFileSync(file, '');
    records.append(() => exitRecord({ pid: 41 }));
    await settled(records);
    // What was written is gone with what was in the file; what waited is still known.
    assert.deepEqual(
      pids(records),
      Array.from({ length: 41 - count }, (_, n) => 41 - n),
    );
  });
});
