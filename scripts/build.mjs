/**
 * The build: `npm run build`. Type check and tests come from tsc, what users run comes from esbuild.
 *
 *   build/           tsc: src, test and bench, one file each, for the tests
 *   dist/cli/…       esbuild: the command line in one file, each part executed when it is needed; and V8's code cache of
 *                    it, which bin/supervise.js finds by the id in its first line
 *   dist/index.mjs   esbuild: the library face, with lazily loaded chunks in dist/chunks/
 *   dist/worker/…    esbuild: what is preloaded into an app's own Node process, and `supervise/worker`; one file each, no chunks
 *   dist/types/      the declarations of src, from build/
 *
 * Files of an earlier build that no source stands for any more are deleted at the end, so that an unfinished build
 * never leaves less than there was.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
process.chdir(root);
const { version } = JSON.parse(readFileSync('package.json', 'utf8'));

const programFile = 'dist/cli/main.cjs';
const workerFiles = { 'worker/preload': 'src/worker/preload.ts', 'worker/index': 'src/worker/index.ts' };

const shared = {
  bundle: true,
  platform: 'node',
  target: 'node20',
  external: ['koffi'],
  // The CommonJS edition, which Node itself would take, has no named exports when a bundle imports it lazily.
  alias: { yaml: './node_modules/yaml/browser/dist/index.js' },
  legalComments: 'linked',
  define: { __VERSION__: JSON.stringify(version) },
  minifySyntax: true,
  minifyWhitespace: true,
  metafile: true,
  logLevel: 'warning',
};

const esModule = { format: 'esm', outExtension: { '.js': '.mjs' } };

/** Bundled CommonJS packages call require() for Node's own modules, which an ES module does not have. */
const requireBanner =
  "import{createRequire as __createRequire}from'node:module';const require=__createRequire(import.meta.url);";

/** A function around CommonJS, as bin/supervise.js calls it: Node starts it sooner than an ES module. */
const program = {
  format: 'cjs',
  write: false,
  define: { ...shared.define, 'import.meta.url': '__url' },
  banner: {
    js: '(function(exports,require,module,__filename,__dirname){"use strict";const __url=require("node:url").pathToFileURL(__filename).href;',
  },
  footer: { js: '})' },
};

/** Runs tsc; it prints its findings itself. @returns whether there were none. */
function compile() {
  return new Promise((done, failed) => {
    const child = spawn(process.execPath, ['node_modules/typescript/bin/tsc', '-p', '.'], { stdio: 'inherit' });
    child.once('error', failed);
    child.once('exit', (code) => done(code === 0));
  });
}

/** Bundles all entry points. @returns the files written, relative to the root. */
async function bundle() {
  const results = await Promise.all([
    build({ ...shared, ...program, entryPoints: { 'cli/main': 'src/cli/main.ts' }, outdir: 'dist' }).then(writeProgram),
    build({
      ...shared,
      ...esModule,
      entryPoints: { index: 'src/index.ts' },
      outdir: 'dist',
      splitting: true,
      chunkNames: 'chunks/[name]-[hash]',
      banner: { js: requireBanner },
    }),
    build({ ...shared, ...esModule, entryPoints: workerFiles, outdir: 'dist' }),
  ]);
  return results.flatMap((result) => Object.keys(result.metafile.outputs));
}

/** Writes the program with an id of its content in its first line, so that no code cache of another build is taken for its own. */
function writeProgram(result) {
  const { contents } = result.outputFiles.find(({ path }) => path.endsWith('.js'));
  const id = createHash('sha256').update(contents).digest('hex').slice(0, 16);
  mkdirSync('dist/cli', { recursive: true });
  writeFileSync(programFile, `//${id}\n${Buffer.from(contents)}`);
  return { metafile: { outputs: { [programFile]: {} } } };
}

/** All files below `dir`, relative to the root. */
function filesBelow(dir) {
  if (!existsSync(dir)) return [];
  return readdirSync(dir, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative('.', join(entry.parentPath ?? entry.path, entry.name)));
}

/** Copies the declarations of src; inside a package their imports have to name .js files. @returns the files written. */
function declarations() {
  return filesBelow('build/src')
    .filter((file) => file.endsWith('.d.ts') && existsSync(sourceOf(file)))
    .map((file) => {
      const target = join('dist/types', relative('build/src', file));
      mkdirSync(dirname(target), { recursive: true });
      writeFileSync(target, readFileSync(file, 'utf8').replace(/(['"])(\.\.?\/[^'"]+)\.ts\1/g, '$1$2.js$1'));
      return target;
    });
}

/** build/src/core/units.js.map -> src/core/units.ts */
function sourceOf(emitted) {
  return relative('build', emitted).replace(/(\.d\.ts|\.js|\.js\.map)$/, '.ts');
}

/**
 * Starts the built program once, with a hook and an app that end at once, to have V8's code cache of that.
 * @returns the file written, in a list: none when the start has failed, and then users start slower
 */
async function codeCache() {
  const dir = mkdtempSync(join(tmpdir(), 'supervise-build-'));
  const env = { PATH: process.env['PATH'], RUNTIME_DIRECTORY: join(dir, 'run'), STATE_DIRECTORY: join(dir, 'state') };
  for (const path of [env.RUNTIME_DIRECTORY, env.STATE_DIRECTORY]) mkdirSync(path, { mode: 0o700 });
  const app = { command: ['true'], restart: 'never', listen: [`unix:${dir}/app.sock`] };
  writeFileSync(join(dir, 'supervise.json'), JSON.stringify({ hooks: { pre_start: ['true'] }, apps: { app } }));
  const args = ['scripts/code-cache.mjs', 'start', '--name', 'build', '-c', join(dir, 'supervise.json')];
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text) => (said += text));
  const code = await new Promise((done) => child.once('close', done));
  rmSync(dir, { recursive: true, force: true });
  const [firstLine] = readFileSync(programFile, 'utf8').split('\n', 1);
  if (code === 0) return [`dist/cli/main-${firstLine.slice(2)}.cache`];
  console.error(
    `build: no code cache, so every start takes longer; the start that was to make it has failed:\n${said}`,
  );
  return [];
}

const startedAt = performance.now();
// esbuild prints its errors by itself, as tsc does.
const [typesAreRight, bundled] = await Promise.all([compile(), bundle().catch(() => null)]);
if (!typesAreRight || bundled === null) {
  console.error(`build: failed in the ${typesAreRight ? 'bundle' : 'type check'}, see above`);
  process.exit(1);
}
const current = new Set([...bundled, ...declarations(), ...(await codeCache())]);
const stale = [
  ...filesBelow('dist').filter((file) => !current.has(file)),
  ...filesBelow('build').filter((file) => !file.endsWith('.json') && !existsSync(resolve(sourceOf(file)))),
];
for (const file of stale) rmSync(file, { force: true });
const cliBytes = readFileSync(programFile).length;
console.error(
  `build: supervise ${version} in ${((performance.now() - startedAt) / 1000).toFixed(1)} s (${programFile}: ${cliBytes} bytes)`,
);
