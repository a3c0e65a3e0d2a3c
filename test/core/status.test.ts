import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import type { AppState, WorkerState } from '../../src/core/protocol.ts';
import { appStateOf, startIsOver, type AppPhase } from '../../src/core/status.ts';

describe('appStateOf', () => {
  const cases: readonly [
    what: string,
    served: boolean,
    goal: number,
    states: readonly WorkerState[],
    expected: AppState,
  ][] = [
    ['all ready', true, 2, ['ready', 'ready'], 'running'],
    ['no worker wanted, none there', false, 0, [], 'running'],
    ['a surplus that is ready too', true, 2, ['ready', 'ready', 'ready'], 'running'],
    ['a surplus that starts', true, 2, ['ready', 'ready', 'starting'], 'running'],
    ['never served', false, 2, ['starting', 'starting'], 'starting'],
    ['never served, backing off', false, 1, ['backoff'], 'starting'],
    ['has served, one is missing', true, 2, ['ready', 'backoff'], 'degraded'],
    ['has served, all are missing', true, 2, ['backoff', 'starting'], 'degraded'],
    ['has served, one has failed', true, 2, ['ready', 'failed'], 'degraded'],
    ['has served, fewer than wanted so far', true, 2, ['ready'], 'degraded'],
    ['all failed', true, 2, ['failed', 'failed'], 'failed'],
    ['all failed, never served', false, 2, ['failed', 'failed'], 'failed'],
    ['one failed, the other one does not exist yet', true, 2, ['failed'], 'degraded'],
    ['all completed', false, 2, ['completed', 'completed'], 'completed'],
    ['one completed, one at work', true, 2, ['completed', 'ready'], 'running'],
    ['one completed, one starts again', false, 2, ['completed', 'backoff'], 'degraded'],
    ['one completed, one failed', true, 2, ['completed', 'failed'], 'degraded'],
  ];
  for (const [what, served, goal, states, expected] of cases) {
    test(`${what}: ${expected}`, () =>
      assert.equal(appStateOf({ phase: 'active', served, goal, spares: 0, states }), expected));
  }

  test('spares: it serves without them, and has completed its work with them', () => {
    const one = { phase: 'active', served: true, goal: 2, spares: 1 } as const;
    assert.equal(appStateOf({ ...one, states: ['ready', 'ready', 'starting'] }), 'running');
    assert.equal(appStateOf({ ...one, states: ['ready', 'starting', 'starting'] }), 'degraded');
    assert.equal(appStateOf({ ...one, states: ['completed', 'completed', 'ready'] }), 'running');
    assert.equal(appStateOf({ ...one, states: ['completed', 'completed', 'completed'] }), 'completed');
    assert.equal(appStateOf({ ...one, states: ['failed', 'failed', 'failed'] }), 'failed');
  });

  test('what its owner wants of it comes first', () => {
    for (const phase of ['waiting', 'stopping', 'stopped'] satisfies AppPhase[]) {
      assert.equal(appStateOf({ phase, served: true, goal: 1, spares: 0, states: ['ready'] }), phase);
    }
  });
});

describe('startIsOver', () => {
  const cases: readonly [what: string, state: AppState, served: boolean, firstBoots: number, expected: boolean][] = [
    ['running', 'running', true, 0, true],
    ['completed', 'completed', false, 0, true],
    ['nobody has served', 'starting', false, 0, false],
    ['one serves, one is in its first boot', 'degraded', true, 1, false],
    ['one serves, the others had their chance', 'degraded', true, 0, true],
    ['waiting', 'waiting', false, 0, false],
  ];
  for (const [what, state, served, firstBoots, expected] of cases) {
    test(`${what}: ${expected}`, () => assert.equal(startIsOver(state, served, firstBoots), expected));
  }
});
