/**
 * Human units and numbers. Config and flags are read with the parse functions, output is written with the format
 * functions; everywhere else a number carries its unit in its name.
 *
 * | kind | written as | number |
 * | --- | --- | --- |
 * | duration | 250ms, 30s, 1m30s, 1.5h, 2d, 0 | milliseconds |
 * | size | 512MB, 1.5GiB, 64k, 0 | bytes; every unit counts in 1024, as memory limits do everywhere |
 * | percent | 80% | 0.8 |
 *
 * A number without a unit is refused, for nobody can tell what was meant; only 0 needs none.
 */

/** What a text in human units stands for, or what was expected instead of it. */
export type Parsed =
  | { readonly ok: true; readonly value: number }
  | { readonly ok: false; readonly expected: string; readonly suggestion: string | null };

const durationUnitsMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

const sizeUnitsBytes: Readonly<Record<string, number>> = { b: 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 };

/** The regular expression that a written duration matches; also for the JSON Schema. */
export const durationPattern = String.raw`^(0|(\d+(\.\d+)?(ms|s|m|h|d) ?)+)$`;

/** The regular expression that a size matches; also for the JSON Schema. */
export const sizePattern = String.raw`^(0|\d+(\.\d+)? ?([bB]|[kKmMgGtT]([iI]?[bB]?)))$`;

/** The regular expression that a percentage matches; also for the JSON Schema. */
export const percentPattern = String.raw`^\d+(\.\d+)?%$`;

/** `1m30s` -> 90000. The parts may stand in any order, but each unit once. */
export function parseDuration(text: string): Parsed {
  const expected = 'a duration such as 250ms, 30s, 5m or 1m30s';
  const written = text.trim();
  if (written === '0') return { ok: true, value: 0 };
  if (!new RegExp(durationPattern).test(written)) {
    return { ok: false, expected, suggestion: isBareNumber(written) ? `${written}s` : null };
  }
  const parts = [...written.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)];
  if (new Set(parts.map(([, , unit]) => unit)).size < parts.length) return { ok: false, expected, suggestion: null };
  const totalMs = parts.reduce(
    (sumMs, [, count, unit = '']) => sumMs + Number(count) * (durationUnitsMs[unit] ?? 0),
    0,
  );
  return { ok: true, value: Math.round(totalMs) };
}

/** `512MB`, `512MiB`, `512M` and `512Mi` -> 536870912: all the same, and upper or lower case. */
export function parseSize(text: string): Parsed {
  const expected = 'a size such as 512MB or 1.5GiB';
  const written = text.trim();
  if (written === '0') return { ok: true, value: 0 };
  const [, count, unit] = /^(\d+(?:\.\d+)?) ?(b|[kmgt](?:i?b?))$/i.exec(written) ?? [];
  if (count === undefined || unit === undefined) {
    return { ok: false, expected, suggestion: isBareNumber(written) ? `${written}MB` : null };
  }
  const scaleBytes = sizeUnitsBytes[unit.slice(0, 1).toLowerCase()] ?? 1;
  return { ok: true, value: Math.round(Number(count) * scaleBytes) };
}

/** `80%` -> 0.8; within the two bounds, which are percentages. */
export function parsePercent(text: string, least = 0, most = 100): Parsed {
  const written = text.trim();
  const percent = new RegExp(percentPattern).test(written) ? Number(written.slice(0, -1)) : Number.NaN;
  if (percent >= least && percent <= most) return { ok: true, value: percent / 100 };
  return {
    ok: false,
    expected: `a percentage from ${least}% to ${most}%`,
    suggestion: isBareNumber(written) ? `${asPercent(Number(written))}%` : null,
  };
}

/** 0.7 was meant to be a share, 70 a percentage. */
function asPercent(bare: number): string {
  return bare > 0 && bare <= 1 ? trimmed(bare * 100, 2) : String(bare);
}

/**
 * 250 -> `250ms`, 4200 -> `4.2s`, 90000 -> `1m30s`, 7260000 -> `2h1m`: two units at most, so longer times are rounded.
 * What it writes can be read with parseDuration.
 */
export function formatDuration(durationMs: number): string {
  const wholeMs = Math.max(0, Math.round(durationMs));
  if (wholeMs === 0) return '0s';
  if (wholeMs < 1000) return `${wholeMs}ms`;
  if (wholeMs < 59_950) return `${trimmed(wholeMs / 1000, 1)}s`;
  if (wholeMs < 3_599_500) return twoUnits(Math.round(wholeMs / 1000), ['m', 's'], 60);
  if (wholeMs < 86_370_000) return twoUnits(Math.round(wholeMs / 60_000), ['h', 'm'], 60);
  return twoUnits(Math.round(wholeMs / 3_600_000), ['d', 'h'], 24);
}

/** 48234496 -> `46MB`, 1610612736 -> `1.5GB`: one decimal below 100. What it writes can be read with parseSize. */
export function formatBytes(sizeBytes: number): string {
  let value = Math.max(0, sizeBytes);
  if (value < 1024) return `${Math.round(value)}B`;
  let unit = '';
  for (const next of ['KB', 'MB', 'GB', 'TB']) {
    value /= 1024;
    unit = next;
    // 1023.6 would be shown as 1024 of this unit: that is 1 of the next
    if (value < 1023.5) break;
  }
  return `${trimmed(value, value < 99.95 ? 1 : 0)}${unit}`;
}

/** 0.805 -> `81%`, 0.005 -> `0.5%`. What it writes can be read with parsePercent. */
export function formatPercent(share: number): string {
  const percent = Math.max(0, share * 100);
  return `${trimmed(percent, percent < 9.95 ? 1 : 0)}%`;
}

/** `1 worker`, `2 workers`, `3 crashes` */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

function twoUnits(count: number, [large, small]: readonly [string, string], perLarge: number): string {
  const rest = count % perLarge;
  return `${Math.floor(count / perLarge)}${large}${rest === 0 ? '' : `${rest}${small}`}`;
}

function trimmed(value: number, decimals: number): string {
  return String(Number(value.toFixed(decimals)));
}

function isBareNumber(text: string): boolean {
  return /^\d+(\.\d+)?$/.test(text);
}
