/** `capacity`: how well the host is used and what follows, as text, or with --json as it came. Exit 3 without a master. */
import { capacitySpan, type CapacityReport } from '../../core/capacity.ts';
import { ExitCode, SuperviseError } from '../../core/errors.ts';
import { formatDuration, parseDuration } from '../../core/units.ts';
import { capacityText } from '../capacity-text.ts';
import { coloursFor } from '../colours.ts';
import type { Invocation } from '../invocation.ts';
import { textOption } from '../invocation.ts';
import { connectionFor } from '../which.ts';

/** @throws SuperviseError no-master, usage, operation-failed */
export async function capacity(invocation: Invocation): Promise<number> {
  const { terminal, globals } = invocation;
  const lastMs = lastFrom(textOption(invocation, 'last'));
  const { client } = await connectionFor(invocation);
  const json = await client.capacityJson(lastMs);
  if (globals.json) terminal.out(`${json}\n`);
  else terminal.out(capacityText(JSON.parse(json) as CapacityReport, coloursFor(invocation)));
  return ExitCode.ok;
}

function lastFrom(text: string | null): number {
  const { leastMs, mostMs } = capacitySpan;
  if (text === null) return mostMs;
  const parsed = parseDuration(text);
  if (parsed.ok && parsed.value >= leastMs && parsed.value <= mostMs) return parsed.value;
  const hint = parsed.ok || parsed.suggestion === null ? {} : { hint: `did you mean ${parsed.suggestion}?` };
  throw new SuperviseError(
    'usage',
    `--last: expected a duration from ${formatDuration(leastMs)} to ${formatDuration(mostMs)}, as 30m or 24h, found ${text}`,
    hint,
  );
}
