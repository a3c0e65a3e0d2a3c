/**
 * All problems of a config are collected and reported together, in the order of the file, one per line:
 *
 *   supervise.yaml:4:5: apps.web: expected a key of an app, found "stpo". Did you mean "stop"?
 *
 * Problems of flags alone are a usage error (64), everything else is an invalid config (78).
 */
import { SuperviseError } from '../core/errors.ts';
import { formatOrigin, formatPath, type Origin, type Path } from './tree.ts';

export interface Problem {
  /** null: the value came from a flag. */
  readonly file: string | null;
  readonly line: number | null;
  readonly column: number | null;
  readonly flag: string | null;
  /** `apps.web.stop`; empty where the file as a whole is meant. */
  readonly path: string;
  /** What was expected, what was found, what to do. */
  readonly message: string;
}

/** An invalid config, or flags that make one. The message has a line for each problem. */
export class ConfigError extends SuperviseError {
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    super(
      problems.every(({ flag }) => flag !== null) ? 'usage' : 'config-invalid',
      problems.map(formatProblem).join('\n'),
    );
    this.name = 'ConfigError';
    this.problems = problems;
  }
}

/** Collects problems while a config is read. */
export class Problems {
  readonly #found: Problem[] = [];

  add(origin: Origin, path: Path, message: string): void {
    const [file, line, column, flag] =
      origin.kind === 'file' ? [origin.file, origin.line, origin.column, null] : [null, null, null, origin.flag];
    const problem: Problem = { file, line, column, flag, path: formatPath(path), message };
    const known = formatProblem(problem);
    if (!this.#found.some((other) => formatProblem(other) === known)) this.#found.push(problem);
  }

  /** @throws ConfigError when there are any */
  throwIfAny(): void {
    if (this.#found.length === 0) return;
    throw new ConfigError(
      this.#found.toSorted((a, b) => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0)),
    );
  }
}

function formatProblem({ file, line, column, flag, path, message }: Problem): string {
  const origin: Origin =
    file === null ? { kind: 'flag', flag: flag ?? '' } : { kind: 'file', file, line: line ?? 1, column: column ?? 1 };
  return [formatOrigin(origin), ...(path === '' ? [] : [path]), message].join(': ');
}

/**
 * The known word that is most like `word`, or null when none is like it: at most a third of its letters may differ,
 * counting a swap of two neighbours as one difference.
 */
export function nearest(word: string, known: readonly string[]): string | null {
  const wanted = word.toLowerCase();
  let best: string | null = null;
  let bestDistance = Math.max(1, Math.floor(wanted.length / 3)) + 1;
  for (const candidate of known) {
    const distance = editDistance(wanted, candidate.toLowerCase(), bestDistance);
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** Optimal string alignment: insertions, deletions, replacements and swaps of neighbours; `limit` when it is that or more. */
function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) >= limit) return limit;
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1];
      let cost = Math.min(
        (last[column] ?? 0) + 1,
        (current[column - 1] ?? 0) + 1,
        (last[column - 1] ?? 0) + (same ? 0 : 1),
      );
      const swapped = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1];
      if (swapped) cost = Math.min(cost, (beforeLast[column - 2] ?? 0) + 1);
      current.push(cost);
    }
    [beforeLast, last] = [last, current];
  }
  return Math.min(limit, last[b.length] ?? limit);
}
