/** What the flags and the environment mean for a master, or for hooks, that run in this process. */
import type { StartOptions } from '../index.ts';
import type { Invocation } from './invocation.ts';
import { textOption } from './invocation.ts';
import { colourWish } from './terminal.ts';

export function startOptions(invocation: Invocation, reread: StartOptions['reread']): StartOptions {
  const { globals, terminal } = invocation;
  const logFile = textOption(invocation, 'logFile');
  return {
    quiet: globals.quiet,
    color: colourWish(globals.noColor, terminal.env),
    reread,
    ...(logFile === null ? {} : { logFile }),
  };
}
