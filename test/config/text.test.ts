/** Variables, words and addresses: the small languages within values. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fc from 'fast-check';
import { expand } from '../../src/config/expand.ts';
import { collide, listenSpec, parseListen } from '../../src/config/listen.ts';
import { nearest } from '../../src/config/problems.ts';
import { joinWords, splitWords } from '../../src/config/words.ts';

describe('expand', () => {
  const variables = {
    environment: { A: 'a', EMPTY: '', BOTH: 'environment', MONEY: '$5 ${A}' },
    envFile: { B: 'b', BOTH: 'file' },
  };
  const table: readonly (readonly [string, string])[] = [
    ['plain', 'plain'],
    ['${A}', 'a'],
    ['x${A}y${B}z', 'xaybz'],
    ['${BOTH}', 'environment'],
    ['${EMPTY}', ''],
    ['${EMPTY:-d}', 'd'],
    ['${NONE:-d}', 'd'],
    ['${NONE:-}', ''],
    ['${NONE:-a b:-c}', 'a b:-c'],
    ['${NONE:-${A}}', 'a'],
    ['${NONE:-${ALSO:-${B}}}!', 'b!'],
    ['${A:-${NONE}}', 'a'],
    ['$$', '$'],
    ['$${A}', '${A}'],
    ['$$$${A}', '$${A}'],
    ['$$${A}', '$a'],
    ['$A', '$A'],
    ['cost: $5', 'cost: $5'],
    ['end$', 'end$'],
    // what a variable holds is not expanded again
    ['${MONEY}', '$5 ${A}'],
    ['{fd} {A}', '{fd} {A}'],
  ];
  for (const [text, expected] of table) {
    test(JSON.stringify(text), () => {
      const result = expand(text, variables);
      assert.equal(result.ok ? result.text : result.problem, expected);
    });
  }

  test('names each variable once, with what gave it its value', () => {
    const result = expand('${A} ${A} ${B} ${NONE:-${EMPTY:-x}}', variables);
    assert.deepEqual(result.ok && result.expanded.map(({ variable, from }) => `${variable} ${from}`), [
      'A environment',
      'B env_file',
      'NONE default',
      'EMPTY default',
    ]);
  });

  test('refuses what is no variable', () => {
    for (const text of [
      '${}',
      '${1A}',
      '${A',
      '${A:?x}',
      '${A-b}',
      '${a.b}',
      '${NONE}',
      '${NONE:-${ALSO}}',
      '${A:-${B}',
    ]) {
      assert.equal(expand(text, variables).ok, false, text);
    }
  });
});

describe('splitWords', () => {
  /** What a real shell makes of it; it must know no variables. */
  function shellWords(text: string): readonly string[] {
    const { stdout, status } = spawnSync('/bin/sh', ['-c', `set -f; printf '%s\\0' ${text}`], {
      env: {},
      encoding: 'utf8',
    });
    assert.equal(status, 0, text);
    return stdout.split('\0').slice(0, -1);
  }

  for (const text of [
    'a',
    '  a   b\t c ',
    `'a b' "c d"`,
    `a'b'"c"d`,
    `'' ""`,
    String.raw`a\ b \"c\" \\`,
    String.raw`"a \" b" "c \\ d" "e \n f"`,
    String.raw`'a \ b'`,
    'a\\\nb',
    '"a\nb"',
    '\'a | b\' "c && d ; e > f"',
    '{fd} {a,b} *.js ~/x #no',
    `--regex='^[a-z]+$'`,
    'a=b c=d --e=f',
    String.raw`\| \& \; \>`,
  ]) {
    test(`as /bin/sh does: ${JSON.stringify(text)}`, () => {
      const split = splitWords(text);
      assert.deepEqual(
        split.ok && split.words,
        shellWords(text.replace(' #no', " '#no'").replace('#no', '#no').replace(' ~/x', " '~/x'")),
      );
    });
  }

  test('leaves variables for later, as one piece', () => {
    const table: readonly (readonly [string, readonly string[]])[] = [
      ['a ${B:-c d} e', ['a', '${B:-c d}', 'e']],
      ['"${A}"\'${B}\'', ['${A}${B}']],
      [String.raw`\${A} \$A`, ['$${A}', '$$A']],
      ['$$HOME $5', ['$$HOME', '$5']],
      ['${A', ['${A']],
      ['a ${X:-&&} b', ['a', '${X:-&&}', 'b']],
    ];
    for (const [text, words] of table) {
      const split = splitWords(text);
      assert.deepEqual(split.ok && split.words, words, text);
    }
  });

  test('has no words where there is nothing', () => {
    for (const text of ['', '  ', '\n']) assert.deepEqual(splitWords(text), { ok: true, words: [] });
  });

  test('refuses what only a shell can do, and says where', () => {
    const table: readonly (readonly [string, string])[] = [
      ['a && b', 'the shell operator && at character 3'],
      ['a || b', 'the shell operator || at character 3'],
      ['a | b', 'the shell operator | at character 3'],
      ['a > b', 'the shell operator > at character 3'],
      ['a 2>&1', 'the shell operator > at character 4'],
      ['a < b', 'the shell operator < at character 3'],
      ['a; b', 'the shell operator ; at character 2'],
      ['a &', 'the shell operator & at character 3'],
      ['a `b`', 'the shell operator ` at character 3'],
      ['a "`b`"', 'the shell operator ` at character 4'],
      ['a $(b)', 'the shell operator $( at character 3'],
      ['a "$(b)"', 'the shell operator $( at character 4'],
      ['a $HOME', 'the shell variable $HOME at character 3'],
      ['a "$HOME"', 'the shell variable $HOME at character 4'],
      ['curl http://h/?a=1&b=2', 'the shell operator & at character 19'],
      ['a\nb', 'a line break at character 2'],
      ['a "b', 'a " at character 3 that is never closed'],
      ["a 'b", "a ' at character 3 that is never closed"],
      ['a \\', 'a backslash at the end'],
    ];
    for (const [text, found] of table) {
      const split = splitWords(text);
      assert.equal(split.ok ? JSON.stringify(split.words) : split.found, found, text);
    }
  });

  test('reads back what joinWords writes', () => {
    const word = fc.string({
      unit: fc.constantFrom('a', 'B', '1', ' ', "'", '"', '\\', '|', '&', '{', '}', '\n', '-', 'é', '*'),
    });
    fc.assert(
      fc.property(fc.array(word, { maxLength: 5 }), (words) => {
        const split = splitWords(joinWords(words));
        assert.deepEqual(split.ok && split.words, words);
      }),
    );
  });
});

describe('listen', () => {
  const unix = { dir: '/srv/shop', mode: 0o660, group: null };
  const table: readonly (readonly [string, string])[] = [
    ['127.0.0.1:8000', 'tcp://127.0.0.1:8000'],
    ['0.0.0.0:1', 'tcp://0.0.0.0:1'],
    [':8000', 'tcp://:8000'],
    ['localhost:65535', 'tcp://127.0.0.1:65535'],
    ['[::1]:8000', 'tcp://[::1]:8000'],
    ['[0:0:0::1]:8000', 'tcp://[::1]:8000'],
    ['[FE80::1%eth0]:8000', 'tcp://[fe80::1%eth0]:8000'],
    ['[::]:8000', 'tcp://[::]:8000'],
    ['tcp://127.0.0.1:8000', 'tcp://127.0.0.1:8000'],
    ['tcp://[::1]:8000', 'tcp://[::1]:8000'],
    ['tcp://:8000', 'tcp://:8000'],
    ['unix:/run/shop/web.sock', 'unix:/run/shop/web.sock'],
    ['unix:///run/shop/web.sock', 'unix:/run/shop/web.sock'],
    ['unix:web.sock', 'unix:/srv/shop/web.sock'],
    ['unix:../web.sock', 'unix:/srv/web.sock'],
  ];
  for (const [text, url] of table) {
    test(text, () => {
      const address = parseListen(text);
      assert.ok('kind' in address, JSON.stringify(address));
      const spec = listenSpec(address, unix);
      assert.equal(spec.url, url);
      if (spec.kind === 'unix') assert.deepEqual([spec.mode, spec.group], [0o660, null]);
      // a url means itself
      const again = parseListen(url);
      assert.deepEqual('kind' in again && listenSpec(again, unix), spec);
    });
  }

  test('refuses what is no address', () => {
    for (const text of [
      '',
      '8000',
      ':',
      ':0',
      ':65536',
      ':+80',
      '1.2.3:80',
      '1.2.3.4',
      '::1',
      '::1:80',
      '[::1]',
      '[1.2.3.4]:80',
      '*:80',
      'http://h:80',
      'unix:',
      '/run/x',
      'a:b:c',
      '127.0.0.1:80/x',
    ]) {
      assert.ok('expected' in parseListen(text), text);
    }
  });

  test('knows which addresses cannot be bound together', () => {
    const spec = (text: string) => {
      const address = parseListen(text);
      assert.ok('kind' in address);
      return listenSpec(address, unix);
    };
    const table: readonly (readonly [string, string, boolean])[] = [
      [':80', ':80', true],
      [':80', ':81', false],
      [':80', '127.0.0.1:80', true],
      ['[::1]:80', ':80', true],
      ['0.0.0.0:80', '127.0.0.1:80', true],
      ['0.0.0.0:80', '[::1]:80', false],
      ['[::]:80', '[::1]:80', true],
      ['127.0.0.1:80', '127.0.0.2:80', false],
      ['unix:a', 'unix:./a', true],
      ['unix:a', 'unix:b', false],
      ['unix:a', ':80', false],
    ];
    for (const [a, b, expected] of table) {
      assert.equal(collide(spec(a), spec(b)), expected, `${a} ${b}`);
      assert.equal(collide(spec(b), spec(a)), expected, `${b} ${a}`);
    }
  });
});

test('nearest finds typos, and nothing where nothing is near', () => {
  const known = ['command', 'workers', 'listen', 'env', 'env_file', 'stop', 'ready', 'ready_timeout'];
  const table: readonly (readonly [string, string | null])[] = [
    ['comand', 'command'],
    ['worker', 'workers'],
    ['lsiten', 'listen'],
    ['ENV', 'env'],
    ['envfile', 'env_file'],
    ['stpo', 'stop'],
    ['ready-timeout', 'ready_timeout'],
    ['readytimeout', 'ready_timeout'],
    ['colour', null],
    ['x', null],
    ['', null],
  ];
  for (const [word, expected] of table) assert.equal(nearest(word, known), expected, word);
});
