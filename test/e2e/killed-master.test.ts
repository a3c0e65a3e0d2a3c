/** kill -9 of the master: nothing goes on without it, and the next start works at once. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { answeredByAll, ask } from '../helpers/e2e-load.ts';
import type { Master } from '../helpers/e2e-master.ts';
import { isAlive, treeOf } from '../helpers/e2e-proc.ts';
import { fixture, Site, until } from '../helpers/e2e-site.ts';

/** The guard gives workers 5 s at most; a busy machine may take longer. */
const goneWithinMs = 30_000;

/** Two apps: wrappers with a server and a stray below them, and Node scripts under node:cluster. */
async function familySite(site: Site): Promise<{ port: number; own: number }> {
  const [port, own] = [await site.port(), await site.port()];
  site.config({
    apps: {
      web: {
        command: ['/bin/sh', fixture('family.sh'), fixture('only-accepts.py')],
        workers: 3,
        listen: [`127.0.0.1:${port}`],
        stop: { timeout: '2s' },
      },
      script: { script: resolve('test/fixtures/spawn/cluster.mjs'), workers: 2, env: { SERVE_PORT: own } },
    },
  });
  return { port, own };
}

/** All descendants of all workers; the strays among them. */
async function familyOf(master: Master): Promise<number[]> {
  const pids = [...(await master.pids()), ...(await master.pids('script'))];
  assert.equal(pids.length, 5);
  const family = pids.flatMap(treeOf);
  // A wrapper has a server, a stray and the stray's sleep.
  assert.ok(family.length >= 3 * 3 + 2, `the family has ${family.length} members only`);
  return family;
}

function kill(...pids: number[]): void {
  for (const pid of pids) process.kill(pid, 'SIGKILL');
}

/** A second master of this site serves on the same ports, with workers of its own only. */
async function servesAgain(
  site: Site,
  old: readonly number[],
  { port, own }: { port: number; own: number },
): Promise<void> {
  const next = await site.start().serves();
  assert.deepEqual(old.filter(isAlive), [], 'these outlived their master and the next start');
  await answeredByAll(port, (await next.pids()).map(treeOf));
  await answeredByAll(own, (await next.pids('script')).map(treeOf));
  await next.stop();
}

describe('after kill -9 of the master', () => {
  test('no worker, wrapper, grandchild or stray is left, and the ports are free', async (t) => {
    const site = new Site(t);
    await familySite(site);
    const master = await site.start().serves();
    const family = await familyOf(master);
    kill(master.pid);
    await site.nothingIsLeft(goneWithinMs);
    assert.deepEqual(family.filter(isAlive), []);
  });

  test('the next start works at once, on the same ports', async (t) => {
    const site = new Site(t);
    const ports = await familySite(site);
    const master = await site.start().serves();
    const family = await familyOf(master);
    kill(master.pid);
    await servesAgain(site, family, ports);
  });

  test('the next start works at once also when the guard was killed before', async (t) => {
    const site = new Site(t);
    const ports = await familySite(site);
    const master = await site.start().serves();
    const family = await familyOf(master);
    const guards = site.guards();
    assert.equal(guards.length, 1);
    kill(...guards, master.pid);
    await servesAgain(site, family, ports);
  });

  test('a guard that was killed alone is replaced, and the new one ends what the master leaves', async (t) => {
    const site = new Site(t);
    await familySite(site);
    const master = await site.start().serves();
    const pids = [...(await master.pids()), ...(await master.pids('script'))];
    const [guard] = site.guards();
    kill(guard!);
    await master.event('master.warning', ({ message }) => /guard/.test(message));
    await until('there is a new guard', () => site.guards().some((pid) => pid !== guard));
    assert.deepEqual([...(await master.pids()), ...(await master.pids('script'))], pids);
    assert.deepEqual(
      pids.filter((pid) => !isAlive(pid)),
      [],
      'these were ended with the guard',
    );
    kill(master.pid);
    await site.nothingIsLeft(goneWithinMs);
  });

  test('a request in hand is finished', async (t) => {
    const site = new Site(t);
    const port = await site.port();
    site.config({
      apps: { web: { script: fixture('slow-answers.mjs'), env: { PORT: port }, listen: [`127.0.0.1:${port}`] } },
    });
    const master = await site.start().serves();
    const [pid] = await master.pids();
    const answer = ask(port, '/2000');
    await ask(port, '/1');
    kill(master.pid);
    assert.equal(Number(await answer), pid);
    await site.nothingIsLeft(goneWithinMs);
  });

  test('during a hook: its tree is ended, and the next start runs the hook again', async (t) => {
    const site = new Site(t);
    const port = await site.port();
    site.config({
      hooks: { pre_start: [{ name: 'migrate', command: ['/bin/sh', fixture('hangs-with-stray.sh')] }] },
      apps: { web: { command: ['/usr/bin/python3', fixture('only-accepts.py')], listen: [`127.0.0.1:${port}`] } },
    });
    const master = site.start();
    await until('the hook waits', () => existsSync(site.path('stray')));
    kill(master.pid);
    await site.nothingIsLeft(goneWithinMs);
    site.config({
      hooks: { pre_start: [{ name: 'migrate', command: 'touch migrated' }] },
      apps: { web: { command: ['/usr/bin/python3', fixture('only-accepts.py')], listen: [`127.0.0.1:${port}`] } },
    });
    const next = await site.start().serves();
    assert.ok(existsSync(site.path('migrated')));
    await next.stop();
  });
});
