/**
 * What each key does: in a question, in a page, in the table. Ctrl-C, Ctrl-Z and Ctrl-L mean the same everywhere.
 *
 * A question is answered by one key. Any other key than the one it names leaves all as it is.
 */
import { layoutOf, pageHeight } from './layout.ts';
import { longestLine } from './page.ts';
import { indexOf, orders, rowsOf, selectionAt, type Order, type Row } from './rows.ts';
import type { Effect, Pane, Prompt, State, Step } from './state.ts';
import { spans, type SpanName } from './tracks.ts';

/** The next state, before it is set right, and what is to be done. */
export function press(state: State, key: string): Step {
  switch (key) {
    case 'ctrl-c':
      return done(state, { type: 'quit', how: 'interrupted' });
    case 'ctrl-z':
      return done(state, { type: 'suspend' });
    case 'ctrl-l':
      return done(state, { type: 'redraw' });
    default:
  }
  if (state.prompt !== null) return answer(state, state.prompt, key);
  // A notice has been read by whoever goes on.
  const read = { ...state, notice: null };
  return state.pane === null ? inTable(read, key) : inPane(read, state.pane, key);
}

function done(state: State, ...effects: readonly Effect[]): Step {
  return { state, effects };
}

// ---------------------------------------------------------------- questions

function answer(state: State, prompt: Prompt, key: string): Step {
  const closed = { ...state, prompt: null };
  switch (prompt.kind) {
    case 'restart':
      return key === 'y' ? done(closed, { type: 'restart', target: prompt.target }) : done(closed);
    case 'reload':
      if (key === 'y') return done(closed, { type: 'reload', app: prompt.app });
      return key === 'a' ? done(closed, { type: 'reload', app: null }) : done(closed);
    case 'scale':
      if (key !== 'enter') return done({ ...state, prompt: edited(prompt, key) });
      return done(closed, { type: 'scale', app: prompt.app, change: { to: Number(prompt.text) } });
    case 'filter':
      if (key === 'enter') return done(closed);
      return done(typed(state, prompt, key));
  }
}

const mostWorkers = 9999;

/** null: it was left. */
function edited(prompt: Prompt & { kind: 'scale' }, key: string): Prompt | null {
  const { text, edit } = prompt;
  const by = { '+': 1, 'up': 1, '-': -1, 'down': -1 }[key];
  if (by !== undefined) {
    const next = Math.max(0, Math.min(mostWorkers, Number(text) + by));
    return { ...prompt, text: String(next), edit: 'replace' };
  }
  if (key === 'backspace')
    return { ...prompt, text: text.slice(0, -1) || '0', edit: text.length > 1 ? 'append' : 'replace' };
  if (!/^\d$/.test(key)) return null;
  const next = Number(edit === 'replace' ? key : text + key);
  return { ...prompt, text: String(Math.min(mostWorkers, next)), edit: 'append' };
}

const longestFilter = 100;

function typed(state: State, { text }: { text: string }, key: string): State {
  if (key === 'escape') return { ...state, prompt: null, filter: '' };
  const isCharacter = /^.$/u.test(key);
  if (key !== 'backspace' && !isCharacter) return state;
  const next = key === 'backspace' ? text.slice(0, -1) : (text + key).slice(0, longestFilter);
  return { ...state, prompt: { kind: 'filter', text: next }, filter: next };
}

// ---------------------------------------------------------------- the table

function inTable(state: State, key: string): Step {
  const rows = rowsOf(state.snapshot, state.order, state.filter);
  const at = indexOf(rows, state.selected);
  const page = layoutOf(state).list;
  const moves: Readonly<Record<string, number>> = {
    up: at - 1,
    k: at - 1,
    down: at + 1,
    j: at + 1,
    pageup: at - page,
    pagedown: at + page,
    home: 0,
    g: 0,
    end: rows.length - 1,
    G: rows.length - 1,
  };
  const to = moves[key];
  if (to !== undefined) return done({ ...state, selected: selectionAt(rows, to) });
  return onRow(state, rows[at], key) ?? onView(state, key);
}

/** null: it is not a key for a row, or there is no row. */
function onRow(state: State, row: Row | undefined, key: string): Step | null {
  if (row === undefined) return null;
  const { app } = row;
  const scale = (to: number, edit: 'replace' | 'append'): Step =>
    done({ ...state, prompt: { kind: 'scale', app: app.name, from: app.goal, text: String(Math.max(0, to)), edit } });
  switch (key) {
    case 'r':
      return done({ ...state, prompt: { kind: 'restart', target: row.key } });
    case 'R':
      return done({ ...state, prompt: { kind: 'reload', app: app.name } });
    case 's':
      return scale(app.goal, 'replace');
    case '+':
      return scale(app.goal + 1, 'replace');
    case '-':
      return scale(app.goal - 1, 'replace');
    case 'l':
      return opened(state, 'logs', row.key);
    case 'w':
    case 'enter':
      return opened(state, 'why', row.key);
    default:
      return null;
  }
}

function onView(state: State, key: string): Step {
  switch (key) {
    case 'q':
      return done(state, { type: 'quit', how: 'asked' });
    case '/':
      return done({ ...state, prompt: { kind: 'filter', text: state.filter } });
    case 'escape':
      return done({ ...state, filter: '' });
    case 'e':
      return opened(state, 'events', null);
    case '?':
      return opened(state, 'help', null);
    case 't':
      return done({ ...state, span: nextOf(Object.keys(spans) as SpanName[], state.span, 1) });
    case 'o':
      return done({ ...state, order: nextOf(orders, state.order, 1) });
    case 'O':
      return done({ ...state, order: nextOf(orders, state.order, -1) });
    default: {
      const order: Order | undefined = /^[1-5]$/.test(key) ? orders[Number(key) - 1] : undefined;
      return done(order === undefined ? state : { ...state, order });
    }
  }
}

function nextOf<T>(all: readonly T[], now: T, by: number): T {
  return all[(all.indexOf(now) + by + all.length) % all.length] ?? now;
}

// ---------------------------------------------------------------- pages

function opened(state: State, kind: Pane['kind'], target: string | null): Step {
  const id = state.lastPane + 1;
  const tail = kind === 'logs' || kind === 'events' ? 'follow' : 'hold';
  const pane: Pane = { kind, id, target, lines: [], top: 0, left: 0, tail };
  const next = { ...state, pane, lastPane: id };
  const close: readonly Effect[] = state.pane === null ? [] : [{ type: 'close-pane' }];
  if (target === null || (kind !== 'logs' && kind !== 'why')) return done(next, ...close);
  return done(next, ...close, { type: kind, target, pane: id });
}

const sidewaysColumns = 16;

function inPane(state: State, pane: Pane, key: string): Step {
  const page = pageHeight(state);
  const scroll = (by: number): Step => {
    const top = Math.max(0, pane.top + by);
    // Up holds, down changes nothing about it.
    return done({ ...state, pane: { ...pane, top, tail: by < 0 ? 'hold' : pane.tail } });
  };
  const aside = (by: number): Step =>
    done({ ...state, pane: { ...pane, left: Math.max(0, Math.min(longestLine, pane.left + by)) } });
  const actions: Readonly<Record<string, () => Step>> = {
    'up': () => scroll(-1),
    'k': () => scroll(-1),
    'down': () => scroll(1),
    'j': () => scroll(1),
    'pageup': () => scroll(-page),
    'pagedown': () => scroll(page),
    ' ': () => scroll(page),
    'home': () => scroll(-Infinity),
    'g': () => scroll(-Infinity),
    'end': () => done({ ...state, pane: { ...pane, tail: 'follow' } }),
    'G': () => done({ ...state, pane: { ...pane, tail: 'follow' } }),
    'f': () => done({ ...state, pane: { ...pane, tail: pane.tail === 'follow' ? 'hold' : 'follow' } }),
    'left': () => aside(-sidewaysColumns),
    'right': () => aside(sidewaysColumns),
    'q': () => done({ ...state, pane: null }, { type: 'close-pane' }),
    'escape': () => done({ ...state, pane: null }, { type: 'close-pane' }),
    'l': () => (state.selected === null ? done(state) : opened(state, 'logs', pane.target ?? state.selected.key)),
    'w': () => (state.selected === null ? done(state) : opened(state, 'why', pane.target ?? state.selected.key)),
    'e': () => opened(state, 'events', null),
    '?': () => opened(state, 'help', null),
  };
  return actions[key]?.() ?? done(state);
}
