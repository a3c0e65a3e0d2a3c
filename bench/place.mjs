/**
 * Where the bench works.
 *
 *   node_modules/.cache/bench   peers from npm, kept for the next run; git ignores it and `npm ci` removes it
 *   …/run-PID                   the copy of this product that is measured, and the compiled programs of this run
 *   $TMPDIR/bench-…             a folder for each launch; its path is short, because unix sockets will be in it
 */
import { accessSync, constants, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const programDirs = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/bin'];

export class Place {
  root = fileURLToPath(new URL('..', import.meta.url));
  programs = fileURLToPath(new URL('programs', import.meta.url));
  cache = join(this.root, 'node_modules/.cache/bench');
  dir = join(this.cache, `run-${process.pid}`);
  worker = join(this.dir, 'worker');
  #launchesDir = mkdtempSync(join(tmpdir(), 'bench-'));
  #launches = 0;

  constructor() {
    mkdirSync(this.dir, { recursive: true });
    this.compile('worker');
  }

  /** Leaves only what the next run can use. */
  close() {
    for (const dir of [this.dir, this.#launchesDir]) rmSync(dir, { recursive: true, force: true });
  }

  /** Compiles programs/NAME.c to dir/NAME. @throws Error without a compiler */
  compile(name) {
    const build = (...flags) =>
      spawnSync('gcc', ['-O2', ...flags, '-o', join(this.dir, name), join(this.programs, `${name}.c`)], {
        encoding: 'utf8',
      });
    // A static program starts without the dynamic linker, so it is the least that a worker can cost.
    const built = build('-static').status === 0 ? null : build();
    if (built !== null && built.status !== 0) {
      throw new Error(`gcc is needed to compile bench/programs/${name}.c: ${built.error?.message ?? built.stderr}`);
    }
  }

  /** The path of an installed program, or null. */
  find(program) {
    return programDirs.map((dir) => join(dir, program)).find(isExecutable) ?? null;
  }

  /** An empty folder. */
  launchDir() {
    const dir = join(this.#launchesDir, String(++this.#launches));
    mkdirSync(dir);
    return dir;
  }
}

function isExecutable(file) {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
