/**
 * What every command gets: the parsed command line and the terminal. And what a row of the table of commands is.
 */
import type { Terminal } from './terminal.ts';

export interface Globals {
  readonly config: string | null;
  readonly name: string | null;
  readonly json: boolean;
  readonly noColor: boolean;
  readonly quiet: boolean;
}

export interface Invocation {
  readonly globals: Globals;
  /** The command's arguments, in order; those that were left out are missing. */
  readonly args: readonly string[];
  /** By its long name: a text, true, or a list where it is repeatable; absent when it was not given. */
  readonly options: Readonly<Record<string, string | boolean | readonly string[] | undefined>>;
  /** What stood after `--`; null when there was no `--`. */
  readonly afterDashes: readonly string[] | null;
  readonly terminal: Terminal;
}

/** Runs the command; the answer is the exit code. @throws SuperviseError for a failure that is printed by main */
export type Run = (invocation: Invocation) => Promise<number>;

export interface CommandRow {
  readonly name: string;
  /** As commander reads them: `<app> <change>`, `[apps...]`. */
  readonly args: string;
  readonly summary: string;
  readonly options: readonly OptionRow[];
  readonly examples: readonly Example[];
  /** null: it is not supported yet. Loaded only when it is used, because the start of a master must be quick. */
  readonly load: (() => Promise<Run>) | null;
}

export interface OptionRow {
  readonly flags: string;
  readonly text: string;
  readonly repeatable?: true;
  /** For our own use; not in the help. */
  readonly hidden?: true;
}

export interface Example {
  readonly line: string;
  readonly does: string;
}

export function textOption({ options }: Invocation, name: string): string | null {
  const value = options[name];
  return typeof value === 'string' ? value : null;
}

export function listOption({ options }: Invocation, name: string): readonly string[] {
  const value = options[name];
  return Array.isArray(value) ? value : [];
}

export function hasOption({ options }: Invocation, name: string): boolean {
  return options[name] === true;
}
