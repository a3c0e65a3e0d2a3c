/** Metrics of a real master, over its port: true to what happened, and read by Prometheus' own parsers. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { noParser, noPromtool, parsed, promtool, valueOf, type ParsedSample } from '../helpers/prometheus.ts';
import { openFiles } from '../helpers/e2e-proc.ts';
import { fixture, Site } from '../helpers/e2e-site.ts';
import type { Master } from '../helpers/e2e-master.ts';

interface Scraper {
  readonly url: string;
  readonly token: string;
  text(accept?: string): Promise<string>;
  scrape(): Promise<readonly ParsedSample[]>;
}

function scraperOf(site: Site, port: number): Scraper {
  const url = `http://127.0.0.1:${port}`;
  const token = readFileSync(`${site.state}/token`, 'utf8').trim();
  const text = async (accept = '*/*') => {
    const answer = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${token}`, accept } });
    assert.equal(answer.status, 200);
    return answer.text();
  };
  return { url, token, text, scrape: async () => parsed(await text(), 'prometheus') };
}

const isReady = (count: number) => (master: Master) =>
  master.untilStatus(`${count} are ready`, ({ apps }) => apps[0]?.ready === count && apps[0].workers.length === count);

/** Counters with more than 0, without their app. */
function counted(samples: readonly ParsedSample[], name: string): Record<string, number> {
  const some = samples.filter((sample) => sample.name === name && sample.value > 0);
  return Object.fromEntries(
    some.map(({ labels, value }) => [
      Object.entries(labels)
        .filter(([label]) => label !== 'app')
        .map(([, word]) => word)
        .join(' '),
      value,
    ]),
  );
}

describe('metrics', { skip: noParser }, () => {
  test('count what happens to workers, reloads and hooks; totals outlive the workers', async (t) => {
    const site = new Site(t);
    const [port, metricsPort] = [await site.port(), await site.port()];
    site.config({
      hooks: { pre_start: [{ name: 'migrate', command: 'true' }], post_reload: [{ name: 'warm', command: 'false' }] },
      resources: { sample_every: '200ms' },
      control: { http: `127.0.0.1:${metricsPort}` },
      apps: {
        web: {
          script: fixture('slow-answers.mjs'),
          env: { PORT: port },
          workers: 2,
          listen: [`127.0.0.1:${port}`],
          backoff: { initial: '50ms', stable_after: '100ms' },
          reload: { canary: '100ms' },
          start_attempts: 1,
        },
      },
    });
    const master = await site.start().serves();
    const scraper = scraperOf(site, metricsPort);
    const begun = await scraper.scrape();
    assert.equal(valueOf(begun, 'supervise_worker_starts_total', { app: 'web' }), 2);
    assert.equal(valueOf(begun, 'supervise_worker_boots_total', { app: 'web' }), 2);
    assert.deepEqual(counted(begun, 'supervise_hook_runs_total'), { 'pre_start migrate succeeded': 1 });
    assert.deepEqual(counted(begun, 'supervise_worker_exits_total'), {});
    assert.equal(valueOf(begun, 'supervise_app_state', { state: 'running' }), 1);

    // three crashes, each seen before the next
    for (let crash = 1; crash <= 3; crash++) {
      process.kill((await master.pids())[0]!, 'SIGKILL');
      await master.until(`crash ${crash}`, () => master.eventsOf('worker.ready').length === 2 + crash);
    }
    const crashed = await scraper.scrape();
    assert.deepEqual(counted(crashed, 'supervise_worker_exits_total'), { signal: 3 });
    assert.deepEqual(counted(crashed, 'supervise_worker_restarts_total'), { signal: 3 });
    assert.equal(valueOf(crashed, 'supervise_worker_starts_total'), 5);

    // post_reload may fail: the reload has succeeded all the same
    await site.ok('reload');
    await isReady(2)(master);
    const reloaded = await scraper.scrape();
    assert.deepEqual(counted(reloaded, 'supervise_rollouts_total'), { succeeded: 1 });
    assert.deepEqual(counted(reloaded, 'supervise_operations_total'), { 'reload ok': 1 });
    assert.deepEqual(counted(reloaded, 'supervise_worker_exits_total'), { signal: 3, reload: 2 });
    assert.deepEqual(counted(reloaded, 'supervise_worker_restarts_total'), { signal: 3 });
    assert.equal(valueOf(reloaded, 'supervise_hook_succeeded', { hook: 'warm' }), 0);
    assert.deepEqual(counted(reloaded, 'supervise_hook_runs_total'), {
      'pre_start migrate succeeded': 1,
      'post_reload warm failed': 1,
    });
    assert.ok((valueOf(reloaded, 'supervise_rollout_duration_seconds') ?? 0) >= 0.1);
    assert.equal(valueOf(reloaded, 'supervise_app_revision'), 2);

    // a revision that cannot start
    writeFileSync(site.path('broken.mjs'), 'process.exit(3)');
    site.config({
      control: { http: `127.0.0.1:${metricsPort}` },
      resources: { sample_every: '200ms' },
      apps: { web: { script: 'broken.mjs', workers: 2, listen: [`127.0.0.1:${port}`] } },
    });
    assert.equal((await site.run(['reload'])).code, 1);
    const rolledBack = await scraper.scrape();
    assert.deepEqual(counted(rolledBack, 'supervise_rollouts_total'), { succeeded: 1, rolled_back: 1 });
    assert.deepEqual(counted(rolledBack, 'supervise_operations_total'), { 'reload ok': 1, 'reload failed': 1 });

    // one slot less: nothing of it is left, and no counter has gone back
    await site.ok('scale', 'web', '1');
    await isReady(1)(master);
    const scaled = await scraper.scrape();
    assert.deepEqual(counted(scaled, 'supervise_app_scalings_total'), { 'down operator': 1 });
    assert.deepEqual(
      scaled.filter(({ labels }) => labels['slot'] !== undefined && labels['slot'] !== '0'),
      [],
    );
    const rounds = [begun, crashed, reloaded, rolledBack, scaled];
    for (const [index, round] of rounds.entries()) {
      for (const { type, name, labels, value } of rounds[index - 1] ?? []) {
        if (type !== 'counter' || name.endsWith('_created')) continue;
        const now = valueOf(round, name, labels);
        assert.ok(now !== null && now >= value, `${name} ${JSON.stringify(labels)} went from ${value} to ${now}`);
      }
    }
    await master.stop();
  });

  test('CPU and memory are those of the processes, and CPU seconds go on when a worker dies', async (t) => {
    const site = new Site(t);
    const metricsPort = await site.port();
    site.config({
      resources: { sample_every: '100ms' },
      control: { http: metricsPort },
      apps: { web: { command: ['/bin/sh', '-c', 'while :; do :; done'], ready: { delay: '50ms' } } },
    });
    const master = await site.start().serves();
    const scraper = scraperOf(site, metricsPort);
    const seconds = async () => valueOf(await scraper.scrape(), 'supervise_app_cpu_seconds_total', { app: 'web' }) ?? 0;
    await master.until('it has used CPU', async () => (await seconds()) > 0.5);
    const samples = await scraper.scrape();
    assert.ok((valueOf(samples, 'supervise_worker_memory_bytes', { slot: '0' }) ?? 0) > 100_000);
    assert.ok((valueOf(samples, 'supervise_worker_cpu_cores', { slot: '0' }) ?? 0) > 0);
    assert.equal(valueOf(samples, 'supervise_worker_processes', { slot: '0' }), 1);
    assert.ok((valueOf(samples, 'supervise_host_usable_cpus') ?? 0) > 0);
    assert.ok((valueOf(samples, 'supervise_master_resident_memory_bytes') ?? 0) > 20e6);
    assert.ok((valueOf(samples, 'supervise_master_open_fds') ?? 0) > 10);
    const before = await seconds();
    process.kill((await master.pids())[0]!, 'SIGKILL');
    await master.until('it is back', () => master.eventsOf('worker.ready').length === 2);
    assert.ok((await seconds()) >= before);
    await master.until('it goes on', async () => (await seconds()) > before + 0.5);
    await master.stop();
  });

  test('64 workers while they start and stop: every text is whole, in both formats', async (t) => {
    const site = new Site(t);
    const metricsPort = await site.port();
    site.config({
      resources: { sample_every: '500ms' },
      control: { http: `127.0.0.1:${metricsPort}` },
      apps: { web: { command: 'sleep 1000', workers: 64, ready: { delay: '50ms' } } },
    });
    const master = await site.start().serves();
    const scraper = scraperOf(site, metricsPort);
    const scaling = site.ok('scale', 'web', '32');
    for (let round = 0; round < 3; round++) await scraper.scrape();
    await scaling;
    await site.ok('scale', 'web', '64');
    await master.untilStatus('all are sampled', ({ apps }) =>
      apps.every(({ workers }) => workers.length === 64 && workers.every(({ cpuPercent }) => cpuPercent !== null)),
    );
    const plain = await scraper.text();
    const samples = parsed(plain, 'prometheus');
    for (const name of ['worker_ready', 'worker_memory_bytes', 'worker_cpu_cores', 'worker_start_time_seconds']) {
      const slots = samples.filter((sample) => sample.name === `supervise_${name}`).map(({ labels }) => labels['slot']);
      assert.deepEqual(
        slots.toSorted((a, b) => Number(a) - Number(b)),
        Array.from({ length: 64 }, (_, slot) => String(slot)),
      );
    }
    const open = await scraper.text('application/openmetrics-text; version=1.0.0');
    assert.equal(parsed(open, 'openmetrics').filter(({ name }) => name === 'supervise_worker_ready').length, 64);
    if (!noPromtool) promtool(['check', 'metrics'], plain);
    await master.stop();
  });
});

/** The ports that this very process listens on. */
function listeners({ pid }: Master): number[] {
  const sockets = openFiles(pid).flatMap((file) => /^socket:\[(\d+)\]$/.exec(file)?.[1] ?? []);
  const rows = ['tcp', 'tcp6'].flatMap((table) =>
    readFileSync(`/proc/net/${table}`, 'utf8').trim().split('\n').slice(1),
  );
  // sl, local address, remote address, state, queues, timer, retransmits, uid, timeout, inode
  return rows
    .map((row) => row.trim().split(/\s+/))
    .filter((fields) => fields[3] === '0A' && sockets.includes(fields[9] ?? ''))
    .map((fields) => Number.parseInt(fields[1]?.split(':')[1] ?? '', 16));
}

describe('control.http', () => {
  const apps = { web: { command: 'sleep 1000', ready: { delay: '50ms' } } };

  test('the token is made once, the log says where it is, and a stop frees the port', async (t) => {
    const site = new Site(t);
    const port = await site.port();
    site.config({ control: { http: port }, apps });
    const master = await site.start().serves();
    const { url, token } = scraperOf(site, port);
    assert.equal(statSync(`${site.state}/token`).mode & 0o777, 0o600);
    assert.match(master.stderr, new RegExp(`the control API is at ${url}; its token is in ${site.state}/token`));
    assert.doesNotMatch(master.stderr + JSON.stringify(master.events), new RegExp(token));
    assert.doesNotMatch(master.stderr, /can be reached from other hosts/);
    assert.deepEqual(listeners(master), [port]);
    const authorization = `Bearer ${token}`;
    const scaled = await fetch(`${url}/v1/scale`, {
      method: 'POST',
      headers: { authorization },
      body: '{"app":"web","to":3}',
    });
    assert.match(await scaled.text(), /"type":"result","ok":true/);
    assert.equal((await master.pids()).length, 3);
    assert.equal((await fetch(`${url}/v1/stop`, { method: 'POST', body: '{}' })).status, 401);
    assert.equal(
      (
        await fetch(`${url}/v1/stop`, {
          method: 'POST',
          headers: { authorization, origin: 'http://evil.example' },
          body: '{}',
        })
      ).status,
      403,
    );
    await master.stop();

    const next = await site.start().serves();
    assert.equal(scraperOf(site, port).token, token);
    await next.stop();
  });

  test('a port in use is exit code 73 before any hook runs, and says who has it', async (t) => {
    const site = new Site(t);
    const port = await site.port();
    const holder = createServer();
    await new Promise<void>((done) => holder.listen(port, '127.0.0.1', done));
    site.config({ control: { http: port }, hooks: { pre_start: [['touch', site.path('ran')]] }, apps });
    const { code, stderr } = await site.run(['start']);
    await new Promise((done) => holder.close(done));
    assert.equal(code, 73, stderr);
    assert.match(
      stderr,
      new RegExp(`cannot bind tcp://127.0.0.1:${port}: port ${port} is in use by pid ${process.pid}`),
    );
    assert.throws(() => statSync(site.path('ran')), /ENOENT/);
    await site.nothingIsLeft();
  });

  test('an address that others can reach is warned of', async (t) => {
    const site = new Site(t);
    const port = await site.port();
    site.config({ control: { http: `0.0.0.0:${port}` }, apps });
    const master = await site.start().serves();
    assert.match(master.stderr, /can be reached from other hosts, and the token passes there in plain text/);
    await master.stop();
  });

  test('a reload does not change it, and says so', async (t) => {
    const site = new Site(t);
    const [port, other] = [await site.port(), await site.port()];
    site.config({ control: { http: port }, apps });
    const master = await site.start().serves();
    await site.ok('reload', '--changed');
    assert.deepEqual(master.eventsOf('master.warning'), []);
    site.config({ control: { http: other }, apps });
    await site.ok('reload', '--changed');
    const { message } = await master.event('master.warning');
    const stays = `it stays tcp://127.0.0.1:${port}, and is tcp://127.0.0.1:${other} from the next start`;
    assert.ok(message.includes(stays), message);
    assert.deepEqual(listeners(master), [port]);
    await master.stop();
  });

  test('without it no TCP port is opened, and no token is made', async (t) => {
    const site = new Site(t);
    site.config({ apps });
    const master = await site.start().serves();
    assert.deepEqual(listeners(master), []);
    assert.throws(() => statSync(`${site.state}/token`), /ENOENT/);
    await master.stop();
  });
});
