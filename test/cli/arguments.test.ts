import assert from 'node:assert/strict';
import { test } from 'node:test';
import { detachedArgs } from '../../src/cli/commands/detach.ts';
import { scaleChangeFrom } from '../../src/cli/commands/operations.ts';
import { commands } from '../../src/cli/commands.ts';
import { parse, runHere } from './recorder.ts';

const noGlobals = { config: null, name: null, json: false, noColor: false, quiet: false };

test('start takes its flags, and everything after -- as it is', async () => {
  const { command, invocation } = await parse(
    'start',
    '-w',
    '4',
    '-b',
    '127.0.0.1:8000',
    '--bind',
    'unix:/run/x.sock',
    '--pre-start',
    'alembic upgrade head',
    '--pre-start',
    'true',
    '--',
    'uvicorn',
    'main:app',
    '--fd',
    '{fd}',
    '-w',
    '2',
    '--json',
    '-c',
    'x',
    '--',
    'more',
  );
  assert.equal(command, 'start');
  assert.deepEqual(invocation?.globals, noGlobals);
  assert.deepEqual(invocation?.options, {
    workers: '4',
    bind: ['127.0.0.1:8000', 'unix:/run/x.sock'],
    preStart: ['alembic upgrade head', 'true'],
  });
  assert.deepEqual(invocation?.afterDashes, [
    'uvicorn',
    'main:app',
    '--fd',
    '{fd}',
    '-w',
    '2',
    '--json',
    '-c',
    'x',
    '--',
    'more',
  ]);
});

test('start -- CMD without any flag before it', async () => {
  const { invocation } = await parse('start', '--', 'node', '-e', '1');
  assert.deepEqual(invocation?.options, {});
  assert.deepEqual(invocation?.afterDashes, ['node', '-e', '1']);
});

test('short flags can be joined', async () => {
  const { invocation } = await parse('start', '-dw4');
  assert.deepEqual(invocation?.options, { detach: true, workers: '4' });
});

test('global flags stand before and after the command', async () => {
  const expected = { config: 'a.yaml', name: 'shop', json: true, noColor: true, quiet: true };
  const flags = ['-c', 'a.yaml', '--name', 'shop', '--json', '--no-color', '--quiet'];
  for (const argv of [
    [...flags, 'status'],
    ['status', ...flags],
    ['-c', 'a.yaml', 'status', ...flags.slice(2)],
  ]) {
    const { command, invocation } = await parse(...argv);
    assert.equal(command, 'status');
    assert.deepEqual(invocation?.globals, expected);
  }
});

test('a change of -1 is no flag', async () => {
  for (const change of ['-1', '-12', '+2', '0', '8']) {
    const { command, invocation } = await parse('scale', 'web', change, '--name', 'shop');
    assert.equal(command, 'scale');
    assert.deepEqual(invocation?.args, ['web', change]);
    assert.equal(invocation?.globals.name, 'shop');
  }
});

test('arguments arrive in order; those left out are missing', async () => {
  const cases: readonly (readonly [readonly string[], readonly string[]])[] = [
    [['reload'], []],
    [
      ['reload', 'web', 'api'],
      ['web', 'api'],
    ],
    [['retry'], []],
    [['retry', 'web.1'], ['web.1']],
    [
      ['signal', 'web', '-9'],
      ['web', '-9'],
    ],
    [['logs', '-f', 'web.3', '-n', '5'], ['web.3']],
    [['hooks', 'run'], ['run']],
  ];
  for (const [argv, args] of cases) assert.deepEqual((await parse(...argv)).invocation?.args, args, argv.join(' '));
});

test('scale: N, +N and -N', () => {
  assert.deepEqual(scaleChangeFrom('4'), { to: 4 });
  assert.deepEqual(scaleChangeFrom('0'), { to: 0 });
  assert.deepEqual(scaleChangeFrom('+2'), { by: 2, atLeast: 0 });
  assert.deepEqual(scaleChangeFrom('-1'), { by: -1, atLeast: 0 });
  for (const wrong of ['', 'x', '1.5', '--1', '1e3', '99999', ' 1'])
    assert.throws(() => scaleChangeFrom(wrong), /expected N, \+N or -N/);
});

test('a wrong command line is exit 64, says what is wrong and how to find out', async () => {
  const cases: readonly (readonly [readonly string[], RegExp, RegExp])[] = [
    [['statsu'], /^supervise: unknown command 'statsu'$/m, /did you mean status\?.*`supervise help`/],
    [['status', '--wacth'], /unknown option '--wacth'/, /did you mean --watch\?.*`supervise help status`/],
    [['frobnicate'], /unknown command 'frobnicate'/, /`supervise help` shows/],
    [['help', 'frobnicate'], /unknown command 'frobnicate'/, /`supervise help` lists/],
    [['scale', 'web'], /missing required argument 'change'/, /`supervise help scale`/],
    [['scale'], /missing required argument 'app'/, /`supervise help scale`/],
    [['status', 'web'], /too many arguments for 'status'/, /`supervise help status`/],
    [['scale', 'web', '1', '2'], /too many arguments/, /`supervise help scale`/],
    [['start', '-w'], /option '-w, --workers <n>' argument missing/, /`supervise help start`/],
    [['status', '-c'], /argument missing/, /`supervise help status`/],
    [['hooks', 'walk'], /hooks: expected nothing or run, found walk/, /`supervise help hooks`/],
    [['scale', 'web', '1.5'], /scale: expected N, \+N or -N, found 1\.5/, /supervise scale web \+2/],
    [['logs', '-n', 'many'], /--lines: expected a whole number from 0 to 100000, found many/, /^/],
    [['reload', '--timeout', '5'], /--timeout: expected a duration such as/, /^/],
    [['reload', '--timeout', '0s'], /--timeout: expected a duration above 0, found 0s/, /^/],
    [
      ['start', 'uvicorn', 'main:app'],
      /no arguments but a command after --, found uvicorn main:app/,
      /supervise start -- uvicorn main:app/,
    ],
    [['start', 'stray', '--', 'true'], /found stray/, /--/],
    [['start', '--'], /expected a command after --, found nothing/, /uvicorn/],
    [['start', '-c', 'x.yaml', '--', 'true'], /no config is read, found -c x\.yaml/, /leave one/],
    [['start', '--pre-start', 'true'], /--pre-start goes with -- CMD only/, /hooks\.pre_start/],
  ];
  for (const [argv, message, hint] of cases) {
    const { code, out, err } = await runHere(...argv);
    assert.equal(code, 64, argv.join(' '));
    assert.equal(out, '');
    assert.match(err, message);
    assert.match(err.split('\n').find((line) => line.startsWith('hint: ')) ?? '', hint, err);
  }
});

test('with --json the mistake is one document on stdout and nothing on stderr', async () => {
  for (const argv of [
    ['--json', 'statsu'],
    ['scale', 'web', '--json'],
    ['top', '--json'],
  ]) {
    const { code, out, err } = await runHere(...argv);
    assert.equal(code, 64);
    assert.equal(err, '');
    const { error } = JSON.parse(out) as { error: { code: string; message: string; exitCode: number } };
    assert.ok(['usage', 'not-supported'].includes(error.code) && error.message !== '');
    assert.equal(error.exitCode, 64);
  }
});

test('supervise alone shows the help on stderr and is exit 64', async () => {
  const { code, out, err } = await runHere();
  assert.equal(code, 64);
  assert.equal(out, '');
  assert.match(err, /Usage: supervise/);
  assert.match(err, /a command is expected/);
});

test('help and --version are exit 0 on stdout', async () => {
  for (const argv of [['help'], ['--help'], ['-h'], ['status', '--help']]) {
    const { code, out, err } = await runHere(...argv);
    assert.deepEqual([code, err], [0, ''], argv.join(' '));
    assert.match(out, /^Usage: supervise/);
  }
  const { code, out } = await runHere('--version');
  assert.equal(code, 0);
  assert.match(out, /^\d+\.\d+\.\d+/);
});

test('the help lists every command; those of later versions under "Not supported yet"', async () => {
  const { out } = await runHere('help');
  const later = out.indexOf('\nNot supported yet:\n');
  for (const { name, load } of commands) {
    const at = out.search(new RegExp(`^  ${name}( |$)`, 'm'));
    assert.ok(at > 0, name);
    assert.equal(at > later, load === null, name);
    if (load === null) assert.match((await runHere('help', name)).out, /not supported yet/);
  }
  for (const code of ['0 done', '1 failed', '3 no master', '64 usage', '78 invalid config'])
    assert.ok(out.includes(code), code);
});

for (const row of commands) {
  test(`help ${row.name} shows its examples, and each of them can be parsed`, async () => {
    const { code, out } = await runHere('help', row.name);
    assert.equal(code, 0);
    assert.ok(row.examples.length > 0);
    for (const { line } of row.examples) {
      assert.ok(out.includes(line), line);
      // what a shell would take apart: the first command of the line
      const words =
        line
          .split(/ (?:\||&&) /)[0]
          ?.match(/"[^"]*"|\S+/g)
          ?.map((word) => word.replaceAll('"', '')) ?? [];
      assert.deepEqual(words.slice(0, 2), ['supervise', row.name]);
      const parsed = await parse(...words.slice(1));
      assert.deepEqual([parsed.code, parsed.command], [0, row.name], parsed.err);
    }
  });
}

for (const row of commands.filter(({ load }) => load === null)) {
  test(`${row.name} is refused as not supported yet, whatever stands behind it`, async () => {
    for (const more of [[], ['x'], ['--flag', 'y']]) {
      const { code, err } = await runHere(row.name, ...more);
      assert.equal(code, 64);
      assert.match(err, new RegExp(`^supervise: ${row.name} is not supported yet$`, 'm'));
    }
  });
}

test('the detached master gets what was given, but not -d', async () => {
  const { invocation } = await parse(
    'start',
    '-d',
    '-w',
    '4',
    '-b',
    ':80',
    '-b',
    ':81',
    '--pre-start',
    'a b',
    '--quiet',
    '--',
    'prog',
    '-d',
    '--x y',
  );
  assert.ok(invocation);
  const argv = detachedArgs(invocation, { file: null, name: 'shop', logFile: '/s/master.log' });
  assert.ok(!argv.slice(0, argv.indexOf('--')).some((word) => word === '-d' || word === '--detach'));
  const again = await parse(...argv);
  assert.deepEqual(again.invocation?.options, {
    logFile: '/s/master.log',
    workers: '4',
    bind: [':80', ':81'],
    preStart: ['a b'],
  });
  assert.deepEqual(again.invocation?.globals, { ...noGlobals, name: 'shop', quiet: true });
  assert.deepEqual(again.invocation?.afterDashes, ['prog', '-d', '--x y']);
  const fromFile = await parse(
    ...detachedArgs({ ...invocation, afterDashes: null }, { file: 'x.yaml', name: 'shop', logFile: 'l' }),
  );
  assert.equal(fromFile.invocation?.globals.config, 'x.yaml');
  assert.equal(fromFile.invocation?.afterDashes, null);
});
