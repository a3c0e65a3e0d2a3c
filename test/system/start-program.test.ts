/** A program that is started directly is as one that node:child_process has started, and may open /dev/stdout. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { loadNative } from '../../src/system/native.ts';
import { DirectChild } from '../../src/system/processes/direct-child.ts';
import { startProgram, type Child, type Program } from '../../src/system/processes/start-program.ts';
import { until } from '../helpers/spawning.ts';

const directory = mkdtempSync(join(tmpdir(), 'supervise-start-'));
after(() => rmSync(directory, { recursive: true }));
const calls = process.platform === 'linux' ? (loadNative()?.processes ?? null) : null;
const linuxOnly = { skip: process.platform !== 'linux' && 'needs Linux' };

interface Ended {
  readonly child: Child;
  readonly stdout: string;
  readonly stderr: string;
  readonly code: number | null;
  readonly signal: string | null;
}

const program = (argv: readonly string[], more: Partial<Program> = {}): Program => ({
  argv,
  cwd: directory,
  env: { PATH: '/usr/bin:/bin' },
  stdio: ['ignore', 'pipe', 'pipe'],
  ids: {},
  ...more,
});

async function run(wanted: Program): Promise<Ended> {
  return ended(startProgram(wanted, calls));
}

async function ended(child: Child): Promise<Ended> {
  const text = { stdout: '', stderr: '' };
  const closed = (['stdout', 'stderr'] as const).map(async (name) => {
    const pipe = child[name];
    if (pipe === null) return;
    pipe.setEncoding('utf8').on('data', (part: string) => (text[name] += part));
    await new Promise((done) => pipe.once('close', done));
  });
  const end = await new Promise<Pick<Ended, 'code' | 'signal'>>((done, failed) => {
    child.once('exit', (code: number | null, signal: string | null) => done({ code, signal }));
    child.once('error', failed);
  });
  await Promise.all(closed);
  return { child, ...text, ...end };
}

const sh = (script: string, more: Partial<Program> = {}): Program => program(['/bin/sh', '-c', script], more);

describe('started directly', linuxOnly, () => {
  test('its words, its environment, its directory, its output', async () => {
    const { child, ...told } = await run(
      program(['/bin/sh', '-c', 'echo "$0|$1|$A|$PWD"; echo oops >&2; exit 3', 'a b', '*'], { env: { A: 'x=y z' } }),
    );
    assert.ok(child instanceof DirectChild);
    assert.deepEqual(told, { stdout: `a b|*|x=y z|${directory}\n`, stderr: 'oops\n', code: 3, signal: null });
  });

  test('its output is a pipe that it may open; stdin is empty', async () => {
    const { stdout, stderr } = await run(
      sh('echo one >/dev/stdout; echo two >/dev/stderr; cat; readlink /proc/self/fd/0'),
    );
    assert.deepEqual([stdout, stderr], ['one\n/dev/null\n', 'two\n']);
  });

  test('the output of node:child_process cannot be opened', async () => {
    const { child, stderr, code } = await ended(startProgram(sh('echo one >/dev/stdout'), null));
    assert.ok(!(child instanceof DirectChild));
    assert.match(stderr, /No such device/);
    assert.notEqual(code, 0);
  });

  test('it leads a session, and handles signals in the usual way', async () => {
    // Node ignores SIGPIPE; whoever inherits that writes into broken pipes for ever.
    const { child, stdout } = await run(sh('grep -E "^Sig(Ign|Blk)" /proc/self/status; cut -d" " -f5,6 /proc/$$/stat'));
    const [blocked, ignored, ids] = stdout
      .replace(/Sig\w+:\t/g, '')
      .trim()
      .split('\n');
    assert.equal(BigInt(`0x${blocked}`), 0n);
    // 32 and 33 belong to libc itself.
    assert.equal(BigInt(`0x${ignored}`) & 0x7fffffffn, 0n);
    assert.equal(ids, `${child.pid} ${child.pid}`);
  });

  test('nothing else is open in it that is not in a child of node:child_process', async () => {
    const list = program(['/bin/ls', '/proc/self/fd']);
    const [direct, usual] = [await run(list), await ended(startProgram(list, null))];
    assert.deepEqual([direct.child instanceof DirectChild, usual.child instanceof DirectChild], [true, false]);
    assert.equal(direct.stdout, usual.stdout);
  });

  test('descriptors that stand in each other’s way', async () => {
    const files = ['a', 'b', 'c'].map((name) => {
      writeFileSync(join(directory, name), name);
      return openSync(join(directory, name), 'r');
    });
    const taken = openSync('/dev/null', 'r');
    // As low as they come, and in an order that is not that of the targets.
    const low = [...files, taken].sort((x, y) => y - x);
    const { stdout } = await run(
      sh('for fd in 3 4 5 6; do readlink /proc/$$/fd/$fd; done', { stdio: ['ignore', 'pipe', 'pipe', ...low] }),
    );
    const expected = [...low].map((fd) =>
      fd === taken ? '/dev/null' : join(directory, ['a', 'b', 'c'][files.indexOf(fd)]!),
    );
    for (const fd of low) closeSync(fd);
    assert.deepEqual(stdout.trim().split('\n'), expected);
  });

  test('ended by a signal', async () => {
    const { code, signal } = await run(sh('kill -9 $$'));
    assert.deepEqual([code, signal], [null, 'SIGKILL']);
  });

  test('all of many that end at once are told, beside those of node:child_process', async () => {
    const others = Array.from({ length: 20 }, () =>
      spawn('/bin/sh', ['-c', 'read x; exit 7'], { stdio: ['pipe', 'ignore', 'ignore'] }),
    );
    const direct = Array.from({ length: 60 }, () => startProgram(program(['/bin/sleep', '1000']), calls));
    const ends = direct.map(async (child) => (await ended(child)).signal);
    const codes = others.map((child) => new Promise((done) => child.once('exit', done)));
    for (const child of direct) process.kill(child.pid!, 'SIGKILL');
    for (const child of others) child.stdin.end('\n');
    assert.deepEqual(new Set(await Promise.all(ends)), new Set(['SIGKILL']));
    assert.deepEqual(new Set(await Promise.all(codes)), new Set([7]));
  });

  test('no descriptor is left in the master', async () => {
    const count = (): number => readdirSync('/proc/self/fd').length;
    await run(sh('true'));
    await until(() => process.listenerCount('SIGCHLD') === 0, 'nobody is waited for');
    const before = count();
    for (let n = 0; n < 5; n++) await run(sh('true'));
    await assert.rejects(run(program(['/nowhere/to/be/found'])), /ENOENT/);
    await until(() => count() === before, 'as many descriptors as before');
  });

  test('a script without a first line that names its interpreter is run by a shell', async () => {
    writeFileSync(join(directory, 'plain'), 'echo plain $1\n', { mode: 0o755 });
    const { stdout } = await run(program([join(directory, 'plain'), 'words']));
    assert.equal(stdout, 'plain words\n');
  });

  test('a directory that is a symlink', async () => {
    symlinkSync(directory, join(directory, 'link'));
    const { stdout } = await run(sh('pwd -P', { cwd: join(directory, 'link') }));
    assert.equal(stdout, `${directory}\n`);
  });

  for (const [what, wanted, code] of [
    ['a program that is not there', program(['/nowhere/to/be/found']), 'ENOENT'],
    ['a program that is not executable', program([join(directory, 'data')]), 'EACCES'],
    ['a directory that is not there', sh('true', { cwd: '/nowhere' }), 'ENOENT'],
  ] as const) {
    test(`${what}: the error is that of node:child_process`, async () => {
      writeFileSync(join(directory, 'data'), '', { mode: 0o644 });
      await assert.rejects(run(wanted), { code });
    });
  }
});
