/**
 * The token of the control API over TCP: STATE/token, made once and kept, because it stands in the configs of those who ask.
 *
 * - Made with mode 0600 under another name and then linked, so that nobody reads half of one and two masters do not make two.
 * - An existing one is taken as it is, if it is ours and nobody else can write to it. Whoever may read it is up to its owner.
 */
import { randomBytes } from 'node:crypto';
import { linkSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SuperviseError } from '../../core/errors.ts';

const tokenName = 'token';
const tokenBytes = 32;
const leastLength = 32;

export interface Token {
  readonly text: string;
  readonly file: string;
}

/** Reads the token in `state`, and makes it where there is none. @throws SuperviseError directory-unsafe */
export function tokenIn(state: string): Token {
  const file = join(state, tokenName);
  try {
    makeToken(file);
    const { uid, mode } = statSync(file);
    if (uid !== (process.getuid?.() ?? 0)) throw unsafe(file, `one that belongs to uid ${uid}`);
    if ((mode & 0o022) !== 0) throw unsafe(file, `mode ${(mode & 0o777).toString(8)}: others can write to it`);
    const text = readFileSync(file, 'utf8').trim();
    if (text.length >= leastLength && /^[\x21-\x7e]+$/.test(text)) return { text, file };
    throw unsafe(file, `${text.length} characters that are none`);
  } catch (error) {
    if (error instanceof SuperviseError) throw error;
    throw unsafe(file, `no way to one: ${(error as Error).message}`);
  }
}

/** Does nothing where there is one. */
function makeToken(file: string): void {
  if (statSync(file, { throwIfNoEntry: false }) !== undefined) return;
  const fresh = `${file}.${process.pid}`;
  try {
    // Of a start that was killed here: in a container the next one has the same pid.
    rmSync(fresh, { force: true });
    writeFileSync(fresh, `${randomBytes(tokenBytes).toString('base64url')}\n`, { mode: 0o600, flag: 'wx' });
    linkSync(fresh, file);
  } finally {
    rmSync(fresh, { force: true });
  }
}

function unsafe(file: string, found: string): SuperviseError {
  return new SuperviseError(
    'directory-unsafe',
    `${file}: expected a token of at least ${leastLength} printable characters, in a file of ours; found ${found}`,
    { hint: `remove it, and a new one is made at the next start: rm ${file}` },
  );
}
