/** The part of the page on reloads: one table, and two goals. */
import { load, reloads } from './reload.mjs';

const kinds = ['refused', 'reset', 'eof', 'status', 'timeout', 'other'];

/**
 * @param results contender -> `{quiet, reloaded}` of each round
 * @returns rows of the table of goals
 */
export function reloadGoals(results) {
  const ours = [...results].filter(([name]) => name.startsWith('supervise'));
  return ours.flatMap(([name, rounds]) => {
    const failed = rounds.map(({ reloaded }) => reloaded.failed);
    const stalls = rounds.map(({ quiet, reloaded }) => reloaded.stallMs / quiet.stallMs);
    return [
      goal(`no request lost over ${reloads} reloads: ${name}`, sum(failed), { each: failed, most: 0, digits: 0 }),
      goal(`longest stall in reloads at most 3 times that without: ${name}`, median(stalls), {
        each: stalls,
        most: 3,
        digits: 2,
      }),
    ];
  });
}

function goal(text, result, { each, most, digits }) {
  const range = `${Math.min(...each).toFixed(digits)} to ${Math.max(...each).toFixed(digits)}`;
  return `| ${text} | ${result.toFixed(digits)} | ${range} | ${result <= most ? 'yes' : '**no**'} |`;
}

/** The table; empty when nothing was measured. */
export function reloadTable(results) {
  if (results.size === 0) return '';
  const rows = [...results].map(([name, rounds]) => {
    const counts = kinds.map((kind) => sum(rounds.map(({ reloaded }) => reloaded.failures[kind])));
    const of = (pick) => rounds.map(pick);
    const cells = [
      sum(of(({ reloaded }) => reloaded.answered)),
      `**${sum(counts)}**`,
      ...counts,
      sum(of(({ reloaded }) => reloaded.reused)),
      median(of(({ reloaded }) => reloaded.stallMs)).toFixed(0),
      median(of(({ quiet }) => quiet.stallMs)).toFixed(0),
      median(of(({ reloaded }) => (reloaded.seconds * 1000) / reloads)).toFixed(0),
    ];
    return `| ${name} | ${cells.join(' | ')} |`;
  });
  const rounds = Math.max(...[...results.values()].map((each) => each.length));
  return `## Reloads under load

${load.newPerSecond} new connections per second and ${load.keptAlive} clients that keep theirs, on 2 workers that answer after 5 ms, over loopback; ${reloads} reloads one after the other,
${rounds === 1 ? 'once' : `${rounds} times`}. gunicorn reloads at HUP, pm2 by \`pm2 reload\`, \`supervise\` by \`supervise reload\` with a canary of 0 s. Requests are summed over the rounds, times are
medians. "Sent again": on a kept connection that ended before a byte of the answer came, and answered on a new connection; HTTP
allows a server to close a connection while it is idle, so it is no failure, but it is not nothing. The stall is the longest time without
any answer, during the reloads and without them.

| | answered | failed | ${kinds.join(' | ')} | sent again | stall (ms) | without reloads | per reload (ms) |
| --- | --- | --- |${' --- |'.repeat(kinds.length)} --- | --- | --- | --- |
${rows.join('\n')}
`;
}

function sum(values) {
  return values.reduce((total, each) => total + each, 0);
}

function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length % 2 === 1 ? sorted[Math.floor(middle)] : (sorted[middle - 1] + sorted[middle]) / 2;
}
