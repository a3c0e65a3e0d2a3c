/**
 * The example, damaged at random: whatever is in the file, the answer is a Spec or a list of problems that each say
 * where they are. fast-check prints the seed of a failure.
 */
import { after, test } from 'node:test';
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { loadConfig } from '../../src/config/load.ts';
import { explain } from '../../src/config/origins.ts';
import { ConfigError } from '../../src/config/problems.ts';
import { SuperviseError } from '../../src/core/errors.ts';

const dir = mkdtempSync(join(tmpdir(), 'supervise-damaged-'));
after(() => rmSync(dir, { recursive: true, force: true }));

const example = readFileSync('config.example.yaml', 'utf8').replace(/ #.*|^#.*\n/gm, '');
const pieces = [
  '',
  ' ',
  '\n',
  '  ',
  '\t',
  ':',
  '- ',
  '{',
  '}',
  '[',
  ']',
  '"',
  "'",
  '&a ',
  '*a',
  '${X}',
  '${',
  '$$',
  '|',
  '>',
  '!t ',
  '#',
  '0',
  '-1',
  '9e9',
  'null',
  'true',
  '~',
  '?',
  ',',
  '%',
  '@',
  '\0',
  'é',
  '<<: ',
  '__proto__: ',
  'constructor: ',
];

const damage = fc.record({
  at: fc.nat({ max: example.length }),
  cut: fc.oneof({ weight: 3, arbitrary: fc.nat({ max: 3 }) }, { weight: 1, arbitrary: fc.nat({ max: 200 }) }),
  insert: fc.constantFrom(...pieces),
});

test('a damaged config is a Spec or a list of problems, never anything else', async () => {
  const outcomes = { spec: 0, problems: 0 };
  await fc.assert(
    fc.asyncProperty(fc.array(damage, { minLength: 1, maxLength: 4 }), async (damages) => {
      const text = damages.reduce(
        (whole, { at, cut, insert }) => whole.slice(0, at) + insert + whole.slice(at + cut),
        example,
      );
      const file = join(dir, 'damaged.yaml');
      writeFileSync(file, text);
      try {
        const loaded = await loadConfig(file, {});
        assert.ok(explain(loaded.origins).length > 20);
        outcomes.spec += 1;
      } catch (error) {
        assert.ok(error instanceof SuperviseError, error instanceof Error ? error.stack : String(error));
        assert.equal(error.code, 'config-invalid');
        for (const line of error.message.split('\n')) assert.match(line, /^\/.*damaged\.yaml:\d+:\d+: \S/);
        const lines = text.split('\n').length;
        if (error instanceof ConfigError)
          for (const { line } of error.problems) assert.ok((line ?? 0) <= lines + 1, error.message);
        outcomes.problems += 1;
      }
    }),
    { numRuns: 400 },
  );
  assert.ok(outcomes.spec > 0 && outcomes.problems > 100, JSON.stringify(outcomes));
});
