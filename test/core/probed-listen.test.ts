/** Which address of `listen` a probe asks. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { listenProbed, type ProbedAddress } from '../../src/core/probed-listen.ts';

const unix: ProbedAddress = { kind: 'unix' };
const tcp = (host: string, port: number): ProbedAddress => ({ kind: 'tcp', host, port });

const cases: readonly [what: string, listen: ProbedAddress[], port: number | null, index: number | null][] = [
  ['no listen: the port of the worker', [], null, null],
  ['no listen: a port of the worker', [], 9000, null],
  ['the first address', [tcp('127.0.0.1', 80), tcp('', 81)], null, 0],
  ['the first that takes IPv4', [unix, tcp('::', 80), tcp('::1', 81), tcp('', 82)], null, 3],
  ['all addresses of IPv4', [tcp('0.0.0.0', 80)], null, 0],
  ['the one with that port', [tcp('', 80), tcp('192.0.2.1', 81)], 81, 1],
  ['a port that is none of listen is the worker’s own', [tcp('', 80)], 81, null],
  ['that port on IPv6 alone', [tcp('::1', 80)], 80, null],
  ['unix and IPv6 alone', [unix, tcp('::1', 80)], null, null],
];
for (const [what, listen, port, index] of cases) {
  test(what, () => assert.equal(listenProbed(listen, port), index));
}
