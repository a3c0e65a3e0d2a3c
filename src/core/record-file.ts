/**
 * How records of exits lie in a file: one line of JSON each. A line that cannot be told of (torn by a power cut, of another
 * version, with a cause or a field that is unknown here) is passed over.
 */
import { causes } from './protocol.ts';
import type { ExitRecord, Next } from './record.ts';

/** Without the closing newline. App and worker stand near the head: a reader may look for them before it parses. */
export function recordLine(record: ExitRecord): string {
  const { at, app, worker, ...rest } = record;
  return JSON.stringify({ at, app, worker, ...rest });
}

/**
 * The last `n` records of the lines of a file that belong to an app or (`worker`) to one worker, newest first. Lines that
 * are no records are passed over.
 */
export function recordsIn(
  lines: readonly string[],
  target: { readonly app: string; readonly worker: string | null },
  n: number,
): readonly ExitRecord[] {
  const { app, worker } = target;
  const key = worker === null ? `"app":${JSON.stringify(app)}` : `"worker":${JSON.stringify(worker)}`;
  const found: ExitRecord[] = [];
  for (let at = lines.length - 1; at >= 0 && found.length < n; at--) {
    const line = lines[at] ?? '';
    const record = line.includes(key) ? parseRecord(line) : null;
    if (record !== null && (worker === null ? record.app === app : record.worker === worker)) found.push(record);
  }
  return found;
}

/** The apps of which there are records, in the order of their first. */
export function appsIn(lines: readonly string[]): readonly string[] {
  const names = new Set<string>();
  for (const line of lines) {
    const name = /^\{"at":"[^"]*","app":("(?:[^"\\]|\\.)*")/.exec(line)?.[1];
    if (name !== undefined) names.add(JSON.parse(name) as string);
  }
  return [...names];
}

/** null: the line is torn, or not one that this version can tell of: a cause or a field is unknown to it. */
export function parseRecord(line: string): ExitRecord | null {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return null;
  }
  // Older versions knew no spares.
  const record: unknown = typeof value === 'object' ? { spare: null, ...value } : value;
  return isRecord(record) ? record : null;
}

// ---------------------------------------------------------------- is it one of ours?

type Check = (value: unknown) => boolean;
type Fields<T> = { readonly [Field in keyof T]-?: Check };

const isText: Check = (value) => typeof value === 'string';
const isNumber: Check = (value) => typeof value === 'number';
const orNull =
  (check: Check): Check =>
  (value) =>
    value === null || check(value);
const isListOf =
  (check: Check): Check =>
  (value) =>
    Array.isArray(value) && value.every(check);
const has =
  (fields: Readonly<Record<string, Check>>): Check =>
  (value) =>
    typeof value === 'object' &&
    value !== null &&
    Object.entries(fields).every(([field, check]) => check((value as Record<string, unknown>)[field]));

const nextFields: { readonly [Type in Next['type']]: Fields<Omit<Extract<Next, { type: Type }>, 'type'>> } = {
  restarted: {},
  backoff: { delayMs: isNumber, crashes: isNumber },
  failed: { delayMs: orNull(isNumber), crashes: isNumber },
  completed: {},
  stopped: { by: orNull(isText) },
};

const isNext: Check = (value) => {
  const type = (value as { type?: unknown } | null | undefined)?.type;
  return typeof type === 'string' && Object.hasOwn(nextFields, type) && has(nextFields[type as Next['type']])(value);
};

const recordFields: Fields<ExitRecord> = {
  at: isText,
  app: isText,
  worker: isText,
  slot: isNumber,
  pid: orNull(isNumber),
  revision: isNumber,
  cause: (value) => (causes as readonly unknown[]).includes(value),
  code: orNull(isNumber),
  signal: orNull(isText),
  error: orNull(isText),
  oom: orNull(isText),
  reason: orNull(isText),
  uptimeMs: isNumber,
  readyMs: orNull(isNumber),
  restarts: isNumber,
  spare: orNull(isText),
  lastLines: isListOf(isText),
  curve: isListOf(has({ beforeMs: isNumber, memoryBytes: isNumber, cpuPercent: orNull(isNumber) })),
  next: isNext,
};

const isRecord = has(recordFields) as (value: unknown) => value is ExitRecord;
