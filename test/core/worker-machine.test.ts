import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { workerStates, type Cause, type WorkerState } from '../../src/core/protocol.ts';
import {
  hasProcess,
  isOver,
  killAgainMs,
  politeExitMs,
  rowOf,
  step,
  type WorkerEvent,
} from '../../src/core/worker-machine.ts';
import { exitOf, LifeStory, type LifeStoryParts } from '../helpers/life-story.ts';

/** A life that has got into the state by events alone. */
function lifeIn(state: WorkerState): LifeStory {
  const story = new LifeStory();
  switch (state) {
    case 'starting':
      return story;
    case 'ready':
      return story.ready();
    case 'stopping':
      return story.ready().stop('scale-down');
    case 'killing':
      return story.ready().stop('scale-down').after(30_000);
    case 'backoff':
      return story.exits(1);
    case 'failed':
      return new LifeStory({ backoff: { maxCrashes: 0 } }).exits(1);
    case 'completed':
      return new LifeStory({ restart: 'on-failure' }).exits(0);
    case 'stopped':
      return story.ready().stop().exits(0);
  }
}

const events: Readonly<Record<WorkerEvent['type'], WorkerEvent>> = {
  ready: { type: 'ready' },
  exited: { type: 'exited', exit: exitOf(1) },
  timeout: { type: 'timeout' },
  stop: { type: 'stop', cause: 'stop' },
  kill: { type: 'kill', cause: 'stop' },
  retry: { type: 'retry' },
  signalled: { type: 'signalled' },
};

/** "state effect": what follows; '' means: ignored. */
const table: Readonly<Record<WorkerState, Readonly<Record<WorkerEvent['type'], string>>>> = {
  starting: {
    ready: 'ready',
    exited: 'backoff',
    timeout: 'stopping terminate',
    stop: 'stopping terminate',
    kill: 'killing kill',
    retry: '',
    signalled: 'starting',
  },
  ready: {
    ready: '',
    exited: 'starting spawn',
    timeout: '',
    stop: 'stopping terminate',
    kill: 'killing kill',
    retry: '',
    signalled: 'ready',
  },
  stopping: {
    ready: '',
    exited: 'stopped',
    timeout: 'killing kill',
    stop: 'stopping',
    kill: 'killing kill',
    retry: '',
    signalled: '',
  },
  killing: {
    ready: '',
    exited: 'stopped',
    timeout: 'killing kill',
    stop: 'killing',
    kill: 'killing kill',
    retry: '',
    signalled: '',
  },
  backoff: {
    ready: '',
    exited: '',
    timeout: 'starting spawn',
    stop: 'stopped',
    kill: 'stopped',
    retry: 'starting spawn',
    signalled: '',
  },
  failed: {
    ready: '',
    exited: '',
    timeout: 'starting spawn',
    stop: 'stopped',
    kill: 'stopped',
    retry: 'starting spawn',
    signalled: '',
  },
  completed: { ready: '', exited: '', timeout: '', stop: 'stopped', kill: 'stopped', retry: '', signalled: '' },
  stopped: { ready: '', exited: '', timeout: '', stop: '', kill: '', retry: '', signalled: '' },
};

describe('every state and every event', () => {
  for (const state of workerStates) {
    for (const [name, event] of Object.entries(events) as [WorkerEvent['type'], WorkerEvent][]) {
      const expected = table[state][name];
      test(`${state} + ${name}: ${expected === '' ? 'ignored' : expected}`, () => {
        const story = lifeIn(state);
        assert.equal(story.state, state);
        const { life, effects } = step(story.life, event, story.around);
        if (expected === '') assert.equal(life, story.life, 'an ignored event leaves the very same life');
        assert.equal([life.state, ...effects].join(' '), expected === '' ? state : expected);
      });
    }
  }

  test('a state with a process, or with a start to come, has a deadline, and a state that may last has none', () => {
    const deadlines = workerStates.map((state) => [state, lifeIn(state).life.deadlineMs !== null]);
    assert.deepEqual(Object.fromEntries(deadlines), {
      starting: true,
      ready: false,
      stopping: true,
      killing: true,
      backoff: true,
      failed: true,
      completed: false,
      stopped: false,
    });
  });

  test('which states have a process, and which are over', () => {
    assert.deepEqual(
      workerStates.filter((state) => hasProcess(lifeIn(state).life)),
      ['starting', 'ready', 'stopping', 'killing'],
    );
    assert.deepEqual(
      workerStates.filter((state) => isOver(lifeIn(state).life)),
      ['completed', 'stopped'],
    );
    assert.equal(isOver(new LifeStory({ restart: 'never' }).exits(1).life), true, 'failed without trials');
  });
});

/** A crash of a worker that had been ready for `readyMs`. */
function crashAfterReady(story: LifeStory, readyMs: number): LifeStory {
  return story.ready().after(readyMs).exits(1);
}

describe('backoff', () => {
  test('the first crash of a worker that was ready restarts at once, every further one waits', () => {
    const story = crashAfterReady(new LifeStory(), 100);
    assert.equal(story.state, 'starting');
    const waits = [];
    for (let n = 0; n < 7; n++) {
      crashAfterReady(story, 100);
      assert.equal(story.state, 'backoff');
      waits.push(story.waitMs);
      story.whenDue();
    }
    assert.deepEqual(waits, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000]);
  });

  test('a boot that never got ready waits at its first crash, with n = 0', () => {
    const story = new LifeStory().exits(1);
    assert.deepEqual([story.state, story.waitMs], ['backoff', 500]);
    story.whenDue().exits(1);
    assert.deepEqual([story.state, story.waitMs], ['backoff', 1_000]);
  });

  test('after a boot that failed, the crash of a ready worker is not the first of its row', () => {
    const story = new LifeStory().exits(1).whenDue();
    crashAfterReady(story, 100);
    assert.deepEqual([story.state, story.waitMs], ['backoff', 1_000]);
  });

  test('the delay is shortened by the jitter', () => {
    const story = new LifeStory({ random: 0.5 }).exits(1);
    assert.equal(story.waitMs, 375);
  });

  test('the row ends after stable_after of readiness, and not a millisecond earlier', () => {
    const almost = crashAfterReady(new LifeStory(), 100);
    crashAfterReady(almost, 9_999);
    assert.deepEqual([almost.state, almost.life.row.crashes], ['backoff', 2]);
    const just = crashAfterReady(new LifeStory(), 100);
    crashAfterReady(just, 10_000);
    assert.deepEqual([just.state, just.life.row.crashes], ['starting', 1]);
    crashAfterReady(just, 100);
    assert.deepEqual([just.state, just.waitMs], ['backoff', 500], 'the delays begin again too');
  });

  test('time spent starting is not readiness', () => {
    const story = crashAfterReady(new LifeStory(), 100);
    story.after(20_000);
    crashAfterReady(story, 100);
    assert.equal(story.state, 'backoff');
  });

  test('a stable_after below a second does not make a hot loop', () => {
    const story = crashAfterReady(new LifeStory({ backoff: { stableAfterMs: 1 } }), 2);
    assert.equal(story.state, 'starting');
    assert.equal(crashAfterReady(story, 2).state, 'backoff');
  });
});

describe('exit 0', () => {
  test('of a worker that was ready for a second is respawned and not counted', () => {
    const story = new LifeStory();
    for (let n = 0; n < 50; n++) story.ready().after(politeExitMs).exits(0);
    assert.deepEqual([story.state, story.life.row.crashes, story.life.restarts], ['starting', 0, 50]);
    assert.equal(story.life.lastExit?.cause, 'exit');
  });

  test('that comes quicker counts as a crash', () => {
    const story = new LifeStory();
    story
      .ready()
      .after(politeExitMs - 1)
      .exits(0);
    assert.deepEqual([story.state, story.life.row.crashes], ['starting', 1]);
    story
      .ready()
      .after(politeExitMs - 1)
      .exits(0);
    assert.deepEqual([story.state, story.life.row.crashes], ['backoff', 2]);
  });

  test('of a worker that never got ready counts, however long it took', () => {
    const story = new LifeStory().after(59_000).exits(0);
    assert.deepEqual([story.state, story.life.row.crashes], ['backoff', 1]);
  });

  test('neither lengthens nor forgets a row', () => {
    const story = crashAfterReady(new LifeStory(), 100);
    story.ready().after(2_000).exits(0);
    assert.deepEqual([story.state, story.life.row.crashes], ['starting', 1]);
    crashAfterReady(story, 2_000);
    assert.deepEqual([story.state, story.waitMs], ['backoff', 500]);
  });

  test('after stable_after of readiness ends the row, as any end does', () => {
    const story = crashAfterReady(new LifeStory(), 100);
    story.ready().after(10_000).exits(0);
    assert.equal(crashAfterReady(story, 2_000).state, 'starting', 'the first crash of a new row');
  });
});

describe('signals', () => {
  test('of supervise are no crash: it starts again at once, however often', () => {
    const story = new LifeStory();
    for (let n = 0; n < 20; n++) story.ready().send({ type: 'signalled' }).after(10).exits(null, { signal: 'SIGKILL' });
    assert.deepEqual([story.state, story.life.row.crashes, story.life.lastExit?.cause], ['starting', 0, 'asked']);
  });

  test('explain an exit for as long as a stop may take, and only of the process that got them', () => {
    const late = new LifeStory().ready().send({ type: 'signalled' }).after(30_001).exits(1);
    assert.deepEqual([late.life.row.crashes, late.life.lastExit?.cause], [1, 'crash']);
    const next = new LifeStory().ready().send({ type: 'signalled' }).after(10).exits(1).ready().after(10).exits(1);
    assert.deepEqual([next.life.row.crashes, next.life.lastExit?.cause], [1, 'crash']);
  });

  test('from a shell are a crash', () => {
    const story = new LifeStory().ready().after(5_000).exits(null, { signal: 'SIGKILL' });
    assert.deepEqual([story.life.row.crashes, story.life.lastExit?.cause], [1, 'signal']);
  });
});

/** Lets every trial crash at once, `count` times. */
function crashTimes(story: LifeStory, count: number): LifeStory {
  for (let n = 0; n < count; n++) {
    if (story.state !== 'starting') story.whenDue();
    story.exits(1);
  }
  return story;
}

describe('max_crashes', () => {
  test('crash number max_crashes + 1 in a row: failed, with a slow trial', () => {
    const story = crashTimes(new LifeStory(), 8);
    assert.equal(story.state, 'backoff');
    crashTimes(story, 1);
    assert.deepEqual([story.state, story.waitMs], ['failed', 60_000]);
  });

  test('a trial that fails: failed again, with the same wait', () => {
    const story = crashTimes(new LifeStory(), 9);
    assert.equal(story.whenDue().state, 'starting');
    crashTimes(story, 5);
    assert.deepEqual([story.state, story.waitMs], ['failed', 60_000]);
    story.whenDue();
    crashAfterReady(story, 9_999);
    assert.equal(story.state, 'failed', 'a trial that is ready for less than stable_after is part of the row');
  });

  test('a trial that succeeds ends the row', () => {
    const story = crashTimes(new LifeStory(), 9).whenDue();
    crashAfterReady(story, 10_000);
    assert.deepEqual([story.state, story.life.row.crashes], ['starting', 1]);
  });

  test('is not applied before the app has served', () => {
    const story = crashTimes(new LifeStory({ served: false }), 20);
    assert.deepEqual([story.state, story.waitMs], ['backoff', 30_000]);
    story.served = true;
    assert.equal(crashTimes(story, 1).state, 'failed');
  });

  test('max_crashes 0: the first crash fails, also that of a ready worker', () => {
    assert.equal(crashAfterReady(new LifeStory({ backoff: { maxCrashes: 0 } }), 100).state, 'failed');
  });
});

describe('restart policy', () => {
  const cases: readonly [string, LifeStoryParts['restart'] & string, (story: LifeStory) => LifeStory, WorkerState][] = [
    ['exit 0 before readiness', 'never', (story) => story.exits(0), 'completed'],
    ['exit 0 of a ready worker', 'never', (story) => story.ready().after(5_000).exits(0), 'completed'],
    ['exit 1', 'never', (story) => story.exits(1), 'failed'],
    ['exit 1 of a ready worker', 'never', (story) => story.ready().after(5_000).exits(1), 'failed'],
    ['a signal', 'never', (story) => story.ready().exits(null, { signal: 'SIGSEGV' }), 'failed'],
    ['a program that cannot run', 'never', (story) => story.exits(null, { error: 'ENOENT' }), 'failed'],
    [
      'a signal of supervise',
      'never',
      (story) => story.ready().send({ type: 'signalled' }).exits(null, { signal: 'SIGTERM' }),
      'failed',
    ],
    ['exit 0', 'on-failure', (story) => story.exits(0), 'completed'],
    ['exit 0 after ready_timeout', 'on-failure', (story) => story.whenDue().exits(0), 'backoff'],
    ['exit 1', 'on-failure', (story) => story.exits(1), 'backoff'],
    ['exit 1 of a ready worker', 'on-failure', (story) => story.ready().exits(1), 'starting'],
    ['ready_timeout', 'never', (story) => story.whenDue().exits(0), 'failed'],
  ];
  for (const [what, restart, act, expected] of cases) {
    test(`${restart}: ${what} -> ${expected}`, () => {
      const story = act(new LifeStory({ restart }));
      assert.equal(story.state, expected);
      if (restart === 'never') assert.equal(story.waitMs, null, 'no trials');
    });
  }

  test('retry starts a worker that failed for good', () => {
    const story = new LifeStory({ restart: 'never' }).exits(1).send({ type: 'retry' });
    assert.deepEqual([story.state, story.last], ['starting', 'spawn']);
  });
});

describe('boot', () => {
  test('not ready in time: asked to end, then killed, then a crash with a delay', () => {
    const story = new LifeStory().after(60_000);
    assert.deepEqual([story.state, story.last, story.waitMs], ['stopping', 'terminate', 30_000]);
    story.after(30_000);
    assert.deepEqual([story.state, story.last], ['killing', 'kill']);
    story.exits(null, { signal: 'SIGKILL' });
    assert.deepEqual([story.state, story.waitMs, story.life.lastExit?.cause], ['backoff', 500, 'start-timeout']);
  });

  test('readiness that comes while it is being ended is too late', () => {
    const story = new LifeStory().after(60_000).ready().exits(0);
    assert.deepEqual([story.state, story.life.readyMs], ['backoff', null]);
  });

  test('a program that cannot be executed is an exit with an error', () => {
    const story = new LifeStory().exits(null, { error: 'ENOENT' });
    assert.deepEqual([story.state, story.life.lastExit?.cause], ['backoff', 'spawn-failed']);
  });

  test('each process has ready_timeout of its own', () => {
    const story = new LifeStory().after(59_000).exits(1).whenDue();
    assert.deepEqual([story.state, story.waitMs], ['starting', 60_000]);
  });
});

describe('stop', () => {
  test('a stop is final: no respawn, whatever the exit', () => {
    for (const code of [0, 1]) {
      const story = new LifeStory().ready().stop('scale-down').exits(code);
      assert.deepEqual([story.state, story.effects], ['stopped', ['spawn', 'terminate']]);
      assert.equal(story.life.lastExit?.cause, 'scale-down');
    }
  });

  test('a kill is repeated until the process is gone', () => {
    const story = new LifeStory()
      .ready()
      .stop()
      .after(30_000 + 3 * killAgainMs);
    assert.deepEqual(story.effects, ['spawn', 'terminate', 'kill', 'kill', 'kill', 'kill']);
  });

  test('a kill while it is being killed after a boot timeout still retires it', () => {
    const story = new LifeStory().after(60_000).after(30_000);
    assert.deepEqual([story.state, story.life.ending?.then], ['killing', 'respawn']);
    assert.equal(story.kill('stop').exits(null, { signal: 'SIGKILL' }).state, 'stopped');
  });

  test('a stop while it is being ended after a boot timeout retires it', () => {
    assert.equal(new LifeStory().after(60_000).stop().exits(0).state, 'stopped');
    assert.equal(new LifeStory().after(90_000).stop().exits(0).state, 'stopped');
  });

  test('a shorter timeout shortens the wait, a longer one changes nothing', () => {
    assert.equal(new LifeStory().ready().stop('stop', 2_000).waitMs, 2_000);
    assert.equal(new LifeStory({ stopTimeoutMs: 1_000 }).ready().stop('stop', 2_000).waitMs, 1_000);
    const story = new LifeStory().ready().stop().after(5_000);
    assert.equal(story.stop('stop').waitMs, 25_000, 'asked again without a timeout');
    assert.equal(story.stop('stop', 60_000).waitMs, 25_000);
    assert.equal(story.stop('stop', 2_000).waitMs, 2_000);
    assert.deepEqual(story.effects, ['spawn', 'terminate'], 'the stop signal is sent once');
  });

  test('the first reason for which it is retired stays the reason', () => {
    const story = new LifeStory().ready().stop('scale-down').stop('stop').kill('restart');
    assert.equal(story.life.ending?.cause, 'scale-down');
  });

  test('a worker without a process is retired at once, with the cause', () => {
    for (const act of [(story: LifeStory) => story.stop('restart'), (story: LifeStory) => story.kill('restart')]) {
      const story = act(new LifeStory().exits(1));
      assert.deepEqual(
        [story.state, story.life.ending, story.effects],
        ['stopped', { cause: 'restart' satisfies Cause, then: 'retire' }, ['spawn']],
      );
    }
  });
});

test('restarts are counted, and a new process starts with a clean sheet', () => {
  const story = new LifeStory().ready().after(10).exits(1);
  assert.equal(story.life.restarts, 1);
  assert.deepEqual(
    [story.life.readyMs, story.life.ending, story.life.signalledMs, story.life.startedMs],
    [null, null, null, story.nowMs],
  );
  story.exits(1);
  assert.equal(story.life.startedMs, null, 'no process, no start time');
  assert.equal(story.whenDue().life.restarts, 2);
});

test('retry ends a wait now and forgets no crash', () => {
  const story = new LifeStory().exits(1).send({ type: 'retry' });
  assert.deepEqual([story.state, story.life.row.crashes], ['starting', 1]);
  assert.equal(story.exits(1).waitMs, 1_000);
});

describe('the successor of a worker that hung or was not healthy', () => {
  const heir = (crashes: number, parts: LifeStoryParts = {}) =>
    new LifeStory({ ...parts, inherited: { crashes, delayed: Math.max(0, crashes - 1) } });

  test('starts at once, when that was the first crash in a row', () => {
    const story = heir(0);
    assert.deepEqual([story.state, story.effects], ['starting', ['spawn']]);
    assert.equal(story.life.row.crashes, 1);
  });

  test('waits as the predecessor would have, and that first start is no restart', () => {
    const story = heir(1);
    assert.deepEqual([story.state, story.effects, story.waitMs], ['backoff', [], 500]);
    assert.equal(heir(2).waitMs, 1_000);
    story.after(500);
    assert.deepEqual([story.state, story.effects, story.life.restarts], ['starting', ['spawn'], 0]);
    story.ready().exits(1);
    assert.equal(story.state, 'backoff', 'the row goes on');
  });

  test('is failed, with slow trials, when the row is too long', () => {
    const story = heir(8);
    assert.deepEqual([story.state, story.waitMs], ['failed', 60_000]);
    assert.equal(heir(8, { served: false }).state, 'backoff', 'nothing is given up before the app has served');
  });

  test('ends the row by being ready for long enough', () => {
    const story = heir(3).after(30_000).ready().after(10_000).exits(1);
    assert.deepEqual([story.state, story.life.row.crashes], ['starting', 1]);
  });

  test('inherits no row that its predecessor had outlived', () => {
    const old = new LifeStory().exits(1).after(500).ready();
    assert.equal(rowOf(old.life, old.around).crashes, 1);
    old.after(10_000);
    assert.equal(rowOf(old.life, old.around).crashes, 0);
  });
});

test('an exit that is proved to be for want of memory is called that, and counts as a crash', () => {
  const oom = 'the memory cgroup /web counted 1 oom_kill';
  const story = new LifeStory().ready().exits(null, { signal: 'SIGKILL', oom });
  assert.deepEqual([story.life.lastExit?.cause, story.life.row.crashes], ['oom', 1]);
  const asked = new LifeStory().ready().stop().exits(null, { signal: 'SIGKILL', oom });
  assert.equal(asked.life.lastExit?.cause, 'stop', 'who was asked to end ended for that reason');
});
