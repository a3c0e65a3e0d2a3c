/**
 * Log files of the whole program: every line once and whole at full speed, over rotation, gzip, kill -9, SIGUSR1 and
 * reloads; and `logs: inherit`. SUPERVISE_LOG_BYTES says how much is written at full speed (64 MB).
 */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, readlinkSync, renameSync, unlinkSync } from 'node:fs';
import type { Master } from '../helpers/e2e-master.ts';
import { fixture, Site, until } from '../helpers/e2e-site.ts';
import { countNumbered, filesOf } from '../helpers/numbered-lines.ts';

const totalBytes = Number(process.env['SUPERVISE_LOG_BYTES'] ?? 64_000_000);
const writer = `${process.execPath} ${fixture('numbered-lines.mjs')}`;
const says = {
  command: `${process.execPath} ${fixture('says.mjs')}`,
  ready: 'spawned',
  reload: { canary: '100ms' },
};
const quick = { ready: 'spawned', reload: { canary: '100ms' } };

function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return ''; // it is not there, or is being rotated
  }
}

/** The files below the site that the master has open. */
function openFiles(site: Site, master: Master): string[] {
  const open = readdirSync(`/proc/${master.pid}/fd`).flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/${master.pid}/fd/${fd}`)];
    } catch {
      return [];
    }
  });
  return open.filter((file) => file.startsWith(`${site.dir}/logs`)).map((file) => file.slice(site.dir.length + 1));
}

/** The most memory that it ever had. */
function peakRssBytes({ pid }: Master): number {
  const [, kilobytes] = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kilobytes) * 1024;
}

describe('log files', () => {
  test(`${totalBytes / 1e6} MB from four workers at full speed, rotated and compressed: every line once and whole`, async (t) => {
    const site = new Site(t);
    const file = site.path('logs/web.log');
    const command = `${writer} ${Math.ceil(totalBytes / 4)} ${site.path('done')}-{slot}`;
    const logs = { file: 'logs/{app}.log', max_size: '5MB', keep: 1000, gzip: true };
    site.config({ apps: { web: { command, workers: 4, logs, ...quick } } });
    const master = site.start();
    const done = (slot: number): string => site.path(`done-${slot}`);
    await master.until('all is written', () => [0, 1, 2, 3].every((slot) => existsSync(done(slot))));
    const isCompressed = (): boolean => filesOf(file).some((each) => each.endsWith('.gz'));
    await master.until('one is compressed', isCompressed);
    const peak = peakRssBytes(master);
    await master.stop();
    const counts = await countNumbered(filesOf(file));
    const written = [0, 1, 2, 3].map((slot) => Number(readFileSync(done(slot), 'utf8')));
    const ascending = (numbers: number[]): number[] => numbers.toSorted((one, other) => one - other);
    assert.deepEqual(ascending([...counts.values()]), ascending(written));
    assert.ok(filesOf(file).length > totalBytes / 6e6);
    assert.deepEqual(master.eventsOf('logs.dropped', 'master.warning'), []);
    assert.ok(peak < 250e6, `the master had ${peak / 1e6} MB`);
    t.diagnostic(`peak memory of the master: ${(peak / 1e6).toFixed(0)} MB; ${filesOf(file).length} files`);
  });

  test('kill -9 of the master at full speed, again and again: no line is cut, doubled or out of its place', async (t) => {
    const site = new Site(t);
    const file = site.path('logs/web.log');
    const logs = { file: 'logs/web.log', max_size: '300KB', keep: 1000, gzip: true };
    site.config({ apps: { web: { command: writer, workers: 2, logs, ...quick } } });
    const writers = new Set<string>();
    const writersOf = (text: string) => [...text.matchAll(/^(web\.\d+:\d+) /gm)].map(([, name = '']) => name);
    for (let round = 1; round <= 4; round++) {
      const before = existsSync(file) ? filesOf(file).length : 0;
      const master = site.start();
      await master.until('it rotates', () => existsSync(file) && filesOf(file).length > before + 3 * round);
      await master.until('both have written', () => {
        for (const name of writersOf(textOf(file))) writers.add(name);
        return writers.size === 2 * round;
      });
      master.signal('SIGKILL');
      await master.ended;
      await site.nothingIsLeft(20_000);
    }
    site.config({ apps: { web: { command: 'sleep 1000', logs, ...quick } } });
    const last = await site.start().serves();
    const isPlain = (name: string): boolean => /\.(\d+|part)$/.test(name);
    await last.until('all is compressed', () => !readdirSync(site.path('logs')).some(isPlain));
    await last.stop();
    const counts = await countNumbered(filesOf(file), 'cut');
    assert.deepEqual([...counts.keys()].toSorted(), [...writers].toSorted());
  });

  test('SIGUSR1 opens the files again after logrotate has moved one and somebody has deleted the other', async (t) => {
    const site = new Site(t);
    site.config({ apps: { web: { ...says, workers: 2, logs: { file: 'logs/{app}-{slot}.log' } } } });
    const master = await site.start().serves();
    const [first, second] = [site.path('logs/web-0.log'), site.path('logs/web-1.log')];
    await master.until('both are there', () => [first, second].every((file) => textOf(file).includes('is there')));
    renameSync(first, `${first}-moved`);
    unlinkSync(second);
    const pids = await master.pids();
    for (const pid of pids) process.kill(pid, 'SIGUSR2');
    await master.until('the moved one is written on', () => textOf(`${first}-moved`).includes('says 1'));
    assert.ok(!existsSync(first));
    master.signal('SIGUSR1');
    await master.until('they are made again', () => existsSync(first) && existsSync(second));
    for (const pid of pids) process.kill(pid, 'SIGUSR2');
    await master.until('they are written', () => [first, second].every((file) => textOf(file).includes('says 2')));
    await master.stop();
    assert.deepEqual(
      [textOf(first), textOf(second), textOf(`${first}-moved`)],
      ['web.1 says 2\n', 'web.2 says 2\n', 'web.1 is there\nweb.1 says 1\n'],
    );
  });

  test('`logs` shows what goes into files; other apps and the master go on to write to stdout and stderr', async (t) => {
    const site = new Site(t);
    const { command } = says;
    const web = { ...says, workers: 1, logs: { file: 'logs/web.log', format: 'prefix' } };
    site.config({ apps: { web, api: { ...says, command, workers: 1 } } });
    const master = await site.start().serves();
    await master.until('api writes', () => master.stdout.includes('api.1 is there'));
    const logged = await master.until('web writes', async () => {
      const lines = await site.ok('logs', 'web');
      return lines.includes('is there') && lines;
    });
    assert.equal(logged, 'web.1 | web.1 is there\n');
    await master.stop();
    assert.ok(!master.stdout.includes('web.1 is there'));
    assert.match(textOf(site.path('logs/web.log')), /^\d{4}-\d\d-\d\dT[\d:.]+Z web\.1 \| web\.1 is there\n$/);
  });

  test('a reload into another file: new workers write there, old ones end in theirs, and that is closed', async (t) => {
    const site = new Site(t);
    const config = (file: string) => site.config({ apps: { web: { ...says, workers: 2, logs: { file } } } });
    config('logs/old.log');
    const master = await site.start().serves();
    await master.until('the old one is open', () => openFiles(site, master).join() === 'logs/old.log');
    config('logs/new.log');
    await site.ok('reload');
    await master.until('the new one alone is open', () => openFiles(site, master).join() === 'logs/new.log');
    for (const pid of await master.pids()) process.kill(pid, 'SIGUSR2');
    const sorted = (file: string) => textOf(site.path(file)).split('\n').sort().slice(1);
    await master.until('they write', () => sorted('logs/new.log').length === 4);
    assert.deepEqual(sorted('logs/new.log'), ['web.3 is there', 'web.3 says 1', 'web.4 is there', 'web.4 says 1']);
    assert.deepEqual(sorted('logs/old.log'), ['web.1 is there', 'web.2 is there']);
    await master.stop();
  });

  test('a file that cannot be written is an error of the start, and of a reload, which changes nothing', async (t) => {
    const site = new Site(t);
    site.write('in-the-way', 'a file');
    site.config({ apps: { web: { ...says, logs: { file: 'in-the-way/web.log' } } } });
    const refused = await site.run(['start']);
    assert.equal(refused.code, 1);
    const message = /app web: the log file .*in-the-way\/web\.log cannot be written: .*in-the-way is not a directory/;
    assert.match(refused.stderr, message);
    site.config({ apps: { web: says } });
    const master = await site.start().serves();
    site.config({ apps: { web: { ...says, logs: { file: 'in-the-way/web.log' } } } });
    const reloaded = await site.run(['reload']);
    assert.notEqual(reloaded.code, 0);
    assert.match(reloaded.stderr, message);
    assert.equal((await master.app()).revision, 1);
    await master.stop();
  });
});

describe('logs: inherit', () => {
  test('workers have the stdout and stderr of the master; nothing is kept of them, but of hooks', async (t) => {
    const site = new Site(t);
    site.config({
      hooks: { pre_start: [{ name: 'look', command: 'echo the hook' }] },
      apps: { web: { ...says, workers: 1, logs: 'inherit' } },
    });
    const master = await site.start().serves();
    const [pid = 0] = await master.pids();
    const of = (process: number, fd: number): string => readlinkSync(`/proc/${process}/fd/${fd}`);
    assert.deepEqual([of(pid, 1), of(pid, 2)], [of(master.pid, 1), of(master.pid, 2)]);
    await master.until('it writes', () => master.stdout.includes('web.1 is there\n'));
    process.kill(pid, 'SIGALRM');
    const exited = await master.event('worker.exited');
    assert.deepEqual([exited.code, exited.lastLines], [3, []]);
    assert.match(await site.ok('logs'), /^hook\.look \| the hook\n$/);
    assert.match(master.stdout, /^\{.*"hook":"look".*"msg":"the hook"\}\nweb\.1 is there\n/);
    await master.stop();
  });

  test('a script under node:cluster too, and in the background lines go to the log of the master', async (t) => {
    const site = new Site(t);
    const script = `${fixture('says.mjs')}`;
    site.config({ apps: { web: { script, ready: 'spawned', logs: 'inherit' } } });
    await site.ok('start', '-d');
    const log = (): string => textOf(`${site.state}/master.log`);
    const { pid } = JSON.parse(await site.ok('status', '--json')) as { pid: number };
    site.adopt(pid);
    await until('it writes', () => log().split('\n').includes('web.1 is there'));
    await site.ok('stop');
  });
});
