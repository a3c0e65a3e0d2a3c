/**
 * The one stream: everything that happens is an event here, numbered without gaps. Log, control clients, systemd and
 * long operations only subscribe. The last events are kept so that a client that comes late sees what led here.
 */
import type { Event, EventBody } from '../core/protocol.ts';
import type { Cancel, Clock } from '../ports.ts';

const keptEvents = 2_000;

export class EventStream {
  readonly #clock: Clock;
  readonly #listeners = new Set<(event: Event) => void>();
  #recent: Event[] = [];
  #seq = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  emit(body: EventBody): void {
    const event: Event = { seq: ++this.#seq, at: isoTime(this.#clock.now()), ...body };
    this.#recent.push(event);
    if (this.#recent.length >= 2 * keptEvents) this.#recent = this.#recent.slice(-keptEvents);
    for (const listener of [...this.#listeners]) listener(event);
  }

  subscribe(listener: (event: Event) => void): Cancel {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The last events, oldest first. */
  recent(): readonly Event[] {
    return this.#recent.slice(-keptEvents);
  }
}

/** Milliseconds since the epoch as ISO 8601 in UTC. */
export function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}
