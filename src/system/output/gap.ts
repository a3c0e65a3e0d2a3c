/**
 * Counts the lines that a sink loses in one place of its stream, and reports them: a second after the first (or as said),
 * after ever doubled times while it lasts, and at its end. The numbers of all reports add up to what was lost.
 */

/** Lines that were lost since the last report of the same sink. */
export interface Loss {
  readonly sink: string;
  readonly lines: number;
  readonly bytes: number;
  readonly reason: string;
}

const reportMostMs = 3_600_000;

export class Gap {
  readonly #report: (lines: number, bytes: number) => void;
  #lines = 0;
  #bytes = 0;
  #reportedLines = 0;
  #reportedBytes = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(report: (lines: number, bytes: number) => void, reportAfterMs: number) {
    this.#report = report;
    this.#reportIn(reportAfterMs);
  }

  get lines(): number {
    return this.#lines;
  }

  add(lines: number, bytes: number): void {
    this.#lines += lines;
    this.#bytes += bytes;
  }

  /** Reports the rest. */
  end(): void {
    clearTimeout(this.#timer);
    this.#reportRest();
  }

  #reportIn(delayMs: number): void {
    const report = (): void => {
      this.#reportIn(Math.min(delayMs * 2, reportMostMs));
      this.#reportRest();
    };
    this.#timer = setTimeout(report, delayMs).unref();
  }

  #reportRest(): void {
    const lines = this.#lines - this.#reportedLines;
    const bytes = this.#bytes - this.#reportedBytes;
    this.#reportedLines = this.#lines;
    this.#reportedBytes = this.#bytes;
    if (lines > 0) this.#report(lines, bytes);
  }
}
