/** STATE/token: made once, kept, and never taken from somebody else. */
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import assert from 'node:assert/strict';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { tokenIn } from '../../src/system/instance/token.ts';

function stateOf(t: TestContext): string {
  const state = mkdtempSync(join(tmpdir(), 'supervise-token-'));
  t.after(() => rmSync(state, { recursive: true, force: true }));
  return state;
}

function isUnsafe(found: RegExp) {
  return (error: unknown) => {
    assert.equal((error as { code?: string }).code, 'directory-unsafe');
    assert.match((error as Error).message, found);
    return true;
  };
}

test('it is made once, for its owner alone, and another one each time', (t) => {
  const state = stateOf(t);
  const umask = process.umask(0);
  t.after(() => process.umask(umask));
  const made = tokenIn(state);
  assert.equal(statSync(made.file).mode & 0o777, 0o600);
  assert.match(made.text, /^[\w-]{43}$/);
  assert.deepEqual(tokenIn(state), made);
  assert.deepEqual(readdirSync(state), ['token']);
  assert.notEqual(tokenIn(stateOf(t)).text, made.text);
});

test('what a start with the same pid has left half done does not matter', (t) => {
  const state = stateOf(t);
  writeFileSync(join(state, `token.${process.pid}`), 'half');
  assert.match(tokenIn(state).text, /^[\w-]{43}$/);
  assert.deepEqual(readdirSync(state), ['token']);
});

test('one of the operator is taken as it is, whoever may read it', (t) => {
  const state = stateOf(t);
  const text = 'a'.repeat(32);
  writeFileSync(join(state, 'token'), `${text}\n`, { mode: 0o640 });
  assert.equal(tokenIn(state).text, text);
  assert.equal(readFileSync(join(state, 'token'), 'utf8'), `${text}\n`);
  assert.equal(statSync(join(state, 'token')).mode & 0o777, 0o640);
});

test('one that others can write to, that is too short or is no file is refused', (t) => {
  const state = stateOf(t);
  const file = join(state, 'token');
  writeFileSync(file, 'a'.repeat(43));
  chmodSync(file, 0o620);
  assert.throws(() => tokenIn(state), isUnsafe(/mode 620: others can write to it/));
  chmodSync(file, 0o600);
  for (const text of ['', 'short', 'a'.repeat(31), `${'a'.repeat(40)} b`]) {
    writeFileSync(file, text);
    assert.throws(() => tokenIn(state), isUnsafe(/characters that are none/));
  }
  rmSync(file);
  mkdirSync(file);
  assert.throws(() => tokenIn(state), isUnsafe(/EISDIR/));
});

test('one of another user is refused', { skip: process.getuid?.() !== 0 && 'needs root, to give a file away' }, (t) => {
  const state = stateOf(t);
  const { file } = tokenIn(state);
  chownSync(file, 65_534, 65_534);
  assert.throws(() => tokenIn(state), isUnsafe(/belongs to uid 65534/));
});
