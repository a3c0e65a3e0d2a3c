import assert from 'node:assert/strict';
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, test } from 'node:test';
import {
  childrenByScan,
  childrenOf,
  groupMembers,
  hasProcfs,
  pageSizeBytes,
  parseStat,
  readOrThrow,
  readText,
  socketInode,
  statOf,
  tickMs,
  treeOf,
  uptimeMs,
} from '../../src/system/procfs.ts';

const running: ChildProcess[] = [];

after(() => {
  for (const child of running) for (const pid of treeOf(child.pid ?? 0).toReversed()) process.kill(pid, 'SIGKILL');
});

/** Starts a program as the leader of a session, and answers with it and its first line. */
async function start(argv: readonly string[], env: NodeJS.ProcessEnv = process.env): Promise<[number, string]> {
  const child = spawn(argv[0] ?? '', argv.slice(1), { stdio: ['ignore', 'pipe', 'inherit'], detached: true, env });
  running.push(child);
  const line = await new Promise<string>((done) =>
    child.stdout.once('data', (text: Buffer) => done(text.toString().trim())),
  );
  return [child.pid ?? 0, line];
}

test('a name with blanks and parentheses does not shift the fields', async () => {
  const name = 'a) R 1 (b c';
  const [pid] = await start([
    'perl',
    '-e',
    `open F, ">/proc/self/comm"; print F "${name}"; close F; $| = 1; print "named\\n"; sleep 60`,
  ]);
  const stat = statOf(pid) ?? assert.fail('gone');
  assert.equal(stat.comm, name);
  assert.deepEqual([stat.pid, stat.ppid, stat.pgid, stat.session, stat.threads], [pid, process.pid, pid, pid, 1]);
  assert.ok(stat.rssPages > 0 && stat.startTimeTicks > 0);
  assert.equal(parseStat('garbage'), null);
  assert.equal(parseStat('1 (short) S 0'), null);
});

test('times: the clock tick, the page size and the start time are what the system says', async () => {
  assert.equal(pageSizeBytes(), Number(execFileSync('getconf', ['PAGESIZE'])));
  assert.equal(1000 / tickMs, Number(execFileSync('getconf', ['CLK_TCK'])));
  const before = uptimeMs() ?? assert.fail('no uptime');
  const [pid] = await start(['sh', '-c', 'echo started; exec sleep 60']);
  const startedMs = (statOf(pid)?.startTimeTicks ?? 0) * tickMs;
  assert.ok(startedMs >= before - tickMs && startedMs <= (uptimeMs() ?? 0));
});

test('a tree is found breadth first, with the children of all threads', async () => {
  const script =
    'import subprocess, threading\n' +
    "t = threading.Thread(target=lambda: subprocess.Popen(['sh', '-c', 'sleep 60; true']))\n" +
    "subprocess.Popen(['sleep', '60']); t.start(); t.join(); threading.Thread(target=lambda: __import__('time').sleep(60)).start(); print('started', flush=True)";
  const [pid] = await start(['/usr/bin/python3', '-c', script]);
  const names = (): (string | undefined)[] => treeOf(pid).map((each) => statOf(each)?.comm);
  while (names().filter((name) => name === 'sleep').length < 2) await sleep(5);
  const tree = treeOf(pid);
  assert.deepEqual(names(), ['python3', 'sleep', 'sh', 'sleep']);
  assert.deepEqual(tree.slice(1, 3), childrenOf(pid));
  assert.deepEqual(tree.slice(3), childrenOf(tree[2] ?? 0));
  // The way of kernels without the children files comes to the same.
  assert.deepEqual(new Set(childrenByScan().get(pid)), new Set(childrenOf(pid)));
});

test('groups and sessions are found, without zombies', async () => {
  // setsid leaves the group, and is found by nobody; a new group in the same session is found by the session.
  const script =
    '$| = 1; if (fork == 0) { exit 0 } if (fork == 0) { setpgrp; sleep 60; exit } if (fork == 0) { exec "setsid", "sleep", "60" } if (fork == 0) { sleep 60; exit } print "forked\\n"; sleep 60';
  const [pid] = await start(['perl', '-e', script]);
  const ofState = (state: string): number[] => treeOf(pid).filter((each) => statOf(each)?.state === state);
  while (ofState('Z').length < 1 || !treeOf(pid).some((each) => statOf(each)?.session === each && each !== pid))
    await sleep(5);
  const left = treeOf(pid).filter((each) => each !== pid && statOf(each)?.session === each);
  const expected = treeOf(pid).filter((each) => !left.includes(each) && !ofState('Z').includes(each));
  assert.equal(expected.length, 3);
  assert.deepEqual(new Set(groupMembers(pid)), new Set(expected));
});

test('a process that is gone, and one that never was, are null and empty', async () => {
  const child = spawn('true');
  const pid = child.pid ?? 0;
  await new Promise((done) => child.once('exit', done));
  assert.deepEqual(
    [statOf(pid), childrenOf(pid), treeOf(pid), groupMembers(pid), socketInode(0, pid)],
    [null, [], [], [], null],
  );
  assert.equal(statOf(2 ** 30), null);
  assert.ok(hasProcfs());
});

test('the inode of a socket, and null for everything else', async () => {
  const server = net.createServer().listen(0, '127.0.0.1');
  await new Promise((done) => server.once('listening', done));
  const { fd } = (server as unknown as { _handle: { fd: number } })._handle;
  const [pid, line] = await start(['sh', '-c', 'echo $$; exec sleep 60']);
  assert.equal(Number(line), pid);
  const file = openSync('/dev/null', 'r');
  assert.match(socketInode(fd) ?? '', /^socket:\[\d+\]$/);
  assert.equal(socketInode(fd, process.pid), socketInode(fd));
  assert.equal(socketInode(file), null);
  assert.equal(socketInode(file, pid), null);
  assert.equal(socketInode(999), null);
  closeSync(file);
  server.close();
});

test('a long file is read to its end, or until there is enough', async () => {
  const long = 'x'.repeat(100_000);
  const [pid] = await start(['sh', '-c', 'echo started; sleep 60; true'], {
    PATH: process.env['PATH'],
    A: 'short',
    LONG: long,
    Z: 'end',
  });
  const words = readText(`/proc/${pid}/environ`)?.split('\0') ?? [];
  assert.ok(words.includes(`LONG=${long}`) && words.includes('Z=end'));
  const some = readOrThrow(`/proc/${pid}/environ`, (text) => text.length > 20_000);
  assert.ok(some.length > 20_000 && some.length < 100_000);
  assert.throws(() => readOrThrow(`/proc/${pid}/nothing`), { code: 'ENOENT' });
});
