/** A master and a log on the other side of the control server's boundary: they record, and report what a test says. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { LogFace, LogFilter, MasterFace, OwnUsage, Reread } from '../../src/control/face.ts';
import type { HttpDoor } from '../../src/control/http-door.ts';
import type { ControlLimits, ControlServer } from '../../src/control/server.ts';
import { serve } from '../../src/control/server.ts';
import { SuperviseError } from '../../src/core/errors.ts';
import { capacityOf, type CapacityReport } from '../../src/core/capacity.ts';
import type { History, HistorySpan } from '../../src/core/history.ts';
import type { Command, Event, EventBody, LogLine, Reply, Snapshot, Target } from '../../src/core/protocol.ts';
import type { Why } from '../../src/core/record.ts';

export class FakeMaster implements MasterFace {
  readonly commands: Command[] = [];
  readonly listeners = new Set<(event: Event) => void>();
  /** What `handle` answers; it may emit before it returns. */
  answer: (command: Command) => Reply = () => ({ ok: true, operation: null, message: 'done' });
  name = 'shop';
  #events: Event[] = [];

  emit(body: EventBody): void {
    const event: Event = { seq: this.#events.length + 1, at: '2026-01-01T00:00:00.000Z', ...body };
    this.#events.push(event);
    for (const listener of [...this.listeners]) listener(event);
  }

  snapshot(): Snapshot {
    return {
      name: this.name,
      version: '1.0.0',
      pid: process.pid,
      state: 'running',
      startedAt: '2026-01-01T00:00:00.000Z',
      uptimeMs: 12_345,
      configFile: null,
      hooks: [
        {
          phase: 'pre_start',
          name: 'migrate',
          state: 'succeeded',
          attempts: 1,
          durationMs: 812,
          exitCode: 0,
          signal: null,
          reason: null,
        },
      ],
      budget: { budgetBytes: null, usedBytes: null, level: 'ok' },
      host: {
        cpus: 2,
        usableCpus: 2,
        cpuSource: '2 CPUs online',
        memorySource: 'memory of the host',
        cpuUtilisation: 0.41,
        memoryBytes: 1024,
        memoryUtilisation: 0.5,
      },
      apps: [
        {
          name: 'web',
          kind: 'command',
          state: 'running',
          goal: 1,
          ready: 1,
          staffing: { kind: 'fixed', min: 1, max: 1, reason: null },
          spares: { goal: 0, ready: 0 },
          revision: 1,
          listen: ['tcp://127.0.0.1:8000'],
          connections: null,
          queue: null,
          countedAt: null,
          notes: [],
          workers: [],
        },
      ],
    };
  }

  handle(command: Command): Reply {
    this.commands.push(command);
    return this.answer(command);
  }

  subscribe(listener: (event: Event) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  recentEvents(): readonly Event[] {
    return this.#events;
  }

  /** What `why` was asked for. */
  readonly whys: { readonly target: Target; readonly n: number }[] = [];

  why(target: Target, n: number): Why {
    this.whys.push({ target, n });
    if (target.app !== 'web') throw new SuperviseError('unknown-target', `there is no app ${target.app}`);
    return { target: target.worker ?? target.app, running: true, workers: [], records: [] };
  }

  /** What `capacity` was asked for: the time to look back. */
  readonly capacities: number[] = [];

  /** Of a host that nobody has looked at. */
  capacity(spanMs: number): CapacityReport {
    this.capacities.push(spanMs);
    const none = {
      fine: { target: 'host', stepMs: 2_000, points: [] },
      day: { target: 'host', stepMs: 60_000, points: [] },
    };
    const { host } = this.snapshot();
    return capacityOf(
      { nowMs: 0, spanMs, target: 0.7, host, budgetBytes: null, hostHistory: none, apps: [] },
      '2026-01-01T00:00:00.000Z',
    );
  }

  history(target: string, span: HistorySpan): History {
    if (!['host', 'web', 'web.1'].includes(target))
      throw new SuperviseError('unknown-target', `there is no app or worker ${target}, and no history of one`);
    const known = { cpuPercent: 12.5, cpuMaxPercent: 30, memoryBytes: 1000, memoryMaxBytes: 2000 };
    const staff = target === 'web' ? { ready: 1, goal: 1 } : { ready: null, goal: null };
    const queue = target === 'host' ? null : 0;
    return { target, stepMs: span === 'day' ? 60_000 : 2_000, points: [{ atMs: 60_000, ...known, queue, ...staff }] };
  }
}

export class FakeLogs implements LogFace {
  readonly lines: LogLine[] = [];
  readonly listeners = new Set<(line: LogLine) => void>();

  add(source: string, line: string): void {
    const app = source.split('.')[0] ?? source;
    const entry: LogLine = { at: '2026-01-01T00:00:00.000Z', app, source, stream: 'stdout', line };
    this.lines.push(entry);
    for (const listener of [...this.listeners]) listener(entry);
  }

  recent({ app, source }: LogFilter, n: number): readonly LogLine[] {
    const matching = this.lines.filter(
      (line) => (app === null || line.app === app) && (source === null || line.source === source),
    );
    return n === 0 ? [] : matching.slice(-n);
  }

  subscribe(listener: (line: LogLine) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
}

/** What the process of such a master is said to use. */
export const someUsage = (): OwnUsage => ({
  cpuSeconds: 1.5,
  residentBytes: 50_000_000,
  openFiles: 30,
  loopBusySeconds: 0.5,
});

export interface Room {
  readonly master: FakeMaster;
  readonly logs: FakeLogs;
  readonly directory: string;
  readonly socketPath: string;
  readonly server: ControlServer;
}

export interface RoomOptions {
  readonly limits?: Partial<ControlLimits>;
  readonly reread?: Reread | null;
  /** The name of a symlink to the socket, in the same directory. */
  readonly link?: string;
  readonly http?: HttpDoor;
}

/** A real server on a fresh socket, with a fake master behind it; closed when the test ends. */
export async function openRoom(
  test: TestContext,
  { limits = {}, reread = null, link, http }: RoomOptions = {},
): Promise<Room> {
  const directory = mkdtempSync(join(tmpdir(), 'supervise-control-'));
  const socketPath = join(directory, 'control.sock');
  const master = new FakeMaster();
  const logs = new FakeLogs();
  const server = await serve({
    master,
    logs,
    reread,
    own: someUsage,
    http: http ?? null,
    socketPath,
    link: link === undefined ? null : join(directory, link),
    limits,
  });
  test.after(() => {
    server.close();
    rmSync(directory, { recursive: true, force: true });
  });
  return { master, logs, directory, socketPath, server };
}

/** Waits for something that happens in a moment; fails after five seconds. */
export async function eventually(what: string, check: () => boolean | Promise<boolean>): Promise<void> {
  const endMs = performance.now() + 5000;
  while (!(await check())) {
    if (performance.now() > endMs) throw new Error(`never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
