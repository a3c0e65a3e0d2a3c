/**
 * How a command says that it failed.
 *
 * - For people, on stderr: `supervise: message`, the hint, the last lines of what failed, indented.
 * - With --json, on stdout and nothing on stderr: one document `{"error": {code, message, hint, exitCode, lastLines}}`.
 *   In a stream of JSON lines it is the last line.
 * - What is not a SuperviseError is a bug of ours: exit 70, with the stack.
 */
import type { ExitCode } from '../core/errors.ts';
import { SuperviseError } from '../core/errors.ts';
import { printable } from './text.ts';
import type { Terminal } from './terminal.ts';

/** Prints the failure; the answer is the exit code. */
export function complain(thrown: unknown, terminal: Terminal, json: boolean): ExitCode {
  const error = thrown instanceof SuperviseError ? thrown : bugOf(thrown);
  const { code, message, hint, exitCode, lastLines } = error;
  if (json) terminal.out(`${JSON.stringify({ error: { code, message, hint, exitCode, lastLines } })}\n`);
  else terminal.err(complaintText({ message, hint, lastLines }));
  return exitCode;
}

export function complaintText({ message, hint, lastLines }: { message: string; hint: string | null; lastLines: readonly string[] }): string {
  const text = message.split('\n').map(printable).join('\n');
  const lines = [`supervise: ${text}`];
  if (hint !== null) lines.push(`hint: ${hint.split('\n').map(printable).join('\n')}`);
  lines.push(...lastLines.map((line) => `  ${printable(line)}`));
  return `${lines.join('\n')}\n`;
}

function bugOf(thrown: unknown): SuperviseError {
  const stack = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
  const [first = '', ...rest] = stack.split('\n');
  return new SuperviseError('bug', `this is a bug in supervise: ${first}`, {
    hint: 'please report it with these lines',
    lastLines: rest.map((line) => line.trim()),
  });
}
