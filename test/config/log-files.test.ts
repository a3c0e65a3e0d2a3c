/** What does not go together in `logs`, of one app and of several; each message was written first. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { loadConfig } from '../../src/config/load.ts';
import type { LogsSpec } from '../../src/core/spec.ts';

const dir = realpathSync(mkdtempSync(join(tmpdir(), 'supervise-logs-')));
after(() => rmSync(dir, { recursive: true, force: true }));

async function logsOf(text: string): Promise<readonly LogsSpec[]> {
  writeFileSync(join(dir, 'supervise.yaml'), text);
  const { spec } = await loadConfig(join(dir, 'supervise.yaml'), {});
  return spec.apps.map(({ logs }) => logs);
}

async function messageOf(text: string): Promise<string> {
  try {
    await logsOf(text);
  } catch (error) {
    return (error as Error).message.replaceAll(`${dir}/`, '');
  }
  assert.fail('it was accepted');
}

/** Two apps with these logs. */
function two(one: string, other: string): string {
  return `apps:\n  web: {command: a, logs: ${one}}\n  api: {command: b, logs: ${other}}\n`;
}

describe('logs of apps', () => {
  test('a file is absolute, with its placeholders, and has defaults', async () => {
    assert.deepEqual(await logsOf(two('{file: "logs/{app}-{slot}.log"}', 'inherit')), [
      {
        kind: 'captured',
        format: 'auto',
        file: join(dir, 'logs/{app}-{slot}.log'),
        maxSizeBytes: 52_428_800,
        keep: 7,
        gzip: false,
      },
      { kind: 'inherit' },
    ]);
  });

  test('two apps may write into one file when they rotate it alike, in whatever format', async () => {
    const [web, api] = await logsOf(two('{file: all.log, format: json}', '{file: ./all.log, format: prefix}'));
    assert.ok(web?.kind === 'captured' && api?.kind === 'captured' && web.file === api.file);
    await logsOf(two('{file: "{app}.log", keep: 1}', '{file: "{app}.log", keep: 2}'));
  });

  test('not when they do not', async () => {
    assert.equal(
      await messageOf(two('{file: all.log, keep: 3}', '{file: all.log}')),
      'supervise.yaml:3:34: apps.api.logs.file: expected the same keep as apps.web.logs (line 2), which writes the same file, found 7 and 3. Give both the same, or each a file of its own, with {app} in its name',
    );
    assert.match(
      await messageOf(two('{file: "{app}.log", gzip: true}', '{file: web.log}')),
      /^supervise.yaml:3:34: apps\.api\.logs\.file: expected the same gzip as apps\.web\.logs /,
    );
    assert.match(await messageOf(two('{file: a, max_size: 1MB}', '{file: a, max_size: 2MB}')), /the same max_size/);
  });

  test('no file has the name that another one gets by rotation', async () => {
    for (const [one, other] of [
      ['web.log', 'web.log.1'],
      ['web.log.12.gz', 'web.log'],
    ])
      assert.match(
        await messageOf(two(`{file: ${one}}`, `{file: ${other}}`)),
        /^supervise.yaml:3:34: apps\.api\.logs\.file: expected a file of its own, found ".*"; beside ".*" of apps\.web\.logs \(line 2\) one of the two has a name that the other gets when it is rotated\. Rename one$/,
      );
  });

  test('a name with {slot} or {port} in it is that of a worker, and a link is the file that it leads to', async () => {
    const of = async (one: string, other: string) =>
      /expected the same keep .* writes the same file \((.*)\), found 7 and 1\./.exec(
        await messageOf(two(`{file: ${one}, keep: 1}`, `{file: ${other}}`)),
      )?.[1];
    // One worker, and one more during a reload.
    assert.equal(await of('"web.{slot}.log"', 'web.1.log'), 'web.1.log');
    assert.equal(await of('api.0.log', '"{app}.{slot}.log"'), 'api.0.log');
    await logsOf(two('{file: "web.{slot}.log", keep: 1}', '{file: web.2.log}'));
    mkdirSync(join(dir, 'real'));
    writeFileSync(join(dir, 'real/one.log'), '');
    symlinkSync('real', join(dir, 'folder'));
    symlinkSync('real/one.log', join(dir, 'one.log'));
    assert.equal(await of('folder/not-yet/a.log', 'real/not-yet/a.log'), 'real/not-yet/a.log');
    assert.equal(await of('one.log', 'folder/one.log'), 'real/one.log');
    assert.match(
      await messageOf(two('{file: "web.{slot}"}', '{file: web}')),
      /expected a file of its own, found "web"; beside "web\.\{slot\}" of apps\.web\.logs/,
    );
  });

  test('{port} needs a port, and `ready: {log}` lines that are read', async () => {
    assert.match(
      await messageOf('apps: {web: {command: a, logs: {file: "{port}.log"}}}'),
      /apps\.web\.logs\.file: expected a port for \{port\}, found none\. Set port of the app, to 9000 for example$/,
    );
    assert.match(
      await messageOf('apps: {web: {command: a, ready: {log: up}, logs: inherit}}'),
      /apps\.web\.ready\.log: expected output that we read, found logs: inherit\. /,
    );
  });
});
