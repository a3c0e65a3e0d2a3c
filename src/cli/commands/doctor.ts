/**
 * `doctor`: what this host has and lacks for supervise, and what stands in the way of a start. Exit 1 when something is a
 * problem. A broken config, or none, is one finding among others.
 */
import { note, ok, problem, type Finding } from '../../core/doctor.ts';
import { ExitCode, SuperviseError } from '../../core/errors.ts';
import type { Spec } from '../../core/spec.ts';
import { coloursFor } from '../colours.ts';
import { readConfig } from '../config.ts';
import { doctorText } from '../doctor-text.ts';
import type { Invocation } from '../invocation.ts';
import { wantedName } from '../which.ts';
import { summaryOf } from './check.ts';

/** @throws SuperviseError usage */
export async function doctor(invocation: Invocation): Promise<number> {
  const { terminal, globals } = invocation;
  const { spec, finding } = await lookAtConfig(invocation);
  const { examine } = await import('../../index.ts');
  const result = await examine({ spec, name: spec?.name ?? (await nameOrNull(invocation)), findings: [finding] });
  if (globals.json) terminal.out(`${JSON.stringify(result)}\n`);
  else terminal.out(doctorText(result, coloursFor(invocation), globals.quiet));
  return result.ok ? ExitCode.ok : ExitCode.failed;
}

async function lookAtConfig(invocation: Invocation): Promise<{ spec: Spec | null; finding: Finding }> {
  try {
    const { loaded, file } = await readConfig({ ...invocation, afterDashes: null });
    const { spec } = loaded;
    return { spec, finding: ok('config', `${file}: valid (${summaryOf(spec)})`) };
  } catch (error) {
    if (!(error instanceof SuperviseError)) throw error;
    return { spec: null, finding: findingOf(error, invocation) };
  }
}

function findingOf(error: SuperviseError, { globals }: Invocation): Finding {
  if (error.code === 'config-invalid') {
    const [first = '', ...more] = error.message.split('\n');
    const others = more.length === 0 ? '' : `, and ${more.length} more`;
    return problem(
      'config',
      `${first}${others}`,
      '`supervise check` shows all of it; ports and limits were not held against it',
    );
  }
  if (error.code !== 'config-not-found') throw error;
  const advice = 'name one with -c FILE to have its ports and its needs looked at';
  // One that was named has to be there.
  return globals.config === null ? note('config', error.message, advice) : problem('config', error.message, advice);
}

/** A config that is broken elsewhere may still say its name. */
async function nameOrNull({ globals }: Invocation): Promise<string | null> {
  try {
    return await wantedName(globals);
  } catch {
    return null;
  }
}
