/**
 * Finds a program as execvp would, in the environment that it will have, and looks now for what would only fail at its
 * start: a missing file, a missing x bit, a missing interpreter.
 *
 * - A name with a slash counts from the cwd, any other is looked up in PATH; empty and relative parts of PATH count from
 *   the cwd too.
 * - What lies inside the cwd's symlink (`/srv/shop/current -> releases/41`) is named by its real path, so that a respawn
 *   never runs another release; the same for the interpreter that a script names. Other symlinks stay: a Python of a
 *   virtual environment is one, and finds its packages by the name it was called with.
 */
import { accessSync, closeSync, constants, openSync, readSync, realpathSync, statSync, type Stats } from 'node:fs';
import { isAbsolute, join, resolve } from 'node:path';
import { SuperviseError } from '../../core/errors.ts';
import type { Environment } from './environment.ts';

/** Where and for whom a program is looked for. */
export interface Surroundings {
  /** "app web", "hook migrate" */
  readonly of: string;
  /** As in the config, symlinks and all. */
  readonly givenCwd: string;
  readonly cwd: string;
  readonly env: Environment;
  /** null: that of the master. */
  readonly user: string | null;
}

const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** The working directory without symlinks. @throws SuperviseError launch-failed */
export function resolveCwd(cwd: string, of: string): string {
  try {
    const real = realpathSync(cwd);
    if (statSync(real).isDirectory()) return real;
  } catch (error) {
    const why =
      (error as NodeJS.ErrnoException).code === 'ENOENT'
        ? 'does not exist'
        : `cannot be used (${(error as Error).message})`;
    throw new SuperviseError('launch-failed', `${of}: the working directory ${cwd} ${why}`, {
      hint: 'create it, or correct "cwd"',
    });
  }
  throw new SuperviseError('launch-failed', `${of}: the working directory ${cwd} is not a directory`, {
    hint: 'correct "cwd"',
  });
}

/**
 * The program's absolute path and its words; with the interpreter before them where that lies inside the cwd's symlink.
 * @throws SuperviseError program-cannot-run
 */
export function findProgram(argv: readonly string[], around: Surroundings): readonly string[] {
  const [name = '', ...words] = argv;
  const file = pinned(
    name.includes('/') ? checked(resolve(around.cwd, name), name, around) : lookUp(name, around),
    around,
  );
  const interpreter = interpreterOf(file, name, around);
  return [...interpreter, file, ...words];
}

/** A script for Node: it must be a file that can be read. @throws SuperviseError program-cannot-run */
export function findScript(name: string, around: Surroundings): string {
  const file = pinned(resolve(around.cwd, name), around);
  const found = fileAt(file);
  if (found?.isFile() && may(file, constants.R_OK)) return file;
  const why =
    found === undefined ? 'does not exist, or is closed to us' : found.isFile() ? 'cannot be read' : 'is not a file';
  throw cannotRun(
    `the script ${file} ${why}`,
    'correct "script"; a relative path counts from the resolved cwd',
    around,
  );
}

/**
 * Why a pinned program can no longer be started; null when it can. Called before each spawn: a release may have been
 * deleted since it was pinned.
 */
export function whyGone(argv: readonly string[], cwd: string, script: string | null): string | null {
  const hint = 'what this revision was made of is gone from the disk; put it back, or reload to run what is there now';
  if (isMissing(cwd)) return `the working directory ${cwd} does not exist any more: ${hint}`;
  const missing = [argv[0] ?? '', ...(script === null ? [] : [script])].find(isMissing);
  return missing === undefined ? null : `${missing} does not exist any more: ${hint}`;
}

// ---------------------------------------------------------------- the file

function lookUp(name: string, around: Surroundings): string {
  const path = around.env.PATH ?? defaultPath;
  let unfit: string | null = null;
  for (const directory of path.split(':')) {
    const file = join(isAbsolute(directory) ? directory : resolve(around.cwd, directory), name);
    const found = fileAt(file);
    if (found === undefined || found.isDirectory()) continue;
    if (may(file, constants.X_OK)) return file;
    unfit ??= file;
  }
  if (unfit !== null)
    throw cannotRun(`${unfit} is not executable`, `"chmod +x ${unfit}", or name another program`, around);
  const here = join(around.cwd, name);
  const isHere = fileAt(here)?.isFile() === true;
  const hint = isHere
    ? `there is ${here}: write ./${name} to run it`
    : 'install it, write its absolute path, or set PATH in "env"';
  throw cannotRun(`the program "${name}" was not found in PATH`, hint, around);
}

function checked(file: string, name: string, around: Surroundings): string {
  const found = fileAt(file);
  if (found === undefined)
    throw cannotRun(
      `the program ${file} does not exist, or lies in a directory that is closed to us`,
      `correct "${name}"; a relative path counts from the resolved cwd`,
      around,
    );
  if (found.isDirectory()) throw cannotRun(`${file} is a directory, not a program`, `correct "${name}"`, around);
  if (!may(file, constants.X_OK))
    throw cannotRun(`${file} is not executable`, `"chmod +x ${file}", or start it through its interpreter`, around);
  return file;
}

/** The file with the directories that it shares with the cwd as they really are now. */
function pinned(file: string, around: Surroundings): string {
  const [mine, theirs] = [file.split('/'), around.givenCwd.split('/')];
  let shared = 0;
  while (shared < theirs.length && shared < mine.length - 1 && mine[shared] === theirs[shared]) shared++;
  const directory = mine.slice(0, shared).join('/');
  if (directory === '') return file;
  try {
    return join(realpathSync(directory), ...mine.slice(shared));
  } catch {
    return file;
  }
}

/** undefined when there is nothing, or nothing that we may look at. */
function fileAt(file: string): Stats | undefined {
  try {
    return statSync(file);
  } catch {
    return undefined;
  }
}

/** For certain: what is only closed to us may be there. */
function isMissing(file: string): boolean {
  try {
    return statSync(file, { throwIfNoEntry: false }) === undefined;
  } catch {
    return false;
  }
}

function may(file: string, mode: number): boolean {
  try {
    accessSync(file, mode);
    return true;
  } catch {
    return false;
  }
}

// ---------------------------------------------------------------- the interpreter

/** The words to put before the file: none, or its interpreter and that one's argument when the cwd's symlink is in its path. */
function interpreterOf(file: string, name: string, around: Surroundings): string[] {
  const line = firstLine(file);
  if (!line.startsWith('#!')) return [];
  const [, interpreter = '', argument = ''] = /^#![ \t]*([^ \t]*)[ \t]*([^]*?)[ \t]*$/.exec(line) ?? [];
  const hint = line.endsWith('\r')
    ? `its lines end with CR LF: "sed -i 's/\\r$//' ${file}"`
    : 'install the interpreter, or correct the first line';
  const found = fileAt(resolve(around.cwd, interpreter));
  if (interpreter === '' || found === undefined) {
    throw cannotRun(
      `${file} ("${name}") names the interpreter "${interpreter.replace('\r', '\\r')}" in its first line, which does not exist`,
      hint,
      around,
    );
  }
  if (interpreter.endsWith('/env')) checkEnvWord(argument, file, around);
  const real = pinned(resolve(around.cwd, interpreter), around);
  return real === interpreter ? [] : [real, ...(argument === '' ? [] : [argument])];
}

/** `#!/usr/bin/env python3`, `#!/usr/bin/env -S node --flag`. Other options of env are left to it. */
function checkEnvWord(argument: string, file: string, around: Surroundings): void {
  const word = argument.replace(/^-S[ \t]*/, '').split(/[ \t]/)[0] ?? '';
  if (word === '' || word.startsWith('-') || word.includes('=') || word.includes('/')) return;
  try {
    lookUp(word, around);
  } catch {
    const hint = word.endsWith('\r')
      ? `its lines end with CR LF: "sed -i 's/\\r$//' ${file}"`
      : `install it, or set PATH in "env"`;
    throw cannotRun(
      `${file} asks env for the interpreter "${word.replace('\r', '\\r')}", which is not in PATH`,
      hint,
      around,
    );
  }
}

/** The kernel reads 256 bytes of it (BINPRM_BUF_SIZE). What cannot be read may still be executable. */
function firstLine(file: string): string {
  const buffer = Buffer.alloc(256);
  try {
    const fd = openSync(file, 'r');
    try {
      const text = buffer.toString('latin1', 0, readSync(fd, buffer));
      return text.slice(0, text.includes('\n') ? text.indexOf('\n') : text.length);
    } finally {
      closeSync(fd);
    }
  } catch {
    return '';
  }
}

function cannotRun(what: string, hint: string, around: Surroundings): SuperviseError {
  const user = around.user ?? `uid ${process.getuid?.() ?? 0}, as the master`;
  return new SuperviseError(
    'program-cannot-run',
    `${around.of}: ${what} (user ${user}; cwd ${around.cwd}; PATH=${around.env.PATH ?? defaultPath})`,
    { hint },
  );
}
