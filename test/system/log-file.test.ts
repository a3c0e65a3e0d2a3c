/** Log files on a real disk: rotation, gzip, reopening, and what a killed master or a bad disk leaves. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, describe, test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { gunzipSync, gzipSync } from 'node:zlib';
import type { Loss } from '../../src/system/output/gap.ts';
import type { LogFileSettings } from '../../src/system/output/log-file.ts';
import { LogFiles } from '../../src/system/output/log-files.ts';
import type { Sink } from '../../src/system/output/sink.ts';

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'log-file-'));
after(() => fs.rmSync(dir, { recursive: true }));
let names = 0;

async function until<T>(look: () => T | null | undefined | false): Promise<T> {
  for (;;) {
    const found = look();
    if (found !== null && found !== undefined && found !== false) return found;
    await sleep(5);
  }
}

class Stand {
  readonly file: string;
  readonly told: string[] = [];
  readonly losses: Loss[] = [];
  readonly files: LogFiles;
  readonly sink: Sink;
  readonly release: () => void;

  constructor(t: TestContext, settings: Partial<LogFileSettings> = {}) {
    const folder = path.join(dir, String(names++));
    this.file = settings.path ?? path.join(folder, 'logs', 'web.log');
    this.files = new LogFiles({
      retryEveryMs: 20,
      onLoss: (loss) => this.losses.push(loss),
      tell: (message) => this.told.push(message),
    });
    const taken = this.files.take(this.settings(settings), 'raw');
    this.sink = taken.sink;
    this.release = taken.release;
    t.after(() => this.close());
  }

  settings(more: Partial<LogFileSettings> = {}): LogFileSettings {
    return { path: this.file, maxSizeBytes: 1_000, keep: 3, gzip: false, ...more };
  }

  /** Writes these and waits until they have left the queue. */
  async write(...lines: string[]): Promise<void> {
    for (const line of lines) this.sink.write(`${line}\n`);
    await until(() => this.sink.isIdle);
  }

  names(): string[] {
    return fs.readdirSync(path.dirname(this.file)).sort();
  }

  /** What is beside it, with what stands in each. */
  content(): Record<string, string> {
    const folder = path.dirname(this.file);
    return Object.fromEntries(
      this.names().map((name) => {
        const bytes = fs.readFileSync(path.join(folder, name));
        return [name, (name.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString()];
      }),
    );
  }

  close(): Promise<void> {
    return new Promise((done) => this.files.close(done));
  }
}

/** Lines of 100 bytes, ten of which are 1000. */
function line(n: number): string {
  return `${String(n).padStart(4, '0')} `.padEnd(99, 'x');
}
const lines = (from: number, to: number): string[] => Array.from({ length: to - from }, (_, n) => line(from + n));
const text = (from: number, to: number): string =>
  lines(from, to)
    .map((each) => `${each}\n`)
    .join('');

/** The files of this process that are open now. */
function openFiles(): string[] {
  return fs.readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [fs.readlinkSync(`/proc/self/fd/${fd}`)];
    } catch {
      return [];
    }
  });
}

describe('log file: rotation', () => {
  test('no file is larger than max_size, each ends with a line, the newest is .1, and `keep` are kept', async (t) => {
    const stand = new Stand(t);
    await stand.write(...lines(0, 45));
    assert.deepEqual(stand.content(), {
      'web.log': text(40, 45),
      'web.log.1': text(30, 40),
      'web.log.2': text(20, 30),
      'web.log.3': text(10, 20),
    });
    assert.equal(fs.statSync(stand.file).mode & 0o777, 0o640);
  });

  test('lines that come in one large block are divided among files at their ends', async (t) => {
    const stand = new Stand(t, { keep: 9, maxSizeBytes: 1_050 });
    stand.sink.write(text(0, 37));
    await until(() => stand.sink.isIdle);
    assert.deepEqual(
      Object.values(stand.content()).map((each) => each.length),
      [700, 1_000, 1_000, 1_000],
    );
    assert.equal(
      Object.values(stand.content()).reverse().join(''),
      text(0, 10) + text(10, 20) + text(20, 30) + text(30, 37),
    );
  });

  test('a line longer than max_size is whole, in a file of its own', async (t) => {
    const stand = new Stand(t);
    const long = 'y'.repeat(600_000);
    await stand.write('before', long, 'after');
    assert.deepEqual(stand.content(), { 'web.log': 'after\n', 'web.log.1': `${long}\n`, 'web.log.2': 'before\n' });
  });

  test('keep 0 keeps none', async (t) => {
    const stand = new Stand(t, { keep: 0 });
    await stand.write(...lines(0, 25));
    assert.deepEqual(stand.content(), { 'web.log': text(20, 25) });
  });

  test('a lower keep deletes the rest at the next rotation, and leaves alone what is not a rotated file', async (t) => {
    const stand = new Stand(t, { keep: 9 });
    await stand.write(...lines(0, 60));
    const others = ['web.log.20260101', 'web.log.1.bak', 'web.log.01', 'web.log-1', 'other.log.1', 'web.log.2000'];
    for (const name of others) fs.writeFileSync(path.join(path.dirname(stand.file), name), name);
    stand.files.take(stand.settings({ keep: 2 }), 'raw');
    await stand.write(...lines(60, 65));
    const content = stand.content();
    for (const name of others) assert.equal(content[name], name);
    assert.deepEqual(
      Object.keys(content).filter((name) => !others.includes(name)),
      ['web.log', 'web.log.1', 'web.log.2'],
    );
    assert.equal(content['web.log.1'], text(50, 60));
  });

  test('the owner, the group and the mode of the file go on to the next one', async (t) => {
    const stand = new Stand(t);
    await stand.write(...lines(0, 5));
    fs.chmodSync(stand.file, 0o664);
    if (process.getuid?.() === 0) fs.chownSync(stand.file, 1, 2);
    const before = fs.statSync(stand.file);
    await stand.write(...lines(5, 15));
    const now = fs.statSync(stand.file);
    assert.notEqual(now.ino, before.ino);
    assert.deepEqual([now.mode, now.uid, now.gid], [before.mode, before.uid, before.gid]);
  });

  test('a free number is filled, and what is above it stays', async (t) => {
    const stand = new Stand(t, { keep: 5 });
    await stand.write('now');
    for (const n of [1, 2, 4]) fs.writeFileSync(`${stand.file}.${n}`, `${n}\n`);
    await stand.write(...lines(0, 10));
    assert.deepEqual(stand.content(), {
      'web.log': text(9, 10),
      'web.log.1': `now\n${text(0, 9)}`,
      'web.log.2': '1\n',
      'web.log.3': '2\n',
      'web.log.4': '4\n',
    });
  });

  test('a file behind a link is rotated where it is', async (t) => {
    const folder = path.join(dir, String(names++));
    fs.mkdirSync(path.join(folder, 'disk'), { recursive: true });
    fs.mkdirSync(path.join(folder, 'log'));
    fs.symlinkSync('../disk/web.log', path.join(folder, 'log', 'web.log'));
    const stand = new Stand(t, { path: path.join(folder, 'log', 'web.log') });
    await stand.write(...lines(0, 15));
    assert.deepEqual(fs.readdirSync(path.join(folder, 'log')), ['web.log']);
    assert.deepEqual(fs.readdirSync(path.join(folder, 'disk')), ['web.log', 'web.log.1']);
    assert.equal(fs.readFileSync(stand.file, 'utf8'), text(10, 15));
  });

  test('a rotation that fails is told once, and no line is lost', async (t) => {
    const stand = new Stand(t, { keep: 1 });
    await stand.write('now');
    fs.mkdirSync(`${stand.file}.1`);
    await stand.write(...lines(0, 40));
    assert.equal(fs.readFileSync(stand.file, 'utf8'), `now\n${text(0, 40)}`);
    assert.equal(stand.told.length, 1);
    assert.match(stand.told[0] ?? '', /web\.log cannot be rotated, and grows on: /);
    assert.deepEqual(stand.losses, []);
  });

  test('/dev/null is written, and never rotated', async (t) => {
    const stand = new Stand(t, { path: '/dev/null' });
    await stand.write(...lines(0, 40));
    assert.deepEqual([stand.told, fs.existsSync('/dev/null.1')], [[], false]);
  });
});

describe('log file: gzip', () => {
  test('rotated files are compressed, with time and mode of the original, and nothing else is left', async (t) => {
    const stand = new Stand(t, { gzip: true, keep: 5 });
    fs.mkdirSync(path.dirname(stand.file), { recursive: true });
    fs.writeFileSync(stand.file, 'old\n');
    fs.chmodSync(stand.file, 0o604);
    fs.utimesSync(stand.file, 1_000_000_000, 1_000_000_000);
    await stand.write(...lines(0, 1), ...lines(1, 35));
    await until(() => stand.names().join() === 'web.log,web.log.1.gz,web.log.2.gz,web.log.3.gz');
    assert.deepEqual(stand.content(), {
      'web.log': text(29, 35),
      'web.log.1.gz': text(19, 29),
      'web.log.2.gz': text(9, 19),
      'web.log.3.gz': `old\n${text(0, 9)}`,
    });
    assert.equal(fs.statSync(`${stand.file}.3.gz`).mode & 0o777, 0o604);
    assert.equal(fs.statSync(`${stand.file}.3.gz`).mtimeMs % 1000, 0);
    await stand.write(...lines(35, 40));
    await until(() => fs.existsSync(`${stand.file}.4.gz`) && fs.existsSync(`${stand.file}.1.gz`));
  });

  test('compressing and rotating at the same time lose nothing, whatever the order', async (t) => {
    const stand = new Stand(t, { gzip: true, keep: 1000, maxSizeBytes: 40_000 });
    for (let n = 0; n < 20_000; n += 100) {
      stand.sink.write(text(n, n + 100));
      await sleep(0);
    }
    await until(() => stand.sink.isIdle);
    const count = 20_000 / 400 - 1;
    // An original goes after its compressed file has come: wait until nothing else is left.
    const expected = ['web.log', ...Array.from({ length: count }, (_, n) => `web.log.${n + 1}.gz`)].sort().join();
    await until(() => stand.names().join() === expected);
    const content = stand.content();
    const all = Array.from({ length: count }, (_, n) => content[`web.log.${count - n}.gz`] ?? '').join('');
    assert.ok(all + content['web.log'] === text(0, 20_000));
  });

  test('what a kill left is tidied: a part of a file, an original beside its compressed file; foreign ones stay', async (t) => {
    const folder = path.join(dir, String(names++));
    fs.mkdirSync(folder);
    const file = path.join(folder, 'web.log');
    fs.writeFileSync(`${file}.gz.part`, gzipSync('half').subarray(0, 9));
    for (const name of ['1', '2', '3']) fs.writeFileSync(`${file}.${name}`, `plain ${name}\n`);
    for (const name of ['2', '3']) fs.writeFileSync(`${file}.${name}.gz`, gzipSync(`plain ${name}\n`));
    fs.utimesSync(`${file}.2`, 1_000_000_000.5, 1_000_000_000.5);
    fs.utimesSync(`${file}.2.gz`, 1_000_000_000, 1_000_000_000);
    fs.utimesSync(`${file}.3.gz`, 1_000_000_000, 1_000_000_000);
    fs.symlinkSync('nowhere', `${file}.4`);
    const stand = new Stand(t, { path: file, gzip: true, keep: 9 });
    await until(() => fs.existsSync(`${file}.1.gz`) && !fs.existsSync(`${file}.1`));
    stand.release();
    await until(() => !openFiles().includes(file)); // it has nothing left to do
    fs.unlinkSync(`${file}.4`);
    assert.deepEqual(stand.content(), {
      'web.log': '',
      'web.log.1.gz': 'plain 1\n',
      'web.log.2.gz': 'plain 2\n',
      'web.log.3': 'plain 3\n',
      'web.log.3.gz': 'plain 3\n',
    });
  });
});

describe('log file: a new master', () => {
  test('goes on in the same file, counts what is in it, and numbers on', async (t) => {
    const first = new Stand(t);
    await first.write(...lines(0, 18));
    await first.close();
    const next = new Stand(t, { path: first.file });
    await next.write(...lines(18, 23));
    assert.deepEqual(next.content(), {
      'web.log': text(20, 23),
      'web.log.1': text(10, 20),
      'web.log.2': text(0, 10),
    });
  });

  test('ends the half line that a killed one left', async (t) => {
    const file = path.join(dir, `${names++}.log`);
    fs.writeFileSync(file, 'whole\nhal');
    const stand = new Stand(t, { path: file });
    await stand.write('next');
    assert.equal(fs.readFileSync(file, 'utf8'), 'whole\nhal\nnext\n');
  });
});

describe('log file: others who touch it', () => {
  test('reopen goes on in a new file after the old one was moved, and after it was deleted', async (t) => {
    const stand = new Stand(t);
    await stand.write('one');
    fs.renameSync(stand.file, `${stand.file}-moved`);
    await stand.write('two');
    stand.files.reopen();
    await until(() => fs.existsSync(stand.file)); // before anything is written
    await stand.write('three');
    fs.unlinkSync(stand.file);
    stand.files.reopen();
    await stand.write('four');
    assert.deepEqual(stand.content(), { 'web.log': 'four\n', 'web.log-moved': 'one\ntwo\n' });
  });

  test('a file that somebody else has put in its place is not renamed: it is written on', async (t) => {
    const stand = new Stand(t);
    await stand.write(...lines(0, 5));
    fs.renameSync(stand.file, `${stand.file}-moved`);
    fs.writeFileSync(stand.file, 'theirs\n');
    await stand.write(...lines(5, 12));
    assert.deepEqual(stand.content(), { 'web.log': `theirs\n${text(10, 12)}`, 'web.log-moved': text(0, 10) });
  });

  test('a file that was emptied (copytruncate) is not rotated before it is full again', async (t) => {
    const stand = new Stand(t);
    await stand.write(...lines(0, 8));
    fs.truncateSync(stand.file);
    await stand.write(...lines(8, 18));
    assert.deepEqual(stand.content(), { 'web.log': text(8, 18) });
    await stand.write(...lines(18, 20));
    assert.deepEqual(stand.content(), { 'web.log': text(18, 20), 'web.log.1': text(8, 18) });
  });

  test('a file that cannot be opened is told once; its lines wait, and are written when it can', async (t) => {
    const folder = path.join(dir, String(names++));
    fs.writeFileSync(folder, 'a file in the way');
    const stand = new Stand(t, { path: path.join(folder, 'web.log') });
    stand.sink.write('waits\n');
    await until(() => stand.told.length > 0);
    assert.match(
      stand.told.join('\n'),
      /web\.log cannot be written: a file is where a directory should be \(EEXIST\); .*$/,
    );
    fs.unlinkSync(folder);
    await until(() => stand.sink.isIdle);
    assert.equal(fs.readFileSync(stand.file, 'utf8'), 'waits\n');
    assert.deepEqual([stand.told.length, stand.losses], [1, []]);
  });

  test('a FIFO is refused, and nobody waits for its reader', async (t) => {
    const file = path.join(dir, `${names++}.log`);
    assert.equal(spawnSync('mkfifo', [file]).status, 0);
    const stand = new Stand(t, { path: file });
    await until(() => stand.told.length > 0);
    assert.match(stand.told[0] ?? '', /no regular file/);
  });
});

describe('log file: who shares it', () => {
  test('one path is one open file; when nobody has it any more, and nothing waits, it is closed', async (t) => {
    const stand = new Stand(t);
    const other = stand.files.take(stand.settings(), 'raw');
    assert.equal(other.sink, stand.sink);
    await stand.write('one');
    const isOpen = (): number => openFiles().filter((file) => file === stand.file).length;
    assert.equal(isOpen(), 1);
    stand.release();
    await sleep(0);
    other.sink.write('two\n');
    other.release();
    await until(() => isOpen() === 0);
    assert.equal(fs.readFileSync(stand.file, 'utf8'), 'one\ntwo\n');
    const again = stand.files.take(stand.settings(), 'raw');
    again.sink.write('three\n');
    await until(() => again.sink.isIdle);
    assert.equal(fs.readFileSync(stand.file, 'utf8'), 'one\ntwo\nthree\n');
  });

  test('the settings are those of whoever took it last', async (t) => {
    const stand = new Stand(t);
    await stand.write(...lines(0, 8));
    stand.files.take(stand.settings({ maxSizeBytes: 2_000 }), 'raw');
    await stand.write(...lines(8, 23));
    assert.deepEqual(stand.content(), { 'web.log': text(20, 23), 'web.log.1': text(0, 20) });
  });
});

describe('log file: a full disk', () => {
  interface Story {
    readonly content: string[];
    readonly losses: Loss[];
    readonly told: string[];
    readonly total: number;
  }

  function fill(how: 'free' | 'delete'): Story {
    const mount = path.join(dir, String(names++));
    fs.mkdirSync(mount);
    const unshare = process.getuid?.() === 0 ? ['-m'] : ['-rm'];
    const script = 'mount -t tmpfs -o size=2m none "$1" && exec "$2" "$3" "$4" "$1" "$5"';
    const fixture = path.join(process.cwd(), 'test/fixtures/log-disk-full.mjs');
    const built = path.join(process.cwd(), 'build/src');
    const words = ['sh', '-c', script, 'sh', mount, process.execPath, fixture, built, how];
    const { stdout, stderr, status } = spawnSync('unshare', [...unshare, ...words], {
      encoding: 'utf8',
      timeout: 60_000,
      maxBuffer: 64 << 20,
    });
    assert.equal(status, 0, stderr);
    return JSON.parse(stdout) as Story;
  }

  /** Of each line what it says of itself, and what it should from the first one on. */
  function numbersIn({ content, losses, told, total }: Story): { found: number[]; expected: number[] } {
    const gapAt = content.findIndex((each) => each.includes('lost here'));
    const [, lost, why] = /^\S+Z … (\d+) lines lost here: (.*)$/.exec(content[gapAt] ?? '') ?? [];
    assert.equal(why, 'no space is left on the device (ENOSPC)');
    const found = content.filter((_, at) => at !== gapAt).map((each) => Number(/^line (\d+) x{90}$/.exec(each)?.[1]));
    const first = found[0] ?? 0;
    const expected = Array.from({ length: total - first }, (_, n) => first + n);
    expected.splice(gapAt, Number(lost));
    assert.ok(Number(lost) > 0 && gapAt > 0 && gapAt < found.length);
    assert.equal(
      losses.reduce((sum, each) => sum + each.lines, 0),
      Number(lost),
    );
    assert.equal(told.length, 1);
    return { found, expected };
  }

  test('lines before and after are whole, the gap stands in its place, and the numbers add up', () => {
    const { found, expected } = numbersIn(fill('free'));
    assert.deepEqual(found, expected);
    assert.equal(found[0], 0);
  });

  test('of a log that is deleted to make room, reopen begins a new file with a whole line', () => {
    const { found, expected } = numbersIn(fill('delete'));
    assert.deepEqual(found, expected);
    assert.ok((found[0] ?? 0) > 0, 'the old file has taken some');
  });
});
