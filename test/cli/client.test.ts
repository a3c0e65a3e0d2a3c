import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { isGone, markOf } from '../../src/cli/process-mark.ts';
import { ControlClient } from '../../src/control/client.ts';
import { SuperviseError } from '../../src/core/errors.ts';
import type { Reply } from '../../src/core/protocol.ts';
import { eventually } from '../control/fake-master.ts';
import { Stage, resultOf } from './process.ts';

const accepted: Reply = { ok: true, operation: 1, message: 'begun' };

test('status: a table for people, the snapshot as it is for programs', async (t) => {
  const stage = new Stage(t);
  await stage.serve(t);
  const people = await stage.ask('status');
  assert.equal(people.code, 0);
  assert.match(people.out, new RegExp(`^${stage.name} {2}running {2}pid ${process.pid} `));
  assert.match(people.out, /^web {2}running {2}1\/1/m);
  const programs = await stage.ask('status', '--json');
  assert.equal(programs.out.trimEnd(), await new ControlClient(stage.socketPath()).statusJson());
});

test('without a master: status 3, stop 0, reload 3', async (t) => {
  const stage = new Stage(t);
  const status = await stage.ask('status');
  assert.deepEqual([status.code, status.out], [3, '']);
  assert.match(status.err, new RegExp(`^supervise: no master named ${stage.name} runs\nhint: looked at `));
  const json = await stage.ask('status', '--json');
  assert.deepEqual([json.code, json.err], [3, '']);
  assert.equal((JSON.parse(json.out) as { error: { code: string } }).error.code, 'no-master');
  assert.equal((await stage.ask('stop')).code, 0);
  assert.equal((await stage.ask('reload')).code, 3);
});

test('which master: the config names it, also while it is broken; several without a name are listed', async (t) => {
  const stage = new Stage(t);
  await stage.serve(t);
  await stage.serve(t, `${stage.name}-b`);
  const several = await stage.run('status');
  assert.equal(several.code, 64);
  assert.ok(several.err.includes(`${stage.name} (`) && several.err.includes(`${stage.name}-b (`), several.err);
  writeFileSync(join(stage.directory, 'supervise.yaml'), `name: ${stage.name}\nappz:\n  web: {workers: many}\n`);
  assert.match((await stage.run('status')).out, new RegExp(`^${stage.name} {2}running`));
  writeFileSync(join(stage.directory, 'other.yaml'), `name: ${stage.name}-b\n`);
  assert.match((await stage.run('status', '-c', 'other.yaml')).out, new RegExp(`^${stage.name}-b {2}running`));
  assert.equal((await stage.run('check')).code, 78);
  assert.equal((await stage.run('status', '-c', 'absent.yaml')).code, 78);
});

test('a reload shows its progress on stderr and its result on stdout', async (t) => {
  const stage = new Stage(t);
  const { master } = await stage.serve(t);
  master.answer = () => accepted;
  const result = stage.ask('reload', 'web');
  await eventually('it arrives', () => master.commands.length === 1);
  master.emit({ type: 'operation.progress', operation: 1, name: 'reload', message: 'web: 1 of 2 replaced' });
  master.emit({
    type: 'operation.finished',
    operation: 1,
    name: 'reload',
    ok: true,
    message: 'web: revision 2 serves',
    lastLines: [],
  });
  assert.deepEqual(await result, { code: 0, out: 'web: revision 2 serves\n', err: 'web: 1 of 2 replaced\n' });
  assert.deepEqual(master.commands, [{ type: 'reload', spec: null, apps: ['web'] }]);
});

test('a reload that was rolled back is exit 1 with the last lines, indented; --json has them as data', async (t) => {
  const stage = new Stage(t);
  const { master } = await stage.serve(t);
  master.answer = () => {
    setImmediate(() =>
      master.emit({
        type: 'operation.finished',
        operation: 1,
        name: 'reload',
        ok: false,
        message: 'web was rolled back',
        lastLines: ['KeyError', 'bye'],
      }),
    );
    return accepted;
  };
  assert.deepEqual(await stage.ask('reload'), {
    code: 1,
    out: '',
    err: 'supervise: web was rolled back\n  KeyError\n  bye\n',
  });
  const json = await stage.ask('reload', '--json');
  assert.equal(json.code, 1);
  assert.deepEqual(JSON.parse(json.out), {
    ok: false,
    exitCode: 1,
    message: 'web was rolled back',
    lastLines: ['KeyError', 'bye'],
  });
});

test('what the master refuses has its exit code and hint', async (t) => {
  const stage = new Stage(t);
  const { master } = await stage.serve(t);
  master.answer = () => ({
    ok: false,
    error: new SuperviseError('unknown-target', 'there is no app named wep', { hint: 'apps: web' }),
  });
  assert.deepEqual(await stage.ask('restart', 'wep'), {
    code: 64,
    out: '',
    err: 'supervise: there is no app named wep\nhint: apps: web\n',
  });
  const json = await stage.ask('scale', 'wep', '-1', '--json');
  assert.deepEqual([json.code, json.err], [64, '']);
  assert.equal((JSON.parse(json.out) as { error: { hint: string } }).error.hint, 'apps: web');
});

test('every operation arrives as it was typed', async (t) => {
  const stage = new Stage(t);
  const { master } = await stage.serve(t);
  const cases: readonly (readonly [readonly string[], unknown])[] = [
    [['scale', 'web', '-1'], { type: 'scale', app: 'web', change: { by: -1, atLeast: 0 } }],
    [['scale', 'web', '4'], { type: 'scale', app: 'web', change: { to: 4 } }],
    [['restart', 'web.3'], { type: 'restart', target: { app: 'web', worker: 'web.3' } }],
    [['retry'], { type: 'retry', target: null }],
    [['signal', 'web', '15'], { type: 'signal', target: { app: 'web', worker: null }, signal: 'SIGTERM' }],
  ];
  for (const [argv, command] of cases) {
    assert.deepEqual(await stage.ask(...argv), { code: 0, out: 'done\n', err: '' });
    assert.deepEqual(master.commands.pop(), command);
  }
  const wrong = await stage.ask('signal', 'web', 'NOPE');
  assert.equal(wrong.code, 64);
  assert.match(wrong.err, /expected a signal as TERM, SIGTERM or 15, found "NOPE"/);
});

test('Ctrl-C ends the wait and says that the operation goes on', async (t) => {
  const stage = new Stage(t);
  const { master } = await stage.serve(t);
  master.answer = () => accepted;
  const child = stage.start(['scale', 'web', '3', '--name', stage.name]);
  const result = resultOf(child);
  await eventually('it arrives', () => master.commands.length === 1);
  child.kill('SIGINT');
  const { code, err } = await result;
  assert.equal(code, 130);
  assert.match(err, /the wait for the scale was ended; the scale goes on/);
  assert.equal(master.commands.length, 1, 'nobody was told to stop anything');
});

test('logs and events: for people, for programs, and through head', async (t) => {
  const stage = new Stage(t);
  const { master, logs } = await stage.serve(t);
  for (let i = 0; i < 20_000; i++) logs.add('web.1', `line ${i} ${'x'.repeat(100)}`);
  logs.add('web.2', 'other');
  assert.equal((await stage.ask('logs', 'web.2')).out, 'web.2 | other\n');
  const [last] = (await stage.ask('logs', '-n', '1', '--json')).out.split('\n');
  assert.deepEqual(JSON.parse(last ?? ''), logs.lines.at(-1));
  const child = stage.start(['logs', '-n', '20001', '--name', stage.name]);
  let err = '';
  child.stderr?.on('data', (piece: Buffer) => (err += piece.toString('utf8')));
  await once(child.stdout!, 'data');
  child.stdout?.destroy();
  const [code] = (await once(child, 'exit')) as [number | null];
  assert.deepEqual([code, err], [0, '']);
  master.emit({ type: 'master.running', pid: 1 });
  assert.match((await stage.ask('events')).out, /master\.running {5}all apps are running\n$/);
  assert.equal((JSON.parse((await stage.ask('events', '--json')).out) as { type: string }).type, 'master.running');
});

test('logs -f follows until the master ends', async (t) => {
  const stage = new Stage(t);
  const { logs, server } = await stage.serve(t);
  logs.add('web.1', 'before');
  const result = stage.ask('logs', '-f');
  await eventually('it follows', () => logs.listeners.size === 1);
  logs.add('web.1', 'after');
  server.close();
  assert.deepEqual(await result, { code: 0, out: 'web.1 | before\nweb.1 | after\n', err: '' });
});

test('hooks: a table, or its data', async (t) => {
  const stage = new Stage(t);
  await stage.serve(t);
  assert.match((await stage.ask('hooks')).out, /^pre_start {2}migrate {2}succeeded/m);
  const { hooks } = JSON.parse((await stage.ask('hooks', '--json')).out) as { hooks: { name: string }[] };
  assert.deepEqual(
    hooks.map(({ name }) => name),
    ['migrate'],
  );
});

test('stop returns when the socket and the process are gone, with progress on stderr', async (t) => {
  const stage = new Stage(t);
  const serverModule = new URL('../../src/control/server.js', import.meta.url).href;
  const fixture = resolve('test/fixtures/ending-master.mjs');
  const master = spawn(process.execPath, [fixture, serverModule, stage.socketPath(), stage.name, '60'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => master.kill('SIGKILL'));
  const ended = once(master, 'exit');
  await once(master.stdout, 'data');
  const mark = markOf(master.pid ?? 0);
  assert.ok(mark !== null && !isGone(mark));
  const { code, out, err } = await stage.ask('stop');
  assert.ok(isGone(mark), 'the process is gone when the command returns');
  assert.deepEqual([code, out], [0, `${stage.name} has stopped\n`]);
  assert.match(err, /^2 workers left\n/);
  assert.ok(!existsSync(stage.socketPath()));
  await ended;
});

test('stop: a master that is killed at any moment of it has stopped', async (t) => {
  const stage = new Stage(t);
  const serverModule = new URL('../../src/control/server.js', import.meta.url).href;
  const fixture = resolve('test/fixtures/ending-master.mjs');
  for (const delayMs of [null, 60, 90, 120, 150, 180]) {
    const master = spawn(process.execPath, [fixture, serverModule, stage.socketPath(), stage.name, '60000'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    t.after(() => master.kill('SIGKILL'));
    await once(master.stdout, 'data');
    const result = stage.ask('stop');
    // null: when it has been asked to stop
    await (delayMs === null ? once(master.stdout, 'data') : new Promise((done) => setTimeout(done, delayMs)));
    master.kill('SIGKILL');
    const { code, err } = await result;
    assert.equal(code, 0, err);
  }
});

test('check: ok with a summary, or every problem at its place', async (t) => {
  const stage = new Stage(t);
  const file = join(stage.directory, 'supervise.yaml');
  writeFileSync(
    file,
    'name: shop\nhooks: {pre_start: ["true"]}\napps:\n  web: {command: sleep 9, workers: 2, listen: ":18080"}\n',
  );
  assert.deepEqual(await stage.run('check'), {
    code: 0,
    out: 'supervise.yaml: ok (shop; 1 hook; web: 2 workers on tcp://:18080)\n',
    err: '',
  });
  const ok = JSON.parse((await stage.run('check', '--json')).out) as { ok: boolean; apps: unknown };
  assert.deepEqual(
    [ok.ok, ok.apps],
    [true, [{ name: 'web', workers: 2, staffing: { kind: 'fixed' }, listen: ['tcp://:18080'] }]],
  );
  for (const [workers, says] of [
    ['auto', 'as many workers as CPUs and memory allow'],
    ['{min: 2, max: 8}', '2 to 8 workers'],
    ['{min: 2, max: 2}', '2 workers'],
  ]) {
    writeFileSync(file, `name: shop\napps:\n  web: {command: sleep 9, workers: ${workers}}\n`);
    assert.equal((await stage.run('check')).out, `supervise.yaml: ok (shop; web: ${says})\n`);
  }
  writeFileSync(file, 'apps:\n  web: {command: sleep 9, wrokers: 2}\n');
  const broken = await stage.run('check');
  assert.deepEqual([broken.code, broken.out], [78, '']);
  assert.match(broken.err, /^supervise\.yaml:2:27: apps\.web.*wrokers.*workers/);
  const { error } = JSON.parse((await stage.run('check', '--json')).out) as {
    error: { code: string; problems: { line: number }[] };
  };
  assert.deepEqual([error.code, error.problems.map(({ line }) => line)], ['config-invalid', [2]]);
});

test('start --dry-run starts nothing, and shows where values come from, with secrets masked', async (t) => {
  const stage = new Stage(t);
  const file = join(stage.directory, 'supervise.yaml');
  writeFileSync(
    file,
    'name: shop\nhooks: {pre_start: [touch started]}\napps:\n  web: {command: sleep 9, env: {API_TOKEN: hush-hush}}\n',
  );
  const { code, out, err } = await stage.run('start', '--dry-run', '-w', '3');
  assert.deepEqual([code, err], [0, '']);
  assert.match(out, /- migrate|- touch: touch started/);
  assert.match(out, /- web: 3 workers of sleep 9/);
  assert.match(out, /^apps\.web\.workers +3 +flag -w$/m);
  const auto = (await stage.run('start', '--dry-run', '-w', 'auto')).out;
  assert.match(auto, /- web: as many workers as CPUs and memory allow of sleep 9/);
  assert.match(auto, /^apps\.web\.workers +auto +flag -w$/m);
  assert.match(auto, /^resources\.memory_budget +80% +default$/m);
  assert.match(out, /^apps\.web\.stop\.timeout +30s +default$/m);
  assert.match(out, /^apps\.web\.command +sleep 9 +supervise\.yaml:4:\d+$/m);
  const json = (await stage.run('start', '--dry-run', '--json')).out;
  assert.ok(!out.includes('hush-hush') && !json.includes('hush-hush'));
  const plan = JSON.parse(json) as { hooks: unknown; values: { path: string; origin: string }[] };
  assert.deepEqual(plan.hooks, [{ phase: 'pre_start', name: 'touch', command: 'touch started' }]);
  assert.ok(!existsSync(join(stage.directory, 'started')));
});

test('start --dry-run shows what apps wait for, and the hooks of a reload', async (t) => {
  const stage = new Stage(t);
  writeFileSync(
    join(stage.directory, 'supervise.yaml'),
    'hooks: {pre_reload: [check it], post_reload: [tell all]}\napps:\n  web: {command: a, depends_on: [db]}\n  db: {command: b, logs: inherit}\n',
  );
  const { code, out } = await stage.run('start', '--dry-run');
  assert.equal(code, 0);
  assert.match(out, /^ +- db: 1 worker of b\n +- web, after db: 1 worker of a$/m);
  assert.match(out, /pre_reload hooks, before anything is touched\n +- check: check it$/m);
  assert.match(out, /post_reload hooks\n +- tell: tell all$/m);
  assert.match(out, /^ +- web, db$/m);
  assert.match(out, /^apps\.db\.logs +inherit +supervise\.yaml:4:\d+$/m);
});

test('the bin says what to do when it was not built', async (t) => {
  const stage = new Stage(t);
  const { cpSync } = await import('node:fs');
  cpSync(resolve('bin'), join(stage.directory, 'bin'), { recursive: true });
  const { code, err } = await resultOf(spawn(process.execPath, [join(stage.directory, 'bin/supervise.js'), 'status']));
  assert.equal(code, 70);
  assert.match(err, /main\.cjs is missing: the package was not built\nhint: run npm run build/);
});
