/** Checks what test/fixtures/e2e/numbered-lines.mjs has written, over a log file and its rotated files. */
import assert from 'node:assert/strict';
import { createReadStream, existsSync, readdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { createGunzip } from 'node:zlib';

const filler = 'abcdefghijklmnopqrstuvwxyz0123456789'.repeat(12);

/** Its rotated files and itself, the oldest first. */
export function filesOf(file: string): string[] {
  const numbers = readdirSync(dirname(file)).flatMap((name) => {
    const [, number] = /^\.(\d+)(?:\.gz)?$/.exec(name.slice(basename(file).length)) ?? [];
    return name.startsWith(basename(file)) && number !== undefined ? [{ name, number: Number(number) }] : [];
  });
  const rotated = numbers.sort((one, other) => other.number - one.number).map(({ name }) => join(dirname(file), name));
  return [...rotated, ...(existsSync(file) ? [file] : [])];
}

async function* linesOf(file: string): AsyncGenerator<string> {
  const raw = createReadStream(file, { highWaterMark: 1 << 18 });
  const input = file.endsWith('.gz') ? raw.pipe(createGunzip({ chunkSize: 1 << 18 })) : raw;
  let held = '';
  for await (const chunk of input as AsyncIterable<Buffer>) {
    const lines = (held + chunk.toString()).split('\n');
    held = lines.pop() ?? '';
    yield* lines;
  }
  assert.equal(held, '', `${file} ends within a line`);
}

/**
 * Every writer's lines are there from its first on, each once, whole and in order.
 * @param atEnds what else may be there: half of a writer's next line, as its last
 * @returns how many lines of each writer there are
 */
export async function countNumbered(
  files: readonly string[],
  atEnds: 'whole' | 'cut' = 'whole',
): Promise<Map<string, number>> {
  const next = new Map<string, number>();
  const cut = new Set<string>();
  for (const file of files) {
    for await (const line of linesOf(file)) {
      const name = line.slice(0, line.indexOf(' '));
      const n = next.get(name) ?? 0;
      const expected = expectedOf(name, n);
      if (line === expected) {
        assert.ok(!cut.has(name), `${file}: more of ${name} after half a line`);
        next.set(name, n + 1);
      } else {
        const whose = [...next.keys()].find((each) => expectedOf(each, next.get(each) ?? 0).startsWith(line));
        assert.ok(atEnds === 'cut' && whose !== undefined, `${file}: expected ${expected}, found ${line}`);
        cut.add(whose);
      }
    }
  }
  return next;
}

function expectedOf(name: string, n: number): string {
  return `${name} ${n} ${filler.slice(n % 36, (n % 36) + ((n * 7) % 311))} ;`;
}
