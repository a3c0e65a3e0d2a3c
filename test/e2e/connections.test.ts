/** Who has the connections: in `status`, and said when they pile up on one worker. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import { resolve } from 'node:path';
import type { Snapshot } from '../../src/core/protocol.ts';
import { isStopped } from '../helpers/e2e-proc.ts';
import { python, Site } from '../helpers/e2e-site.ts';

const keeps = [python, resolve('test/fixtures/keeps.py')];

async function connected(port: number, count: number): Promise<Socket[]> {
  const clients = Array.from({ length: count }, () => createConnection(port, '127.0.0.1'));
  await Promise.all(clients.map((client) => once(client, 'connect')));
  return clients;
}

/** A reading twice a second. */
function config(port: number, app: object): { apps: Record<string, unknown> } & Record<string, unknown> {
  return {
    resources: { sample_every: '100ms' },
    apps: { web: { command: keeps, listen: [`127.0.0.1:${port}`], ...app } },
  };
}

function figures({ apps }: Snapshot): unknown[] {
  const [app] = apps;
  return [app?.connections, app?.queue, ...(app?.workers ?? []).map(({ connections, queue }) => [connections, queue])];
}

describe('connections of each worker', () => {
  test('pile up on one of a shared socket, and it is said; it is over when they are gone', async (t) => {
    const site = new Site(t);
    const port = await site.port();
    site.config(config(port, { workers: 4, balance: 'shared' }));
    const master = await site.start().serves();
    const [, , third, ...others] = await master.pids();
    const stopped = (await master.pids()).filter((pid) => pid !== third);
    assert.equal(others.length, 1);
    for (const pid of stopped) process.kill(pid, 'SIGSTOP');
    await master.until('the others are stopped', () => stopped.every(isStopped));
    const clients = await connected(port, 40);
    t.after(() => clients.forEach((client) => client.destroy()));
    await master.untilStatus('all are counted', ({ apps }) => apps[0]?.connections === 40);
    for (const pid of stopped) process.kill(pid, 'SIGCONT');

    const event = await master.event('app.unbalanced');
    assert.deepEqual([event.worker, event.connections, event.total, event.workers], ['web.3', 40, 40, 4]);
    assert.match(
      await site.ok('events'),
      /app\.unbalanced +web: web\.3 has 40 of 40 connections \(4 workers, mean 10\): .*shared socket/,
    );
    const snapshot = JSON.parse(await site.ok('status', '--json')) as Snapshot;
    assert.deepEqual(figures(snapshot), [40, 0, [0, null], [0, null], [40, null], [0, null]]);
    const text = await site.ok('status');
    assert.match(text, /^web: web\.3 has 40 of 40 connections/m);
    assert.match(text, /^ID .* CONNS +QUEUE +REASON$/m);
    assert.match(text, /^web\.3 .* 40 +-$/m);
    assert.match(text, /^host: .*; connections counted \S+ ago$/m);

    const after = master.event('app.balanced');
    for (const client of clients) client.destroy();
    // A client that is gone leaves its connection with a server that keeps it for good.
    await site.ok('restart', 'web');
    await after;
    assert.deepEqual((await master.app()).notes, []);
    assert.equal(master.eventsOf('app.unbalanced').length, 1);
    await master.stop();
  });

  test('with a listener for each: what waits for one that is stopped is its own', async (t) => {
    const site = new Site(t);
    const port = await site.port();
    site.config(config(port, { workers: 2 }));
    const master = await site.start().serves();
    const clients = await connected(port, 20);
    t.after(() => clients.forEach((client) => client.destroy()));
    const { apps } = await master.untilStatus('all are accepted', (now) => now.apps[0]?.connections === 20);
    const [one, two] = apps[0]!.workers;
    assert.equal((one?.connections ?? 0) + (two?.connections ?? 0), 20);
    assert.deepEqual([one?.queue, two?.queue], [0, 0]);

    process.kill(one!.pid!, 'SIGSTOP');
    await master.until('it is stopped', () => isStopped(one!.pid!));
    clients.push(...(await connected(port, 20)));
    const later = await master.untilStatus('all are there', (now) => {
      const [app] = now.apps;
      return (app?.connections ?? 0) + (app?.queue ?? 0) === 40;
    });
    const queue = later.apps[0]?.queue ?? 0;
    assert.ok(queue > 0, 'some are sent to it');
    assert.deepEqual(
      later.apps[0]?.workers.map((worker) => worker.queue),
      [queue, 0],
    );
    process.kill(one!.pid!, 'SIGCONT');
    await master.untilStatus('those are accepted as well', (now) => now.apps[0]?.connections === 40);
    await master.stop();
  });
});
