/**
 * The dashboard as lines: a pure function of the state. There are always as many lines as the screen is high, and each is
 * exactly as wide as the screen, so that nothing wraps and nothing of an earlier picture is left. Only rows that are on the
 * screen are made.
 */
import { hostTarget } from '../../core/history.ts';
import type { HookResult, Snapshot } from '../../core/protocol.ts';
import { toneOf } from '../render.ts';
import { sparkline, type Charset } from '../sparkline.ts';
import { counted } from '../../core/units.ts';
import { percentText, sizeText } from '../text.ts';
import { line, safe, span, widthOf, without, type Line, type Span } from './cells.ts';
import { columnsFor, headCells, markOf, rowCells, uptimeText } from './columns.ts';
import { paneKeys, tableKeys, type KeyRow } from './keymap.ts';
import { layoutOf, pageHeight, troubledHooks } from './layout.ts';
import { eventLine, pageLines } from './page.ts';
import { rowsOf, type Row } from './rows.ts';
import type { Pane, Prompt, State } from './state.ts';
import { barsOf, spans } from './tracks.ts';

/** The whole screen. */
export function view(state: State, charset: Charset): readonly Line[] {
  const drawn = state.pane === null ? tableView(state, charset) : pageView(state, state.pane, charset);
  const { columns, rows } = state.size;
  const lines = drawn.slice(0, rows).map(({ spans: all, selected }) => {
    // Our own signs, too, are shown in ASCII where there is nothing else.
    const shown = charset === 'unicode' ? all : all.map(({ text, tone }) => span(safe(text, charset), tone));
    return line(shown, columns, selected);
  });
  return [...lines, ...Array.from({ length: rows - lines.length }, () => line([], columns))];
}

// ---------------------------------------------------------------- the table

function tableView(state: State, charset: Charset): readonly Line[] {
  const { order, filter, offset, size, notice } = state;
  const width = size.columns;
  const layout = layoutOf(state);
  const rows = rowsOf(state.snapshot, order, filter);
  const shown = rows.slice(offset, offset + layout.list);
  const columns = columnsFor(state, shown);
  const isSelected = (row: Row) => row.key === state.selected?.key;
  const selected = shown.find(isSelected);
  const at = (lines: number, make: () => readonly Span[]): Line[] => (lines > 0 ? [line(make(), width)] : []);
  const list = shown.map((row) =>
    line([markOf(isSelected(row)), ...rowCells(row, columns, state, charset)], width, isSelected(row)),
  );
  const none = state.snapshot === null ? 'waiting for the master' : 'no app has this in its name; Esc shows all again';
  if (list.length === 0) list.push(line([span(`  ${none}`, 'dim')], width));
  while (list.length < layout.list) list.push(line([], width));
  return [
    ...at(layout.master, () => masterLine(state)),
    ...at(layout.host, () => hostLine(state, charset)),
    ...at(layout.hooks, () => hooksLine(troubledHooks(state), charset)),
    ...at(layout.head, () => [span('  '), ...headCells(columns, order)]),
    ...list,
    ...at(layout.detail, () => (selected === undefined ? [] : detailLine(selected, charset))),
    ...eventsPart(state, layout.events, rows.length, charset),
    ...at(layout.notice, () => [span(safe(notice?.text ?? '', charset), notice?.tone ?? 'plain')]),
    ...at(layout.footer, () => footer(state, tableKeys, charset)),
  ];
}

/** How long an answer may be late before it is said. */
const lateMs = 3000;

function masterLine({ snapshot, silence, nowMs, answeredMs }: State): readonly Span[] {
  const name = safe(snapshot?.name ?? 'supervise', 'unicode');
  if (silence !== null) {
    const since = uptimeText(nowMs - silence.sinceMs);
    const why = safe(silence.message, 'unicode');
    return [span(name, 'bold'), span(`  the master has gone, for ${since} (${why}); waiting for it, q quits`, 'red')];
  }
  if (snapshot === null) return [span(name, 'bold'), span('  waiting for the master')];
  const late = nowMs - answeredMs > lateMs ? [span(`  no answer for ${uptimeText(nowMs - answeredMs)}`, 'red')] : [];
  const { state, pid, uptimeMs, version } = snapshot;
  return [
    span(name, 'bold'),
    span('  '),
    span(state, toneOf(state)),
    ...late,
    span(`  pid ${pid}  up ${uptimeText(uptimeMs)}  supervise ${safe(version, 'unicode')}`),
  ];
}

const widestHostBars = 40;

/** The bars share what the words leave. */
function hostLine(state: State, charset: Charset): readonly Span[] {
  const { snapshot, size, nowMs } = state;
  if (snapshot === null) return [];
  const { host, budget } = snapshot;
  if (host.cpus === 0) return [span('host not sampled yet', 'dim')];
  const share = (value: number | null) => (value === null ? '-' : percentText(value * 100)).padStart(4);
  const cpu = `${share(host.cpuUtilisation)} of ${cpusText(host)}`;
  const memory = `${share(host.memoryUtilisation)} of ${sizeText(host.memoryBytes)}`;
  const { budgetBytes, usedBytes } = budget;
  const spent =
    budgetBytes === null || usedBytes === null ? '' : `  budget ${sizeText(usedBytes)} of ${sizeText(budgetBytes)}`;
  const label = `  ${state.span}`;
  const words = `cpu  ${cpu}  mem  ${memory}${spent}${label}`;
  const count = Math.max(0, Math.min(widestHostBars, Math.floor((size.columns - words.length) / 2)));
  const { spanMs, ring } = spans[state.span];
  const track = (ring === 'day' ? state.days : state.tracks).get(hostTarget);
  const bars = (of: 'cpuPercent' | 'memoryBytes', top: number) =>
    sparkline(barsOf(track, of, { nowMs, spanMs, count }), top, charset);
  return [
    span(`cpu ${bars('cpuPercent', 100)} ${cpu}`),
    span(`  mem ${bars('memoryBytes', host.memoryBytes)} ${memory}`),
    span(spent, budget.level === 'ok' ? 'plain' : 'yellow'),
    span(label, 'dim'),
  ];
}

/** With the fractions of a quota. */
function cpusText({ usableCpus }: Snapshot['host']): string {
  return counted(Number(usableCpus.toFixed(1)), 'core');
}

function hooksLine(hooks: readonly HookResult[], charset: Charset): readonly Span[] {
  const told = hooks.flatMap(({ name, state, reason }, at) => [
    span(`${at === 0 ? 'hooks: ' : ', '}${safe(name, charset)} `),
    span(state, toneOf(state)),
    span(reason === null ? '' : ` (${safe(reason, charset)})`),
  ]);
  return told;
}

/** What the columns have no room for. */
function detailLine(row: Row, charset: Charset): readonly Span[] {
  return [span(safe(row.kind === 'app' ? appDetail(row) : workerDetail(row), charset), 'dim')];
}

function appDetail({ app }: Row & { kind: 'app' }): string {
  const { name, revision, listen, notes, staffing, spares } = app;
  const parts = [
    `${name}: revision ${revision}`,
    ...(listen.length === 0 ? [] : [`listens on ${listen.join(' ')}`]),
    ...(spares.goal === 0 ? [] : [`${spares.ready} of ${counted(spares.goal, 'spare')} ready`]),
    ...(staffing.reason === null ? [] : [staffing.reason]),
    ...notes,
  ];
  return parts.join('; ');
}

function workerDetail({ worker }: Row & { kind: 'worker' }): string {
  const { id, slot, revision, processes, memoryKind, reason, lastExit } = worker;
  const exit =
    lastExit === null
      ? []
      : [
          `last exit ${lastExit.signal ?? (lastExit.code === null ? 'did not start' : `code ${lastExit.code}`)} (${lastExit.cause})`,
        ];
  const parts = [
    `${id}: slot ${slot}, revision ${revision}`,
    ...(reason === null ? [] : [reason]),
    ...(processes === null ? [] : [`${processes} ${processes === 1 ? 'process' : 'processes'}`]),
    ...(memoryKind === null ? [] : [`memory as ${memoryKind}`]),
    ...exit,
  ];
  return parts.join('; ');
}

function eventsPart(state: State, lines: number, rowCount: number, charset: Charset): readonly Line[] {
  if (lines === 0) return [];
  const width = state.size.columns;
  const where = state.selected === null ? '' : ` row ${state.selected.index + 1} of ${rowCount} `;
  const filtered = state.filter === '' ? '' : ` filter: ${safe(state.filter, charset)} `;
  const title = `── events ──${filtered}${where}`;
  const rule = line([span(title + '─'.repeat(Math.max(0, width - widthOf(title))), 'dim')], width);
  const events = state.events.slice(-(lines - 1)).map((event) => {
    const { text, tone } = eventLine(event);
    return line([span(safe(text, charset), tone)], width);
  });
  return [rule, ...events, ...Array.from({ length: lines - 1 - events.length }, () => line([], width))];
}

// ---------------------------------------------------------------- the last line

function footer(state: State, keys: readonly KeyRow[], charset: Charset): readonly Span[] {
  if (state.prompt !== null) return question(state.prompt, charset);
  return [span(hints(keys, state.size.columns), 'dim')];
}

/** As many keys as fit, those that matter most; in the order of the table. */
function hints(keys: readonly KeyRow[], width: number): string {
  const ranked = keys.flatMap(({ footer: own }) => own ?? []).toSorted((a, b) => a.rank - b.rank);
  let chosen: typeof ranked = [];
  for (const hint of ranked) {
    const more = [...chosen, hint];
    if (widthOf(joined(more)) > width) break;
    chosen = more;
  }
  const shown = keys.flatMap(({ footer: own }) => (own !== null && chosen.includes(own) ? own : []));
  return joined(shown);
}

function joined(all: readonly { readonly text: string }[]): string {
  return all.map(({ text }) => text).join('  ');
}

function question(prompt: Prompt, charset: Charset): readonly Span[] {
  switch (prompt.kind) {
    case 'restart':
      return [
        span(`restart ${safe(prompt.target, charset)}? requests can be lost  `, 'yellow'),
        span('y yes  any other key no', 'bold'),
      ];
    case 'reload':
      return [span('reload? ', 'yellow'), span(`y ${safe(prompt.app, charset)}  a all apps  any other key no`, 'bold')];
    case 'scale':
      return [
        span(`scale ${safe(prompt.app, charset)} from ${prompt.from} to `, 'yellow'),
        span(prompt.text, 'bold'),
        span('  digits + -  Enter yes  Esc no'),
      ];
    case 'filter':
      return [
        span('apps with ', 'yellow'),
        span(`${safe(prompt.text, charset)}_`, 'bold'),
        span('  Enter keeps  Esc shows all'),
      ];
  }
}

// ---------------------------------------------------------------- a page

function pageView(state: State, pane: Pane, charset: Charset): readonly Line[] {
  const { columns: width, rows } = state.size;
  const all = pageLines(state, pane);
  const page = pageHeight(state);
  const shown = all.slice(pane.top, pane.top + page).map(({ text, tone }) => {
    const clean = safe(text, charset);
    return line([span(pane.left === 0 ? clean : without(clean, pane.left), tone)], width);
  });
  const title = pane.target === null ? pane.kind : `${pane.kind} of ${safe(pane.target, charset)}`;
  const where = all.length === 0 ? 'nothing yet' : `${pane.top + 1} to ${pane.top + shown.length} of ${all.length}`;
  const how = pane.tail === 'follow' ? ', following' : '';
  const gone = state.silence === null ? [] : [span('  the master has gone', 'red')];
  const head = line([span(title, 'bold'), span(`  ${where}${how}`, 'dim'), ...gone], width);
  const keys = line(footer(state, paneKeys, charset), width);
  const body = [...shown, ...Array.from({ length: page - shown.length }, () => line([], width))];
  return [...(rows >= 3 ? [head] : []), ...body, ...(rows >= 2 ? [keys] : [])];
}
