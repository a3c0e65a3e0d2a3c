import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  durationPattern,
  formatBytes,
  formatDuration,
  formatPercent,
  parseDuration,
  parsePercent,
  parseSize,
  percentPattern,
  sizePattern,
  type Parsed,
} from '../../src/core/units.ts';
import { isSecretName, maskText, maskValue } from '../../src/core/secrets.ts';

function value(parsed: Parsed): number | string {
  return parsed.ok
    ? parsed.value
    : `expected ${parsed.expected}${parsed.suggestion === null ? '' : `; ${parsed.suggestion}?`}`;
}

const noDuration = 'expected a duration such as 250ms, 30s, 5m or 1m30s';
const noSize = 'expected a size such as 512MB or 1.5GiB';
const noPercent = 'expected a percentage from 0% to 100%';

describe('parseDuration', () => {
  const table: readonly (readonly [string, number | string])[] = [
    ['250ms', 250],
    ['30s', 30_000],
    ['5m', 300_000],
    ['12h', 43_200_000],
    ['2d', 172_800_000],
    ['1m30s', 90_000],
    ['1h 30m', 5_400_000],
    ['1.5h', 5_400_000],
    ['0.5s', 500],
    ['0', 0],
    ['0s', 0],
    [' 5s ', 5000],
    ['0.4ms', 0],
    ['30', `${noDuration}; 30s?`],
    ['1.5', `${noDuration}; 1.5s?`],
    ['1,5h', noDuration],
    ['-5s', noDuration],
    ['', noDuration],
    ['s', noDuration],
    ['5S', noDuration],
    ['5 s', noDuration],
    ['5 min', noDuration],
    ['5m5m', noDuration],
    ['1e3s', noDuration],
    ['Infinity', noDuration],
  ];
  for (const [text, expected] of table) {
    test(JSON.stringify(text), () => assert.equal(value(parseDuration(text)), expected));
  }
});

describe('parseSize', () => {
  const table: readonly (readonly [string, number | string])[] = [
    ['512MB', 536_870_912],
    ['512MiB', 536_870_912],
    ['512M', 536_870_912],
    ['512Mi', 536_870_912],
    ['512mb', 536_870_912],
    ['1.5GiB', 1_610_612_736],
    ['1.5 GB', 1_610_612_736],
    ['64k', 65_536],
    ['1T', 2 ** 40],
    ['100B', 100],
    ['50MB', 52_428_800],
    ['0.5k', 512],
    ['1.5b', 2],
    [' 64KB ', 65_536],
    ['0', 0],
    ['0MB', 0],
    ['1e3MB', noSize],
    ['64  KB', noSize],
    ['512', `${noSize}; 512MB?`],
    ['50%', noSize],
    ['-1MB', noSize],
    ['1,5GB', noSize],
    ['GB', noSize],
    ['1PB', noSize],
    ['', noSize],
  ];
  for (const [text, expected] of table) {
    test(JSON.stringify(text), () => assert.equal(value(parseSize(text)), expected));
  }
});

test('the patterns of the JSON Schema accept what the parsers accept', () => {
  const texts = [
    '0',
    '1',
    '5B',
    '5b',
    '5 MB',
    '5  MB',
    '5MiB',
    '5mIb',
    '5Mi',
    '5M',
    '1.5g',
    '1.g',
    '.5g',
    '5PB',
    '5%',
    '12.5%',
    '5ms',
  ];
  for (const text of [...texts, '1h 30m', '5 s', '5S', '', 'MB', '-5s', '0s', '1e3MB']) {
    assert.equal(new RegExp(sizePattern).test(text), parseSize(text).ok, `size ${text}`);
    assert.equal(new RegExp(percentPattern).test(text), parsePercent(text).ok, `percent ${text}`);
    assert.equal(new RegExp(durationPattern).test(text), parseDuration(text).ok, `duration ${text}`);
  }
});

describe('parsePercent', () => {
  const table: readonly (readonly [string, number | string])[] = [
    ['80%', 0.8],
    ['0%', 0],
    ['100%', 1],
    ['12.5%', 0.125],
    ['101%', noPercent],
    ['80', `${noPercent}; 80%?`],
    ['0.7', `${noPercent}; 70%?`],
    ['0', `${noPercent}; 0%?`],
    ['-1%', noPercent],
    ['%', noPercent],
  ];
  for (const [text, expected] of table) {
    test(JSON.stringify(text), () => assert.equal(value(parsePercent(text)), expected));
  }

  test('within other bounds', () => {
    assert.equal(value(parsePercent('250%', 1, 400)), 2.5);
    assert.equal(value(parsePercent('401%', 1, 400)), 'expected a percentage from 1% to 400%');
    assert.equal(value(parsePercent('0.5%', 1, 400)), 'expected a percentage from 1% to 400%');
  });
});

test('formatDuration shows two units at most', () => {
  const table: readonly (readonly [number, string])[] = [
    [0, '0s'],
    [0.4, '0s'],
    [-5, '0s'],
    [250, '250ms'],
    [999.4, '999ms'],
    [999.6, '1s'],
    [1000, '1s'],
    [4211, '4.2s'],
    [59_949, '59.9s'],
    [59_960, '1m'],
    [90_000, '1m30s'],
    [3_599_600, '1h'],
    [7_260_000, '2h1m'],
    [86_399_000, '1d'],
    [187_200_000, '2d4h'],
  ];
  for (const [durationMs, text] of table) assert.equal(formatDuration(durationMs), text, String(durationMs));
});

test('formatBytes shows three digits at most, or four', () => {
  const table: readonly (readonly [number, string])[] = [
    [0, '0B'],
    [1023, '1023B'],
    [1024, '1KB'],
    [48_234_496, '46MB'],
    [52_743_372, '50.3MB'],
    [104_857_600, '100MB'],
    [1_610_612_736, '1.5GB'],
    [2 ** 30 - 1, '1GB'],
    [3 * 2 ** 50, '3072TB'],
  ];
  for (const [sizeBytes, text] of table) assert.equal(formatBytes(sizeBytes), text, String(sizeBytes));
});

test('formatPercent', () => {
  assert.deepEqual([0, 0.005, 0.095, 0.0996, 0.805, 1, 1.25].map(formatPercent), [
    '0%',
    '0.5%',
    '9.5%',
    '10%',
    '81%',
    '100%',
    '125%',
  ]);
});

test('what is formatted can be parsed again, and means nearly the same', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 10_000_000_000 }), (durationMs) => {
      const parsed = parseDuration(formatDuration(durationMs));
      assert.ok(
        parsed.ok && Math.abs(parsed.value - durationMs) <= Math.max(1, durationMs * 0.03),
        formatDuration(durationMs),
      );
    }),
  );
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2 ** 45 }), (sizeBytes) => {
      const parsed = parseSize(formatBytes(sizeBytes));
      assert.ok(
        parsed.ok && Math.abs(parsed.value - sizeBytes) <= Math.max(1, sizeBytes * 0.06),
        formatBytes(sizeBytes),
      );
    }),
  );
});

describe('secrets', () => {
  test('are known by the name of their variable', () => {
    for (const name of [
      'API_KEY',
      'db_password',
      'SENTRY_DSN',
      'GITHUB_TOKEN',
      'PASSWD',
      'AWS_CREDENTIALS',
      'BASIC_AUTH',
      'clientSecret',
    ]) {
      assert.ok(isSecretName(name), name);
      assert.equal(maskValue(name, 'hunter2'), '***');
    }
    for (const name of ['PATH', 'PORT', 'LOG_LEVEL', 'DATABASE_URL']) assert.ok(!isSecretName(name), name);
    assert.equal(maskValue('API_KEY', ''), '');
  });

  test('in URLs are masked up to the host, whatever the password contains', () => {
    assert.equal(
      maskValue('DATABASE_URL', 'postgres://shop:p@ss:w@db:5432/shop?x=a@b'),
      'postgres://***@db:5432/shop?x=a@b',
    );
    assert.equal(maskText('amqp://u:p@h and redis://:p@h2/0'), 'amqp://***@h and redis://***@h2/0');
    assert.equal(maskText('mail to a@b.c, see http://h/a@b'), 'mail to a@b.c, see http://h/a@b');
  });
});
