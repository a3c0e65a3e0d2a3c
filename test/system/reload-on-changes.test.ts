/** Changed files lead to a reload of their app: against real files, and a master's face made of four methods. */
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, realpathSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { reloadOnChanges } from '../../src/assembly/watching.ts';
import { SuperviseError } from '../../src/core/errors.ts';
import type { Command, Event, EventBody, MasterState, Reply, Snapshot } from '../../src/core/protocol.ts';
import type { AppSpec, Spec } from '../../src/core/spec.ts';
import { app as appOf, spec as specOf } from '../helpers/world.ts';
import { until } from './processes.ts';

const debounceMs = 50;

class Site {
  readonly dir = realpathSync(mkdtempSync(join(tmpdir(), 'supervise-reloads-')));
  /** What was asked for: app, and why. */
  readonly reloads: string[] = [];
  readonly warnings: string[] = [];
  spec: Spec = specOf({ apps: [] });
  state: MasterState = 'running';
  reply: Reply = { ok: true, operation: 1, message: '' };
  #listener: (event: Event) => void = () => undefined;
  readonly stop: () => void;

  constructor(t: TestContext) {
    mkdirSync(join(this.dir, 'own'));
    this.stop = reloadOnChanges({
      master: this,
      own: [join(this.dir, 'own')],
      warn: (message) => this.warnings.push(message),
    });
    t.after(() => {
      this.stop();
      rmSync(this.dir, { recursive: true, force: true });
    });
  }

  snapshot(): Snapshot {
    return { state: this.state } as Snapshot;
  }

  subscribe(listener: (event: Event) => void): () => void {
    this.#listener = listener;
    return () => undefined;
  }

  handle(command: Command): Reply {
    assert.ok(command.type === 'reload' && command.spec === null);
    this.reloads.push(`${command.apps?.join()}: ${command.reason}`);
    if (this.reply.ok)
      for (const app of command.apps ?? []) this.emit({ type: 'rollout.started', app, from: 1, to: 2 });
    return this.reply;
  }

  emit(body: EventBody): void {
    this.#listener({ seq: 1, at: '', ...body });
  }

  write(file: string, text: string): void {
    const path = join(this.dir, file);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }

  app(more: Partial<AppSpec> = {}, paths: readonly string[] = ['.']): AppSpec {
    return appOf(more.name ?? 'web', { cwd: this.dir, watch: { paths, ignore: [], debounceMs }, ...more });
  }

  /** The master runs these apps now. */
  use(...apps: AppSpec[]): void {
    this.spec = specOf({ apps });
    this.emit({ type: 'config.changed', added: [], removed: [], rescaled: [], changed: [] });
  }

  /** Writes the file, again and again until the watch is set up, and waits for the reload that it causes. */
  async untilWatched(file: string, expected: string, quietMs = 3 * debounceMs): Promise<void> {
    for (let text = 0; !this.reloads.includes(expected); text++) {
      assert.ok(text < 100, `no reload: ${this.reloads.join('; ')} ${this.warnings.join('; ')}`);
      this.write(file, `${file} ${text}`);
      await sleep(quietMs);
    }
    await sleep(quietMs);
    this.reloads.length = 0;
  }

  async reloadsOn(change: () => void, ...expected: string[]): Promise<void> {
    change();
    await until(() => this.reloads.length >= expected.length, `${expected.join('; ')} (${this.reloads.join('; ')})`);
    await sleep(4 * debounceMs);
    assert.deepEqual(this.reloads.splice(0), expected);
  }
}

test('a change reloads the app that watches it, and no other; what supervise itself writes is no change', async (t) => {
  const site = new Site(t);
  site.write('web/app.py', '');
  site.write('jobs/job.py', '');
  const logs = { kind: 'captured', format: 'raw', maxSizeBytes: 1, keep: 1, gzip: false } as const;
  site.use(
    site.app({ logs: { ...logs, file: join(site.dir, 'web/web.{slot}.log') } }, ['web', 'own', '.']),
    site.app({ name: 'jobs' }, ['jobs']),
    appOf('other'),
  );
  await site.untilWatched('web/app.py', 'web: web/app.py changed');
  await site.untilWatched('jobs/job.py', 'jobs: jobs/job.py changed');
  await site.reloadsOn(() => {
    site.write('web/web.0.log', 'line');
    site.write('web/web.1.log.1', 'line');
    site.write('web/app.py', 'two');
  }, 'web: web/app.py changed');
  assert.deepEqual(site.warnings, []);
});

test('what supervise itself writes is no change through links either, also where it is not there yet', async (t) => {
  const site = new Site(t);
  site.write('web/app.py', '');
  site.write('shared/app.log', 'a worker has opened it');
  mkdirSync(join(site.dir, 'empty'));
  for (const [link, target] of [
    ['web/log', '../shared'],
    ['web/last.log', '../shared/app.log'],
    ['web/later', '../empty'],
    ['web/run', '../own'],
  ] as const)
    symlinkSync(target, join(site.dir, link));
  const logs = { kind: 'captured', format: 'raw', maxSizeBytes: 1, keep: 1, gzip: false } as const;
  site.use(
    site.app({ logs: { ...logs, file: join(site.dir, 'web/log/app.log') } }, ['web', 'web/log']),
    site.app({ name: 'jobs', watch: null, logs: { ...logs, file: join(site.dir, 'web/later/deep/{slot}/job.log') } }),
  );
  await site.untilWatched('web/app.py', 'web: web/app.py changed');
  await site.reloadsOn(() => {
    site.write('shared/app.log', 'line');
    site.write('shared/app.log.1', 'line');
    site.write('empty/deep/0/job.log', 'line');
    site.write('own/pid', '1');
    site.write('web/app.py', 'two');
  }, 'web: web/app.py changed');
  await site.reloadsOn(() => site.write('shared/code.py', 'one'), 'web: web/log/code.py added');
});

test('an app that cannot be watched is told once, and the others are watched', async (t) => {
  const site = new Site(t);
  site.write('app.py', '');
  site.write('job.py', '');
  const broken = site.app({ name: 'web', watch: { paths: ['.'], ignore: ['[z-a]'], debounceMs } });
  site.use(broken, site.app({ name: 'jobs' }, ['job.py']));
  await site.untilWatched('job.py', 'jobs: job.py changed');
  site.use(broken, site.app({ name: 'jobs' }, ['app.py']));
  await site.untilWatched('app.py', 'jobs: app.py changed');
  assert.equal(site.warnings.length, 1);
  assert.match(site.warnings[0] ?? '', /^files of web are not watched: SyntaxError/);
  site.use(site.app({}, ['job.py']));
  await site.untilWatched('job.py', 'web: job.py changed');
});

test('a change that comes before the watch is set up is one, what was there before is none', async (t) => {
  const site = new Site(t);
  site.write('app.py', '');
  site.write('cert.pem', '');
  await sleep(100);
  site.use(site.app({ watch: null }));
  await sleep(100);
  await site.reloadsOn(() => {
    site.use(site.app({ tlsFiles: ['cert.pem'] }));
    site.write('app.py', 'already');
  }, 'web: app.py changed');
});

test('a certificate that is renewed reloads the app', async (t) => {
  const site = new Site(t);
  site.write('archive/cert1.pem', 'one');
  site.write('archive/cert2.pem', 'two');
  symlinkSync('archive/cert1.pem', join(site.dir, 'cert.pem'));
  site.use(site.app({ watch: null, tlsFiles: ['cert.pem'] }));
  await sleep(500);
  await site.reloadsOn(() => {
    symlinkSync('archive/cert2.pem', join(site.dir, 'next'));
    renameSync(join(site.dir, 'next'), join(site.dir, 'cert.pem'));
  }, 'web: cert.pem changed');
});

test('a reload that comes too early is tried again when the master runs', async (t) => {
  const site = new Site(t);
  site.write('app.py', '');
  site.use(site.app());
  await site.untilWatched('app.py', 'web: app.py changed');
  const refused = new SuperviseError('operation-failed', 'cannot reload: the master is starting');
  for (const state of ['starting', 'reloading'] as const) {
    site.state = state;
    site.reply = { ok: false, error: refused };
    await site.reloadsOn(() => site.write('app.py', state), 'web: app.py changed');
    site.state = 'running';
    site.reply = { ok: true, operation: 2, message: '' };
    await site.reloadsOn(() => site.emit({ type: 'master.running', pid: 1 }), 'web: app.py changed');
    await site.reloadsOn(() => site.emit({ type: 'master.running', pid: 1 }));
  }
  assert.deepEqual(site.warnings, []);
});

test('a reload that cannot be done is told, and the next change tries again', async (t) => {
  const site = new Site(t);
  site.write('app.py', '');
  site.use(site.app());
  await site.untilWatched('app.py', 'web: app.py changed');
  site.reply = { ok: false, error: new SuperviseError('program-cannot-run', 'the script is gone') };
  await site.reloadsOn(() => site.write('app.py', 'one'), 'web: app.py changed');
  assert.deepEqual(site.warnings, ['web was not reloaded (app.py changed): the script is gone']);
  await site.reloadsOn(() => site.write('app.py', 'two'), 'web: app.py changed');
});

test('it follows the config and the link of the cwd, and ends with the app', async (t) => {
  const site = new Site(t);
  for (const file of ['releases/1/app.py', 'releases/2/app.py', 'releases/2/lib/a.py']) site.write(file, '');
  symlinkSync('releases/1', join(site.dir, 'current'));
  const cwd = join(site.dir, 'current');
  site.use(site.app({ cwd }));
  await site.untilWatched('releases/1/app.py', 'web: app.py changed');
  symlinkSync('releases/2', join(site.dir, 'next'));
  renameSync(join(site.dir, 'next'), cwd);
  await sleep(1_000);
  assert.deepEqual(site.reloads, [], 'a new release is started by a reload, not by its link');
  site.emit({ type: 'rollout.started', app: 'web', from: 1, to: 2 });
  await site.untilWatched('releases/2/app.py', 'web: app.py changed');
  await site.reloadsOn(() => site.write('releases/1/app.py', 'old'));
  site.use(site.app({ cwd }, ['lib']));
  await site.untilWatched('releases/2/lib/a.py', 'web: lib/a.py changed');
  await site.reloadsOn(() => site.write('releases/2/app.py', 'not watched any more'));
  site.use();
  await sleep(4 * debounceMs);
  await site.reloadsOn(() => site.write('releases/2/lib/a.py', 'nobody is there'));
});

test('what was changed before an operator reloads is taken up by that reload', async (t) => {
  const site = new Site(t);
  site.write('app.py', '');
  site.use(site.app({ watch: { paths: ['.'], ignore: [], debounceMs: 300 } }));
  await site.untilWatched('app.py', 'web: app.py changed', 700);
  site.write('app.py', 'deployed');
  await sleep(100);
  site.emit({ type: 'rollout.started', app: 'web', from: 2, to: 3 });
  await sleep(1_000);
  assert.deepEqual(site.reloads, []);
  await site.reloadsOn(() => site.write('app.py', 'after it'), 'web: app.py changed');
});

test('an app that writes what is watched is warned of, and ending a watch ends its reloads', async (t) => {
  const site = new Site(t);
  site.write('app.py', '');
  site.use(site.app());
  await site.untilWatched('app.py', 'web: app.py changed');
  site.emit({ type: 'rollout.succeeded', app: 'web', from: 1, to: 2 });
  for (const round of [1, 2, 3, 4]) await site.reloadsOn(() => site.write('app.py', `${round}`), 'web: app.py changed');
  assert.deepEqual(site.warnings, []);
  await site.reloadsOn(() => site.write('app.py', '5'), 'web: app.py changed');
  assert.match(site.warnings.join('\n'), /^web is reloaded for the 5th time in a row .*apps\.web\.watch\.ignore$/);
  site.stop();
  await site.reloadsOn(() => site.write('app.py', '6'));
});
