/**
 * The rows of the table: which there are, in which order, and which is the selected one.
 *
 * - By slot each app stands above its workers. In any other order the apps come first, then all workers, the highest first.
 * - The selection stays with its app or worker wherever that goes. When a worker is gone, with the one in its slot; else
 *   with its app; else with whoever is at its place.
 */
import type { AppSnapshot, Snapshot, WorkerSnapshot } from '../../core/protocol.ts';

export type Row =
  | { readonly kind: 'app'; readonly key: string; readonly app: AppSnapshot }
  | { readonly kind: 'worker'; readonly key: string; readonly app: AppSnapshot; readonly worker: WorkerSnapshot };

export const orders = ['slot', 'cpu', 'memory', 'uptime', 'restarts'] as const;
export type Order = (typeof orders)[number];

export interface Selected {
  /** The name of an app, or the id of a worker. */
  readonly key: string;
  readonly app: string;
  /** null: an app is selected. */
  readonly slot: number | null;
  /** Which row it was. */
  readonly index: number;
}

const valueOf: Readonly<Record<Exclude<Order, 'slot'>, (worker: WorkerSnapshot) => number | null>> = {
  cpu: ({ cpuPercent }) => cpuPercent,
  memory: ({ memoryBytes }) => memoryBytes,
  uptime: ({ uptimeMs }) => uptimeMs,
  restarts: ({ restarts }) => restarts,
};

/** `filter`: a part of the names of the apps that are shown, in upper or lower case. */
export function rowsOf(snapshot: Snapshot | null, order: Order, filter: string): readonly Row[] {
  const wanted = filter.toLowerCase();
  const apps = (snapshot?.apps ?? []).filter(({ name }) => name.toLowerCase().includes(wanted));
  const head = (app: AppSnapshot): Row => ({ kind: 'app', key: app.name, app });
  const below = (app: AppSnapshot): Row[] =>
    app.workers.map((worker) => ({ kind: 'worker', key: worker.id, app, worker }));
  if (order === 'slot') return apps.flatMap((app) => [head(app), ...below(app)]);
  const value = (row: Row) => (row.kind === 'worker' ? (valueOf[order](row.worker) ?? -1) : -1);
  return [...apps.map(head), ...apps.flatMap(below).toSorted((a, b) => value(b) - value(a))];
}

/** Where the selection is now. -1: there are no rows. */
export function indexOf(rows: readonly Row[], selected: Selected | null): number {
  if (selected === null) return rows.length === 0 ? -1 : 0;
  const { key, app, slot, index } = selected;
  const itself = rows.findIndex((row) => row.key === key);
  if (itself >= 0) return itself;
  const successor = rows.findIndex((row) => row.kind === 'worker' && row.app.name === app && row.worker.slot === slot);
  if (successor >= 0) return successor;
  const itsApp = rows.findIndex((row) => row.key === app);
  return itsApp >= 0 ? itsApp : Math.min(index, rows.length - 1);
}

export function selectionAt(rows: readonly Row[], index: number): Selected | null {
  const at = Math.max(0, Math.min(index, rows.length - 1));
  const row = rows[at];
  if (row === undefined) return null;
  return { key: row.key, app: row.app.name, slot: row.kind === 'worker' ? row.worker.slot : null, index: at };
}
