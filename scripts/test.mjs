/**
 * The tests: `npm test` runs the checks and the fast suite, `node scripts/test.mjs NAME...` runs other suites.
 *
 * - Each suite is one run of node's own test runner, whose closing lines stand at the end of the suite's output.
 * - Each suite has a time budget; using more is a failure, and at twice the budget the suite is ended.
 * - A test that cannot run here (no systemd, no uvicorn, not root) is skipped with its reason. Where nothing may be
 *   missing (CI=true or SUPERVISE_CI_STRICT=1), a skipped test is a failure. A suite without any test always is.
 * - The tests are build/test/**, so `npm run build` comes first; npm does that by itself before `npm test`.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { stripVTControlCharacters } from 'node:util';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));

const resultsDir = 'build/results';
const strict = process.env['CI'] === 'true' || process.env['SUPERVISE_CI_STRICT'] === '1';

/** `match`: files below build/test. `fileLimitSeconds`: longer than that and the file hangs. */
const suites = {
  fast: {
    match: /^((core|config|master|control|cli|system)\/|(floors|docs|examples)\.test|e2e\/smoke)/,
    budgetSeconds: 420,
    fileLimitSeconds: 120,
  },
  portable: {
    match: /^((core|config|master|control|cli)\/|system\/host-|floors\.test|e2e\/smoke)/,
    budgetSeconds: 240,
    fileLimitSeconds: 120,
  },
  e2e: { match: /^e2e\/(?!smoke|systemd)/, budgetSeconds: 900, fileLimitSeconds: 600 },
  systemd: { match: /^e2e\/systemd/, budgetSeconds: 240, fileLimitSeconds: 200 },
};

const checks = {
  'lint': ['node_modules/oxlint/bin/oxlint', '--type-aware', '--deny-warnings'],
  'format': ['node_modules/oxfmt/bin/oxfmt', '--check'],
  'dead code': ['node_modules/knip/bin/knip.js', '--no-progress', '--treat-config-hints-as-errors'],
  'package': ['node_modules/publint/src/cli.js', '--strict', '--pack', 'false'],
};

/** Runs node with `args`. @returns its exit code (null: a signal ended it), its seconds, and its output unless inherited. */
function run(args, { inherit = false, limitSeconds }) {
  return new Promise((done, failed) => {
    const startedAt = performance.now();
    const env = { ...process.env, NODE_TEST_CONTEXT: undefined };
    const child = spawn(process.execPath, args, {
      stdio: ['ignore', inherit ? 'inherit' : 'pipe', inherit ? 'inherit' : 'pipe'],
      env,
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream?.setEncoding('utf8').on('data', (text) => (output += text));
    const limit = setTimeout(() => child.kill('SIGTERM'), limitSeconds * 1000);
    child.once('error', failed);
    child.once('close', (code) => {
      clearTimeout(limit);
      done({ code, output, seconds: (performance.now() - startedAt) / 1000 });
    });
  });
}

/** All checks at once. @returns whether all passed. */
async function runChecks() {
  const results = await Promise.all(
    Object.entries(checks).map(async ([name, args]) => ({ name, ...(await run(args, { limitSeconds: 120 })) })),
  );
  for (const { name, code, output, seconds } of results) {
    console.log(`${code === 0 ? 'ok    ' : 'FAILED'} ${name} (${seconds.toFixed(1)} s)`);
    if (code !== 0) console.log(process.stdout.isTTY ? output : stripVTControlCharacters(output));
  }
  return results.every(({ code }) => code === 0);
}

function testFiles(match) {
  return readdirSync('build/test', { recursive: true })
    .filter((file) => file.endsWith('.test.js') && match.test(file))
    .toSorted()
    .map((file) => `build/test/${file}`);
}

/** One suite. @returns whether it passed; what it found goes to build/results/NAME.json. */
async function runSuite(name) {
  const { match, budgetSeconds, fileLimitSeconds } = suites[name];
  const files = testFiles(match);
  if (files.length === 0) return fail(name, 'there is no test file; run `npm run build` first');
  console.log(`\nsuite ${name}: ${files.length} files, budget ${budgetSeconds} s, node ${process.version}`);

  const resultFile = `${resultsDir}/${name}-node${process.versions.node.split('.')[0]}.json`;
  mkdirSync(resultsDir, { recursive: true });
  rmSync(resultFile, { force: true });
  const reporters = [
    ['--test-reporter=spec', '--test-reporter-destination=stdout'],
    ['--test-reporter=./scripts/counts-reporter.mjs', `--test-reporter-destination=${resultFile}`],
  ].flat();
  const limits = ['--test-concurrency=2', `--test-timeout=${fileLimitSeconds * 1000}`];
  const { code, seconds } = await run(['--test', ...limits, ...reporters, ...files], {
    inherit: true,
    limitSeconds: 2 * budgetSeconds,
  });

  const found = existsSync(resultFile) ? readFileSync(resultFile, 'utf8') : '';
  const { counts, skipped } = JSON.parse(found || '{"counts":{},"skipped":[]}');
  writeFileSync(
    resultFile,
    JSON.stringify({ name: `${name} on ${process.version}`, seconds, budgetSeconds, counts, skipped }),
  );
  if (code !== 0) return fail(name, code === null ? `it was ended after ${seconds.toFixed(0)} s` : 'see above');
  if (!(counts.pass > 0)) return fail(name, 'no test was executed');
  if (seconds > budgetSeconds) return fail(name, `it took ${seconds.toFixed(0)} s of a budget of ${budgetSeconds} s`);
  if (strict && skipped.length > 0)
    return fail(name, `nothing may be skipped here, but these were:\n  ${skipped.join('\n  ')}`);
  return true;
}

function fail(name, why) {
  console.log(`FAILED suite ${name}: ${why}`);
  return false;
}

/** What the suites so far have found, as a table and the sum. */
function printSummary() {
  const results = readdirSync(resultsDir)
    .map((file) => JSON.parse(readFileSync(`${resultsDir}/${file}`, 'utf8')))
    .toSorted((a, b) => a.name.localeCompare(b.name));
  let [passed, failed, skippedCount] = [0, 0, 0];
  console.log('\nsuite                   seconds   budget   passed   failed  skipped');
  for (const { name, seconds, budgetSeconds, counts } of results) {
    const bad = (counts.fail ?? 0) + (counts.cancelled ?? 0);
    const cells = [seconds.toFixed(0), budgetSeconds, counts.pass ?? 0, bad, counts.skipped ?? 0];
    console.log(name.padEnd(22) + cells.map((cell) => String(cell).padStart(9)).join(''));
    passed += counts.pass ?? 0;
    failed += bad;
    skippedCount += counts.skipped ?? 0;
  }
  console.log(`\n${passed} passed, ${failed} failed, ${skippedCount} skipped`);
}

const names = process.argv.slice(2);
const unknown = names.filter((name) => name !== 'summary' && !Object.hasOwn(suites, name));
if (unknown.length > 0) {
  console.error(`There is no suite ${unknown.join(', ')}. There are: ${Object.keys(suites).join(', ')}; and summary.`);
  process.exit(64);
}
if (names.length === 0 && !(await runChecks())) process.exit(1);
let allPassed = true;
for (const name of names.length === 0 ? ['fast'] : names) {
  if (name === 'summary') printSummary();
  else allPassed = (await runSuite(name)) && allPassed;
}
process.exit(allPassed ? 0 : 1);
