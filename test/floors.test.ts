/**
 * Imports go down only. Each room of src lists the rooms that it may import from besides itself; nothing else is
 * allowed, and a room that is missing here is an error.
 */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const mayImport: Readonly<Record<string, readonly string[]>> = {
  'core': [],
  'worker': [],
  'ports.ts': ['core'],
  'config': ['core'],
  'master': ['ports.ts', 'config', 'core'],
  'system': ['ports.ts', 'config', 'core'],
  'control': ['master', 'config', 'core'],
  'assembly': ['control', 'system', 'master', 'ports.ts', 'config', 'core'],
  'index.ts': ['assembly', 'control', 'system', 'master', 'ports.ts', 'config', 'core'],
  'cli': ['index.ts', 'control/client.ts', 'control/locate.ts', 'control/face.ts', 'config', 'core'],
};

const relativeImport = /(?:from|import)\s*\(?\s*['"](\.[^'"]+)['"]/g;

/** `core/units.ts` lies in `core`, `ports.ts` is a room by itself. */
function roomOf(file: string): string {
  return file.split('/')[0] ?? file;
}

test('imports go down only, from floor to floor', () => {
  const files = readdirSync('src', { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
  const wrong: string[] = [];
  for (const file of files) {
    const allowed = mayImport[roomOf(file)];
    assert.ok(allowed, `src/${file} is in a room that test/floors.test.ts does not know`);
    for (const [, specifier = ''] of readFileSync(join('src', file), 'utf8').matchAll(relativeImport)) {
      const imported = join(dirname(file), specifier);
      const fine =
        roomOf(imported) === roomOf(file) || allowed.includes(roomOf(imported)) || allowed.includes(imported);
      if (!fine) wrong.push(`src/${file} must not import src/${imported}`);
    }
  }
  assert.ok(files.length > 0, 'found no source file');
  assert.deepEqual(wrong, []);
});

test('core and worker are free of packages; core is free of Node and of the clock', () => {
  const wrong: string[] = [];
  for (const [room, banned] of [
    ['core', /from\s+['"][^.'"]|import\(|new Date\(\)|\bawait\b/],
    ['worker', /from\s+['"](?!node:)[^.'"]/],
  ] as const) {
    for (const file of readdirSync(join('src', room)).filter((name) => name.endsWith('.ts'))) {
      const code = readFileSync(join('src', room, file), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
      const found = banned.exec(code);
      if (found) wrong.push(`src/${room}/${file}: ${found[0]}`);
    }
  }
  assert.deepEqual(wrong, []);
});
