/**
 * A row of numbers as a row of bars from 0 to `top`, and whether a terminal can show them: where the locale is not UTF-8,
 * bars are made of ASCII.
 */

export type Charset = 'unicode' | 'ascii';

const bars: Readonly<Record<Charset, string>> = { unicode: '▁▂▃▄▅▆▇█', ascii: '_.-:=+*#' };

/** As the C library has it: LC_ALL, then LC_CTYPE, then LANG; the first that is not empty counts. */
export function charsetOf({ LC_ALL, LC_CTYPE, LANG }: Readonly<Record<string, string | undefined>>): Charset {
  return /utf-?8/i.test(LC_ALL || LC_CTYPE || LANG || '') ? 'unicode' : 'ascii';
}

/** One bar a value, lowest for 0, highest from `top` on; a space where nothing is known. */
export function sparkline(values: readonly (number | null)[], top: number, charset: Charset): string {
  const steps = bars[charset];
  const barOf = (value: number) => {
    const share = top > 0 ? Math.min(1, Math.max(0, value / top)) : 0;
    return steps[Math.round(share * (steps.length - 1))];
  };
  return values.map((value) => (value === null ? ' ' : barOf(value))).join('');
}

/** The ASCII bar for a Unicode one; null: it is no bar. */
export function asciiBar(character: string): string | null {
  return bars.ascii[bars.unicode.indexOf(character)] ?? null;
}
