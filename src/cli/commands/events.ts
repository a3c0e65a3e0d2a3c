/** `events`: what happened, one line each; with -f also what comes, until the master ends. */
import { ExitCode } from '../../core/errors.ts';
import { coloursFor } from '../colours.ts';
import { eventText } from '../event-text.ts';
import type { Invocation } from '../invocation.ts';
import { hasOption } from '../invocation.ts';
import { connectionFor } from '../which.ts';

/** @throws SuperviseError no-master, operation-failed */
export async function events(invocation: Invocation): Promise<number> {
  const { client } = await connectionFor(invocation);
  const { terminal, globals } = invocation;
  const colours = coloursFor(invocation);
  for await (const event of client.events({ since: 0, follow: hasOption(invocation, 'follow') })) {
    terminal.out(`${globals.json ? JSON.stringify(event) : eventText(event, colours)}\n`);
  }
  return ExitCode.ok;
}
