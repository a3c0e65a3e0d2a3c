/** How long a warning stands in the status. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppWarnings } from '../../src/master/app-warnings.ts';

test('a warning stands until the last whom it is about is gone, and is new once', () => {
  const warnings = new AppWarnings();
  assert.deepEqual(
    [warnings.add('shared', 1), warnings.add('web.1: slow', 'web.1'), warnings.add('shared', 2)],
    [true, true, false],
  );
  warnings.forget((about) => about === 'web.1' || about === 1);
  assert.deepEqual(warnings.messages, ['shared']);
  warnings.forget((about) => about === 2);
  assert.deepEqual(warnings.messages, []);
  assert.equal(warnings.add('shared', 3), true);
});
