/**
 * The commands that ask the master to do something and wait for it: reload, restart, scale, retry, signal. Progress
 * goes to stderr, the result to stdout, with the exit code that the master gave.
 *
 * Ctrl-C ends the wait, never the operation; `reload --timeout` is the master's to keep.
 */
import type { ControlClient, OperationLine, OperationResult } from '../../control/client.ts';
import { exitCodeOf, resultOf } from '../../control/client.ts';
import { ExitCode, SuperviseError } from '../../core/errors.ts';
import type { ScaleChange } from '../../core/protocol.ts';
import { parseDuration } from '../../core/units.ts';
import { complaintText } from '../complaint.ts';
import type { Invocation } from '../invocation.ts';
import { hasOption, textOption } from '../invocation.ts';
import { Progress, showEvent } from '../progress.ts';
import { connectionFor } from '../which.ts';

type Ask = (client: ControlClient, signal: AbortSignal) => AsyncIterable<OperationLine>;

export async function reload(invocation: Invocation): Promise<number> {
  const timeoutMs = timeoutFrom(textOption(invocation, 'timeout'));
  const apps = invocation.args.length === 0 ? null : invocation.args;
  const how = {
    apps,
    ...(hasOption(invocation, 'changed') && { changedOnly: true }),
    ...(timeoutMs !== null && { timeoutMs }),
  };
  return operate(invocation, 'reload', (client, signal) => client.reload(how, { signal }));
}

export async function restart(invocation: Invocation): Promise<number> {
  const [target = ''] = invocation.args;
  return operate(invocation, 'restart', (client, signal) => client.restart(target, { signal }));
}

export async function scale(invocation: Invocation): Promise<number> {
  const [app = '', change = ''] = invocation.args;
  const parsed = scaleChangeFrom(change);
  return operate(invocation, 'scale', (client, signal) => client.scale(app, parsed, { signal }));
}

export async function retry(invocation: Invocation): Promise<number> {
  const [target = null] = invocation.args;
  return operate(invocation, 'retry', (client, signal) => client.retry(target, { signal }));
}

export async function signal(invocation: Invocation): Promise<number> {
  const [target = '', name = ''] = invocation.args;
  return operate(invocation, 'signal', (client, abort) => client.signal(target, name, { signal: abort }));
}

/** `4`, `+2`, `-1`. @throws SuperviseError usage */
export function scaleChangeFrom(text: string): ScaleChange {
  if (!/^[+-]?\d{1,4}$/.test(text))
    throw new SuperviseError('usage', `scale: expected N, +N or -N, found ${text}`, {
      hint: 'as in: supervise scale web +2',
    });
  const number = Number(text);
  return /^[+-]/.test(text) ? { by: number, atLeast: 0 } : { to: number };
}

function timeoutFrom(text: string | null): number | null {
  if (text === null) return null;
  const parsed = parseDuration(text);
  if (parsed.ok && parsed.value > 0) return parsed.value;
  const expected = parsed.ok ? 'a duration above 0' : parsed.expected;
  throw new SuperviseError('usage', `--timeout: expected ${expected}, found ${text}`);
}

async function operate(invocation: Invocation, what: string, ask: Ask): Promise<number> {
  const { client } = await connectionFor(invocation);
  const { terminal, globals } = invocation;
  const progress = new Progress(terminal, globals.quiet);
  const interrupted = new AbortController();
  const interrupt = () => interrupted.abort();
  process.once('SIGINT', interrupt);
  try {
    const result = await resultOf(ask(client, interrupted.signal), (event) => showEvent(progress, event));
    progress.clear();
    return report(result, invocation);
  } catch (error) {
    progress.clear();
    if (!interrupted.signal.aborted) throw error;
    const ended = new SuperviseError('operation-failed', `the wait for the ${what} was ended; the ${what} goes on`, {
      hint: '`supervise status` and `supervise events -f` show it',
    });
    terminal.err(complaintText(ended));
    return interruptedCode;
  } finally {
    process.removeListener('SIGINT', interrupt);
  }
}

/** 128 + SIGINT, as shells have it. */
const interruptedCode = 130;

function report(result: OperationResult, { terminal, globals }: Invocation): number {
  const { ok, message, lastLines } = result;
  const exitCode = exitCodeOf(result);
  if (globals.json) terminal.out(`${JSON.stringify({ ok, exitCode, message, lastLines })}\n`);
  else if (ok) terminal.out(`${message}\n`);
  else terminal.err(complaintText({ message, hint: null, lastLines }));
  return exitCode === ExitCode.ok && !ok ? ExitCode.failed : exitCode;
}
