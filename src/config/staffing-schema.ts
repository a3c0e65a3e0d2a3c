/**
 * The forms of `workers`: a number, `auto`, or a map with the bounds between which the app is scaled; and of
 * `resources.memory_budget`, a share or a size.
 */
import * as z from 'zod/mini';
import { formatBytes, parsePercent, parseSize, percentPattern, sizePattern } from '../core/units.ts';
import { didYouMean, duration, flag, given, percent, section, text, usual, whole, type Wrong } from './fields.ts';

const mostWorkers = 1000;
const workersForms = `a whole number from 0 to ${mostWorkers}, auto, or a map with min and max`;

function workersWord(value: string): Wrong | null {
  if (value === 'auto') return null;
  const isNumber = /^\d+$/.test(value);
  return { expected: workersForms, ...(isNumber ? { hint: `Did you mean ${value}?` } : didYouMean(value, ['auto'])) };
}

const scaled = section('workers', {
  min: usual('No fewer workers than this run; so many are started.', whole(1, mostWorkers), 1),
  max: given('No more workers than this run.', whole(1, mostWorkers)),
  target_cpu: usual(
    'The CPU that a worker should use on average, its whole tree; 100% is one core.',
    percent(1, 6400),
    '70%',
  ),
  target_memory: usual(
    'No worker is added that would bring the memory in use above this share of what may be used.',
    percent(1, 100),
    '80%',
  ),
  scale_down_after: usual(
    'Workers are taken away down to the most that were needed within this time.',
    duration({ ms: 1000 }),
    '5m',
  ),
  dry_run: usual('true: only say what would be done.', flag(), false),
});

export const workersSchema = z.union(
  [whole(0, mostWorkers), text(workersForms, workersWord, { enum: ['auto'] }), scaled],
  { error: workersForms },
);

const budgetForms = 'a percentage from 1% to 100%, or a size such as 4GB';
const leastBytes = 2 ** 20;

function budget(value: string): Wrong | null {
  const parsed = value.includes('%') ? parsePercent(value, 1, 100) : parseSize(value);
  if (!parsed.ok) {
    const meant = Number(value) <= 100 ? parsePercent(value, 1, 100) : parsed;
    const { suggestion } = meant.ok ? parsed : meant;
    return { expected: budgetForms, ...(suggestion === null ? {} : { hint: `Did you mean "${suggestion}"?` }) };
  }
  const isTooSmall = !value.includes('%') && parsed.value < leastBytes;
  return isTooSmall ? { expected: `a size of at least ${formatBytes(leastBytes)}, or a percentage` } : null;
}

export const memoryBudgetSchema = text(budgetForms, budget, { pattern: `${percentPattern}|${sizePattern}` });
