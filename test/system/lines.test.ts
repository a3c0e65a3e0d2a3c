import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { decodeLines, LineSplitter } from '../../src/system/output/lines.ts';

interface Part {
  readonly text: string;
  readonly ending: 'line' | 'piece';
}

function split(chunks: readonly Buffer[], capBytes?: number): Part[] {
  const parts: Part[] = [];
  const splitter = new LineSplitter((bytes, ending) => {
    for (const text of decodeLines(bytes)) parts.push({ text, ending });
  }, capBytes);
  for (const chunk of chunks) splitter.push(chunk);
  splitter.end();
  return parts;
}

function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const at = [...new Set([0, ...places.map((place) => place % (bytes.length + 1)), bytes.length])].sort(
    (a, b) => a - b,
  );
  return at.slice(1).map((end, index) => bytes.subarray(at[index], end));
}

/** Written without regard to speed or chunks: the whole text at once, character by character. */
function expectedParts(text: string, capBytes: number): Part[] {
  const lines = text.split('\n');
  if (lines.at(-1) === '') lines.pop();
  return lines.flatMap((line) => {
    const pieces: string[] = [];
    let piece = '';
    for (const character of line) {
      if (Buffer.byteLength(piece + character) > capBytes) {
        pieces.push(piece);
        piece = '';
      }
      piece += character;
    }
    pieces.push(piece);
    return pieces.map((each, index): Part => {
      const last = index === pieces.length - 1;
      return { text: last && each.endsWith('\r') ? each.slice(0, -1) : each, ending: last ? 'line' : 'piece' };
    });
  });
}

const texts = fc.array(
  fc.oneof(
    fc.constantFrom('\n', '\n\n', '\r\n', 'é', '€', '😀', 'plain'),
    fc.string({ unit: 'grapheme', maxLength: 30 }),
  ),
  { maxLength: 60 },
);

describe('lines', () => {
  test('any chunking of a text gives the same lines', () => {
    fc.assert(
      fc.property(texts, fc.array(fc.nat(2000), { maxLength: 40 }), (parts, places) => {
        const text = parts.join('');
        const bytes = Buffer.from(text);
        assert.deepEqual(split(cut(bytes, places)), expectedParts(text, 1 << 20));
      }),
    );
  });

  test('any chunking of lines above the cap gives the same pieces, cut between characters', () => {
    fc.assert(
      fc.property(
        texts,
        fc.array(fc.nat(2000), { maxLength: 40 }),
        fc.integer({ min: 8, max: 40 }),
        (parts, places, capBytes) => {
          const text = parts.join('').replaceAll('\r', '');
          assert.deepEqual(split(cut(Buffer.from(text), places), capBytes), expectedParts(text, capBytes));
        },
      ),
      { numRuns: 500 },
    );
  });

  test('bytes that are no UTF-8 lose nothing but themselves', () => {
    const bytes = Buffer.from([0x61, 0xff, 0xe2, 0x82, 0x0a, 0x62, 0xf0, 0x9f, 0x0a, 0x63]);
    const whole = split([bytes]);
    assert.deepEqual(
      whole.map((part) => part.text),
      ['a\ufffd\ufffd', 'b\ufffd', 'c'],
    );
    for (let at = 0; at < bytes.length; at++) assert.deepEqual(split(cut(bytes, [at])), whole);
  });

  test('continuation bytes without end are cut at the cap all the same', () => {
    const parts = split([Buffer.alloc(100, 0x80)], 10);
    assert.equal(parts.length, 10);
  });

  test('a line of exactly the cap is not cut, one byte more is', () => {
    assert.deepEqual(split([Buffer.from('12345678\n123456789\n')], 8), [
      { text: '12345678', ending: 'line' },
      { text: '12345678', ending: 'piece' },
      { text: '9', ending: 'line' },
    ]);
  });

  test('empty lines and CRLF are kept, an end without newline is a line', () => {
    assert.deepEqual(
      split([Buffer.from('\n\r\na\r'), Buffer.from('\nb')]).map((part) => part.text),
      ['', '', 'a', 'b'],
    );
    assert.deepEqual(split([Buffer.from('')]), []);
  });

  test('a line of 3 MiB in chunks of one byte comes in three whole pieces and a rest', () => {
    const splitterParts: number[] = [];
    const splitter = new LineSplitter((bytes) => splitterParts.push(bytes.length));
    const one = Buffer.from('x');
    for (let count = 0; count < 3 * 1024 * 1024 + 5; count++) splitter.push(one);
    splitter.push(Buffer.from('\n'));
    assert.deepEqual(splitterParts, [1 << 20, 1 << 20, 1 << 20, 6]);
  });

  test('what was emitted is never written into again', () => {
    const blocks: Buffer[] = [];
    const splitter = new LineSplitter((bytes) => blocks.push(bytes));
    for (const chunk of ['one', ' a\ntwo', ' b\nthree', ' c\n']) splitter.push(Buffer.from(chunk));
    assert.deepEqual(blocks.map(String), ['one a\n', 'two b\n', 'three c\n']);
  });
});
