/**
 * Reading what a client sent, strictly: an unknown field, a wrong type and a wrong number are errors that name the
 * field, what was expected and what was found. Writing what goes wrong as an HTTP status and a body.
 */
import { constants } from 'node:os';
import type { ErrorCode } from '../core/errors.ts';
import { SuperviseError } from '../core/errors.ts';
import type { ScaleChange, Target } from '../core/protocol.ts';
import type { Signal } from '../core/spec.ts';
import type { ErrorBody } from './face.ts';

export type Fields = Readonly<Record<string, unknown>>;

/** A failure of HTTP itself (no such route, too large); it has no code of its own and counts as wrong usage. */
export class HttpError extends SuperviseError {
  readonly status: number;

  constructor(status: number, message: string, hint?: string) {
    super('usage', message, hint === undefined ? {} : { hint });
    this.status = status;
  }
}

const statusOf: Partial<Record<ErrorCode, number>> = {
  'usage': 400,
  'unknown-target': 404,
  'operation-failed': 409,
  'already-running': 409,
  'config-invalid': 422,
  'config-not-found': 422,
  'not-supported': 501,
};

/** Any thrown thing as a status and a body. What is not a SuperviseError is a bug of ours, and says so. */
export function errorAnswer(thrown: unknown): { status: number; body: ErrorBody } {
  const error = thrown instanceof SuperviseError ? thrown : bug(thrown);
  const status = error instanceof HttpError ? error.status : (statusOf[error.code] ?? 500);
  const { code, message, hint, exitCode, lastLines } = error;
  return { status, body: { error: { code, message, hint, exitCode, lastLines } } };
}

function bug(thrown: unknown): SuperviseError {
  const text = thrown instanceof Error ? thrown.message : String(thrown);
  return new SuperviseError('bug', `the control server failed on this request: ${text}`, {
    hint: 'the master and its workers are not affected; please report this',
  });
}

/** @throws HttpError 400 when the text is no JSON object; no text is `{}` */
export function parseBody(text: string): Fields {
  if (text.trim() === '') return {};
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new HttpError(
      400,
      `expected a JSON object as the body, found ${excerpt(text)}: ${excerpt((error as Error).message)}`,
    );
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new HttpError(400, `expected a JSON object as the body, found ${excerpt(text)}`);
  }
  return value as Fields;
}

/** @throws HttpError 400 on a field that is not in `known` */
export function onlyKnown(fields: Fields, known: readonly string[], where: 'body' | 'query'): void {
  for (const name of Object.keys(fields)) {
    if (known.includes(name)) continue;
    const list = known.length === 0 ? 'none' : known.join(', ');
    throw new HttpError(400, `${where}: expected no field but ${list}, found ${excerpt(name)}`);
  }
}

/** `web` or `web.3`. @throws HttpError 400 */
export function targetFrom(value: unknown, field = 'target'): Target {
  if (typeof value === 'string') {
    const dot = value.indexOf('.');
    if (dot === -1 && value !== '') return { app: value, worker: null };
    if (dot > 0 && dot < value.length - 1) return { app: value.slice(0, dot), worker: value };
  }
  throw new HttpError(400, `${field}: expected the name of an app (web) or a worker (web.3), found ${found(value)}`);
}

/** @throws HttpError 400 */
export function namesFrom(value: unknown, field: string): readonly string[] | null {
  if (value === undefined || value === null) return null;
  if (Array.isArray(value) && value.length > 0 && value.every((one) => typeof one === 'string' && one !== ''))
    return value;
  throw new HttpError(400, `${field}: expected a list of app names, or null for all, found ${found(value)}`);
}

const mostWorkers = 1000;

/** `{to: 4}`, `{by: 1}` or `{by: -1}`. @throws HttpError 400 */
export function scaleFrom({ to, by }: Fields): ScaleChange {
  if ((to === undefined) === (by === undefined)) {
    throw new HttpError(400, 'expected one of "to" (a number of workers) and "by" (a change, as 1 or -1)');
  }
  const value = to ?? by;
  const least = to === undefined ? -mostWorkers : 0;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > mostWorkers) {
    const field = to === undefined ? 'by' : 'to';
    throw new HttpError(
      400,
      `${field}: expected a whole number from ${least} to ${mostWorkers}, found ${found(value)}`,
    );
  }
  return to === undefined ? { by: value, atLeast: 0 } : { to: value };
}

/** `TERM`, `SIGTERM`, `sigterm`, `15`, `-15`. @throws HttpError 400 */
export function signalFrom(value: unknown): Signal {
  const text = typeof value === 'number' ? String(value) : value;
  if (typeof text === 'string') {
    const bare = text.toUpperCase().replace(/^-/, '');
    const known = Object.entries(constants.signals);
    const match = known.find(([name, number]) => bare === name || `SIG${bare}` === name || bare === String(number));
    if (match !== undefined) return match[0] as Signal;
  }
  throw new HttpError(
    400,
    `signal: expected a signal as TERM, SIGTERM or 15, found ${found(value)}`,
    'kill -l lists them all',
  );
}

/** A whole number, in a query as text; `absent` when it is not there. @throws HttpError 400 */
export function numberFrom(
  value: unknown,
  field: string,
  range: { least: number; most: number; absent: number },
): number {
  if (value === undefined) return range.absent;
  const text = typeof value === 'number' ? String(value) : value;
  const number = typeof text === 'string' && /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (number >= range.least && number <= range.most) return number;
  throw new HttpError(
    400,
    `${field}: expected a whole number from ${range.least} to ${range.most}, found ${found(value)}`,
  );
}

/** `follow=1` or `follow=true` of a query, true or false of a body. @throws HttpError 400 */
export function flagFrom(value: unknown, field: string): boolean {
  if (value === undefined || value === false || value === '0' || value === 'false') return false;
  if (value === true || value === '1' || value === 'true' || value === '') return true;
  throw new HttpError(400, `${field}: expected 1 or 0, found ${found(value)}`);
}

function found(value: unknown): string {
  return value === undefined ? 'nothing' : excerpt(JSON.stringify(value) ?? typeof value);
}

/** At most 60 characters, nothing that could move a cursor. */
function excerpt(text: string): string {
  const printable = text.replace(/[^\x20-\x7e]/g, '?');
  return printable.length > 60 ? `${printable.slice(0, 57)}...` : printable;
}
