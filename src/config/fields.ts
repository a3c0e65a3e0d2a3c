/**
 * The kinds of values that the schema is made of. Each is a zod schema of the value as it is written (a duration stays
 * "30s"), judged by the same parser that turns it into a number later, and says in words what it expects. What a
 * later version will understand is known here too, and refused as "not supported yet".
 */
import { constants } from 'node:os';
import * as z from 'zod/mini';
import type { Signal } from '../core/spec.ts';
import {
  durationPattern,
  formatBytes,
  formatDuration,
  parseDuration,
  parsePercent,
  parseSize,
  percentPattern,
  sizePattern,
  type Parsed,
} from '../core/units.ts';
import { nearest } from './problems.ts';

// zod would otherwise compile its checks with `new Function`
z.config({ jitless: true });

/**
 * What is wrong with a value: `expected X, found Y. Hint`, where Y is what was written unless `found` says it better;
 * or the value is one of a later version, and `unsupported` says what to do instead.
 */
export type Wrong =
  | { readonly expected: string; readonly found?: string; readonly hint?: string }
  | { readonly unsupported: string };

/** Durations end before the longest delay of a timer of Node (2^31 - 1 ms). */
const longestMs = 24 * 86_400_000;

/** What goes into the JSON Schema as it is. */
type Json = Readonly<Record<string, unknown>>;

/**
 * A check that reports what is wrong, if anything. Schemas are made with their checks: adding one later copies the
 * schema, and the start-up time of every command pays for it.
 */
export function judged<T>(judge: (value: T) => Wrong | null): z.core.$ZodCheck<T> {
  return z.check<T>((context) => {
    const wrong = judge(context.value);
    if (wrong === null) return;
    const message = 'expected' in wrong ? wrong.expected : 'not supported yet';
    context.issues.push({ code: 'custom', input: context.value, message, params: { ...wrong } });
  });
}

function withJson<Schema extends z.core.$ZodType>(schema: Schema, json: Json): Schema {
  z.globalRegistry.add(schema, json);
  return schema;
}

/** A text that `judge` accepts by answering null. */
export function text(expected: string, judge: (text: string) => Wrong | null, json: Json = {}): z.ZodMiniString {
  return withJson(new z.ZodMiniString({ type: 'string', error: () => expected, checks: [judged(judge)] }), json);
}

/** Any text, also the empty one. `json` may widen its type: scalars of other kinds are taken as they are written. */
export function anyText(expected: string, json: Json = {}): z.ZodMiniString {
  return withJson(z.string({ error: expected }), json);
}

/** Any text but the empty one. */
export function filled(expected: string) {
  return text(expected, (value) => (value.trim() === '' ? { expected } : null), { minLength: 1 });
}

/** A text that matches `pattern`. */
export function shaped(expected: string, pattern: RegExp) {
  return text(expected, (value) => (pattern.test(value) ? null : { expected }), { pattern: pattern.source });
}

export function duration(least: 'above zero' | 'zero' | { readonly ms: number } = 'zero') {
  const leastMs = least === 'zero' ? 0 : least === 'above zero' ? 1 : least.ms;
  return text(
    'a duration such as 250ms, 30s, 5m or 1m30s',
    (value) => {
      const parsed = parseDuration(value);
      if (!parsed.ok) return wrongUnit(parsed);
      if (parsed.value > longestMs) return { expected: 'a duration of at most 24d' };
      if (parsed.value >= leastMs) return null;
      return { expected: leastMs === 1 ? 'a duration above 0' : `a duration of at least ${formatDuration(leastMs)}` };
    },
    { pattern: durationPattern },
  );
}

/** A size of at least `leastBytes`, or 0 where that means something. */
export function size(leastBytes: number, orZero = false) {
  const expected = `a size of at least ${formatBytes(leastBytes)}${orZero ? ', or 0' : ''}`;
  return text(
    'a size such as 512MB or 1.5GiB',
    (value) => {
      const parsed = parseSize(value);
      if (!parsed.ok) return wrongUnit(parsed);
      return parsed.value >= leastBytes || (orZero && parsed.value === 0) ? null : { expected };
    },
    { pattern: sizePattern },
  );
}

/** A percentage within two bounds, which are percentages themselves. */
export function percent(least: number, most: number) {
  return text(
    `a percentage from ${least}% to ${most}%`,
    (value) => {
      const parsed = parsePercent(value, least, most);
      return parsed.ok ? null : wrongUnit(parsed);
    },
    { pattern: percentPattern },
  );
}

function wrongUnit(parsed: Exclude<Parsed, { ok: true }>): Wrong {
  const { expected, suggestion } = parsed;
  return suggestion === null ? { expected } : { expected, hint: `Did you mean "${suggestion}"?` };
}

export function whole(least: number, most: number) {
  const expected = `a whole number from ${least} to ${most}`;
  const isOne = (value: number) => Number.isInteger(value) && value >= least && value <= most;
  return number(expected, isOne, { type: 'integer', minimum: least, maximum: most });
}

export function decimal(least: number, most: number) {
  const isOne = (value: number) => value >= least && value <= most;
  return number(`a number from ${least} to ${most}`, isOne, { minimum: least, maximum: most });
}

function number(expected: string, isOne: (value: number) => boolean, json: Json): z.ZodMiniNumber {
  const checks = [judged<number>((value) => (isOne(value) ? null : { expected }))];
  return withJson(new z.ZodMiniNumber({ type: 'number', error: () => expected, checks }), json);
}

export function flag() {
  return z.boolean({ error: 'true or false' });
}

/** One of `options`, and of that type. */
export function choice<const Options extends readonly [string, ...string[]]>(options: Options) {
  return z.enum(options, { error: listOf(options, 'or') });
}

/** File permission bits as octal digits, with or without a leading 0 or 0o. */
export function octal(expected: string) {
  const pattern = /^(0o?)?[0-7]{1,3}$/;
  return text(expected, (value) => (pattern.test(value) ? null : { expected }), {
    type: ['string', 'integer'],
    pattern: pattern.source,
  });
}

/** The name of a signal, with or without SIG. */
export function signal() {
  const names = Object.keys(constants.signals);
  return text(
    'the name of a signal such as SIGTERM',
    (value) => {
      if (names.includes(signalName(value))) return null;
      return { expected: 'the name of a signal such as SIGTERM', ...didYouMean(signalName(value), names) };
    },
    { enum: names.flatMap((name) => [name, name.slice(3)]) },
  );
}

/** `TERM` and `sigterm` -> `SIGTERM`. */
export function signalName(written: string): Signal {
  const upper = written.toUpperCase();
  return upper.startsWith('SIG') ? (upper as Signal) : `SIG${upper}`;
}

// ---------------------------------------------------------------- keys and their documentation

/** A key that must be given. */
export function given<Schema extends z.core.$ZodType>(doc: string, schema: Schema): Schema {
  return withJson(schema, { ...z.globalRegistry.get(schema), description: doc });
}

/** A key that may be left out; what follows from that is up to the rest of the program. */
export function maybe<Schema extends z.core.$ZodType>(doc: string, schema: Schema) {
  return withJson(z.optional(schema), { description: doc });
}

/** A key with a default. */
export function usual<Schema extends z.core.$ZodType>(
  doc: string,
  schema: Schema,
  value: z.core.output<Schema> & z.core.util.NoUndefined<z.core.output<Schema>>,
) {
  return withJson(z._default(schema, value), { description: doc });
}

/** A key that is not set unless it is given; null says the same. */
export function orNone<Schema extends z.core.$ZodType>(doc: string, schema: Schema) {
  return withJson(z._default(z.nullable(schema), null), { description: doc });
}

/** A map whose keys have defaults of their own. */
export function group<Schema extends z.core.$ZodType>(doc: string, schema: Schema, empty: z.core.input<Schema>) {
  return withJson(z.prefault(schema, empty), { description: doc });
}

/** A map with these keys and no others. `label` names it in messages: "a key of {label}". */
export function section<Shape extends z.core.$ZodLooseShape>(label: string, shape: Shape) {
  const sample = Object.keys(shape).slice(0, 3).join(', ');
  return z.strictObject(shape, {
    error: (issue) => (issue.code === 'unrecognized_keys' ? `a key of ${label}` : `a map with keys such as ${sample}`),
  });
}

/** Says in the JSON Schema that a map has exactly one of these keys; the check itself is made elsewhere. */
export function jsonHasOneOf(schema: z.core.$ZodType, keys: readonly string[]): void {
  const has = (key: string) => ({ type: 'object', properties: { [key]: {} }, required: [key] });
  z.globalRegistry.add(schema, { ...z.globalRegistry.get(schema), oneOf: keys.map(has) });
}

const commandParts = new WeakSet<z.core.$ZodType>();

/** A program and its words: one text, split as a shell would, or a list of words. `${VAR}` in it is expanded after that. */
export function command(expected: string) {
  const asText = filled(expected);
  const asWord = z.string({ error: 'a word' });
  commandParts.add(asText).add(asWord);
  const notEmpty = judged<readonly unknown[]>((words) => (words.length > 0 ? null : { expected }));
  const asWords = z.array(asWord, { error: expected }).check(notEmpty);
  return z.union([asText, withJson(asWords, { minItems: 1 })], { error: expected });
}

/** Whether texts of this schema are expanded later, word by word. */
export function isCommandPart(schema: z.core.$ZodType): boolean {
  return commandParts.has(schema);
}

/** ["a", "b", "c"] -> `a, b or c`. */
export function listOf(words: readonly string[], conjunction: 'or' | 'and'): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} ${conjunction} ${words.at(-1)}`;
}

export function didYouMean(found: string, known: readonly string[]): { hint?: string } {
  const closest = nearest(found, known);
  return closest === null ? {} : { hint: `Did you mean "${closest}"?` };
}
