/** The dashboard's picture at every size, and that nothing foreign gets through to the terminal. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { charsetOf, sparkline } from '../../../src/cli/sparkline.ts';
import { fit, line, safe, span, widthOf, without } from '../../../src/cli/top/cells.ts';
import { uptimeText } from '../../../src/cli/top/columns.ts';
import { Screen } from '../../../src/cli/top/screen.ts';
import { app, appOf, readyEvent, Scene, worker } from './scene.ts';

const evil = '\u001b[2J\u001b]0;owned\u0007\u001bP1\u001b\\\u009b31mred\r\n\tx\u202ey\u0000';

function full(size: string, charset: 'unicode' | 'ascii' = 'unicode'): Scene {
  const busy = app(
    'web',
    [
      worker('web.1', { reason: evil, cpuPercent: 97, restarts: 12 }),
      worker('web.2', { state: 'backoff', pid: null, reason: 'exit code 1, 3 crashes in a row; next start in 1.2s' }),
      worker('web.3', { lastExit: { at: '', code: 3, signal: null, cause: 'crash' } }),
    ],
    { listen: ['127.0.0.1:8000'], connections: 31, queue: 2, notes: [] },
  );
  const scene = new Scene(size, charset).sees([busy, appOf('jobs', 500)]);
  return scene.take({ type: 'events', events: [readyEvent(1), readyEvent(2)], fresh: true });
}

describe('every line is exactly as wide as the screen, and there are as many as it is high', () => {
  const sizes = ['80x24', '40x10', '200x60', '120x30', '79x13', '20x6', '10x4', '3x3', '1x1', '80x1', '80x2', '300x5'];
  const keys: readonly (readonly string[])[] = [
    [],
    ['end'],
    ['r'],
    ['s'],
    ['R'],
    ['/', '漢'],
    ['?'],
    ['l'],
    ['e'],
    ['2', 'pagedown'],
  ];
  for (const size of sizes) {
    for (const charset of ['unicode', 'ascii'] as const) {
      test(`${size}, ${charset}`, () => {
        for (const pressed of keys) {
          const scene = full(size, charset).press(...pressed);
          assert.ok(scene.isExact, `${pressed.join(' ')}\n${scene.text.join('\n')}`);
          scene.take({
            type: 'lines',
            pane: 1,
            lines: [{ text: `漢字${evil}`.repeat(20), tone: 'plain' }],
            how: 'append',
          });
          scene.take({ type: 'silence', message: evil, nowMs: scene.state.nowMs + 5000 });
          assert.ok(scene.isExact, `${pressed.join(' ')}, gone`);
          scene.take({ type: 'notice', notice: { text: evil, tone: 'red' } });
          assert.ok(scene.isExact, `${pressed.join(' ')}, with a notice`);
          // What stands in a line is what was meant: nothing that moves the cursor.
          assert.doesNotMatch(scene.text.join(''), /[\u0000-\u001f\u007f-\u009f\u202a-\u202e]/);
          if (charset === 'ascii') assert.match(scene.text.join(''), /^[ -~]*$/);
        }
      });
    }
  }
});

describe('what is shown', () => {
  test('80x24', () => {
    const { text } = full('80x24').press('down');
    assert.equal(text[0], 'shop  running  pid 4242  up 1h  supervise 1.0.0');
    assert.match(text[1] ?? '', /^cpu .* 50% of 1\.5 cores  mem .* 25% of 4GB  2m$/);
    assert.match(text[2] ?? '', /^ {2}NAME▾ +STATE +READY\/PID +UP +RST +CPU +MEM/);
    assert.match(text[3] ?? '', /^ {2}web +running +3\/3 +117% .* 150MB/);
    assert.match(text[4] ?? '', /^▸ {3}web\.1 +ready +4000 +3m12s +12 +97% .* 50MB/);
    assert.match(text[5] ?? '', /^ {4}web\.2 +backoff +- /);
    assert.match(text.join('\n'), /\nweb\.1: slot 0, revision 1; /);
    assert.match(text.join('\n'), /── events ── row 2 of 505 ─/);
    assert.match(text.at(-1) ?? '', /select.*r restart.*\? help {2}q quit$/);
  });

  test('with room there are reasons, connections and queues', () => {
    const { text } = full('200x60');
    assert.match(text[2] ?? '', /CONN QUEUE REASON$/);
    assert.match(text[3] ?? '', / 31 +2 127\.0\.0\.1:8000$/);
    assert.match(text[5] ?? '', /exit code 1, 3 crashes in a row; next start in 1\.2s$/);
    assert.match(text[6] ?? '', /last exit: exit 3 \(crash\)$/);
    assert.equal(full('200x60').rows.length, 60 - 6 - 12 + 1);
  });

  test('40x10 keeps name, state, CPU and memory; 24 columns keep name, CPU and memory', () => {
    assert.match(full('40x10').text[2] ?? '', /^ {2}NAME▾ +STATE +UP +CPU +MEM$/);
    assert.match(full('24x6').text[2] ?? '', /^ {2}NAME▾ +CPU +MEM$/);
    assert.match(full('40x10').footer, /q quit$/);
  });

  test('a long name is cut, in its own column', () => {
    const name = `a${'long'.repeat(30)}`;
    const scene = new Scene('80x24').sees([app(name, [worker(`${name}.1`)])]);
    assert.match(scene.text[4] ?? '', /^ {4}along[a-z]+…\.1 +ready /);
    assert.ok(scene.isExact);
  });

  test('only the rows on the screen are made', () => {
    let asked = 0;
    const one = (at: number) =>
      new Proxy(worker(`web.${at}`), {
        get: (target, field) => {
          if (field === 'cpuPercent') asked++;
          return Reflect.get(target, field) as unknown;
        },
      });
    const scene = new Scene()
      .sees([
        app(
          'web',
          Array.from({ length: 500 }, (_, at) => one(at + 1)),
        ),
      ])
      .press('down');
    asked = 0;
    const rows = scene.lines.filter(({ spans }) => spans.some(({ text }) => text.includes('web.'))).length;
    // The app's own row adds up all of them, once.
    assert.ok(rows < 24 && asked <= 500 + rows, `${asked} for ${rows} rows`);
  });

  test('a master that has gone, and one that is slow', () => {
    const scene = full('120x24').take({ type: 'silence', message: 'no master listens', nowMs: 0 });
    scene.take({ type: 'tick', nowMs: 7000 });
    assert.equal(scene.text[0], 'shop  the master has gone, for 7s (no master listens); waiting for it, q quits');
    assert.match(full('80x24').sees([]).text[0] ?? '', /^shop  running/);
    const slow = full('80x24');
    slow.take({ type: 'tick', nowMs: slow.state.nowMs + 4500 });
    assert.match(slow.text[0] ?? '', /no answer for 4s/);
  });

  test('uptimes take six columns at most', () => {
    const seconds = [0, 59, 60, 61, 3599, 3600, 3661, 86_399, 86_400, 90_000, 12 * 86_400 + 23 * 3600, 400 * 86_400];
    const texts = seconds.map((one) => uptimeText(one * 1000));
    assert.deepEqual(texts, [
      '0s',
      '59s',
      '1m',
      '1m01s',
      '59m59s',
      '1h',
      '1h01m',
      '23h59m',
      '1d',
      '1d1h',
      '12d23h',
      '400d',
    ]);
    assert.equal(uptimeText(null), '-');
  });
});

describe('text', () => {
  test('sequences, control characters, directions and piles of marks are taken out', () => {
    assert.equal(safe('a\u001b[31mb\u0007\u0000c\u202ed\u200b', 'unicode'), 'abcd');
    assert.equal(safe(`e${'\u0301'.repeat(50)}`, 'unicode'), 'e\u0301\u0301');
    assert.equal(safe('\ud800x', 'unicode'), 'x');
    assert.equal(safe('é漢▁█…', 'ascii'), '??_#~');
  });

  test('widths', () => {
    const cases: readonly (readonly [string, number])[] = [
      ['abc', 3],
      ['é', 1],
      ['e\u0301', 1],
      ['漢字', 4],
      ['🚀', 2],
      ['ｱ', 1],
      ['한', 2],
      ['▁', 1],
    ];
    for (const [text, width] of cases) assert.equal(widthOf(text), width, text);
  });

  test('fit cuts and pads to the column, also within a wide character', () => {
    assert.equal(fit('abc', 5), 'abc  ');
    assert.equal(fit('abc', 5, 'right'), '  abc');
    assert.equal(fit('abcdef', 4), 'abc…');
    assert.equal(fit('漢字漢字', 4), '漢… ');
    assert.equal(fit('abc', 0), '');
    assert.equal(without('漢字abc', 4), 'abc');
    assert.equal(without('漢字abc', 1), '字abc');
  });

  test('bars', () => {
    assert.equal(sparkline([0, 50, 100, null, 200], 100, 'unicode'), '▁▅█ █');
    assert.equal(sparkline([0, 50, 100, null], 100, 'ascii'), '_=# ');
    assert.equal(sparkline([0, 1], 0, 'unicode'), '▁▁');
    assert.deepEqual(
      [{ LANG: 'de_DE.UTF-8' }, { LC_ALL: 'C', LANG: 'en_US.UTF-8' }, {}, { LC_CTYPE: 'C.utf8' }].map(charsetOf),
      ['unicode', 'ascii', 'ascii', 'unicode'],
    );
  });
});

describe('the screen writes what differs', () => {
  function screen(styles: 'coloured' | 'none' = 'none') {
    let written = '';
    const made = new Screen((text) => (written += text), styles);
    made.enter();
    return {
      made,
      draw: (...lines: readonly string[]) => {
        written = '';
        made.draw(lines.map((text) => line([span(text, 'green')], 30)));
        return written;
      },
      take: () => {
        const all = written;
        written = '';
        return all;
      },
    };
  }

  test('nothing when nothing has changed', () => {
    const { draw } = screen();
    assert.match(draw('hello', 'world'), /hello[^]*world/);
    assert.equal(draw('hello', 'world'), '');
  });

  test('only the characters that changed, in runs', () => {
    const { draw } = screen();
    draw('uptime 12s   and much more  1', 'b');
    assert.equal(draw('uptime 13s   and much more  2', 'b'), '\u001b[1;9H3\u001b[1;29H2');
    assert.equal(draw('uptime 13s', 'b'), `\u001b[1;14H${' '.repeat(16)}`);
  });

  test('a row with wide characters as a whole', () => {
    const { draw } = screen();
    draw('漢 1', 'b');
    assert.match(draw('漢 2', 'b'), /^\u001b\[1;1H\u001b\[2K漢 2/);
  });

  test('all of it after another size, or when it was told to forget', () => {
    const { draw, made } = screen();
    draw('one', 'two');
    assert.match(draw('one'), /\u001b\[2J.*one/);
    made.forget();
    assert.match(draw('one'), /\u001b\[2J.*one/);
  });

  test('styles only where they are wanted, and reset at the end', () => {
    assert.match(screen('coloured').draw('x'), /\u001b\[0;32mx *\u001b\[0m$/);
    assert.doesNotMatch(screen('none').draw('x'), /\u001b\[[\d;]*m/);
  });

  test('is entered and left once, and gives all back', () => {
    const { made, take, draw } = screen();
    made.enter();
    assert.equal(take(), '\u001b[?1049h\u001b[?25l\u001b[?7l');
    made.leave();
    made.leave();
    assert.equal(take(), '\u001b[0m\u001b[?7h\u001b[?25h\u001b[?1049l');
    assert.equal(draw('x'), '', 'nothing is written to a screen that is not ours');
  });
});
