/**
 * Where the bench works: a folder below node_modules, which git ignores and `npm ci` removes. Programs are compiled and
 * peers are installed there; each launch has a folder of its own in it.
 */
import { accessSync, constants, mkdirSync, rmSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const programDirs = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/bin'];

export class Place {
  root = fileURLToPath(new URL('..', import.meta.url));
  programs = fileURLToPath(new URL('programs', import.meta.url));
  dir = join(this.root, 'node_modules/.cache/bench');
  #launches = 0;

  constructor() {
    mkdirSync(this.dir, { recursive: true });
    rmSync(join(this.dir, 'launches'), { recursive: true, force: true });
    this.compile('worker');
  }

  get worker() {
    return join(this.dir, 'worker');
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

  /** An empty folder. Short, because unix sockets will be in it. */
  launchDir() {
    const dir = join(this.dir, 'launches', String(++this.#launches));
    mkdirSync(dir, { recursive: true });
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
