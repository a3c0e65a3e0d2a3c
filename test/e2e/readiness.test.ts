/** Each way to be ready: not before its sign, and at its sign. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { fixture, python, Site } from '../helpers/e2e-site.ts';

/** Goes on when the file `go` is there. */
const waits = 'while [ ! -e go ]; do sleep 0.02; done';

describe('a worker is ready', () => {
  interface Way {
    readonly app: (port: number) => Record<string, unknown>;
    readonly prepare?: (site: Site) => void;
  }
  const ways: Record<string, Way> = {
    'by a newline on $NOTIFY_FD': {
      app: () => ({ command: ['/bin/sh', '-c', `${waits}; echo >&"$NOTIFY_FD"; exec sleep 1000`], ready: 'fd' }),
    },
    'by a line that it logs': {
      app: () => ({
        command: ['/bin/sh', '-c', `${waits}; echo serving at last; exec sleep 1000`],
        ready: { log: 'serving .* last' },
      }),
    },
    'by a TCP port of its own': {
      app: (port) => ({
        command: ['/bin/sh', '-c', `${waits}; exec ${python} -m http.server {port} --bind 127.0.0.1`],
        port,
        ready: { tcp: port },
      }),
    },
    'by a 200 of its own HTTP port': {
      app: (port) => ({
        command: ['/bin/sh', '-c', `${waits}; exec ${python} -m http.server {port} --bind 127.0.0.1`],
        port,
        ready: { http: '/' },
      }),
    },
    'by process.send("ready") of a script that listens nowhere': {
      prepare: (site) =>
        site.write(
          'queue.mjs',
          "import { existsSync } from 'node:fs'; let sent = false; setInterval(() => { if (!sent && existsSync('go')) sent = process.send('ready'); }, 20);",
        ),
      app: () => ({ script: 'queue.mjs' }),
    },
    'by accepting on the inherited socket': {
      app: (port) => ({
        command: ['/bin/sh', '-c', `${waits}; exec ${python} ${fixture('only-accepts.py')}`],
        listen: [`127.0.0.1:${port}`],
      }),
    },
  };
  for (const [what, { app, prepare }] of Object.entries(ways)) {
    test(what, async (t) => {
      const site = new Site(t);
      prepare?.(site);
      site.config({ apps: { web: app(await site.port()) } });
      const master = site.start();
      await master.event('worker.starting');
      await sleep(1500);
      assert.deepEqual(
        (await master.workers()).map(({ state }) => state),
        ['starting'],
      );
      site.write('go', '');
      await master.serves();
      await master.stop();
    });
  }
});

test('a probe on a shared socket cannot choose a worker: it is a config error that says so', async (t) => {
  const site = new Site(t);
  const listen = [`127.0.0.1:${await site.port()}`];
  site.config({ apps: { web: { command: 'sleep 1', listen, balance: 'shared', ready: { http: '/healthz' } } } });
  const { code, stderr } = await site.run(['start']);
  assert.equal(code, 78, stderr);
  assert.match(stderr, /ready\.http: expected balance: steered or auto, .*found shared/);
});
