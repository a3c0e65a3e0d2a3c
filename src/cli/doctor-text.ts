/** The findings of `doctor` for people: one line each, and below it what to do. */
import type { Diagnosis, FindingLevel } from '../core/doctor.ts';
import type { Colours } from './render.ts';
import { counted } from '../core/units.ts';
import { printable } from './text.ts';

/** @param quiet without what is fine */
export function doctorText({ findings }: Diagnosis, colours: Colours, quiet: boolean): string {
  const paint: Readonly<Record<FindingLevel, (text: string) => string>> = {
    ok: colours.green,
    note: colours.yellow,
    problem: colours.red,
  };
  const width = Math.max(...findings.map(({ check }) => check.length));
  const lines = findings
    .filter(({ level }) => !quiet || level !== 'ok')
    .flatMap(({ check, level, message, advice }) => [
      `${paint[level](level.padEnd(7))}  ${check.padEnd(width)}  ${printable(message)}`,
      ...(advice === null ? [] : [`${' '.repeat(width + 11)}${colours.dim(printable(advice))}`]),
    ]);
  const count = (level: FindingLevel) => findings.filter((one) => one.level === level).length;
  return [...lines, `${counted(count('problem'), 'problem')}, ${counted(count('note'), 'note')}`, ''].join('\n');
}
