/** `hooks`: what the running master's hooks did. `hooks run`: the pre-start hooks alone, in this process. */
import { ExitCode, SuperviseError } from '../../core/errors.ts';
import type { Invocation } from '../invocation.ts';

/** @throws SuperviseError no-master, operation-failed; usage for another action */
export async function hooks(invocation: Invocation): Promise<number> {
  const [action] = invocation.args;
  if (action === undefined) return show(invocation);
  if (action === 'run') return runThem(invocation);
  throw new SuperviseError('usage', `hooks: expected nothing or run, found ${action}`, {
    hint: '`supervise help hooks` shows how it is used',
  });
}

async function show(invocation: Invocation): Promise<number> {
  const { connectionFor } = await import('../which.ts');
  const { client } = await connectionFor(invocation);
  const results = await client.hooks();
  const { terminal, globals } = invocation;
  if (globals.json) {
    terminal.out(`${JSON.stringify({ hooks: results })}\n`);
    return ExitCode.ok;
  }
  const { coloursFor } = await import('../colours.ts');
  const { hooksText } = await import('../render.ts');
  terminal.out(hooksText(results, coloursFor(invocation)));
  return ExitCode.ok;
}

async function runThem(invocation: Invocation): Promise<number> {
  const { readConfig } = await import('../config.ts');
  const { loaded } = await readConfig({ ...invocation, args: [] });
  const { runHooks } = await import('../../index.ts');
  const { startOptions } = await import('../start-options.ts');
  return runHooks(loaded.spec, startOptions(invocation, null));
}
