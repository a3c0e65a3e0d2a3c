/**
 * The answer to `why` in plain words: what is wrong now, why each process that runs was started, and how the last ones
 * ended. A headline says who, how, when and after how long; indented below it stand the facts that prove it.
 */
import { describeExit } from './reasons.ts';
import type { CurvePoint, ExitRecord, Next, Start, Why, WorkerWhy } from './record.ts';
import { counted, formatBytes, formatDuration, formatPercent } from './units.ts';

/** A paragraph: a headline, and what stands indented below it. */
export interface Paragraph {
  readonly kind: 'trouble' | 'fine' | 'crash' | 'planned';
  readonly headline: string;
  readonly details: readonly string[];
  /** Foreign text: to be made harmless by whoever prints it. */
  readonly lastLines: readonly string[];
}

/** Writes a time (ISO 8601) as its reader wants it. */
export type Clock = (at: string) => string;

/** Every paragraph of the answer: the workers that there are, then the exits, newest first. */
export function whyParagraphs(why: Why, clock: Clock): readonly Paragraph[] {
  const workers = why.workers.map((worker) => workerParagraph(worker, clock));
  const fine = workers.filter(({ kind }) => kind === 'fine');
  return [
    ...workers.filter(({ kind }) => kind === 'trouble'),
    ...(fine.length > mostFine ? [crowd(why.workers)] : fine),
    ...why.records.map((record) => exitParagraph(record, clock)),
  ];
}

/** More workers than this that run well are told together. */
const mostFine = 8;

function crowd(workers: readonly WorkerWhy[]): Paragraph {
  const fine = workers.filter(isFine);
  const groups = new Map<string, number>();
  for (const { start } of fine) {
    const why = start === null ? 'not started yet' : `started ${startWords[start.why]}`;
    groups.set(why, (groups.get(why) ?? 0) + 1);
  }
  const details = [...groups].map(([why, count]) => `${count} ${why}`);
  return { kind: 'fine', headline: `${fine.length} workers run fine`, details, lastLines: [] };
}

function isFine({ state, reason }: WorkerWhy): boolean {
  return (state === 'ready' && reason === null) || state === 'completed';
}

// ---------------------------------------------------------------- workers

function workerParagraph(worker: WorkerWhy, clock: Clock): Paragraph {
  const { id, revision, state, reason, start } = worker;
  const since = worker.uptimeMs === null ? '' : ` for ${formatDuration(worker.uptimeMs)}`;
  const serves = `runs${reason === null ? ' fine' : ''}${since}`;
  const words = state === 'ready' ? serves : stateWords[state];
  const pid = worker.pid === null ? '' : `, pid ${worker.pid}`;
  const but = reason === null ? '' : state === 'ready' ? `, but ${reason}` : `: ${reason}`;
  return {
    kind: isFine(worker) ? 'fine' : 'trouble',
    headline: `${id} (revision ${revision}) ${words}${pid}${but}`,
    details: start === null ? [] : [`${worker.pid === null ? 'last ' : ''}${startInWords(start, clock)}`],
    lastLines: [],
  };
}

const stateWords: Readonly<Record<Exclude<WorkerWhy['state'], 'ready'>, string>> = {
  starting: 'is starting',
  stopping: 'is stopping',
  killing: 'is being killed',
  backoff: 'waits before its next start',
  failed: 'has failed',
  completed: 'has completed its work',
  stopped: 'has stopped',
};

const startWords: Readonly<Record<Start['why'], string>> = {
  'start': 'with its app',
  'scale-up': 'because more workers were wanted (scale)',
  'reload': 'by a reload',
  'rollback': 'by a rollback',
  'restart': 'by `supervise restart`',
  'respawn': 'again',
  'replacement': 'as a replacement',
  'missing': 'because fewer workers ran than are wanted',
};

/** "started at 12:03:04 by a reload, in place of web.2". */
export function startInWords({ at, why, of, after }: Start, clock: Clock): string {
  const place = of === null ? '' : `, in place of ${of}`;
  return `started at ${clock(at)} ${startWords[why]}${place}${after === null ? '' : `, because ${after}`}`;
}

// ---------------------------------------------------------------- exits

function exitParagraph(record: ExitRecord, clock: Clock): Paragraph {
  const { curve, restarts, lastLines, cause } = record;
  const boot = record.readyMs === null ? 'it was never ready' : `ready after ${formatDuration(record.readyMs)}`;
  const facts = [
    record.pid === null ? null : `pid ${record.pid}`,
    `slot ${record.slot}`,
    boot,
    restarts === 0 ? null : counted(restarts, 'restart') + ' before',
  ];
  const isPlain = ['stop', 'scale-down', 'restart', 'reload', 'rollback', 'exit', 'lifetime', 'stranded'].includes(
    cause,
  );
  return {
    kind: isPlain ? 'planned' : 'crash',
    headline: headlineOf(record, clock),
    details: [
      facts.filter((fact) => fact !== null).join(', '),
      ...curveLines(curve),
      ...(record.spare === null ? [] : [`${record.spare}, a spare, took its place`]),
      nextInWords(record.next),
    ],
    lastLines,
  };
}

/** "web.7 (revision 3) crashed with exit code 1 at 12:03:04 after 2h4m". */
export function headlineOf(record: ExitRecord, clock: Clock): string {
  const [verb, proof] = endInWords(record);
  const when = `at ${clock(record.at)} after ${formatDuration(record.uptimeMs)}`;
  return `${record.worker} (revision ${record.revision}) ${verb} ${when}${proof === null ? '' : `: ${proof}`}`;
}

/** Signals that a process gets for what it does itself. */
const faults: ReadonlySet<string> = new Set(['SIGSEGV', 'SIGABRT', 'SIGBUS', 'SIGILL', 'SIGFPE', 'SIGTRAP', 'SIGSYS']);

/** What happened, and what proves or explains it. */
function endInWords(record: ExitRecord): readonly [string, string | null] {
  const exit = describeExit(record);
  switch (record.cause) {
    case 'oom':
      return ['was killed by the kernel for want of memory', record.oom];
    case 'crash':
      return [`crashed with ${exit}`, null];
    case 'signal':
      if (faults.has(record.signal ?? '')) return [`crashed with ${exit}`, null];
      return [
        `was ended by ${exit} from outside of supervise`,
        record.signal === 'SIGKILL' ? 'nothing proves that it was the kernel for want of memory' : null,
      ];
    case 'exit':
      return [`ended by itself with ${exit}`, null];
    case 'spawn-failed':
      return ['could not be started', record.error];
    case 'start-timeout':
      return ['was not ready in time and was ended', `${exit}${withReason(record)}`];
    case 'memory-limit':
      return ['was ended for being over its memory limit', record.reason ?? record.oom];
    case 'memory-budget':
      return ['was replaced because all workers together were over the memory budget', record.reason];
    case 'stranded':
      return ['was replaced to make room', record.reason];
    case 'lifetime':
      return ['was replaced because of its age', record.reason];
    case 'health':
      return ['was ended for not being healthy', record.reason];
    case 'stall':
      return ['was ended because it hung', record.reason];
    case 'asked':
      return [`ended with ${exit} after \`supervise signal\``, null];
    case 'stop':
      return ['was stopped with the master or its app', record.reason];
    case 'scale-down':
      return ['was stopped because fewer workers were wanted', record.reason];
    case 'restart':
      return ['was stopped by `supervise restart`', record.reason];
    case 'reload':
      return ['was replaced by a reload', record.reason];
    case 'rollback':
      return ['was stopped by a rollback', record.reason];
  }
}

/** How a process ended, as the reason for what came next: "its process before crashed with exit code 1". */
export function endAsReason(record: ExitRecord): string {
  const [verb, proof] = endInWords(record);
  const isLong = record.cause === 'oom' || record.cause === 'signal';
  return `${verb}${isLong || proof === null ? '' : ` (${proof})`}`;
}

function withReason({ reason }: ExitRecord): string {
  return reason === null ? '' : `; ${reason}`;
}

function nextInWords(next: Next): string {
  switch (next.type) {
    case 'restarted':
      return 'then: started again at once';
    case 'backoff':
      return `then: the next start was due after ${formatDuration(next.delayMs)} (${counted(next.crashes, 'crash', 'crashes')} in a row)`;
    case 'failed':
      return `then: given up${next.crashes === 0 ? '' : ` after ${counted(next.crashes, 'crash', 'crashes')} in a row`}${
        next.delayMs === null ? '' : `; the next trial was due after ${formatDuration(next.delayMs)}`
      }`;
    case 'completed':
      return 'then: not started again, its work is done';
    case 'stopped':
      return next.by === null ? 'then: nothing took its place' : `then: replaced by ${next.by}`;
  }
}

// ---------------------------------------------------------------- curves

const bars = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'] as const;

/** One bar a value between the lowest and the highest; a space where nothing is known, nothing of less than two values. */
export function sparkline(values: readonly (number | null)[]): string {
  const known = values.filter((value) => value !== null);
  if (known.length < 2) return '';
  const low = Math.min(...known);
  const range = Math.max(...known) - low;
  const top = bars.length - 1;
  return values
    .map((value) => (value === null ? ' ' : bars[range === 0 ? 0 : Math.round((top * (value - low)) / range)]))
    .join('');
}

function curveLines(curve: readonly CurvePoint[]): readonly string[] {
  const [first] = curve;
  if (first === undefined) return [];
  const over =
    curve.length === 1 ? `, ${formatDuration(first.beforeMs)} before` : `, last ${formatDuration(first.beforeMs)}`;
  const memory = curve.map(({ memoryBytes }) => memoryBytes);
  const cpu = curve.map(({ cpuPercent }) => cpuPercent);
  const line = (name: string, spark: string, range: string) =>
    `${[name.padEnd(6), spark, range].filter((part) => part !== '').join(' ')}${over}`;
  const lines = [line('memory', sparkline(memory), rangeOf(memory, formatBytes))];
  const known = cpu.filter((percent) => percent !== null);
  const percentText = (percent: number) => formatPercent(percent / 100);
  if (known.length > 0) lines.push(line('cpu', sparkline(cpu), rangeOf(known, percentText)));
  return lines;
}

function rangeOf(values: readonly number[], text: (value: number) => string): string {
  const [low, high] = [text(Math.min(...values)), text(Math.max(...values))];
  return low === high ? low : `${low} to ${high}`;
}
