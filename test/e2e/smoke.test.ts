/**
 * The quickest walk through the built program, part of `npm test`: what `npm start` runs migrates once, serves from all
 * its workers, survives a crash, scales, reloads and stops.
 */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { cpSync, readFileSync } from 'node:fs';
import { answeredByAll } from '../helpers/e2e-load.ts';
import { Site } from '../helpers/e2e-site.ts';

test('the example of `npm start` migrates once, serves, and is crashed, scaled, reloaded and stopped', async (t) => {
  const site = new Site(t);
  const port = await site.port();
  cpSync('examples/node-app/server.mjs', site.path('examples/node-app/server.mjs'));
  cpSync('examples/node-app/migrate.mjs', site.path('examples/node-app/migrate.mjs'));
  const example = readFileSync('config.example.yaml', 'utf8');
  const config = example
    .replace('name: shop', `name: ${site.name}`)
    .replaceAll('8000', String(port))
    .replace('canary: 5s', 'canary: 100ms');
  const args = ['-c', site.write('config.yaml', config)];
  const env = { PORT: String(port), WORKERS: '3' };

  assert.match(await site.ok('check', ...args), /ok/);
  const master = await site.start(args, { env }).serves();
  const pids = await master.pids();
  assert.equal(pids.length, 3);
  await answeredByAll(
    port,
    pids.map((pid) => [pid]),
  );

  const [first = 0] = pids;
  process.kill(first, 'SIGKILL');
  await master.event('worker.exited', ({ signal }) => signal === 'SIGKILL');
  await master.serves();
  assert.equal((await master.pids()).filter((pid) => pids.includes(pid)).length, 2);

  await site.ok('scale', 'web', '4', '--name', site.name);
  const before = await master.pids();
  assert.equal(before.length, 4);

  await site.ok('reload', '--name', site.name);
  const after = await master.pids();
  assert.equal(after.length, 4);
  assert.deepEqual(
    after.filter((pid) => before.includes(pid)),
    [],
  );
  await answeredByAll(
    port,
    after.map((pid) => [pid]),
  );

  const { hooks } = await master.status();
  assert.deepEqual(
    hooks.map(({ name, state, attempts }) => ({ name, state, attempts })),
    [{ name: 'migrate', state: 'succeeded', attempts: 1 }],
  );
  assert.deepEqual(JSON.parse(readFileSync(site.path('examples/node-app/shop.db'), 'utf8')), {
    version: 2,
    products: [],
  });
  assert.equal(master.eventsOf('hook.running').length, 1);

  await site.ok('stop', '--name', site.name);
  await master.ends(0);
});
