import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { describeExit, reasonOf } from '../../src/core/reasons.ts';
import { exitOf, LifeStory } from '../helpers/life-story.ts';

describe('describeExit', () => {
  const cases: readonly [Parameters<typeof describeExit>[0], string][] = [
    [exitOf(0), 'exit code 0'],
    [exitOf(3), 'exit code 3'],
    [exitOf(null, { signal: 'SIGSEGV' }), 'signal SIGSEGV'],
    [exitOf(null, { error: 'server: no such file' }), 'server: no such file'],
    [exitOf(1, { error: 'server: no such file' }), 'server: no such file'],
    [exitOf(null), 'ended without a code'],
  ];
  for (const [exit, expected] of cases) test(expected, () => assert.equal(describeExit(exit), expected));
});

describe('reasonOf', () => {
  const crashed = () => new LifeStory({ random: 0 }).exits(1);
  const cases: readonly [string, LifeStory, string | null][] = [
    ['starting', new LifeStory().after(20_000), 'not ready yet; given up in 40s'],
    ['ready', new LifeStory().ready(), null],
    ['stopping, master stops', new LifeStory().ready().stop(), 'stop; killed in 30s'],
    ['stopping, scaled down', new LifeStory().ready().stop('scale-down'), 'scaled down; killed in 30s'],
    ['stopping, a boot that took too long', new LifeStory().after(60_000), 'not ready in time; killed in 30s'],
    ['killing', new LifeStory().ready().stop('reload').after(30_000), 'reload; killed, waiting for it to go'],
    ['backoff', crashed(), 'exit code 1; next start in 500ms'],
    ['backoff, not the first', crashed().whenDue().exits(1), 'exit code 1, 2 crashes in a row; next start in 1s'],
    [
      'backoff, after a boot that took too long',
      new LifeStory().after(60_000).exits(0),
      'not ready in time; next start in 500ms',
    ],
    [
      'backoff, a program that cannot run',
      new LifeStory().exits(null, { error: 'no such file' }),
      'no such file; next start in 500ms',
    ],
    [
      'backoff, crashes of the worker whose place it takes',
      new LifeStory({ inherited: { crashes: 1, delayed: 0 } }),
      'takes over 2 crashes in a row; first start in 500ms',
    ],
    [
      'failed',
      new LifeStory({ backoff: { maxCrashes: 0 } }).exits(null, { signal: 'SIGBUS' }),
      'signal SIGBUS; next trial in 1m',
    ],
    [
      'failed for good',
      new LifeStory({ restart: 'never' }).exits(2),
      'exit code 2; the restart policy starts it no more',
    ],
    ['completed', new LifeStory({ restart: 'never' }).exits(0), null],
    ['stopped', new LifeStory().ready().stop().exits(0), null],
  ];
  for (const [what, story, expected] of cases)
    test(`${what}: ${expected}`, () => assert.equal(reasonOf(story.life, story.nowMs), expected));
});
