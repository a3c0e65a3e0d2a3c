/** `status`: the snapshot as a table, or with --json as it came. Exit 3 without a master. */
import { setTimeout as sleep } from 'node:timers/promises';
import { ExitCode } from '../../core/errors.ts';
import type { Snapshot } from '../../core/protocol.ts';
import { coloursFor } from '../colours.ts';
import type { Invocation } from '../invocation.ts';
import { hasOption } from '../invocation.ts';
import { statusText } from '../render.ts';
import { connectionFor } from '../which.ts';

const everyMs = 1000;

/** @throws SuperviseError no-master, operation-failed */
export async function status(invocation: Invocation): Promise<number> {
  const { client } = await connectionFor(invocation);
  const { terminal, globals } = invocation;
  const colours = coloursFor(invocation);
  const watch = hasOption(invocation, 'watch');
  const redraw = watch && terminal.outIsScreen && !globals.json;
  for (;;) {
    const json = await client.statusJson();
    const text = globals.json ? `${json}\n` : statusText(JSON.parse(json) as Snapshot, colours);
    // home, the text, then clear what is left of the screen before: no flicker
    terminal.out(redraw ? `\u001b[H${text.replaceAll('\n', '\u001b[K\n')}\u001b[J` : text);
    if (!watch) return ExitCode.ok;
    await sleep(everyMs);
    if (!redraw && !globals.json) terminal.out('\n');
  }
}
