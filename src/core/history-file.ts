/**
 * How the day lies in a file: one JSON document, a point as a row of numbers that begins with its minute.
 *
 *   {"version":1,"usableCpus":2,"host":[[29453760,41.2,80.5,402653184,411041792,null,null,null], ...],"apps":{"web":[...]}}
 *
 * What is no such document (torn, of another version, with a row that is none) is an error that says what is wrong with it:
 * half a history would look like a gap.
 */
import { dayMinutes, minuteMs, minuteOf, type HistoryPoint, type StoredHistory } from './history.ts';

const version = 1;

export function historyText({ usableCpus, host, apps }: StoredHistory): string {
  const rows = (points: readonly HistoryPoint[]) => points.map(rowOf);
  const byApp = Object.fromEntries([...apps].map(([name, points]) => [name, rows(points)]));
  return `${JSON.stringify({ version, usableCpus, host: rows(host), apps: byApp })}\n`;
}

/** @throws Error what is wrong with it */
export function parseHistory(text: string): StoredHistory {
  const value = JSON.parse(text) as Partial<Record<'version' | 'usableCpus' | 'host' | 'apps', unknown>> | null;
  if (value?.version !== version) throw new Error(`expected version ${version}, found ${String(value?.version)}`);
  const { usableCpus, host, apps } = value;
  if (typeof apps !== 'object' || apps === null || Array.isArray(apps)) throw new Error('expected an object as "apps"');
  return {
    usableCpus: typeof usableCpus === 'number' && usableCpus > 0 ? usableCpus : null,
    host: pointsOf(host, 'host'),
    apps: new Map(Object.entries(apps).map(([name, rows]) => [name, pointsOf(rows, name)])),
  };
}

function rowOf(point: HistoryPoint): readonly (number | null)[] {
  const { cpuPercent, cpuMaxPercent, memoryBytes, memoryMaxBytes, queue, ready, goal } = point;
  return [minuteOf(point.atMs), cpuPercent, cpuMaxPercent, memoryBytes, memoryMaxBytes, queue, ready, goal];
}

function pointsOf(rows: unknown, of: string): readonly HistoryPoint[] {
  if (!Array.isArray(rows) || rows.length > dayMinutes)
    throw new Error(`expected a list of at most ${dayMinutes} rows for ${of}`);
  return rows.map((row: unknown, at) => {
    const point = isRow(row) ? pointOf(row) : null;
    if (point === null) throw new Error(`expected a minute and seven numbers in row ${at + 1} of ${of}`);
    return point;
  });
}

function pointOf(row: readonly (number | null)[]): HistoryPoint | null {
  const [minute, cpuPercent, cpuMaxPercent, memoryBytes, memoryMaxBytes, queue, ready, goal] = row;
  if (minute === null || minute === undefined || goal === undefined || !Number.isInteger(minute)) return null;
  const known = { cpuPercent: cpuPercent!, cpuMaxPercent: cpuMaxPercent!, memoryBytes: memoryBytes! };
  return { atMs: minute * minuteMs, ...known, memoryMaxBytes: memoryMaxBytes!, queue: queue!, ready: ready!, goal };
}

function isRow(row: unknown): row is readonly (number | null)[] {
  const isNumber = (one: unknown): boolean => one === null || (typeof one === 'number' && one >= 0);
  return Array.isArray(row) && row.length === 8 && row.every(isNumber);
}
