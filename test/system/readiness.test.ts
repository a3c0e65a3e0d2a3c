/**
 * Readiness, seen from outside, with real servers. Each is one of two workers on one listening socket, of which the
 * other never accepts: only the right one may become ready, and not before it can serve (the file MARKER is the last
 * thing that a fixture does before it waits for connections).
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, test } from 'node:test';
import { unseenWay } from '../../src/system/readiness/accepting.ts';
import { ownReader, viewProcess } from '../../src/system/readiness/process-view.ts';
import { childrenOf, statOf } from '../../src/system/procfs.ts';
import { acceptingPid } from '../../src/system/readiness/readiness.ts';
import { answer, fixtures, listen, python, scratch, start, stop, Watched } from './readiness-workers.ts';

const servers: Record<string, readonly string[]> = {
  'uvicorn --fd 3': ['/usr/bin/uvicorn', '--app-dir', fixtures, 'asgi_app:app', '--fd', '3'],
  'gunicorn --bind fd://3, whose worker is a child blocked in pselect6': [
    '/usr/bin/gunicorn',
    '--chdir',
    fixtures,
    'wsgi_app:app',
    '--bind',
    'fd://3',
  ],
  'gunicorn with two threaded workers': [
    '/usr/bin/gunicorn',
    '--chdir',
    fixtures,
    'wsgi_app:app',
    '--bind',
    'fd://3',
    '-k',
    'gthread',
    '-w',
    '2',
  ],
  'a Node server on {fd: 3}': [process.execPath, join(fixtures, 'node-server.mjs')],
  'a Node server behind sh -c': ['/bin/sh', '-c', `${process.execPath} ${join(fixtures, 'node-server.mjs')}; true`],
  'a Python thread blocked in accept': [python, join(fixtures, 'blocked_in_accept.py')],
  'a Python poll server': [python, join(fixtures, 'selecting.py'), 'PollSelector'],
  'a Python select server': [python, join(fixtures, 'selecting.py'), 'SelectSelector'],
  'a Python epoll server': [python, join(fixtures, 'selecting.py'), 'EpollSelector'],
};

describe('of two workers on one socket only the one that accepts becomes ready', { concurrency: 3 }, () => {
  for (const [name, argv] of Object.entries(servers)) {
    test(name, async () => {
      const listener = listen();
      const idle = start([python, join(fixtures, 'never_accepts.py')], listener);
      const server = start(argv, listener);
      const inherited = { listeners: ['socket:[1]', listener.inode] };
      let markerAtReady = false;
      const never = new Watched(idle, { kind: 'auto' }, inherited);
      const watched = new Watched(
        server,
        { kind: 'auto' },
        inherited,
        () => (markerAtReady = existsSync(server.marker)),
      );
      await watched.ready;
      assert.ok(markerAtReady, 'it was called ready before it could serve');
      const servedBy = Number(await answer(listener.port));
      assert.ok(isInTree(servedBy, server.pid), `process ${servedBy} has answered`);
      assert.ok(isInTree(watched.waiting ?? 0, server.pid));
      // It has only just answered: it may still be on its way back to waiting.
      const waitsAgain = () => isInTree(acceptingPid(server.pid, inherited.listeners) ?? 0, server.pid);
      for (let tries = 0; tries < 500 && !waitsAgain(); tries++) await sleep(10);
      assert.ok(waitsAgain());
      await sleep(400);
      assert.equal(acceptingPid(idle.pid, inherited.listeners), null);
      assert.deepEqual([watched.told, never.told], [['ready'], []]);
      never.cancel();
      stop(idle, server);
      listener.close();
    });
  }

  test('a Go server', { skip: !existsSync('/usr/bin/go') && 'no Go here' }, async () => {
    const binary = join(scratch, 'accepting-go');
    const env = {
      PATH: process.env['PATH'],
      GOCACHE: join(scratch, 'go-cache'),
      GOPATH: join(scratch, 'go'),
      GOFLAGS: '-p=1',
      CGO_ENABLED: '0',
    };
    const built = spawn('/usr/bin/go', ['build', '-o', binary, join(fixtures, 'accepting.go')], {
      env,
      stdio: 'inherit',
    });
    assert.equal(await new Promise((done) => built.once('exit', done)), 0);
    const listener = listen();
    const idle = start([python, join(fixtures, 'never_accepts.py')], listener);
    const server = start([binary], listener);
    const never = new Watched(idle, { kind: 'auto' }, { listeners: [listener.inode] });
    const watched = new Watched(server, { kind: 'auto' }, { listeners: [listener.inode] });
    await watched.ready;
    assert.equal(Number(await answer(listener.port)), server.pid);
    assert.deepEqual(never.told, []);
    never.cancel();
    stop(idle, server);
    listener.close();
  });
});

function isInTree(pid: number, leader: number): boolean {
  return pid === leader || childrenOf(leader).some((child) => isInTree(pid, child));
}

test('a stopped and continued poll server is still seen to wait', async () => {
  const listener = listen();
  const server = start([python, join(fixtures, 'selecting.py'), 'PollSelector'], listener);
  await new Watched(server, { kind: 'accepting' }, { listeners: [listener.inode] }).ready;
  process.kill(server.pid, 'SIGSTOP');
  while (statOf(server.pid)?.state !== 'T') await sleep(5);
  process.kill(server.pid, 'SIGCONT');
  while (statOf(server.pid)?.state !== 'S') await sleep(5);
  assert.equal(acceptingPid(server.pid, [listener.inode]), server.pid);
  stop(server);
  listener.close();
});

test('an io_uring beside the listener is a reason not to know, and not ready', async (t) => {
  const listener = listen();
  const worker = start([python, join(fixtures, 'io_uring.py')], listener);
  const fd = await new Promise<number>((done) => worker.child.stdout?.once('data', (text) => done(Number(text))));
  if (fd < 0) return t.skip('io_uring is turned off here');
  const view = viewProcess(ownReader, process.arch, worker.pid, [listener.inode]);
  assert.match(unseenWay(view, [listener.inode]) ?? '', /io_uring/);
  assert.equal(unseenWay(view, ['socket:[1]']), null);
  assert.equal(acceptingPid(worker.pid, [listener.inode]), null);
  stop(worker);
  listener.close();
});
