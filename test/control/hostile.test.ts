import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import type { Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { test } from 'node:test';
import type { Room } from './fake-master.ts';
import { eventually, openRoom } from './fake-master.ts';
import { answerOf, closed, exchange, open, requestText } from './raw.ts';

/** The master is undisturbed: a proper client gets its answer. */
async function serves({ socketPath }: Room): Promise<void> {
  const { status, body } = await exchange(socketPath, requestText('GET', '/v1/status'));
  assert.equal(status, 200);
  assert.equal((JSON.parse(body) as { name: string }).name, 'shop');
}

/** Connections that are closed when the test ends. */
async function openMany(test: TestContext, path: string, count: number): Promise<Socket[]> {
  const sockets = await Promise.all(Array.from({ length: count }, () => open(path)));
  test.after(() => sockets.forEach((socket) => socket.destroy()));
  return sockets;
}

test('garbage is a 400 and the connection is closed', async (t) => {
  const room = await openRoom(t);
  const garbage = [
    'hello\r\n\r\n',
    '\u0000\u0001\u0002\u0003\r\n\r\n',
    'GET /v1/status HTTP/9.9\r\n\r\n',
    'POST /v1/stop HTTP/1.1\r\ncontent-length: x\r\n\r\n',
    'POST /v1/stop HTTP/1.1\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}',
    'POST /v1/stop HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n',
    Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00]),
  ];
  for (const piece of garbage) {
    const { status, body } = await exchange(room.socketPath, piece);
    assert.equal(status, 400, JSON.stringify(String(piece)));
    assert.match(body, /"code":"usage"/);
  }
  assert.deepEqual(room.master.commands, []);
  await serves(room);
});

test('paths that are no paths are answered', async (t) => {
  const room = await openRoom(t);
  for (const path of ['//', '/v1/../v1/status/..', '/%00', '/v1/status/', '*', 'http://[', '/v1/stop?how=now']) {
    const { status } = await exchange(room.socketPath, requestText('GET', path));
    assert.ok(status === 400 || status === 404 || status === 405, `${path}: ${status}`);
  }
  await serves(room);
});

test('a body above 64 KiB is a 413, announced or not, and reaches nobody', async (t) => {
  const room = await openRoom(t);
  const big = 'x'.repeat(64 * 1024 + 1);
  const announced = await exchange(room.socketPath, `POST /v1/stop HTTP/1.1\r\ncontent-length: 99999999\r\n\r\n`);
  assert.equal(announced.status, 413);
  const chunk = `${big.length.toString(16)}\r\n${big}\r\n`;
  const streamed = await exchange(
    room.socketPath,
    'POST /v1/stop HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n',
    chunk,
  );
  assert.equal(streamed.status, 413);
  assert.match(streamed.body, /at most 65536 bytes/);
  assert.deepEqual(room.master.commands, []);
  await serves(room);
});

test('a body of exactly 64 KiB is taken', async (t) => {
  const room = await openRoom(t);
  const body = JSON.stringify({ how: 'now' }).padEnd(64 * 1024, ' ');
  assert.equal((await exchange(room.socketPath, requestText('POST', '/v1/stop', body))).status, 200);
  assert.deepEqual(room.master.commands, [{ type: 'stop', how: 'now' }]);
});

test('an endless body is cut off while it is being sent', async (t) => {
  const room = await openRoom(t);
  const socket = await open(room.socketPath);
  socket.write('POST /v1/stop HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n');
  const chunk = `4000\r\n${'x'.repeat(0x4000)}\r\n`;
  const pump = setInterval(() => socket.writable && socket.write(chunk), 1);
  t.after(() => clearInterval(pump));
  // the answer is lost where the write fails before it is read
  const { status } = await answerOf(socket);
  assert.ok(status === 413 || status === null, String(status));
  assert.deepEqual(room.master.commands, []);
  await serves(room);
});

test('an endless head is a 431', async (t) => {
  const room = await openRoom(t);
  const { status } = await exchange(
    room.socketPath,
    'GET /v1/status HTTP/1.1\r\n',
    ...Array.from({ length: 400 }, (_, i) => `x-${i}: ${'y'.repeat(100)}\r\n`),
  );
  assert.equal(status, 431);
  await serves(room);
});

test('a client that says nothing, half a head or half a body is closed in time', async (t) => {
  const room = await openRoom(t, { limits: { headTimeoutMs: 150, requestTimeoutMs: 300, checkEveryMs: 50 } });
  const [silent, halfHead, halfBody] = await openMany(t, room.socketPath, 3);
  assert.ok(silent && halfHead && halfBody);
  halfHead.write('GET /v1/status HTTP/1.1\r\nx: ');
  halfBody.write('POST /v1/stop HTTP/1.1\r\ncontent-length: 10\r\n\r\n{');
  const answers = await Promise.all([silent, halfHead, halfBody].map(answerOf));
  assert.deepEqual(
    answers.map(({ status }) => status),
    [408, 408, 408],
  );
  assert.deepEqual(room.master.commands, []);
  await serves(room);
});

test('a drip-fed head does not prolong its time', async (t) => {
  const room = await openRoom(t, { limits: { headTimeoutMs: 200, requestTimeoutMs: 400, checkEveryMs: 50 } });
  const socket = await open(room.socketPath);
  socket.write('GET /v1/status HTTP/1.1\r\n');
  const drip = setInterval(() => socket.writable && socket.write('x: y\r\n'), 20);
  t.after(() => clearInterval(drip));
  assert.equal((await answerOf(socket)).status, 408);
});

test('the 65th connection is refused while 64 are open; when one goes there is room again', async (t) => {
  const room = await openRoom(t);
  const sockets = await openMany(t, room.socketPath, 64);
  const { status } = await exchange(room.socketPath, requestText('GET', '/v1/status'));
  assert.equal(status, null, 'closed without an answer');
  sockets[0]?.destroy();
  await eventually(
    'room again',
    async () => (await exchange(room.socketPath, requestText('GET', '/v1/status'))).status === 200,
  );
});

test('followers that hang leave room for commands', async (t) => {
  const room = await openRoom(t);
  const followers = await openMany(t, room.socketPath, 32);
  for (const socket of followers) socket.write(requestText('GET', '/v1/events?follow=1'));
  await eventually('all follow', () => room.master.listeners.size === 33);
  const refused = await exchange(room.socketPath, requestText('GET', '/v1/logs?follow=1'));
  assert.equal(refused.status, 503);
  assert.match(refused.body, /32 clients follow/);
  assert.equal((await exchange(room.socketPath, requestText('POST', '/v1/stop', '{}'))).status, 200);
  assert.equal(room.master.commands.length, 1);
  for (const socket of followers) socket.destroy();
  await eventually('their subscriptions end', () => room.master.listeners.size === 1);
});

test('a follower that does not read is dropped; one that reads gets every event', async (t) => {
  const room = await openRoom(t, { limits: { maxBufferedBytes: 256 * 1024 } });
  const [sleeper, reader] = await openMany(t, room.socketPath, 2);
  assert.ok(sleeper && reader);
  sleeper.pause();
  const sleeperGone = closed(sleeper);
  let text = '';
  reader.on('data', (piece: Buffer) => (text += piece.toString('utf8')));
  for (const socket of [sleeper, reader]) socket.write(requestText('GET', '/v1/events?follow=1'));
  await eventually('both follow', () => room.master.listeners.size === 3);
  const message = 'm'.repeat(1000);
  for (let i = 0; i < 3000; i++) {
    room.master.emit({ type: 'master.warning', message });
    if (i % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  await eventually('the sleeper is dropped', () => room.master.listeners.size === 2);
  await eventually('the reader has all', () => text.includes('"seq":3000,'));
  assert.equal(text.match(/"seq":/g)?.length, 3000);
  sleeper.resume();
  await sleeperGone;
  await serves(room);
});

test('a follower that took nothing for a while is dropped although little waits', async (t) => {
  const room = await openRoom(t, { limits: { stallMs: 100 } });
  const [sleeper] = await openMany(t, room.socketPath, 1);
  assert.ok(sleeper);
  sleeper.pause();
  sleeper.write(requestText('GET', '/v1/logs?follow=1'));
  await eventually('it follows', () => room.logs.listeners.size === 1);
  // more than the kernel takes, less than the buffer
  for (let i = 0; i < 600; i++) room.logs.add('web.1', 'x'.repeat(1000));
  await eventually('it is dropped', () => room.logs.listeners.size === 0);
});

test('recent lines beyond the buffer reach a slow reader whole', async (t) => {
  const room = await openRoom(t, { limits: { maxBufferedBytes: 10_000 } });
  for (let i = 0; i < 3000; i++) room.logs.add('web.1', `${i} ${'x'.repeat(1000)}`);
  const socket = await open(room.socketPath);
  let text = '';
  socket.write(requestText('GET', '/v1/logs?n=3000'));
  socket.pause();
  await new Promise((resolve) => setTimeout(resolve, 50));
  socket.on('data', (piece: Buffer) => (text += piece.toString('utf8')));
  socket.resume();
  await closed(socket);
  assert.equal(text.match(/"line":"/g)?.length, 3000);
});

test('a flood of requests on one connection is answered once, and does not starve others', async (t) => {
  const room = await openRoom(t);
  const flood = requestText('GET', '/v1/status').repeat(2000);
  const { body } = await exchange(room.socketPath, flood);
  assert.equal(body.match(/"name":"shop"/g)?.length, 1);
  await serves(room);
});

test('what comes behind the request of a connection is not carried out', async (t) => {
  const room = await openRoom(t);
  const stop = requestText('POST', '/v1/stop', '{}');
  const { status } = await exchange(room.socketPath, requestText('GET', '/v1/status') + stop);
  assert.equal(status, 200);
  await exchange(room.socketPath, requestText('GET', '/v1/events?follow=1').repeat(40) + stop);
  await eventually('no subscription is left', () => room.master.listeners.size === 1);
  assert.deepEqual(room.master.commands, []);
  // None of them counts as one that still follows.
  const followers = await openMany(t, room.socketPath, 32);
  for (const socket of followers) socket.write(requestText('GET', '/v1/events?follow=1'));
  await eventually('all follow', () => room.master.listeners.size === 33);
});

test('a flood of connections leaves the event loop alive', async (t) => {
  const room = await openRoom(t);
  let ticks = 0;
  const beat = setInterval(() => (ticks += 1), 1);
  t.after(() => clearInterval(beat));
  const before = ticks;
  await Promise.all(
    Array.from({ length: 500 }, () => exchange(room.socketPath, requestText('GET', '/v1/status')).catch(() => null)),
  );
  assert.ok(ticks > before);
  await eventually(
    'it serves',
    async () => (await exchange(room.socketPath, requestText('GET', '/v1/status'))).status === 200,
  );
});

test('a client that leaves in the middle leaves nothing behind', async (t) => {
  const room = await openRoom(t);
  for (const text of [
    'POST /v1/stop HTTP/1.1\r\ncontent-length: 10\r\n\r\n{',
    requestText('GET', '/v1/events?follow=1'),
    'GET',
  ]) {
    const socket = await open(room.socketPath);
    socket.write(text);
    await new Promise((resolve) => setTimeout(resolve, 20));
    socket.destroy();
  }
  await eventually('no subscription is left', () => room.master.listeners.size === 1);
  assert.deepEqual(room.master.commands, []);
  await serves(room);
});

test('the socket is for its owner only', async (t) => {
  const { socketPath } = await openRoom(t);
  const stat = statSync(socketPath);
  assert.equal(stat.mode & 0o777, 0o600);
  assert.ok(stat.isSocket());
});
