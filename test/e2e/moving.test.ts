/** A worker is killed, and its successor boots for as long as the test wants: nobody waits for that boot who waited for the dead one. */
import assert from 'node:assert/strict';
import { copyFileSync, existsSync, rmSync } from 'node:fs';
import { describe, test } from 'node:test';
import { ask, Load, pidIn } from '../helpers/e2e-load.ts';
import type { Master } from '../helpers/e2e-master.ts';
import { isStopped, socketsOnPort } from '../helpers/e2e-proc.ts';
import { fixture, isRoot, Site, until, withoutBpf } from '../helpers/e2e-site.ts';

const uvicorn = '/usr/bin/uvicorn';
const needsUvicorn = !existsSync(uvicorn) && `${uvicorn} is not installed`;
const needsRoot = !isRoot && 'needs root, for CAP_BPF';

type App = (port: number) => Record<string, unknown>;
const servers: Record<string, { readonly skip: string | false; readonly app: App }> = {
  'uvicorn': {
    skip: needsRoot || needsUvicorn,
    app: () => ({
      command: [
        '/bin/sh',
        '-c',
        `until [ -e open ]; do sleep 0.02; done; exec ${uvicorn} asgi:app --fd {fd} --log-level warning`,
      ],
    }),
  },
  'a Node script': {
    skip: needsRoot,
    app: (port) => ({ script: fixture('boots-late.mjs'), env: { PORT: port } }),
  },
};

interface Running {
  readonly port: number;
  readonly master: Master;
  /** Pids of those that get connections. */
  readonly serving: readonly number[];
}

/** All have booted; who starts from now on does not get ready. */
async function running(
  site: Site,
  app: App,
  parts: Record<string, unknown>,
  under: readonly string[] = [],
): Promise<Running> {
  const port = await site.port();
  copyFileSync(fixture('asgi.py'), site.path('asgi.py'));
  site.config({
    apps: {
      web: { ...app(port), listen: [`127.0.0.1:${port}`], ready_timeout: '2m', reload: { canary: '50ms' }, ...parts },
    },
  });
  site.write('open', '');
  const master = site.start([], { under });
  await master.serves();
  await master.untilStatus('all are ready', ({ apps }) => apps[0]!.workers.every(({ state }) => state === 'ready'));
  const workers = await master.workers();
  rmSync(site.path('open'));
  return { port, master, serving: workers.filter(({ spare }) => !spare).map(({ pid }) => pid!) };
}

/** Requests that have been sent, some of which wait for this worker, which has taken none of them. Who has answered those that were answered. */
async function requestsAlsoFor(victim: number, port: number): Promise<{ answers: number[]; all: Promise<number[]> }> {
  process.kill(victim, 'SIGSTOP');
  await until('it stands still', () => isStopped(victim));
  const answers: number[] = [];
  const count = 60;
  const all = Promise.all(
    Array.from({ length: count }, async () => {
      const pid = pidIn(await ask(port, '/0'));
      answers.push(pid);
      return pid;
    }),
  );
  all.catch(() => undefined);
  const waiting = (): number => socketsOnPort(port).reduce((sum, one) => sum + (one.listening ? one.waiting : 0), 0);
  await until('only those for this worker wait', () => waiting() > 0 && answers.length + waiting() === count);
  return { answers, all };
}

for (const [name, { skip, app }] of Object.entries(servers)) {
  describe(`a worker of ${name} is killed`, { skip }, () => {
    for (const spares of [1, 0]) {
      test(`with ${spares} spares: who waited for it is answered before its successor is ready`, async (t) => {
        const site = new Site(t);
        const { port, master, serving } = await running(site, app, { workers: 4, spares });
        const [victim = 0, ...others] = serving;
        const { all } = await requestsAlsoFor(victim, port);
        process.kill(victim, 'SIGKILL');
        const answers = await all;
        const promoted = master.eventsOf('worker.promoted').at(-1)?.pid;
        const living = spares === 0 ? others : [...others, promoted];
        assert.ok(
          answers.every((pid) => living.includes(pid)),
          `${answers.join()} of ${living.join()}`,
        );
        const successor = (await master.workers()).find(({ lastExit }) => lastExit?.signal === 'SIGKILL');
        assert.ok(successor !== undefined && successor.state !== 'ready', 'its successor boots');
        assert.deepEqual(master.eventsOf('worker.makes_room', 'app.warning'), []);

        // The listener that it gets is as good as any.
        site.write('open', '');
        await master.untilStatus('it is ready', ({ apps }) => apps[0]!.workers.every(({ state }) => state === 'ready'));
        await site.ok('reload');
        assert.equal((await Promise.all(Array.from({ length: 40 }, () => ask(port, '/0')))).length, 40);
        await master.stop();
      });
    }
  });
}

test('of clients in a loop nobody waits for the boot', { skip: servers['uvicorn']!.skip }, async (t) => {
  const site = new Site(t);
  const { port, master, serving } = await running(site, servers['uvicorn']!.app, { workers: 4, spares: 1 });
  const load = new Load(t, port, { clients: 8, pauseMs: 0, path: '/1' });
  await until('they are at it', () => load.answered > 100);
  process.kill(serving[0]!, 'SIGKILL');
  await master.event('worker.promoted');
  const before = load.answered;
  await until('the others go on', () => load.answered > before + 100);
  // It waits for all that were sent. None of them could have been answered by the successor.
  await load.end();
  const exited = await master.event('worker.exited');
  assert.equal(exited.pid, serving[0]);
  // What the worker had in hand is lost, one request of each client at most.
  assert.ok(load.failures.length <= 8 && load.failures.every((code) => code === 'ECONNRESET'), load.failures.join());
  await master.stop();
});

test(
  'without a ready worker requests wait, and the first that is ready answers all of them',
  { skip: needsRoot },
  async (t) => {
    const site = new Site(t);
    const { port, master, serving } = await running(site, servers['a Node script']!.app, { workers: 3 });
    for (const pid of serving) process.kill(pid, 'SIGKILL');
    await master.untilStatus('all boot', ({ apps }) =>
      apps[0]!.workers.every(({ state, pid }) => state === 'starting' && !serving.includes(pid ?? 0)),
    );
    const all = Array.from({ length: 20 }, () => ask(port));
    const waiting = (): number => socketsOnPort(port).reduce((sum, one) => sum + (one.listening ? one.waiting : 0), 0);
    await until('all wait', () => waiting() === 20);
    const last = (await master.workers()).at(-1)!;
    site.write(`open.${last.slot}`, '');
    assert.deepEqual(new Set((await Promise.all(all)).map(pidIn)), new Set([last.pid]));
    assert.equal((await master.pids()).length, 1);
    await master.stop();
  },
);

test(
  'without the right to it they wait for the successor, which an app with spares is told',
  { skip: servers['uvicorn']!.skip },
  async (t) => {
    const site = new Site(t);
    const { port, master, serving } = await running(
      site,
      servers['uvicorn']!.app,
      { workers: 4, spares: 1 },
      withoutBpf,
    );
    const [victim = 0, ...others] = serving;
    const { answers, all } = await requestsAlsoFor(victim, port);
    const before = answers.length;
    process.kill(victim, 'SIGKILL');
    const { worker } = await master.event('worker.exited');
    const successor = await master.event('worker.starting', (event) => event.worker === worker && event.pid !== victim);
    assert.ok(pidIn(await ask(port, '/0')) !== successor.pid, 'new ones go to the others');
    assert.equal(answers.length, before, 'nobody else has answered them');
    site.write('open', '');
    const { length } = await all;
    assert.equal(answers.filter((pid) => pid === successor.pid).length, length - before);
    assert.ok(answers.slice(0, before).every((pid) => others.includes(pid)));
    assert.match((await master.app()).notes.join(), /what waits for a worker that dies cannot be moved at .*EPERM/);
    await master.stop();
  },
);
