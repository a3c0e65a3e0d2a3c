/** The part of the page on balance: connections per worker, requests per second, spares, and kills under load. */
import { clients, keptCounts } from './balance.mjs';

const ours = 'supervise, steered';

/**
 * @param results `{balance, burn, spare, killed}`: each title -> contender -> what each round has measured
 * @returns rows of the table of goals
 */
export function balanceGoals({ balance, burn, spare, killed }) {
  const rows = [];
  for (const [title, rounds] of balance) {
    const mine = rounds.get(ours) ?? [];
    const busiest = mine.map(({ spread }) => overMean(spread[64]));
    if (title.endsWith('4 workers'))
      rows.push(
        goal(`busiest worker of 64 kept connections at most 1.5 times the mean: ${title}`, busiest, { most: 1.5 }),
      );
    for (const [kind, words] of Object.entries(rateKinds)) {
      const ratios = mine.map((each, round) => each[kind] / best(rounds, kind, round)).filter(Number.isFinite);
      // The same server differs by so much from one round to the next.
      const text = `requests/s, ${words}, over the best peer at least 1.0 (within a twentieth): ${title}`;
      rows.push(goal(text, ratios, { least: 0.95 }));
    }
  }
  for (const [title, rounds] of burn) {
    const [of, one] = [rounds.get(ours) ?? [], rounds.get(aloneOf(rounds)) ?? []];
    const ratios = of.slice(0, one.length).map((each, round) => each / one[round]);
    rows.push(goal(`2 workers that burn CPU at least 1.85 times one process: ${title}`, ratios, { least: 1.85 }));
  }
  const spared = spare.get('uvicorn')?.get('one spare') ?? [];
  rows.push(
    goal(
      'all serve again within 10 ms of a kill -9, with a spare (ms)',
      spared.map(({ backMs }) => backMs),
      { most: 10 },
    ),
  );
  for (const [title, rounds] of killed) {
    const queued = (rounds.get(ours) ?? []).map((each) => each.queued);
    rows.push(goal(`no queued request lost at kill -9: ${title}`, queued, { most: 0 }));
  }
  return rows.filter((row) => row !== null);
}

const rateKinds = { short: 'a connection each', kept: 'kept connections' };

/** Of the peers in this round; what is not ours. */
function best(rounds, kind, round) {
  const peers = [...rounds].filter(([name]) => !name.startsWith('supervise'));
  return Math.max(...peers.map(([, each]) => each[round]?.[kind] ?? -Infinity));
}

function aloneOf(rounds) {
  return [...rounds.keys()].find((name) => name.endsWith('alone'));
}

/** The busiest worker's connections over the mean. */
function overMean(counts) {
  return Math.max(...counts) / (counts.reduce((sum, each) => sum + each, 0) / counts.length);
}

/** A row of the table of goals; null: not measured. */
function goal(text, values, { most = Infinity, least = -Infinity }) {
  if (values.length === 0) return null;
  const format = (value) => (Number.isInteger(value) ? String(value) : value.toFixed(2));
  const result = median(values);
  const range = `${format(Math.min(...values))} to ${format(Math.max(...values))}`;
  return `| ${text} | ${format(result)} | ${range} | ${result <= most && result >= least ? 'yes' : '**no**'} |`;
}

/** All tables; nothing for what was not measured. */
export function balanceTables({ balance, burn, spare, killed }) {
  return [balanceTable(balance), burnTable(burn), spareTable(spare), killedTable(killed)];
}

function balanceTable(balance) {
  if (balance.size === 0) return '';
  const rows = [...balance].flatMap(([title, rounds]) => {
    const base = rounds.get(ours);
    return [...rounds].map(([name, each]) => {
      const spread = keptCounts.map((kept) => {
        const counts = each.map((one) => one.spread[kept]);
        return `${median(counts.map(overMean)).toFixed(2)} (${counts.at(-1).join('/')})`;
      });
      const rates = Object.keys(rateKinds).map((kind) =>
        rateCell(
          each.map((one) => one[kind]),
          base?.map((one) => one[kind]),
        ),
      );
      return `| ${[title, name, ...spread, ...rates].join(' | ')} |`;
    });
  });
  return `## Balance

Servers that answer at once with their pid. Busiest worker over the mean, for ${keptCounts.join(', ')} clients that open a connection at the same moment and keep it (in
parentheses the connections per worker in the last round). Requests per second of ${clients} clients at full speed, each request on a new connection or on
kept ones, with the ratio to \`${ours}\`; the load generator (wrk) has the same cores, which brings ratios closer to 1.

| | | ${keptCounts.map((kept) => `${kept} kept`).join(' | ')} | a connection each | kept connections |
| --- | --- |${' --- |'.repeat(keptCounts.length)} --- | --- |
${rows.join('\n')}
`;
}

function burnTable(burn) {
  if (burn.size === 0) return '';
  const rows = [...burn].flatMap(([title, rounds]) => {
    const base = rounds.get(aloneOf(rounds));
    return [...rounds].map(
      ([name, each]) => `| ${title} | ${name} | ${rateCell(each, base)} | ${rangeOfRatios(each, base)} |`,
    );
  });
  return `## Two workers that burn CPU

Each request costs some milliseconds of CPU; ${clients} clients keep their connections. Requests per second, with the ratio to one process, and the range of
that ratio over the rounds.

| | | requests/s | range |
| --- | --- | --- | --- |
${rows.join('\n')}
`;
}

function rangeOfRatios(each, base) {
  const ratios = each.map((one, round) => one / (base?.[round] ?? NaN)).filter(Number.isFinite);
  return ratios.length === 0 ? '-' : `${Math.min(...ratios).toFixed(2)} to ${Math.max(...ratios).toFixed(2)}`;
}

function spareTable(spare) {
  if (spare.size === 0) return '';
  const rows = [...spare.values()]
    .flatMap((rounds) => [...rounds])
    .map(([name, each]) => {
      const of = (pick) => median(each.map(pick)).toFixed(1);
      const failed = each.reduce((sum, one) => sum + one.failed, 0);
      return `| ${name} | ${of((one) => one.backMs)} | ${of((one) => one.usualMs)} | ${of((one) => one.slowestMs)} | ${failed} |`;
    });
  return `## A spare

Four uvicorn workers that take 3 s to boot; one is killed (\`kill -9\`) while 4 clients ask, each request on a new connection. From the kill to the first answer of its
successor, which a client sees by chance (every fourth connection); the slowest request of the second before, and of the time from the kill on.

| | back (ms) | slowest before (ms) | slowest after (ms) | failed |
| --- | --- | --- | --- | --- |
${rows.join('\n')}
`;
}

function killedTable(killed) {
  if (killed.size === 0) return '';
  const rows = [...killed].flatMap(([title, rounds]) =>
    [...rounds].map(([name, each]) => {
      const sum = (pick) => each.reduce((total, one) => total + pick(one), 0);
      const cells = [
        sum((one) => one.answered),
        sum((one) => one.kills),
        sum((one) => one.inside),
        `**${sum((one) => one.queued)}**`,
      ];
      return `| ${[title, name, ...cells].join(' | ')} |`;
    }),
  );
  return `## kill -9 at full load

Four workers that take 5 ms per request, ${clients} clients at full speed, each request on a new connection. Three workers are killed, 2 s apart, each after it was stopped for 100 ms, so that
connections queue. Lost inside: the worker had accepted the connection. Lost in a queue: it had not. Without an answer within 5 s counts as lost.

| | | answered | killed | lost inside | lost in a queue |
| --- | --- | --- | --- | --- | --- |
${rows.join('\n')}
`;
}

/** Requests per second, with the median ratio to the base of the same round. */
function rateCell(values, base) {
  const value = median(values).toFixed(0);
  if (base === undefined) return value;
  if (base.every((one, round) => one === values[round])) return `**${value}**`;
  const ratios = values.map((one, round) => one / (base[round] ?? NaN)).filter(Number.isFinite);
  return ratios.length === 0 ? value : `${value} (${median(ratios).toFixed(2)})`;
}

function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length % 2 === 1 ? sorted[Math.floor(middle)] : (sorted[middle - 1] + sorted[middle]) / 2;
}
