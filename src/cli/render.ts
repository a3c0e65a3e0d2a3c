/**
 * The tables of `status` and `hooks`, as text. Columns are as wide as their widest cell; the last one is not padded.
 * Cells are plain text that is coloured after it was padded; foreign text cannot move the cursor.
 */
import type { AppSnapshot, HookResult, Snapshot, WorkerSnapshot } from '../core/protocol.ts';
import { counted } from '../core/units.ts';
import { durationText, percentText, printable, sizeText } from './text.ts';

export type Paint = (text: string) => string;

/** Colours, or functions that change nothing. */
export interface Colours {
  readonly green: Paint;
  readonly yellow: Paint;
  readonly red: Paint;
  readonly dim: Paint;
  readonly bold: Paint;
}

export interface Cell {
  readonly text: string;
  readonly paint?: Paint | undefined;
}

/** Columns two spaces apart; cells may be missing at the end of a row. */
export function table(
  head: readonly string[],
  rows: readonly (readonly (Cell | string)[])[],
  colours: Colours,
): string {
  const all = [head.map((text): Cell => ({ text, paint: colours.dim })), ...rows.map((row) => row.map(asCell))];
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column]?.text.length ?? 0)));
  const lines = all.map((row) =>
    row.map((cell, column) => padded(cell, column === row.length - 1 ? 0 : (widths[column] ?? 0))).join('  '),
  );
  return lines.map((line) => `${line.trimEnd()}\n`).join('');
}

function asCell(cell: Cell | string): Cell {
  const { text, paint } = typeof cell === 'string' ? { text: cell, paint: undefined } : cell;
  return { text: printable(text), paint };
}

function padded({ text, paint }: Cell, width: number): string {
  const space = ' '.repeat(Math.max(0, width - text.length));
  return (paint === undefined || text === '' ? text : paint(text)) + space;
}

/** The whole of `status`. */
export function statusText(snapshot: Snapshot, colours: Colours): string {
  const { name, state, pid, uptimeMs, version, apps } = snapshot;
  const head = `${colours.bold(printable(name))}  ${painted(state, colours)}  pid ${pid}  up ${durationText(uptimeMs)}  supervise ${printable(version)}\n`;
  const notes = apps.flatMap((app) =>
    app.notes.map((note) => `${colours.yellow(`${app.name}: ${printable(note)}`)}\n`),
  );
  const staffing = apps.flatMap(({ name: app, staffing: { kind, reason } }) =>
    reason === null ? [] : [colours.dim(`${app}: ${kind}: ${printable(reason)}`) + '\n'],
  );
  const workers = apps.flatMap((app) => app.workers);
  // Who serves no sockets is not bothered with them.
  const load: Load = apps.some((app) => app.listen.length > 0) ? 'shown' : 'hidden';
  const parts = [
    head + hostLine(snapshot) + hooksLine(snapshot.hooks, colours),
    table(
      ['APP', 'STATE', 'READY', 'REVISION', ...(load === 'shown' ? loadHead : []), 'LISTEN'],
      apps.map((app) => appRow(app, load, colours)),
      colours,
    ) + [...staffing, ...notes].join(''),
  ];
  if (workers.length > 0)
    parts.push(
      table(
        ['ID', 'PID', 'STATE', 'UPTIME', 'RESTARTS', 'CPU', 'MEM', ...(load === 'shown' ? loadHead : []), 'REASON'],
        workers.map((worker) => workerRow(worker, load, colours)),
        colours,
      ),
    );
  return parts.join('\n');
}

/** Whether connections and queues are shown. */
type Load = 'shown' | 'hidden';
const loadHead = ['CONNS', 'QUEUE'] as const;

function loadCells({ connections, queue }: AppSnapshot | WorkerSnapshot, load: Load): readonly string[] {
  return load === 'shown' ? [connections, queue].map((count) => String(count ?? '-')) : [];
}

function appRow(app: AppSnapshot, load: Load, colours: Colours): readonly (Cell | string)[] {
  const { name, state, ready, goal, spares, revision, listen } = app;
  const standby = spares.goal === 0 ? '' : ` +${spares.ready}/${spares.goal}`;
  const cells = [name, stateCell(state, colours), `${ready}/${goal}${standby}`, String(revision)];
  return [...cells, ...loadCells(app, load), listen.join(' ') || '-'];
}

function workerRow(worker: WorkerSnapshot, load: Load, colours: Colours): readonly (Cell | string)[] {
  const { id, pid, state, spare, uptimeMs, restarts, cpuPercent, reason } = worker;
  const cells = [
    id,
    pid === null ? '-' : String(pid),
    stateCell(spare ? 'spare' : state, colours),
    durationText(uptimeMs),
    String(restarts),
  ];
  const used = [percentText(cpuPercent), memoryText(worker)];
  return [...cells, ...used, ...loadCells(worker, load), reason ?? lastExitText(worker)];
}

/** Where pages may have been counted several times, that is said. */
function memoryText({ memoryBytes, memoryKind }: WorkerSnapshot): string {
  return `${sizeText(memoryBytes)}${memoryKind === 'rss' ? ' rss' : ''}`;
}

/** Why it was restarted, when there is nothing more pressing to say. */
export function lastExitText({ lastExit }: WorkerSnapshot): string {
  if (lastExit === null) return '';
  const how = lastExit.signal ?? (lastExit.code === null ? 'did not start' : `exit ${lastExit.code}`);
  return `last exit: ${how} (${lastExit.cause})`;
}

function hostLine(snapshot: Snapshot): string {
  const { host } = snapshot;
  if (host.cpus === 0) return 'host: not sampled yet\n';
  const cpu = host.cpuUtilisation === null ? '-' : percentText(host.cpuUtilisation * 100);
  const memory = host.memoryUtilisation === null ? '-' : percentText(host.memoryUtilisation * 100);
  return `host: cpu ${cpu} of ${counted(host.cpus, 'core')}, memory ${memory} of ${sizeText(host.memoryBytes)}${budgetText(snapshot)}${countedText(snapshot)}\n`;
}

function budgetText({ budget }: Snapshot): string {
  const { budgetBytes, usedBytes, level } = budget;
  if (budgetBytes === null) return '';
  const mark = level === 'ok' ? '' : ` (${level})`;
  return `; workers ${sizeText(usedBytes)} of a budget of ${sizeText(budgetBytes)}${mark}`;
}

/** How old the numbers of connections are: they are counted now and then. */
function countedText({ startedAt, uptimeMs, apps }: Snapshot): string {
  const times = apps.flatMap(({ countedAt }) => (countedAt ? [Date.parse(countedAt)] : []));
  if (times.length === 0) return '';
  return `; connections counted ${durationText(Math.max(0, Date.parse(startedAt) + uptimeMs - Math.min(...times)))} ago`;
}

function hooksLine(hooks: readonly HookResult[], colours: Colours): string {
  if (hooks.length === 0) return '';
  const one = ({ name, state, exitCode, signal }: HookResult) => {
    const how = state === 'failed' ? ` (${signal ?? `exit ${exitCode ?? '?'}`})` : '';
    return `${printable(name)} ${painted(state, colours)}${how}`;
  };
  return `hooks: ${hooks.map(one).join(', ')}\n`;
}

/** The whole of `hooks`. */
export function hooksText(hooks: readonly HookResult[], colours: Colours): string {
  if (hooks.length === 0) return 'no hooks are configured\n';
  const rows = hooks.map((hook) => [
    hook.phase,
    hook.name,
    stateCell(hook.state, colours),
    String(hook.attempts),
    durationText(hook.durationMs),
    hook.signal ?? (hook.exitCode === null ? '-' : String(hook.exitCode)),
    hook.reason ?? '',
  ]);
  return table(['PHASE', 'NAME', 'STATE', 'ATTEMPTS', 'DURATION', 'EXIT', 'REASON'], rows, colours);
}

function stateCell(state: string, colours: Colours): Cell {
  return { text: state, paint: paintOf(state, colours) };
}

function painted(state: string, colours: Colours): string {
  return (paintOf(state, colours) ?? ((text) => text))(state);
}

function paintOf(state: string, colours: Colours): Paint | undefined {
  return colours[toneOf(state)];
}

/** The colour of a state, of a worker, an app, a hook or the master. */
export function toneOf(state: string): 'green' | 'red' | 'dim' | 'yellow' {
  if (['ready', 'spare', 'running', 'succeeded', 'completed'].includes(state)) return 'green';
  if (['failed', 'timed-out', 'cancelled', 'killing'].includes(state)) return 'red';
  if (['stopped', 'skipped', 'pending'].includes(state)) return 'dim';
  return 'yellow';
}
