/** Files that change: the app that watches them is reloaded, once for each change, and nobody who asks it notices. */
import { describe, test } from 'node:test';
import type { TestContext } from 'node:test';
import assert from 'node:assert/strict';
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { ask, Load } from '../helpers/e2e-load.ts';
import type { Master } from '../helpers/e2e-master.ts';
import { Site, until } from '../helpers/e2e-site.ts';

/** A server whose answers name its version, and that can be told to break. */
const program = (version: string) => `
import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';
import { version } from './version.mjs';
const certificate = readFileSync('cert.pem', 'utf8');
const server = createServer((request, response) =>
  response.setHeader('connection', 'close').end(version + ' ' + certificate + ' pid=' + process.pid));
server.listen(Number(process.env.PORT));
process.once('SIGTERM', () => server.close(() => process.exit(0)));
// ${version}`;

interface Setup {
  readonly site: Site;
  readonly port: number;
  readonly master: Master;
}

async function setUp(t: TestContext, more: Record<string, unknown>): Promise<Setup> {
  const site = new Site(t);
  const port = await site.port();
  site.write('src/server.mjs', program('one'));
  site.write('src/version.mjs', "export const version = 'one';");
  site.write('archive/cert1.pem', 'first');
  symlinkSync('archive/cert1.pem', site.path('cert.pem'));
  const web = { script: 'src/server.mjs', env: { PORT: port }, workers: 2, listen: [`127.0.0.1:${port}`], ...more };
  const other = { command: 'sleep 1000', ready: { delay: '50ms' } };
  site.config({ apps: { web: { reload: { canary: '300ms' }, ...web }, other } });
  const master = await site.start().serves();
  return { site, port, master };
}

/** Its first look at the files is over: it hears of changes in this folder. What is changed before that is a change, whatever it was. */
async function isWatched(master: Master, folder: string): Promise<void> {
  const mark = new RegExp(`^inotify .*\\bino:${statSync(folder).ino.toString(16)}\\b`, 'm');
  await until('the folder is watched', () =>
    readdirSync(`/proc/${master.pid}/fd`).some((fd) => {
      try {
        return mark.test(readFileSync(`/proc/${master.pid}/fdinfo/${fd}`, 'utf8'));
      } catch {
        return false;
      }
    }),
  );
}

/** How the reloads so far ended. */
function ends(master: Master): string[] {
  return master
    .eventsOf('rollout.succeeded', 'rollout.rolled_back', 'rollout.superseded')
    .map(({ type, app, to }) => `${app} ${to} ${type.replace('rollout.', '')}`);
}

/** No reload is under way, and none begins for a while. */
async function isQuiet(master: Master): Promise<void> {
  await master.untilStatus('it is quiet', ({ state }) => state === 'running');
  const begun = master.eventsOf('rollout.started').length;
  await sleep(1_500);
  assert.equal(master.eventsOf('rollout.started').length, begun);
}

const watch = { paths: ['src'], debounce: '200ms' };

describe('watch', () => {
  test('an edit is served by new workers, and no request is lost', async (t) => {
    const { site, port, master } = await setUp(t, { watch });
    const load = new Load(t, port, { clients: 4, pauseMs: 10 });
    for (const [revision, version] of [
      [2, 'two'],
      [3, 'three'],
    ] as const) {
      // As an editor saves.
      site.write('src/version.mjs.tmp', `export const version = '${version}';`);
      renameSync(site.path('src/version.mjs.tmp'), site.path('src/version.mjs'));
      await master.event('rollout.succeeded', ({ app, to }) => app === 'web' && to === revision);
      await isQuiet(master);
      assert.match(await ask(port), new RegExp(`^${version} first`));
    }
    await load.end();
    assert.deepEqual(load.failures, []);
    assert.ok(load.answered > 50, `${load.answered} answers only`);
    assert.deepEqual(ends(master), ['web 2 succeeded', 'web 3 succeeded']);
    await master.stop();
  });

  test('a burst of 200 files is one reload', async (t) => {
    const { site, master } = await setUp(t, { watch });
    for (let file = 0; file < 200; file++) site.write(`src/lib/${file % 7}/${file}.mjs`, '// new');
    await master.event('rollout.succeeded');
    await isQuiet(master);
    assert.deepEqual(ends(master), ['web 2 succeeded']);
    await master.stop();
  });

  test('broken code is rolled back, the old goes on serving, and the next edit is tried', async (t) => {
    const { site, port, master } = await setUp(t, { watch });
    const load = new Load(t, port, { clients: 2, pauseMs: 10 });
    site.write('src/version.mjs', 'export const version = ;');
    await master.event('rollout.rolled_back');
    await isQuiet(master);
    assert.match(await ask(port), /^one first/);
    site.write('src/version.mjs', "export const version = 'mended';");
    await master.event('rollout.succeeded');
    await isQuiet(master);
    assert.match(await ask(port), /^mended first/);
    await load.end();
    assert.deepEqual(load.failures, []);
    assert.deepEqual(ends(master), ['web 2 rolled_back', 'web 3 succeeded']);
    await master.stop();
  });

  test('an edit during the reload of the one before supersedes it', async (t) => {
    const { site, port, master } = await setUp(t, { watch, reload: { canary: '3s' } });
    site.write('src/version.mjs', "export const version = 'two';");
    await master.event('rollout.progress', ({ to, replaced }) => to === 2 && replaced === 1);
    site.write('src/version.mjs', "export const version = 'three';");
    await master.event('rollout.succeeded', ({ to }) => to === 3);
    await isQuiet(master);
    assert.deepEqual(ends(master), ['web 2 superseded', 'web 3 succeeded']);
    assert.match(await ask(port), /^three first/);
    await master.stop();
  });

  test('a deploy that reloads by itself is not reloaded a second time', async (t) => {
    const { site, port, master } = await setUp(t, { watch: { ...watch, debounce: '2s' } });
    site.write('src/version.mjs', "export const version = 'deployed';");
    await site.ok('reload', 'web');
    await sleep(2_500);
    await isQuiet(master);
    assert.deepEqual(ends(master), ['web 2 succeeded']);
    assert.match(await ask(port), /^deployed first/);
    await master.stop();
  });

  test('follows the config: what is watched after a reload is what the config says then', async (t) => {
    const { site, port, master } = await setUp(t, {});
    site.write('src/version.mjs', "export const version = 'unseen';");
    await isQuiet(master);
    assert.deepEqual(ends(master), []);
    const web = { script: 'src/server.mjs', env: { PORT: port }, workers: 2, listen: [`127.0.0.1:${port}`] };
    site.config({ apps: { web: { ...web, watch, reload: { canary: '300ms' } } } });
    await site.ok('reload');
    await isQuiet(master);
    site.write('src/version.mjs', "export const version = 'seen';");
    await master.event('rollout.succeeded', ({ to }) => to === 3);
    assert.match(await ask(port), /^seen first/);
    await master.stop();
  });
});

test('tls_files: a renewed certificate reloads the app once, a touched one does not', async (t) => {
  const { site, port, master } = await setUp(t, { tls_files: ['cert.pem'] });
  await isWatched(master, site.path('archive'));
  writeFileSync(site.path('archive/cert1.pem'), 'first');
  await isQuiet(master);
  const load = new Load(t, port, { clients: 2, pauseMs: 10 });
  mkdirSync(site.path('archive'), { recursive: true });
  writeFileSync(site.path('archive/cert2.pem'), 'second');
  rmSync(site.path('cert.pem'));
  symlinkSync('archive/cert2.pem', site.path('cert.pem'));
  await master.event('rollout.succeeded');
  await isQuiet(master);
  assert.match(await ask(port), /^one second/);
  await load.end();
  assert.deepEqual(load.failures, []);
  assert.deepEqual(ends(master), ['web 2 succeeded']);
  await master.stop();
});
