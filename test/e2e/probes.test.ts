/** `ready` and `health` of each worker at the one port that all of them have. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { copyFileSync, existsSync, rmSync } from 'node:fs';
import { resolve } from 'node:path';
import { ask } from '../helpers/e2e-load.ts';
import { Site, withoutKoffi } from '../helpers/e2e-site.ts';

const fixture = (name: string): string => resolve('test/fixtures/probed', name);
const kinds = [
  {
    name: 'uvicorn',
    skip: !existsSync('/usr/bin/uvicorn') && 'uvicorn is not installed',
    file: 'asgi.py',
    app: () => ({ command: '/usr/bin/uvicorn asgi:app --fd {fd} --log-level warning' }),
  },
  {
    name: 'a Node script',
    skip: false,
    file: 'server.mjs',
    app: (port: number) => ({ script: `server.mjs ${port}` }),
  },
];

/** The ids of the workers that answer so many clients. */
async function clients(port: number, count = 60): Promise<string[]> {
  const answers = await Promise.all(Array.from({ length: count }, () => ask(port)));
  return [...new Set(answers.map((answer) => answer.split(' ')[0] ?? ''))].toSorted();
}

for (const { name, skip, file, app } of kinds) {
  describe(name, { skip }, () => {
    test('the worker whose health check fails is replaced, and no other', async (t) => {
      const site = new Site(t);
      const port = await site.port();
      copyFileSync(fixture(file), site.path(file));
      const health = { http: '/healthz', interval: '50ms', timeout: '5s', failures: 3 };
      site.config({ apps: { web: { ...app(port), workers: 3, listen: [`:${port}`], health } } });
      const master = await site.start().serves();
      const before = await master.workers();
      site.write('healthz.web.2', '500');
      const { worker, reason } = await master.event('worker.unhealthy');
      assert.deepEqual([worker, reason], ['web.2', `GET http://127.0.0.1:${port}/healthz answered 500`]);
      await master.until('it is replaced', () => master.eventsOf('worker.stopped').length === 1);
      const after = await master.workers();
      const pids = (all: typeof before) => all.map((one) => `${one.id} ${one.pid}`);
      const kept = pids(before).filter((one) => !one.startsWith('web.2 '));
      assert.deepEqual(
        pids(after).filter((one) => pids(before).includes(one)),
        kept,
      );
      assert.equal(after.length, 3);
      assert.deepEqual(await clients(port), ['web.1', 'web.3', 'web.4']);
      assert.deepEqual(
        master.eventsOf('worker.unhealthy').map((event) => event.worker),
        ['web.2'],
      );
      assert.deepEqual((await master.app()).notes, []);
      await master.stop();
    });

    test('a worker gets no client before its readiness check succeeds; the others serve', async (t) => {
      const site = new Site(t);
      const port = await site.port();
      copyFileSync(fixture(file), site.path(file));
      const ready = { http: { path: '/ready', port } };
      site.config({ apps: { web: { ...app(port), workers: 2, listen: [`127.0.0.1:${port}`], ready } } });
      const master = await site.start().serves();
      site.write('ready.web.3', '503');
      const scaled = site.run(['scale', 'web', '3']);
      // It serves, and would answer whoever chose it.
      const chosen = { host: '127.0.0.1', port, localAddress: '127.77.0.2' };
      await master.until('it serves', async () => (await ask(chosen)).startsWith('web.3 '));
      for (let round = 0; round < 20; round++) assert.deepEqual(await clients(port, 20), ['web.1', 'web.2']);
      assert.equal(master.eventsOf('worker.ready').length, 2);
      rmSync(site.path('ready.web.3'));
      assert.equal((await scaled).code, 0);
      assert.deepEqual(await clients(port), ['web.1', 'web.2', 'web.3']);
      assert.deepEqual((await master.app()).notes, []);
      await master.stop();
    });
  });
}

test('without koffi workers are ready when they accept, health is off, and the status says both', async (t) => {
  const site = new Site(t);
  const [port, alone] = [await site.port(), await site.port()];
  copyFileSync(fixture('server.mjs'), site.path('server.mjs'));
  const probes = { ready: { http: '/ready' }, health: { http: '/healthz', interval: '20ms', failures: 1 } };
  const web = { script: `server.mjs ${port}`, workers: 2, listen: [`127.0.0.1:${port}`], ...probes };
  const solo = { script: `server.mjs ${alone}`, listen: [`127.0.0.1:${alone}`], ready: { tcp: alone } };
  for (const id of [1, 2]) for (const path of ['ready', 'healthz']) site.write(`${path}.web.${id}`, '500');
  site.config({ apps: { web, solo } });
  const master = await site.start([], { bin: withoutKoffi(site) }).serves();
  await master.until('all is said', async () => (await master.app()).notes.length === 3);
  // Which worker has found it out is left to chance.
  const notes = (await master.app()).notes.map((note) => note.replace(/^web\.\d: /, '')).toSorted();
  const sharing = `several workers accept from one socket at tcp://127.0.0.1:${port}: a probe cannot choose which of them answers`;
  assert.match(notes[0] ?? '', /^connections to .* are not steered: the optional package koffi/);
  assert.deepEqual(notes.slice(1), [
    `health of web is not probed as long as ${sharing}`,
    `instead of when http succeeds, a worker is ready when it accepts, as long as ${sharing}`,
  ]);
  assert.match((await master.app('solo')).notes.join(), /when tcp succeeds.*nobody tells who has accepted/);
  assert.deepEqual(
    master
      .eventsOf('app.warning')
      .map(({ app }) => app)
      .toSorted(),
    ['solo', 'web', 'web', 'web'],
  );
  assert.deepEqual(master.eventsOf('worker.unhealthy'), []);
  await master.stop();
});
