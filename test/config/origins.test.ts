/** Where each effective value came from, and that secrets are not shown with it. */
import { after, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { diffSpecs } from '../../src/config/diff.ts';
import { applyFlags, loadConfig, specFromFlags, type Loaded } from '../../src/config/load.ts';
import { explain } from '../../src/config/origins.ts';

const dir = mkdtempSync(join(tmpdir(), 'supervise-origins-'));
after(() => rmSync(dir, { recursive: true, force: true }));

const yaml = `name: shop
env_file: prod.env
hooks:
  pre_start:
    - alembic -x url=\${DATABASE_URL} upgrade head
    - {name: seed, command: "./seed && true", shell: true, timeout: 1m}
apps:
  web:
    command: uvicorn main:app --fd {fd} --key \${API_KEY} --log \${LOG:-info}
    workers: \${WORKERS:-4}
    listen: "localhost:8000"
    cwd: current
    env: {SECRET_TOKEN: abc, EMPTY_SECRET: "", URL: "\${REDIS}", LEVEL: "\${LOG:-info}"}
    stop: {signal: int, timeout: 10s}
    ready: {log: started}
`;

async function load(): Promise<Loaded> {
  writeFileSync(join(dir, 'supervise.yaml'), yaml);
  writeFileSync(join(dir, 'prod.env'), 'DATABASE_URL=postgres://shop:pw@db/shop\n');
  return loadConfig(join(dir, 'supervise.yaml'), { API_KEY: 'k-123', REDIS: 'redis://:pw2@cache', WORKERS: '' });
}

function explained(loaded: Loaded): ReadonlyMap<string, string> {
  return new Map(
    explain(loaded.origins).map(({ path, value, origin }) => [path, `${value} <- ${origin.replaceAll(`${dir}/`, '')}`]),
  );
}

describe('explain', () => {
  test('names the place, the variable and what gave it its value', async () => {
    const lines = explained(await load());
    const expected: Readonly<Record<string, string>> = {
      'name': 'shop <- supervise.yaml:1:7',
      'env_file': 'prod.env <- supervise.yaml:2:11',
      'hooks.pre_start[0].name': 'alembic <- default',
      'hooks.pre_start[0].command':
        'alembic -x url=postgres://***@db/shop upgrade head <- supervise.yaml:5:7, ${DATABASE_URL} from env_file',
      'hooks.pre_start[0].timeout': '5m <- default',
      'hooks.pre_start[1].name': 'seed <- supervise.yaml:6:14',
      'hooks.pre_start[1].command': './seed && true <- supervise.yaml:6:29',
      'hooks.pre_start[1].timeout': '1m <- supervise.yaml:6:69',
      'hooks.post_start': 'none <- default',
      'apps.web.command':
        'uvicorn main:app --fd {fd} --key *** --log info <- supervise.yaml:9:14, ${API_KEY} from the environment, ${LOG} not set',
      'apps.web.workers': '4 <- supervise.yaml:10:14, ${WORKERS} not set',
      'apps.web.listen[0]': 'tcp://127.0.0.1:8000 <- supervise.yaml:11:13',
      'apps.web.cwd': `${dir}/current <- supervise.yaml:12:10`,
      'apps.web.env.SECRET_TOKEN': '*** <- supervise.yaml:13:25',
      'apps.web.env.EMPTY_SECRET': ' <- supervise.yaml:13:44',
      'apps.web.env.URL': 'redis://***@cache <- supervise.yaml:13:53, ${REDIS} from the environment',
      'apps.web.env.LEVEL': 'info <- supervise.yaml:13:72, ${LOG} not set',
      'apps.web.stop.signal': 'SIGINT <- supervise.yaml:14:20',
      'apps.web.stop.timeout': '10s <- supervise.yaml:14:34',
      'apps.web.ready.log': 'started <- supervise.yaml:15:18',
      'apps.web.ready_timeout': '60s <- default',
      'apps.web.backoff.jitter': '0.5 <- default',
      'apps.web.user': 'none <- default',
      'apps.web.logs.format': 'auto <- default',
      'resources.sample_every': '2s <- default',
      'control.socket': 'control.sock in the runtime directory <- default',
      'control.http': 'none <- default',
    };
    for (const [path, line] of Object.entries(expected)) assert.equal(lines.get(path), line, path);
    const all = [...lines.values()].join('\n');
    for (const secret of ['k-123', 'abc', ':pw@', 'pw2']) assert.ok(!all.includes(secret), secret);
  });

  test('names flags', async () => {
    const over = explained(applyFlags(await load(), { workers: 2, bind: [':9000', ':9001'] }));
    assert.deepEqual(
      ['apps.web.workers', 'apps.web.listen[0]', 'apps.web.listen[1]', 'apps.web.command'].map((path) =>
        over.get(path)?.replace(/.* <- /, ''),
      ),
      ['flag -w', 'flag -b', 'flag -b', 'supervise.yaml:9:14, ${API_KEY} from the environment, ${LOG} not set'],
    );
    const alone = explained(
      specFromFlags({ argv: ['node', 'a b.js'], preStart: ['echo hi'], workers: '3', cwd: dir, env: {} }),
    );
    assert.equal(alone.get('apps.node.command'), "node 'a b.js' <- flag --");
    assert.equal(alone.get('apps.node.workers'), '3 <- flag -w');
    assert.equal(alone.get('hooks.pre_start[0].command'), 'echo hi <- flag --pre-start');
    assert.match(alone.get('name') ?? '', /^supervise-origins-\w+ <- default$/);
  });
});

test('explain shows health, watch, limits and logs as they are used', async () => {
  const file = join(dir, 'values.yaml');
  writeFileSync(
    file,
    `apps:
  web:
    script: a
    health: {exec: 'check --token \${API_TOKEN} "\${URL:-a b}"', failures: \${N:-2}}
    stall: {action: restart}
    limits: {memory: \${MEMORY}}
    watch: [src, "\${MORE}"]
    tls_files: [cert.pem]
    logs: {file: web-{slot}.log, keep: 3}
    depends_on: [cache]
  cache: {command: b, logs: inherit, watch: {paths: [src]}, stall: null}
`
      .replace('web-{slot}.log', '"web-{slot}.log"')
      .replace('${MEMORY}', '"${MEMORY}"')
      .replace('${N:-2}', '"${N:-2}"'),
  );
  const loaded = await loadConfig(file, { API_TOKEN: 't-456', MEMORY: '1.5GiB', MORE: 'lib' });
  const lines = explained(loaded);
  const expected: Readonly<Record<string, string>> = {
    'apps.web.health.exec':
      "check --token *** 'a b' <- values.yaml:4:20, ${API_TOKEN} from the environment, ${URL} not set",
    'apps.web.health.failures': '2 <- values.yaml:4:74, ${N} not set',
    'apps.web.health.interval': '10s <- default',
    'apps.web.stall.action': 'restart <- values.yaml:5:21',
    'apps.web.stall.signal': 'SIGABRT <- default',
    'apps.web.limits.memory': '1.5GiB <- values.yaml:6:22, ${MEMORY} from the environment',
    'apps.web.limits.lifetime': 'none <- default',
    'apps.web.watch.paths[0]': 'src <- values.yaml:7:13',
    'apps.web.watch.paths[1]': 'lib <- values.yaml:7:18, ${MORE} from the environment',
    'apps.web.watch.ignore': 'none <- default',
    'apps.web.watch.debounce': '300ms <- default',
    'apps.web.tls_files[0]': 'cert.pem <- values.yaml:8:17',
    'apps.web.logs.file': `${dir}/web-{slot}.log <- values.yaml:9:18`,
    'apps.web.logs.format': 'auto <- default',
    'apps.web.logs.max_size': '50MB <- default',
    'apps.web.logs.keep': '3 <- values.yaml:9:42',
    'apps.web.depends_on[0]': 'cache <- values.yaml:10:18',
    'apps.cache.logs': 'inherit <- values.yaml:11:29',
    'apps.cache.watch.paths[0]': 'src <- values.yaml:11:54',
    'apps.cache.stall': 'none <- values.yaml:11:68',
    'apps.cache.health': 'none <- default',
  };
  for (const [path, line] of Object.entries(expected)) assert.equal(lines.get(path), line, path);
  assert.ok(![...lines.values()].join('\n').includes('t-456'));
  assert.ok(![...lines.keys()].some((path) => path.startsWith('apps.cache.logs.')));
  const names = [...lines.keys()].flatMap((path) => /^apps\.(\w+)\./.exec(path)?.[1] ?? []);
  assert.deepEqual([...new Set(names)], ['cache', 'web']);
});

test('diffSpecs tells added, removed, rescaled and changed apps apart', async () => {
  const spec = async (text: string) => {
    writeFileSync(join(dir, 'diff.yaml'), text);
    return (await loadConfig(join(dir, 'diff.yaml'), {})).spec;
  };
  const before = await spec(
    'apps:\n  a: {command: x, env: {A: 1, B: 2}}\n  b: {command: x}\n  c: {command: x}\n  d: {command: x}\n  e: {command: x}\n',
  );
  const after = await spec(
    'apps:\n  f: {command: x}\n  e: {command: y, workers: 3}\n  a: {env: {B: 2, A: 1}, command: "x"}\n  b: {command: x, workers: 3}\n  c: {command: x, stop: {timeout: 1s}}\n',
  );
  assert.deepEqual(diffSpecs(before, after), { added: ['f'], removed: ['d'], rescaled: ['b'], changed: ['e', 'c'] });
  const base = 'apps:\n  a: {script: x}\n  b: {command: y}\n';
  for (const key of [
    'health: {tcp: 9100}',
    'stall: {}',
    'limits: {memory: 1GB}',
    'watch: [src]',
    'tls_files: [a.pem]',
    'logs: inherit',
    'logs: {file: a.log}',
    'depends_on: [b]',
  ]) {
    const { changed } = diffSpecs(await spec(base), await spec(base.replace('script: x', `script: x, ${key}`)));
    assert.deepEqual(changed, ['a'], key);
  }
  const [hookless, hooked] = [await spec(base), await spec(`hooks: {pre_reload: [c]}\n${base}`)];
  assert.deepEqual(diffSpecs(hookless, hooked).changed, []);
  assert.deepEqual(diffSpecs(before, before), { added: [], removed: [], rescaled: [], changed: [] });
});
