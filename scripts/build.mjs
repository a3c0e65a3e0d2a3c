/**
 * The build: `npm run build`. Type check and tests come from tsc, what users run comes from esbuild.
 *
 *   build/           tsc: src, test and bench, one file each, for the tests
 *   dist/cli/…       esbuild: the command line, with shared and lazily loaded chunks in dist/chunks/
 *   dist/index.mjs   esbuild: the library face, sharing the same chunks
 *   dist/worker/…    esbuild: what is preloaded into an app's own Node process; one file, no chunks
 *   dist/types/      the declarations of src, from build/
 *
 * Files of an earlier build that no source stands for any more are deleted at the end, so that an unfinished build
 * never leaves less than there was.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
process.chdir(root);
const { version } = JSON.parse(readFileSync('package.json', 'utf8'));

const shared = {
  bundle: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  outExtension: { '.js': '.mjs' },
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

/** Bundled CommonJS packages call require() for Node's own modules, which an ES module does not have. */
const requireBanner =
  "import{createRequire as __createRequire}from'node:module';const require=__createRequire(import.meta.url);";

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
    build({
      ...shared,
      entryPoints: { 'cli/main': 'src/cli/main.ts', 'index': 'src/index.ts' },
      outdir: 'dist',
      splitting: true,
      chunkNames: 'chunks/[name]-[hash]',
      banner: { js: requireBanner },
    }),
    build({ ...shared, entryPoints: { 'worker/preload': 'src/worker/preload.ts' }, outdir: 'dist' }),
  ]);
  return results.flatMap((result) => Object.keys(result.metafile.outputs));
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

const startedAt = performance.now();
// esbuild prints its errors by itself, as tsc does.
const [typesAreRight, bundled] = await Promise.all([compile(), bundle().catch(() => null)]);
if (!typesAreRight || bundled === null) {
  console.error(`build: failed in the ${typesAreRight ? 'bundle' : 'type check'}, see above`);
  process.exit(1);
}
const current = new Set([...bundled, ...declarations()]);
const stale = [
  ...filesBelow('dist').filter((file) => !current.has(file)),
  ...filesBelow('build').filter((file) => !file.endsWith('.json') && !existsSync(resolve(sourceOf(file)))),
];
for (const file of stale) rmSync(file, { force: true });
const cliBytes = readFileSync('dist/cli/main.mjs').length;
console.error(
  `build: supervise ${version} in ${((performance.now() - startedAt) / 1000).toFixed(1)} s (dist/cli/main.mjs: ${cliBytes} bytes)`,
);
