/** The colours of a command's stdout, or none. Loaded by the commands that print tables, never by a start. */
import { createColors } from 'picocolors';
import type { Invocation } from './invocation.ts';
import type { Colours } from './render.ts';
import { colourWish } from './terminal.ts';

export function coloursFor({ globals, terminal }: Invocation): Colours {
  const { green, yellow, red, dim, bold } = createColors(
    colourWish(globals.noColor, terminal.env) ?? terminal.outIsScreen,
  );
  return { green, yellow, red, dim, bold };
}
