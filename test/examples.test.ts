/**
 * What people copy works: the configs in examples/ and in the documents are valid, and systemd takes the unit.
 */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from '../src/config/load.ts';

const environment = { PATH: process.env['PATH'] ?? '' };

describe('the examples', () => {
  const configs = readdirSync('examples', { recursive: true, encoding: 'utf8' }).filter((file) =>
    file.endsWith('supervise.yaml'),
  );

  for (const file of configs) {
    test(`examples/${file} is a valid config`, async () => {
      const { spec } = await loadConfig(join('examples', file), environment);
      assert.equal(spec.apps.length, 1);
      assert.equal(spec.apps[0]?.workers, 4);
      assert.deepEqual(
        spec.hooks.pre_start.map((hook) => hook.name),
        ['migrate'],
      );
    });
  }

  const analyze = '/usr/bin/systemd-analyze';
  test(
    'systemd-analyze verify has nothing to say about the unit',
    { skip: !existsSync(analyze) && 'no systemd here' },
    () => {
      const { status, stdout, stderr } = spawnSync(analyze, ['verify', 'examples/systemd/supervise.service'], {
        encoding: 'utf8',
      });
      assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: '', stderr: '' });
    },
  );
});

describe('the documents', () => {
  const pages = ['README.md', ...readdirSync('docs/guides').map((page) => `docs/guides/${page}`)];

  for (const page of pages) {
    const excerpts = [...readFileSync(page, 'utf8').matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, text = '']) => text);
    for (const [index, text] of excerpts.filter((excerpt) => /^apps:/m.test(excerpt)).entries()) {
      test(`config ${index + 1} in ${page} is valid`, async (t) => {
        const dir = mkdtempSync(join(tmpdir(), 'supervise-docs-'));
        t.after(() => rmSync(dir, { recursive: true }));
        writeFileSync(join(dir, 'supervise.yaml'), text);
        const { spec } = await loadConfig(join(dir, 'supervise.yaml'), environment);
        assert.ok(spec.apps.length > 0);
      });
    }
  }
});
