/** A dashboard without a terminal: a snapshot to look at, keys to press, and the screen as text. */
import type { AppSnapshot, Event, Snapshot, WorkerSnapshot } from '../../../src/core/protocol.ts';
import { widthOf, type Line } from '../../../src/cli/top/cells.ts';
import { step } from '../../../src/cli/top/model.ts';
import { initialState, type Effect, type Input, type State } from '../../../src/cli/top/state.ts';
import { view } from '../../../src/cli/top/view.ts';
import type { Charset } from '../../../src/cli/sparkline.ts';

export const startMs = Date.parse('2026-01-01T12:00:00Z');

export function worker(id: string, more: Partial<WorkerSnapshot> = {}): WorkerSnapshot {
  const slot = Number(id.split('.')[1] ?? 1) - 1;
  return {
    id,
    slot,
    pid: 4000 + slot,
    state: 'ready',
    spare: false,
    reason: null,
    revision: 1,
    restarts: 0,
    startedAt: null,
    readyAt: null,
    uptimeMs: 192_000,
    cpuPercent: 10,
    memoryBytes: 50 * 2 ** 20,
    memoryKind: 'rss',
    processes: 1,
    connections: null,
    queue: null,
    lastExit: null,
    ...more,
  };
}

export function app(name: string, workers: readonly WorkerSnapshot[], more: Partial<AppSnapshot> = {}): AppSnapshot {
  return {
    name,
    kind: 'command',
    state: 'running',
    goal: workers.length,
    ready: workers.length,
    staffing: { kind: 'fixed', min: workers.length, max: null, reason: null },
    spares: { goal: 0, ready: 0 },
    revision: 1,
    listen: [],
    connections: null,
    queue: null,
    countedAt: null,
    notes: [],
    workers,
    ...more,
  };
}

export function appOf(name: string, count: number): AppSnapshot {
  return app(
    name,
    Array.from({ length: count }, (_, at) => worker(`${name}.${at + 1}`)),
  );
}

export function snapshotOf(apps: readonly AppSnapshot[], more: Partial<Snapshot> = {}): Snapshot {
  return {
    name: 'shop',
    version: '1.0.0',
    pid: 4242,
    state: 'running',
    startedAt: '2026-01-01T11:00:00.000Z',
    uptimeMs: 3_600_000,
    configFile: null,
    hooks: [],
    host: {
      cpus: 2,
      usableCpus: 1.5,
      cpuSource: '',
      cpuUtilisation: 0.5,
      memoryBytes: 4 * 2 ** 30,
      memorySource: '',
      memoryUtilisation: 0.25,
    },
    budget: { budgetBytes: null, usedBytes: null, level: 'ok' },
    apps,
    ...more,
  };
}

export function readyEvent(seq: number, more: Partial<Event> = {}): Event {
  const body = { type: 'worker.ready', app: 'web', worker: `web.${seq}`, slot: 0, pid: 1, bootMs: 5 } as const;
  return { seq, at: '2026-01-01T12:00:00.000Z', ...body, ...more } as Event;
}

/** What has come in, what was asked for, and what is on the screen. */
export class Scene {
  state: State;
  readonly effects: Effect[] = [];
  readonly charset: Charset;

  constructor(size = '80x24', charset: Charset = 'unicode') {
    const [columns = 0, rows = 0] = size.split('x').map(Number);
    this.state = initialState({ columns, rows }, startMs);
    this.charset = charset;
  }

  take(...inputs: readonly Input[]): this {
    for (const input of inputs) {
      const { state, effects } = step(this.state, input);
      this.state = state;
      this.effects.push(...effects);
    }
    return this;
  }

  sees(apps: readonly AppSnapshot[], more: Partial<Snapshot> = {}, afterMs = 0): this {
    return this.take({ type: 'snapshot', snapshot: snapshotOf(apps, more), nowMs: startMs + afterMs });
  }

  press(...keys: readonly string[]): this {
    return this.take(...keys.map((key): Input => ({ type: 'key', key })));
  }

  get lines(): readonly Line[] {
    return view(this.state, this.charset);
  }

  /** The lines without the space at their ends. */
  get text(): readonly string[] {
    return this.lines.map(({ spans }) =>
      spans
        .map(({ text }) => text)
        .join('')
        .trimEnd(),
    );
  }

  get footer(): string {
    return this.text.at(-1) ?? '';
  }

  /** The names of the rows of the table that are on the screen. */
  get rows(): readonly string[] {
    return this.text.flatMap(
      (text) => /^[▸> ] {1,3}([a-z]+(?:\.\d+)?) +(?:ready|running|backoff|stopping)/.exec(text)?.[1] ?? [],
    );
  }

  get selected(): string | undefined {
    return this.state.selected?.key;
  }

  /** As many lines as the screen is high, each exactly as wide. */
  get isExact(): boolean {
    const { columns, rows } = this.state.size;
    const widths = this.lines.map(({ spans }) => spans.reduce((sum, { text }) => sum + widthOf(text), 0));
    return widths.length === rows && widths.every((width) => width === columns);
  }
}
