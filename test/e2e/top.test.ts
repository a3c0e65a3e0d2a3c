/** `supervise top` in a real terminal (tmux). */
import { describe, test, type TestContext } from 'node:test';
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { mkdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Master } from '../helpers/e2e-master.ts';
import { commandLine, isAlive } from '../helpers/e2e-proc.ts';
import { Site, until } from '../helpers/e2e-site.ts';
import { Tmux, tmuxVersion } from '../helpers/tmux.ts';

const skip = (await tmuxVersion()) === null ? 'tmux is not installed' : false;

const says = (text: string) => ({
  command: ['/bin/sh', '-c', `printf '${text}\\n'; echo up; exec sleep 1000`],
  ready: { log: '^up$' },
  reload: { canary: '0' },
});

const apps = { web: { ...says('hello'), workers: 2 }, jobs: says('working') };

async function started(t: TestContext, content: Record<string, unknown> = apps): Promise<[Site, Master]> {
  const site = new Site(t);
  site.config({ resources: { sample_every: '200ms' }, apps: content });
  return [site, await site.start().serves()];
}

/** The dashboard is on the screen, with its first row selected. */
async function opened(t: TestContext, site: Site, command = 'supervise top'): Promise<Tmux> {
  const tmux = await Tmux.open(t, site);
  await tmux.types(`echo before; ${command}`);
  await tmux.shows('the table', /▸ web +running/);
  return tmux;
}

/** q gives the terminal back as it was; then everything ends. */
async function quit(tmux: Tmux, master: Master): Promise<void> {
  await tmux.keys('q');
  await tmux.isGivenBack();
  await tmux.end();
  await master.stop();
}

/** The process of the dashboard. */
function pidOfTop(site: Site): number {
  const found = site.processes().filter((pid) => commandLine(pid).endsWith(' top'));
  assert.equal(found.length, 1);
  return found[0] ?? 0;
}

describe('top', { skip }, () => {
  test('shows master, apps, workers and events; q gives the terminal back as it was', async (t) => {
    const [site, master] = await started(t);
    const tmux = await opened(t, site, `bash -c 'supervise top; echo code $?; stty -a > stty'`);
    const [pid] = await master.pids();
    const picture = (await tmux.shows('a worker', new RegExp(`web\\.1 +ready +${pid} `))).input;
    assert.match(picture, new RegExp(`^${site.name} +running +pid ${master.pid} `));
    assert.match(picture, /web +running +2\/2/);
    assert.match(picture, /jobs\.1 +ready/);
    await tmux.shows('events', /── events ──[^]*is ready after/);
    assert.equal(picture.split('\n').length, 24);
    assert.equal(await tmux.fact('alternate_on'), '1');
    assert.equal(await tmux.fact('cursor_flag'), '0');
    await tmux.shows('memory bars', /[KM]B +[▁▂▃▄▅▆▇█]+/);
    await tmux.keys('q');
    await tmux.shows('the exit code, below what was there', /before\ncode 0/);
    await tmux.isGivenBack();
    // This shell sets nothing right by itself.
    assert.match(readFileSync(site.path('stty'), 'utf8'), /isig icanon [^]* echo /);
    await tmux.end();
    await master.stop();
  });

  test('r and y replace the process of the selected worker, and no other', async (t) => {
    const [site, master] = await started(t);
    const tmux = await opened(t, site);
    const [first, second] = await master.pids();
    await tmux.keys('j', 'r');
    await tmux.shows('the question', /restart web\.1\?/);
    await tmux.keys('n');
    await tmux.shows('no question', /q quit$/);
    assert.equal(master.eventsOf('worker.stopping').length, 0);
    await tmux.keys('r');
    await tmux.shows('the question', /restart web\.1\?/);
    await tmux.keys('y');
    await tmux.shows('another worker in its slot, selected', /▸ +web\.[3-9] +ready/);
    const now = await master.pids();
    assert.ok(!now.includes(first ?? 0) && !isAlive(first ?? 0) && now.includes(second ?? 0) && now.length === 2);
    await tmux.shows('what became of it', /\n[^\n]*\n[^\n]*quit$/);
    await quit(tmux, master);
  });

  test('s and + scale, R reloads', async (t) => {
    const [site, master] = await started(t);
    const tmux = await opened(t, site);
    await tmux.keys('+');
    await tmux.shows('the number', /scale web from 2 to 3/);
    await tmux.keys('Enter');
    await tmux.shows('three workers', /web +running +3\/3/);
    assert.equal((await master.app()).goal, 3);
    await tmux.keys('s', '1');
    await tmux.shows('the number', /scale web from 3 to 1 /);
    await tmux.keys('Enter');
    await tmux.shows('one worker', /web +running +1\/1/);
    await tmux.keys('R');
    await tmux.shows('the question', /reload\? y web/);
    await tmux.keys('y');
    const { to } = await master.event('rollout.succeeded');
    await tmux.shows('the new revision', new RegExp(`web: revision ${to}\\b`));
    await quit(tmux, master);
  });

  test('logs follow, why tells', async (t) => {
    const [site, master] = await started(t, {
      web: {
        command: ['/bin/sh', '-c', 'echo up; while :; do [ -e more ] && rm more && echo one more; sleep 0.05; done'],
        ready: { log: '^up$' },
      },
    });
    const tmux = await opened(t, site);
    await tmux.keys('j', 'l');
    await tmux.shows('the log', /^logs of web\.1 .*following\n\S+ \| up/);
    site.write('more', '');
    await tmux.shows('a line that came', /\| one more/);
    await tmux.keys('w');
    await tmux.shows('why', /^why of web\.1[^]*web\.1 \(revision 1\) runs fine/);
    await tmux.keys('?');
    await tmux.shows('the help', /^help[^]*In the table/);
    await tmux.keys('Escape');
    await tmux.shows('the table', /▸ +web\.1 +ready/);
    await tmux.keys('C-c');
    await tmux.isGivenBack();
    await tmux.end();
    await master.stop();
  });

  test('is drawn anew at another size, and back', async (t) => {
    const [site, master] = await started(t);
    const tmux = await opened(t, site);
    await tmux.resize('40x12');
    const small = (await tmux.shows('a small table', /^ {2}NAME▾ +STATE +UP +CPU +MEM$/m)).input;
    assert.equal(small.split('\n').length, 12);
    await tmux.shows('the keys in the last line', /q quit$/);
    await tmux.resize('80x24');
    await tmux.shows('all columns', /READY\/PID[^]*events[^]*q quit$/);
    await quit(tmux, master);
  });

  test('Ctrl-Z gives the terminal to the shell, fg takes it again', async (t) => {
    const [site, master] = await started(t);
    const tmux = await opened(t, site);
    await tmux.keys('C-z');
    await tmux.shows('the shell', /Stopped/);
    await tmux.isGivenBack();
    await tmux.types('fg');
    await tmux.shows('the table', /▸ web +running[^]*q quit$/);
    assert.equal(await tmux.fact('alternate_on'), '1');
    await tmux.keys('j');
    await tmux.shows('that keys are read', /▸ +web\.1/);
    await quit(tmux, master);
  });

  test('STOP leaves it no time for that: fg takes the terminal all the same', async (t) => {
    const [site, master] = await started(t);
    const tmux = await opened(t, site);
    process.kill(pidOfTop(site), 'SIGSTOP');
    await tmux.shows('the shell', /Stopped/);
    await tmux.types('fg');
    await tmux.shows('the table', /▸ web +running[^]*q quit$/);
    await tmux.keys('j');
    await tmux.shows('that keys are read', /▸ +web\.1/);
    await quit(tmux, master);
  });

  test('TERM gives the terminal back', async (t) => {
    const [site, master] = await started(t);
    const tmux = await opened(t, site, 'supervise top; echo code $?');
    const pid = pidOfTop(site);
    process.kill(pid, 'SIGTERM');
    await tmux.shows('the exit code', /code 143/);
    await tmux.isGivenBack();
    await tmux.end();
    await master.stop();
  });

  test('what a worker writes is shown, and does nothing to the terminal', async (t) => {
    const evil = '\\033[2J\\033[?1049l\\033[H\\033]0;owned\\007\\033[31mHARM\\rLESS \\302\\233\\061m 漢字 end';
    const [site, master] = await started(t, { web: says(evil) });
    const tmux = await opened(t, site);
    await tmux.keys('j', 'l');
    await tmux.shows('the line', /^logs of web\.1[^\n]*\n\S+ \| \]0;ownedHARMLESS .*漢字 end\n/);
    assert.equal(await tmux.fact('alternate_on'), '1');
    assert.notEqual(await tmux.fact('pane_title'), 'owned');
    await tmux.keys('q', 'q');
    await tmux.isGivenBack();
    await tmux.end();
    await master.stop();
  });

  test('a killed master is told, and one that comes back is shown', async (t) => {
    const [site, master] = await started(t);
    const tmux = await opened(t, site);
    process.kill(master.pid, 'SIGKILL');
    await tmux.shows('that it has gone', /the master has gone, for \d+s/);
    await master.ended;
    const next = await site.start().serves();
    await tmux.shows(
      'the next one',
      new RegExp(`running +pid ${next.pid} [^]*web\\.1 +ready +${(await next.pids())[0]} `),
    );
    await tmux.keys('q');
    await tmux.isGivenBack();
    await tmux.end();
    await next.stop();
  });

  test('without colours nothing is coloured; without UTF-8 all is ASCII', async (t) => {
    const [site, master] = await started(t);
    const tmux = await Tmux.open(t, site);
    await tmux.types('LC_ALL=C NO_COLOR=1 supervise top');
    await tmux.shows('the table', /> web +running[^]*quit$/);
    const picture = await tmux.picture('-e');
    assert.ok(!picture.includes('\u001b['), JSON.stringify(picture));
    assert.match(picture, /^[\n -~]*$/);
    await tmux.keys('q');
    await tmux.isGivenBack();
    await tmux.types('supervise top');
    await tmux.shows('the table', /▸ web +running/);
    assert.ok((await tmux.picture('-e')).includes('\u001b[32m'), 'running is green');
    await quit(tmux, master);
  });

  test('an answer that is none is a bug that is told, on the main screen', async (t) => {
    const site = new Site(t);
    mkdirSync(site.runtime, { mode: 0o700 });
    const server = createServer((request, response) => {
      const status = JSON.stringify({ name: site.name, apps: 7, host: {} });
      response.end(request.url === '/v1/status' ? status : '');
    });
    server.listen(join(site.runtime, 'control.sock'));
    t.after(() => server.close());
    const tmux = await Tmux.open(t, site);
    await tmux.types(`supervise --name ${site.name} top; echo code $?`);
    await tmux.shows('the bug', /this is a bug in supervise: TypeError[^]*code 70/);
    await tmux.isGivenBack();
  });

  test('without a change hardly anything is written', async (t) => {
    const [site, master] = await started(t);
    const tmux = await opened(t, site);
    const file = site.path('bytes');
    await tmux.records(file);
    await until('ten seconds of the clock', async () => (await master.status()).uptimeMs > 12_000);
    const [bytes, { uptimeMs }] = [statSync(file).size, await master.status()];
    assert.ok(bytes > 0, 'uptimes change');
    // A picture of 80x24 is 1920 characters.
    assert.ok(bytes < (1920 / 4) * (uptimeMs / 1000), `${bytes} bytes in ${uptimeMs} ms`);
    assert.ok(!readFileSync(file, 'utf8').includes('\u001b[2J'));
    await quit(tmux, master);
  });

  test('without a terminal it is exit 64, and says what to use', async (t) => {
    const site = new Site(t);
    const { code, stdout, stderr } = await site.run(['top']);
    assert.deepEqual([code, stdout], [64, '']);
    assert.match(stderr, /expected a terminal[^]*status --watch.*status --json/);
  });

  test('without a master it is exit 3, and the terminal is left as it is', async (t) => {
    const site = new Site(t);
    const tmux = await Tmux.open(t, site);
    await tmux.types(`supervise --name ${site.name} top; echo code $?`);
    await tmux.shows('the exit code', /no master[^]*code 3/);
    await tmux.isGivenBack();
  });
});
