/** Watching real files: each kind of change is told once, with the path that an operator knows. */
import { describe, test } from 'node:test';
import type { TestContext } from 'node:test';
import assert from 'node:assert/strict';
import {
  appendFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { inWords } from '../../src/system/watching/changes.ts';
import { FileWatch } from '../../src/system/watching/file-watch.ts';
import { FolderEvents, type FolderListener } from '../../src/system/watching/folder-events.ts';
import { ignoring, shownPath } from '../../src/system/watching/ignoring.ts';
import type { Interest } from '../../src/system/watching/inventory.ts';
import { linesOf, start, systemFolder, until } from './processes.ts';

const debounceMs = 80;

interface Options {
  readonly paths: readonly string[];
  readonly ignore?: readonly string[];
  readonly by?: 'stamp' | 'content';
}

/** Knows when all folders that are held are set up: only then does a test change anything. */
class SettledEvents extends FolderEvents {
  opening = Infinity;

  override hold(owner: FolderListener, wanted: ReadonlyMap<string, Interest>): number {
    return (this.opening = super.hold(owner, wanted));
  }
}

/** A folder with a watch on it, and what it has told. */
class Watched {
  readonly dir = realpathSync(mkdtempSync(join(tmpdir(), 'supervise-watching-')));
  readonly told: string[] = [];
  readonly warnings: string[] = [];
  readonly events = new SettledEvents((message) => this.warnings.push(message));
  watch: FileWatch | null = null;

  constructor(t: TestContext) {
    t.after(() => {
      this.watch?.close();
      rmSync(this.dir, { recursive: true, force: true });
    });
  }

  path(file: string): string {
    return join(this.dir, file);
  }

  write(file: string, text: string): void {
    mkdirSync(dirname(this.path(file)), { recursive: true });
    writeFileSync(this.path(file), text);
  }

  async begin({ paths, ignore = [], by = 'stamp' }: Options): Promise<this> {
    const set = {
      roots: paths.map((path) => this.path(path)),
      ignores: ignoring(this.dir, ignore),
      isOwn: () => false,
      by,
      debounceMs,
      sinceMs: Infinity,
    };
    this.watch = new FileWatch(set, this.events, (changes) =>
      this.told.push(inWords(changes.map((one) => ({ ...one, path: shownPath(this.dir, one.path) })))),
    );
    await this.settled();
    return this;
  }

  /** A look has found every folder set up. */
  async settled(): Promise<void> {
    await until(() => this.events.opening === 0, 'all folders to be set up');
  }

  /** Makes a change, and waits until it was told: that, and nothing else, neither now nor with the next change. */
  async tells(change: () => void | Promise<void>, ...expected: string[]): Promise<void> {
    const before = this.told.length;
    await change();
    await until(() => this.told.length >= before + expected.length, `${expected.join(', ')} (${this.told.join(', ')})`);
    await this.#quiet();
    assert.deepEqual(this.told.slice(before), expected);
    assert.deepEqual(this.warnings, []);
  }

  /** Longer than a second report would take: it is not waited for anything that could be asked. */
  async #quiet(): Promise<void> {
    await sleep(3 * debounceMs);
    await this.settled();
  }

  /** Makes a change that is none: another one after it is the first to be told. */
  async isSilentOn(change: () => void | Promise<void>): Promise<void> {
    const before = this.told.length;
    await change();
    await this.#quiet();
    assert.deepEqual(this.told.slice(before), []);
  }
}

describe('a change is told once', () => {
  test('of a file that is written in place, and of one below', async (t) => {
    const site = new Watched(t);
    site.write('src/app.py', 'one');
    site.write('src/deep/er/more.py', 'one');
    await site.begin({ paths: ['src'] });
    await site.tells(() => site.write('src/app.py', 'two'), 'src/app.py changed');
    await site.tells(() => appendFileSync(site.path('src/deep/er/more.py'), 'two'), 'src/deep/er/more.py changed');
    await site.tells(() => site.write('src/new.py', 'one'), 'src/new.py added');
    await site.tells(() => unlinkSync(site.path('src/new.py')), 'src/new.py removed');
    await site.tells(() => utimesSync(site.path('src/app.py'), 1, 1), 'src/app.py changed');
  });

  test('of a file that an editor saves: a new one renamed over it, the old one moved aside, deleted and made again', async (t) => {
    const site = new Watched(t);
    site.write('src/app.py', 'one');
    await site.begin({ paths: ['src', 'src/app.py'] });
    const app = site.path('src/app.py');
    await site.tells(() => {
      writeFileSync(`${app}.tmp`, 'renamed');
      renameSync(`${app}.tmp`, app);
    }, 'src/app.py changed');
    await site.tells(() => {
      writeFileSync(site.path('src/4913'), '');
      unlinkSync(site.path('src/4913'));
      renameSync(app, `${app}~`);
      writeFileSync(app, 'vim');
      unlinkSync(`${app}~`);
    }, 'src/app.py changed');
    await site.tells(() => {
      unlinkSync(app);
      writeFileSync(app, 'again');
    }, 'src/app.py changed');
    await site.tells(() => appendFileSync(app, ' and in place'), 'src/app.py changed');
    assert.equal(readFileSync(app, 'utf8'), 'again and in place');
  });

  test('of 200 files that are written in one go', async (t) => {
    const site = new Watched(t);
    for (let file = 0; file < 200; file++) site.write(`src/${file % 10}/${file}.py`, 'one');
    await site.begin({ paths: ['src'] });
    await site.tells(() => {
      for (let file = 0; file < 200; file++) site.write(`src/${file % 10}/${file}.py`, 'other');
    }, 'src/0/0.py and 199 more changed');
  });

  test('of a tree that is put in place while it is watched', async (t) => {
    const site = new Watched(t);
    site.write('src/app.py', 'one');
    for (const file of ['a/a.py', 'a/b/b.py', 'a/b/c/c.py']) site.write(`elsewhere/${file}`, 'one');
    await site.begin({ paths: ['src'] });
    await site.tells(
      () => cpSync(site.path('elsewhere'), site.path('src/more'), { recursive: true }),
      'src/more/a/a.py and 2 more added',
    );
    await site.tells(() => site.write('src/more/a/b/c/c.py', 'two'), 'src/more/a/b/c/c.py changed');
  });

  test('of folders that are made and filled at leisure, but without a pause', async (t) => {
    const site = new Watched(t);
    site.write('src/app.py', 'one');
    await site.begin({ paths: ['src'] });
    await site.tells(async () => {
      for (let file = 10; file < 40; file++) {
        site.write(`src/more/deep/${file}.py`, 'one');
        await sleep(debounceMs / 4);
      }
    }, 'src/more/deep/10.py and 29 more added');
  });

  test('of files and folders that were not there, and come and go', async (t) => {
    const site = new Watched(t);
    await site.begin({ paths: ['not/yet/there.yaml', 'lib'] });
    await site.tells(() => site.write('not/yet/there.yaml', 'one'), 'not/yet/there.yaml added');
    await site.tells(() => site.write('lib/a.py', 'one'), 'lib/a.py added');
    await site.tells(() => rmSync(site.path('lib'), { recursive: true }), 'lib/a.py removed');
    await site.tells(() => rmSync(site.path('not'), { recursive: true }), 'not/yet/there.yaml removed');
    await site.tells(() => site.write('lib/a.py', 'two'), 'lib/a.py added');
    await site.tells(() => site.write('lib/a.py', 'three'), 'lib/a.py changed');
    await site.tells(() => site.write('not/yet/there.yaml', 'two'), 'not/yet/there.yaml added');
  });

  test('of a folder that is deleted and made again, moved away and back, or exchanged', async (t) => {
    const site = new Watched(t);
    site.write('src/app.py', 'one');
    await site.begin({ paths: ['src'] });
    await site.tells(() => {
      rmSync(site.path('src'), { recursive: true });
      site.write('src/app.py', 'two');
    }, 'src/app.py changed');
    await site.tells(() => site.write('src/app.py', 'three'), 'src/app.py changed');
    await site.tells(() => {
      site.write('next/app.py', 'four');
      renameSync(site.path('src'), site.path('before'));
      renameSync(site.path('next'), site.path('src'));
    }, 'src/app.py changed');
    await site.tells(() => site.write('src/app.py', 'five'), 'src/app.py changed');
    await site.isSilentOn(() => {
      renameSync(site.path('src'), site.path('next'));
      renameSync(site.path('next'), site.path('src'));
    });
    await site.tells(() => site.write('src/app.py', 'six'), 'src/app.py changed');
  });

  test('of a Kubernetes ConfigMap: ..data is exchanged as a whole', async (t) => {
    const site = new Watched(t);
    const publish = (version: string, text: string) => {
      site.write(`config/..${version}/app.yaml`, text);
      symlinkSync(`..${version}`, site.path('config/..data_tmp'));
      renameSync(site.path('config/..data_tmp'), site.path('config/..data'));
    };
    publish('1', 'one');
    symlinkSync('..data/app.yaml', site.path('config/app.yaml'));
    await site.begin({ paths: ['config', 'config/app.yaml'] });
    for (const version of ['2', '3', '4'])
      await site.tells(() => {
        publish(version, `version ${version}`);
        rmSync(site.path(`config/..${Number(version) - 1}`), { recursive: true });
      }, 'config/app.yaml changed');
  });

  test('of what a link leads to, when it is written, and when the link leads elsewhere', async (t) => {
    const site = new Watched(t);
    site.write('releases/1/app.py', 'one');
    site.write('releases/2/app.py', 'two');
    symlinkSync('releases/1', site.path('current'));
    await site.begin({ paths: ['current'] });
    await site.tells(() => site.write('releases/1/app.py', 'other'), 'current/app.py changed');
    await site.tells(() => {
      symlinkSync('releases/2', site.path('next'));
      renameSync(site.path('next'), site.path('current'));
    }, 'current/app.py changed');
    await site.isSilentOn(() => site.write('releases/1/app.py', 'nobody uses it'));
    await site.tells(() => site.write('releases/2/app.py', 'three'), 'current/app.py changed');
  });

  test('links that lead in a circle do not matter', async (t) => {
    const site = new Watched(t);
    site.write('src/app.py', 'one');
    symlinkSync('.', site.path('src/again'));
    symlinkSync('loop', site.path('src/loop'));
    symlinkSync('/nowhere/at/all', site.path('src/dangling'));
    await site.begin({ paths: ['src'] });
    await site.tells(() => site.write('src/app.py', 'two'), 'src/app.py changed');
  });
});

describe('certificates, by their content', () => {
  /** As certbot lays them out: live/shop/X.pem -> ../../archive/shop/XN.pem */
  function certbot(site: Watched) {
    const names = ['cert', 'chain', 'fullchain', 'privkey'];
    return {
      issue(number: number) {
        for (const name of names) site.write(`archive/shop/${name}${number}.pem`, `${name} ${number}`);
        for (const name of names) {
          const link = site.path(`live/shop/${name}.pem`);
          mkdirSync(dirname(link), { recursive: true });
          rmSync(link, { force: true });
          symlinkSync(`../../archive/shop/${name}${number}.pem`, link);
        }
      },
    };
  }

  test('a renewal is told once, each time', async (t) => {
    const site = new Watched(t);
    certbot(site).issue(1);
    await site.begin({ paths: ['live/shop/fullchain.pem', 'live/shop/privkey.pem'], by: 'content' });
    for (const number of [2, 3])
      await site.tells(() => certbot(site).issue(number), 'live/shop/fullchain.pem and live/shop/privkey.pem changed');
  });

  test('one that was only touched, written again as it was, or linked to a copy is not told', async (t) => {
    const site = new Watched(t);
    certbot(site).issue(1);
    await site.begin({ paths: ['live/shop/fullchain.pem'], by: 'content' });
    await site.isSilentOn(() => utimesSync(site.path('archive/shop/fullchain1.pem'), 1, 1));
    await site.isSilentOn(() => site.write('archive/shop/fullchain1.pem', 'fullchain 1'));
    await site.isSilentOn(() => {
      site.write('archive/shop/copy.pem', 'fullchain 1');
      symlinkSync('../../archive/shop/copy.pem', site.path('live/shop/next'));
      renameSync(site.path('live/shop/next'), site.path('live/shop/fullchain.pem'));
    });
    await site.isSilentOn(() => unlinkSync(site.path('live/shop/fullchain.pem')));
    await site.isSilentOn(() => symlinkSync('../../archive/shop/copy.pem', site.path('live/shop/fullchain.pem')));
    await site.tells(() => site.write('archive/shop/copy.pem', 'renewed'), 'live/shop/fullchain.pem changed');
  });

  test('one that is there for the first time is told', async (t) => {
    const site = new Watched(t);
    await site.begin({ paths: ['live/shop/fullchain.pem'], by: 'content' });
    await site.tells(() => certbot(site).issue(1), 'live/shop/fullchain.pem added');
    await site.tells(() => certbot(site).issue(2), 'live/shop/fullchain.pem changed');
  });
});

test('what is ignored is not told, and does not hold up what is', async (t) => {
  const site = new Watched(t);
  site.write('app.py', 'one');
  site.write('data/keep.txt', 'one');
  await site.begin({ paths: ['.'], ignore: ['*.log', 'data/cache', '*/tmp/**'] });
  await site.isSilentOn(() => {
    for (const file of ['node_modules/x/index.js', '.git/HEAD', 'a/__pycache__/app.cpython-311.pyc', 'a/app.py~'])
      site.write(file, 'x');
    for (const file of ['a/b/access.log', 'data/cache/1', 'a/tmp/x/y', '.app.py.swp', '.mypy_cache/x'])
      site.write(file, 'x');
  });
  const chatter = setInterval(() => appendFileSync(site.path('a/b/access.log'), 'line\n'), 20);
  t.after(() => clearInterval(chatter));
  await site.tells(() => site.write('data/keep.txt', 'two'), 'data/keep.txt changed');
  await site.tells(() => site.write('data/other/cache/1', 'one'), 'data/other/cache/1 added');
});

test('what was changed, removed or exchanged before it was covered is not told; what is later is, however old its files are', async (t) => {
  const site = new Watched(t);
  const files = ['src/lib/a.py', 'src/lib/b.py', 'src/lib/c.py', 'src/app.py', 'releases/1/d.py', 'releases/2/d.py'];
  for (const file of [...files, 'next/a.py', 'other/e.py']) site.write(file, file);
  symlinkSync('../releases/1', site.path('src/current'));
  await site.begin({ paths: ['src'] });
  const point = (release: string) => {
    symlinkSync(`../releases/${release}`, site.path('next-link'));
    renameSync(site.path('next-link'), site.path('src/current'));
  };
  await site.isSilentOn(() => {
    site.write('src/app.py', 'deployed');
    site.write('src/new/f.py', 'deployed');
    unlinkSync(site.path('src/lib/a.py'));
    point('2');
    renameSync(site.path('other'), site.path('src/other'));
    return sleep(50).then(() => site.watch?.cover(Date.now()));
  });
  // As a Python that starts now does it: an ignored folder appears in one that is new.
  await site.isSilentOn(() => site.write('src/new/__pycache__/f.pyc', 'x'));
  await site.tells(() => site.write('src/app.py', 'three'), 'src/app.py changed');
  await site.tells(() => unlinkSync(site.path('src/lib/b.py')), 'src/lib/b.py removed');
  await site.tells(() => point('1'), 'src/current/d.py changed');
  await site.tells(() => {
    renameSync(site.path('src/lib'), site.path('before'));
    renameSync(site.path('next'), site.path('src/lib'));
  }, 'src/lib/a.py and src/lib/c.py changed');
});

test('a change that comes right after it was covered is told', async (t) => {
  const site = new Watched(t);
  for (const file of ['a.py', 'b.py', 'c.py']) site.write(file, 'one');
  await site.begin({ paths: ['.'] });
  await site.tells(() => {
    site.watch?.cover(Date.now());
    site.write('a.py', 'two');
    unlinkSync(site.path('b.py'));
    site.write('d.py', 'one');
  }, 'a.py and 2 more changed');
});

test('two that watch the same folder are both told, and the other goes on when one has ended', async (t) => {
  const site = new Watched(t);
  site.write('app.py', 'one');
  await site.begin({ paths: ['.'] });
  const other: string[] = [];
  const set = {
    roots: [site.path('app.py')],
    ignores: () => false,
    isOwn: () => false,
    by: 'content' as const,
    debounceMs,
    sinceMs: Infinity,
  };
  const second = new FileWatch(set, site.events, (changes) => other.push(inWords(changes)));
  site.events.opening = Infinity;
  await site.settled();
  await site.tells(() => site.write('app.py', 'two'), 'app.py changed');
  await until(() => other.length === 1, 'the other one');
  second.close();
  await site.tells(() => site.write('app.py', 'three'), 'app.py changed');
  assert.equal(other.length, 1);
});

test('without inotify watches left it warns once, says what to do, and looks itself', async (t) => {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), 'supervise-watching-')));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  for (const name of ['a', 'b', 'c', 'd', 'e', 'f']) mkdirSync(join(dir, name));
  const script = `
    const { FolderEvents } = await import('${systemFolder}/watching/folder-events.js');
    const { FileWatch } = await import('${systemFolder}/watching/file-watch.js');
    const print = (words) => process.stdout.write(words + '\\n');
    const events = new FolderEvents((message) => print('warning ' + message));
    const none = () => false;
    const set = { roots: ['${dir}'], ignores: none, isOwn: none, by: 'stamp', debounceMs: 50, sinceMs: Infinity };
    new FileWatch(set, events, (changes) => print(changes.map((one) => one.path).join()));`;
  // The limit of a user namespace of its own: nobody else is short of watches.
  const limited = 'echo 3 > /proc/sys/user/max_inotify_watches && exec "$@"';
  const command = ['unshare', '-Ur', 'sh', '-c', limited, 'sh', process.execPath, '--input-type=module', '-e', script];
  const line = linesOf(start(t, command));
  assert.match(
    await line(),
    new RegExp(`^warning ${dir}.* no inotify watch left \\(ENOSPC\\).* fs\\.inotify\\.max_user_watches .* every 5 s`),
  );
  const files = ['a/1', 'f/1'].map((name) => join(dir, name));
  for (const file of files) {
    writeFileSync(file, 'one');
    assert.equal(await line(), file);
  }
});
