/** The dashboard's model: what keys do, and what stays as it is when the picture changes. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { decode } from '../../../src/cli/top/keys.ts';
import { visibleTargets } from '../../../src/cli/top/model.ts';
import { logLine, longestLine } from '../../../src/cli/top/page.ts';
import { barsOf, withHistory, withSnapshot, type Tracks } from '../../../src/cli/top/tracks.ts';
import { app, appOf, readyEvent, Scene, snapshotOf, startMs, worker } from './scene.ts';

const two = [appOf('web', 3), appOf('jobs', 1)];

describe('keys', () => {
  const cases: readonly (readonly [string, readonly string[], string])[] = [
    ['jk', ['j', 'k'], ''],
    ['\u001b[A\u001b[B\u001bOC', ['up', 'down', 'right'], ''],
    ['\u001b[5~\u001b[6~\u001b[1~\u001bOF\u001b[H', ['pageup', 'pagedown', 'home', 'end', 'home'], ''],
    ['\u001b[1;5A', ['up'], ''],
    ['\u001b', [], '\u001b'],
    ['x\u001b[1', ['x'], '\u001b[1'],
    ['\u001bq', ['escape', 'q'], ''],
    ['\u001b[200~a\u001b[<0;1;2M', ['a'], ''],
    ['\r\u007f\u0003\u001a\u0000', ['enter', 'backspace', 'ctrl-c', 'ctrl-z'], ''],
    ['é漢', ['é', '漢'], ''],
  ];
  for (const [bytes, keys, rest] of cases)
    test(JSON.stringify(bytes), () => assert.deepEqual(decode(bytes), { keys, rest }));
});

describe('selection', () => {
  test('moves by row, page and end, and stays within the table', () => {
    const scene = new Scene().sees([appOf('web', 100)]);
    const after = (...keys: string[]) => scene.press(...keys).selected;
    assert.equal(scene.selected, 'web');
    assert.equal(after('up'), 'web');
    assert.equal(after('down', 'j'), 'web.2');
    assert.equal(after('k'), 'web.1');
    assert.equal(after('end'), 'web.100');
    assert.equal(after('j'), 'web.100');
    const page = scene.rows.length;
    assert.equal(after('pageup'), `web.${100 - page}`);
    assert.equal(after('home'), 'web');
    assert.equal(after('pagedown'), `web.${page}`);
    assert.ok(scene.rows.includes(`web.${page}`));
  });

  test('stays with a worker wherever it goes, then with its slot, then with its app', () => {
    const scene = new Scene().sees(two).press('down', 'down');
    assert.equal(scene.selected, 'web.2');
    scene.sees([appOf('first', 5), ...two]);
    assert.equal(scene.selected, 'web.2');
    const replaced = app('web', [worker('web.1'), worker('web.9', { slot: 1 }), worker('web.3')]);
    assert.equal(scene.sees([replaced]).selected, 'web.9');
    const both = app('web', [worker('web.1'), worker('web.4', { slot: 1 }), worker('web.9', { slot: 1 })]);
    assert.equal(scene.sees([both]).selected, 'web.9');
    assert.equal(scene.sees([app('web', [worker('web.1')])]).selected, 'web');
    assert.equal(scene.sees([appOf('jobs', 1)]).selected, 'jobs');
    assert.equal(scene.sees([]).selected, 'jobs');
    assert.equal(scene.press('r', 'l', 'j').effects.length, 0);
  });

  test('is on the screen after every key and every size', () => {
    const scene = new Scene().sees([appOf('web', 500)]);
    for (const key of ['end', 'pageup', 'pageup', 'k', 'home', 'pagedown', 'G', 'g'])
      assert.ok(visibleTargets(scene.press(key).state).includes(scene.selected ?? ''), key);
    scene.press('end');
    for (const rows of [40, 8, 3, 1, 24]) {
      scene.take({ type: 'size', size: { columns: 80, rows } });
      assert.ok(visibleTargets(scene.state).includes('web.500'), `${rows} rows`);
    }
  });
});

describe('orders and filter', () => {
  const uneven = [
    app('web', [
      worker('web.1', { cpuPercent: 5, memoryBytes: 9, uptimeMs: 1, restarts: 4 }),
      worker('web.2', { cpuPercent: 90, memoryBytes: 1, uptimeMs: 2, restarts: 0 }),
    ]),
    app('jobs', [worker('jobs.1', { cpuPercent: null, memoryBytes: 5, uptimeMs: 3, restarts: 2 })]),
  ];
  const cases: readonly (readonly [string, readonly string[]])[] = [
    ['1', ['web', 'web.1', 'web.2', 'jobs', 'jobs.1']],
    ['2', ['web', 'jobs', 'web.2', 'web.1', 'jobs.1']],
    ['3', ['web', 'jobs', 'web.1', 'jobs.1', 'web.2']],
    ['4', ['web', 'jobs', 'jobs.1', 'web.2', 'web.1']],
    ['5', ['web', 'jobs', 'web.1', 'jobs.1', 'web.2']],
  ];
  for (const [key, rows] of cases)
    test(`order ${key}`, () => assert.deepEqual(new Scene().sees(uneven).press(key).rows, rows));

  test('o and O go round', () => {
    const scene = new Scene().sees(uneven);
    const seen = ['o', 'o', 'o', 'o', 'o', 'O'].map((key) => scene.press(key).state.order);
    assert.deepEqual(seen, ['cpu', 'memory', 'uptime', 'restarts', 'slot', 'restarts']);
  });

  test('a filter is typed, kept, and left with Esc', () => {
    const scene = new Scene().sees(uneven).press('/', 'O', 'b');
    assert.deepEqual(scene.rows, ['jobs', 'jobs.1']);
    assert.match(scene.footer, /apps with Ob_/);
    scene.press('enter', 'q');
    assert.deepEqual(scene.rows, ['jobs', 'jobs.1']);
    assert.deepEqual(scene.effects, [{ type: 'quit', how: 'asked' }]);
    assert.match(scene.press('/', 'x').text.join('\n'), /no app has this in its name/);
    assert.equal(scene.press('escape').rows.length, 5);
    scene.press('/', 'q', 'backspace', 'backspace');
    assert.equal(scene.effects.length, 1, 'a letter that is typed is no key');
  });
});

describe('what touches workers asks first', () => {
  test('restart: y, and nothing else', () => {
    const scene = new Scene().sees(two).press('down', 'r');
    assert.match(scene.footer, /^restart web\.1\?/);
    scene.press('enter');
    assert.deepEqual(scene.effects, []);
    scene.press('r', 'y', 'y');
    assert.deepEqual(scene.effects, [{ type: 'restart', target: 'web.1' }]);
  });

  test('a target that has gone meanwhile is not asked about any more', () => {
    const scene = new Scene()
      .sees(two)
      .press('down', 'r')
      .sees([appOf('jobs', 1)])
      .press('y');
    assert.deepEqual(scene.effects, []);
  });

  test('reload: y is the app of the selected worker, a is all', () => {
    const scene = new Scene().sees(two).press('down', 'R', 'y', 'R', 'a', 'R', 'n');
    assert.deepEqual(scene.effects, [
      { type: 'reload', app: 'web' },
      { type: 'reload', app: null },
    ]);
  });

  const scales: readonly (readonly [readonly string[], number | null])[] = [
    [['s', 'enter'], 3],
    [['+', 'enter'], 4],
    [['-', 'enter'], 2],
    [['s', '+', '+', '-', 'up', 'enter'], 5],
    [['s', '1', '2', 'enter'], 12],
    [['s', '1', '2', 'backspace', 'enter'], 1],
    [['s', '1', '2', '+', '7', 'enter'], 7],
    [['s', '0', '-', 'enter'], 0],
    [['s', '9', '9', '9', '9', '9', 'enter'], 9999],
    [['s', '8', 'escape', 'enter'], null],
    [['s', '8', 'q'], null],
  ];
  for (const [keys, to] of scales) {
    test(`scale: ${keys.join(' ')}`, () => {
      const { effects } = new Scene().sees(two).press('down', ...keys);
      const found = effects.flatMap((effect) =>
        effect.type === 'scale' && 'to' in effect.change ? [effect.change.to] : [],
      );
      assert.deepEqual(found, to === null ? [] : [to]);
      assert.ok(!effects.some(({ type }) => type === 'quit'));
    });
  }

  test('Ctrl-C quits out of a question and out of a page', () => {
    for (const keys of [['r'], ['s'], ['/'], ['l'], ['?'], []])
      assert.deepEqual(
        new Scene()
          .sees(two)
          .press(...keys, 'ctrl-c')
          .effects.at(-1),
        { type: 'quit', how: 'interrupted' },
      );
  });

  test('what became of it is shown until the next key', () => {
    const scene = new Scene().sees(two).take({ type: 'notice', notice: { text: 'web has 5 workers', tone: 'green' } });
    assert.ok(scene.text.includes('web has 5 workers'));
    assert.ok(!scene.press('j').text.includes('web has 5 workers'));
  });
});

describe('pages', () => {
  const numbered = (from: number, to: number) =>
    Array.from({ length: to - from + 1 }, (_, at) => ({ text: `line ${from + at}`, tone: 'plain' as const }));

  test('logs follow, hold where somebody scrolls up, and follow again', () => {
    const scene = new Scene().sees(two).press('down', 'l');
    assert.deepEqual(scene.effects, [{ type: 'logs', target: 'web.1', pane: 1 }]);
    const come = (from: number, to: number) =>
      scene.take({ type: 'lines', pane: 1, lines: numbered(from, to), how: 'append' });
    come(1, 100);
    assert.equal(scene.text.at(-2), 'line 100');
    scene.press('up');
    come(101, 200);
    assert.equal(scene.text.at(-2), 'line 99');
    assert.equal(scene.press('f').text.at(-2), 'line 200');
    assert.equal(scene.press('home').text[1], 'line 1');
    assert.equal(scene.press('end').text.at(-2), 'line 200');
    come(201, 210);
    assert.equal(scene.text.at(-2), 'line 210');
    assert.deepEqual(scene.press('q').effects.at(-1), { type: 'close-pane' });
    assert.equal(scene.rows[0], 'web');
  });

  test('what is read stays while old lines are dropped', () => {
    const scene = new Scene().sees(two).press('l');
    scene.take({ type: 'lines', pane: 1, lines: numbered(1, 5000), how: 'append' }).press('up');
    const before = scene.text.at(-2);
    scene.take({ type: 'lines', pane: 1, lines: numbered(5001, 5010), how: 'append' });
    assert.equal(scene.text.at(-2), before);
    assert.equal(scene.state.pane?.lines.length, 5000);
  });

  test('what comes for an earlier page is dropped; changing closes it', () => {
    const scene = new Scene().sees(two).press('l', 'w');
    assert.deepEqual(
      scene.effects.map(({ type }) => type),
      ['logs', 'close-pane', 'why'],
    );
    scene.take({ type: 'lines', pane: 1, lines: numbered(1, 3), how: 'append' });
    assert.equal(scene.state.pane?.lines.length, 0);
    scene.take({ type: 'lines', pane: 2, lines: numbered(7, 8), how: 'replace' });
    assert.deepEqual(scene.text.slice(1, 3), ['line 7', 'line 8']);
  });

  test('long lines are read by going sideways', () => {
    const scene = new Scene('40x10').sees(two).press('l');
    const text = `${'0123456789'.repeat(6)}end`;
    scene.take({ type: 'lines', pane: 1, lines: [{ text, tone: 'plain' }], how: 'append' });
    assert.match(scene.text[1] ?? '', /^0123.*…$/);
    assert.equal(scene.press('right', 'right').text[1], text.slice(32));
    assert.match(scene.press('left', 'left', 'left').text[1] ?? '', /^0123/);
  });

  test('of a very long line only the beginning is kept', () => {
    const of = (length: number) => ({
      app: 'web',
      source: 'web.1',
      stream: 'stdout' as const,
      line: '漢'.repeat(length),
    });
    const shown = (length: number) =>
      logLine({ at: '2026-01-01T12:00:00.000Z', ...of(length) }, 'web.1').text.slice(11);
    assert.equal(shown(longestLine), '漢'.repeat(longestLine));
    assert.equal(shown(1_000_000), `${'漢'.repeat(longestLine)}…`);
  });

  test('events: the last stand below the table, all on their page; a new connection tells them anew', () => {
    const events = Array.from({ length: 40 }, (_, at) => readyEvent(at + 1));
    const scene = new Scene().sees(two).take({ type: 'events', events, fresh: true });
    assert.match(scene.text.join('\n'), /web\.40 is ready/);
    assert.match(scene.press('e', 'home').text[1] ?? '', /web\.1 is ready/);
    scene.press('q').take({ type: 'events', events: [readyEvent(41)], fresh: true });
    assert.equal(scene.state.events.length, 1);
    scene.take({ type: 'events', events: Array.from({ length: 900 }, (_, at) => readyEvent(at)), fresh: false });
    assert.equal(scene.state.events.length, 500);
  });
});

describe('curves', () => {
  const bars = (track: Parameters<typeof barsOf>[0], count: number, nowMs: number) =>
    barsOf(track, 'cpuPercent', { nowMs, spanMs: 10_000, count });

  test('each bar has the highest of its stretch; what nobody saw is a gap', () => {
    const point = (atMs: number, cpuPercent: number) => ({ atMs, cpuPercent, memoryBytes: null });
    const track = { stepMs: 100, points: [point(1000, 50), point(1500, 5), point(2200, 7), point(9999, 1)] };
    assert.deepEqual(bars(track, 5, 9999), [50, 7, null, null, 1]);
    assert.deepEqual(bars(track, 5, 11_999), [7, null, null, 1, 1]);
    assert.deepEqual(bars(undefined, 2, 0), [null, null]);
  });

  test('a point fills the bars until the next one', () => {
    const track = { stepMs: 4000, points: [{ atMs: 2000, cpuPercent: 8, memoryBytes: null }] };
    assert.deepEqual(bars(track, 10, 9999), [null, null, 8, 8, 8, 8, null, null, null, null]);
  });

  test('the history replaces what was seen before its end, and snapshots go on', () => {
    const see = (tracks: Tracks, atMs: number, cpuPercent: number) =>
      withSnapshot(tracks, snapshotOf([app('web', [worker('web.1', { cpuPercent })])]), atMs);
    let tracks = see(see(new Map(), startMs, 1), startMs + 4000, 2);
    const rest = { cpuMaxPercent: 9, memoryBytes: 1, memoryMaxBytes: 1, queue: null, ready: null, goal: null };
    const history = { target: 'web.1', stepMs: 2000, points: [{ atMs: startMs + 2000, cpuPercent: 7, ...rest }] };
    tracks = new Map(tracks).set('web.1', withHistory(tracks.get('web.1'), history));
    tracks = see(tracks, startMs + 8000, 3);
    assert.deepEqual(
      tracks.get('web.1')?.points.map(({ cpuPercent }) => cpuPercent),
      [9, 2, 3],
    );
    assert.deepEqual([...withSnapshot(tracks, snapshotOf([]), startMs).keys()], ['host']);
  });

  test('of who is gone no day is kept', () => {
    const scene = new Scene().sees(two).press('t', 't');
    for (const target of ['host', 'web', 'web.1'])
      scene.take({ type: 'history', span: 'day', history: { target, stepMs: 60_000, points: [] } });
    scene.sees([appOf('web', 0)]);
    assert.deepEqual([...scene.state.days.keys()], ['host', 'web']);
  });

  test('snapshots alone make curves of ten minutes at most', () => {
    let tracks: Tracks = new Map();
    for (let second = 0; second < 1500; second++)
      tracks = withSnapshot(tracks, snapshotOf([appOf('web', 1)]), startMs + second * 1000);
    const count = tracks.get('web.1')?.points.length ?? 0;
    assert.ok(count > 290 && count <= 302, `${count} points`);
  });
});
