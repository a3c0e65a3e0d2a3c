#!/usr/bin/env node
/**
 * Runs the command line, dist/cli/main.cjs.
 *
 * Half of a start would be compiling it, so the build leaves beside it what V8 had compiled by the end of a start. V8
 * refuses the cache of another version or of other flags; that it is of this very program the id in its name says, which
 * is the first line of the program. Without a cache all is as well, only later.
 */
'use strict';
const { readFileSync } = require('node:fs');
const { createRequire } = require('node:module');
const { dirname, join } = require('node:path');
const { Script } = require('node:vm');

const program = join(__dirname, '../dist/cli/main.cjs');

/** @returns undefined when it cannot be read */
function read(file, encoding) {
  try {
    return readFileSync(file, encoding);
  } catch {
    return undefined;
  }
}

/** Compiles and executes it. @returns null when it was not built */
function load() {
  const source = read(program, 'utf8');
  if (source === undefined) return null;
  const cache = join(dirname(program), `main-${source.slice(2, source.indexOf('\n'))}.cache`);
  const script = new Script(source, { filename: program, cachedData: read(cache) });
  const module = { exports: {} };
  script.runInThisContext()(module.exports, createRequire(program), module, program, dirname(program));
  return { main: module.exports.main, script, cache };
}

module.exports = { load };

if (require.main === module) {
  const loaded = load();
  if (loaded === null) {
    process.stderr.write(
      `supervise: ${program} is missing: the package was not built\nhint: run npm run build in its folder\n`,
    );
    process.exitCode = 70;
  } else {
    void loaded.main();
  }
}
