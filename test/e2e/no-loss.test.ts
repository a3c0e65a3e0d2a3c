/**
 * Whatever changes, clients notice nothing: short rounds, with a load of new connections and of kept ones. `npm run soak` has
 * the long ones. That the load sees losses where there are some: traffic.test.ts.
 */
import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import type { Tally } from '../../bench/traffic.ts';
import { crashes, reloads, scaleChanges, serverKinds, underLoad, type ServerKind } from '../helpers/rounds.ts';

const load = { newPerSecond: 150, keptAlive: 8 };
const none = { refused: 0, reset: 0, eof: 0, status: 0, timeout: 0, other: 0 };

function nothingIsLost(t: TestContext, { failures, examples, answered, reused }: Tally): void {
  t.diagnostic(`${answered} answered, ${reused} sent again on a new connection`);
  assert.deepEqual({ failures, examples }, { failures: none, examples: [] });
  assert.ok(answered > 100, `${answered} answered`);
}

const nodes = serverKinds.filter((kind): kind is Exclude<ServerKind, 'uvicorn'> => kind !== 'uvicorn');
for (const server of nodes) {
  describe(`an unmodified server loses no request: ${server === 'node' ? 'script with listen' : 'node:cluster'}`, () => {
    test('over 5 reloads', async (t) => {
      const stage = await underLoad(t, { server, ...load });
      nothingIsLost(t, await reloads(stage, 5));
      assert.equal((await stage.master.app()).revision, 6);
      await stage.traffic.end();
      await stage.master.stop();
    });

    test('over 6 scale changes', async (t) => {
      const stage = await underLoad(t, { server, ...load });
      nothingIsLost(t, await scaleChanges(stage, 6));
      assert.equal(stage.master.eventsOf('worker.exited').filter(({ cause }) => cause === 'scale-down').length, 6);
      await stage.traffic.end();
      await stage.master.stop();
    });

    test('over 10 crashes outside of requests', async (t) => {
      const stage = await underLoad(t, { server, ...load });
      nothingIsLost(t, await crashes(stage, 10));
      assert.equal(stage.master.eventsOf('worker.exited').filter(({ cause }) => cause === 'signal').length, 10);
      await stage.traffic.end();
      await stage.master.stop();
    });
  });
}
