/**
 * What goes wrong in a deployment with other supervisors, and here does not: gunicorn's HUP stalls for the boot of the
 * application, or ends the service; uvicorn takes healthy workers down with a broken one; pm2 reports success while the
 * service is down, stops old workers before the new ones listen, and calls a crash loop online. Each ends with the old
 * revision serving at full strength.
 */
import { describe, test } from 'node:test';
import type { TestContext } from 'node:test';
import assert from 'node:assert/strict';
import { existsSync, renameSync, symlinkSync } from 'node:fs';
import { Load } from '../helpers/e2e-load.ts';
import type { Master } from '../helpers/e2e-master.ts';
import { workingDirectory } from '../helpers/e2e-proc.ts';
import { Site } from '../helpers/e2e-site.ts';
import { strengthOf } from '../helpers/e2e-strength.ts';

const skip = !existsSync('/usr/bin/uvicorn') && 'uvicorn is not installed';
const reload = { canary: '500ms' };

/** An ASGI app that answers with its pid and has a lifespan; `head` runs when it is imported, `startup` in the lifespan. */
function asgi(head = 'pass', startup = 'pass'): string {
  return `import asyncio, os, sys, time
${head}

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                ${startup}
                await send({"type": "lifespan.startup.complete"})
            else:
                await send({"type": "lifespan.shutdown.complete"})
                return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
    await send({"type": "http.response.body", "body": b"pid=%d" % os.getpid()})
`;
}

/** A Node server that answers with its pid; `head` runs first, and it listens after `delayMs`. */
function server(head = '', delayMs = 0): string {
  return `${head}
const server = require('node:http').createServer((_, response) => {
  response.setHeader('connection', 'close').end(String(process.pid));
});
setTimeout(() => server.listen(Number(process.env.PORT)), ${delayMs});
process.once('SIGTERM', () => server.close(() => process.exit(0)));
`;
}

interface Served {
  readonly site: Site;
  readonly master: Master;
  readonly pids: readonly number[];
  readonly load: Load;
}

/** Two workers of that program serve, and are asked all the time. */
async function served(
  t: TestContext,
  program: Record<string, unknown>,
  files: Record<string, string>,
): Promise<Served> {
  const site = new Site(t);
  const port = await site.port();
  for (const [file, text] of Object.entries(files)) site.write(file, text);
  const app = { ...program, workers: 2, listen: [`127.0.0.1:${port}`], reload, env: { PORT: port } };
  site.config({ apps: { web: app } });
  const master = await site.start().serves();
  return { site, master, pids: await master.pids(), load: new Load(t, port, { pauseMs: 10 }) };
}

const uvicorn = { command: 'uvicorn main:app --fd {fd} --log-level warning' };
const script = { script: 'server.cjs' };

/** The old workers serve, all of them have all the time, and nobody's request has failed. */
async function servesAsBefore({ master, pids, load }: Served): Promise<void> {
  const { state, ready, revision, workers } = await master.app();
  assert.deepEqual({ state, ready, revision }, { state: 'running', ready: 2, revision: 1 });
  assert.deepEqual(
    workers.map(({ pid }) => pid),
    pids,
  );
  await load.end();
  assert.deepEqual(load.failures, []);
  assert.deepEqual(
    [...load.pids].filter((pid) => !pids.includes(pid)),
    [],
    'the new revision has answered',
  );
  assert.equal(strengthOf(master.events, 2).fewestReady, 2);
  await master.stop();
}

describe('a deployment that goes wrong', () => {
  test(
    'an application that takes its time to boot: no worker goes before its successor serves',
    { skip },
    async (t) => {
      const it = await served(t, uvicorn, { 'main.py': asgi('time.sleep(1)') });
      await it.site.ok('reload');
      const { revision, ready } = await it.master.app();
      assert.deepEqual({ revision, ready }, { revision: 2, ready: 2 });
      await it.load.end();
      assert.deepEqual([it.load.failures, strengthOf(it.master.events, 2).fewestReady], [[], 2]);
      await it.master.stop();
    },
  );

  test('code that fails at its import, by HUP', { skip }, async (t) => {
    const it = await served(t, uvicorn, { 'main.py': asgi() });
    it.site.write('main.py', asgi('raise RuntimeError("no settings")'));
    it.master.signal('SIGHUP');
    const { reason, lastLines } = await it.master.event('rollout.rolled_back');
    assert.match(reason, /exit code 1/);
    assert.match(lastLines.join('\n'), /RuntimeError: no settings/);
    await servesAsBefore(it);
  });

  test('a lifespan that fails to start', { skip }, async (t) => {
    const it = await served(t, uvicorn, { 'main.py': asgi() });
    it.site.write(
      'main.py',
      asgi('pass', 'return await send({"type": "lifespan.startup.failed", "message": "no database"})'),
    );
    const { code, stderr } = await it.site.run(['reload']);
    assert.equal(code, 1, stderr);
    assert.match(stderr, /no database/);
    await servesAsBefore(it);
  });

  test(
    'a crash afterwards starts the old release again, while `current` points to the broken one',
    { skip },
    async (t) => {
      const site = new Site(t);
      const port = await site.port();
      site.write('releases/1/main.py', asgi());
      site.write('releases/2/main.py', asgi('raise RuntimeError("broken release")'));
      symlinkSync('releases/1', site.path('current'));
      site.config({ apps: { web: { ...uvicorn, cwd: 'current', workers: 2, listen: [`127.0.0.1:${port}`], reload } } });
      const master = await site.start().serves();
      const pids = await master.pids();
      symlinkSync('releases/2', site.path('next'));
      renameSync(site.path('next'), site.path('current'));
      assert.equal((await site.run(['reload'])).code, 1);
      const load = new Load(t, port, { pauseMs: 10 });

      process.kill(pids[0]!, 'SIGKILL');
      await master.until(
        'it is ready again',
        () => master.eventsOf('worker.ready').filter(({ worker }) => worker === 'web.1').length === 2,
      );
      const now = await master.pids();
      assert.deepEqual(
        now.map((pid) => workingDirectory(pid)),
        [site.path('releases/1'), site.path('releases/1')],
      );
      assert.equal(now[1], pids[1], 'its sibling was left alone');
      const { state, ready, revision } = await master.app();
      assert.deepEqual({ state, ready, revision }, { state: 'running', ready: 2, revision: 1 });
      await load.end();
      assert.ok(load.answered > 0);
      await master.stop();
    },
  );

  test('a server that listens late is waited for', async (t) => {
    const it = await served(t, script, { 'server.cjs': server('', 1_000) });
    await it.site.ok('reload');
    await it.load.end();
    assert.deepEqual([it.load.failures, strengthOf(it.master.events, 2).fewestReady], [[], 2]);
    assert.equal((await it.master.app()).revision, 2);
    await it.master.stop();
  });

  test('a script that throws: exit code 1, its stack, and nothing has changed', async (t) => {
    const it = await served(t, script, { 'server.cjs': server() });
    it.site.write('server.cjs', server("throw new Error('wrong key')"));
    const { code, stderr } = await it.site.run(['reload']);
    assert.equal(code, 1, stderr);
    assert.match(stderr, /Error: wrong key/);
    await servesAsBefore(it);
  });

  test('a script that hangs before it listens: what it has written, and what to do', async (t) => {
    const it = await served(t, { ...script, ready_timeout: '5s' }, { 'server.cjs': server() });
    it.site.write('server.cjs', "console.error('waiting for the key'); setInterval(() => {}, 1000);");
    const { code, stdout } = await it.site.run(['reload', '--json']);
    const result = JSON.parse(stdout) as { message: string; lastLines: string[] };
    assert.deepEqual([code, result.lastLines], [1, ['waiting for the key']]);
    assert.match(result.message, /not ready in time \(the script never listened: .*`ready: spawned`/);
    assert.deepEqual((await it.master.event('rollout.rolled_back')).lastLines, ['waiting for the key']);
    await servesAsBefore(it);
  });

  test('a revision that serves for a moment and then crashes is no success', async (t) => {
    const it = await served(t, script, { 'server.cjs': server() });
    it.site.write('server.cjs', server("setTimeout(() => { throw new Error('out of luck') }, 200)"));
    const { code, stderr } = await it.site.run(['reload']);
    assert.equal(code, 1, stderr);
    assert.match(stderr, /Error: out of luck/);
    const { state, ready, revision, workers } = await it.master.app();
    assert.deepEqual({ state, ready, revision }, { state: 'running', ready: 2, revision: 1 });
    assert.deepEqual(
      workers.map(({ pid }) => pid),
      it.pids,
    );
    assert.equal(strengthOf(it.master.events, 2).fewestReady, 2);
    await it.master.stop();
  });

  test('a crash loop of a worker that lives a while each time ends in slow trials, and its sibling serves on', async (t) => {
    const backoff = { initial: '50ms', max: '100ms', max_crashes: 3, retry_failed_every: '1h', stable_after: '1h' };
    const dies = "if (process.env.SUPERVISE_SLOT === '0') setTimeout(() => process.exit(1), 300)";
    const it = await served(t, { ...script, backoff }, { 'server.cjs': server(dies) });
    const { worker, crashes } = await it.master.event('worker.failed');
    assert.deepEqual({ worker, crashes }, { worker: 'web.1', crashes: 4 });
    const { state, ready } = await it.master.app();
    assert.deepEqual({ state, ready }, { state: 'degraded', ready: 1 });
    await it.load.end();
    assert.ok(it.load.pids.has(it.pids[1]!));
    await it.master.stop();
  });
});
