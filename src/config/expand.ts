/**
 * `${VAR}` in values:
 *
 * | written | becomes |
 * | --- | --- |
 * | `${VAR}` | the variable; an error when it is not set |
 * | `${VAR:-default}` | the default when the variable is not set or empty; it may hold variables itself |
 * | `$$` | `$` |
 * | any other `$` | itself |
 *
 * The master's environment wins over the top-level env_file.
 */
import type { Expanded } from './tree.ts';

export interface Variables {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly envFile: Readonly<Record<string, string>>;
}

export type Expansion =
  | { readonly ok: true; readonly text: string; readonly expanded: readonly Expanded[] }
  | { readonly ok: false; readonly problem: string };

/** Whether `text` has anything that `expand` would change. */
export function isExpandable(text: string): boolean {
  return /\$[{$]/.test(text);
}

/** Expands all variables of `text`; the answer names each of them once. */
export function expand(text: string, variables: Variables): Expansion {
  const expanded = new Map<string, Expanded>();
  const problem: { first: string | null } = { first: null };
  const result = expandInto(text, variables, { expanded, problem });
  if (problem.first !== null) return { ok: false, problem: problem.first };
  return { ok: true, text: result, expanded: [...expanded.values()] };
}

interface Found {
  readonly expanded: Map<string, Expanded>;
  readonly problem: { first: string | null };
}

function expandInto(text: string, variables: Variables, found: Found): string {
  let result = '';
  for (let index = 0; index < text.length;) {
    if (text.startsWith('$$', index)) {
      result += '$';
      index += 2;
    } else if (text.startsWith('${', index)) {
      const end = expressionEnd(text, index);
      if (end === null) {
        found.problem.first ??= `expected \${NAME} or \${NAME:-default}, found \${ without its }. Write $\${ for the characters themselves`;
        return result;
      }
      result += valueOf(text.slice(index + 2, end), variables, found);
      index = end + 1;
    } else {
      result += text[index];
      index += 1;
    }
  }
  return result;
}

function valueOf(expression: string, variables: Variables, found: Found): string {
  const [, name, fallback] = /^([A-Za-z_]\w*)(?::-([^]*))?$/.exec(expression) ?? [];
  if (name === undefined) {
    found.problem.first ??= `expected \${NAME} or \${NAME:-default}, found \${${expression}}. Write $\${ for the characters themselves`;
    return '';
  }
  const fromEnvironment = variables.environment[name];
  const value = fromEnvironment ?? variables.envFile[name];
  if (value !== undefined && (value !== '' || fallback === undefined)) {
    found.expanded.set(name, { variable: name, from: fromEnvironment === undefined ? 'env_file' : 'environment' });
    return value;
  }
  if (fallback === undefined) {
    found.problem.first ??=
      `\${${name}} is not set and has no default. ` +
      `Set ${name} in the environment or in the top-level env_file, or write \${${name}:-default}`;
    return '';
  }
  found.expanded.set(name, { variable: name, from: 'default' });
  return expandInto(fallback, variables, found);
}

/** The index of the } that ends the expression whose ${ is at `start`, or null. */
export function expressionEnd(text: string, start: number): number | null {
  let depth = 0;
  for (let index = start; index < text.length; index++) {
    if (text.startsWith('${', index)) depth += 1;
    else if (text[index] === '}' && --depth === 0) return index;
  }
  return null;
}
