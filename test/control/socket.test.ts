import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, lstatSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { test } from 'node:test';
import { ControlClient, runningMaster } from '../../src/control/client.ts';
import { probeSocket } from '../../src/control/socket-file.ts';
import { serve } from '../../src/control/server.ts';
import { SuperviseError } from '../../src/core/errors.ts';
import type { HostUser } from '../../src/core/paths.ts';
import { FakeLogs, FakeMaster, openRoom, someUsage } from './fake-master.ts';

function directoryFor(test: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'supervise-socket-'));
  test.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

async function serveAt(test: TestContext, socketPath: string, name = 'shop'): Promise<void> {
  const master = new FakeMaster();
  master.name = name;
  const server = await serve({ master, logs: new FakeLogs(), reread: null, own: someUsage, socketPath });
  test.after(() => server.close());
}

/** A socket file that nobody listens on any more: its owner was killed. */
function leaveStaleSocket(path: string): void {
  const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
  spawnSync(process.execPath, ['-e', script]);
  assert.ok(statSync(path).isSocket());
}

const codeOf = (code: string) => (error: unknown) => error instanceof SuperviseError && error.code === code;

test('a stale socket is taken over, a live one and a file are not', async (t) => {
  const directory = directoryFor(t);
  const stale = join(directory, 'stale.sock');
  leaveStaleSocket(stale);
  assert.equal(await probeSocket(stale), 'stale');
  await serveAt(t, stale);
  assert.equal(await probeSocket(stale), 'live');
  assert.equal((await new ControlClient(stale).status()).name, 'shop');
  await assert.rejects(serveAt(t, stale), codeOf('socket-in-use'));
  assert.equal((await new ControlClient(stale).status()).name, 'shop', 'the first still serves');
  const file = join(directory, 'file');
  writeFileSync(file, 'precious');
  await assert.rejects(serveAt(t, file), codeOf('socket-cannot-bind'));
  assert.ok(statSync(file).isFile());
});

test('a path that is too long or has no directory is refused with the reason', async (t) => {
  const directory = directoryFor(t);
  await assert.rejects(serveAt(t, join(directory, 'x'.repeat(120))), /can have \d+ bytes, this one has/);
  await assert.rejects(serveAt(t, join(directory, 'no', 'control.sock')), codeOf('socket-cannot-bind'));
});

test('closing removes the socket and the link to it', async (t) => {
  const room = await openRoom(t, { link: 'by-name.sock' });
  const link = join(room.directory, 'by-name.sock');
  assert.ok(lstatSync(link).isSymbolicLink());
  assert.equal(room.server.warning, null);
  assert.equal((await new ControlClient(link).status()).name, 'shop');
  room.server.close();
  assert.ok(!existsSync(link) && !existsSync(room.socketPath));
});

test('a link that a killed master left is replaced, also by a socket', async (t) => {
  const room = await openRoom(t, { link: 'control.sock.link' });
  const link = join(room.directory, 'control.sock.link');
  room.server.close();
  const { symlinkSync } = await import('node:fs');
  symlinkSync(join(room.directory, 'gone'), link);
  await serveAt(t, link);
  assert.ok(statSync(link).isSocket() && !lstatSync(link).isSymbolicLink());
});

test('the mode of the socket does not depend on the umask', async (t) => {
  const directory = directoryFor(t);
  const before = process.umask(0);
  try {
    await serveAt(t, join(directory, 'open.sock'));
    assert.equal(process.umask(), 0, 'the umask is as it was');
  } finally {
    process.umask(before);
  }
  assert.equal(statSync(join(directory, 'open.sock')).mode & 0o777, 0o600);
});

/** A user whose masters live in a directory of the test; the uid is this process's, which may be root. */
function userIn(directory: string): HostUser {
  return { uid: process.getuid?.() ?? 0, home: directory, env: { XDG_RUNTIME_DIR: directory } };
}

async function serveNamed(test: TestContext, directory: string, name: string): Promise<string> {
  const socketPath = join(directory, 'supervise', name, 'control.sock');
  mkdirSync(join(directory, 'supervise', name), { recursive: true });
  await serveAt(test, socketPath, name);
  return socketPath;
}

test('a master is found by its name; nobody by that name is exit 3', async (t) => {
  const directory = directoryFor(t);
  const name = `shop-${process.pid}`;
  const socketPath = await serveNamed(t, directory, name);
  await serveNamed(t, directory, `other-${process.pid}`);
  const found = await runningMaster(name, userIn(directory));
  assert.deepEqual([found.name, found.socketPath, found.access], [name, socketPath, 'open']);
  await assert.rejects(
    runningMaster(`absent-${process.pid}`, userIn(directory)),
    (error: SuperviseError) => error.code === 'no-master' && error.exitCode === 3,
  );
});

test('without a name the only master is meant; several are listed and exit 64', async (t) => {
  const directory = directoryFor(t);
  const names = [`a-${process.pid}`, `b-${process.pid}`];
  for (const name of names) await serveNamed(t, directory, name);
  await assert.rejects(runningMaster(null, userIn(directory)), (error: SuperviseError) => {
    return (
      error.exitCode === 64 && names.every((name) => error.message.includes(name)) && /--name/.test(error.hint ?? '')
    );
  });
});

test('a socket that nobody listens on does not count as a master', async (t) => {
  const directory = directoryFor(t);
  const name = `stale-${process.pid}`;
  mkdirSync(join(directory, 'supervise', name), { recursive: true });
  leaveStaleSocket(join(directory, 'supervise', name, 'control.sock'));
  await assert.rejects(runningMaster(name, userIn(directory)), codeOf('no-master'));
});

test('$RUNTIME_DIRECTORY is asked for its name before it is believed', async (t) => {
  const directory = directoryFor(t);
  const name = `unit-${process.pid}`;
  await serveAt(t, join(directory, 'control.sock'), name);
  const user: HostUser = { ...userIn(join(directory, 'xdg')), env: { RUNTIME_DIRECTORY: `${directory}:/run/second` } };
  assert.equal((await runningMaster(name, user)).socketPath, join(directory, 'control.sock'));
  await assert.rejects(runningMaster(`not-${name}`, user), codeOf('no-master'));
});

test('what is not supervise is not taken for a master', async (t) => {
  const directory = directoryFor(t);
  const path = join(directory, 'control.sock');
  const server = createServer((socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi'));
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.after(() => server.close());
  await assert.rejects(new ControlClient(path).status(), /does not answer as supervise does/);
});

test('a master that closes the connection without a word is not "no master"', async (t) => {
  const directory = directoryFor(t);
  const path = join(directory, 'control.sock');
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.after(() => server.close());
  await assert.rejects(
    new ControlClient(path).status(),
    (error: SuperviseError) => error.code === 'operation-failed' && /was cut/.test(error.message),
  );
});
