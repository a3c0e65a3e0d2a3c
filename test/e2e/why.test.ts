/** `supervise why`: how each kind of end is told, what proves it, and what is known after the master itself is gone. */
import { describe, test, type TestContext } from 'node:test';
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import type { Event } from '../../src/core/protocol.ts';
import type { ExitRecord, Why } from '../../src/core/record.ts';
import type { Master } from '../helpers/e2e-master.ts';
import { Site, until } from '../helpers/e2e-site.ts';
import { hungry, smallCgroup } from '../helpers/memory-cgroup.ts';

/** The first process of a worker is up until the file `go` is there, and then does `last`; those that follow do `later`. */
function once(site: Site, app: string, last: string, later = 'echo up; exec sleep 1000') {
  const [seen, go] = [site.path(`${app}.seen`), site.path(`${app}.go`)];
  const first = `touch ${seen}; echo up; while [ ! -e ${go} ]; do sleep 0.02; done; ${last}`;
  // In a config `$$` stands for `$`.
  const shell = `if [ -e ${seen} ]; then ${later}; fi; ${first}`.replaceAll('$', '$$$$');
  return {
    command: ['/bin/sh', '-c', shell],
    ready: { log: '^up$' },
    reload: { canary: '0' },
  };
}

const go = (site: Site, app: string): void => writeFileSync(site.path(`${app}.go`), '');

async function why(site: Site, ...args: string[]): Promise<Why> {
  return JSON.parse(await site.ok('why', '--json', ...args)) as Why;
}

/** The first exit of an app; waits until it is recorded. */
function firstExit(site: Site, app: string): Promise<ExitRecord> {
  return until(`an exit of ${app} is recorded`, async () => (await why(site, app, '-n', '100')).records.at(-1) ?? null);
}

async function started(t: TestContext, apps: (site: Site) => Record<string, unknown>): Promise<[Site, Master]> {
  const site = new Site(t);
  site.config({ resources: { sample_every: '200ms' }, apps: apps(site) });
  return [site, await site.start().serves()];
}

describe('why', () => {
  test('a crash: the exit code, the last lines of stderr, and the curve before it', async (t) => {
    const [site, master] = await started(t, (place) => ({
      web: once(place, 'web', 'echo "no such table: notes" >&2; exit 3'),
    }));
    await master.untilStatus('it was sampled', ({ apps }) => typeof apps[0]?.workers[0]?.memoryBytes === 'number');
    const [pid] = await master.pids();
    go(site, 'web');
    const exit = await firstExit(site, 'web');
    assert.deepEqual(
      [exit.worker, exit.pid, exit.revision, exit.cause, exit.code, exit.signal, exit.oom, exit.lastLines, exit.next],
      ['web.1', pid, 1, 'crash', 3, null, null, ['no such table: notes'], { type: 'restarted' }],
    );
    assert.ok(exit.curve.length > 0 && exit.curve.every(({ memoryBytes }) => memoryBytes > 0), 'it has no curve');
    await master.serves();
    const text = await site.ok('why', 'web.1');
    assert.match(
      text,
      /^web\.1 \(revision 1\) runs fine for .*, pid \d+\n  started at .* again, because its process before crashed with exit code 3\n\nweb\.1 \(revision 1\) crashed with exit code 3 at [\d:]+ after .*\n  pid \d+, slot 0, ready after .*\n  memory .*\n(  cpu .*\n)?  then: started again at once\n  \| no such table: notes\n$/,
    );
    await master.stop();
  });

  test('a kill -9 from outside is a signal, not a want of memory', async (t) => {
    const [site, master] = await started(t, (place) => ({ web: once(place, 'web', 'exit 0') }));
    const [pid = 0] = await master.pids();
    process.kill(pid, 'SIGKILL');
    const exit = await firstExit(site, 'web');
    assert.deepEqual([exit.pid, exit.cause, exit.signal, exit.oom], [pid, 'signal', 'SIGKILL', null]);
    assert.match(
      await site.ok('why', 'web'),
      /was ended by signal SIGKILL from outside of supervise at .*: nothing proves that it was the kernel/,
    );
    await master.stop();
  });

  test('a real kill for want of memory: with the proof', async (t) => {
    const cgroup = smallCgroup(t);
    if (cgroup === null) return;
    const [site, master] = await started(t, (place) => ({ web: once(place, 'web', hungry(cgroup)) }));
    const [pid] = await master.pids();
    go(site, 'web');
    const exit = await firstExit(site, 'web');
    assert.deepEqual([exit.pid, exit.cause, exit.signal, exit.next], [pid, 'oom', 'SIGKILL', { type: 'restarted' }]);
    assert.match(exit.oom ?? '', new RegExp(`Killed process ${pid} |${cgroup.path} counted 1 oom_kill`));
    const told = await site.ok('why', 'web', '-n', '1');
    assert.match(
      told,
      /web\.1 \(revision 1\) was killed by the kernel for want of memory at .* after .*: .*(oom_kill|Killed)/,
    );
    const events = (await site.ok('events', '--json')).trim().split('\n');
    const exited = events.map((line) => JSON.parse(line) as Event).filter(({ type }) => type === 'worker.exited');
    assert.deepEqual(
      exited.map((event) => event.type === 'worker.exited' && [event.cause, event.oom]),
      [['oom', exit.oom]],
    );
    assert.match(await site.ok('events'), /worker\.exited +web\.1 was killed by the kernel for want of memory after/);
    await master.stop();
  });

  test('a start that takes too long, and a worker that is given up', async (t) => {
    const [site, master] = await started(t, (place) => ({
      slow: {
        ...once(place, 'slow', 'exit 1', 'echo "waiting for the database" >&2; exec sleep 1000'),
        ready_timeout: '500ms',
      },
      bad: { ...once(place, 'bad', 'exit 1', 'exit 4'), backoff: { initial: '10ms', max: '10ms', max_crashes: 2 } },
    }));
    go(site, 'slow');
    go(site, 'bad');
    const late = await until('a start has timed out', async () =>
      (await why(site, 'slow')).records.find(({ cause }) => cause === 'start-timeout'),
    );
    assert.deepEqual([late.readyMs, late.signal, late.lastLines], [null, 'SIGTERM', ['waiting for the database']]);
    assert.match(
      await site.ok('why', 'slow'),
      /was not ready in time and was ended at .*: signal SIGTERM\n.*it was never ready/,
    );
    const { workers, records } = await until('it is given up', async () => {
      const answer = await why(site, 'bad');
      return answer.workers[0]?.state === 'failed' ? answer : null;
    });
    assert.match(workers[0]?.reason ?? '', /^exit code 4, 3 crashes in a row; next trial in /);
    assert.deepEqual(records[0]?.next, { type: 'failed', delayMs: 60_000, crashes: 3 });
    assert.match(
      await site.ok('why', 'bad'),
      /^bad\.1 \(revision 1\) has failed: exit code 4, 3 crashes in a row; next trial/,
    );
    await master.stop();
  });

  test('a reload, a scale up and a restart: why the workers run that run', async (t) => {
    const [site, master] = await started(t, () => ({
      web: { command: 'sleep 1000', ready: { delay: '10ms' }, reload: { canary: '0' } },
    }));
    const starts = async () =>
      (await why(site, 'web')).workers.map(({ id, start }) => `${id} ${start?.why} ${start?.of}`);
    assert.deepEqual(await starts(), ['web.1 start null']);
    await site.ok('reload');
    assert.deepEqual(await starts(), ['web.2 reload web.1']);
    await site.ok('scale', 'web', '+1');
    assert.deepEqual((await starts()).toSorted(), ['web.2 reload web.1', 'web.3 scale-up null']);
    await site.ok('restart', 'web.3');
    assert.deepEqual((await starts()).toSorted(), ['web.2 reload web.1', 'web.4 restart web.3']);
    const { records } = await why(site, 'web');
    assert.deepEqual(
      records.map(({ worker, cause, next }) => [worker, cause, next]),
      [
        ['web.3', 'restart', { type: 'stopped', by: 'web.4' }],
        ['web.1', 'reload', { type: 'stopped', by: 'web.2' }],
      ],
    );
    await master.stop();
  });

  test('is known over a kill -9 of the master and its next start', async (t) => {
    const [site, master] = await started(t, (place) => ({ web: once(place, 'web', 'exit 5') }));
    go(site, 'web');
    const exit = await firstExit(site, 'web');
    await master.serves();
    await until('it is on the disk', async () => (await site.run(['why', 'web', '--json'])).code === 0);
    process.kill(master.pid, 'SIGKILL');
    await site.nothingIsLeft(30_000);

    const left = await why(site, 'web.1');
    assert.deepEqual([left.running, left.workers, left.records], [false, [], [exit]]);
    const text = await site.ok('why', 'web');
    assert.match(text, /^no master runs; this is what the last one has left\n\nweb\.1 .* crashed with exit code 5/);
    const other = await site.run(['why', 'api']);
    assert.equal(other.code, 3);
    assert.match(other.stderr, /has no record of api\nhint: known there: web\n/);

    const next = await site.start().serves();
    const { running, records } = await why(site, 'web');
    assert.deepEqual([running, records], [true, [exit]]);
    await next.stop();
    const all = (await why(site, 'web', '-n', '9')).records;
    assert.deepEqual(
      all.map(({ cause }) => cause),
      ['stop', 'crash'],
    );
  });

  test('of what is not there names what is; without a master and without records it is exit 3', async (t) => {
    const [site, master] = await started(t, () => ({ web: { command: 'sleep 1000', ready: { delay: '10ms' } } }));
    assert.match(await site.ok('why', 'web'), /runs fine[\s\S]*\n\nno exit of web is recorded\n$/);
    const unknown = await site.run(['why', 'wbe']);
    assert.equal(unknown.code, 64);
    assert.match(
      unknown.stderr,
      /there is no app or worker wbe, and no record of one\nhint: known here: web, web\.1\n/,
    );
    assert.equal((await site.run(['why'])).code, 64);
    assert.equal((await site.run(['why', 'web', '-n', 'x'])).code, 64);
    await master.stop();
    const fresh = new Site(t);
    const none = await fresh.run(['why', 'web', '--name', fresh.name]);
    assert.equal(none.code, 3);
    assert.match(none.stderr, /no master named .* runs/);
  });
});
