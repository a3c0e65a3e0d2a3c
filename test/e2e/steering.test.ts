/** Balanced in the kernel: each worker has a listener of its own, and connections go to those that are ready. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { copyFileSync, existsSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { ask, Load, pidIn } from '../helpers/e2e-load.ts';
import type { Master } from '../helpers/e2e-master.ts';
import { acceptedFrom, isAlive, isStopped, openFiles, socketsOnPort } from '../helpers/e2e-proc.ts';
import { fixture, isRoot, python, Site, withoutBpf, withoutKoffi } from '../helpers/e2e-site.ts';

const needsUvicorn = { skip: !existsSync('/usr/bin/uvicorn') && 'uvicorn is not installed' };
const uvicorn = 'uvicorn asgi:app --fd {fd} --log-level warning';

function listenersOf(pid: number, port: number): string[] {
  const listening = socketsOnPort(port).filter((socket) => socket.listening);
  const open = openFiles(pid);
  return listening.map(({ inode }) => inode).filter((inode) => open.includes(inode));
}

/** The answers of so many requests on new connections, by pid. */
async function answersOf(port: number, count: number): Promise<Set<number>> {
  const bodies = await Promise.all(Array.from({ length: count }, () => ask(port)));
  return new Set(bodies.map(pidIn));
}

describe('a listener for each worker', () => {
  test('of uvicorn, by flags alone; all of them are held by the master', needsUvicorn, async (t) => {
    const site = new Site(t);
    const port = await site.port();
    copyFileSync(fixture('asgi.py'), site.path('asgi.py'));
    const words = ['--name', site.name, '-w', '3', '-b', `127.0.0.1:${port}`, '--', ...uvicorn.split(' ')];
    const master = await site.start(words).serves();
    const pids = await master.pids('uvicorn');
    const each = pids.map((pid) => listenersOf(pid, port));
    assert.deepEqual(
      each.map((listeners) => listeners.length),
      [1, 1, 1],
    );
    assert.deepEqual(new Set(each.flat()), new Set(listenersOf(master.pid, port)));
    assert.equal(new Set(each.flat()).size, 3);
    assert.deepEqual((await master.app('uvicorn')).notes, []);
    await master.stop();
  });

  test('is kept by a scale-down and by a crash, and used again; a reload needs one for its surge', async (t) => {
    const site = new Site(t);
    const port = await site.port();
    const app = { command: [python, fixture('only-accepts.py')], workers: 3, listen: [`127.0.0.1:${port}`] };
    site.config({ apps: { web: { ...app, reload: { canary: '50ms' } } } });
    const master = await site.start().serves();
    const before = listenersOf(master.pid, port);
    assert.equal(before.length, 3);
    await site.ok('scale', 'web', '1');
    assert.deepEqual(await answersOf(port, 20), new Set(await master.pids()));
    await site.ok('scale', 'web', '3');
    process.kill((await master.pids())[1]!, 'SIGKILL');
    await master.until('its successor is ready', () => master.eventsOf('worker.ready').length === 6);
    assert.equal(listenersOf(master.pid, port).length, 3);
    await site.ok('reload');
    // Not both of its lists at one moment: the listener of the worker that has just ended may be renewed in between.
    await master.until('one more is there', () => listenersOf(master.pid, port).length === 4);
    assert.deepEqual(await answersOf(port, 100), new Set(await master.pids()));
    await master.stop();
  });

  test('is not there with `balance: shared`', async (t) => {
    const site = new Site(t);
    const port = await site.port();
    const app = { command: [python, fixture('only-accepts.py')], workers: 2, listen: [`127.0.0.1:${port}`] };
    site.config({ apps: { web: { ...app, balance: 'shared' } } });
    const master = await site.start().serves();
    assert.equal(listenersOf(master.pid, port).length, 1);
    assert.deepEqual((await master.app()).notes, []);
    await master.stop();
  });

  test('without koffi all share one, which is said once and stands in the status', async (t) => {
    const site = new Site(t);
    const port = await site.port();
    const app = { command: [python, fixture('only-accepts.py')], workers: 3, listen: [`127.0.0.1:${port}`] };
    site.config({ apps: { web: { ...app, reload: { canary: '50ms' } } } });
    const master = await site.start([], { bin: withoutKoffi(site) }).serves();
    assert.equal(listenersOf(master.pid, port).length, 1);
    const [note, ...others] = (await master.app()).notes;
    assert.match(note ?? '', /are not steered: .*koffi/);
    assert.deepEqual(others, []);
    assert.equal(master.eventsOf('app.warning').length, 1);
    for (const others of [
      ['scale', 'web', '1'],
      ['scale', 'web', '3'],
      ['reload'],
      ['scale', 'web', '1'],
      ['scale', 'web', '2'],
    ]) {
      await site.ok(...others);
      assert.deepEqual((await master.app()).notes, [note]);
    }
    assert.equal(master.eventsOf('app.warning').length, 1);
    await master.stop();
  });
});

interface NumberedRequest {
  readonly id: number;
  /** The port that it comes from; null until it is connected. */
  port: number | null;
}

/** Everybody's requests, each with an id and a connection of its own: what became of them, and which worker took which. */
class NumberedRequests {
  readonly #failures = new Map<number, string>();
  readonly #site: Site;
  readonly #port: number;
  readonly #going = new Map<NumberedRequest, Promise<void>>();
  #ids = 0;

  constructor(site: Site, port: number) {
    this.#site = site;
    this.#port = port;
  }

  /** Those that have no answer yet. */
  get going(): readonly NumberedRequest[] {
    return [...this.#going.keys()];
  }

  send(): void {
    const socket = connect(this.#port, '127.0.0.1');
    const request: NumberedRequest = { id: ++this.#ids, port: null };
    socket.once('connect', () => (request.port = socket.localPort ?? null));
    const going = ask({ agent: undefined, createConnection: () => socket }, `/20?id=${request.id}`).then(
      () => undefined,
      (error: Error) => void this.#failures.set(request.id, error.message),
    );
    this.#going.set(request, going);
    void going.then(() => this.#going.delete(request));
  }

  async settled(): Promise<void> {
    while (this.#going.size > 0) await Promise.all(this.#going.values());
  }

  /** "17: read ECONNRESET": those without an answer. */
  lost(but: readonly number[]): string[] {
    return [...this.#failures].filter(([id]) => !but.includes(id)).map(([id, why]) => `${id}: ${why}`);
  }

  /** The ids that the application of this worker has begun. */
  begunBy(pid: number): number[] {
    const lines = readFileSync(this.#site.path('taken'), 'utf8').split('\n');
    return lines.flatMap((line) => (line.startsWith(`${pid} id=`) ? [Number(line.split('=')[1])] : []));
  }
}

test(
  'kill -9 of a worker under load loses only what it had in hand: what waited for it is served',
  needsUvicorn,
  async (t) => {
    const site = new Site(t);
    const port = await site.port();
    copyFileSync(fixture('asgi.py'), site.path('asgi.py'));
    site.config({ apps: { web: { command: uvicorn, workers: 2, listen: [`127.0.0.1:${port}`] } } });
    const master = await site.start().serves();
    const [victim, other] = (await master.pids()) as [number, number];
    const requests = new NumberedRequests(site, port);
    const keepsOn = setInterval(() => requests.send(), 5);
    t.after(() => clearInterval(keepsOn));
    await master.until('both have served', () => [victim, other].every((pid) => requests.begunBy(pid).length > 5));

    // Stopped, it takes nothing any more: from now on connections wait for it.
    process.kill(victim, 'SIGSTOP');
    await master.until('it is stopped', () => isStopped(victim));
    const ofThen = requests.going;
    const accepted = acceptedFrom(victim, port);
    await master.until('many wait for it', () => requests.going.length > ofThen.length + 20);
    await master.until('it is known who comes from where', () => ofThen.every((request) => request.port !== null));
    assert.ok(socketsOnPort(port).some(({ listening, waiting }) => listening && waiting > 0));
    process.kill(victim, 'SIGKILL');
    await master.until('its successor is ready', () => master.eventsOf('worker.ready').length === 3);
    clearInterval(keepsOn);
    await requests.settled();

    // What it has accepted is in its hand, also where the application has not begun with it.
    const inHand = ofThen.filter((request) => accepted.has(request.port!)).map(({ id }) => id);
    assert.deepEqual(requests.lost(inHand), []);
    await master.stop();
  },
);

describe('while no worker is ready', () => {
  const boots = (port: number) => ({
    command: ['/bin/sh', '-c', `until [ -e open ]; do sleep 0.02; done; exec ${python} ${fixture('only-accepts.py')}`],
    workers: 2,
    listen: [`127.0.0.1:${port}`],
  });

  async function waitingFor(port: number, count: number): Promise<Promise<string>[]> {
    while (!socketsOnPort(port).some(({ listening }) => listening)) await sleep(10);
    return Array.from({ length: count }, () => ask(port));
  }

  test('at a start, connections wait, and the first that is ready serves them', async (t) => {
    const site = new Site(t);
    const port = await site.port();
    site.config({ apps: { web: boots(port) } });
    const master = site.start();
    const answers = await waitingFor(port, 20);
    await master.until('both start', () => master.eventsOf('worker.starting').length === 2);
    site.write('open', '');
    const pids = new Set((await Promise.all(answers)).map(pidIn));
    await master.serves();
    const ready = await master.pids();
    assert.ok([...pids].every((pid) => ready.includes(pid)));
    await master.stop();
  });

  test('after all have died at once, connections wait for their successors', async (t) => {
    const site = new Site(t);
    const port = await site.port();
    site.config({ apps: { web: boots(port) } });
    site.write('open', '');
    const master = await site.start().serves();
    const pids = await master.pids();
    for (const pid of pids) process.kill(pid, 'SIGKILL');
    await master.until('they are gone', () => !pids.some(isAlive));
    const answers = await Promise.all(await waitingFor(port, 20));
    assert.ok(answers.map(pidIn).every((pid) => !pids.includes(pid)));
    await master.stop();
  });
});

test(
  'workers that are restarted, scaled down and reloaded under full load lose no request',
  needsUvicorn,
  async (t) => {
    const site = new Site(t);
    const port = await site.port();
    copyFileSync(fixture('asgi.py'), site.path('asgi.py'));
    site.config({
      apps: { web: { command: uvicorn, workers: 3, listen: [`127.0.0.1:${port}`], reload: { canary: '50ms' } } },
    });
    const master = await site.start().serves();
    const loads = [
      new Load(t, port, { clients: 4, pauseMs: 0, path: '/0' }),
      // uvicorn closes a connection that has not brought its request yet when it is asked to end.
      new Load(t, port, { clients: 12, pauseMs: 0, path: '/0', hesitatesMs: 40 }),
    ];
    const firstOf = async (all: Master) => (await all.workers()).find(({ state }) => state === 'ready')!.id;
    await site.ok('restart', await firstOf(master));
    await site.ok('scale', 'web', '1');
    await site.ok('scale', 'web', '3');
    await site.ok('reload');
    await site.ok('restart', await firstOf(master));
    for (const load of loads) {
      await load.end();
      assert.deepEqual(load.failures, []);
      assert.ok(load.pids.size >= 8, `${load.pids.size} processes only`);
    }
    await master.stop();
  },
);

for (const [who, under, makesRoom] of [
  ['those who are ready, where it can be moved', [], isRoot ? [] : ['replace']],
  ['one that makes room, where it cannot', withoutBpf, ['replace']],
] as const)
  test(`what waits for a worker that hangs, and is replaced by a reload, is served by ${who}`, async (t) => {
    const site = new Site(t);
    const port = await site.port();
    const app = { command: [python, fixture('only-accepts.py')], workers: 2, listen: [`127.0.0.1:${port}`] };
    const web = { ...app, stop: { timeout: '1s' }, reload: { canary: '50ms' } };
    site.config({ apps: { web }, resources: { sample_every: '500ms' } });
    const master = await site.start([], { under }).serves();
    // The last one to be replaced: nobody is started after it, who would get its listener.
    const [serves, hangs = 0] = await master.pids();
    process.kill(hangs, 'SIGSTOP');
    // Until then it may accept one more, and that one is lost with it.
    await master.until('it is stopped', () => isStopped(hangs));
    const asked = Array.from({ length: 30 }, () => ask({ host: '127.0.0.1', port, timeout: 120_000 }));
    const answered = await Promise.race([Promise.all(asked), sleep(1_500)]);
    assert.equal(answered, undefined, 'some wait for the one that hangs');
    await site.ok('reload');
    const pids = (await Promise.all(asked)).map(pidIn);
    assert.ok(!pids.includes(hangs));
    assert.ok(
      pids.some((pid) => pid !== serves),
      'those that waited',
    );
    assert.deepEqual(
      master.eventsOf('worker.makes_room').map(({ action }) => action),
      makesRoom,
    );
    if (makesRoom.length > 0)
      await master.until('one has made room', () =>
        master.eventsOf('worker.exited').some(({ cause }) => cause === 'stranded'),
      );
    await master.stop();
  });
