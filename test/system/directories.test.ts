/** Where the directories are made, and which are refused. */
import assert from 'node:assert/strict';
import { chmodSync, chownSync, mkdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { SuperviseError } from '../../src/core/errors.ts';
import { directoriesFor, prepareDirectories, socketPath } from '../../src/system/instance/directories.ts';
import { temporaryDirectory } from './processes.ts';

const isRoot = process.getuid?.() === 0;

function modeOf(path: string): number {
  return statSync(path).mode & 0o777;
}

function refusalOf(act: () => void): SuperviseError {
  try {
    act();
  } catch (error) {
    assert.ok(error instanceof SuperviseError, String(error));
    return error;
  }
  return assert.fail('expected an error, found none');
}

test('systemd decides where it says so: the first of its list', () => {
  const env = { RUNTIME_DIRECTORY: '/run/shop:/run/other', STATE_DIRECTORY: '/var/lib/shop' };
  assert.deepEqual(directoriesFor('shop', env), { runtime: '/run/shop', state: '/var/lib/shop' });
});

test('root has /run and /var/lib', { skip: !isRoot && 'needs root' }, () => {
  assert.deepEqual(directoriesFor('shop', {}), { runtime: '/run/supervise/shop', state: '/var/lib/supervise/shop' });
});

test('a name that leads out of the directory, or nowhere, is refused', () => {
  for (const name of ['', '.', '..', 'a/b', '../x', 'a\0b', 'x'.repeat(65)]) {
    assert.equal(refusalOf(() => directoriesFor(name, {})).code, 'usage', name);
  }
});

describe('made by us', () => {
  test('0700, also where it was there with another mode', (t) => {
    const base = temporaryDirectory(t);
    const wanted = { runtime: join(base, 'run/shop'), state: join(base, 'state/shop') };
    mkdirSync(wanted.state, { recursive: true, mode: 0o755 });
    assert.deepEqual(prepareDirectories(wanted, {}), wanted);
    assert.deepEqual([modeOf(wanted.runtime), modeOf(wanted.state)], [0o700, 0o700]);
    prepareDirectories(wanted, {});
  });

  test('a symbolic link and a file in its place are refused', (t) => {
    const base = temporaryDirectory(t);
    const target = join(base, 'target');
    mkdirSync(target);
    symlinkSync(target, join(base, 'link'));
    writeFileSync(join(base, 'file'), '');
    const linked = refusalOf(() => prepareDirectories({ runtime: join(base, 'link'), state: join(base, 'state') }, {}));
    assert.equal(linked.code, 'directory-unsafe');
    assert.match(linked.message, /found a symbolic link/);
    assert.match(
      refusalOf(() => prepareDirectories({ runtime: join(base, 'file'), state: join(base, 'state') }, {})).message,
      /no directory/,
    );
    assert.equal(modeOf(target), 0o755 & ~process.umask());
  });

  test(
    'one that belongs to somebody else, itself or the one above, is refused',
    { skip: !isRoot && 'needs root, to give it away' },
    (t) => {
      const base = temporaryDirectory(t);
      const theirs = join(base, 'theirs');
      mkdirSync(join(theirs, 'shop'), { recursive: true });
      chownSync(join(theirs, 'shop'), 65534, 65534);
      const state = join(base, 'state');
      const leaf = refusalOf(() => prepareDirectories({ runtime: join(theirs, 'shop'), state }, {}));
      assert.match(leaf.message, /expected a directory of uid 0, found one that belongs to uid 65534/);
      chownSync(theirs, 65534, 65534);
      chownSync(join(theirs, 'shop'), 0, 0);
      assert.match(
        refusalOf(() => prepareDirectories({ runtime: join(theirs, 'shop'), state }, {})).message,
        /theirs: expected/,
      );
    },
  );
});

describe('given by systemd', () => {
  test('keeps its mode, and may be a link, as with DynamicUser', (t) => {
    const base = temporaryDirectory(t);
    mkdirSync(join(base, 'private'), { mode: 0o755 });
    symlinkSync(join(base, 'private'), join(base, 'shop'));
    const env = { RUNTIME_DIRECTORY: join(base, 'shop'), STATE_DIRECTORY: join(base, 'shop') };
    const prepared = prepareDirectories(directoriesFor('shop', env), env);
    assert.deepEqual(prepared, { runtime: join(base, 'private'), state: join(base, 'private') });
    assert.equal(modeOf(join(base, 'private')), 0o755);
  });

  test('one that others can write to is refused', (t) => {
    const base = temporaryDirectory(t);
    chmodSync(base, 0o777);
    const env = { RUNTIME_DIRECTORY: base, STATE_DIRECTORY: base };
    assert.match(
      refusalOf(() => prepareDirectories(directoriesFor('shop', env), env)).message,
      /mode 777: others can write/,
    );
  });
});

test('a path for a socket is at most 107 bytes, and the error says so', () => {
  assert.equal(socketPath(`/${'x'.repeat(106)}`).length, 107);
  const error = refusalOf(() => socketPath(`/${'ü'.repeat(54)}`));
  assert.equal(error.exitCode, 73);
  assert.match(error.message, /at most 107 bytes .* found 109 bytes/);
});
