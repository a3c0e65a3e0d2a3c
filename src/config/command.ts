/** From a written command to its words: a text is split first, then `${VAR}` is expanded in each word. */
import { basename } from 'node:path';
import { maskText } from '../core/secrets.ts';
import { report, type Building } from './building.ts';
import { expand } from './expand.ts';
import { nameLike } from './names.ts';
import type { CommandSettings } from './schema.ts';
import { formatPath, originAt, quoted, type Expanded, type Path } from './tree.ts';
import { splitWords, type Words } from './words.ts';

export interface Written {
  readonly kind: 'hook' | 'app' | 'script' | 'probe';
  readonly path: Path;
  /** The text is for /bin/sh -c, and left alone. */
  readonly shell: boolean;
  /** The app has `port`, so that {port} is known. */
  readonly hasPort: boolean;
}

/** The words of a command, or its one text for the shell. Reports what is wrong; the words are then empty. */
export function commandOf(command: CommandSettings, written: Written, building: Building): readonly string[] {
  const { path, shell } = written;
  if (shell) {
    if (typeof command === 'string') return [command];
    report(building, path, 'expected one text for the shell, because shell is true, found a list');
    return [];
  }
  const words = typeof command === 'string' ? wordsOf(command, written, building) : command;
  const expanded: Expanded[] = [];
  const argv: string[] = [];
  for (const [index, word] of words.entries()) {
    const expansion = expand(word, building.variables);
    if (expansion.ok) {
      argv.push(expansion.text);
      expanded.push(...expansion.expanded);
    } else report(building, typeof command === 'string' ? path : [...path, index], expansion.problem);
  }
  building.expanded.set(formatPath(path), expanded);
  if (argv.length === words.length && words.length > 0 && argv[0] === '')
    report(building, path, 'expected a program first, found an empty word');
  const zero = argv.findIndex((word) => word.includes('\0'));
  if (zero >= 0) report(building, path, 'expected words, found one with a zero byte in it');
  return argv;
}

function wordsOf(text: string, written: Written, building: Building): readonly string[] {
  const split = splitWords(text);
  const what = written.kind === 'script' ? 'a script and its arguments' : 'a program and its words';
  if (!split.ok) {
    report(
      building,
      written.path,
      `expected ${what}, found ${split.found}. ${remedy(split, text, { ...written, building })}`,
    );
    return [];
  }
  const [first = ''] = split.words;
  if (/^[A-Za-z_]\w*=/.test(first)) {
    const setting = written.kind === 'hook' ? 'env of the hook' : 'env of the app';
    report(
      building,
      written.path,
      `expected ${what}, found the assignment ${quoted(first)} first. Put variables into the ${setting}`,
    );
    return [];
  }
  return split.words;
}

function remedy(
  { cause }: Extract<Words, { ok: false }>,
  text: string,
  { building, ...written }: Written & { building: Building },
): string {
  if (cause === 'syntax') return 'Close the quote, or put a backslash before it';
  if (typeof cause === 'object') {
    const { variable } = cause;
    if (variable === 'PORT' && written.hasPort) return "Write {port} for the worker's own port";
    return `Write \${${variable}} for a variable of the environment, or $$${variable} for the characters themselves`;
  }
  const quoting = cause === 'operator' ? ', or quote it' : ', or fold the lines with > instead of |';
  const isFlag = originAt(building.tree, written.path).kind === 'flag';
  if (written.kind === 'hook' && isFlag) return `Write "sh -c '...'" to have it run by a shell${quoting}`;
  if (written.kind === 'hook') return `Set shell: true to have it run by /bin/sh${quoting}`;
  if (written.kind === 'script') return 'Put it in quotes';
  const sample = maskText(text.trim().replace(/\s+/g, ' '));
  const runs = written.kind === 'probe' ? 'A probe runs' : 'Apps run';
  return `${runs} without a shell: write ["sh", "-c", ${quoted(sample)}]${quoting}`;
}

/** A name for a command, after its program: `/usr/bin/alembic upgrade head` -> `alembic`. */
export function programName(argv: readonly string[], shell: boolean): string {
  const [first = ''] = argv;
  const program = shell ? (first.trim().split(/\s/)[0] ?? '') : first;
  return nameLike(basename(program)) ?? 'hook';
}
