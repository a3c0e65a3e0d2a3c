/**
 * The dashboard as a pure function: a state and something that came in give the next state and what is to be done.
 *
 * After every step the state is set right: a row is selected as long as there is one, the table and the page show what is
 * selected or followed, a question about an app that is gone is closed.
 */
import type { Event } from '../../core/protocol.ts';
import { layoutOf, pageHeight } from './layout.ts';
import { pageLines } from './page.ts';
import { press } from './press.ts';
import { indexOf, rowsOf, selectionAt } from './rows.ts';
import type { Input, Pane, State, Step } from './state.ts';
import { spans, withHistory, withSnapshot } from './tracks.ts';

const keptEvents = 500;
const keptLines = 5000;

export function step(state: State, input: Input): Step {
  const next = input.type === 'key' ? press(state, input.key) : { state: taken(state, input), effects: [] };
  return { state: settled(next.state), effects: next.effects };
}

function taken(state: State, input: Exclude<Input, { type: 'key' }>): State {
  switch (input.type) {
    case 'size':
      return { ...state, size: input.size };
    case 'tick':
      return { ...state, nowMs: input.nowMs };
    case 'snapshot': {
      const { snapshot, nowMs } = input;
      const tracks = withSnapshot(state.tracks, snapshot, nowMs);
      const days = new Map([...state.days].filter(([target]) => tracks.has(target)));
      return { ...state, nowMs, snapshot, tracks, days, answeredMs: nowMs, silence: null };
    }
    case 'silence': {
      const { message, nowMs } = input;
      return { ...state, nowMs, silence: { message, sinceMs: state.silence?.sinceMs ?? nowMs } };
    }
    case 'events':
      return { ...state, events: withEvents(input.fresh ? [] : state.events, input.events) };
    case 'history':
      return withCurve(state, input);
    case 'lines':
      return state.pane?.id === input.pane ? { ...state, pane: withLines(state.pane, input) } : state;
    case 'notice':
      return { ...state, notice: input.notice };
  }
}

function withEvents(events: readonly Event[], more: readonly Event[]): readonly Event[] {
  return [...events, ...more].slice(-keptEvents);
}

function withCurve(state: State, { span, history }: Input & { type: 'history' }): State {
  const name = spans[state.span].ring === span ? span : null;
  if (span === 'day') {
    if (name === null) return state;
    return { ...state, days: new Map(state.days).set(history.target, withHistory(undefined, history)) };
  }
  const track = withHistory(state.tracks.get(history.target), history);
  return { ...state, tracks: new Map(state.tracks).set(history.target, track) };
}

function withLines(pane: Pane, { lines, how }: Input & { type: 'lines' }): Pane {
  const all = how === 'replace' ? lines : [...pane.lines, ...lines];
  const dropped = Math.max(0, all.length - keptLines);
  // What is read stays where it is while lines above it are dropped.
  return { ...pane, lines: all.slice(dropped), top: Math.max(0, pane.top - dropped) };
}

function settled(state: State): State {
  const rows = rowsOf(state.snapshot, state.order, state.filter);
  const at = indexOf(rows, state.selected);
  const { list } = layoutOf(state);
  const highest = Math.max(0, rows.length - list);
  const offset = Math.max(0, Math.min(state.offset, at, highest), Math.min(highest, at - list + 1));
  const before = { ...state, selected: at < 0 ? state.selected : selectionAt(rows, at), offset };
  return {
    ...before,
    pane: before.pane === null ? null : pageSettled(before, before.pane),
    prompt: promptSettled(before),
  };
}

function pageSettled(state: State, pane: Pane): Pane {
  const last = Math.max(0, pageLines(state, pane).length - pageHeight(state));
  return { ...pane, top: pane.tail === 'follow' ? last : Math.min(pane.top, last) };
}

function promptSettled({ prompt, snapshot }: State): State['prompt'] {
  if (prompt === null || prompt.kind === 'filter' || snapshot === null) return prompt;
  const apps = snapshot.apps.map(({ name }) => name);
  if (prompt.kind !== 'restart') return apps.includes(prompt.app) ? prompt : null;
  const targets = [...apps, ...snapshot.apps.flatMap(({ workers }) => workers.map(({ id }) => id))];
  return targets.includes(prompt.target) ? prompt : null;
}

/** The rows that are on the screen: their curves are asked for first. */
export function visibleTargets(state: State): readonly string[] {
  const rows = rowsOf(state.snapshot, state.order, state.filter);
  return rows.slice(state.offset, state.offset + layoutOf(state).list).map(({ key }) => key);
}
