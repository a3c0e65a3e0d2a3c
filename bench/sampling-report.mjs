/** The part of the page on what sampling costs. Goal: 64 workers within 0.5 % of a core at a sample every 2 s. */

const usualEveryMs = 2_000;
const goalShare = 0.005;

/** Markdown; empty without rows. @param rows `{kind, count, ms, samples, everyMs}`: the CPU time of one sample */
export function samplingTable(rows) {
  if (rows.length === 0) return '';
  const of = (kind, count) => rows.find((row) => row.kind === kind && row.count === count).ms;
  // Without that of the host, which is the same for any number of workers.
  const perWorkerUs = ({ kind, count, ms }) => (1000 * (ms - of(kind, 0))) / count;
  const lines = rows.map((row) => {
    const { kind, count, ms } = row;
    const each = count === 0 ? '- | -' : `${perWorkerUs(row).toFixed(0)} | ${ratio(row)}`;
    return `| ${count} ${kind} | ${ms.toFixed(2)} | ${each} | ${percent(ms / usualEveryMs)} |`;
  });
  function ratio(row) {
    return (perWorkerUs(row) / perWorkerUs({ kind: row.kind, count: 100, ms: of(row.kind, 100) })).toFixed(2);
  }
  const most = Math.max(...rows.filter(({ count }) => count === 64).map(({ ms }) => ms / usualEveryMs));
  const [{ samples, everyMs }] = rows;
  return `## Cost of sampling

CPU time of one sample of the host and of all workers until it is in the history; the mean of ${samples} samples, one every ${everyMs} ms. Something else
is started on the host before each, so that all trees are walked. "Busy a little": each worker touches new pages twice a second. The cost per worker leaves out
that of the host, and stands beside that with 100 workers.

| workers | ms per sample | µs per worker | to that with 100 | of a core, at 2 s |
| --- | --- | --- | --- | --- |
${lines.join('\n')}

64 workers at a sample every 2 s within 0.5 % of a core: ${percent(most)} at most, ${most <= goalShare ? 'yes' : '**no**'}.
`;
}

function percent(share) {
  return `${(share * 100).toFixed(2)} %`;
}
