/**
 * Whatever changes, clients notice nothing: short rounds, with a load of new connections and of kept ones. `npm run soak` has
 * the long ones. That the load sees losses where there are some: traffic.test.ts.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { describe, test, type TestContext } from 'node:test';
import type { Tally } from '../../bench/traffic.ts';
import type { Cause } from '../../src/core/protocol.ts';
import {
  crashes,
  recycles,
  reloads,
  replacements,
  rudeKind,
  scaleChanges,
  serverKinds,
  underLoad,
  type ServerKind,
  type Stage,
} from '../helpers/rounds.ts';

const load = { newPerSecond: 150, keptAlive: 8 };
const none = { refused: 0, reset: 0, eof: 0, status: 0, timeout: 0, other: 0 };

function nothingIsLost(t: TestContext, { failures, examples, answered, reused }: Tally): void {
  t.diagnostic(`${answered} answered, ${reused} sent again on a new connection`);
  assert.deepEqual({ failures, examples }, { failures: none, examples: [] });
  assert.ok(answered > 100, `${answered} answered`);
}

const titles: Record<ServerKind, string> = {
  'node': 'a Node script with listen',
  'node-cluster': 'a Node script under node:cluster',
  'node-round-robin': 'a Node script whose connections the master hands out',
  'closes-at-once': 'a command that closes its listener at once on TERM',
  'uvicorn': 'FastAPI with uvicorn',
};

/** How many processes have ended for this cause. */
const ended = ({ master }: Stage, cause: Cause): number =>
  master.eventsOf('worker.exited').filter((event) => event.cause === cause).length;

const unlessThere = (server: ServerKind): string | false =>
  server === 'uvicorn' && !existsSync('/usr/bin/uvicorn') && 'uvicorn is not installed';

for (const server of serverKinds) {
  const skip = unlessThere(server);
  describe(`${titles[server]} loses no request`, { skip }, () => {
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
      assert.equal(ended(stage, 'scale-down'), 6);
      await stage.traffic.end();
      await stage.master.stop();
    });

    test('over 10 crashes outside of requests', async (t) => {
      const stage = await underLoad(t, { server, ...load });
      nothingIsLost(t, await crashes(stage, 10));
      assert.equal(ended(stage, 'signal'), 10);
      await stage.traffic.end();
      await stage.master.stop();
    });

    test('over 4 recycles', async (t) => {
      const stage = await underLoad(t, { server, ...load, lifetime: '3s' });
      nothingIsLost(t, await recycles(stage, 4, 50_000));
      await stage.traffic.end();
      await stage.master.stop();
    });
  });
}

describe('12 graceful replacements under short connections at full speed lose no request', () => {
  for (const server of [...serverKinds, rudeKind] as const) {
    test(`of ${titles[server]}`, { skip: unlessThere(server) }, async (t) => {
      const stage = await underLoad(t, { server, newPerSecond: 0, keptAlive: 0, hurried: 16 });
      nothingIsLost(t, await replacements(stage, 12));
      assert.equal(ended(stage, 'reload'), 12);
      await stage.traffic.end();
      await stage.master.stop();
    });
  }
});
