/**
 * Everything that the dashboard knows, what comes in, and what it asks for. The state is data; model.ts alone makes the
 * next one.
 */
import type { History, HistorySpan } from '../../core/history.ts';
import type { Event, ScaleChange, Snapshot } from '../../core/protocol.ts';
import type { Line } from './cells.ts';
import type { Order, Selected } from './rows.ts';
import type { SpanName, Tracks } from './tracks.ts';

export interface Size {
  readonly columns: number;
  readonly rows: number;
}

/** Why the master cannot be heard, and since when; null: it answers. */
export interface Silence {
  readonly message: string;
  readonly sinceMs: number;
}

/** A question in the last line. */
export type Prompt =
  | { readonly kind: 'restart'; readonly target: string }
  | { readonly kind: 'reload'; readonly app: string }
  /** `text`: the number so far. `edit`: whether the next digit follows it or takes its place. */
  | {
      readonly kind: 'scale';
      readonly app: string;
      readonly from: number;
      readonly text: string;
      readonly edit: 'append' | 'replace';
    }
  | { readonly kind: 'filter'; readonly text: string };

export interface PaneLine {
  readonly text: string;
  readonly tone: Line['spans'][number]['tone'];
}

/** A page over the table. */
export interface Pane {
  readonly kind: 'logs' | 'why' | 'events' | 'help';
  /** Of a later pane it is higher: what comes for an earlier one is dropped. */
  readonly id: number;
  /** null: of no one. */
  readonly target: string | null;
  readonly lines: readonly PaneLine[];
  /** The line at the top of the page, and the columns that are cut off at the left. */
  readonly top: number;
  readonly left: number;
  readonly tail: 'follow' | 'hold';
}

/** What became of something that was asked for. */
export interface Notice {
  readonly text: string;
  readonly tone: 'plain' | 'green' | 'red';
}

export interface State {
  readonly size: Size;
  readonly nowMs: number;
  /** The last one that came, and when. */
  readonly snapshot: Snapshot | null;
  readonly answeredMs: number;
  readonly silence: Silence | null;
  readonly events: readonly Event[];
  readonly tracks: Tracks;
  /** The curves of the last day, as they were last asked for. */
  readonly days: Tracks;
  readonly span: SpanName;
  readonly order: Order;
  readonly filter: string;
  readonly selected: Selected | null;
  /** The row at the top of the table. */
  readonly offset: number;
  readonly prompt: Prompt | null;
  readonly pane: Pane | null;
  readonly lastPane: number;
  readonly notice: Notice | null;
}

export type Input =
  | { readonly type: 'key'; readonly key: string }
  | { readonly type: 'size'; readonly size: Size }
  | { readonly type: 'tick'; readonly nowMs: number }
  | { readonly type: 'snapshot'; readonly snapshot: Snapshot; readonly nowMs: number }
  | { readonly type: 'silence'; readonly message: string; readonly nowMs: number }
  /** `fresh`: the first of a connection; what was there before is told again. */
  | { readonly type: 'events'; readonly events: readonly Event[]; readonly fresh: boolean }
  | { readonly type: 'history'; readonly span: HistorySpan; readonly history: History }
  | {
      readonly type: 'lines';
      readonly pane: number;
      readonly lines: readonly PaneLine[];
      readonly how: 'append' | 'replace';
    }
  | { readonly type: 'notice'; readonly notice: Notice };

export type Effect =
  | { readonly type: 'restart'; readonly target: string }
  | { readonly type: 'reload'; readonly app: string | null }
  | { readonly type: 'scale'; readonly app: string; readonly change: ScaleChange }
  | { readonly type: 'logs' | 'why'; readonly target: string; readonly pane: number }
  | { readonly type: 'close-pane' }
  | { readonly type: 'redraw' | 'suspend' }
  | { readonly type: 'quit'; readonly how: 'asked' | 'interrupted' };

export interface Step {
  readonly state: State;
  readonly effects: readonly Effect[];
}

export function initialState(size: Size, nowMs: number): State {
  return {
    size,
    nowMs,
    snapshot: null,
    answeredMs: nowMs,
    silence: null,
    events: [],
    tracks: new Map(),
    days: new Map(),
    span: '2m',
    order: 'slot',
    filter: '',
    selected: null,
    offset: 0,
    prompt: null,
    pane: null,
    lastPane: 0,
    notice: null,
  };
}
