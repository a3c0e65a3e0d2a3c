/** What waits at the listener of a worker that is gone, and what nobody can serve yet: moved by the real kernel to those who are ready. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import net from 'node:net';
import { constants as osConstants } from 'node:os';
import { describe, test } from 'node:test';
import { loadNative } from '../../src/system/native.ts';
import { chooseFromMap } from '../../src/system/sockets/moving-program.ts';
import { Address, calls, cannotMove, isNonBlocking, ways } from './lane-address.ts';
import { fixture, killed, linesOf, start, systemFolder, until } from './processes.ts';

const skip = cannotMove;

/** Takes a connection, reads what the client has sent, and answers. */
const server = ['python3', fixture('e2e/only-accepts.py')];
const answerOf = ({ pid }: { readonly pid: number }): string => `HTTP/1.0 200 OK\r\n\r\n${pid}`;

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);

/** Clients that are connected, and have sent something. What each has got, as soon as it is over; an error's code, if it was reset. */
async function clients(address: Address, count: number, host = '127.0.0.1'): Promise<{ answers: string[] }> {
  const answers: string[] = [];
  const sockets = Array.from({ length: count }, () =>
    net.connect(address.port, host, function (this: net.Socket) {
      this.write('hello');
    }),
  );
  for (const socket of sockets) {
    let text = '';
    socket.on('data', (chunk) => (text += String(chunk)));
    socket.on('error', (error: NodeJS.ErrnoException) => (text = error.code ?? error.message));
    socket.on('close', () => answers.push(text));
    address.keep(socket);
  }
  await Promise.all(sockets.map((socket) => once(socket, 'connect')));
  return { answers };
}

for (const way of ways) {
  describe(`the program that the kernel runs (${way})`, () => {
    const sets = [[0], [3], [0, 1, 2, 3, 4, 5], [1, 2, 4], [0, 5], [0, 2, 4], [2, 3, 4]];
    for (const set of sets) {
      test(`chooses among ${set.join(', ')} of 6`, async (t) => {
        const address = new Address(t, { way });
        const seats = address.seats(6);
        for (const index of set) seats[index]!.enter();
        assert.deepEqual(await address.chosen(150), set);
        // With the instructions that let a source choose before the others.
        seats[5]!.reach(0);
        assert.deepEqual(await address.chosen(150), set);
      });
    }

    test('lets no source choose a socket that is not there', async (t) => {
      const address = new Address(t, { way });
      const seats = address.seats(3);
      seats[1]!.enter();
      seats[0]!.reach(0);
      for (const localAddress of ['127.77.0.3', '127.77.1.0', '127.76.255.255', '127.78.0.0'])
        // Without a choice the kernel takes any.
        for (let round = 0; round < 20; round++) assert.deepEqual(await address.from(localAddress), [1]);
    });

    test('chooses each as often as any other', async (t) => {
      const address = new Address(t, { way });
      const seats = address.seats(4);
      for (const index of [0, 2, 3]) seats[index]!.enter();
      const got = await address.connect(600);
      // Each is expected to get 200, with a deviation of 11.5: six of these are never seen.
      assert.ok(
        [0, 2, 3].every((index) => got[index]! > 130 && got[index]! < 270),
        `${got.join()}`,
      );
    });
  });
}

test('a kernel that moves nothing refuses the program: it asks for what only the others know', { skip }, (t) => {
  const { bpf } = loadNative()!;
  const map = bpf.socketMap(8);
  t.after(() => calls.close(map));
  const [first, ...rest] = chooseFromMap(map, { indices: [0], sources: 0 });
  assert.deepEqual(first, [0x79, 2, 1, 48, 0], 'it reads migrating_sk of struct sk_reuseport_md');
  const loaded = bpf.loadChooser([first, ...rest]);
  assert.ok(loaded >= 0);
  calls.close(loaded);
  // As 48 is to a kernel before 5.14: right behind the last field that there is.
  assert.equal(bpf.loadChooser([[0x79, 2, 1, 56, 0], ...rest]), -osConstants.errno.EACCES);
});

test('the kernel takes a program whatever signals come meanwhile', { skip }, async (t) => {
  const { bpf } = loadNative()!;
  const map = bpf.socketMap(8);
  t.after(() => calls.close(map));
  const deaths = `import os, signal, time
while True: os.kill(${process.pid}, signal.SIGCHLD); print(flush=True); time.sleep(1e-4)`;
  await linesOf(start(t, ['python3', '-c', deaths]))();
  const program = chooseFromMap(map, { indices: [0, 2, 4, 6], sources: 8 });
  const loaded = Array.from({ length: 500 }, () => bpf.loadChooser(program));
  for (const fd of loaded) if (fd >= 0) calls.close(fd);
  assert.deepEqual(new Set(loaded.filter((fd) => fd < 0)), new Set());
});

test('what the kernel refuses for want of descriptors it is told again', { skip }, async (t) => {
  const address = new Address(t, { way: 'moving' });
  const seats = address.seats(2);
  const { answers } = await clients(address, 5);
  const living = address.serve(seats[1]!, server);
  const limit = (soft: string): void =>
    assert.equal(spawnSync('prlimit', [`--nofile=${soft}:`, `--pid=${process.pid}`]).status, 0);
  const old = String(
    spawnSync('prlimit', ['--nofile', '--noheadings', '-oSOFT', `--pid=${process.pid}`]).stdout,
  ).trim();
  limit('300');
  const files: number[] = [];
  t.after(() => limit(old));
  assert.throws(
    () => {
      for (;;) files.push(openSync('/dev/null', 'r'));
    },
    { code: 'EMFILE' },
  );
  seats[1]!.enter();
  assert.deepEqual(address.queues(), [0, 0, 5], 'they are parked still');
  files.forEach(closeSync);
  await until(() => answers.length === 5, 'all answers');
  assert.deepEqual(new Set(answers), new Set([answerOf(living)]));
});

describe('what waits for a worker that is gone', { skip }, () => {
  for (const [listens, from] of [
    ['127.0.0.1', '127.0.0.1'],
    ['', '127.0.0.1'],
    ['', '::1'],
    ['::', '::1'],
    ['::1', '::1'],
  ] as const) {
    test(`goes to those who are ready, and to nobody else: ${from} at ${listens || 'all addresses'}`, async (t) => {
      const address = new Address(t, { host: listens, way: 'moving' });
      const seats = address.seats(4);
      seats[1]!.enter();
      assert.deepEqual(await address.chosen(60, from), [1]);
      seats[2]!.enter();
      seats[3]!.enter();
      seats[1]!.end();
      const queues = address.queues();
      assert.deepEqual([queues[0], queues[1], sum(queues)], [0, 0, 60]);
      assert.ok(queues[2]! > 0 && queues[3]! > 0, `it is spread: ${queues.join()}`);
    });
  }

  test('is served by them, and its clients see nothing of it', async (t) => {
    const address = new Address(t, { way: 'moving' });
    const seats = address.seats(3);
    seats[1]!.enter();
    const { answers } = await clients(address, 30);
    const living = [address.serve(seats[0]!, server), address.serve(seats[2]!, server)];
    seats[0]!.enter();
    seats[2]!.enter();
    seats[1]!.end();
    await until(() => answers.length === 30, 'all answers');
    const expected = new Set(living.map(answerOf));
    assert.deepEqual(new Set(answers), expected);
  });

  test('is served as well by one that waited for a connection all the time', async (t) => {
    const epoll = `import selectors, socket, os
s = socket.socket(fileno=3); s.setblocking(False)
wait = selectors.DefaultSelector(); wait.register(s, selectors.EVENT_READ); print(flush=True)
while True:
    wait.select()
    try:
        while True:
            c, _ = s.accept(); c.setblocking(True); c.recv(9); c.sendall(b"moved"); c.close()
    except BlockingIOError: pass`;
    const blocking = `import socket
s = socket.socket(fileno=3); print(flush=True)
while True:
    c, _ = s.accept(); c.setblocking(True); c.recv(9); c.sendall(b"moved"); c.close()`;
    const node = `require('net').createServer((c) => c.on('data', () => c.end('moved'))).listen({ fd: 3 }, () => console.log(''))`;
    for (const program of [
      ['python3', '-c', epoll],
      ['python3', '-c', blocking],
      [process.execPath, '-e', node],
    ]) {
      const address = new Address(t, { way: 'moving' });
      const seats = address.seats(2);
      seats[1]!.enter();
      const { answers } = await clients(address, 5);
      await linesOf(address.serve(seats[0]!, program))();
      seats[0]!.enter();
      seats[1]!.end();
      await until(() => answers.length === 5, 'all answers');
      assert.deepEqual(new Set(answers), new Set(['moved']));
    }
  });

  for (const host of ['127.0.0.1', '', '::1']) {
    test(`so does what was in the middle of its handshake, at ${host || 'all addresses'}`, async (t) => {
      const address = new Address(t, { host, way: 'moving' });
      const seats = address.seats(2);
      // The kernel leaves connections in their handshake until the client has sent something (TCP_DEFER_ACCEPT).
      const defer = `import socket; socket.socket(fileno=3).setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 30)`;
      await once(address.serve(seats[1]!, ['python3', '-c', defer]), 'exit');
      seats[1]!.enter();
      const from = host === '::1' ? '::1' : '127.0.0.1';
      const sockets = Array.from({ length: 10 }, () => net.connect(address.port, from));
      sockets.forEach((socket) => address.keep(socket));
      await Promise.all(sockets.map((socket) => once(socket, 'connect')));
      assert.deepEqual(address.queues(), [0, 0], 'they are in no queue yet');
      const living = address.serve(seats[0]!, server);
      seats[0]!.enter();
      seats[1]!.end();
      const answers = sockets.map((socket) => once(socket, 'data'));
      for (const socket of sockets) socket.write('hello');
      const texts = (await Promise.all(answers)).map(String);
      assert.deepEqual(new Set(texts), new Set([answerOf(living)]));
    });
  }

  test('stays while another process has the same listener', async (t) => {
    const address = new Address(t, { way: 'moving' });
    const [one, other] = [address.seat('shared'), address.seat('shared')];
    const second = address.seat();
    one.enter();
    await address.chosen(5);
    second.enter();
    one.end();
    assert.equal(address.queues()[0], 5);
    other.end();
    assert.equal(address.queues()[0], 0);
    assert.equal(sum(address.queues()), 5);
  });

  test('leaves a listener behind that serves the next process, and has all that the old one had', async (t) => {
    for (const index of [0, 1]) {
      const address = new Address(t, { way: 'moving' });
      const seats = address.seats(2);
      const { port } = address;
      for (const seat of seats) seat.enter();
      const node = `require('net').createServer((c) => c.end('first')).listen({ fd: 3 }, () => console.log(''))`;
      const first = address.serve(seats[index]!, [process.execPath, '-e', node]);
      await linesOf(first)();
      await killed(first);
      const before = seats[index]!.inodes;
      seats[index]!.end();
      const next = address.seat();
      assert.deepEqual(next.fds, seats[index]!.fds, 'the same place');
      assert.notDeepEqual(next.inodes, before, 'another socket');
      assert.ok(!isNonBlocking(next.fds[0]!));
      const living = address.serve(next);
      next.enter();
      seats[1 - index]!.drop();
      assert.equal(await address.say(), `nodelay=1 pid=${living.pid}\n`);
      assert.equal(address.port, port);
    }
  });
});

describe('what nobody can serve yet', { skip }, () => {
  test('goes to the first worker that is ready, whichever that is', async (t) => {
    const address = new Address(t, { way: 'moving' });
    const seats = address.seats(4);
    const { answers } = await clients(address, 20);
    assert.deepEqual(address.queues(), [0, 0, 0, 0, 20], 'it waits for nobody in particular');
    const living = address.serve(seats[2]!, server);
    seats[2]!.enter();
    await until(() => answers.length === 20, 'all answers');
    assert.deepEqual(new Set(answers), new Set([answerOf(living)]));
    assert.deepEqual(address.queues(), [0, 0, 0, 0], 'nothing is parked any more');
  });

  test('nor what waits for the last worker when that is gone, is lost', async (t) => {
    const address = new Address(t, { way: 'moving' });
    const seats = address.seats(2);
    seats[1]!.enter();
    const { answers } = await clients(address, 10);
    seats[1]!.end();
    seats[0]!.end();
    assert.deepEqual(address.queues(), [0, 0, 10]);
    await address.connect(3);
    assert.deepEqual(address.queues(), [0, 0, 13]);
    const [, late] = address.seats(2);
    const living = address.serve(late!, server);
    late!.enter();
    await until(() => answers.length === 10, 'all answers');
    assert.deepEqual(new Set(answers), new Set([answerOf(living)]));
  });

  test('is parked again the next time', async (t) => {
    const address = new Address(t, { way: 'moving' });
    const seats = address.seats(2);
    for (const [round, seat] of seats.entries()) {
      await address.connect(4);
      assert.equal(address.queues()[2], 4);
      seat.enter();
      assert.deepEqual(address.queues().length, 2);
      seat.drop();
      assert.equal(address.queues()[round], 4);
    }
  });

  test('is refused when the address is given up', async (t) => {
    const address = new Address(t, { way: 'moving' });
    address.seats(2);
    const { answers } = await clients(address, 3);
    const { port } = address;
    address.sockets.retain([]);
    await until(() => answers.length === 3, 'all are told');
    assert.deepEqual(new Set(answers), new Set(['ECONNRESET']));
    const [error] = (await once(net.connect(port, '127.0.0.1'), 'error')) as [NodeJS.ErrnoException];
    assert.equal(error.code, 'ECONNREFUSED');
  });
});

describe('where nothing can be moved', () => {
  test('an app with spares is told, and why; others are not', (t) => {
    const plain = new Address(t, { way: 'staying' });
    plain.seats(3);
    assert.deepEqual(plain.warnings, []);
    const spared = new Address(t, { way: 'staying' });
    spared.spares = 1;
    spared.seats(2);
    assert.match(
      spared.warnings.join(),
      /^what waits for a worker that dies cannot be moved at tcp:.* BPF_MAP_CREATE: EPERM/,
    );
  });

  test('an app with spares is told nothing where it is moved', { skip }, (t) => {
    const address = new Address(t, { way: 'moving' });
    address.spares = 1;
    address.seats(3);
    assert.deepEqual(address.warnings, []);
  });

  test('under a filter of system calls bpf(2) is not called: the filter may kill for it', async (t) => {
    // A filter that allows everything.
    const filtered = `import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
allow = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0x7fff0000))
class Program(ctypes.Structure): _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
program = Program(1, ctypes.addressof(allow))
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.byref(program)) == 0
os.execvp(sys.argv[1], sys.argv[1:])`;
    const asks = `const { loadNative } = await import(process.argv[1] + '/native.js'); console.log(loadNative().bpf.whyNot());`;
    const node = [process.execPath, '--input-type=module', '-e', asks, systemFolder];
    assert.match(await linesOf(start(t, ['python3', '-c', filtered, ...node]))(), /filtered \(seccomp\)/);
    if (cannotMove === false) assert.equal(await linesOf(start(t, node))(), 'null');
  });
});
