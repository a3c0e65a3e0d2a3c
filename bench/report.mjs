/** The page that a run of the bench makes: medians, ratios to this product, and which goals are met. */

const ms = (value) => (value >= 100 ? value.toFixed(0) : value.toFixed(1));
const mb = (value) => (value / 1e6).toFixed(1);

/** What each figure is; the order of the tables. */
const figureTexts = [
  ['first', 'Launch to the first worker running (ms)', ms],
  ['all64', 'Launch to 64 workers running (ms)', ms],
  ['all256', 'Launch to 256 workers running (ms)', ms],
  ['respawn', 'kill -9 of one of 8 workers, to its successor running (ms)', ms],
  ['back256', 'kill -9 of all 256 workers, to all running again (ms)', ms],
  ['rss8', 'RSS with 8 workers (MB)', mb],
  ['pss8', 'PSS with 8 workers (MB)', mb],
  ['uss8', 'USS with 8 workers (MB)', mb],
  ['rss64', 'RSS with 64 workers (MB)', mb],
  ['pss64', 'PSS with 64 workers (MB)', mb],
  ['uss64', 'USS with 64 workers (MB)', mb],
  ['idle64', 'CPU while 64 workers idle (ms per second)', (value) => value.toFixed(2)],
];

/** Figure, whose, against whom, and the most that the ratio may be. `lessBy`: an absolute difference in ms instead. */
const goals = [
  {
    text: 'first worker within 60 ms of `node -e spawn`',
    figure: 'first',
    of: 'supervise',
    to: 'node -e spawn',
    lessBy: 60,
  },
  { text: 'first worker before gunicorn', figure: 'first', of: 'supervise', to: 'gunicorn', most: 1 },
  { text: 'first worker before puma', figure: 'first', of: 'supervise', to: 'puma', most: 1 },
  { text: '256 workers before puma', figure: 'all256', of: 'supervise', to: 'puma', most: 1 },
  { text: 'crash to respawn at most 0.6 of pm2', figure: 'respawn', of: 'supervise', to: 'pm2', most: 0.6 },
  { text: 'all 256 back before puma', figure: 'back256', of: 'supervise', to: 'puma', most: 1 },
  { text: 'USS with 8 workers below supervisord', figure: 'uss8', of: 'supervise', to: 'supervisord', most: 1 },
  {
    text: 'idle CPU at most a third of pm2 cluster',
    figure: 'idle64',
    of: 'supervise, script',
    to: 'pm2 cluster',
    most: 1 / 3,
  },
];

export function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length % 2 === 1 ? sorted[Math.floor(middle)] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The whole page, as Markdown. */
export function page({ figures, versions, skipped, machine, rounds, date }) {
  const at = (figure, name) => {
    const values = figures.get(figure)?.get(name);
    return values === undefined || values.length === 0 ? null : median(values);
  };
  const named = [...versions].map(([name, version]) => (version ? `${name} ${version}` : name)).join(', ');
  const tables = figureTexts
    .filter(([figure]) => figures.has(figure))
    .map((row) => table(row, figures.get(row[0]), at));
  const missing = [...skipped].map(([name, why]) => `- ${name} was left out: ${why}`).join('\n');
  return `# Benchmarks

One run of \`npm run build && npm run bench\`, ${date}, ${rounds} rounds. ${machine}.
Contenders: ${named}.
${missing === '' ? '' : `\n${missing}\n`}
All start the same worker, a static C program that writes down the moment at which it runs, and then waits. Rounds go through all contenders in turn.
Figures are medians; the ratio is to \`supervise\` of the same run. Times on a shared machine move by a fifth and more from run to run: compare within a table only.
Memory and CPU are those of a contender's own processes (master, daemon, our guard process), its workers left out. USS is what only these
processes have (\`Private_*\` of smaps_rollup). \`supervise\` samples CPU and memory of all workers every 2 s while it is measured.

## Goals

| goal | measured | met |
| --- | --- | --- |
${goals.map((goal) => goalRow(goal, at)).join('\n')}

${tables.join('\n')}`;
}

function goalRow({ text, figure, of, to, most, lessBy }, at) {
  const [ours, theirs] = [at(figure, of), at(figure, to)];
  if (ours === null || theirs === null) return `| ${text} | not measured | - |`;
  if (lessBy !== undefined)
    return `| ${text} | +${ms(ours - theirs)} ms | ${ours - theirs <= lessBy ? 'yes' : '**no**'} |`;
  return `| ${text} | ${(ours / theirs).toFixed(2)} | ${ours / theirs <= most ? 'yes' : '**no**'} |`;
}

function table([figure, text, format], row, at) {
  const ours = at(figure, 'supervise');
  const lines = [...row.keys()]
    .map((name) => ({ name, value: at(figure, name), values: row.get(name) }))
    .filter(({ value }) => value !== null)
    .toSorted((a, b) => a.value - b.value)
    .map(({ name, value, values }) => {
      const ratio = ours === null ? '-' : (value / ours).toFixed(2);
      return `| ${name} | ${format(value)} | ${format(Math.min(...values))} to ${format(Math.max(...values))} | ${ratio} |`;
    });
  return `## ${text}\n\n| | median | range | ratio |\n| --- | --- | --- | --- |\n${lines.join('\n')}\n`;
}
