/** What `capacity` does not know: it is named, so that nobody takes it for nothing. */
import type { CapacityFigures } from './capacity.ts';
import { formatDuration } from './units.ts';

/** What is not known, a sentence each. `known`: of how many points CPU and memory of the host are known. */
export function missingIn(
  { observed, askedMs, cpu, memory, apps }: CapacityFigures,
  known: { readonly cpu: number; readonly memory: number },
): readonly string[] {
  const { points, span, gapsMs, gaps, coveredMs, stepMs } = observed;
  if (span === null) return ['nothing was sampled in this time'];
  // The first sample of each master has no CPU: it takes two.
  const few = Math.max(1, 0.01 * points);
  const lacks = (name: string, count: number) =>
    points - count > few && count > 0
      ? [`${name} is not known for ${points - count} of ${points} points; they are left out`]
      : [];
  const never = (name: string, isKnown: boolean) => (isKnown ? [] : [`${name} of the host was never known`]);
  const short = askedMs - coveredMs - gapsMs > Math.max(2 * stepMs, 0.02 * askedMs);
  return [
    ...(short ? [`only ${formatDuration(coveredMs)} of the ${formatDuration(askedMs)} asked for were seen`] : []),
    ...(gaps.length > 0
      ? [`nothing is known of ${formatDuration(gapsMs)} in between: no master ran, or it did not sample`]
      : []),
    ...never('CPU', cpu.usage !== null),
    ...never('memory', memory.usage !== null),
    ...lacks('CPU', known.cpu),
    ...lacks('memory', known.memory),
    ...apps.filter((app) => app.cpus === null).map(({ name }) => `CPU of ${name} was never known`),
    ...apps.filter((app) => app.memory === null).map(({ name }) => `memory of ${name} was never known`),
    ...apps
      .filter(({ serves, queue }) => serves && queue === null)
      .map(({ name }) => `the queue of ${name} was never counted`),
  ];
}
