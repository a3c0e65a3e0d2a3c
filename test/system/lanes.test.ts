/** Steering against the real kernel: where new connections go, what waits for whom, and what happens where it cannot be had. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { describe, test } from 'node:test';
import type { ListenSpec } from '../../src/core/spec.ts';
import { createLocks } from '../../src/system/instance/locks.ts';
import { createSockets } from '../../src/system/sockets/sockets.ts';
import { Address, isNonBlocking, ways } from './lane-address.ts';
import { killed, start } from './processes.ts';

for (const way of ways) {
  describe(`the rotation (${way})`, () => {
    test('has the ready workers, and no others', async (t) => {
      const address = new Address(t, { way });
      const seats = address.seats(4);
      for (const seat of [seats[1]!, seats[2]!]) seat.enter();
      assert.deepEqual(await address.chosen(), [1, 2]);
      seats[3]!.enter();
      assert.deepEqual(await address.chosen(), [1, 2, 3]);
      seats[2]!.leave(10_000, () => undefined);
      assert.deepEqual(await address.chosen(), [1, 3]);
      seats[1]!.drop();
      assert.deepEqual(await address.chosen(), [3]);
      // Late messages of a process that was asked to end.
      seats[2]!.enter();
      assert.deepEqual(await address.chosen(), [3]);
    });
  });

  describe(`a probe (${way})`, () => {
    for (const host of ['127.0.0.1', '', '0.0.0.0']) {
      test(`reaches its worker, in the rotation or not, at ${host || 'all addresses'}`, async (t) => {
        const address = new Address(t, { host, way });
        const seats = address.seats(4);
        seats[2]!.enter();
        seats[3]!.enter();
        for (const [index, seat] of seats.entries()) assert.deepEqual(await address.reach(seat), [index]);
        assert.deepEqual(await address.chosen(), [2, 3], 'other clients are steered as before');
        address.seat(); // One more listener: the kernel is told anew.
        for (const [index, seat] of seats.entries()) assert.deepEqual(await address.reach(seat), [index]);
        seats[2]!.drop();
        seats[3]!.drop();
        assert.deepEqual(await address.chosen(), [way === 'moving' ? address.fds.length - 1 : 0]);
      });
    }

    test('reaches its worker also beyond 256', async (t) => {
      const address = new Address(t, { way });
      const seats = address.seats(260);
      seats[0]!.enter();
      assert.deepEqual(seats[258]!.reach(0), { localAddress: '127.77.1.2' });
      assert.deepEqual(await address.reach(seats[258]!), [258]);
    });

    test('of the only worker needs no address, and none is told to the kernel before it is asked for', async (t) => {
      const address = new Address(t, { way });
      const [only] = address.seats(1);
      assert.deepEqual(only!.reach(0), {});
      const other = new Address(t, { way });
      const seats = other.seats(2);
      seats[0]!.enter();
      const client = net.connect({ port: other.port, host: '127.0.0.1', localAddress: '127.77.0.1' });
      t.after(() => client.destroy());
      await once(client, 'connect');
      assert.deepEqual(other.queues(), [1, 0]);
    });
  });

  describe(`leaving (${way})`, () => {
    test('takes until nothing waits at that listener any more', async (t) => {
      const address = new Address(t, { way });
      const seats = address.seats(2);
      for (const seat of seats) seat.enter();
      await address.connect(20);
      let state: 'waits' | 'empty' = 'waits';
      const empty = new Promise<void>((done) => {
        seats[1]!.leave(60_000, () => {
          state = 'empty';
          done();
        });
      });
      // Longer than any wait that does not look at the queue.
      await new Promise((done) => setTimeout(done, 600));
      assert.equal(state, 'waits');
      address.serve(seats[1]!);
      await empty;
      assert.equal(address.queues()[1], 0);
    });

    test('ends in any case, also with a queue that nobody empties', async (t) => {
      const address = new Address(t, { way });
      const seats = address.seats(2);
      for (const seat of seats) seat.enter();
      await address.connect(20);
      await new Promise<void>((done) => void seats[1]!.leave(300, done));
      assert.ok(address.queues()[1]! > 0);
    });

    test('of all workers takes no time: there is no other listener for the clients to go to', (t) => {
      const address = new Address(t, { way });
      const seats = address.seats(3);
      for (const seat of seats) seat.enter();
      const empty: number[] = [];
      for (const [index, seat] of seats.entries()) seat.leave(60_000, () => empty.push(index));
      assert.deepEqual(
        empty.sort((a, b) => a - b),
        [0, 1, 2],
      );
    });

    test('before it was ready, and beside another on the same listener, takes no time', (t) => {
      const address = new Address(t, { way });
      address.seat().enter();
      const told: string[] = [];
      address.seat().leave(60_000, () => told.push('starting'));
      const [one, other] = [address.seat('shared'), address.seat('shared')];
      for (const seat of [one, other]) seat.enter();
      one.leave(60_000, () => told.push('shared'));
      assert.deepEqual(told, ['starting', 'shared']);
    });

    test('is over without a word when the process ends', async (t) => {
      const address = new Address(t, { way });
      const seats = address.seats(2);
      for (const seat of seats) seat.enter();
      await address.connect(20);
      const told: string[] = [];
      seats[1]!.leave(300, () => told.push('empty'));
      seats[1]!.end();
      await new Promise<void>((done) => void seats[0]!.leave(600, done));
      assert.deepEqual(told, []);
    });
  });

  describe(`each worker has a listener of its own (${way})`, () => {
    test('on IPv6 and IPv4 at once', async (t) => {
      const address = new Address(t, { host: '', way });
      for (const seat of address.seats(3)) seat.enter();
      assert.deepEqual(await address.chosen(100, '127.0.0.1'), [0, 1, 2]);
      assert.deepEqual(await address.chosen(100, '::1'), [0, 1, 2]);
    });

    test('on IPv6 alone, and the port stays free in IPv4', async (t) => {
      const address = new Address(t, { host: '::', way });
      for (const seat of address.seats(2)) seat.enter();
      assert.deepEqual(await address.chosen(100, '::1'), [0, 1]);
      const four = net.createServer().listen(address.port, '127.0.0.1');
      await once(four, 'listening');
      four.close();
    });

    test('that is NODELAY, and blocking for each new process, whatever the one before has done to it', async (t) => {
      const address = new Address(t, { way });
      const [, second] = address.seats(2);
      second!.enter();
      const first = address.serve(second!);
      assert.equal(await address.say(), `nodelay=1 pid=${first.pid}\n`);
      await killed(first);
      second!.end();

      const again = address.seat();
      assert.deepEqual(again.fds, second!.fds);
      again.enter();
      const program = `require('net').createServer((c) => c.end('node')).listen({ fd: 3 })`;
      const node = address.serve(again, [process.execPath, '-e', program]);
      assert.equal(await address.say(), 'node');
      await killed(node);
      again.end();
      if (way === 'staying') assert.ok(isNonBlocking(second!.fds[0]!), 'Node makes it non-blocking');

      const third = address.seat();
      assert.deepEqual(third.fds, second!.fds);
      assert.ok(!isNonBlocking(second!.fds[0]!));
      third.enter();
      const last = address.serve(third);
      assert.equal(await address.say(), `nodelay=1 pid=${last.pid}\n`);
    });

    test('beside connections of the past on the same port (TIME_WAIT)', async (t) => {
      const address = new Address(t, { way });
      const seat = address.seat();
      const server = address.serve(seat);
      seat.enter();
      // The server closes first, so the address is left in TIME_WAIT.
      await address.say();
      address.seat().enter();
      assert.equal(address.fds.length, 2);
      assert.deepEqual(address.warnings, []);
      await killed(server);
    });

    test('none is left open when the address is given up', async (t) => {
      const address = new Address(t, { way });
      address.seats(3);
      const { port } = address;
      address.sockets.retain([]);
      const client = net.connect(port, '127.0.0.1');
      const [error] = (await once(client, 'error')) as [NodeJS.ErrnoException];
      assert.equal(error.code, 'ECONNREFUSED');
    });

    test('and nobody else gets the address', (t) => {
      const address = new Address(t, { way });
      address.seats(2);
      const other = createSockets(createLocks());
      assert.throws(() => other.bind([{ ...address.spec, port: address.port } as ListenSpec]), {
        code: 'socket-in-use',
        message: new RegExp(`in use by pid ${process.pid} `),
      });
    });

    test('a port is in use also when its holder would share it (SO_REUSEPORT)', async (t) => {
      const program = `import socket
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1); s.bind(("127.0.0.1", 0)); s.listen()
print(s.getsockname()[1], flush=True); s.accept()`;
      const holder = start(t, ['python3', '-c', program]);
      const [text] = (await once(holder.stdout!, 'data')) as [Buffer];
      const port = Number(text.toString());
      const sockets = createSockets(createLocks());
      assert.throws(() => sockets.bind([{ kind: 'tcp', host: '127.0.0.1', port, url: `tcp://127.0.0.1:${port}` }]), {
        code: 'socket-in-use',
        message: new RegExp(`in use by pid ${holder.pid} `),
      });
    });
  });
}

describe('where what waits cannot be moved', () => {
  test('without a ready worker connections queue for the one that has been starting for longest', async (t) => {
    const address = new Address(t);
    assert.deepEqual(await address.chosen(5), [0]);
    const seats = address.seats(3);
    assert.deepEqual(await address.chosen(), [0]);
    seats[0]!.drop();
    assert.deepEqual(await address.chosen(), [1]);
    seats[2]!.enter();
    assert.deepEqual(await address.chosen(), [2]);
  });

  test('without any worker connections queue where the last one was, and the next one gets them', async (t) => {
    const address = new Address(t);
    const seats = address.seats(3);
    for (const seat of seats) seat.enter();
    for (const index of [1, 0, 2]) seats[index]!.end();
    const next = address.seat();
    assert.deepEqual(next.fds, [address.fds[2]]);
    next.end();
    assert.deepEqual(await address.chosen(7), [2]);
    const second = address.seat();
    assert.deepEqual(second.fds, [address.fds[2]]);
    const server = address.serve(second);
    second.enter();
    assert.match(await address.say(), new RegExp(`pid=${server.pid}`));
    assert.deepEqual(address.queues(), [0, 0, 0]);
  });

  test('what a dead worker has left in its queue is for the next one that starts', async (t) => {
    const address = new Address(t);
    const seats = address.seats(3);
    seats[2]!.enter();
    await address.connect(5);
    seats[0]!.enter();
    seats[1]!.end();
    seats[2]!.end();
    assert.deepEqual(address.seat().fds, [address.fds[2]]);
    assert.deepEqual(address.seat().fds, [address.fds[1]]);
    assert.equal(address.fds.length, 3, 'a listener was opened although one was free');
    assert.deepEqual(address.queues(), [0, 0, 5]);
  });
});

describe('a probe without koffi', () => {
  test('cannot reach one of several that accept from one socket', (t) => {
    const address = new Address(t, { way: 'none' });
    const first = address.seat();
    assert.deepEqual(first.reach(0), {});
    const second = address.seat();
    assert.deepEqual([first.reach(0), second.reach(0)], [null, null]);
    first.end();
    assert.deepEqual(second.reach(0), {});
  });
});

describe('where it cannot be had', () => {
  test('without koffi all share one listener, and it is said once connections would have been steered', async (t) => {
    const address = new Address(t, { way: 'none' });
    const first = address.seat();
    assert.deepEqual(address.warnings, []);
    const second = address.seat();
    assert.deepEqual(second.fds, first.fds);
    assert.equal(address.warnings.length, 1);
    assert.match(
      address.warnings[0]!,
      /^connections to tcp:\S+ are not steered: the optional package koffi cannot be loaded/,
    );
    second.enter();
    assert.deepEqual(await address.chosen(5), [0]);
  });

  test('without koffi spares cannot be kept out, which is said with it', async (t) => {
    const address = new Address(t, { way: 'none' });
    address.spares = 1;
    const seats = address.seats(2);
    assert.match(address.warnings.join(), /are not steered: [^]*; so its spares cannot be kept out of the rotation/);
    assert.deepEqual(
      seats.map(({ isShared }) => isShared),
      [true, true],
    );
    for (const seat of seats) seat.end();
  });

  test('without koffi `steered` says so at once, `shared` never', async (t) => {
    const address = new Address(t, { way: 'none' });
    address.seat('shared');
    address.seat('shared');
    await new Promise(setImmediate);
    assert.deepEqual(address.warnings, []);
    const steered = new Address(t, { way: 'none' });
    steered.seat('steered');
    await new Promise(setImmediate);
    assert.equal(steered.warnings.length, 1);
  });

  test(
    'what the kernel refuses is named, and all share one listener',
    { skip: process.getuid?.() !== 0 && 'needs root' },
    (t) => {
      const address = new Address(t);
      const first = address.seat();
      // Only sockets of one user can share an address.
      process.seteuid?.(65534);
      const second = address.seat();
      process.seteuid?.(0);
      assert.deepEqual(second.fds, first.fds);
      assert.match(address.warnings.join(), /are not steered: the kernel refuses another listener: EADDRINUSE/);
      assert.equal(address.fds.length, 1);
      assert.notDeepEqual(address.seat().fds, first.fds, 'it is tried again');
    },
  );
});
