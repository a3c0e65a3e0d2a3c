/** What is told of real sockets, by the kernel and by the tables of /proc, while their two ends are used in turn. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readlinkSync, rmSync } from 'node:fs';
import { createServer, createConnection, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test, type TestContext } from 'node:test';
import { socketsMoved, type SocketUse } from '../../src/core/stall.ts';
import { loadNative } from '../../src/system/native.ts';
import { askKernel, readTables, usesOf } from '../../src/system/stall/socket-use.ts';
import { until } from '../helpers/spawning.ts';

const directory = mkdtempSync(join(tmpdir(), 'supervise-sockets-'));
after(() => rmSync(directory, { recursive: true }));

interface Connection {
  readonly peer: Socket;
  readonly own: Socket;
  readonly inode: string;
}

/** One accepted connection until the end of the test: both ends, not read unless asked, and the inode of the end that is looked at. */
async function connection(t: TestContext, address: string | { host: string }): Promise<Connection> {
  const server = createServer({ pauseOnConnect: true });
  await new Promise<void>((done) => {
    if (typeof address === 'string') server.listen(address, done);
    else server.listen(0, address.host, done);
  });
  const accepted = new Promise<Socket>((done) => server.once('connection', done));
  const bound = server.address() as AddressInfo | string;
  const peer = typeof bound === 'string' ? createConnection(bound) : createConnection(bound.port, bound.address);
  const own = await accepted;
  server.close();
  t.after(() => [peer, own].forEach((end) => end.destroy()));
  const { fd } = (own as unknown as { _handle: { fd: number } })._handle;
  return { peer, own, inode: readlinkSync(`/proc/self/fd/${fd}`) };
}

const ways: readonly (readonly [string, () => ReadonlyMap<string, SocketUse> | null])[] = [
  ['the kernel', () => askKernel(loadNative()!.diag)],
  ['the tables', () => readTables(process.pid)],
];
const families: readonly (readonly [string, string | { host: string }])[] = [
  ['IPv4', { host: '127.0.0.1' }],
  ['IPv6', { host: '::1' }],
  ['unix', join(directory, 's')],
];

describe('told by', { skip: process.platform !== 'linux' && 'needs Linux' }, () => {
  for (const [way, ask] of ways) {
    for (const [family, address] of families) {
      if (way === 'the tables' && family === 'unix') continue;
      test(`${way}: ${family}`, async (t) => {
        const { peer, own, inode } = await connection(t, address);
        const use = (): SocketUse => ask()?.get(inode) ?? null;
        const moved = (before: SocketUse): boolean =>
          socketsMoved(new Map([[inode, before]]), new Map([[inode, use()]]));
        const isCounted = way === 'the kernel' && family !== 'unix';

        const idle = use();
        assert.equal(idle?.usedBytes === null, !isCounted, 'whether its bytes are counted');
        peer.write('x'.repeat(5000));
        await until(() => (use()?.readableBytes ?? 0) >= 5000, 'the question waits');
        assert.equal(moved(idle), false, 'the peer has written');

        const asked = use();
        const read = new Promise((done) => own.once('data', done));
        own.resume();
        await read;
        await until(() => use()?.readableBytes === 0, 'the question is read');
        assert.equal(moved(asked), true, 'it has read');

        // More than the peer's buffers take, so that some stays unsent until the peer reads.
        const quiet = use();
        own.write('x'.repeat(8_000_000));
        assert.equal(moved(quiet), true, 'it has written');
        own.pause();
        const waiting = use();
        peer.pause();
        assert.equal(moved(waiting), false, 'nobody did anything');

        const answered = new Promise((done) => peer.once('end', done));
        peer.resume();
        own.end();
        await answered;
        if (isCounted) assert.ok((use()?.usedBytes ?? Infinity) >= 8_005_000, 'all that was read and written');
      });
    }
  }

  for (const [way, ask] of ways) {
    test(`${way}: what it wrote long ago arrives now`, async (t) => {
      const { peer, own, inode } = await connection(t, { host: '127.0.0.1' });
      const use = (): SocketUse => ask()?.get(inode) ?? null;
      peer.pause();
      let before = use();
      // Until the peer's buffers are full.
      while ((before?.unsentBytes ?? 0) === 0) {
        own.write('x'.repeat(50_000));
        await until(() => own.writableLength === 0, 'the kernel has it');
        before = use();
      }
      peer.resume();
      await until(() => use()?.unsentBytes === 0, 'all of it is there');
      assert.equal(socketsMoved(new Map([[inode, before]]), new Map([[inode, use()]])), false);
    });
  }

  test('the kernel: a rhythm that looks the same each time', async (t) => {
    const { peer, own, inode } = await connection(t, { host: '127.0.0.1' });
    const use = (): SocketUse => askKernel(loadNative()!.diag)?.get(inode) ?? null;
    peer.write('a question');
    await until(() => use()?.readableBytes === 10, 'the question waits');
    const before = use();
    own.once('data', () => own.pause()).resume();
    await until(() => use()?.readableBytes === 0, 'the question is read');
    own.write('an answer');
    peer.once('data', () => undefined);
    await until(() => use()?.unsentBytes === 0, 'the answer is there');
    peer.write('a question');
    await until(() => use()?.readableBytes === 10, 'the next question waits');
    const now = use();
    assert.deepEqual([now?.readableBytes, now?.unsentBytes], [before?.readableBytes, before?.unsentBytes]);
    assert.equal(socketsMoved(new Map([[inode, before]]), new Map([[inode, now]])), true);
  });

  test('neither way tells of listeners', async (t) => {
    const server = createServer();
    t.after(() => server.close());
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    const { fd } = (server as unknown as { _handle: { fd: number } })._handle;
    const inode = readlinkSync(`/proc/self/fd/${fd}`);
    assert.deepEqual(
      ways.map(([, ask]) => ask()?.has(inode)),
      [false, false],
    );
  });

  test('of those asked for, known or not; an answer serves all who ask while it is new', async (t) => {
    const { peer, inode } = await connection(t, { host: '127.0.0.1' });
    const ask = (maxAgeMs: number) => usesOf(process.pid, new Set([inode, 'socket:[1]']), maxAgeMs);
    const before = ask(60_000);
    assert.deepEqual([...before.keys()], [inode, 'socket:[1]']);
    assert.deepEqual([before.get(inode)?.readableBytes, before.get('socket:[1]')], [0, null]);
    peer.write('a question');
    await until(() => askKernel(loadNative()!.diag)?.get(inode)?.readableBytes === 10, 'the question waits');
    assert.deepEqual(ask(60_000), before);
    assert.equal(ask(0).get(inode)?.readableBytes, 10);
  });

  test('a process in another network namespace is not told of ours', async (t) => {
    const { inode } = await connection(t, { host: '127.0.0.1' });
    const child = spawn('unshare', [process.getuid?.() === 0 ? '-n' : '-rn', 'sleep', '60']);
    t.after(() => child.kill());
    const namespaceOf = (pid: number | string) => readlinkSync(`/proc/${pid}/ns/net`);
    await until(() => namespaceOf(child.pid!) !== namespaceOf('self'), 'it has a namespace of its own');
    assert.deepEqual(usesOf(child.pid!, new Set([inode]), 0), new Map([[inode, null]]));
    assert.notEqual(usesOf(process.pid, new Set([inode]), 60_000).get(inode), null);
  });
});
