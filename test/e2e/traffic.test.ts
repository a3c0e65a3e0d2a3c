/** The control run of the load generator: it does see what is lost, and names it. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Traffic, type Tally, type TrafficOptions } from '../../bench/traffic.ts';
import { fixture, Site, until } from '../helpers/e2e-site.ts';

/** Load on a server in this process, until it has made some hundred requests. */
async function loadOn(
  t: TestContext,
  handler: Parameters<typeof createServer>[1],
  options: Partial<TrafficOptions> = {},
): Promise<Tally> {
  const server = createServer(handler);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => closed(server));
  let requests = 0;
  server.on('request', () => requests++);
  const { port } = server.address() as AddressInfo;
  const traffic = new Traffic({ port, newPerSecond: 200, keptAlive: 4, ...options });
  await until('some requests', () => requests > 200);
  return traffic.end();
}

function closed(server: Server): Promise<unknown> {
  server.closeAllConnections();
  return new Promise((done) => server.close(done));
}

const kindsOf = ({ failures }: Tally): string[] =>
  Object.entries(failures).flatMap(([kind, count]) => (count > 0 ? [kind] : []));

test('a server that answers: nothing is lost', async (t) => {
  for (const answer of ['content-length', 'chunked', 'until the end'] as const) {
    const tally = await loadOn(t, (_, response) => {
      if (answer === 'until the end') response.shouldKeepAlive = false;
      if (answer === 'until the end') response.useChunkedEncodingByDefault = false;
      if (answer !== 'content-length') response.write('some, ');
      response.end('more');
    });
    assert.deepEqual([kindsOf(tally), tally.reused, tally.examples], [[], 0, []], answer);
    assert.ok(tally.answered > 200, `${tally.answered} answered`);
  }
});

for (const [kind, handler] of Object.entries<(socket: Socket, end: () => void) => void>({
  status: (_, end) => end(),
  eof: (socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf'),
  reset: (socket) => socket.resetAndDestroy(),
  timeout: () => undefined,
})) {
  test(`it sees: ${kind}`, async (t) => {
    let asked = 0;
    const tally = await loadOn(
      t,
      ({ socket }, response) => {
        if (++asked % 10 !== 0) response.end('fine');
        else handler(socket, () => response.writeHead(503).end('sorry'));
      },
      // A busy machine may answer late: only what is silent on purpose is not waited for.
      { timeoutMs: kind === 'timeout' ? 300 : 20_000 },
    );
    assert.deepEqual(kindsOf(tally), [kind]);
    // One in ten was spoilt; what came on a used connection may have been sent again.
    const spoilt = tally.failed + tally.reused;
    assert.ok(spoilt > 0 && tally.answered > spoilt, JSON.stringify(tally));
  });
}

test('it sees: refused', async (t) => {
  const site = new Site(t);
  const traffic = new Traffic({ port: await site.port(), newPerSecond: 100, keptAlive: 2 });
  await sleep(100);
  const tally = await traffic.end();
  assert.deepEqual([kindsOf(tally), tally.answered], [['refused'], 0]);
});

test('a kept connection that ends before a byte of the answer counts apart, and is tried again', async (t) => {
  const used = new WeakSet<Socket>();
  const tally = await loadOn(
    t,
    ({ socket }, response) => {
      if (used.has(socket)) return void socket.destroy();
      used.add(socket);
      response.end('fine');
    },
    { newPerSecond: 0, pauseMs: 1 },
  );
  assert.deepEqual(kindsOf(tally), []);
  assert.ok(tally.reused > 50, `${tally.reused} reused`);
});

test('a server that is restarted roughly under load: losses, and a stall as long as it was away', async (t) => {
  const site = new Site(t);
  const port = await site.port();
  let server: ChildProcess | null = null;
  const start = async (): Promise<void> => {
    server = spawn(process.execPath, [fixture('slow-answers.mjs')], {
      env: { ...site.env, PORT: String(port) },
      stdio: 'ignore',
    });
    await until('it answers', () =>
      fetch(`http://127.0.0.1:${port}/0`).then(
        () => true,
        () => false,
      ),
    );
  };
  const kill = async (): Promise<void> => {
    server?.kill('SIGKILL');
    await once(server!, 'exit');
  };
  await start();
  const traffic = new Traffic({ port, path: '/20', newPerSecond: 200, keptAlive: 4 });
  await sleep(300);
  const before = traffic.take();
  for (let time = 0; time < 3; time++) {
    await kill();
    await sleep(300);
    await start();
    await sleep(200);
  }
  const tally = await traffic.end();
  await kill();
  assert.deepEqual(kindsOf(before), []);
  assert.ok(tally.failures.refused > 0, JSON.stringify(tally));
  assert.ok(tally.failures.reset + tally.failures.eof > 0, JSON.stringify(tally));
  assert.ok(tally.stallMs > before.stallMs && tally.stallMs > 250, JSON.stringify([before, tally]));
});

test('outsideOfRequests acts when no request is in hand, and goes on', async (t) => {
  let inHand = 0;
  const server = createServer((_, response) => {
    inHand++;
    setTimeout(() => {
      inHand--;
      response.end('fine');
    }, 5);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => closed(server));
  const traffic = new Traffic({
    port: (server.address() as AddressInfo).port,
    newPerSecond: 300,
    keptAlive: 4,
    pauseMs: 1,
  });
  const seen: number[] = [];
  for (let time = 0; time < 5; time++) {
    await until('requests are in hand', () => inHand > 0);
    await traffic.outsideOfRequests(() => seen.push(inHand));
  }
  await until('it goes on', () => inHand > 0);
  const tally = await traffic.end();
  assert.deepEqual([seen, kindsOf(tally)], [[0, 0, 0, 0, 0], []]);
});
