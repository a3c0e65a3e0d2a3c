/** config.example.yaml shows every key and runs as it stands; the JSON Schema in schema/ is the one of this code. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as z from 'zod';
import { parse } from 'yaml';
import { configJsonSchema } from '../../src/config/json-schema.ts';
import { loadConfig } from '../../src/config/load.ts';
import { configSchema } from '../../src/config/schema.ts';
import { keyPaths } from '../../src/config/shape.ts';

const example = readFileSync('config.example.yaml', 'utf8');
const schema = readFileSync('schema/config.schema.json', 'utf8');

/** Loads a changed example from a folder of its own; its paths are not looked at before a start. */
async function load(text: string): Promise<string> {
  const dir = mkdtempSync(join(tmpdir(), 'supervise-example-'));
  try {
    writeFileSync(join(dir, 'supervise.yaml'), text);
    await loadConfig(join(dir, 'supervise.yaml'), {});
    return 'fine';
  } catch (error) {
    return error instanceof Error ? error.message.replaceAll(`${dir}/`, '') : String(error);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

const lines = example.split('\n');
const insteadLines = lines.flatMap((line, index) => (line.includes('# instead: ') ? [index] : []));
const excluded: Readonly<Record<string, string>> = { command: 'script', port: 'listen' };

/** The example with one of its "instead" lines, beside or in place of the line that it excludes. */
function withInstead(index: number, how: 'beside' | 'in place'): string {
  const [, indent = '', key = ''] = /^( *)# instead: (\w+):/.exec(lines[index] ?? '') ?? [];
  const other = new RegExp(`^${indent}${excluded[key] ?? key}: `);
  return lines
    .filter((line) => how === 'beside' || !other.test(line))
    .map((line) => (line === lines[index] ? line.replace('# instead: ', '') : line))
    .join('\n');
}

/** The keys that a text has, NAME standing for names of the user's own, as keyPaths names them. */
function pathsOf(value: unknown, prefix = ''): readonly string[] {
  if (Array.isArray(value)) return value.flatMap((item) => pathsOf(item, `${prefix}[]`));
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, child]) => {
    const path = prefix === '' ? key : `${prefix}.${prefix === 'apps' ? 'NAME' : key}`;
    return [path, ...pathsOf(child, path)];
  });
}

describe('config.example.yaml', () => {
  test('is valid as it stands, and names files that are there', async () => {
    const { spec } = await loadConfig('config.example.yaml', {});
    const [app] = spec.apps;
    assert.deepEqual([spec.name, app?.name, app?.kind, app?.workers], ['shop', 'web', 'script', 2]);
    assert.ok(app && existsSync(join(app.cwd, app.argv[0] ?? '')), 'the script of web');
    const [hook] = spec.hooks.pre_start;
    assert.ok(hook && existsSync(join(hook.cwd, hook.argv[1] ?? '')), 'the script of migrate');
  });

  test('mentions every key of the schema, and no other', () => {
    const variants = [example, ...insteadLines.map((index) => withInstead(index, 'in place'))];
    const shown = new Set(variants.flatMap((text) => pathsOf(parse(text.replaceAll('# not yet: ', '')))));
    const known = keyPaths(configSchema).map((path) => path.replace('.NAME.NAME', '.NAME'));
    // the keys of `ready` are shown in its comment, those of a hook in one phase
    const isElsewhere = (path: string) =>
      path.startsWith('apps.NAME.ready.') || /^hooks\.(?!pre_start)\w+\[\]/.test(path);
    assert.deepEqual(
      known.filter((path) => !shown.has(path) && !isElsewhere(path)),
      [],
    );
    assert.deepEqual(example.match(/ready: auto #.*/)?.[0].match(/\{(http|tcp|log|delay):/g)?.length, 4);
  });

  test('has each line after "not yet" refused by name, and nothing else', async () => {
    const later = lines.flatMap((line, index) => (line.includes('# not yet: ') ? [index] : []));
    assert.ok(later.length > 0);
    for (const index of later) {
      const enabled = lines.map((line, other) => (other === index ? line.replace('# not yet: ', '') : line)).join('\n');
      assert.match(
        await load(enabled),
        new RegExp(`^supervise.yaml:${index + 1}:\\d+: .* ?not supported yet\\.[^\\n]*$`),
        lines[index],
      );
    }
  });

  for (const index of insteadLines) {
    test(`can have "${lines[index]?.trim()}" in place of a line, not beside it`, async () => {
      assert.equal(await load(withInstead(index, 'in place')), 'fine');
      assert.match(await load(withInstead(index, 'beside')), /found both|expected each key once/);
    });
  }

  test('shows the defaults of what is off unless it is set', async () => {
    const { spec } = await loadConfig('config.example.yaml', {});
    assert.deepEqual(
      spec.apps.map(({ dependsOn, health, stall, limits, watch, tlsFiles, logs }) => ({
        ...{ dependsOn, health, stall, limits, watch, tlsFiles },
        logs,
      })),
      [
        {
          ...{ dependsOn: [], health: null, stall: null, watch: null, tlsFiles: [] },
          limits: { memoryBytes: null, lifetimeMs: null, jitter: 0.1 },
          logs: { kind: 'captured', format: 'prefix', file: null, maxSizeBytes: 52_428_800, keep: 7, gzip: false },
        },
      ],
    );
  });

  test('names the JSON Schema', () =>
    assert.equal(example.split('\n')[0], '# yaml-language-server: $schema=./schema/config.schema.json'));
});

describe('schema/config.schema.json', () => {
  test('is current (else: npm run build && npm run schema)', () => {
    assert.equal(schema, `${JSON.stringify(configJsonSchema(), null, 2)}\n`);
  });

  test('documents every key', () => {
    const without: string[] = [];
    const walk = (node: unknown, path: string): void => {
      if (typeof node !== 'object' || node === null) return;
      const { properties = {} } = node as { properties?: Record<string, { description?: string }> };
      for (const [key, child] of Object.entries(properties)) if (!child.description) without.push(`${path}.${key}`);
      for (const [key, child] of Object.entries(node)) if (key !== 'oneOf') walk(child, `${path}.${key}`);
    };
    walk(JSON.parse(schema), '');
    assert.deepEqual(without, []);
  });

  test('accepts what the program accepts, and refuses typos, wrong values and keys of later versions', () => {
    const validator = z.fromJSONSchema(JSON.parse(schema) as Parameters<typeof z.fromJSONSchema>[0]);
    const accepts = (text: string) => validator.safeParse(parse(text)).success;
    for (const text of [
      example,
      readFileSync('examples/node-app/supervise.yaml', 'utf8'),
      readFileSync('examples/fastapi/supervise.yaml', 'utf8'),
      'apps: {web: {command: [a, b], workers: "${N}", env: {A: 1}, ready: {http: {path: /x, port: 9000}}, umask: 022}}',
      'apps: {web: {script: a, stop: {signal: INT, timeout: "${T:-5s}"}}}\nhooks: {pre_start: [a, {command: b}]}',
      'apps: {web: {command: a, health: {http: /up, failures: 2}, port: 9000, logs: inherit, watch: [src]}}',
      'apps: {web: {command: a, health: {exec: [a, b]}, watch: {paths: [a]}, logs: {file: a, max_size: 10MB, gzip: true}}}',
      'apps: {web: {command: a, workers: auto}}\nresources: {memory_budget: 4GB, target_utilisation: 60%}',
      'apps: {web: {command: a, workers: {max: "${MAX:-4}", target_cpu: 150%, dry_run: true}}}\nresources: {memory_budget: 50%}',
      'apps: {web: {command: a, health: null, stall: null, watch: null, limits: {memory: "${M}", lifetime: null}}}',
      'apps: {web: {script: a, stall: {}, limits: {memory: 1.5GiB, jitter: 0}, tls_files: [a], depends_on: [b], watch: []}}',
      'apps: {web: {script: a, logs: "${LOGS:-inherit}"}}\nhooks: {pre_reload: [a], post_reload: [{command: b}]}',
    ]) {
      assert.ok(accepts(text), text);
    }
    for (const text of [
      'apps: {web: {comand: a}}',
      'apps: {web: {command: a, workers: many}}',
      'apps: {web: {command: a, workers: atuo}}',
      'apps: {web: {command: a, workers: {min: 1}}}',
      'apps: {web: {command: a, workers: {max: 4, target_cpu: 70}}}',
      'apps: {web: {command: a}}\nresources: {memory_budget: 80}',
      'apps: {web: {command: a, ready_timeout: 30}}',
      'apps: {web: {command: a, stop: {signal: SIGTREM}}}',
      'apps: {web: {command: a, health: {}}}',
      'apps: {web: {command: a, health: {http: /, tcp: 1}}}',
      'apps: {web: {command: a, health: {http: up}}}',
      'apps: {web: {command: a, ready: {http: /, delay: 1s}}}',
      'apps: {web: {command: a, stall: {action: kill}}}',
      'apps: {web: {command: a, limits: {memory: 512}}}',
      'apps: {web: {command: a, limits: {memory: 50%}}}',
      'apps: {web: {command: a, watch: {debounce: 1s}}}',
      'apps: {web: {command: a, watch: src}}',
      'apps: {web: {command: a, tls_files: a.pem}}',
      'apps: {web: {command: a, depends_on: [""]}}',
      'apps: {web: {command: a, logs: raw}}',
      'apps: {web: {command: a, logs: {keep: -1}}}',
      'apps: {web.1: {command: a}}',
      'apps: {web: {workers: 1}}',
      'apps: {web: {command: a, script: b}}',
      'hooks: {pre_start: [{name: a}]}\napps: {web: {command: a}}',
    ]) {
      assert.ok(!accepts(text), text);
    }
  });
});
