/**
 * How a command says that it failed.
 *
 * - For people, on stderr: `supervise: message`, the hint, the last lines of what failed, indented. The problems of a
 *   config stand alone, as `file:line:column: ...`, where editors find them.
 * - With --json, on stdout and nothing on stderr: one document `{"error": {code, message, hint, exitCode, lastLines}}`,
 *   for a config with its `problems`. In a stream of JSON lines it is the last line.
 * - What is not a SuperviseError is a bug of ours: exit 70, with the stack.
 */
import type { ErrorCode, ExitCode } from '../core/errors.ts';
import { SuperviseError } from '../core/errors.ts';
import { printable } from './text.ts';
import type { Terminal } from './terminal.ts';

/** Prints the failure; the answer is the exit code. */
export function complain(thrown: unknown, terminal: Terminal, json: boolean): ExitCode {
  const error = thrown instanceof SuperviseError ? thrown : bugOf(thrown);
  const { code, message, hint, exitCode, lastLines } = error;
  const problems = 'problems' in error ? { problems: error.problems } : {};
  if (json) terminal.out(`${JSON.stringify({ error: { code, message, hint, exitCode, lastLines, ...problems } })}\n`);
  else terminal.err(complaintText(error));
  return exitCode;
}

interface Complaint {
  readonly code?: ErrorCode;
  readonly message: string;
  readonly hint: string | null;
  readonly lastLines: readonly string[];
}

export function complaintText({ code, message, hint, lastLines }: Complaint): string {
  const text = manyPrintable(message);
  const lines = [code === 'config-invalid' ? text : `supervise: ${text}`];
  if (hint !== null) lines.push(`hint: ${manyPrintable(hint)}`);
  lines.push(...lastLines.map((line) => `  ${printable(line)}`));
  return `${lines.join('\n')}\n`;
}

function manyPrintable(text: string): string {
  return text.split('\n').map(printable).join('\n');
}

function bugOf(thrown: unknown): SuperviseError {
  const stack = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
  const [first = '', ...rest] = stack.split('\n');
  return new SuperviseError('bug', `this is a bug in supervise: ${first}`, {
    hint: 'please report it with these lines',
    lastLines: rest.map((line) => line.trim()),
  });
}
