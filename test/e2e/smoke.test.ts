/** The shortest proof that the built program does its work: it belongs to the fast suite, and runs on every Node version. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { cpSync, existsSync, readFileSync } from 'node:fs';
import { answeredByAll } from '../helpers/e2e-load.ts';
import { isAlive } from '../helpers/e2e-proc.ts';
import { Site } from '../helpers/e2e-site.ts';

test('the example config runs: hook once, workers serve, a crash is repaired, scale, reload, stop with nothing left', async (t) => {
  const site = new Site(t);
  const port = await site.port();
  // As it stands, but for the time that a reload has to wait.
  const config = readFileSync('config.example.yaml', 'utf8');
  assert.match(config, /canary: 5s/);
  site.write('supervise.yaml', config.replace('canary: 5s', 'canary: 300ms'));
  cpSync('examples/node-app', site.path('examples/node-app'), {
    recursive: true,
    filter: (file) => !file.endsWith('.db'),
  });
  const master = await site
    .start(['--name', site.name, '-w', '2', '-b', `127.0.0.1:${port}`], { env: { PORT: String(port) } })
    .serves();
  const serve = async (count: number) => {
    const pids = await master.pids();
    assert.equal(pids.length, count);
    await answeredByAll(
      port,
      pids.map((pid) => [pid]),
    );
    return pids;
  };
  assert.deepEqual(
    (await master.status()).hooks.map(({ name, state, attempts }) => ({ name, state, attempts })),
    [{ name: 'migrate', state: 'succeeded', attempts: 1 }],
  );
  assert.ok(existsSync(site.path('examples/node-app/shop.db')));

  const [first, second] = await serve(2);
  process.kill(first!, 'SIGKILL');
  await master.until('it is ready again', () => master.eventsOf('worker.ready').length === 3);
  assert.equal((await serve(2))[1], second);

  await site.ok('--name', site.name, 'scale', 'web', '3');
  const before = await serve(3);
  await site.ok('--name', site.name, 'reload');
  await serve(3);
  await master.until('the old workers are gone', () => !before.some(isAlive));
  assert.match(await site.ok('--name', site.name, 'status'), /web\.\d+/);
  assert.equal((await master.status()).hooks[0]?.attempts, 1);

  await site.ok('--name', site.name, 'stop');
  await master.ends(0);
});
