import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { PassThrough } from 'node:stream';
import { after, describe, test } from 'node:test';
import fc from 'fast-check';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LogLine } from '../../src/core/protocol.ts';
import type { LogFormat } from '../../src/core/spec.ts';
import { jsonLines, prefixedLines } from '../../src/system/output/line-format.ts';
import { Output } from '../../src/system/output/output.ts';
import { RecentLines } from '../../src/system/output/recent-lines.ts';
import { Sink } from '../../src/system/output/sink.ts';
import { openFileTarget, openTarget, type Target } from '../../src/system/output/sink-target.ts';

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'output-'));
after(() => fs.rmSync(dir, { recursive: true }));
let names = 0;
const freshName = (): string => path.join(dir, String(names++));
const noon = Date.parse('2026-01-01T12:00:00.000Z');

interface Stand {
  readonly output: Output;
  /** Attaches a stream and answers it, to write into. */
  source(
    source: string,
    more?: { stream?: 'stdout' | 'stderr'; format?: LogFormat; app?: string; onLine?: (line: string) => void },
  ): PassThrough;
  /** Closes the output and answers what stands in the file. */
  text(): Promise<string>;
}

function stand(options: { colors?: boolean; terminal?: boolean } = {}): Stand {
  const name = freshName();
  const file = openFileTarget(name);
  const target: Target = options.terminal === true ? { ...file, kind: 'tty' } : file;
  let nowMs = noon;
  const output = new Output({ sink: new Sink({ name, target }), colors: options.colors ?? false, now: () => nowMs++ });
  return {
    output,
    source(source, { stream = 'stdout', format = 'auto', app = source.split('.')[0] ?? '', onLine } = {}) {
      const pass = new PassThrough();
      output.attach(pass, { app, source, stream, format }, onLine);
      return pass;
    },
    async text() {
      await new Promise<void>((resolve) => output.close(resolve));
      return fs.readFileSync(name, 'utf8');
    },
  };
}

const settled = (): Promise<void> => sleep(1);

describe('output: formats', () => {
  test('json: one object a line with time, app, worker, stream, msg', async () => {
    const { source, text } = stand();
    source('web.1').write('plain\nwith "quotes" and \\ and \t\nh\u00e9\u20ac\n');
    await settled();
    source('web.2', { stream: 'stderr' }).end('last without newline');
    await settled();
    const lines = (await text())
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as object);
    const common = { time: '2026-01-01T12:00:00.000Z', app: 'web', worker: 'web.1', stream: 'stdout' };
    assert.deepEqual(lines, [
      { ...common, msg: 'plain' },
      { ...common, msg: 'with "quotes" and \\ and \t' },
      { ...common, msg: 'h\u00e9\u20ac' },
      { ...common, time: '2026-01-01T12:00:00.001Z', worker: 'web.2', stream: 'stderr', msg: 'last without newline' },
    ]);
  });

  test('json: plain lines and lines with what JSON escapes come out alike', async () => {
    const { source, text } = stand();
    const lines = [
      '',
      ' ',
      'a,b',
      '\u007f\u2028',
      '"',
      '\\',
      '\u0000',
      '\u001b[1mbold',
      '{"a":[1,"\\n"]}',
      '\u{1f600}',
    ];
    for (const line of lines) {
      source('web.1').write(`${line}\n`);
      await settled();
    }
    source('web.1').write(`${lines.slice(0, 4).join('\n')}\n`);
    await settled();
    const messages = (await text())
      .trimEnd()
      .split('\n')
      .map((line) => (JSON.parse(line) as { msg: string }).msg);
    assert.deepEqual(messages, [...lines, ...lines.slice(0, 4)]);
  });

  test('json: a hook is named as hook, an app called hook is not', async () => {
    const { source, text } = stand();
    source('hook.migrate', { app: '' }).end('up\n');
    await settled();
    source('hook.3', { app: 'hook' }).end('served\n');
    await settled();
    assert.deepEqual(
      (await text())
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as object),
      [
        { time: '2026-01-01T12:00:00.000Z', hook: 'migrate', stream: 'stdout', msg: 'up' },
        { time: '2026-01-01T12:00:00.001Z', app: 'hook', worker: 'hook.3', stream: 'stdout', msg: 'served' },
      ],
    );
  });

  test('json: a line above 1 MiB comes in marked pieces that make up the line', async () => {
    const { source, text } = stand();
    const line = '\u20ac'.repeat(900_000);
    source('web.1').end(`${line}\nnext\n`);
    await settled();
    const parts = (await text())
      .trimEnd()
      .split('\n')
      .map((each) => JSON.parse(each) as { msg: string; partial?: boolean });
    assert.deepEqual(
      parts.map((part) => part.partial),
      [true, true, undefined, undefined],
    );
    assert.equal(
      parts
        .slice(0, 3)
        .map((part) => part.msg)
        .join('') === line,
      true,
    );
    assert.equal(parts[3]?.msg, 'next');
  });

  test('prefix: names padded to the widest, stderr marked', async () => {
    const { source, text } = stand({ terminal: true });
    const short = source('web.1');
    const long = source('worker.10', { stream: 'stderr' });
    short.write('one\ntwo\n');
    await settled();
    long.write('three\n');
    await settled();
    assert.equal(await text(), 'web.1     | one\nweb.1     | two\nworker.10 ! three\n');
  });

  test('prefix: colours only when asked for, and workers differ in them', async () => {
    const { source, text } = stand({ terminal: true, colors: true });
    source('web.1').write('same\n');
    await settled();
    source('web.2').write('same\n');
    await settled();
    const [first = '', second = ''] = (await text()).split('\n');
    assert.match(first, /^\u001b\[\d+mweb\.1\u001b\[39m \u001b\[\d+m\|\u001b\[39m same$/);
    assert.notEqual(first.replace('web.1', 'web.2'), second);
  });

  test('raw: bytes as they are, and still whole lines', async () => {
    const name = freshName();
    const output = new Output({ sink: new Sink({ name, target: openFileTarget(name) }), colors: false });
    const pass = new PassThrough();
    output.attach(pass, { app: 'web', source: 'web.1', stream: 'stdout', format: 'raw' });
    pass.write(Buffer.from([0xff, 0x0d, 0x0a, 0x61]));
    await settled();
    pass.end(Buffer.from([0x62]));
    await settled();
    await new Promise<void>((resolve) => output.close(resolve));
    assert.deepEqual([...fs.readFileSync(name)], [0xff, 0x0d, 0x0a, 0x61, 0x62, 0x0a]);
  });

  test('auto is json where stdout is no terminal, and a format that was asked for stays', async () => {
    const { source, text } = stand();
    source('web.1', { format: 'auto' }).end('a\n');
    await settled();
    source('web.1', { format: 'prefix' }).end('b\n');
    await settled();
    assert.match(await text(), /^\{"time".*"msg":"a"\}\nweb\.1 \| b\n$/);
  });
});

describe('output: what is remembered', () => {
  test('tail has the last lines of stderr, of stdout where stderr has none', async () => {
    const { source, output } = stand();
    const stdout = source('web.1');
    stdout.write('out 1\nout 2\nout 3\n');
    await settled();
    assert.deepEqual(output.tail('web.1', 2), ['out 2', 'out 3']);
    source('web.1', { stream: 'stderr' }).write('err 1\n');
    await settled();
    assert.deepEqual(output.tail('web.1', 2), ['err 1']);
    assert.deepEqual(output.tail('web.9', 2), []);
    assert.deepEqual(output.tail('web.1', 0), []);
  });

  test('the next process of a worker begins anew for tail, not for recent', async () => {
    const { source, output } = stand();
    source('web.1', { stream: 'stderr' }).end('first process\n');
    await settled();
    source('web.1', { stream: 'stderr' });
    source('web.1').write('second process\n');
    await settled();
    assert.deepEqual(output.tail('web.1', 5), ['second process']);
    assert.deepEqual(
      output.recent({ source: 'web.1' }, 5).map((line) => line.line),
      ['first process', 'second process'],
    );
  });

  test('200 lines and 32 Ki characters of a stream are kept, and the beginning of a longer line', async () => {
    const { source, output } = stand();
    const many = source('web.1');
    many.write(Array.from({ length: 1000 }, (_, n) => `line ${n}\n`).join(''));
    many.write(Array.from({ length: 100 }, (_, n) => `more ${n}\n`).join(''));
    source('web.2').write(`${'a'.repeat(20_000)}\n${'b'.repeat(20_000)}\n`);
    source('web.3').write(`short\n${'c'.repeat(100_000)}\n`);
    await settled();
    const lines = output.recent({ source: 'web.1' }, 1000).map((line) => line.line);
    assert.deepEqual([lines.length, lines[0], lines[100], lines.at(-1)], [200, 'line 900', 'more 0', 'more 99']);
    assert.deepEqual(
      output.tail('web.2', 9).map((line) => line.charAt(0)),
      ['b'],
    );
    const [cut, ...rest] = output.tail('web.3', 9);
    assert.equal(rest.length, 0);
    assert.match(cut ?? '', /^c{30000,} … \(100000 characters\)$/);
  });

  test('after large blocks, each kept line is the one that was written', () => {
    const recent = new RecentLines();
    const add = recent.begin({ app: 'web', source: 'web.1', stream: 'stdout' });
    const written: string[] = [];
    const lines = (count: number): string =>
      Array.from({ length: count }, () => {
        written.push(String(written.length).padEnd(1_000, '.'));
        return `${written.at(-1)}\n`;
      }).join('');
    for (let round = 0; round < 30; round++) {
      // Of a line that does not fit nothing is kept, so the end of such a block is 20, 5 or 40 lines.
      const tooLong = `${'x'.repeat(30_000)}\n`;
      add(Buffer.from(round % 3 === 2 ? lines(40) : tooLong + lines(round % 3 === 0 ? 20 : 5)), noon);
      assert.deepEqual(recent.tail('web.1', 1_000), written.slice(-Math.min(32, written.length)));
    }
  });

  test('recent merges sources in the order of their lines, and can be narrowed', async () => {
    const { source, output } = stand();
    const [one, two, hook] = [
      source('web.1'),
      source('api.2', { stream: 'stderr' }),
      source('hook.migrate', { app: '' }),
    ];
    for (const [stream, line] of [
      [hook, 'up'],
      [one, 'a'],
      [two, 'b'],
      [one, 'c'],
    ] as const) {
      stream.write(`${line}\n`);
      await settled();
    }
    assert.deepEqual(output.recent({}, 3), [
      { at: '2026-01-01T12:00:00.001Z', app: 'web', source: 'web.1', stream: 'stdout', line: 'a' },
      { at: '2026-01-01T12:00:00.002Z', app: 'api', source: 'api.2', stream: 'stderr', line: 'b' },
      { at: '2026-01-01T12:00:00.003Z', app: 'web', source: 'web.1', stream: 'stdout', line: 'c' },
    ]);
    assert.deepEqual(
      output.recent({ app: 'web' }, 1).map((line) => line.line),
      ['c'],
    );
    assert.deepEqual(
      output.recent({ source: 'hook.migrate' }, 9).map((line) => line.line),
      ['up'],
    );
  });

  test('the last 32 retired sources stay readable, and the living always', async () => {
    const { source, output } = stand();
    source('web.0').write('alive\n');
    for (let n = 1; n <= 40; n++) {
      source(`web.${n}`).end(`line of ${n}\n`);
      await settled();
      output.forget(`web.${n}`);
    }
    const kept = output.recent({}, 100).map((line) => line.source);
    assert.deepEqual(kept, ['web.0', ...Array.from({ length: 32 }, (_, n) => `web.${n + 9}`)]);
  });

  test('followers see each line from then on; one that throws is left out', async () => {
    const { source, output, text } = stand();
    const seen: LogLine[] = [];
    const stream = source('web.1');
    stream.write('before\n');
    await settled();
    const cancel = output.subscribe((line) => seen.push(line));
    output.subscribe(() => {
      throw new Error('a broken follower');
    });
    stream.write('one\ntwo\n');
    await settled();
    cancel();
    stream.write('after\n');
    await settled();
    assert.deepEqual(
      seen.map((line) => line.line),
      ['one', 'two'],
    );
    assert.equal((await text()).split('\n').length, 5);
  });

  test('onLine sees each line whole, however it was written', async () => {
    const { source } = stand();
    const lines: string[] = [];
    const stream = source('web.1', { onLine: (line) => lines.push(line) });
    for (const chunk of ['Application ', 'startup complete.\r\nnext', ' line\n']) {
      stream.write(chunk);
      await settled();
    }
    assert.deepEqual(lines, ['Application startup complete.', 'next line']);
  });

  test('reopen goes on in a new log file after the old one was moved', async () => {
    const name = freshName();
    const output = new Output({ sink: new Sink({ name, target: openFileTarget(name) }), colors: false, logFile: name });
    const stream = new PassThrough();
    output.attach(stream, { app: 'web', source: 'web.1', stream: 'stdout', format: 'raw' });
    stream.write('old\n');
    while (fs.statSync(name).size === 0) await settled();
    fs.renameSync(name, `${name}.1`);
    output.reopen();
    stream.write('new\n');
    await settled();
    await new Promise<void>((resolve) => output.close(resolve));
    assert.deepEqual([fs.readFileSync(`${name}.1`, 'utf8'), fs.readFileSync(name, 'utf8')], ['old\n', 'new\n']);
  });
});

describe('output: files', () => {
  const file = (name: string) => ({ path: name, maxSizeBytes: 1e9, keep: 1, gzip: false });

  test('auto is raw in a file, prefix has the time and no colours, json is the same as elsewhere', async () => {
    const { output, text } = stand({ colors: true, terminal: true });
    const [raw, prefix, json] = [freshName(), freshName(), freshName()];
    for (const [name, format] of [
      [raw, 'auto'],
      [prefix, 'prefix'],
      [json, 'json'],
    ] as const) {
      const pass = new PassThrough();
      output.attach(pass, { app: 'web', source: 'web.1', stream: 'stderr', format, file: file(name) });
      pass.end('a "line"\r\nlast');
      await settled();
    }
    assert.equal(await text(), '');
    assert.equal(fs.readFileSync(raw, 'utf8'), 'a "line"\r\nlast\n');
    const stamp = '2026-01-01T12:00:00.00';
    assert.equal(
      fs.readFileSync(prefix, 'utf8').replaceAll(/\d(?=Z)/g, ''),
      `${stamp}Z web.1 ! a "line"\n${stamp}Z web.1 ! last\n`,
    );
    const objects = fs.readFileSync(json, 'utf8').trimEnd().split('\n');
    assert.deepEqual(
      objects.map((each) => (JSON.parse(each) as { msg: string }).msg),
      ['a "line"', 'last'],
    );
    assert.equal(output.tail('web.1', 9).length, 2);
  });

  test('any text comes out of prefix and json as it would line by line', async () => {
    const pieces = fc.constantFrom('a', '\n', '\n\n', '"', '\\', 'é', '😀', '\t', '\r\n', 'x'.repeat(70), ' ');
    const from = { app: 'web', source: 'web.1', stream: 'stdout' } as const;
    const json = jsonLines(from);
    const prefixed = prefixedLines(from, { width: () => 7, colors: false, stamped: false });
    fc.assert(
      fc.property(fc.array(pieces, { minLength: 1, maxLength: 60 }), fc.nat(7), (parts, offset) => {
        const whole = parts.join('');
        const bytes = Buffer.from('#'.repeat(offset) + whole).subarray(offset);
        const lines = (whole.endsWith('\n') ? whole.slice(0, -1) : whole)
          .split('\n')
          .map((each) => each.replace(/\r$/, ''));
        const head = { time: '2026-01-01T12:00:00.000Z', app: 'web', worker: 'web.1', stream: 'stdout' };
        assert.equal(
          json(bytes, 'line', noon).toString(),
          lines.map((msg) => `${JSON.stringify({ ...head, msg })}\n`).join(''),
        );
        assert.equal(prefixed(bytes, 'line', noon).toString(), lines.map((each) => `web.1   | ${each}\n`).join(''));
      }),
      { numRuns: 2_000 },
    );
  });

  test('a stdout that nobody reads stops those who write there, and not those who write into files', async () => {
    const name = freshName();
    assert.equal(spawnSync('mkfifo', [name]).status, 0);
    const readFd = fs.openSync(name, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
    const writeFd = fs.openSync(name, 'w');
    const sink = new Sink({ name, target: openTarget(writeFd), stuckAfterMs: 60_000, closeAfterMs: 50 });
    const output = new Output({ sink, colors: false });
    const [stopped, going, log] = [new PassThrough(), new PassThrough(), freshName()];
    let taken = 0;
    const count = (): void => void taken++;
    output.attach(stopped, { app: 'web', source: 'web.1', stream: 'stdout', format: 'raw' }, count);
    output.attach(going, { app: 'web', source: 'web.2', stream: 'stdout', format: 'raw', file: file(log) });
    const block = (letter: string): string => `${letter.repeat(99)}\n`.repeat(1000);
    while (!stopped.isPaused()) {
      stopped.write(block('s'));
      await settled();
    }
    for (let n = 0; n < 5; n++) stopped.write(block('s'));
    const takenBefore = taken;
    // at once, so that the file asks its writer to pause, too
    for (let n = 0; n < 50; n++) going.write(block('g'));
    while (fs.statSync(log).size < 5_000_000) await settled();
    assert.equal(taken, takenBefore);
    assert.ok(stopped.isPaused());
    await new Promise<void>((resolve) => output.close(resolve));
    for (const fd of [readFd, writeFd]) fs.closeSync(fd);
  });
});

describe('output: real processes', () => {
  test('four writers at full speed: every line arrives once, whole and in order', async () => {
    const name = freshName();
    assert.equal(spawnSync('mkfifo', [name]).status, 0);
    const reader = spawn('cat', [name], { stdio: ['ignore', 'pipe', 'inherit'] });
    const chunks: Buffer[] = [];
    reader.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
    const fd = await fs.promises.open(name, 'w');
    const output = new Output({
      sink: new Sink({ name, target: openTarget(fd.fd), highWaterBytes: 200_000 }),
      colors: false,
    });
    const count = 20_000;
    const writers = ['web.1', 'web.2', 'web.3', 'web.4'];
    await Promise.all(
      writers.map(async (source) => {
        const child = spawn(process.execPath, ['test/fixtures/lines-fast.mjs', source, String(count)], {
          stdio: ['ignore', 'pipe', 'inherit'],
        });
        output.attach(child.stdout, { app: 'web', source, stream: 'stdout', format: 'prefix' });
        await once(child, 'close');
      }),
    );
    await new Promise<void>((resolve) => output.close(resolve));
    const read = once(reader, 'close');
    await fd.close();
    await read;
    const next = new Map(writers.map((source) => [source, 0]));
    for (const line of Buffer.concat(chunks).toString().trimEnd().split('\n')) {
      const source = line.slice(0, 5);
      const n = next.get(source) ?? -1;
      assert.equal(line, `${source} | ${source} ${n} ${'x'.repeat((n * 7) % 311)} end`);
      next.set(source, n + 1);
    }
    assert.deepEqual(
      [...next.values()],
      writers.map(() => count),
    );
  });

  test('a stdout that nobody reads: the loop ticks, memory stays small, the writer waits; then all 50 MB arrive', async () => {
    const name = freshName();
    assert.equal(spawnSync('mkfifo', [name]).status, 0);
    const readFd = fs.openSync(name, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
    const writeFd = fs.openSync(name, 'w');
    const output = new Output({
      sink: new Sink({ name, target: openTarget(writeFd), stuckAfterMs: 60_000 }),
      colors: false,
    });
    const totalBytes = 50_000_000;
    const child = spawn('sh', ['-c', `yes ${'y'.repeat(99)} | head -c ${totalBytes}`], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let taken = 0;
    output.attach(
      child.stdout,
      { app: 'web', source: 'web.1', stream: 'stdout', format: 'raw' },
      (line) => (taken += line.length + 1),
    );
    let ticks = 0;
    const timer = setInterval(() => ticks++, 1);
    for (let before = -1; before !== taken || taken === 0;) {
      before = taken;
      await sleep(100);
    }
    assert.ok(ticks >= 10, `the event loop stood still: ${ticks} ticks`);
    assert.ok(taken < 4_000_000, `${taken} bytes were taken although nobody reads`);
    assert.equal(child.exitCode, null);
    const closed = once(child, 'close');
    const reader = spawn('wc', ['-c', '/dev/stdin'], { stdio: [readFd, 'pipe', 'inherit'] });
    const counted = reader.stdout?.toArray() ?? Promise.resolve([]);
    fs.closeSync(readFd);
    await closed;
    clearInterval(timer);
    await new Promise<void>((resolve) => output.close(resolve));
    fs.closeSync(writeFd);
    assert.equal(parseInt((await counted).join(''), 10), totalBytes);
    assert.equal(taken, totalBytes);
  });

  test('workers go on when the reader of stdout is gone', async () => {
    const name = freshName();
    assert.equal(spawnSync('mkfifo', [name]).status, 0);
    const readFd = fs.openSync(name, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
    let lost = 0;
    const writeFd = fs.openSync(name, 'w');
    const sink = new Sink({ name, target: openTarget(writeFd), onLoss: (loss) => (lost += loss.lines) });
    const output = new Output({ sink, colors: false });
    fs.closeSync(readFd);
    const child = spawn(process.execPath, ['test/fixtures/lines-fast.mjs', 'web.1', '20000'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    output.attach(child.stdout, { app: 'web', source: 'web.1', stream: 'stdout', format: 'json' });
    const [code] = (await once(child, 'close')) as [number];
    await new Promise<void>((resolve) => output.close(resolve));
    assert.equal(code, 0);
    assert.equal(lost, 20_000);
    assert.match(output.tail('web.1', 1)[0] ?? '', /^web\.1 19999 /);
  });
});
