/** Which words stand before a program, and what its wrappers' own failures look like. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Account } from '../../src/system/processes/accounts.ts';
import { wrap, wrapperFailure, type Tools, type Wrapping } from '../../src/system/processes/wrapping.ts';

const all: Tools = { setpriv: '/usr/bin/setpriv', nice: '/usr/bin/nice', setsid: '/usr/bin/setsid' };
const none: Tools = { setpriv: null, nice: null, setsid: null };
const shop: Account = { uid: 1001, gid: 1002, groups: 'of-account', env: {}, change: 'needed' };
const plain: Wrapping = {
  argv: ['/bin/serve', 'x'],
  masterPid: 42,
  account: null,
  niceness: null,
  umask: null,
  listenPid: 'none',
};
const words = (what: Partial<Wrapping>, tools: Tools = all) => wrap({ ...plain, ...what }, tools).argv.join(' ');

describe('wrap', () => {
  test('a plain program has nothing before it', () => {
    assert.equal(words({}), '/bin/serve x');
  });

  test('a shell where there is something to do, which then checks its parent too', () => {
    assert.equal(
      words({ listenPid: 'set' }),
      '/bin/sh -c [ "$PPID" = 42 ] || exit 143; export LISTEN_PID=$$; exec "$@" supervise /bin/serve x',
    );
    assert.equal(
      words({ umask: 0o27 }),
      '/bin/sh -c [ "$PPID" = 42 ] || exit 143; umask 0027; exec "$@" supervise /bin/serve x',
    );
  });

  test('niceness before the user changes', () => {
    assert.match(
      words({ niceness: -5, account: shop }),
      /^\/usr\/bin\/nice -n -5 \/usr\/bin\/setpriv --reuid 1001 --regid 1002 --init-groups -- \/bin\/sh/,
    );
    assert.match(words({ account: { ...shop, groups: 'none' } }), / --clear-groups -- /);
    assert.match(words({ account: { ...shop, groups: 'kept' } }), / --keep-groups -- /);
    assert.doesNotMatch(words({ account: { ...shop, change: 'none' } }), /reuid/);
  });

  test('without the tools: the ids by spawn, and a warning for what cannot be had', () => {
    const wrapped = wrap({ ...plain, account: shop, niceness: 5, listenPid: 'set' }, none);
    assert.deepEqual(wrapped.ids, { uid: 1001, gid: 1002 });
    assert.deepEqual(wrapped.argv, [
      '/bin/sh',
      '-c',
      '[ "$PPID" = 42 ] || exit 143; export LISTEN_PID=$$; exec "$@"',
      'supervise',
      '/bin/serve',
      'x',
    ]);
    assert.equal(wrapped.warnings.length, 2);
    assert.deepEqual(wrap(plain, none), { argv: plain.argv, ids: {}, warnings: [] });
  });
});

describe('wrapperFailure', () => {
  test('tells a wrapper that could not execute from a program that ends with the same code', () => {
    assert.equal(
      wrapperFailure(127, ['supervise: 1: exec: /bin/serve: not found']),
      'supervise: 1: exec: /bin/serve: not found',
    );
    assert.equal(
      wrapperFailure(126, ['/usr/bin/setpriv: failed to execute x: Permission denied']),
      '/usr/bin/setpriv: failed to execute x: Permission denied',
    );
    assert.equal(wrapperFailure(127, ['sh: 1: foo: not found']), null);
    assert.equal(wrapperFailure(127, ['starting', 'supervise: 1: exec: not found']), null);
    assert.equal(wrapperFailure(1, ['supervise: 1: exec: /bin/serve: not found']), null);
    assert.equal(wrapperFailure(127, []), null);
    assert.equal(wrapperFailure(null, ['setpriv: x']), null);
  });
});
