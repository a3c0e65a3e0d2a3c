/** Starting real processes from tests, and asking /proc what is left of them. Everything is ended by its pid. */
import assert from 'node:assert/strict';
import type { ChildProcess, SpawnOptions } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

/** The folder of the compiled modules, for fixtures that import them. */
export const systemFolder = new URL('../../src/system', import.meta.url).href;

export function fixture(name: string): string {
  return join(process.cwd(), 'test/fixtures', name);
}

/** Killed when the test ends. */
export function start(
  t: TestContext,
  command: readonly string[],
  options: SpawnOptions = {},
): ChildProcess & { readonly pid: number } {
  const [program = '', ...words] = command;
  const child = spawn(program, words, { stdio: ['ignore', 'pipe', 'ignore'], ...options });
  t.after(() => {
    child.kill('SIGKILL');
  });
  assert.ok(child.pid !== undefined, `${program} was not started`);
  return child as ChildProcess & { readonly pid: number };
}

/** Lines of its standard output, one call each; empty when it has ended and there is no more. */
export function linesOf(child: ChildProcess): () => Promise<string> {
  let text = '';
  assert.ok(child.stdout !== null);
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  return async () => {
    await until(() => text.includes('\n') || isOver(child), `a line of ${child.spawnargs.join(' ').slice(0, 100)}`);
    const [line = '', ...rest] = text.split('\n');
    text = rest.join('\n');
    return line;
  };
}

function isOver(child: ChildProcess): boolean {
  return child.stdout?.readableEnded === true;
}

export async function until(condition: () => boolean, what: string, withinMs = 15_000): Promise<void> {
  for (const deadline = Date.now() + withinMs; !condition(); await sleep(10)) {
    assert.ok(Date.now() < deadline, `waited ${withinMs} ms for ${what}`);
  }
}

export async function killed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}

export function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

/** Live processes whose environment has exactly this `NAME=value`. */
export function processesWith(variable: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return isAlive(pid) && readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(variable);
      } catch {
        return false;
      }
    });
}

export function commandLine(pid: number): string {
  return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').join(' ').trim();
}

/** Removed when the test ends. */
export function temporaryDirectory(t: TestContext): string {
  const directory = realpathSync(mkdtempSync(join(tmpdir(), 'supervise-test-')));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}
