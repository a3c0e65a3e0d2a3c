import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import type { Reply, ReloadCommand } from '../../src/core/protocol.ts';
import type { Spec } from '../../src/core/spec.ts';
import { app, hook, spec, tcp, World } from '../helpers/world.ts';

const pre = (name: string) => hook(name, { phase: 'pre_reload' });
const post = (name: string) => hook(name, { phase: 'post_reload', onFailure: 'continue' });

function up(hooks: Partial<Spec['hooks']>, ...apps: readonly Parameters<typeof app>[0][]): World {
  const names = apps.length === 0 ? ['web'] : apps;
  return new World({ hooks, apps: names.map((name) => app(name)) }).start().allReady();
}

function reload(it: World, parts: Partial<ReloadCommand> = {}): Reply {
  return it.handle({ type: 'reload', spec: null, apps: null, ...parts });
}

function finish(it: World, reply: Reply): World {
  for (let n = 0; n < 20 && it.finished(reply) === null; n++) it.allReady().after(5_000).asked();
  return it;
}

describe('hooks of a reload', () => {
  test('pre_reload, then the rollout, then post_reload, then it is done', () => {
    const it = up({ pre_reload: [pre('check'), pre('lint')], post_reload: [post('tell')] });
    const reply = reload(it);
    assert.deepEqual(it.names(), ['web.1', 'hook.check']);
    assert.equal(it.master.snapshot().state, 'reloading');
    it.hook('check').exits(0);
    assert.deepEqual(it.names(), ['web.1', 'hook.lint']);
    it.hook('lint').exits(0);
    assert.deepEqual(it.names(), ['web.1', 'web.2']);
    it.worker('web', 1).becomesReady();
    it.after(5_000).asked().after(5_000);
    assert.deepEqual(it.names(), ['web.2', 'hook.tell']);
    assert.equal(it.finished(reply), null);
    it.hook('tell').exits(0);
    assert.equal(it.finished(reply)?.ok, true);
    assert.match(it.finished(reply)?.message ?? '', /revision 2 serves/);
    assert.equal(it.master.snapshot().state, 'running');
  });

  test('one that fails leaves everything as it was, the new config included', () => {
    const it = up({});
    const next = spec({ hooks: { pre_reload: [pre('check')] }, apps: [app('web', { workers: 3 }), app('api')] });
    const reply = reload(it, { spec: next });
    it.hook('check').exits(4, { lastLines: ['the schema is behind'] });
    const { ok, message, lastLines } = it.finished(reply) ?? assert.fail();
    assert.deepEqual([ok, lastLines], [false, ['the schema is behind']]);
    assert.match(message, /pre_reload hook check failed: .*4; nothing was reloaded/);
    assert.deepEqual(it.names(), ['web.1']);
    assert.deepEqual([it.types().includes('config.changed'), it.master.snapshot().apps[0]?.revision], [false, 1]);
    finish(it, reload(it));
    assert.ok(!it.names().includes('hook.check'), 'the old config has no such hook');
  });

  test('on_failure: continue goes on', () => {
    const it = up({ pre_reload: [hook('check', { phase: 'pre_reload', onFailure: 'continue' })] });
    const reply = reload(it);
    it.hook('check').exits(1);
    finish(it, reply);
    assert.equal(it.finished(reply)?.ok, true);
  });

  test('a rollback runs no post_reload', () => {
    const it = up({ post_reload: [post('tell')] });
    const reply = reload(it);
    it.worker('web', 1).exits(1);
    finish(it, reply);
    assert.deepEqual([it.finished(reply)?.ok, it.types().includes('hook.running')], [false, false]);
  });

  test('a post_reload that may not fail makes the reload fail, and the new revision serves', () => {
    const it = up({ post_reload: [hook('tell', { phase: 'post_reload', onFailure: 'abort' })] });
    const reply = reload(it);
    for (let n = 0; n < 3; n++) it.allReady().after(5_000);
    it.workersOf('web')[0]?.exits(0);
    it.hook('tell').exits(1);
    assert.equal(it.finished(reply)?.ok, false);
    assert.match(it.finished(reply)?.message ?? '', /revision 2 serves .*; but post_reload hook tell failed/);
    assert.deepEqual(it.places('web'), ['1 r2']);
  });

  test('a later reload waits for the hooks, and supersedes the one that runs them and those that wait', () => {
    const it = up({ pre_reload: [pre('check')] });
    const [first, second, third] = [reload(it), reload(it), reload(it)];
    assert.deepEqual(it.names(), ['web.1', 'hook.check'], 'one process at a time');
    assert.equal(it.finished(second)?.message, 'superseded by a later reload before it began');
    it.hook('check').exits(0);
    assert.equal(it.finished(first)?.message, 'superseded by a later reload');
    assert.deepEqual(it.names(), ['web.1', 'hook.check'], 'the hooks of the third');
    it.hook('check').exits(0);
    finish(it, third);
    assert.equal(it.finished(third)?.ok, true);
    assert.deepEqual(
      it.places('web').map((place) => place.slice(2)),
      ['r2'],
    );
  });

  test('a later one without hooks of its own waits for them as well', () => {
    const it = up({ pre_reload: [pre('check')] });
    const first = reload(it);
    const second = reload(it, { spec: spec({ apps: [app('web')] }) });
    assert.deepEqual(it.names(), ['web.1', 'hook.check']);
    it.hook('check').exits(0);
    assert.equal(it.finished(first)?.message, 'superseded by a later reload');
    finish(it, second);
    assert.equal(it.finished(second)?.ok, true);
  });

  describe('of other apps', () => {
    const three = ['web', 'api', 'db'] as const;
    const named = (...apps: readonly string[]) => ({ apps });
    /** As many hooks as run one after the other succeed. */
    const hooksSucceed = (it: World): World => {
      while (it.names().includes('hook.check')) it.hook('check').exits(0);
      return it;
    };
    const outcomes = (it: World, replies: readonly Reply[]) => {
      for (const reply of replies) finish(hooksSucceed(it), reply);
      return replies.map((reply) => it.finished(reply)?.message);
    };

    for (const [first, ...others] of [three, three.toReversed()])
      test(`those that come during the hooks of ${first} wait, each for its turn, and none is lost`, () => {
        const it = up({ pre_reload: [pre('check')] }, ...three);
        const replies = [first ?? '', ...others].map((name) => reload(it, named(name)));
        assert.deepEqual(it.names(), ['web.1', 'api.1', 'db.1', 'hook.check'], 'one process at a time');
        assert.deepEqual(outcomes(it, replies), [
          `${first}: revision 2 serves with 1 worker`,
          ...others.map((name) => `${name}: revision 2 serves with 1 worker`),
        ]);
        assert.equal(it.eventsOf('hook.running').length, 3);
      });

    test('one that names all of them, or all there are, supersedes those that wait', () => {
      for (const all of [{}, named(...three)]) {
        const it = up({ pre_reload: [pre('check')] }, ...three);
        const replies = [named('web'), named('api'), named('db'), all].map((parts) => reload(it, parts));
        const [first, ...waited] = outcomes(it, replies);
        assert.deepEqual(
          [first, ...waited.slice(0, 2)],
          ['superseded by a later reload', ...Array(2).fill('superseded by a later reload before it began')],
        );
        assert.match(waited[2] ?? '', /^(\w+: revision 2 serves with 1 worker(; )?){3}$/);
        assert.equal(it.eventsOf('hook.running').length, 2);
      }
    });

    test('one of a single app does not supersede one of all: it comes after it', () => {
      const it = up({ pre_reload: [pre('check')] }, ...three);
      const [first, all, single] = [reload(it, named('db')), reload(it), reload(it, named('web'))];
      it.hook('check').exits(0);
      assert.match(it.finished(first)?.message ?? '', /superseded/);
      it.hook('check').exits(0);
      assert.equal(it.finished(all), null, 'it rolls');
      assert.deepEqual(it.names(), ['web.1', 'api.1', 'db.1', 'web.2', 'api.2', 'db.2', 'hook.check']);
      finish(it, all);
      assert.equal(it.finished(all)?.ok, true);
      assert.equal(outcomes(it, [single])[0], 'web: revision 3 serves with 1 worker');
    });

    test('one without the new config does not supersede the one that brings it', () => {
      const it = up({ pre_reload: [pre('check')] }, 'web', 'db');
      const next: Spec = { ...it.spec, env: { RELEASE: 'new' } };
      const replies = [reload(it, named('db')), reload(it, { ...named('web'), spec: next }), reload(it, named('web'))];
      outcomes(it, replies);
      assert.equal(it.workersOf('web')[0]?.launch?.pinned.env['RELEASE'], 'new');
    });

    test('one of what has changed does not supersede one of all: code changes without the config', () => {
      const it = up({ pre_reload: [pre('check')] }, 'web', 'db');
      const replies = [named('db'), named('web'), { spec: it.spec, changedOnly: true }].map((parts) =>
        reload(it, parts),
      );
      assert.deepEqual(outcomes(it, replies).slice(1), ['web: revision 2 serves with 1 worker', 'nothing to do']);
    });

    test('post_reload of one that has rolled meanwhile comes first, and then who waits', () => {
      const it = up({ post_reload: [post('tell')] }, ...three);
      const first = reload(it, named('web'));
      it.worker('web', 1).becomesReady();
      const hooks = { ...it.spec.hooks, pre_reload: [pre('check')] };
      const [second, third] = ['api', 'db'].map((name) => reload(it, { ...named(name), spec: { ...it.spec, hooks } }));
      it.after(5_000).asked().after(5_000);
      assert.deepEqual(it.names().slice(-1), ['hook.check']);
      it.hook('check').exits(0);
      assert.deepEqual(
        it.names().filter((name) => name.startsWith('hook')),
        ['hook.tell'],
        'one process at a time',
      );
      it.hook('tell').exits(0);
      assert.equal(it.finished(first)?.ok, true);
      assert.deepEqual(it.names().slice(-1), ['hook.check'], 'that of the third');
      it.hook('check').exits(0);
      for (const reply of [second, third]) {
        while (!it.names().includes('hook.tell')) it.allReady().after(5_000).asked();
        it.hook('tell').exits(0);
        assert.equal(it.finished(reply ?? assert.fail())?.ok, true);
      }
    });

    test('a stop: none of those that wait comes', () => {
      const it = up({ pre_reload: [pre('check')] }, ...three);
      const replies = three.map((name) => reload(it, { ...named(name), timeoutMs: 60_000 }));
      it.handle({ type: 'stop', how: 'graceful' });
      assert.deepEqual(
        replies.map((reply) => it.finished(reply)?.message),
        three.map(() => 'the master stops'),
      );
      it.hook('check').exits(null, { signal: 'SIGTERM' });
      it.asked();
      it.expectEnded(0);
      assert.equal(it.eventsOf('hook.running').length, 1);
    });

    test('one that is out of time leaves the others their turn', () => {
      const it = up({ pre_reload: [pre('check')] }, ...three);
      const [first, second, third] = [
        reload(it, named('web')),
        reload(it, { ...named('api'), timeoutMs: 20_000 }),
        reload(it, named('db')),
      ];
      it.after(20_000);
      assert.equal(it.finished(second)?.message, 'not done within 20s; nothing was reloaded');
      assert.deepEqual(outcomes(it, [first, third]), [
        'web: revision 2 serves with 1 worker',
        'db: revision 2 serves with 1 worker',
      ]);
    });
  });

  test('a later one waits for post_reload too, and then comes', () => {
    const it = up({ post_reload: [post('tell')] });
    const first = reload(it);
    while (!it.names().includes('hook.tell')) it.allReady().after(5_000).asked();
    const second = reload(it);
    assert.deepEqual(it.names(), ['web.2', 'hook.tell']);
    it.hook('tell').exits(0);
    assert.equal(it.finished(first)?.ok, true);
    assert.deepEqual(it.names(), ['web.2', 'web.3']);
    assert.equal(it.finished(second), null);
  });

  test('post_reload waits for the hooks of a later one', () => {
    const it = up({ post_reload: [post('tell')] }, 'web', 'api');
    const first = reload(it, { apps: ['web'] });
    it.worker('web', 1).becomesReady();
    const hooks = { ...it.spec.hooks, pre_reload: [pre('check')] };
    const second = reload(it, { apps: ['api'], spec: { ...it.spec, hooks } });
    it.after(5_000).asked();
    assert.deepEqual(it.names(), ['api.1', 'web.2', 'hook.check'], 'one process at a time');
    assert.equal(it.finished(first), null);
    assert.match(it.eventsOf('operation.progress').at(-1)?.message ?? '', /post_reload hooks wait for other hooks$/);
    it.hook('check').exits(0);
    assert.ok(it.names().includes('hook.tell'));
    it.hook('tell').exits(0);
    assert.equal(it.finished(first)?.ok, true);
    assert.equal(it.finished(second), null);
  });

  test('a stop ends the hook of a reload first, and pre_stop follows', () => {
    const it = up({ pre_reload: [pre('check')], pre_stop: [hook('drain', { phase: 'pre_stop' })] });
    const reply = reload(it);
    it.handle({ type: 'stop', how: 'graceful' });
    assert.deepEqual([it.names(), it.hook('check').effects], [['web.1', 'hook.check'], ['SIGTERM']]);
    it.hook('check').exits(null, { signal: 'SIGTERM' });
    assert.deepEqual(it.names(), ['web.1', 'hook.drain']);
    it.hook('drain').exits(0);
    it.asked();
    it.expectEnded(0);
    assert.equal(it.finished(reply)?.ok, false);
  });

  test('a stop: what waits for the hooks never comes', () => {
    const it = up({ pre_reload: [pre('check')] });
    reload(it);
    reload(it, { timeoutMs: 60_000 });
    it.handle({ type: 'stop', how: 'graceful' });
    it.hook('check').exits(null, { signal: 'SIGTERM' });
    assert.deepEqual(it.names(), ['web.1']);
    it.asked();
    it.expectEnded(0);
  });

  test('a quick stop does not wait for it', () => {
    const it = up({ pre_reload: [pre('check')] });
    reload(it);
    it.handle({ type: 'stop', how: 'now' });
    it.asked();
    it.expectEnded(0);
  });

  test('what cannot be prepared after the hooks leaves everything as it was', () => {
    const it = up({ pre_reload: [pre('check')] });
    const reply = reload(it, { spec: spec({ hooks: { pre_reload: [pre('check')] }, apps: [app('web'), app('api')] }) });
    it.pinErrorFor = 'api';
    it.hook('check').exits(0);
    assert.match(it.finished(reply)?.message ?? '', /api: no such program; nothing was reloaded/);
    assert.deepEqual(it.names(), ['web.1']);
  });
});

describe('a reload with a timeout', () => {
  test('is rolled back when its time is over', () => {
    const it = up({});
    const reply = reload(it, { timeoutMs: 20_000 });
    it.after(19_999);
    assert.equal(it.finished(reply), null);
    it.after(1).asked();
    assert.equal(it.finished(reply)?.ok, false);
    assert.match(it.finished(reply)?.message ?? '', /rolled back: not done within 20s; revision 1 serves/);
    assert.deepEqual(it.places('web'), ['0 r1']);
  });

  test('ends a pre_reload hook that takes too long', () => {
    const it = up({ pre_reload: [pre('check')] });
    const reply = reload(it, { timeoutMs: 20_000 });
    it.after(20_000);
    assert.deepEqual(it.hook('check').effects, ['SIGTERM']);
    it.asked();
    assert.equal(it.finished(reply)?.message, 'not done within 20s; nothing was reloaded');
    assert.equal(it.master.snapshot().state, 'running');
  });

  test('that waits for the hooks of another never comes when its time is over, and supersedes nobody', () => {
    const it = up({ pre_reload: [pre('check')] });
    const [first, second] = [reload(it), reload(it, { timeoutMs: 20_000 })];
    it.after(19_999);
    assert.equal(it.finished(second), null);
    it.after(1);
    assert.equal(it.finished(second)?.message, 'not done within 20s; nothing was reloaded');
    it.hook('check').exits(0);
    finish(it, first);
    assert.equal(it.finished(first)?.ok, true);
    assert.equal(it.eventsOf('hook.running').length, 1);
  });

  test('its time does not matter any more when it is over', () => {
    const it = up({});
    const pending = it.clock.pending;
    const reply = reload(it, { timeoutMs: 60_000 });
    finish(it, reply);
    assert.deepEqual([it.finished(reply)?.ok, it.clock.pending], [true, pending]);
  });

  test('a later one has its own time', () => {
    const it = up({});
    const first = reload(it, { timeoutMs: 20_000 });
    it.after(10_000);
    const second = reload(it);
    it.after(10_000).asked();
    assert.match(it.finished(first)?.message ?? '', /superseded/);
    finish(it, second);
    assert.equal(it.finished(second)?.ok, true);
  });
});

describe('a reload of what has changed', () => {
  test('touches the apps that differ, and nobody else', () => {
    const it = up({}, 'cache', 'web', 'old', 'many');
    const next = [app('cache'), app('web', { env: { A: '1' } }), app('many', { workers: 3 }), app('new')];
    const reply = reload(it, { spec: { ...it.spec, apps: next }, changedOnly: true });
    assert.match(reply.ok ? reply.message : '', /^reloading web, new, many, old$/);
    finish(it, reply);
    assert.equal(it.finished(reply)?.ok, true);
    assert.match(
      it.finished(reply)?.message ?? '',
      /old is removed; many has 3 workers; new is added and serves; web: revision 2/,
    );
    const places = ['cache', 'web', 'old', 'many', 'new'].map((name) => it.places(name).length);
    assert.deepEqual(places, [1, 1, 0, 3, 1]);
    assert.deepEqual([it.worker('cache', 0).name, it.worker('many', 0).name], ['cache.1', 'many.1'], 'they stay');
    assert.deepEqual(it.worker('many', 2).launch?.pinned.revision, 1);
  });

  test('does nothing when nothing has', () => {
    const it = up({});
    const reply = reload(it, { spec: it.spec, changedOnly: true });
    assert.deepEqual([it.finished(reply)?.ok, it.finished(reply)?.message], [true, 'nothing to do']);
    assert.deepEqual(it.names(), ['web.1']);
  });

  test('the number of workers of the config holds for later revisions too', () => {
    const it = up({});
    finish(it, reload(it, { spec: { ...it.spec, apps: [app('web', { workers: 2 })] }, changedOnly: true }));
    const reply = reload(it);
    finish(it, reply);
    assert.deepEqual([it.finished(reply)?.ok, it.places('web').length], [true, 2]);
  });
});

test('the reason of a reload that nobody asked for is told', () => {
  const it = up({});
  reload(it, { apps: ['web'], reason: 'src/app.py changed' });
  assert.equal(it.eventsOf('operation.started')[0]?.message, 'src/app.py changed: reloading web');
});

describe('apps that depend on others', () => {
  const stack = () => [app('cache'), app('db'), app('web', { dependsOn: ['cache', 'db'], listen: [tcp(8000)] })];

  test('wait until those serve', () => {
    const it = new World({ apps: stack() }).start();
    assert.deepEqual(it.names(), ['cache.1', 'db.1']);
    it.worker('cache', 0).becomesReady();
    assert.deepEqual([it.names(), it.appState('web')], [['cache.1', 'db.1'], 'waiting']);
    it.worker('db', 0).becomesReady();
    assert.deepEqual(it.names(), ['cache.1', 'db.1', 'web.1']);
    assert.equal(it.master.snapshot().state, 'starting');
    it.allReady();
    assert.equal(it.master.snapshot().state, 'running');
  });

  test('go before them at a stop', () => {
    const it = new World({ apps: stack() }).start().allReady();
    it.handle({ type: 'stop', how: 'graceful' });
    const left: string[][] = [];
    for (let n = 0; n < 3; n++) {
      left.push(
        it
          .live()
          .filter(({ effects }) => effects.length > 0)
          .map(({ name }) => name),
      );
      it.live()
        .find(({ effects }) => effects.length > 0)
        ?.exits(0);
    }
    assert.deepEqual(left, [['web.1'], ['db.1'], ['cache.1']]);
    it.expectEnded(0);
  });

  test('a dependency that has done its work is enough', () => {
    const once = app('seed', { restart: 'on-failure' });
    const it = new World({ apps: [once, app('web', { dependsOn: ['seed'] })] }).start();
    it.worker('seed', 0).exits(0);
    assert.deepEqual(it.names(), ['web.1']);
  });

  test('a dependency that has failed for good is not', () => {
    const once = app('seed', { restart: 'never' });
    const it = new World({ apps: [app('cache'), once, app('web', { dependsOn: ['seed'] })] }).start();
    it.worker('cache', 0).becomesReady();
    it.worker('seed', 0).exits(1);
    it.after(60_000);
    assert.deepEqual([it.names(), it.appState('seed'), it.appState('web')], [['cache.1'], 'failed', 'waiting']);
  });

  const notesOf = (it: World, name: string) => it.master.snapshot().apps.find((one) => one.name === name)?.notes;

  test('status says what an app waits for', () => {
    const it = new World({ apps: stack() }).start();
    assert.deepEqual(notesOf(it, 'web'), ['waits for cache (starting) and db (starting)']);
    it.allReady();
    assert.deepEqual(notesOf(it, 'web'), []);
  });

  test('who waits for one that has failed for good does not hold up the start, and starts when that is mended', () => {
    const apps = [
      app('cache'),
      app('seed', { restart: 'never' }),
      app('web', { dependsOn: ['seed'] }),
      app('front', { dependsOn: ['web'] }),
    ];
    const it = new World({ apps }).start();
    it.worker('cache', 0).becomesReady();
    assert.equal(it.master.snapshot().state, 'starting');
    it.worker('seed', 0).exits(1);
    assert.equal(it.master.snapshot().state, 'running');
    assert.deepEqual(
      ['web', 'front'].map((name) => notesOf(it, name)),
      [['waits for seed (failed)'], ['waits for web (waiting)']],
    );
    it.handle({ type: 'retry', target: { app: 'seed', worker: null } });
    it.worker('seed', 0).exits(0);
    assert.deepEqual(it.names(), ['cache.1', 'web.1']);
    it.allReady();
    assert.deepEqual(it.names(), ['cache.1', 'web.1', 'front.1']);
    assert.deepEqual(notesOf(it, 'front'), []);
  });

  test('when nobody else can run, the master ends with the failure', () => {
    const it = new World({ apps: [app('seed', { restart: 'never' }), app('web', { dependsOn: ['seed'] })] }).start();
    it.worker('seed', 0).exits(3);
    it.expectEnded(1);
    assert.match(it.ended?.error?.message ?? '', /seed.*exit code 3/);
  });

  test('a reload that adds both ends, and says so', () => {
    const it = up({}, 'cache');
    const next = [app('cache'), app('seed', { restart: 'never' }), app('web', { dependsOn: ['seed'] })];
    const reply = reload(it, { spec: { ...it.spec, apps: next }, changedOnly: true });
    it.worker('seed', 0).exits(1);
    assert.equal(it.finished(reply)?.ok, false);
    assert.match(it.finished(reply)?.message ?? '', /web is added, but waits for seed \(failed\)$/);
  });

  test('one that never serves ends the start, and who waited never starts', () => {
    const it = new World({ apps: stack() }).start();
    for (let n = 0; n < 3; n++) {
      it.worker('db', 0).exits(1);
      it.after(5_000);
    }
    it.asked();
    it.expectEnded(1);
    assert.ok(!it.processes.some(({ name }) => name.startsWith('web.')));
  });

  test('a crash of a dependency later stops nobody', () => {
    const it = new World({ apps: stack() }).start().allReady();
    it.worker('db', 0).exits(1);
    assert.deepEqual(it.worker('web', 0).effects, []);
  });

  test('an app that a reload adds waits as well', () => {
    const it = up({}, 'cache');
    const reply = reload(it, {
      spec: { ...it.spec, apps: [app('cache'), app('db'), app('web', { dependsOn: ['db'] })] },
    });
    assert.ok(!it.names().includes('web.1'));
    finish(it, reply);
    assert.deepEqual([it.finished(reply)?.ok, it.names().includes('web.1')], [true, true]);
  });

  test('and if the one that it adds comes back while it still leaves, for the new one', () => {
    const it = up({}, 'cache', 'db');
    const removes = reload(it, { spec: { ...it.spec, apps: [app('cache')] }, changedOnly: true });
    assert.deepEqual(it.worker('db', 0).effects, ['SIGTERM']);
    reload(it, {
      spec: { ...it.spec, apps: [app('cache'), app('db'), app('web', { dependsOn: ['db'] })] },
      changedOnly: true,
    });
    assert.deepEqual(it.names(), ['cache.1', 'db.1']);
    it.asked();
    assert.equal(it.finished(removes)?.ok, true);
    assert.deepEqual(it.names(), ['cache.1', 'db.2']);
    it.allReady();
    assert.deepEqual(it.names(), ['cache.1', 'db.2', 'web.1']);
  });

  test('one that is not there, because the reload did not name it, holds up nobody', () => {
    const it = up({}, 'cache');
    const next = [app('cache'), app('db'), app('web', { dependsOn: ['db'] })];
    reload(it, { spec: { ...it.spec, apps: next }, apps: ['web'] });
    assert.deepEqual(it.names(), ['cache.1', 'web.1']);
  });
});
