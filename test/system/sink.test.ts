import assert from 'node:assert/strict';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Loss } from '../../src/system/output/gap.ts';
import { Sink, type SinkOptions } from '../../src/system/output/sink.ts';
import { openFileTarget, openTarget } from '../../src/system/output/sink-target.ts';

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'sink-'));
after(() => fs.rmSync(dir, { recursive: true }));
const sources = path.join(process.cwd(), 'build/src');
let names = 0;
const freshName = (): string => path.join(dir, String(names++));

/** A pipe with both ends in this process. */
function openPipe(): { readFd: number; writeFd: number; path: string } {
  const name = freshName();
  assert.equal(spawnSync('mkfifo', [name]).status, 0);
  const readFd = fs.openSync(name, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
  return { readFd, writeFd: fs.openSync(name, fs.constants.O_WRONLY), path: name };
}

/** What is in the pipe now. */
function readNow(fd: number): string {
  const buffer = Buffer.alloc(1 << 20);
  let text = '';
  for (;;) {
    try {
      const bytes = fs.readSync(fd, buffer);
      if (bytes === 0) return text;
      text += buffer.toString('utf8', 0, bytes);
    } catch {
      return text; // EAGAIN
    }
  }
}

async function until<T>(look: () => T | null | undefined | false): Promise<T> {
  for (;;) {
    const found = look();
    if (found !== null && found !== undefined && found !== false) return found;
    await sleep(5);
  }
}

/** The numbered lines are all there and in order, but for those that one line in their place calls lost. Answers how many. */
function assertOneGap(text: string, total: number, reason: RegExp): number {
  const lines = text.trimEnd().split('\n');
  const gapAt = lines.findIndex((line) => line.includes('lost here'));
  const [, lost, why] = /^… (\d+) lines lost here: (.*)$/.exec(lines[gapAt] ?? '') ?? [];
  assert.match(why ?? '', reason);
  const expected = Array.from({ length: total }, (_, n) => n);
  expected.splice(gapAt, Number(lost));
  assert.deepEqual(
    lines.filter((_, index) => index !== gapAt).map((line) => Number(/^line +(\d+)$/.exec(line)?.[1])),
    expected,
  );
  return Number(lost);
}

const numbered = (n: number): string => `line ${String(n).padStart(94)}\n`;

function sinkWithLosses(options: Omit<SinkOptions, 'name' | 'onLoss'>): {
  sink: Sink;
  losses: Loss[];
  lostLines: () => number;
} {
  const losses: Loss[] = [];
  const sink = new Sink({
    retryEveryMs: 20,
    reportAfterMs: 20,
    ...options,
    name: 'test',
    onLoss: (loss) => losses.push(loss),
  });
  return { sink, losses, lostLines: () => losses.reduce((sum, loss) => sum + loss.lines, 0) };
}

const closed = (sink: Sink): Promise<void> => new Promise((resolve) => sink.close(resolve));
const ended = (child: ChildProcess): Promise<number | null> => new Promise((resolve) => child.on('close', resolve));

function collect(stream: NodeJS.ReadableStream | null): { text: string } {
  const collected = { text: '' };
  stream?.on('data', (chunk) => (collected.text += String(chunk)));
  return collected;
}

const fixture = (name: string): string[] => [`test/fixtures/${name}`, sources];

describe('sink: files', () => {
  test('everything arrives once and in order, small lines and big blocks alike', async () => {
    const name = freshName();
    fs.writeFileSync(name, 'before\n');
    const { sink, losses } = sinkWithLosses({ target: openFileTarget(name) });
    let expected = 'before\n';
    for (let n = 0; n < 5000; n++) {
      const text = n % 100 === 0 ? `${'é'.repeat(20_000)} ${n}\n` : `line ${n}\n`;
      expected += text;
      sink.write(text);
    }
    await closed(sink);
    assert.equal(fs.readFileSync(name, 'utf8') === expected, true);
    assert.deepEqual(losses, []);
  });

  test('above the high-water mark the writer is asked to pause, and told when it may go on', async () => {
    const name = freshName();
    const { sink } = sinkWithLosses({ target: openFileTarget(name), highWaterBytes: 1000 });
    let drained = 0;
    sink.onDrain(() => drained++);
    let lines = 0;
    while (sink.write('x'.repeat(99) + '\n')) lines++;
    lines++;
    assert.equal(lines, 10);
    await until(() => drained === 1);
    await closed(sink);
    assert.equal(fs.statSync(name).size, 1000);
  });

  test('where a target gathers, the first line goes at once, small ones after it wait, and many do not', async () => {
    const name = freshName();
    const file = openFileTarget(name);
    let writes = 0;
    const write: typeof file.write = (bytes, written) => {
      writes++;
      file.write(bytes, written);
    };
    const { sink } = sinkWithLosses({ target: { ...file, gatherMs: 600_000, write } });
    const line = `${'x'.repeat(99)}\n`;
    sink.write(line);
    await until(() => fs.statSync(name).size === 100);
    for (let n = 0; n < 100; n++) {
      sink.write(line);
      await sleep(0);
    }
    assert.deepEqual([writes, fs.statSync(name).size], [1, 100]);
    sink.write(line.repeat(4000));
    await until(() => fs.statSync(name).size === 410_100);
    assert.ok(writes <= 3, `${writes} writes`); // one for each chunk of the queue
    sink.write(line);
    await closed(sink);
    assert.equal(fs.statSync(name).size, 410_200);
  });

  test('a log file that was moved away is opened again by its name', async () => {
    const name = freshName();
    const { sink } = sinkWithLosses({ target: openFileTarget(name) });
    sink.write('old\n');
    await until(() => fs.statSync(name).size > 0);
    fs.renameSync(name, `${name}.1`);
    sink.write('still old\n');
    await until(() => fs.statSync(`${name}.1`).size > 4);
    sink.reopenFile(name);
    sink.write('new\n');
    await closed(sink);
    assert.equal(fs.readFileSync(`${name}.1`, 'utf8'), 'old\nstill old\n');
    assert.equal(fs.readFileSync(name, 'utf8'), 'new\n');
  });

  test('a file that cannot be opened again leaves the old one in use', async () => {
    const name = freshName();
    const { sink } = sinkWithLosses({ target: openFileTarget(name) });
    assert.throws(() => sink.reopenFile(path.join(dir, 'missing', 'file')), /ENOENT/);
    sink.write('kept\n');
    await closed(sink);
    assert.equal(fs.readFileSync(name, 'utf8'), 'kept\n');
  });

  test('a full device loses lines with a count, and stops nobody', async () => {
    const { sink, losses, lostLines } = sinkWithLosses({
      target: openTarget(fs.openSync('/dev/full', 'w')),
      highWaterBytes: 100,
    });
    for (let n = 0; n < 50; n++) {
      sink.write('0123456789\n');
      await sleep(1);
    }
    assert.equal(sink.write('0123456789\n'), true);
    await closed(sink);
    assert.equal(lostLines(), 51);
    assert.match(losses[0]?.reason ?? '', /ENOSPC/);
    assert.equal(
      losses.reduce((sum, loss) => sum + loss.bytes, 0),
      51 * 11,
    );
  });

  test('when a full disk has space again, the gap is named at its place and lines go on', async (t) => {
    const mount = fs.mkdtempSync(path.join(dir, 'mount-'));
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', mount], { encoding: 'utf8' });
    if (mounted.status !== 0) return t.skip(`a small tmpfs cannot be mounted here: ${mounted.stderr.trim()}`);
    t.after(() => spawnSync('umount', [mount]));
    const { sink, lostLines } = sinkWithLosses({
      target: openFileTarget(path.join(mount, 'log')),
      highWaterBytes: 4000,
    });
    fs.writeFileSync(path.join(mount, 'ballast'), Buffer.alloc(40_000));
    let next = 0;
    while (lostLines() < 100) {
      sink.write(numbered(next++));
      await sleep(1);
    }
    fs.rmSync(path.join(mount, 'ballast'));
    const log = (): string => fs.readFileSync(path.join(mount, 'log'), 'utf8');
    await until(() => log().includes('lost here'));
    sink.write(numbered(next++));
    await closed(sink);
    assert.equal(assertOneGap(log(), next, /^no space is left on the device \(ENOSPC\)$/), lostLines());
  });
});

describe('sink: pipes, sockets, terminals', () => {
  test('a pipe that is read slowly gets every line, in order', async () => {
    const pipe = openPipe();
    const { sink } = sinkWithLosses({ target: openTarget(pipe.writeFd), highWaterBytes: 20_000 });
    assert.equal(sink.kind, 'pipe');
    let drained = true;
    sink.onDrain(() => (drained = true));
    let text = '';
    let expected = '';
    for (let n = 0; n < 20_000;) {
      while (drained && n < 20_000) {
        const line = `${n++} ${'y'.repeat(n % 300)}\n`;
        expected += line;
        drained = sink.write(line);
      }
      text += readNow(pipe.readFd);
      await sleep(0);
    }
    const done = closed(sink);
    await until(() => ((text += readNow(pipe.readFd)), text.length >= expected.length));
    await done;
    assert.equal(text === expected, true);
  });

  test('the flags of the inherited descriptor stay as they are', async () => {
    const pipe = openPipe();
    const flags = (): string | undefined =>
      /flags:\s*(\d+)/.exec(fs.readFileSync(`/proc/self/fdinfo/${pipe.writeFd}`, 'utf8'))?.[1];
    const before = flags();
    const { sink } = sinkWithLosses({ target: openTarget(pipe.writeFd) });
    sink.write('line\n');
    await until(() => readNow(pipe.readFd) !== '');
    assert.equal(flags(), before);
    await closed(sink);
    assert.equal(flags(), before);
  });

  test('a pipe that takes nothing loses lines instead of stopping the writer, and names the gap when it is read again', async () => {
    const pipe = openPipe();
    const { sink, losses, lostLines } = sinkWithLosses({
      target: openTarget(pipe.writeFd),
      highWaterBytes: 10_000,
      stuckAfterMs: 50,
    });
    let goOn = true;
    sink.onDrain(() => (goOn = true));
    let next = 0;
    while (lostLines() < 1000) {
      while (goOn && next % 100 < 99) goOn = sink.write(numbered(next++));
      if (goOn) goOn = sink.write(numbered(next++));
      await sleep(1);
    }
    let text = '';
    const page = Buffer.alloc(4096);
    while (!text.includes('lost here')) {
      text += page.toString('utf8', 0, fs.readSync(pipe.readFd, page)); // what is written meanwhile is lost too, or in order
      sink.write(numbered(next++));
      await sleep(1);
    }
    const done = closed(sink);
    await until(() => ((text += readNow(pipe.readFd)), text.endsWith(numbered(next - 1))));
    await done;
    assert.equal(assertOneGap(text, next, /^it took nothing for 0.05 s$/), lostLines());
    assert.equal(losses[0]?.sink, 'test');
  });

  test('a pipe that takes a little again and again is slow, not stuck', async () => {
    const pipe = openPipe();
    const { sink, losses } = sinkWithLosses({
      target: openTarget(pipe.writeFd),
      highWaterBytes: 20_000,
      stuckAfterMs: 300,
    });
    const page = Buffer.alloc(4096);
    let goOn = true;
    sink.onDrain(() => (goOn = true));
    let next = 0;
    for (let n = 0; n < 15; n++) {
      while (goOn && next < 5000) goOn = sink.write(numbered(next++));
      await sleep(n > 2 ? 100 : 10);
      if (n > 2) fs.readSync(pipe.readFd, page); // 4 KiB every 100 ms, with the queue full all the time
    }
    assert.ok(next < 1500, 'the queue was full all the time');
    assert.deepEqual(losses, []);
    const done = closed(sink);
    readNow(pipe.readFd);
    await done;
  });

  test('a pipe whose reader is gone drops everything from then on', async () => {
    const pipe = openPipe();
    const { sink, losses, lostLines } = sinkWithLosses({ target: openTarget(pipe.writeFd) });
    sink.write('read\n');
    assert.equal(await until(() => readNow(pipe.readFd)), 'read\n');
    fs.closeSync(pipe.readFd);
    sink.write('one\ntwo\n');
    await until(() => lostLines() === 2);
    for (let n = 0; n < 10; n++) assert.equal(sink.write('more\n'), true);
    await closed(sink);
    assert.equal(lostLines(), 12);
    assert.match(losses[0]?.reason ?? '', /reader is gone \(EPIPE\)/);
  });

  test('close gives up on a pipe that takes nothing, and counts what is lost', async () => {
    const pipe = openPipe();
    const { sink, losses, lostLines } = sinkWithLosses({ target: openTarget(pipe.writeFd), closeAfterMs: 50 });
    sink.write(`${'c'.repeat(99)}\n`.repeat(1500));
    for (let n = 0; n < 500; n++) sink.write(`${'c'.repeat(99)}\n`);
    await closed(sink);
    const arrived = readNow(pipe.readFd).split('\n').length - 1;
    assert.equal(arrived + lostLines(), 2000);
    assert.match(losses[0]?.reason ?? '', /ended/);
    await closed(sink); // a second close is answered too
  });

  test('a process whose stdout pipe nobody reads keeps ticking and ends with its own code', async () => {
    const pipe = openPipe();
    const child = spawn(process.execPath, fixture('sink-unread.mjs'), { stdio: ['ignore', pipe.writeFd, 'pipe'] });
    const report = collect(child.stderr);
    assert.equal(await ended(child), 7);
    const { kind, ticks } = JSON.parse(report.text) as { kind: string; ticks: number };
    assert.equal(kind, 'pipe');
    assert.ok(ticks > 5, `the event loop stood still: ${ticks} ticks`);
  });

  test('a process whose stdout socket nobody reads keeps ticking and ends with its own code', async () => {
    const child = spawn(process.execPath, fixture('sink-unread.mjs'), { stdio: ['ignore', 'pipe', 'pipe'] });
    const report = collect(child.stderr);
    const code = await new Promise((resolve) => child.on('exit', resolve));
    assert.equal(code, 7);
    await until(() => report.text.endsWith('}'));
    const { kind, ticks } = JSON.parse(report.text) as { kind: string; ticks: number };
    assert.equal(kind, 'socket');
    assert.ok(ticks > 5, `the event loop stood still: ${ticks} ticks`);
    child.stdout?.destroy();
  });

  test('a process on a stopped terminal keeps ticking and ends with its own code', async (t) => {
    if (spawnSync('python3', ['--version']).status !== 0)
      return t.skip('python3 is not installed: no terminal can be made');
    const child = spawn(
      'python3',
      ['test/fixtures/stopped-terminal.py', process.execPath, ...fixture('sink-unread.mjs')],
      { stdio: ['ignore', 'inherit', 'pipe'] },
    );
    const report = collect(child.stderr);
    assert.equal(await ended(child), 7);
    const { kind, ticks } = JSON.parse(report.text) as { kind: string; ticks: number };
    assert.equal(kind, 'tty');
    assert.ok(ticks > 5, `the event loop stood still: ${ticks} ticks`);
  });

  test('after a broken pipe or socket no file that is opened becomes descriptor 1', async () => {
    const pipe = openPipe();
    for (const stdout of ['pipe' as const, pipe.writeFd]) {
      const child = spawn(process.execPath, fixture('sink-reader-gone.mjs'), { stdio: ['ignore', stdout, 'pipe'] });
      const report = collect(child.stderr);
      if (child.stdout === null) {
        await until(() => readNow(pipe.readFd) !== '');
        fs.closeSync(pipe.readFd);
      } else child.stdout.once('data', () => child.stdout?.destroy());
      assert.equal(await ended(child), 0);
      const seen = JSON.parse(report.text) as { kind: string; opened: number; lost: number; written: number };
      assert.equal(seen.kind, child.stdout === null ? 'pipe' : 'socket');
      assert.ok(seen.opened > 2);
      assert.ok(seen.lost >= 5 && seen.lost <= seen.written);
    }
  });

  test('stdout and stderr on one pipe never cut each other', async () => {
    const child = spawn('sh', ['-c', '"$@" 2>&1 | cat', 'sh', process.execPath, ...fixture('sink-two-names.mjs')], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const output = collect(child.stdout);
    assert.equal(await ended(child), 0);
    const lines = output.text.trimEnd().split('\n');
    assert.equal(lines.length, 600);
    for (const [index, line] of lines.entries()) {
      const name = index % 2 === 0 ? 'out' : 'err';
      assert.equal(line === `${name} ${index >> 1} ${name.charAt(0).repeat(6000)}`, true, line.slice(0, 20));
    }
  });
});
