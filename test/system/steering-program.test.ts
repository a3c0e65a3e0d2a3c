/** The program that the kernel runs, in an interpreter of the few instructions that it has. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Instruction } from '../../src/system/socket-calls.ts';
import { sourceFor } from '../../src/system/sockets/runs.ts';
import { chooseAmong, letSourceChoose } from '../../src/system/sockets/steering-program.ts';

interface Packet {
  readonly protocol: number;
  /** Four bytes at the place of the source in the header of IPv4. */
  readonly source: number;
  readonly random: number;
}

/** As net/core/filter.c does it, with 32 bits. */
function run(program: readonly Instruction[], packet: Packet): number {
  const loads = new Map([
    [0xfffff000, packet.protocol],
    [0xfffff000 + 56, packet.random],
    [0xfff00000 + 12, packet.source],
  ]);
  let accumulator = 0;
  for (let at = 0; ; at++) {
    const [code, jt, jf, k] = program[at] ?? assert.fail(`it runs past its end, to ${at}`);
    switch (code) {
      case 0x20:
        accumulator = loads.get(k) ?? assert.fail(`it loads from ${k.toString(16)}`);
        break;
      case 0x94:
        accumulator %= k;
        break;
      case 0x04:
        accumulator = (accumulator + k) >>> 0;
        break;
      case 0x14:
        accumulator = (accumulator - k) >>> 0;
        break;
      case 0x15:
        at += accumulator === k ? jt : jf;
        break;
      case 0x35:
        at += accumulator >= k ? jt : jf;
        break;
      case 0x06:
        return k;
      case 0x16:
        return accumulator;
      default:
        assert.fail(`unknown instruction ${code}`);
    }
  }
}

function address(text: string): number {
  return Buffer.from(text.split('.').map(Number)).readUInt32BE();
}

const [ipv4, ipv6] = [0x0800, 0x86dd];

describe('the choice at random', () => {
  for (const set of [[0], [3], [0, 1, 2, 3], [1, 2, 4], [0, 5], [0, 2, 4, 6, 7]]) {
    test(`has each of ${set.join(', ')} as often as any other`, () => {
      const got = Array.from({ length: set.length * 3 }, (_, random) =>
        run(chooseAmong(set), { protocol: ipv4, source: 0, random }),
      );
      assert.deepEqual(got, [...set, ...set, ...set]);
    });
  }
});

describe('the choice by the source', () => {
  const program = [...letSourceChoose(300), ...chooseAmong([7])];
  const cases: readonly [from: string, protocol: number, socket: number][] = [
    ['127.77.0.0', ipv4, 0],
    ['127.77.0.7', ipv4, 7],
    ['127.77.0.255', ipv4, 255],
    ['127.77.1.0', ipv4, 256],
    ['127.77.1.43', ipv4, 299],
    // Beyond the sockets that there are, and beside the addresses.
    ['127.77.1.44', ipv4, 7],
    ['127.77.255.255', ipv4, 7],
    ['127.76.255.255', ipv4, 7],
    ['127.78.0.0', ipv4, 7],
    ['127.0.0.1', ipv4, 7],
    ['10.77.0.3', ipv4, 7],
    ['255.255.255.255', ipv4, 7],
    ['0.0.0.0', ipv4, 7],
    // Part of an IPv6 address that looks the same.
    ['127.77.0.3', ipv6, 7],
  ];
  for (const [from, protocol, socket] of cases) {
    test(`${from} in a packet of ${protocol === ipv4 ? 'IPv4' : 'IPv6'} gets ${socket}`, () =>
      assert.equal(run(program, { protocol, source: address(from), random: 5 }), socket));
  }

  test('each address that a socket is told gets that socket', () => {
    const all = [...letSourceChoose(65_536), ...chooseAmong([0])];
    for (const index of [0, 1, 255, 256, 511, 512, 65_535]) {
      assert.equal(run(all, { protocol: ipv4, source: address(sourceFor(index)), random: 5 }), index);
    }
  });
});
