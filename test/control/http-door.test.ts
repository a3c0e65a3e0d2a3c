/** The control API over TCP: who gets in, and that nobody else reaches the master. */
import { describe, test } from 'node:test';
import type { TestContext } from 'node:test';
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import type { HttpDoor } from '../../src/control/http-door.ts';
import { createServerHandle } from '../../src/system/sockets/server-handle.ts';
import { answerOf, exchange, requestText } from './raw.ts';
import { openRoom, type Room } from './fake-master.ts';

const token = 'kJ3vXo0rW8mQ2sT5uY7zA9bC1dE4fG6hI8jK0lM2nO4';
const bearer = `authorization: Bearer ${token}`;

interface House extends Room {
  readonly port: number;
  /** Sends a request over TCP with these lines in its head. @returns the whole answer */
  ask(line: string, head: readonly string[], body?: string): Promise<{ status: number | null; text: string }>;
}

async function openHouse(t: TestContext): Promise<House> {
  const handle = createServerHandle('127.0.0.1', 0, 4);
  assert.ok(typeof handle === 'object');
  const name: { port?: number } = {};
  handle.getsockname?.(name);
  const { port = 0 } = name;
  const http: HttpDoor = { handle, token, tokenFile: '/state/token', hostNames: ['shop.example.org', 'shop'] };
  const room = await openRoom(t, { http });
  const ask: House['ask'] = (line, head, body = '') =>
    whole(
      port,
      `${[line, ...head, ...(body === '' ? [] : [`content-length: ${body.length}`])].join('\r\n')}\r\n\r\n${body}`,
    );
  return { ...room, port, ask };
}

async function whole(port: number, bytes: string): Promise<{ status: number | null; text: string }> {
  const socket = connect({ port, host: '127.0.0.1' });
  socket.on('error', () => {});
  const pieces: Buffer[] = [];
  socket.on('data', (piece) => pieces.push(piece));
  socket.write(bytes);
  const { status } = await answerOf(socket);
  return { status, text: Buffer.concat(pieces).toString('utf8') };
}

describe('the token', () => {
  test('opens all routes, and nothing else does', async (t) => {
    const { ask, master } = await openHouse(t);
    const routes = [
      'GET /v1',
      'GET /v1/status',
      'GET /v1/events',
      'GET /v1/logs',
      'GET /metrics',
      'POST /v1/scale',
      'GET /no',
    ];
    for (const route of routes) {
      const { status, text } = await ask(
        `${route} HTTP/1.1`,
        ['host: localhost'],
        route.startsWith('POST') ? '{}' : '',
      );
      assert.equal(status, 401, route);
      assert.match(text, /^www-authenticate: Bearer /im);
      assert.doesNotMatch(text, new RegExp(token));
    }
    const wrong = [
      'Bearer',
      'Bearer ',
      `Bearer ${token}x`,
      `Bearer ${token.slice(0, -1)}`,
      `Bearer ${token.toLowerCase()}`,
      `Bearer x ${token}`,
      `Basic ${Buffer.from(`x:${token}`).toString('base64')}`,
      `Token ${token}`,
      token,
    ];
    for (const authorization of wrong) {
      const { status } = await ask('GET /metrics HTTP/1.1', ['host: localhost', `authorization: ${authorization}`]);
      assert.equal(status, 401, authorization);
    }
    assert.equal((await ask(`GET /metrics?token=${token} HTTP/1.1`, ['host: localhost'])).status, 401);
    assert.equal((await ask('POST /v1/stop HTTP/1.1', ['host: localhost'], '{}')).status, 401);
    assert.deepEqual(master.commands, []);

    const { text } = await ask('GET /metrics HTTP/1.1', ['host: localhost', bearer]);
    assert.match(text, /^HTTP\/1\.1 200 [\s\S]*^supervise_build_info\{version="1.0.0",/m);
    const scaled = await ask('POST /v1/scale HTTP/1.1', ['host: localhost', bearer], '{"app":"web","to":2}');
    assert.equal(scaled.status, 200);
    assert.equal(master.commands.length, 1);
  });

  test('is not needed for the front page, which tells nothing of the master', async (t) => {
    const { ask } = await openHouse(t);
    const { status, text } = await ask('GET / HTTP/1.1', ['host: localhost']);
    assert.equal(status, 200);
    assert.match(text, /^content-type: text\/plain/im);
    assert.match(text, /Authorization: Bearer TOKEN/);
    assert.doesNotMatch(text, /shop|\/state/);
  });

  test('is not needed on the unix socket', async (t) => {
    const { socketPath } = await openHouse(t);
    assert.equal((await exchange(socketPath, requestText('GET', '/v1/status'))).status, 200);
    assert.match((await exchange(socketPath, requestText('GET', '/metrics'))).body, /^supervise_master_state/m);
  });
});

describe('Host', () => {
  const good = [
    'localhost',
    'LOCALHOST:1',
    '127.0.0.1:9700',
    '10.1.2.3',
    '[::1]:9700',
    '[::1]',
    'shop:80',
    'Shop.Example.org',
  ];
  const bad = [
    'evil.example',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    'shop.evil.example',
    '',
    'a b',
    '[evil]',
    'x@localhost',
    '::1',
    'localhost:x',
    'localhost:80:80',
  ];
  test('an address, localhost or a name of this host', async (t) => {
    const { ask } = await openHouse(t);
    for (const host of good) assert.equal((await ask('GET / HTTP/1.1', [`host: ${host}`])).status, 200, host);
  });
  test('any other name is refused, with the token and without, also where there is none at all', async (t) => {
    const { ask, master } = await openHouse(t);
    for (const host of bad) {
      const head = [`host: ${host}`, bearer];
      const { status, text } = await ask('POST /v1/stop HTTP/1.1', head, '{}');
      assert.equal(status, 403, host);
      assert.doesNotMatch(text, /shop/);
      assert.equal((await ask('GET / HTTP/1.1', head)).status, 403, host);
    }
    assert.equal((await ask('POST /v1/stop HTTP/1.1', [bearer], '{}')).status, 403);
    assert.equal((await ask('GET /v1/status HTTP/1.0', [bearer])).status, 403);
    assert.deepEqual(master.commands, []);
  });
});

describe('Origin', () => {
  const stop = 'POST /v1/stop HTTP/1.1';
  test('a page of another site reaches nothing, though it knows the token', async (t) => {
    const { ask, port, master } = await openHouse(t);
    const host = `host: 127.0.0.1:${port}`;
    const foreign = [
      'http://evil.example',
      'null',
      `http://127.0.0.1:${port + 1}`,
      `http://127.0.0.1`,
      `ftp://127.0.0.1:${port}`,
      '',
    ];
    for (const origin of foreign) {
      assert.equal((await ask(stop, [host, bearer, `origin: ${origin}`], '{}')).status, 403, origin);
      assert.equal((await ask('GET /v1/status HTTP/1.1', [host, bearer, `origin: ${origin}`])).status, 403, origin);
    }
    assert.deepEqual(master.commands, []);
  });

  test('its own page may, also behind a proxy that speaks TLS', async (t) => {
    const { ask, port, master } = await openHouse(t);
    const host = `host: localhost:${port}`;
    for (const scheme of ['http', 'https'])
      assert.equal((await ask(stop, [host, bearer, `origin: ${scheme}://localhost:${port}`], '{}')).status, 200);
    assert.equal(master.commands.length, 2);
  });

  test('no answer lets a page of another site read it, not even that to a preflight', async (t) => {
    const { ask } = await openHouse(t);
    const preflight = ['host: localhost', 'origin: http://evil.example', 'access-control-request-method: POST'];
    const answers = [
      await ask('OPTIONS /v1/stop HTTP/1.1', preflight),
      await ask('OPTIONS /v1/stop HTTP/1.1', ['host: localhost', bearer, 'access-control-request-method: POST']),
      await ask('GET /metrics HTTP/1.1', ['host: localhost', bearer]),
      await ask('GET / HTTP/1.1', ['host: localhost']),
    ];
    assert.deepEqual(
      answers.map(({ status }) => status),
      [403, 405, 200, 200],
    );
    for (const { text } of answers) assert.doesNotMatch(text, /^access-control/im);
  });
});

test('garbage, endless heads and large bodies are refused, and the socket serves on', async (t) => {
  const { ask, port, socketPath, master } = await openHouse(t);
  assert.equal((await whole(port, '\u0016\u0003\u0001\u0000\r\n\r\n')).status, 400);
  const many = Array.from({ length: 400 }, (_, i) => `x-${i}: ${'y'.repeat(100)}`);
  assert.equal((await ask('GET /metrics HTTP/1.1', ['host: localhost', bearer, ...many])).status, 431);
  assert.equal(
    (await ask('GET /metrics HTTP/1.1', ['host: localhost', `authorization: Bearer ${'x'.repeat(60_000)}`])).status,
    431,
  );
  const large = await ask('POST /v1/stop HTTP/1.1', ['host: localhost', bearer, 'content-length: 9999999']);
  assert.equal(large.status, 413);
  // Whoever has no token does not even get his body read.
  const unknown = await ask('POST /v1/stop HTTP/1.1', ['host: localhost', 'content-length: 9999999']);
  assert.equal(unknown.status, 401);
  assert.deepEqual(master.commands, []);
  assert.equal((await exchange(socketPath, requestText('GET', '/v1/status'))).status, 200);
});

test('who takes all connections of the port does not keep the operator out of the socket', async (t) => {
  const { port, socketPath } = await openHouse(t);
  const flood = Array.from({ length: 80 }, () => connect({ port, host: '127.0.0.1' }));
  t.after(() => flood.forEach((socket) => socket.destroy()));
  await Promise.all(flood.map((socket) => new Promise((done) => socket.on('error', done).once('connect', done))));
  assert.equal((await exchange(socketPath, requestText('GET', '/v1/status'))).status, 200);
});

test('the port is free when the server is closed', async (t) => {
  const { server, port } = await openHouse(t);
  server.close();
  const refused = await new Promise((done) => {
    connect({ port, host: '127.0.0.1' }).on('error', (error: NodeJS.ErrnoException) => done(error.code));
  });
  assert.equal(refused, 'ECONNREFUSED');
});
