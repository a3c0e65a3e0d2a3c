/** One master for each RUNTIME, and what the second is told. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { SuperviseError } from '../../src/core/errors.ts';
import {
  isAlive,
  readMasterInfo,
  removeMasterInfo,
  takeInstanceLock,
  writeMasterInfo,
} from '../../src/system/instance/instance.ts';
import { createLocks } from '../../src/system/instance/locks.ts';
import { statOf } from '../../src/system/procfs.ts';
import { killed, linesOf, start, systemFolder, temporaryDirectory } from './processes.ts';

const about = {
  name: 'shop',
  configFile: '/srv/shop/supervise.yaml',
  startedAt: '2026-01-01T00:00:00.000Z',
  socket: '/run/x/control.sock',
};

function masterProgram(runtime: string): readonly string[] {
  const program = `
    import { createLocks } from '${systemFolder}/instance/locks.js';
    import { takeInstanceLock, writeMasterInfo } from '${systemFolder}/instance/instance.js';
    takeInstanceLock(createLocks(), '${runtime}');
    writeMasterInfo('${runtime}', ${JSON.stringify(about)});
    setInterval(() => undefined, 1 << 30);
    console.log('up');`;
  return [process.execPath, '--input-type=module', '-e', program];
}

test('a second start is refused with pid, --name and config file; after a kill -9 it is not', async (t) => {
  const runtime = temporaryDirectory(t);
  const master = start(t, masterProgram(runtime));
  assert.equal(await linesOf(master)(), 'up');
  assert.equal(readFileSync(join(runtime, 'supervise.pid'), 'utf8'), `${master.pid}\n`);

  assert.throws(
    () => takeInstanceLock(createLocks(), runtime),
    (error: unknown) => {
      assert.ok(error instanceof SuperviseError);
      assert.equal(error.exitCode, 75);
      assert.match(error.message, new RegExp(`pid ${master.pid}, --name shop, config /srv/shop/supervise.yaml`));
      return true;
    },
  );

  await killed(master);
  assert.ok(existsSync(join(runtime, 'master.json')), 'left over');
  takeInstanceLock(createLocks(), runtime)();
});

test('a master that the lock cannot show, in another network namespace, is found by its file', async (t) => {
  const runtime = temporaryDirectory(t);
  const other = start(t, ['sleep', '100']);
  const startTimeTicks = statOf(other.pid)?.startTimeTicks ?? 0;
  writeFileSync(join(runtime, 'master.json'), JSON.stringify({ ...about, pid: other.pid, startTimeTicks }));
  const locks = createLocks();
  assert.throws(() => takeInstanceLock(locks, runtime), new RegExp(`pid ${other.pid}, --name shop`));

  writeFileSync(
    join(runtime, 'master.json'),
    JSON.stringify({ ...about, pid: other.pid, startTimeTicks: startTimeTicks - 1 }),
  );
  takeInstanceLock(locks, runtime)();
});

test('another holder of the lock is named even when it has written no file', async (t) => {
  const runtime = temporaryDirectory(t);
  const locks = createLocks();
  const release = takeInstanceLock(locks, runtime);
  assert.throws(
    () => takeInstanceLock(locks, runtime),
    new RegExp(`another master already runs with ${runtime}: pid ${process.pid} \\(`),
  );
  release();
});

test('the files are written and taken away by their own process only', (t) => {
  const runtime = temporaryDirectory(t);
  const info = writeMasterInfo(runtime, about);
  assert.equal(info.pid, process.pid);
  assert.deepEqual(readMasterInfo(runtime), info);
  assert.equal(isAlive(info), true);
  assert.equal(isAlive({ ...info, startTimeTicks: info.startTimeTicks + 1 }), false);

  writeFileSync(join(runtime, 'master.json'), JSON.stringify({ ...info, pid: info.pid + 1 }));
  removeMasterInfo(runtime);
  assert.ok(existsSync(join(runtime, 'supervise.pid')));
  writeMasterInfo(runtime, about);
  removeMasterInfo(runtime);
  assert.deepEqual(
    [existsSync(join(runtime, 'supervise.pid')), existsSync(join(runtime, 'master.json'))],
    [false, false],
  );
});

test('a file that is not what we write is nothing', (t) => {
  const runtime = temporaryDirectory(t);
  for (const text of ['', '{', 'null', '[]', '{"pid":"1"}']) {
    writeFileSync(join(runtime, 'master.json'), text);
    assert.equal(readMasterInfo(runtime), null, text);
  }
});
