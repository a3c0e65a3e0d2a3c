/**
 * A reporter for node's test runner that writes one JSON document for scripts/test.mjs: the runner's own closing
 * counts, and the name and reason of each test that was skipped.
 */
const closingLine = /^(tests|suites|pass|fail|cancelled|skipped|todo) (\d+)$/;

export default async function* countsReporter(source) {
  const counts = {};
  const skipped = [];
  for await (const { type, data } of source) {
    const closing = type === 'test:diagnostic' && data.nesting === 0 ? closingLine.exec(data.message) : null;
    if (closing) counts[closing[1]] = Number(closing[2]);
    if (type === 'test:pass' && data.skip !== undefined) {
      skipped.push(
        `${data.name}: ${typeof data.skip === 'string' && data.skip !== '' ? data.skip : 'no reason given'}`,
      );
    }
  }
  yield JSON.stringify({ counts, skipped });
}
