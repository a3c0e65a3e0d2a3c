/**
 * Every failure that a user can meet has a code, says what was expected, what was found and what to do,
 * and knows the exit code it leads to (sysexits where one fits). Nothing else ends the program.
 */

export const ExitCode = {
  ok: 0,
  failed: 1,
  noMaster: 3,
  usage: 64,
  bug: 70,
  cannotBind: 73,
  alreadyRunning: 75,
  config: 78,
} as const;

export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

/** Code -> exit code. docs/reference/errors.md lists each of them; a test holds the two against each other. */
export const errorCodes = {
  'usage': ExitCode.usage,
  'not-supported': ExitCode.usage,
  'config-invalid': ExitCode.config,
  'config-not-found': ExitCode.config,
  'socket-in-use': ExitCode.cannotBind,
  'socket-cannot-bind': ExitCode.cannotBind,
  'already-running': ExitCode.alreadyRunning,
  'no-master': ExitCode.noMaster,
  'no-answer': ExitCode.failed,
  'directory-unsafe': ExitCode.failed,
  'hook-failed': ExitCode.failed,
  'program-cannot-run': ExitCode.failed,
  'app-never-ready': ExitCode.failed,
  'launch-failed': ExitCode.failed,
  'operation-failed': ExitCode.failed,
  'unknown-target': ExitCode.usage,
  'bug': ExitCode.bug,
} as const satisfies Record<string, ExitCode>;

export type ErrorCode = keyof typeof errorCodes;

/** A failure that is reported as it is, without a stack trace. `hint` is what to do about it. */
export class SuperviseError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | null;
  readonly lastLines: readonly string[];

  constructor(code: ErrorCode, message: string, more: { hint?: string; lastLines?: readonly string[] } = {}) {
    super(message);
    this.name = 'SuperviseError';
    this.code = code;
    this.hint = more.hint ?? null;
    this.lastLines = more.lastLines ?? [];
  }

  get exitCode(): ExitCode {
    return errorCodes[this.code];
  }
}
