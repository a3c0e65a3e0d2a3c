/**
 * The reference names everything that there is, and nothing else. What a page lists is the first column of its
 * tables, where that is in backticks; what there is comes from the code itself.
 */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { commands } from '../src/cli/commands.ts';
import { errorCodes } from '../src/core/errors.ts';
import { startReasons } from '../src/core/record.ts';
import { routes } from '../src/control/routes.ts';
import { appStates, budgetLevels, causes, hookStates, masterStates, workerStates } from '../src/core/protocol.ts';

const protocol = readFileSync('src/core/protocol.ts', 'utf8') + readFileSync('src/core/record.ts', 'utf8');
const statesByType: Readonly<Record<string, readonly string[]>> = {
  AppState: appStates,
  MasterState: masterStates,
  HookState: hookStates,
  BudgetLevel: budgetLevels,
};

/** The names that a page of the reference lists, all or those under one heading. */
function listed(page: string, heading?: string): string[] {
  const text = readFileSync(`docs/reference/${page}.md`, 'utf8');
  const part = heading === undefined ? text : (text.split(/^## /m).find((one) => one.startsWith(`${heading}\n`)) ?? '');
  return [...part.matchAll(/^\| `([^`]+)`[^|]*\|/gm)].map(([, name = '']) => name);
}

function assertSame(documented: readonly string[], real: readonly string[], what: string): void {
  const twice = documented.filter((name, index) => documented.indexOf(name) !== index);
  const missing = real.filter((name) => !documented.includes(name));
  const invented = documented.filter((name) => !real.includes(name));
  assert.ok(real.length > 0, `found no ${what} in the code`);
  assert.deepEqual(
    { missing, invented, twice },
    { missing: [], invented: [], twice: [] },
    `${what}: docs and code differ`,
  );
}

/** The part of the protocol, or of the records, between two markers. */
function section(start: string, end: string): string {
  const from = protocol.indexOf(start);
  assert.notEqual(from, -1, `neither src/core/protocol.ts nor src/core/record.ts has "${start}"`);
  return protocol.slice(from, protocol.indexOf(end, from + start.length));
}

/** `'a' | 'b'` and `app.${AppState}` -> the strings that they stand for. */
function typesIn(union: string): string[] {
  const alternatives = [...union.matchAll(/readonly type:\s+((?:\s*\|?\s*(?:'[^']+'|`[^`]+`))+)/g)].flatMap(
    ([, all = '']) => all.split('|').filter((one) => one.trim() !== ''),
  );
  return alternatives.flatMap((alternative) => {
    const [, prefix = '', states = ''] = /^`(\w+\.)\$\{(\w+)\}`$/.exec(alternative.trim()) ?? [];
    return states === ''
      ? [alternative.trim().slice(1, -1)]
      : (statesByType[states] ?? []).map((state) => prefix + state);
  });
}

function fieldsOf(type: string): string[] {
  const body = section(`export interface ${type} {`, '\n}');
  return [...body.matchAll(/^ {2}readonly (\w+):/gm)].map(([, field = '']) => field);
}

interface SchemaNode {
  readonly $ref?: string;
  readonly anyOf?: readonly SchemaNode[];
  readonly oneOf?: readonly SchemaNode[];
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly additionalProperties?: SchemaNode | boolean;
  readonly items?: SchemaNode;
  readonly description?: string;
  readonly default?: unknown;
}

interface Key {
  readonly path: string;
  readonly description: string;
  readonly default: unknown;
}

/** Every key of the JSON Schema: `apps.APP.stop.timeout`, `hooks.PHASE[].command`. */
function keysOf(schema: SchemaNode & { readonly $defs?: Readonly<Record<string, SchemaNode>> }): Key[] {
  const found = new Map<string, Key>();
  const walk = (node: SchemaNode, path: string): void => {
    const target = node.$ref === undefined ? undefined : schema.$defs?.[node.$ref.replace('#/$defs/', '')];
    for (const alternative of [target, ...(node.anyOf ?? []), ...(node.oneOf ?? [])])
      if (alternative) walk(alternative, path);
    for (const [name, child] of Object.entries(node.properties ?? {})) {
      const key = (path === '' ? name : `${path}.${name}`).replace(/^hooks\.\w+\[\]/, 'hooks.PHASE[]');
      if (!found.has(key)) found.set(key, { path: key, description: child.description ?? '', default: child.default });
      walk(child, key);
    }
    if (typeof node.additionalProperties === 'object') walk(node.additionalProperties, `${path}.APP`);
    if (node.items) walk(node.items, `${path}[]`);
  };
  walk(schema, '');
  return [...found.values()];
}

const keys = keysOf(JSON.parse(readFileSync('schema/config.schema.json', 'utf8')));

describe('docs/reference says what there is', () => {
  test('events.md lists every event type', () => {
    assertSame(listed('events'), typesIn(section('export type EventBody =', '\nexport type EventType')), 'event types');
  });

  test('events.md explains every cause', () => {
    const text = readFileSync('docs/reference/events.md', 'utf8');
    for (const cause of causes)
      assert.match(text, new RegExp(`^\\| ${cause} \\|`, 'm'), `the cause ${cause} is not explained`);
  });

  test('errors.md lists every error code with its exit code', () => {
    assertSame(listed('errors'), Object.keys(errorCodes), 'error codes');
    const text = readFileSync('docs/reference/errors.md', 'utf8');
    for (const [code, exit] of Object.entries(errorCodes)) {
      assert.ok(
        text.includes(`| \`${code}\` | ${exit} |`),
        `errors.md does not say that ${code} leads to exit code ${exit}`,
      );
    }
  });

  test('control-api.md lists every route with its fields', () => {
    assertSame(
      listed('control-api', 'Routes'),
      routes.map(({ method, path }) => `${method} ${path}`),
      'routes',
    );
    const text = readFileSync('docs/reference/control-api.md', 'utf8');
    for (const { method, path, fields } of routes) {
      const [, cell = ''] = new RegExp(`^\\| \`${method} ${path}\` \\|([^|]*)\\|`, 'm').exec(text) ?? [];
      assert.deepEqual(
        [...cell.matchAll(/`(\w+)`/g)].map(([, field]) => field),
        fields,
        `fields of ${method} ${path}`,
      );
    }
  });

  test('config.md lists every key, and those that are not built yet apart', () => {
    const names = (built: boolean) =>
      keys.filter((key) => key.description.startsWith('Not supported yet') !== built).map((key) => key.path);
    const later = listed('config', 'Not yet');
    assertSame(later, names(false), 'keys that are not built yet');
    assertSame(listed('config').slice(0, -later.length), names(true), 'config keys');
  });

  test('config.md gives the defaults of the schema', () => {
    const text = readFileSync('docs/reference/config.md', 'utf8');
    const simple = keys.filter(
      (key) =>
        ['string', 'number', 'boolean'].includes(typeof key.default) &&
        key.default !== '' &&
        !key.description.startsWith('Not supported yet'),
    );
    const wrong = simple
      .filter((key) => !text.includes(`| \`${key.path}\` | ${String(key.default)} |`))
      .map((key) => `${key.path}: ${String(key.default)}`);
    assert.ok(simple.length > 10, 'found no defaults in the schema');
    assert.deepEqual(wrong, []);
  });

  test('cli.md lists every command, and those that are not built yet apart', () => {
    const names = (built: boolean) => commands.filter((row) => (row.load !== null) === built).map((row) => row.name);
    assertSame(
      listed('cli', 'Commands').filter((name) => !name.startsWith('-')),
      names(true),
      'commands',
    );
    assertSame(listed('cli', 'Not yet'), names(false), 'commands that are not built yet');
  });

  test('cli.md lists every option of every command', () => {
    const text = readFileSync('docs/reference/cli.md', 'utf8');
    const sections = new Map(text.split(/^##+ /m).map((part) => [part.slice(0, part.indexOf('\n')), part]));
    const documented = (heading: string) =>
      [...(sections.get(heading) ?? '').matchAll(/^\| `((?:-\w, )?--[\w-]+)/gm)].map(([, flags = '']) => flags);
    const main = readFileSync('src/cli/main.ts', 'utf8');
    const globals = [...main.matchAll(/\.(?:option\(|version\(version, )\s*'((?:-\w, )?--[\w-]+)/g)].map(
      ([, flags = '']) => flags,
    );
    assert.deepEqual(documented('Global options').toSorted(), globals.toSorted(), 'global options');
    for (const { name, options, load } of commands) {
      if (load === null) continue;
      assert.ok(sections.has(name), `cli.md has no section on ${name}`);
      const flags = options
        .filter((option) => !option.hidden)
        .map((option) => /^(?:-\w, )?--[\w-]+/.exec(option.flags)?.[0] ?? '');
      assert.deepEqual(documented(name).toSorted(), flags.toSorted(), `options of ${name}`);
    }
  });

  const snapshotParts = {
    Master: 'Snapshot',
    Hook: 'HookResult',
    Host: 'HostSample',
    App: 'AppSnapshot',
    Worker: 'WorkerSnapshot',
  };
  for (const [heading, type] of Object.entries(snapshotParts)) {
    test(`snapshot.md lists every field of ${type}`, () =>
      assertSame(listed('snapshot', heading), fieldsOf(type), `fields of ${type}`));
  }

  for (const [heading, type] of Object.entries({ Answer: 'Why', Record: 'ExitRecord', Worker: 'WorkerWhy' })) {
    test(`exits.md lists every field of ${type}`, () =>
      assertSame(listed('exits', heading), fieldsOf(type), `fields of ${type}`));
  }

  test('exits.md explains every reason of a start', () => {
    const text = readFileSync('docs/reference/exits.md', 'utf8');
    for (const why of startReasons) assert.match(text, new RegExp(`^\\| ${why} \\|`, 'm'), `${why} is not explained`);
  });

  test('environment.md explains every variable that the sources name', () => {
    const sources = readdirSync('src', { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
    const code = sources.map((file) => readFileSync(join('src', file), 'utf8')).join('\n');
    const named = new Set([...code.matchAll(/\b(?:SUPERVISE|LISTEN|NOTIFY)_[A-Z]+\b/g)].map(([name]) => name));
    const text = readFileSync('docs/reference/environment.md', 'utf8');
    assert.ok(named.size > 5, 'found no variables in the sources');
    assert.deepEqual(
      [...named].filter((name) => !text.includes(name)),
      [],
    );
  });

  test('signals.md explains every signal that the master takes', () => {
    const taken = [...readFileSync('src/system/signals.ts', 'utf8').matchAll(/^ {4}(SIG\w+):/gm)].map(
      ([, signal = '']) => signal,
    );
    const text = readFileSync('docs/reference/signals.md', 'utf8');
    const [toMaster = ''] = text.split('To workers:');
    assert.deepEqual(
      [...toMaster.matchAll(/^\| (SIG\w+) \|/gm)].map(([, signal = '']) => signal).toSorted(),
      taken.toSorted(),
    );
  });

  test('snapshot.md lists every state', () => {
    const text = readFileSync('docs/reference/snapshot.md', 'utf8');
    for (const states of [masterStates, hookStates, appStates, workerStates]) {
      assert.ok(
        text.includes(states.map((state) => `\`${state}\``).join(' ')),
        `snapshot.md does not list ${states.join(' ')}`,
      );
    }
  });
});

test('links between the documents lead somewhere', () => {
  const pages = ['README.md', 'CONTRIBUTING.md', 'SECURITY.md', 'CHANGELOG.md', ...markdownBelow('docs')];
  const broken = pages.flatMap((page) =>
    [...readFileSync(page, 'utf8').matchAll(/\]\((?!https?:|#)([^)#\s]+)(?:#[^)]*)?\)/g)]
      .map(([, target = '']) => ({ page, target }))
      .filter(({ target }) => !existsSync(join(dirname(page), target)))
      .map((link) => `${link.page} -> ${link.target}`),
  );
  assert.deepEqual(broken, []);
});

function markdownBelow(dir: string): string[] {
  return readdirSync(dir, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.md'))
    .map((file) => join(dir, file));
}
