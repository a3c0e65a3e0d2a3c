/** The page that a run of the bench makes: goals, medians and ratios. */
import { balanceGoals, balanceTables } from './balance-report.mjs';
import { reloadGoals, reloadTable } from './reload-report.mjs';
import { samplingTable } from './sampling-report.mjs';

const ms = (value) => (value >= 100 ? value.toFixed(0) : value.toFixed(1));
const mb = (value) => (value / 1e6).toFixed(1);
const perSecond = (value) => value.toFixed(2);

const tables = [
  {
    title: 'Starts and crashes (ms)',
    text: `From the launch until the first, all of 64 and all of 256 workers run; from a \`kill -9\` of one of 8 workers until its successor runs (each of the 8 is killed
once); from a \`kill -9\` of all 256 at once until all run again.`,
    figures: [
      ['first', 'first worker'],
      ['all64', '64 workers'],
      ['all256', '256 workers'],
      ['respawn', 'crash to respawn'],
      ['back256', '256 back'],
    ],
    format: ms,
  },
  {
    title: 'Memory of the master (MB)',
    text: `Of the contender's own processes (master, daemon, our guard process), its workers left out, 2.5 s after the start. RSS counts pages that are shared with
other processes in full, PSS in part, USS (\`Private_*\` in smaps_rollup) not at all.`,
    figures: [
      ['rss8', 'RSS, 8 workers'],
      ['pss8', 'PSS, 8'],
      ['uss8', 'USS, 8'],
      ['rss64', 'RSS, 64 workers'],
      ['pss64', 'PSS, 64'],
      ['uss64', 'USS, 64'],
    ],
    format: mb,
  },
  {
    title: 'CPU of the master at rest (ms per second)',
    text: `Of the same processes, with 64 workers that do nothing, from half a minute after the start on, all contenders in the same three windows of 20 s.
\`supervise\` samples CPU and memory of every worker every 2 s meanwhile. \`supervise, script\` and \`pm2 cluster\` have 64 Node workers under node:cluster, the
others 64 of the C program.`,
    figures: [['idle64', 'CPU']],
    format: perSecond,
  },
];

/** Whose figure against whose, and the most that the ratio may be; or `lessBy`, an absolute difference in ms. */
const goals = [
  { text: 'first worker within 60 ms of a bare `node -e spawn`', figure: 'first', to: 'node -e spawn', lessBy: 60 },
  { text: 'first worker before gunicorn', figure: 'first', to: 'gunicorn', most: 1 },
  { text: 'first worker before puma', figure: 'first', to: 'puma', most: 1 },
  { text: '256 workers before puma', figure: 'all256', to: 'puma', most: 1 },
  { text: 'crash to respawn at most 0.6 of pm2', figure: 'respawn', to: 'pm2', most: 0.6 },
  { text: '256 back before puma', figure: 'back256', to: 'puma', most: 1 },
  { text: 'USS with 8 workers below supervisord', figure: 'uss8', to: 'supervisord', most: 1 },
  {
    text: 'idle CPU at most a third of pm2 cluster',
    figure: 'idle64',
    of: 'supervise, script',
    to: 'pm2 cluster',
    most: 1 / 3,
  },
];

function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length % 2 === 1 ? sorted[Math.floor(middle)] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** @returns the samples of one contender, round by round; empty when it was not measured */
function roundsOf(figures, figure, name) {
  return figures.get(figure)?.get(name) ?? [];
}

/** The whole page, as Markdown. */
export function page({ figures, versions, skipped, logs, sampling, reloads, served, machine, rounds, date }) {
  const named = [...versions].filter(([, version]) => version).map((pair) => pair.join(' '));
  const missing = [...skipped].map(([name, why]) => `${name} was left out: ${why}.\n`);
  return `# Benchmarks

\`npm run build && npm run bench\`, ${date}, ${rounds} rounds.
${machine}.
Contenders: ${named.join(', ')}.
${missing.join('')}
All start the same worker: a static C program that writes down the moment at which it runs, and then waits. gunicorn and puma fork a worker of their own,
which becomes that program at once. \`node -e spawn\` and the C fork loop are floors: loops that start a worker again when it has ended, and do nothing else.
Rounds go through all contenders in turn, and figures are medians, with the ratio to \`supervise\` in parentheses. A shared machine is a fifth slower or faster
from one run to the next, so compare within a table, and quote ratios.

The bench installs what it compares with: pm2 by npm into a folder below node_modules, the others by apt-get where that is possible, else they are left
out. \`npm run bench -- --rounds 1 --no-write\` is a quick look.

## Goals

Each is the median of the ratios (or differences) of the single rounds; their range shows how sure it is.

| goal | measured | range | met |
| --- | --- | --- | --- |
${[...goals.map((goal) => goalRow(goal, figures)), ...reloadGoals(reloads), ...balanceGoals(served)].join('\n')}

${[...tables.map((one) => table(one, figures)), reloadTable(reloads), ...balanceTables(served), logTable(logs), samplingTable(sampling)].filter(Boolean).join('\n')}`;
}

function goalRow({ text, figure, of = 'supervise', to, most, lessBy }, figures) {
  const [ours, theirs] = [roundsOf(figures, figure, of), roundsOf(figures, figure, to)];
  const compare = (a, b) => (lessBy === undefined ? a / b : a - b);
  const compared = ours.slice(0, theirs.length).map((each, round) => compare(median(each), median(theirs[round])));
  if (compared.length === 0) return `| ${text} | not measured | - | - |`;
  const format = (value) => (lessBy === undefined ? value.toFixed(2) : `${ms(value)} ms`);
  const range = `${format(Math.min(...compared))} to ${format(Math.max(...compared))}`;
  const result = median(compared);
  return `| ${text} | ${format(result)} | ${range} | ${result <= (most ?? lessBy) ? 'yes' : '**no**'} |`;
}

function table({ title, text, figures: columns, format }, figures) {
  const present = columns.filter(([figure]) => figures.has(figure));
  if (present.length === 0) return '';
  const names = [...new Set(present.flatMap(([figure]) => [...figures.get(figure).keys()]))];
  const at = (figure, name) => {
    const samples = roundsOf(figures, figure, name).flat();
    return samples.length === 0 ? null : median(samples);
  };
  const cell = (figure, name) => {
    const [value, ours] = [at(figure, name), at(figure, 'supervise')];
    if (value === null) return '-';
    if (name === 'supervise' || ours === null) return `**${format(value)}**`;
    return `${format(value)} (${(value / ours).toFixed(2)})`;
  };
  const rows = names.map((name) => `| ${[name, ...present.map(([figure]) => cell(figure, name))].join(' | ')} |`);
  return `## ${title}

${text}

| | ${present.map(([, heading]) => heading).join(' | ')} |
| --- |${' --- |'.repeat(present.length)}
${rows.join('\n')}
`;
}

function logTable(logs) {
  if (logs.length === 0) return '';
  const rows = logs.map(({ name, mbPerSecond, cpuMs, rssBytes }) => {
    const own = cpuMs === null ? '- | -' : `${(cpuMs / 1000).toFixed(2)} | ${mb(rssBytes)}`;
    return `| ${name} | ${mbPerSecond.toFixed(0)} | ${own} |`;
  });
  return `## Output of workers

200 MB in lines of 100 bytes, from one worker into a log file of whole programs; RSS is the peak of the process that carries the lines, CPU its time. Below it the same bytes through the master's output alone, in each log format; beside it \`cat\`.

| | MB per second | CPU (s) | RSS (MB) |
| --- | --- | --- | --- |
${rows.join('\n')}
`;
}
