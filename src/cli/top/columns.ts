/**
 * The columns of the table: which of them fit into a width, in the order of how much they matter, and their cells.
 *
 * What is left over goes to the bars, and from 16 columns on to the reason, which is cut last.
 */
import type { AppSnapshot, WorkerSnapshot } from '../../core/protocol.ts';
import { lastExitText, toneOf } from '../render.ts';
import { sparkline, type Charset } from '../sparkline.ts';
import { percentText, sizeText } from '../text.ts';
import { fit, safe, span, widthOf, type Span } from './cells.ts';
import type { Order, Row } from './rows.ts';
import type { State } from './state.ts';
import { appCpu, appMemory, barsOf, spans, type Track } from './tracks.ts';

type Id =
  | 'name'
  | 'state'
  | 'ready'
  | 'uptime'
  | 'restarts'
  | 'cpu'
  | 'cpuBars'
  | 'memory'
  | 'memoryBars'
  | 'connections'
  | 'queue'
  | 'reason';

export interface Column {
  readonly id: Id;
  readonly width: number;
}

interface Kind {
  readonly title: string;
  readonly width: number;
  readonly align: 'left' | 'right';
  /** The order in which its values stand highest first. */
  readonly order?: Order;
}

const kinds: Readonly<Record<Id, Kind>> = {
  name: { title: 'NAME', width: 12, align: 'left', order: 'slot' },
  state: { title: 'STATE', width: 9, align: 'left' },
  ready: { title: 'READY/PID', width: 9, align: 'right' },
  uptime: { title: 'UP', width: 6, align: 'right', order: 'uptime' },
  restarts: { title: 'RST', width: 4, align: 'right', order: 'restarts' },
  cpu: { title: 'CPU', width: 5, align: 'right', order: 'cpu' },
  cpuBars: { title: '', width: 8, align: 'left' },
  memory: { title: 'MEM', width: 6, align: 'right', order: 'memory' },
  memoryBars: { title: '', width: 8, align: 'left' },
  connections: { title: 'CONN', width: 5, align: 'right' },
  queue: { title: 'QUEUE', width: 5, align: 'right' },
  reason: { title: 'REASON', width: 16, align: 'left' },
};

const display = Object.keys(kinds) as Id[];
const importance: readonly Id[] = [
  'name',
  'cpu',
  'memory',
  'state',
  'uptime',
  'ready',
  'restarts',
  'cpuBars',
  'memoryBars',
  'reason',
  'queue',
  'connections',
];
const widestBars = 24;
const widestReason = 60;

/** The columns for rows of `width` columns, one apart. */
export function columnsFor({ snapshot, size }: State, rows: readonly Row[]): readonly Column[] {
  const width = size.columns - markWidth;
  const longest = rows.reduce((most, row) => Math.max(most, widthOf(nameOf(row))), 0);
  const nameWidth = Math.max(6, Math.min(longest, Math.max(12, Math.floor(size.columns / 4))));
  const serves = snapshot?.apps.some((app) => app.listen.length > 0) === true;
  const chosen: Column[] = [];
  let left = width;
  for (const id of importance) {
    if ((id === 'queue' || id === 'connections') && !serves) continue;
    const column = { id, width: id === 'name' ? Math.min(nameWidth, width) : kinds[id].width };
    const needed = column.width + (chosen.length === 0 ? 0 : 1);
    if (needed > left) break;
    left -= needed;
    chosen.push(column);
  }
  return display.flatMap((id) => chosen.find((column) => column.id === id) ?? []).map(widened(chosen, left));
}

/** Gives what is left to the bars and to the reason. */
function widened(chosen: readonly Column[], left: number): (column: Column) => Column {
  const has = (id: Id) => chosen.some((column) => column.id === id);
  const bars = (['cpuBars', 'memoryBars'] as const).filter(has);
  const forReason = has('reason') ? Math.min(left, widestReason - kinds.reason.width) : 0;
  const each =
    bars.length === 0 ? 0 : Math.min(widestBars - kinds.cpuBars.width, Math.floor((left - forReason) / bars.length));
  const rest = left - each * bars.length;
  return (column) => {
    if (column.id === 'reason') return { ...column, width: column.width + rest };
    return bars.some((id) => id === column.id) ? { ...column, width: column.width + each } : column;
  };
}

const markWidth = 2;

/** The mark of the selected row, which also shows without colours. */
export function markOf(isSelected: boolean): Span {
  return span(isSelected ? '▸ ' : '  ');
}

export function headCells(columns: readonly Column[], order: Order): readonly Span[] {
  return columns.flatMap(({ id, width }, at) => {
    const { title, align, order: own } = kinds[id];
    const text = own === order ? `${title}▾` : title;
    return [...gap(at), span(fit(text, width, align), own === order ? 'bold' : 'dim')];
  });
}

function gap(at: number): readonly Span[] {
  return at === 0 ? [] : [span(' ')];
}

export function rowCells(row: Row, columns: readonly Column[], state: State, charset: Charset): readonly Span[] {
  const shown = row.kind === 'app' ? appCells(row.app) : workerCells(row.worker);
  return columns.flatMap(({ id, width }, at) => {
    const text = id === 'cpuBars' || id === 'memoryBars' ? bars(row, id, { width, state, charset }) : (shown[id] ?? '');
    const tone = id === 'state' ? toneOf(shown.state) : row.kind === 'app' && id === 'name' ? 'bold' : 'plain';
    const shownText = id === 'name' ? nameIn(row, width) : text;
    return [...gap(at), span(fit(safe(shownText, charset), width, kinds[id].align), tone)];
  });
}

function nameOf(row: Row): string {
  return row.kind === 'app' ? row.key : `  ${row.key}`;
}

/** Of a long name of an app something is left out in the middle: workers are told apart by their numbers. */
function nameIn(row: Row, width: number): string {
  const name = nameOf(row);
  const number = row.kind === 'worker' ? name.slice(name.lastIndexOf('.')) : '';
  const left = width - number.length;
  return name.length <= width || left < 4 ? name : `${name.slice(0, left - 1)}…${number}`;
}

type Cells = Readonly<Partial<Record<Id, string>>> & { readonly state: string };

function appCells(app: AppSnapshot): Cells {
  const { state, ready, goal, spares, notes, connections, queue, listen } = app;
  return {
    state,
    ready: `${ready}/${goal}${spares.goal === 0 ? '' : `+${spares.ready}`}`,
    cpu: percentText(appCpu(app)),
    memory: sizeText(appMemory(app)),
    connections: countText(connections),
    queue: countText(queue),
    reason: notes.join('; ') || listen.join(' '),
  };
}

function workerCells(worker: WorkerSnapshot): Cells {
  const { pid, state, spare, uptimeMs, restarts, cpuPercent, memoryBytes, connections, queue, reason } = worker;
  return {
    state: spare ? 'spare' : state,
    ready: pid === null ? '-' : String(pid),
    uptime: uptimeText(uptimeMs),
    restarts: String(restarts),
    cpu: percentText(cpuPercent),
    memory: sizeText(memoryBytes),
    connections: countText(connections),
    queue: countText(queue),
    reason: reason ?? lastExitText(worker),
  };
}

function countText(count: number | null): string {
  return count === null ? '-' : String(count);
}

const units = [
  [86_400, 'd', 3600, 'h'],
  [3600, 'h', 60, 'm'],
  [60, 'm', 1, 's'],
] as const;

/** `12s`, `3m12s`, `2h05m`, `12d3h`: at most 6 columns, whole seconds. `-` for null. */
export function uptimeText(ms: number | null): string {
  if (ms === null) return '-';
  const seconds = Math.floor(Math.max(0, ms) / 1000);
  for (const [large, largeName, small, smallName] of units) {
    if (seconds < large) continue;
    const rest = Math.floor((seconds % large) / small);
    const text = `${Math.floor(seconds / large)}${largeName}`;
    return rest === 0 || seconds >= 100 * 86_400
      ? text
      : `${text}${String(rest).padStart(large > 3600 ? 1 : 2, '0')}${smallName}`;
  }
  return `${seconds}s`;
}

/** A core, or the peak where that is higher, is the whole height of CPU; memory is shown against its peak. */
function bars(
  row: Row,
  id: 'cpuBars' | 'memoryBars',
  { width, state, charset }: { width: number; state: State; charset: Charset },
): string {
  const { spanMs, ring } = spans[state.span];
  const track: Track | undefined = (ring === 'day' ? state.days : state.tracks).get(row.key);
  const values = barsOf(track, id === 'cpuBars' ? 'cpuPercent' : 'memoryBytes', {
    nowMs: state.nowMs,
    spanMs,
    count: width,
  });
  const peak = Math.max(0, ...values.map((value) => value ?? 0));
  return sparkline(values, id === 'cpuBars' ? Math.max(100, peak) : peak, charset);
}
