/** What has succeeded for which key, and who may run hooks. */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { createLedger } from '../../src/system/instance/ledger.ts';
import { createLocks } from '../../src/system/instance/locks.ts';
import { fixture, killed, linesOf, start, systemFolder, temporaryDirectory, until } from './processes.ts';

const at = '2026-01-01T00:00:00.000Z';

test('a success is found again by another process of the same state; per hook and key', (t) => {
  const state = temporaryDirectory(t);
  const warnings: string[] = [];
  const open = () => createLedger(state, createLocks(), (message) => warnings.push(message));
  assert.equal(open().succeededAt('migrate', 'v1'), null);
  open().record('migrate', 'v1', at);
  open().record('migrate', '__proto__', at);
  assert.equal(open().succeededAt('migrate', 'v1'), at);
  assert.equal(open().succeededAt('migrate', '__proto__'), at);
  assert.equal(open().succeededAt('migrate', 'v2'), null);
  assert.equal(open().succeededAt('seed', 'v1'), null);
  open().record('migrate', 'v1', '2026-02-02T00:00:00.000Z');
  assert.equal(open().succeededAt('migrate', 'v1'), '2026-02-02T00:00:00.000Z');
  assert.deepEqual(readdirSync(state), ['hooks.json']);
  assert.equal(statSync(join(state, 'hooks.json')).mode & 0o777, 0o600);
  assert.deepEqual(warnings, []);
});

test('a broken file is moved aside with a warning, and a new one begins', (t) => {
  for (const text of [
    '',
    '{',
    'null',
    '{"succeeded":{}}',
    '{"succeeded":[{"hook":"migrate"}]}',
    '{"succeeded":[null]}',
  ]) {
    const state = temporaryDirectory(t);
    const warnings: string[] = [];
    writeFileSync(join(state, 'hooks.json'), text);
    const ledger = createLedger(state, createLocks(), (message) => warnings.push(message));
    assert.equal(ledger.succeededAt('migrate', 'v1'), null, text);
    assert.equal(warnings.length, 1, text);
    const aside = readdirSync(state).find((name) => name.startsWith('hooks.json.corrupt-')) ?? '';
    assert.equal(readFileSync(join(state, aside), 'utf8'), text);
    assert.match(warnings[0] ?? '', new RegExp(aside));
    ledger.record('migrate', 'v1', at);
    assert.equal(ledger.succeededAt('migrate', 'v1'), at);
  }
});

test('a success that cannot be stored is a warning', (t) => {
  const state = join(temporaryDirectory(t), 'state');
  mkdirSync(state);
  const warnings: string[] = [];
  const ledger = createLedger(state, createLocks(), (message) => warnings.push(message));
  rmSync(state, { recursive: true });
  ledger.record('migrate', 'v1', at);
  assert.match(warnings.join(), /cannot store .* hook migrate has succeeded for v1: .*it will run again/);
});

test('a thousand keys a hook are kept, the newest ones', (t) => {
  const state = temporaryDirectory(t);
  const many = Array.from({ length: 1005 }, (_, i) => ({ hook: 'migrate', key: `v${i}`, at }));
  writeFileSync(
    join(state, 'hooks.json'),
    JSON.stringify({ version: 1, succeeded: [...many, { hook: 'seed', key: 'old', at }] }),
  );
  const ledger = createLedger(state, createLocks(), () => undefined);
  ledger.record('migrate', 'newest', at);
  assert.deepEqual(
    ['newest', 'v1004', 'v6', 'v5', 'v0'].map((key) => ledger.succeededAt('migrate', key)),
    [at, at, at, null, null],
  );
  assert.equal(ledger.succeededAt('seed', 'old'), at);
});

test('the second waits, is told for whom once, and is granted after the first is killed', async (t) => {
  const state = temporaryDirectory(t);
  const name = `hooks/${process.getuid?.()}${state}`;
  const holder = start(t, [process.execPath, fixture('hold-lock.mjs'), systemFolder, 'abstract', state, name], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  assert.equal(await linesOf(holder)(), 'taken');
  const heard: string[] = [];
  const ledger = createLedger(state, createLocks(), () => undefined);
  const release = ledger.lock(
    (who) => heard.push(`waiting for ${who}`),
    () => heard.push('granted'),
  );
  await until(() => heard.length === 1, 'the first look');
  assert.match(heard[0] ?? '', new RegExp(`^waiting for pid ${holder.pid} \\(node .*hold-lock`));
  await new Promise((done) => setTimeout(done, 500));
  assert.equal(heard.length, 1);
  await killed(holder);
  await until(() => heard.length === 2, 'the lock');
  assert.equal(heard[1], 'granted');

  const third: string[] = [];
  const cancel = ledger.lock(
    () => third.push('waiting'),
    () => third.push('granted'),
  );
  await until(() => third.length === 1, 'the third to wait');
  cancel();
  release();
  const fourth: string[] = [];
  const last = ledger.lock(
    () => fourth.push('waiting'),
    () => fourth.push('granted'),
  );
  assert.deepEqual(fourth, [], 'never before lock() has returned');
  await until(() => fourth.length > 0, 'the lock');
  assert.deepEqual([third, fourth], [['waiting'], ['granted']]);
  last();
});
