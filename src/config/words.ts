/**
 * Splits a command into words as a POSIX shell would, but without one: blanks separate words, '…' keeps everything,
 * "…" keeps blanks, and \ keeps the next character. What only a shell could do (pipes, lists, redirections, $NAME and
 * command substitution) is refused, because a program would be given those characters as plain words. Wildcards, ~
 * and braces stay as they are. `${VAR}` is left for `expand`, which comes after, in each word.
 */
import { expressionEnd } from './expand.ts';

export type Words =
  | { readonly ok: true; readonly words: readonly string[] }
  /** `cause`: what a shell would have to do (`variable`: the name of one), or that no shell could read it either. */
  | { readonly ok: false; readonly found: string; readonly cause: Cause };

type Cause = 'operator' | 'line break' | 'syntax' | { readonly variable: string };

const operators = ['&&', '||', '|', '>', '<', ';', '&', '`', '$('];

/** `"a b" c\ d` -> ["a b", "c d"]. */
export function splitWords(text: string): Words {
  const words: string[] = [];
  let word: string | null = null;
  let quote: { readonly mark: string; readonly start: number } | null = null;
  for (let index = 0; index < text.length;) {
    const char = text.charAt(index);
    if (quote?.mark === "'") {
      if (char === "'") quote = null;
      else word = (word ?? '') + char;
      index += 1;
      continue;
    }
    const special = specialAt(text, index, quote === null);
    if (special !== null)
      return { ok: false, found: `${special.found} at character ${index + 1}`, cause: special.cause };
    if (char === '\\') {
      if (index + 1 === text.length) return { ok: false, found: 'a backslash at the end', cause: 'syntax' };
      word = escaped(text.charAt(index + 1), word, quote !== null);
      index += 2;
    } else if (text.startsWith('$$', index) || text.startsWith('${', index)) {
      const end = text.startsWith('$$', index) ? index + 1 : (expressionEnd(text, index) ?? text.length - 1);
      word = (word ?? '') + text.slice(index, end + 1);
      index = end + 1;
    } else if (char === '"' || (char === "'" && quote === null)) {
      quote = quote === null ? { mark: char, start: index } : null;
      word ??= '';
      index += 1;
    } else if (quote === null && /\s/.test(char)) {
      if (word !== null) words.push(word);
      word = null;
      index += 1;
    } else {
      word = (word ?? '') + char;
      index += 1;
    }
  }
  if (quote !== null) {
    return {
      ok: false,
      found: `a ${quote.mark} at character ${quote.start + 1} that is never closed`,
      cause: 'syntax',
    };
  }
  if (word !== null) words.push(word);
  return { ok: true, words };
}

/** What follows a backslash. A line break after it joins the lines; `\$` must survive the expansion that comes later. */
function escaped(next: string, word: string | null, inQuotes: boolean): string | null {
  if (next === '\n') return word;
  if (next === '$') return `${word ?? ''}$$`;
  const kept = !inQuotes || ['"', '\\', '`'].includes(next);
  return (word ?? '') + (kept ? next : `\\${next}`);
}

/** What only a shell understands at `index`, or null. Within double quotes only $NAME and command substitution count. */
function specialAt(text: string, index: number, unquoted: boolean): { found: string; cause: Cause } | null {
  const operator = operators.find((candidate) => text.startsWith(candidate, index));
  if (operator !== undefined && (unquoted || operator === '`' || operator === '$(')) {
    return { found: `the shell operator ${operator}`, cause: 'operator' };
  }
  const [, variable] = /^\$([A-Za-z_]\w*)/.exec(text.slice(index, index + 256)) ?? [];
  if (variable !== undefined) return { found: `the shell variable $${variable}`, cause: { variable } };
  // a line break ends a shell command; one before or after everything does not matter
  const breaks =
    unquoted && text[index] === '\n' && text.slice(0, index).trim() !== '' && text.slice(index).trim() !== '';
  return breaks ? { found: 'a line break', cause: 'line break' } : null;
}

/** Words as one line that `splitWords` reads back; for display. */
export function joinWords(words: readonly string[]): string {
  return words
    .map((word) => (/^[\w@%+=:,./{}-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`))
    .join(' ');
}
