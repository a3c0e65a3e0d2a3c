/**
 * `why`: why an app or a worker is as it is, and how its last processes ended. When no master runs it reads what the last
 * one has left in STATE, and says so: exit 0 when there is a record, else 3.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ExitCode, SuperviseError } from '../../core/errors.ts';
import { recordsName, stateDirectory } from '../../core/paths.ts';
import { appsIn, recordsIn } from '../../core/record-file.ts';
import type { Why } from '../../core/record.ts';
import { coloursFor } from '../colours.ts';
import type { Invocation } from '../invocation.ts';
import { textOption } from '../invocation.ts';
import { connectionFor, thisUser, wantedName } from '../which.ts';
import { whyText } from '../why-text.ts';

const defaultExits = 5;
const mostExits = 1000;

/** @throws SuperviseError no-master, usage, unknown-target, operation-failed */
export async function why(invocation: Invocation): Promise<number> {
  const { terminal, globals, args } = invocation;
  const n = exitsFrom(textOption(invocation, 'exits'));
  const target = args[0] ?? '';
  const json = await askOrRead(invocation, target, n);
  if (globals.json) terminal.out(`${json}\n`);
  else terminal.out(whyText(JSON.parse(json) as Why, coloursFor(invocation)));
  return ExitCode.ok;
}

async function askOrRead(invocation: Invocation, target: string, n: number): Promise<string> {
  try {
    const { client } = await connectionFor(invocation);
    return await client.whyJson(target, n);
  } catch (error) {
    if (!(error instanceof SuperviseError) || error.code !== 'no-master') throw error;
    return JSON.stringify(readLeft(target, n, { name: await wantedName(invocation.globals), error }));
  }
}

/** What the last master has left. @throws SuperviseError no-master when that is nothing about this target; usage when it is not clear whose to read */
function readLeft(target: string, n: number, asked: { name: string | null; error: SuperviseError }): Why {
  const file = recordsFile(asked.name);
  const lines = file === null ? [] : linesOf(file);
  const dot = target.indexOf('.');
  const records = recordsIn(
    lines,
    { app: dot < 0 ? target : target.slice(0, dot), worker: dot < 0 ? null : target },
    n,
  );
  if (records.length > 0) return { target, running: false, workers: [], records };
  if (lines.length === 0) throw asked.error;
  throw new SuperviseError('no-master', `no master runs, and ${file} has no record of ${target}`, {
    hint: `known there: ${appsIn(lines).join(', ') || 'nothing'}`,
  });
}

/** Of the master of that name; null: of the only one that has left any. */
function recordsFile(name: string | null): string | null {
  const user = thisUser();
  if (name !== null) return join(stateDirectory(name, user), recordsName);
  const parent = stateDirectory('', user);
  const found = [parent, ...entries(parent).map((entry) => join(parent, entry))]
    .map((directory) => join(directory, recordsName))
    .filter((file) => linesOf(file).length > 0);
  if (found.length < 2) return found[0] ?? null;
  throw new SuperviseError('usage', `no master runs, and several have left records: ${found.join(', ')}`, {
    hint: 'choose one with --name',
  });
}

function entries(directory: string): readonly string[] {
  try {
    return readdirSync(directory).toSorted();
  } catch {
    return [];
  }
}

function linesOf(file: string): readonly string[] {
  try {
    return readFileSync(file, 'utf8').split('\n');
  } catch {
    return [];
  }
}

function exitsFrom(text: string | null): number {
  if (text === null) return defaultExits;
  const n = /^\d{1,4}$/.test(text) ? Number(text) : Number.NaN;
  if (n <= mostExits) return n;
  throw new SuperviseError('usage', `--exits: expected a whole number from 0 to ${mostExits}, found ${text}`);
}
