/**
 * `top`: the live dashboard. It needs a terminal at both ends; for everything else there are `status --watch`,
 * `status --json` and `events -f`.
 */
import { isatty } from 'node:tty';
import { SuperviseError } from '../../core/errors.ts';
import type { Invocation } from '../invocation.ts';
import { charsetOf } from '../sparkline.ts';
import { colourWish } from '../terminal.ts';
import { Dashboard } from '../top/dashboard.ts';
import { connectionFor } from '../which.ts';

/** @throws SuperviseError usage without a terminal; no-master when none runs at the start */
export async function top(invocation: Invocation): Promise<number> {
  const { globals, terminal } = invocation;
  if (globals.json || !terminal.outIsScreen || !isatty(0)) {
    const found = globals.json ? '--json' : 'none, or one that cannot be drawn on (TERM=dumb, CI=true)';
    throw new SuperviseError('usage', `top: expected a terminal to draw on and to read keys from, found ${found}`, {
      hint: '`supervise status --watch` shows the same again and again, `status --json` and `events -f --json` are for programs',
    });
  }
  const { client } = await connectionFor(invocation);
  const styles = colourWish(globals.noColor, terminal.env) === false ? 'none' : 'coloured';
  return new Dashboard(client, { charset: charsetOf(terminal.env), styles }).run();
}
