/** The text of `why` on a screen. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { whyText } from '../../src/cli/why-text.ts';
import { exitRecord } from '../helpers/exit-record.ts';

const same = (text: string) => text;
const plain = { green: same, yellow: same, red: same, dim: same, bold: same };
const at = new Date(2026, 0, 1, 12, 3, 4);

test('an exit of today is told with its time, one of another day with its date', () => {
  const why = { target: 'web', running: true, workers: [], records: [exitRecord({ at: at.toISOString() })] };
  assert.match(whyText(why, plain, at.getTime() + 60_000), / at 12:03:04 after 2h4m\n/);
  assert.match(whyText(why, plain, at.getTime() + 86_400_000), / at 2026-01-01 12:03:04 after/);
});

test('what a worker has written cannot move the cursor', () => {
  const evil = '\u001b[2J\u0007\rgone\u009b1A';
  const record = exitRecord({ lastLines: [evil], reason: evil, cause: 'stall', worker: `web.1${evil}` });
  const text = whyText({ target: evil, running: false, workers: [], records: [record] }, plain);
  assert.doesNotMatch(text, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
  assert.match(text, /^ {2}\| gone1A$/m);
});

test('says when no master runs, and when nothing is recorded', () => {
  const none = { target: 'web', workers: [], records: [] };
  assert.equal(whyText({ ...none, running: true }, plain), 'no exit of web is recorded\n');
  assert.equal(
    whyText({ ...none, running: false, records: [exitRecord()] }, plain).split('\n')[0],
    'no master runs; this is what the last one has left',
  );
});
