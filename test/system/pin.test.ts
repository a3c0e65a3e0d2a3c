/** What a revision is made of: cwd, environment and program, resolved once, and every way in which that can fail. */
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { SuperviseError } from '../../src/core/errors.ts';
import type { AppSpec } from '../../src/core/spec.ts';
import { pin } from '../../src/system/processes/pin.ts';
import { appSpec, plainEnv } from '../helpers/spawning.ts';

const root = mkdtempSync(join(tmpdir(), 'supervise-pin-'));
after(() => rmSync(root, { recursive: true }));

/** releases/1 and releases/2, each with a program, and the symlink current to the first. */
function release(number: number): void {
  const directory = join(root, 'releases', String(number));
  mkdirSync(join(directory, 'bin'), { recursive: true });
  script(join(directory, 'bin/serve'), `#!/bin/sh\necho ${number}\n`);
  writeFileSync(join(directory, 'server.js'), '');
}

function script(path: string, text: string, mode = 0o755): string {
  writeFileSync(path, text);
  chmodSync(path, mode);
  return path;
}

release(1);
release(2);
const current = join(root, 'current');
symlinkSync('releases/1', current);

const pinned = (wanted: Partial<AppSpec> & Pick<AppSpec, 'argv'>, env: Record<string, string> = plainEnv) =>
  pin(appSpec(wanted), 7, env);

function failure(
  wanted: Partial<AppSpec> & Pick<AppSpec, 'argv'>,
  env: Record<string, string> = plainEnv,
): SuperviseError {
  try {
    pinned(wanted, env);
  } catch (error) {
    assert.ok(error instanceof SuperviseError, String(error));
    return error;
  }
  return assert.fail('expected an error');
}

describe('the program', () => {
  test('a name is looked up in the PATH of the worker, with empty and relative parts from its cwd', () => {
    assert.deepEqual(pinned({ argv: ['serve', '-x'], env: { PATH: 'nowhere:bin:/usr/bin' }, cwd: current }).argv, [
      join(root, 'releases/1/bin/serve'),
      '-x',
    ]);
    assert.deepEqual(pinned({ argv: ['serve'], env: { PATH: '' }, cwd: join(current, 'bin') }).argv, [
      join(root, 'releases/1/bin/serve'),
    ]);
  });

  test('a name with a slash counts from the resolved cwd', () => {
    const { argv, cwd, revision } = pinned({ argv: ['./bin/serve', '{fd}'], cwd: current });
    assert.deepEqual(
      { argv, cwd, revision },
      { argv: [join(root, 'releases/1/bin/serve'), '{fd}'], cwd: join(root, 'releases/1'), revision: 7 },
    );
  });

  test('an absolute path inside the symlink of the cwd is resolved, also beside the cwd', () => {
    mkdirSync(join(root, 'releases/1/app'), { recursive: true });
    const { argv, cwd } = pinned({ argv: [join(current, 'bin/serve')], cwd: join(current, 'app') });
    assert.deepEqual({ argv, cwd }, { argv: [join(root, 'releases/1/bin/serve')], cwd: join(root, 'releases/1/app') });
  });

  test('other symlinks keep their name: a virtual environment finds itself by it', () => {
    const link = join(root, 'releases/1/bin/python');
    symlinkSync('/bin/sh', link);
    assert.deepEqual(pinned({ argv: [join(current, 'bin/python')], cwd: current }).argv, [link]);
  });

  test('an interpreter inside the symlink of the cwd is named by its real path', () => {
    const tool = script(join(root, 'releases/1/bin/tool'), `#!${current}/bin/python -u\n`);
    assert.deepEqual(pinned({ argv: ['bin/tool', 'x'], cwd: current }).argv, [
      join(root, 'releases/1/bin/python'),
      '-u',
      tool,
      'x',
    ]);
  });

  test('a moved symlink does not touch what was pinned', () => {
    const before = pinned({ argv: ['bin/serve'], cwd: current });
    unlinkSync(current);
    symlinkSync('releases/2', current);
    const later = pinned({ argv: ['bin/serve'], cwd: current });
    unlinkSync(current);
    symlinkSync('releases/1', current);
    assert.deepEqual(
      [before.argv, later.argv],
      [[join(root, 'releases/1/bin/serve')], [join(root, 'releases/2/bin/serve')]],
    );
  });

  test('a part of PATH that is closed to us is passed over', { skip: process.getuid?.() !== 0 && 'needs root' }, () => {
    mkdirSync(join(root, 'closed/bin'), { recursive: true, mode: 0o700 });
    chmodSync(root, 0o755);
    process.seteuid?.(65534);
    try {
      assert.deepEqual(pinned({ argv: ['sleep', '1'], cwd: '/', env: { PATH: `${root}/closed/bin:/usr/bin` } }).argv, [
        '/usr/bin/sleep',
        '1',
      ]);
    } finally {
      process.seteuid?.(0);
    }
  });

  const cases: [string, Partial<AppSpec> & Pick<AppSpec, 'argv'>, RegExp, RegExp][] = [
    [
      'not in PATH',
      { argv: ['no-such-program'] },
      /app web: the program "no-such-program" was not found in PATH \(user uid \d+, as the master; cwd \/.*; PATH=\/.*\)$/,
      /absolute path/,
    ],
    ['in the cwd, not in PATH', { argv: ['plain.sh'], cwd: root }, /was not found in PATH/, /write \.\/plain\.sh/],
    [
      'missing with a slash',
      { argv: ['./gone'], cwd: root },
      /the program \/.*\/gone does not exist/,
      /relative path counts from the resolved cwd/,
    ],
    ['a directory', { argv: ['./releases'], cwd: root }, /is a directory, not a program/, /correct "\.\/releases"/],
    ['not executable', { argv: ['./plain.sh'], cwd: root }, /plain\.sh is not executable/, /chmod \+x/],
    [
      'not executable in PATH',
      { argv: ['plain.sh'], cwd: root, env: { PATH: root } },
      /plain\.sh is not executable/,
      /chmod \+x/,
    ],
    [
      'a missing interpreter',
      { argv: ['./odd'], cwd: root },
      /names the interpreter "\/no\/python9" in its first line, which does not exist/,
      /install the interpreter/,
    ],
    ['CR LF in the first line', { argv: ['./dos'], cwd: root }, /interpreter "\/bin\/sh\\r"/, /CR LF: "sed -i/],
    [
      'env without the interpreter',
      { argv: ['./env'], cwd: root },
      /asks env for the interpreter "python9", which is not in PATH/,
      /set PATH/,
    ],
  ];
  script(join(root, 'plain.sh'), '#!/bin/sh\n', 0o644);
  script(join(root, 'odd'), '#!/no/python9 -x\n');
  script(join(root, 'dos'), '#!/bin/sh\r\n');
  script(join(root, 'env'), '#!/usr/bin/env python9\n');
  for (const [name, wanted, message, hint] of cases) {
    test(`cannot run: ${name}`, () => {
      const error = failure(wanted);
      assert.equal(error.code, 'program-cannot-run');
      assert.match(error.message, message);
      assert.match(error.hint ?? '', hint);
    });
  }
});

describe('the script', () => {
  test('is given to this node, by its real path, with its words', () => {
    assert.deepEqual(pinned({ kind: 'script', argv: ['server.js', '-v'], cwd: current }).argv, [
      process.execPath,
      join(root, 'releases/1/server.js'),
      '-v',
    ]);
    assert.deepEqual(pinned({ kind: 'script', argv: [join(current, 'server.js')], cwd: root + '/current' }).argv, [
      process.execPath,
      join(root, 'releases/1/server.js'),
    ]);
  });

  test('must be a file', () => {
    assert.match(
      failure({ kind: 'script', argv: ['none.js'], cwd: root }).message,
      /the script \/.*none\.js does not exist/,
    );
    assert.match(
      failure({ kind: 'script', argv: ['releases'], cwd: root }).message,
      /the script \/.*releases is not a file/,
    );
  });
});

describe('the environment', () => {
  test('master < env_file < env, and the env_file lies in the resolved cwd', () => {
    writeFileSync(join(root, 'releases/1/.env'), '# comment\nA=file\nB="file b"\nexport C=file\n');
    const { env } = pinned(
      { argv: ['sh'], cwd: current, envFile: '.env', env: { A: 'env' } },
      { ...plainEnv, A: 'master', B: 'master', D: 'master' },
    );
    assert.deepEqual([env.A, env.B, env.C, env.D], ['env', 'file b', 'file', 'master']);
  });

  test('what concerns the master alone is not inherited, but may be set', () => {
    const masters = [
      'NOTIFY_SOCKET',
      'NOTIFY_FD',
      'WATCHDOG_USEC',
      'WATCHDOG_PID',
      'LISTEN_FDS',
      'LISTEN_PID',
      'LISTEN_FDNAMES',
      'NODE_CHANNEL_FD',
      'NODE_CHANNEL_SERIALIZATION_MODE',
      'NODE_UNIQUE_ID',
      'SUPERVISE_WORKER',
      'SUPERVISE_INSTANCE',
    ];
    const base = {
      ...plainEnv,
      ...Object.fromEntries(masters.map((name) => [name, '1'])),
      LISTEN_ADDRESS: 'mine',
      NODE_ENV: 'test',
    };
    const { env } = pinned({ argv: ['sh'], env: { WATCHDOG_USEC: 'own' } }, base);
    assert.deepEqual(env, { ...plainEnv, LISTEN_ADDRESS: 'mine', NODE_ENV: 'test', WATCHDOG_USEC: 'own' });
  });

  test('a missing env_file is named with what it counts from', () => {
    const error = failure({ argv: ['sh'], cwd: current, envFile: 'none.env' });
    assert.equal(error.code, 'launch-failed');
    assert.match(error.message, /app web: cannot read the env_file \/.*releases\/1\/none\.env: it does not exist/);
  });

  test('a missing cwd is named', () => {
    assert.match(
      failure({ argv: ['sh'], cwd: join(root, 'none') }).message,
      /app web: the working directory \/.*none does not exist/,
    );
    assert.match(failure({ argv: ['sh'], cwd: join(root, 'odd') }).message, /is not a directory/);
  });
});

describe('the user', () => {
  const identity = (user: string | null, group: string | null = null) => ({ user, group, umask: null, nice: null });

  test('an unknown user or group is named, with what to do', () => {
    const noUser = failure({ argv: ['sh'], identity: identity('no-such-user') });
    assert.match(noUser.message, /app web: user "no-such-user" was not found/);
    assert.match(noUser.hint ?? '', /useradd/);
    assert.match(
      failure({ argv: ['sh'], identity: identity('root', 'no-such-group') }).message,
      /group "no-such-group" was not found/,
    );
  });

  test(
    'has HOME, USER and LOGNAME, which the env file and env may change',
    { skip: process.getuid?.() !== 0 && 'needs root' },
    () => {
      const { env } = pinned(
        { argv: ['sh'], identity: identity('daemon'), env: { HOME: '/srv' } },
        { ...plainEnv, HOME: '/root', USER: 'root', LOGNAME: 'root' },
      );
      assert.deepEqual([env.HOME, env.USER, env.LOGNAME], ['/srv', 'daemon', 'daemon']);
    },
  );

  test('only root may become another user', { skip: process.getuid?.() !== 0 && 'needs root' }, () => {
    const asNobody = (user: string): SuperviseError | null => {
      process.setegid?.(65534);
      process.seteuid?.(65534);
      try {
        pinned({ argv: ['/bin/sh'], cwd: '/', identity: identity(user) });
        return null;
      } catch (error) {
        return error as SuperviseError;
      } finally {
        process.seteuid?.(0);
        process.setegid?.(0);
      }
    };
    assert.match(
      asNobody('daemon')?.message ?? '',
      /expected to run as user "daemon" \(uid 1, gid 1\), but the master runs as uid 65534, and only root may change that/,
    );
    assert.equal(asNobody('nobody'), null);
  });
});
