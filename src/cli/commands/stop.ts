/**
 * `stop`: asks the master to stop and waits until it is gone: its socket, then its process. Without a master there is
 * nothing to stop: exit 0. Exit 1 only if something is left. A master that does not answer is killed by --now: its guard
 * ends the workers.
 */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ControlClient, OperationResult } from '../../control/client.ts';
import { resultOf } from '../../control/client.ts';
import { ExitCode, SuperviseError } from '../../core/errors.ts';
import type { Invocation } from '../invocation.ts';
import { hasOption } from '../invocation.ts';
import { isGone, markOf } from '../process-mark.ts';
import type { ProcessMark } from '../process-mark.ts';
import { Progress, showEvent } from '../progress.ts';
import type { Connection } from '../which.ts';
import { connectionFor } from '../which.ts';

/** How long a master may take from the end of its socket to its own end. */
const lastStepsMs = 15_000;

/** @throws SuperviseError operation-failed; usage when several masters run */
export async function stop(invocation: Invocation): Promise<number> {
  const { terminal, globals } = invocation;
  const connection = await connectionOrNull(invocation);
  if (connection === null) return say(invocation, 'no master runs: nothing to stop');
  const { client, name } = connection;
  const progress = new Progress(terminal, globals.quiet);
  const how = hasOption(invocation, 'now') ? 'now' : 'graceful';
  try {
    const mark = await markFor(client);
    const result = await ask(client, how, progress);
    progress.update(`${name}: the last steps of the master`);
    await untilGone(client, mark);
    progress.clear();
    if (result !== null && !result.ok)
      throw new SuperviseError('operation-failed', result.message, { lastLines: result.lastLines });
  } catch (error) {
    if (how !== 'now' || !isSilence(error)) throw error;
    await killSilent(client);
    progress.clear();
    return say(invocation, `${name} did not answer and was killed; its guard ends the workers`);
  } finally {
    progress.clear();
  }
  return say(invocation, `${name} has stopped`);
}

function isSilence(error: unknown): boolean {
  return error instanceof SuperviseError && error.code === 'no-answer';
}

/** @throws SuperviseError operation-failed when nobody can say which process it is, or it does not die */
async function killSilent(client: ControlClient): Promise<void> {
  const pidFile = join(dirname(client.socketPath), 'supervise.pid');
  const pid = Number(orNothing(() => readFileSync(pidFile, 'utf8')));
  const mark = Number.isInteger(pid) && pid > 1 ? markOf(pid) : null;
  if (mark === null) {
    throw new SuperviseError(
      'operation-failed',
      `the master does not answer, and ${pidFile} does not say which process it is`,
      {
        hint: 'find its pid (ps, systemctl status) and kill it; its guard ends the workers',
      },
    );
  }
  process.kill(pid, 'SIGKILL');
  await untilGone(client, mark);
}

function orNothing(read: () => string): string {
  try {
    return read();
  } catch {
    return '';
  }
}

function say({ terminal, globals }: Invocation, message: string): number {
  terminal.out(
    globals.json ? `${JSON.stringify({ ok: true, exitCode: 0, message, lastLines: [] })}\n` : `${message}\n`,
  );
  return ExitCode.ok;
}

async function connectionOrNull(invocation: Invocation): Promise<Connection | null> {
  try {
    return await connectionFor(invocation);
  } catch (error) {
    if (error instanceof SuperviseError && error.code === 'no-master') return null;
    throw error;
  }
}

/** null when the master ended at this moment. */
function markFor(client: ControlClient): Promise<ProcessMark | null> {
  return unlessGone(client, async () => markOf((await client.status()).pid));
}

/** null: the connection was cut before a result came, which is how a master that is killed ends. */
function ask(client: ControlClient, how: 'graceful' | 'now', progress: Progress): Promise<OperationResult | null> {
  return unlessGone(client, () => resultOf(client.stop(how), (event) => showEvent(progress, event)));
}

/** A failure that comes from the master's end is none. */
async function unlessGone<T>(client: ControlClient, act: () => Promise<T>): Promise<T | null> {
  try {
    return await act();
  } catch (error) {
    if (isSilence(error) || (await answersAgain(client))) throw error;
    return null;
  }
}

async function untilGone(client: ControlClient, mark: ProcessMark | null): Promise<void> {
  const endMs = performance.now() + lastStepsMs;
  while ((await ping(client)) !== 'gone' || (mark !== null && !isGone(mark))) {
    if (performance.now() > endMs) {
      const pid = mark === null ? '' : ` (pid ${mark.pid})`;
      throw new SuperviseError(
        'operation-failed',
        `the master${pid} has stopped everything but is still there after ${lastStepsMs / 1000} s`,
        { hint: 'kill it with: supervise stop --now, or kill -9' },
      );
    }
    await sleep(20);
  }
}

/** A process that is ending may take a connection and cut it: that is asked again for a second. */
async function answersAgain(client: ControlClient): Promise<boolean> {
  for (let tries = 0; tries < 50; tries++) {
    const answer = await ping(client);
    if (answer !== 'cut') return answer === 'answers';
    await sleep(20);
  }
  return true;
}

async function ping(client: ControlClient): Promise<'answers' | 'cut' | 'gone'> {
  try {
    await client.hooks();
    return 'answers';
  } catch (error) {
    if (isSilence(error)) throw error;
    return error instanceof SuperviseError && error.code === 'no-master' ? 'gone' : 'cut';
  }
}
