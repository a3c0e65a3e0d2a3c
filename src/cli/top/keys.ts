/**
 * What a terminal sends, as names of keys: a character stands for itself, others are `up`, `pagedown`, `ctrl-c`, ...
 *
 * An escape sequence may arrive in two pieces, and ESC alone is a key too: what could go on is handed back as `rest`, and
 * counts as it is when nothing follows.
 */

export interface Decoded {
  readonly keys: readonly string[];
  /** The begin of a sequence that may go on. */
  readonly rest: string;
}

const letters: Readonly<Record<string, string>> = {
  A: 'up',
  B: 'down',
  C: 'right',
  D: 'left',
  H: 'home',
  F: 'end',
};
const numbers: Readonly<Record<string, string>> = {
  1: 'home',
  3: 'delete',
  4: 'end',
  5: 'pageup',
  6: 'pagedown',
  7: 'home',
  8: 'end',
};
const controls: Readonly<Record<string, string>> = {
  '\r': 'enter',
  '\n': 'enter',
  '\t': 'tab',
  '\u007f': 'backspace',
  '\b': 'backspace',
  '\u0003': 'ctrl-c',
  '\u001a': 'ctrl-z',
  '\u000c': 'ctrl-l',
  '\u0002': 'pageup',
  '\u0006': 'pagedown',
};

const sequence = /^\u001b(?:\[([0-9;?<]*)([@-~])|O([A-Za-z]))/;
const unfinished = /^\u001b(?:\[[0-9;?<]*|O)?$/;

export function decode(text: string): Decoded {
  const keys: string[] = [];
  let rest = text;
  while (rest !== '') {
    const found = sequence.exec(rest);
    if (found !== null) {
      const key = keyOf(found);
      if (key !== null) keys.push(key);
      rest = rest.slice(found[0].length);
      continue;
    }
    if (unfinished.test(rest)) break;
    const [character = ''] = rest;
    rest = rest.slice(character.length);
    if (character === '\u001b') keys.push('escape');
    else if (character >= ' ' && character !== '\u007f') keys.push(character);
    else if (controls[character] !== undefined) keys.push(controls[character]);
  }
  return { keys, rest };
}

/** null: a sequence that means nothing here. */
function keyOf([, parameters = '', final = '', applicationFinal]: RegExpExecArray): string | null {
  if (applicationFinal !== undefined) return letters[applicationFinal] ?? null;
  if (final === '~') return numbers[parameters.split(';')[0] ?? ''] ?? null;
  return letters[final] ?? null;
}
