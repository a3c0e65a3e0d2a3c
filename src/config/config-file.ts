/** Finds the config file and reads its text: UTF-8, at most 1 MiB, whatever kind of file it is. */
import { closeSync, existsSync, openSync, readSync } from 'node:fs';
import { relative, resolve } from 'node:path';
import { SuperviseError } from '../core/errors.ts';

const maxFileBytes = 1024 * 1024;
const defaultFiles = ['supervise.yaml', 'supervise.yml', 'supervise.json'];
const systemFile = '/etc/supervise/supervise.yaml';

/**
 * The config file to use: `explicit`, or the first of the default files in `cwd` and then in /etc.
 * @throws SuperviseError config-not-found
 */
export function findConfig(explicit: string | null, cwd: string): string {
  if (explicit !== null) return explicit;
  const candidates = [...defaultFiles.map((file) => resolve(cwd, file)), systemFile];
  const found = candidates.find((file) => existsSync(file));
  if (found === undefined) {
    const names = [...defaultFiles, systemFile].join(', ');
    throw new SuperviseError('config-not-found', `expected a config file, found none of ${names} (in ${cwd})`, {
      hint: 'Name one with -c FILE, or start without: supervise start -- PROGRAM',
    });
  }
  const short = relative('', found);
  return short.startsWith('..') ? found : short;
}

/**
 * Reads a config file as text.
 * @throws SuperviseError config-not-found, config-invalid
 */
export function readConfigText(file: string): string {
  let bytes: Buffer;
  try {
    bytes = readUpTo(file, maxFileBytes + 1);
  } catch (error) {
    throw unreadable(file, error as NodeJS.ErrnoException);
  }
  const invalid = (message: string) => new SuperviseError('config-invalid', `${file}:1:1: ${message}`);
  if (bytes.length > maxFileBytes)
    throw invalid('expected a config of at most 1 MiB, found a larger file. Is it the right one?');
  if ((bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff)) {
    throw invalid('expected text in UTF-8, found UTF-16. Save it as UTF-8');
  }
  const zero = bytes.indexOf(0);
  if (zero >= 0) throw invalid(`expected text, found a zero byte at offset ${zero}. Is it the right file?`);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw invalid('expected text in UTF-8, found other bytes. Is it the right file?');
  }
}

function unreadable(file: string, { code, message }: NodeJS.ErrnoException): SuperviseError {
  if (code === 'ENOENT') {
    return new SuperviseError('config-not-found', `${file}: expected a config file, found nothing of that name`, {
      hint: 'Name another one with -c, or write one with the keys of config.example.yaml.',
    });
  }
  const found = {
    EISDIR: 'a directory',
    EACCES: 'one that this user may not read',
    ELOOP: 'a symlink that leads to itself',
  }[code ?? ''];
  return new SuperviseError('config-invalid', `${file}: expected a file that can be read, found ${found ?? message}`);
}

/** The first `limitBytes` bytes of a file or a pipe. */
function readUpTo(file: string, limitBytes: number): Buffer {
  const fd = openSync(file, 'r');
  try {
    const chunks: Buffer[] = [];
    for (let total = 0; total < limitBytes;) {
      const chunk = Buffer.alloc(Math.min(65_536, limitBytes - total));
      const count = readSync(fd, chunk);
      if (count === 0) break;
      chunks.push(chunk.subarray(0, count));
      total += count;
    }
    return Buffer.concat(chunks);
  } finally {
    closeSync(fd);
  }
}
