/** From files and flags to a Spec: defaults, types, paths, variables, and which file is read. */
import { after, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, relative } from 'node:path';
import { applyFlags, findConfig, loadConfig, readName, specFromFlags, type Flags } from '../../src/config/load.ts';
import { SuperviseError } from '../../src/core/errors.ts';
import type { AppSpec, HealthProbe, Spec } from '../../src/core/spec.ts';

const root = mkdtempSync(join(tmpdir(), 'supervise-load-'));
after(() => rmSync(root, { recursive: true, force: true }));

let count = 0;

/** A folder of its own with these files. */
function folder(files: Readonly<Record<string, string>>, name = `case-${++count}`): string {
  const dir = join(root, name);
  mkdirSync(dir, { recursive: true });
  for (const [file, text] of Object.entries(files)) writeFileSync(join(dir, file), text);
  return dir;
}

async function specOf(yaml: string, env: Record<string, string> = {}): Promise<Spec> {
  return (await loadConfig(join(folder({ 'supervise.yaml': yaml }), 'supervise.yaml'), env)).spec;
}

/** The app that is called web, or the only one. */
async function appOf(yaml: string, env: Record<string, string> = {}): Promise<AppSpec> {
  const { apps } = await specOf(yaml, env);
  const app = apps.find(({ name }) => name === 'web') ?? apps[0];
  assert.ok(app);
  return app;
}

function thrown(make: () => unknown): SuperviseError {
  try {
    make();
  } catch (error) {
    assert.ok(error instanceof SuperviseError, String(error));
    return error;
  }
  assert.fail('it was accepted');
}

describe('a file', () => {
  test('gets every default of the contract', async () => {
    const dir = folder({ 'supervise.yaml': 'apps: {web: {command: node server.js}}' }, 'my shop');
    const { spec } = await loadConfig(join(dir, 'supervise.yaml'), { A: 'a' });
    assert.deepEqual(spec, {
      name: 'my-shop',
      file: join(dir, 'supervise.yaml'),
      dir,
      env: { A: 'a' },
      hooks: { pre_start: [], post_start: [], pre_reload: [], post_reload: [], pre_stop: [], post_stop: [] },
      apps: [
        {
          name: 'web',
          kind: 'command',
          argv: ['node', 'server.js'],
          workers: 1,
          staffing: { kind: 'fixed' },
          spares: 0,
          listen: [],
          cwd: dir,
          env: {},
          envFile: null,
          identity: { user: null, group: null, umask: null, nice: null },
          port: null,
          ready: { kind: 'auto' },
          readyTimeoutMs: 60_000,
          startAttempts: 3,
          restart: 'always',
          backoff: {
            initialMs: 500,
            maxMs: 30_000,
            factor: 2,
            jitter: 0.5,
            stableAfterMs: 10_000,
            maxCrashes: 8,
            retryFailedEveryMs: 60_000,
          },
          stop: { signal: 'SIGTERM', timeoutMs: 30_000 },
          reload: { maxSurge: 1, maxUnavailable: 0, canaryMs: 5000 },
          dependsOn: [],
          balance: 'auto',
          health: null,
          stall: null,
          limits: { memoryBytes: null, lifetimeMs: null, jitter: 0.1 },
          watch: null,
          tlsFiles: [],
          logs: { kind: 'captured', format: 'auto', file: null, maxSizeBytes: 52_428_800, keep: 7, gzip: false },
        },
      ],
      sampleEveryMs: 2000,
      memoryBudget: { kind: 'share', share: 0.8 },
      targetUtilisation: 0.7,
      controlSocket: null,
      controlHttp: null,
    } satisfies Spec);
  });

  test('gives hooks their defaults, names and phases', async () => {
    const { hooks, dir } = await specOf(`
hooks:
  pre_start:
    - /usr/bin/alembic upgrade head
    - {name: alembic-2, command: [alembic, check]}
    - alembic history
    - {command: "cd /srv && ./seed.sh", shell: true, on_failure: continue}
  post_stop: [[echo, "all done"]]
apps: {web: {command: a}}
`);
    assert.deepEqual(hooks.pre_start[0], {
      phase: 'pre_start',
      name: 'alembic',
      argv: ['/usr/bin/alembic', 'upgrade', 'head'],
      shell: false,
      cwd: dir,
      env: {},
      envFile: null,
      user: null,
      timeoutMs: 300_000,
      retries: 0,
      retryDelayMs: 5000,
      oncePer: '',
      onFailure: 'abort',
    });
    assert.deepEqual(
      hooks.pre_start.map(({ name, onFailure }) => [name, onFailure]),
      [
        ['alembic', 'abort'],
        ['alembic-2', 'abort'],
        ['alembic-3', 'abort'],
        ['cd', 'continue'],
      ],
    );
    assert.deepEqual(hooks.pre_start[3]?.argv, ['cd /srv && ./seed.sh']);
    assert.deepEqual(
      hooks.post_stop.map(({ name, argv, onFailure }) => [name, argv, onFailure]),
      [['echo', ['echo', 'all done'], 'continue']],
    );
  });

  test('reads every key', async () => {
    const app = await appOf(`
apps:
  web:
    script: server.mjs --port {port}
    workers: 0
    listen: []
    socket_mode: 0660
    socket_group: www-data
    cwd: current
    env: {A: 1, B: true, C: 1.10, D: "x", E: 0x1F}
    env_file: .env
    user: 1000
    group: shop
    umask: 022
    nice: -5
    port: 9000
    ready: {http: {path: /healthz}}
    ready_timeout: 1m30s
    start_attempts: 1
    restart: never
    backoff: {initial: 10ms, max: 1s, factor: 1, jitter: 0, stable_after: 1s, max_crashes: 0, retry_failed_every: 5s}
    stop: {signal: int, timeout: 0}
    reload: {max_surge: 0, max_unavailable: 2, canary: 0s}
    balance: shared
    health: {http: {path: /healthz, port: 9200}, interval: 5s, timeout: 500ms, failures: 2}
    stall: {after: 10s, action: restart, signal: quit}
    limits: {memory: 512MB, lifetime: 12h, jitter: 0}
    watch: {paths: [src, /etc/shop], ignore: ["**/*.pyc"], debounce: 1s}
    tls_files: [/etc/ssl/shop.pem, key.pem]
    logs: {format: json, file: "logs/{app}-{slot}.log", max_size: 10MB, keep: 0, gzip: true}
    depends_on: [cache]
  cache: {command: b}
`);
    const { cwd, logs, ...others } = app;
    assert.equal(basename(cwd), 'current');
    assert.deepEqual(logs, {
      kind: 'captured',
      format: 'json',
      file: join(dirname(cwd), 'logs/{app}-{slot}.log'),
      maxSizeBytes: 10_485_760,
      keep: 0,
      gzip: true,
    });
    assert.deepEqual(others, {
      name: 'web',
      kind: 'script',
      argv: ['server.mjs', '--port', '{port}'],
      workers: 0,
      staffing: { kind: 'fixed' },
      spares: 0,
      listen: [],
      env: { A: '1', B: 'true', C: '1.10', D: 'x', E: '0x1F' },
      envFile: '.env',
      identity: { user: '1000', group: 'shop', umask: 0o22, nice: -5 },
      port: 9000,
      ready: { kind: 'http', path: '/healthz', port: null },
      readyTimeoutMs: 90_000,
      startAttempts: 1,
      restart: 'never',
      backoff: {
        initialMs: 10,
        maxMs: 1000,
        factor: 1,
        jitter: 0,
        stableAfterMs: 1000,
        maxCrashes: 0,
        retryFailedEveryMs: 5000,
      },
      stop: { signal: 'SIGINT', timeoutMs: 0 },
      reload: { maxSurge: 0, maxUnavailable: 2, canaryMs: 0 },
      dependsOn: ['cache'],
      balance: 'shared',
      health: {
        probe: { kind: 'http', path: '/healthz', port: 9200 },
        intervalMs: 5000,
        timeoutMs: 500,
        failures: 2,
      },
      stall: { afterMs: 10_000, action: 'restart', signal: 'SIGQUIT' },
      limits: { memoryBytes: 536_870_912, lifetimeMs: 43_200_000, jitter: 0 },
      watch: { paths: ['src', '/etc/shop'], ignore: ['**/*.pyc'], debounceMs: 1000 },
      tlsFiles: ['/etc/ssl/shop.pem', 'key.pem'],
    } satisfies Omit<AppSpec, 'cwd' | 'logs'>);
  });

  test('knows who says how many workers there are', async () => {
    const of = async (workers: string, env: Record<string, string> = {}) => {
      const app = await appOf(`apps: {web: {command: a, workers: ${workers}}}`, env);
      return [app.workers, app.staffing];
    };
    const usual = {
      kind: 'scaled',
      min: 1,
      targetCpu: 0.7,
      targetMemory: 0.8,
      scaleDownAfterMs: 300_000,
      dryRun: false,
    };
    assert.deepEqual(await of('3'), [3, { kind: 'fixed' }]);
    assert.deepEqual(await of('auto'), [1, { kind: 'auto' }]);
    assert.deepEqual(await of('"${W}"', { W: 'auto' }), [1, { kind: 'auto' }]);
    assert.deepEqual(await of('"${W}"', { W: '5' }), [5, { kind: 'fixed' }]);
    assert.deepEqual(await of('"${W}"', { W: '' }), [1, { kind: 'fixed' }]);
    assert.deepEqual(await of('{max: 8}'), [1, { ...usual, max: 8 }]);
    assert.deepEqual(await of('{min: "${MIN}", max: 8}', { MIN: '2' }), [2, { ...usual, min: 2, max: 8 }]);
    assert.deepEqual(
      await of('{min: 8, max: 8, target_cpu: 250%, target_memory: 50%, scale_down_after: 1m30s, dry_run: true}'),
      [
        8,
        { kind: 'scaled', min: 8, max: 8, targetCpu: 2.5, targetMemory: 0.5, scaleDownAfterMs: 90_000, dryRun: true },
      ],
    );
  });

  test('has a budget that is a share of the memory, or a size', async () => {
    const of = async (resources: string) => {
      const { memoryBudget, targetUtilisation } = await specOf(`apps: {web: {command: a}}\nresources: {${resources}}`);
      return [memoryBudget, targetUtilisation];
    };
    assert.deepEqual(await of(''), [{ kind: 'share', share: 0.8 }, 0.7]);
    assert.deepEqual(await of('memory_budget: 62.5%'), [{ kind: 'share', share: 0.625 }, 0.7]);
    assert.deepEqual(await of('memory_budget: 4GB'), [{ kind: 'bytes', bytes: 2 ** 32 }, 0.7]);
    assert.deepEqual(await of('target_utilisation: 90%'), [{ kind: 'share', share: 0.8 }, 0.9]);
  });

  test('gives the groups that are not set by default their defaults once they are there', async () => {
    const app = await appOf(
      'apps: {web: {script: a, health: {tcp: 9100}, stall: {}, limits: {lifetime: 1h}, watch: {paths: [.]}}}',
    );
    assert.deepEqual(
      { ...app.health, stall: app.stall, limits: app.limits, watch: app.watch },
      {
        probe: { kind: 'tcp', port: 9100 },
        intervalMs: 10_000,
        timeoutMs: 2000,
        failures: 3,
        stall: { afterMs: 30_000, action: 'warn', signal: null },
        limits: { memoryBytes: null, lifetimeMs: 3_600_000, jitter: 0.1 },
        watch: { paths: ['.'], ignore: [], debounceMs: 300 },
      },
    );
  });

  const probes: readonly (readonly [string, HealthProbe])[] = [
    ['{http: /up}', { kind: 'http', path: '/up', port: null }],
    ['{http: {path: /up, port: 9100}}', { kind: 'http', path: '/up', port: 9100 }],
    ['{tcp: 9100}', { kind: 'tcp', port: 9100 }],
    ['{tcp: {}}', { kind: 'tcp', port: null }],
    [`{exec: 'check --port {port} "a b"'}`, { kind: 'exec', argv: ['check', '--port', '{port}', 'a b'], shell: false }],
    ['{exec: [check, "a && b"]}', { kind: 'exec', argv: ['check', 'a && b'], shell: false }],
  ];
  for (const [yaml, probe] of probes) {
    test(`health: ${yaml}`, async () =>
      assert.deepEqual((await appOf(`apps: {web: {command: a, port: 9000, health: ${yaml}}}`)).health?.probe, probe));
  }

  test('watches what a list names, and nothing where it is empty', async () => {
    const short = await appOf('apps: {web: {command: a, watch: [src, "${MORE:-lib}"]}}');
    assert.deepEqual(short.watch, { paths: ['src', 'lib'], ignore: [], debounceMs: 300 });
    assert.equal((await appOf('apps: {web: {command: a, watch: []}}')).watch, null);
  });

  test("lets workers have the master's own output, or a file that is never rotated here", async () => {
    assert.deepEqual((await appOf('apps: {web: {command: a, logs: inherit}}')).logs, { kind: 'inherit' });
    const { logs } = await appOf('apps: {web: {command: a, logs: {file: web.log, max_size: 0}}}');
    assert.ok(logs.kind === 'captured' && logs.maxSizeBytes === Number.MAX_SAFE_INTEGER);
  });

  test('lets apps share a log file that they would rotate in the same way', async () => {
    const { apps } = await specOf(
      'apps:\n  web: {command: a, logs: {file: all.log, keep: 3}}\n  api: {command: a, logs: {file: all.log, keep: 3, format: json}}\n  own: {command: a, logs: {file: "{app}.log"}}\n',
    );
    assert.equal(apps.length, 3);
  });

  test('gives hooks of a reload what hooks of a start get: a failure before it ends it', async () => {
    const { hooks } = await specOf(
      'hooks: {pre_reload: [alembic check, {command: b, on_failure: continue}], post_reload: [c]}\napps: {web: {command: a}}\n',
    );
    assert.deepEqual(
      [...hooks.pre_reload, ...hooks.post_reload].map(({ phase, name, argv, onFailure }) => [
        phase,
        name,
        argv,
        onFailure,
      ]),
      [
        ['pre_reload', 'alembic', ['alembic', 'check'], 'abort'],
        ['pre_reload', 'b', ['b'], 'continue'],
        ['post_reload', 'c', ['c'], 'continue'],
      ],
    );
  });

  const orders: readonly (readonly [string, Readonly<Record<string, readonly string[]>>, readonly string[]])[] = [
    ['as written', { b: [], a: [], c: [] }, ['b', 'a', 'c']],
    ['after what they depend on', { web: ['cache'], cache: [] }, ['cache', 'web']],
    [
      'as written where nothing asks for more',
      { x: [], web: ['db'], y: [], db: [], z: [] },
      ['x', 'db', 'web', 'y', 'z'],
    ],
    ['along a chain', { a: ['b'], b: ['c'], c: ['d'], d: [] }, ['d', 'c', 'b', 'a']],
    [
      'once, where several depend on one',
      { web: ['api', 'cache'], api: ['db', 'cache'], cache: ['db'], db: [] },
      ['db', 'cache', 'api', 'web'],
    ],
    ['also where a dependency is named twice', { web: ['db', 'db'], db: [] }, ['db', 'web']],
  ];
  for (const [what, dependsOn, expected] of orders) {
    test(`orders apps ${what}`, async () => {
      const lines = Object.entries(dependsOn).map(
        ([name, on]) => `  ${name}: {command: a, depends_on: [${on.join(', ')}]}`,
      );
      const { apps } = await specOf(`apps:\n${lines.join('\n')}\n`);
      assert.deepEqual(
        apps.map(({ name }) => name),
        expected,
      );
      for (const [index, app] of apps.entries()) {
        const earlier = apps.slice(0, index).map(({ name }) => name);
        assert.deepEqual(
          app.dependsOn.filter((name) => !earlier.includes(name)),
          [],
          app.name,
        );
      }
    });
  }

  const readiness: readonly (readonly [string, AppSpec['ready']])[] = [
    ['spawned', { kind: 'spawned' }],
    ['fd', { kind: 'fd' }],
    ['{http: /up}', { kind: 'http', path: '/up', port: null }],
    ['{http: {path: /up, port: 9100}}', { kind: 'http', path: '/up', port: 9100 }],
    ['{tcp: 9100}', { kind: 'tcp', port: 9100 }],
    ['{tcp: {}}', { kind: 'tcp', port: null }],
    ['{log: "^ready$"}', { kind: 'log', pattern: '^ready$' }],
    ['{delay: 1s}', { kind: 'delay', delayMs: 1000 }],
  ];
  for (const [yaml, ready] of readiness) {
    test(`ready: ${yaml}`, async () =>
      assert.deepEqual((await appOf(`apps: {web: {command: a, port: 9000, ready: ${yaml}}}`)).ready, ready));
  }

  const atListen: readonly (readonly [string, AppSpec['ready']])[] = [
    ['listen: ":8000", ready: {http: /up}', { kind: 'http', path: '/up', port: null }],
    ['listen: ["unix:/a", "[::1]:80", ":8000"], ready: {tcp: {}}', { kind: 'tcp', port: null }],
    ['listen: [":8000", ":9000"], balance: steered, ready: {tcp: 9000}', { kind: 'tcp', port: 9000 }],
  ];
  for (const [yaml, ready] of atListen) {
    test(`lets a probe ask a worker at the address that all have: ${yaml}`, async () =>
      assert.deepEqual((await appOf(`apps: {web: {command: a, workers: 4, ${yaml}}}`)).ready, ready));
  }

  test('lets a probe have a port of its own beside a shared listener', async () => {
    const app = await appOf(
      'apps: {web: {command: a, workers: 4, listen: ":8000", ready: {http: {path: /up, port: 9100}}}}',
    );
    assert.deepEqual(app.ready, { kind: 'http', path: '/up', port: 9100 });
  });

  test('keeps the order of apps and of addresses', async () => {
    const { apps, dir } = await specOf(
      'apps:\n  z: {command: a, listen: [":2", "unix:run/z.sock", ":1"]}\n  a: {command: a}\n  m: {command: a}\n',
    );
    assert.deepEqual(
      apps.map(({ name }) => name),
      ['z', 'a', 'm'],
    );
    assert.deepEqual(
      apps[0]?.listen.map(({ url }) => url),
      ['tcp://:2', `unix:${dir}/run/z.sock`, 'tcp://:1'],
    );
  });

  test('takes a key without a value for one that is not set', async () => {
    const app = await appOf(
      'apps:\n  web:\n    command: a\n    workers:\n    listen:\n    cwd: ~\n    stop:\n    user: null\n    health: null\n    spares: 0\n    watch: []\n',
    );
    assert.deepEqual([app.workers, app.listen, app.stop.signal, app.identity.user], [1, [], 'SIGTERM', null]);
  });

  test('may use anchors', async () => {
    const { apps } = await specOf(
      'apps:\n  web: {command: a, stop: &stop {timeout: 5s}}\n  api: {command: b, stop: *stop}\n',
    );
    assert.deepEqual(
      apps.map(({ stop }) => stop.timeoutMs),
      [5000, 5000],
    );
  });

  test('may be JSON, indented with tabs', async () => {
    const dir = folder({
      'supervise.json': '{\n\t"apps": {\n\t\t"web": {"command": ["node", "x"], "workers": "${N:-3}"}\n\t}\n}\n',
    });
    const { spec } = await loadConfig(join(dir, 'supervise.json'), {});
    assert.deepEqual([spec.apps[0]?.argv, spec.apps[0]?.workers], [['node', 'x'], 3]);
  });

  test('may have a byte order mark and the line ends of Windows', async () => {
    assert.equal((await specOf('\ufeffname: shop\r\napps:\r\n  web:\r\n    command: a\r\n')).name, 'shop');
  });

  test('may be named from another folder, and says where its paths count from', async () => {
    const dir = folder({ 'supervise.yaml': 'apps: {web: {command: a, cwd: ..}}\ncontrol: {socket: x.sock}\n' });
    const { spec } = await loadConfig(relative(process.cwd(), join(dir, 'supervise.yaml')), {});
    assert.deepEqual(
      [spec.dir, spec.file, spec.apps[0]?.cwd, spec.controlSocket],
      [dir, join(dir, 'supervise.yaml'), root, join(dir, 'x.sock')],
    );
  });
});

describe('control.http', () => {
  const cases: Record<string, string | null> = {
    '"127.0.0.1:9700"': 'tcp://127.0.0.1:9700',
    'localhost:9700': 'tcp://127.0.0.1:9700',
    '9700': 'tcp://127.0.0.1:9700',
    '":9700"': 'tcp://127.0.0.1:9700',
    '"[::1]:9700"': 'tcp://[::1]:9700',
    '0.0.0.0:9700': 'tcp://0.0.0.0:9700',
    '"[::]:9700"': 'tcp://[::]:9700',
    '${HTTP:-127.0.0.1:9701}': 'tcp://127.0.0.1:9701',
    'null': null,
  };
  for (const [written, url] of Object.entries(cases)) {
    test(`${written} is ${url ?? 'none'}`, async () => {
      const { controlHttp } = await specOf(`apps: {web: {command: a}}\ncontrol:\n  http: ${written}\n`);
      assert.equal(controlHttp?.url ?? null, url);
    });
  }
});

describe('variables', () => {
  test('are expanded before typing, in plain and quoted values', async () => {
    const app = await appOf(
      'apps:\n  web:\n    command: a\n    workers: ${N:-4}\n    nice: "${NICE}"\n    stop: {timeout: "${S}s"}\n    env: {V: "${N:-7}", W: "$${N}", X: "${E}"}\n',
      {
        NICE: '-3',
        S: '20',
        E: '',
      },
    );
    assert.deepEqual([app.workers, app.identity.nice, app.stop.timeoutMs], [4, -3, 20_000]);
    assert.deepEqual(app.env, { V: '7', W: '${N}', X: '' });
  });

  test('work in every value of health, stall, limits, watch, tls_files, depends_on and logs', async () => {
    const app = await appOf(
      `apps:
  web:
    command: a
    port: 9000
    health: {exec: [check, "\${URL}", "x\${URL}"], interval: "\${S}s", failures: "\${N}"}
    stall: \${NONE:-}
    limits: {memory: "\${N}GB", lifetime: "\${S}m", jitter: "\${JITTER}"}
    watch: {paths: ["\${DIR}/src"], ignore: ["\${DIR}/*"], debounce: "\${S}ms"}
    tls_files: ["\${DIR}/cert.pem"]
    depends_on: ["\${APP}"]
    logs: {file: "\${DIR}/{slot}.log", max_size: "\${N}MB", keep: "\${N}", gzip: "\${YES}", format: "\${FORMAT}"}
  cache: {command: 'b', logs: "\${LOGS:-inherit}", health: {exec: 'check "\${URL}" \${S}', timeout: "\${S}s"}, port: 1}
`,
      { URL: 'a b', S: '7', N: '2', JITTER: '0.2', DIR: '/srv', APP: 'cache', YES: 'true', FORMAT: 'raw' },
    );
    const { health, stall, limits, watch, tlsFiles, dependsOn, logs } = app;
    assert.deepEqual(
      { health, stall, limits, watch, tlsFiles, dependsOn, logs },
      {
        health: {
          probe: { kind: 'exec', argv: ['check', 'a b', 'xa b'], shell: false },
          intervalMs: 7000,
          timeoutMs: 2000,
          failures: 2,
        },
        stall: null,
        limits: { memoryBytes: 2 * 2 ** 30, lifetimeMs: 420_000, jitter: 0.2 },
        watch: { paths: ['/srv/src'], ignore: ['/srv/*'], debounceMs: 7 },
        tlsFiles: ['/srv/cert.pem'],
        dependsOn: ['cache'],
        logs: {
          kind: 'captured',
          format: 'raw',
          file: '/srv/{slot}.log',
          maxSizeBytes: 2 * 2 ** 20,
          keep: 2,
          gzip: true,
        },
      },
    );
  });

  test('that are empty mean not set, where no text is meant', async () => {
    const app = await appOf('apps: {web: {command: a, workers: "${N:-}", user: "${U:-}", spares: "${SPARES:-0}"}}');
    assert.deepEqual([app.workers, app.identity.user], [1, null]);
  });

  test('of commands never split or join words', async () => {
    const app = await appOf('apps:\n  web:\n    command: run ${A} "${B}" x${C:-y z} \'${A}\' ${EMPTY} $$A\n', {
      A: '1 2 && 3',
      B: '"',
      EMPTY: '',
    });
    assert.deepEqual(app.argv, ['run', '1 2 && 3', '"', 'xy z', '1 2 && 3', '', '$A']);
  });

  test('of shell hooks are left to the shell', async () => {
    const { hooks } = await specOf(
      'hooks: {pre_start: [{command: "echo ${NOT_SET:-$$} $(date)", shell: true}]}\napps: {web: {command: a}}\n',
    );
    assert.deepEqual(hooks.pre_start[0]?.argv, ['echo ${NOT_SET:-$$} $(date)']);
  });

  test('come from the environment, then from the env_file, which workers inherit too', async () => {
    const dir = folder({
      'supervise.yaml': 'env_file: ${STAGE}.env\nname: ${NAME}-${STAGE}\napps: {web: {command: "a ${FROM_FILE}"}}\n',
      'test.env': 'NAME=file\nFROM_FILE="f g"\nSTAGE=other\n# comment\n',
    });
    const { spec } = await loadConfig(join(dir, 'supervise.yaml'), { NAME: 'environment', STAGE: 'test' });
    assert.deepEqual([spec.name, spec.apps[0]?.argv], ['environment-test', ['a', 'f g']]);
    assert.deepEqual(spec.env, { NAME: 'file', STAGE: 'other', FROM_FILE: 'f g' });
  });
});

describe('findConfig', () => {
  test('prefers the named file, then yaml, yml, json', () => {
    const dir = folder({ 'supervise.json': '{}' });
    assert.equal(findConfig(null, dir), join(dir, 'supervise.json'));
    writeFileSync(join(dir, 'supervise.yml'), '');
    assert.equal(findConfig(null, dir), join(dir, 'supervise.yml'));
    writeFileSync(join(dir, 'supervise.yaml'), '');
    assert.equal(findConfig(null, dir), join(dir, 'supervise.yaml'));
    assert.equal(findConfig('elsewhere/x.yaml', dir), 'elsewhere/x.yaml');
  });

  test('says what it has looked for', () => {
    const error = thrown(() => findConfig(null, folder({})));
    assert.deepEqual([error.code, error.exitCode], ['config-not-found', 78]);
    assert.match(error.message, /supervise\.yaml, supervise\.yml, supervise\.json, \/etc\/supervise\/supervise\.yaml/);
    assert.match(error.hint ?? '', /-c FILE/);
  });
});

describe('readName', () => {
  const cases: readonly (readonly [string, string, string])[] = [
    ['the name', 'name: shop\napps: {web: {command: a}}\n', 'shop'],
    ['the name of the folder', 'apps: {}\n', 'named'],
    [
      'the name in a config with other problems',
      'name: shop\nworkers: 4\napps: {web: {listen: x, command: "a ${NOT_SET}"}}\n',
      'shop',
    ],
    ['the name in a file that is no YAML any more', 'name: "shop" # x\napps: {web: {command: a}\n  - x\n', 'shop'],
    ['a name with a variable', 'name: ${N:-x}-api\n', 'x-api'],
    ['the folder where the name cannot be one', 'name: a/b\n', 'named'],
  ];
  for (const [what, yaml, expected] of cases) {
    test(`finds ${what}`, async () => {
      const dir = folder({ 'supervise.yaml': yaml }, join(`names-${++count}`, 'named'));
      assert.equal(await readName(join(dir, 'supervise.yaml'), {}), expected);
    });
  }
});

describe('flags alone', () => {
  const cwd = folder({}, 'flags.only');
  const start = (argv: readonly string[], flags: Flags & { preStart?: readonly string[] } = {}) =>
    specFromFlags({ ...flags, argv, cwd, env: { HOME: '/root', A: 'a' } }).spec;

  test('make one app, named after its program', () => {
    const spec = start(['/usr/bin/uvicorn', 'main:app', '--fd', '{fd}'], {
      workers: '4',
      bind: ['127.0.0.1:8000', 'unix:web.sock'],
      preStart: ['alembic upgrade head', 'echo ${A}'],
    });
    const [app] = spec.apps;
    assert.deepEqual([spec.name, spec.file, spec.dir, spec.env], ['flags.only', null, cwd, { HOME: '/root', A: 'a' }]);
    assert.deepEqual(
      [app?.name, app?.kind, app?.argv, app?.workers, app?.cwd],
      ['uvicorn', 'command', ['/usr/bin/uvicorn', 'main:app', '--fd', '{fd}'], 4, cwd],
    );
    assert.deepEqual(
      app?.listen.map(({ url }) => url),
      ['tcp://127.0.0.1:8000', `unix:${cwd}/web.sock`],
    );
    assert.deepEqual(
      spec.hooks.pre_start.map(({ name, argv }) => [name, argv]),
      [
        ['alembic', ['alembic', 'upgrade', 'head']],
        ['echo', ['echo', 'a']],
      ],
    );
  });

  test('name apps without dots', () => {
    const names = [['python3.11', 'x'], ['./server.js'], ['../bin/7zip'], ['/opt/my app/run me'], ['...']].map(
      (argv) => start(argv).apps[0]?.name,
    );
    assert.deepEqual(names, ['python3-11', 'server-js', 'zip', 'run-me', 'hook']);
  });

  test('leave words as the caller has written them', () => {
    const argv = ['node', '-e', 'console.log(`${process.pid} $$ && $HOME`)', '', '  '];
    assert.deepEqual(start(argv).apps[0]?.argv, argv);
  });

  test('take --name', () => assert.equal(start(['a'], { name: 'shop' }).name, 'shop'));

  const broken: readonly (readonly [string, () => unknown, string])[] = [
    [
      'a number of workers',
      () => start(['a'], { workers: 'many' }),
      'flag -w: apps.a.workers: expected a whole number from 0 to 1000, auto, or a map with min and max, found "many"',
    ],
    [
      'an address',
      () => start(['a'], { bind: ['8000'] }),
      'flag -b: apps.a.listen[0]: expected an address such as "127.0.0.1:8000", ":8000", "[::1]:8000" or "unix:/run/app.sock", found "8000". Did you mean ":8000" (all addresses) or "127.0.0.1:8000"?',
    ],
    [
      'an address twice',
      () => start(['a'], { bind: [':80', 'localhost:80'] }),
      'flag -b: apps.a.listen[1]: expected an address of its own, found "localhost:80", which collides with ":80" of apps.a.listen[0] (flag -b)',
    ],
    [
      'a hook',
      () => start(['a'], { preStart: ['b && c'] }),
      'flag --pre-start: hooks.pre_start[0]: expected a program and its words, found the shell operator && at character 3. Write "sh -c \'...\'" to have it run by a shell, or quote it',
    ],
    [
      'a name',
      () => start(['a'], { name: 'a b' }),
      'flag --name: name: expected a name of letters, digits, ., _ and - (at most 63), found "a b"',
    ],
    [
      '{fd} without -b',
      () => start(['a', '{fd}']),
      'flag --: apps.a.command: expected a listen address for {fd}, found none. Add one to listen of the app, or with -b',
    ],
  ];
  for (const [what, make, message] of broken) {
    test(`are a usage error: ${what}`, () => {
      const error = thrown(make);
      assert.deepEqual([error.code, error.exitCode, error.message], ['usage', 64, message]);
    });
  }

  test('do not load the YAML parser', () => {
    const code = `
      import { createRequire } from 'node:module';
      import { specFromFlags } from './build/src/config/load.js';
      const { spec: { apps } } = specFromFlags({ argv: ['a'], cwd: '/', env: {} });
      const loaded = Object.keys(createRequire(import.meta.url).cache).filter((file) => file.includes('/yaml/'));
      console.log(apps.length, loaded.length);
    `;
    const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', code], { encoding: 'utf8' });
    assert.equal(stdout, '1 0\n');
  });
});

describe('flags beside a config', () => {
  const one = 'apps: {web: {command: serve, workers: 2, listen: ":8000"}}\n';
  const load = (yaml: string) => loadConfig(join(folder({ 'supervise.yaml': yaml }), 'supervise.yaml'), {});

  test('win over it', async () => {
    const { spec } = applyFlags(await load(one), { workers: 5, bind: ['127.0.0.1:9000'], name: 'other' });
    assert.deepEqual(
      [spec.name, spec.apps[0]?.workers, spec.apps[0]?.listen.map(({ url }) => url)],
      ['other', 5, ['tcp://127.0.0.1:9000']],
    );
    assert.equal(spec.apps[0]?.argv[0], 'serve');
  });

  test('that are not given change nothing', async () => {
    const loaded = await load(one);
    assert.deepEqual(applyFlags(loaded, { workers: null, bind: [], name: null }).spec, loaded.spec);
  });

  test('-w and -b need one app, --name does not', async () => {
    const loaded = await load('apps: {web: {command: a}, api: {command: b}}\n');
    const error = thrown(() => applyFlags(loaded, { workers: 4, bind: [':80'] }));
    assert.deepEqual(
      [error.exitCode, error.message],
      [64, 'flag -w and -b: expected a config with one app, found 2: web, api'],
    );
    assert.equal(applyFlags(loaded, { name: 'x' }).spec.name, 'x');
  });

  test('that make it invalid are a usage error', async () => {
    const loaded = await load(one);
    assert.equal(thrown(() => applyFlags(loaded, { workers: -1 })).exitCode, 64);
    assert.equal(thrown(() => applyFlags(loaded, { bind: ['x'] })).exitCode, 64);
  });
});
