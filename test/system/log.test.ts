import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import { createLog, readableLines, type LogOptions } from '../../src/system/output/log.ts';
import { Sink } from '../../src/system/output/sink.ts';
import { openFileTarget } from '../../src/system/output/sink-target.ts';

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'log-'));
after(() => fs.rmSync(dir, { recursive: true }));
let names = 0;

async function logged(
  options: Omit<LogOptions, 'sink'> & { terminal?: boolean },
  use: (log: ReturnType<typeof createLog>) => void,
): Promise<string> {
  const name = path.join(dir, String(names++));
  const file = openFileTarget(name);
  const sink = new Sink({ name, target: options.terminal === true ? { ...file, kind: 'tty' } : file });
  use(createLog({ ...options, sink }));
  await new Promise<void>((resolve) => sink.close(resolve));
  return fs.readFileSync(name, 'utf8');
}

describe('log', () => {
  test('JSON lines of pino, with the time as text and the name of the master', async () => {
    const text = await logged({ colors: false, name: 'shop' }, (log) => {
      log.info({ event: 'worker.ready', worker: 'web.1', pid: 42 }, 'web.1 is ready after 0.8 s');
      log.debug('not shown');
      log.error('bad');
    });
    const [first, second, ...rest] = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    assert.match(String(first?.['time']), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.deepEqual(
      { ...first, time: '' },
      {
        level: 30,
        time: '',
        name: 'shop',
        event: 'worker.ready',
        worker: 'web.1',
        pid: 42,
        msg: 'web.1 is ready after 0.8 s',
      },
    );
    assert.deepEqual({ ...second, time: '' }, { level: 50, time: '', name: 'shop', msg: 'bad' });
    assert.deepEqual(rest, []);
  });

  test('what was logged late has the time at which it happened', async () => {
    const text = await logged({ colors: false }, (log) => {
      log.info({ event: 'worker.ready', at: '2026-01-01T12:00:00.000Z', n: 1 }, 'then');
      log.info({ n: 2 }, 'now');
    });
    const [then, now] = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    assert.deepEqual(then, { level: 30, time: '2026-01-01T12:00:00.000Z', event: 'worker.ready', n: 1, msg: 'then' });
    assert.ok(String(now?.['time']) > '2026-01-01T12');
  });

  test('quiet leaves warnings and errors', async () => {
    const text = await logged({ colors: false, level: 'warn' }, (log) => {
      log.info('no');
      log.warn('yes');
      log.error('yes too');
    });
    assert.deepEqual(
      text
        .trimEnd()
        .split('\n')
        .map((line) => (JSON.parse(line) as { msg: string }).msg),
      ['yes', 'yes too'],
    );
  });

  test('on a terminal one line for people, without what the sentence says already', async () => {
    const text = await logged({ colors: false, terminal: true, level: 'debug' }, (log) => {
      log.info({ event: 'worker.ready', worker: 'web.1' }, 'web.1 is ready');
      log.debug({ path: '/run/x y', count: 3, list: ['a'], word: 'plain' }, 'listening');
      log.warn({ event: 'worker.exited', lastLines: ['Traceback', '  boom'] }, 'web.1 ended by itself');
    });
    assert.deepEqual(text.replace(/\d\d:\d\d:\d\d\.\d{3}/g, 'TIME').split('\n'), [
      'TIME info  web.1 is ready',
      'TIME debug listening path="/run/x y" count=3 list=["a"] word=plain',
      'TIME warn  web.1 ended by itself',
      '    | Traceback',
      '    |   boom',
      '',
    ]);
  });

  test('an error keeps its stack, below the line', async () => {
    const text = await logged({ colors: false, terminal: true }, (log) => log.error(new Error('broken pipe dream')));
    const [line, stack] = text.split('\n');
    assert.match(line ?? '', / error broken pipe dream$/);
    assert.match(stack ?? '', /^ {4}\| Error: broken pipe dream$/);
  });

  test('colours only when they are on', () => {
    const json = '{"level":40,"time":"2026-01-01T00:00:00.000Z","msg":"careful","n":1}\n';
    assert.equal(readableLines(false)(json).includes('\u001b'), false);
    assert.match(readableLines(true)(json), /\u001b\[33mwarn \u001b\[39m careful/);
  });
});
