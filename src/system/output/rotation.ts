/**
 * Rotated files: FILE.1 is the newest, FILE.2 the one before, up to FILE.keep, each plain or with .gz after its number, as
 * logrotate names them.
 *
 * - Renames only: a kill in the middle loses nothing, and leaves a free number at most, which the next rotation fills.
 * - Only the files below the first free number move, so the numbers have no other gaps.
 * - What is above `keep` is deleted, also where `keep` was larger before. Numbers above 1000 are not ours: they may be dates.
 */
import { readdir, rename, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

const mostNumber = 1000;

/** A rotated file. */
export interface Rotated {
  readonly path: string;
  readonly number: number;
  readonly kind: 'plain' | 'gzip';
}

/** The rotated files of this one, the newest first. */
export async function rotatedFiles(file: string): Promise<readonly Rotated[]> {
  const start = `${basename(file)}.`;
  const names = (await readdir(dirname(file))).filter((name) => name.startsWith(start));
  return names
    .flatMap((name): Rotated[] => {
      const [, digits, gz] = /^([1-9]\d{0,3})(\.gz)?$/.exec(name.slice(start.length)) ?? [];
      if (digits === undefined || Number(digits) > mostNumber) return [];
      const kind = gz === undefined ? 'plain' : 'gzip';
      return [{ path: join(dirname(file), name), number: Number(digits), kind }];
    })
    .sort((one, other) => one.number - other.number);
}

/** Makes the file FILE.1 (or deletes it, where none is kept), and each of the others one older. Then there is no FILE. */
export async function rotate(file: string, keep: number): Promise<void> {
  const before = await rotatedFiles(file);
  for (const { number, path } of before) if (number > keep) await unlinkIfThere(path);
  if (keep === 0) return unlink(file);
  const taken = new Set(before.map(({ number }) => number));
  let free = 1;
  while (free < keep && taken.has(free)) free++;
  for (const { number, path } of before) if (number === free) await unlinkIfThere(path);
  for (const { number, path, kind } of before.toReversed())
    if (number < free) await rename(path, `${file}.${number + 1}${kind === 'gzip' ? '.gz' : ''}`);
  await rename(file, `${file}.1`);
}

export async function unlinkIfThere(path: string): Promise<void> {
  await unlink(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
}
