/** A terminal that records, and command lines that are parsed but not run. */
import { commands } from '../../src/cli/commands.ts';
import type { CommandRow, Invocation } from '../../src/cli/invocation.ts';
import { run } from '../../src/cli/main.ts';
import type { Terminal } from '../../src/cli/terminal.ts';

export interface Recorder extends Terminal {
  readonly text: { out: string; err: string };
}

export function recorder(more: Partial<Terminal> = {}): Recorder {
  const text = { out: '', err: '' };
  return {
    text,
    out: (piece) => void (text.out += piece),
    err: (piece) => void (text.err += piece),
    env: {},
    outIsScreen: false,
    errIsScreen: false,
    columns: () => 80,
    ...more,
  };
}

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs a command line in this process. */
export async function runHere(...argv: readonly string[]): Promise<Ran> {
  const terminal = recorder();
  const code = await run(argv, terminal);
  return { code, out: terminal.text.out, err: terminal.text.err };
}

export interface Parsed extends Ran {
  /** null: it was refused before it could run. */
  readonly command: string | null;
  readonly invocation: Invocation | null;
}

/** What a command line is parsed to. */
export async function parse(...argv: readonly string[]): Promise<Parsed> {
  let seen: { command: string; invocation: Invocation } | null = null;
  const rows = commands.map((row): CommandRow => ({
    ...row,
    load: async () => async (invocation) => {
      seen = { command: row.name, invocation };
      return 0;
    },
  }));
  const terminal = recorder();
  const code = await run(argv, terminal, rows);
  const { command = null, invocation = null } = (seen ?? {}) as { command?: string; invocation?: Invocation };
  return { code, out: terminal.text.out, err: terminal.text.err, command, invocation };
}
