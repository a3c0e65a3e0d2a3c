/**
 * Random fleets walk to their goal: workers get ready late, crash, and take their time to leave, while the goal changes.
 * The walk is core's own (judge, isAvailable, reconcile); what must hold is worked out from the changes it asks for.
 */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import type { WorkerState } from '../../src/core/protocol.ts';
import { reconcile, type Change, type Goal, type LiveWorker } from '../../src/core/reconcile.ts';
import { toAdmit } from '../../src/core/rotation.ts';
import { isAvailable, judge, type Rollout, type RolloutWorker } from '../../src/core/rollout.ts';
import { forSeeds, type Chance, type Log } from '../helpers/random.ts';

const fleets = 300;
const hourMs = 3_600_000;

interface Member {
  readonly number: number;
  readonly slot: number;
  readonly revision: number;
  state: WorkerState;
  readyMs: number | null;
  failedOnce: boolean;
  leaving: 'no' | 'retiring' | 'restarting';
  admitted: boolean;
  /** When something happens to it by itself; Infinity: nothing does. */
  nextMs: number;
}

class Fleet {
  readonly #chance: Chance;
  readonly #log: Log;
  readonly #maxSurge: number;
  readonly #maxUnavailable: number;
  readonly #canaryMs: number;
  /** Revisions whose workers do not always get ready. */
  readonly #bad = new Set<number>();
  #members: Member[] = [];
  #nowMs = 1_000;
  #replicas: number;
  readonly #spares: number;
  /** Nothing keeps connections from one that is ready. */
  readonly #isShared: boolean;
  #good = 1;
  #revision = 1;
  #lastRevision = 1;
  #lastNumber = 0;
  #rollout: Rollout | null = null;
  #againMs: number | null = null;
  /** Old workers may crash in the first part of the history only. */
  #rough = true;
  #ends = 0;

  constructor(chance: Chance, log: Log) {
    this.#chance = chance;
    this.#log = log;
    this.#replicas = chance.between(1, 8);
    this.#spares = chance.pick([0, 0, 1, 2, 3]);
    this.#isShared = chance.happens(0.1);
    this.#maxSurge = chance.between(0, 3);
    this.#maxUnavailable = this.#maxSurge === 0 ? chance.between(1, 3) : chance.pick([0, 0, 0, 1, 2]);
    this.#canaryMs = chance.pick([0, 1_000, 5_000]);
    log({
      replicas: this.#replicas,
      spares: this.#spares,
      isShared: this.#isShared,
      maxSurge: this.#maxSurge,
      maxUnavailable: this.#maxUnavailable,
      canaryMs: this.#canaryMs,
    });
  }

  live(): void {
    this.#settle();
    for (let n = 0; n < 40; n++) {
      this.#letTimePass(this.#chance.between(0, 10_000));
      if (this.#chance.happens(0.25)) this.#scale(this.#chance.between(0, 8));
      if (this.#chance.happens(0.25)) this.#reload(this.#chance.happens(0.4));
      if (this.#chance.happens(0.1)) this.#restart();
    }
    // From here on only the new revision may be bad: it has to end, and the fleet to be whole.
    this.#rough = false;
    this.#reload(this.#chance.happens(0.5));
    this.#letTimePass(hourMs);
    this.#checkEnd();
  }

  #scale(replicas: number): void {
    this.#log('scale to', replicas);
    this.#replicas = replicas;
    this.#settle();
  }

  #reload(bad: boolean): void {
    const to = ++this.#lastRevision;
    if (bad) this.#bad.add(to);
    this.#log('reload to revision', to, bad ? '(bad)' : '');
    this.#rollout = { from: this.#good, to, canaryMs: this.#canaryMs, canaries: Math.max(1, this.#maxSurge) };
    this.#revision = to;
    this.#settle();
  }

  #restart(): void {
    const ready = this.#members.filter((member) => member.leaving === 'no');
    if (ready.length === 0) return;
    const one = this.#chance.pick(ready);
    this.#log('restart', one.number);
    this.#leave(one, 'restarting');
    this.#settle();
  }

  // ---------------------------------------------------------------- the environment

  #letTimePass(ms: number): void {
    const untilMs = this.#nowMs + ms;
    for (let n = 0; ; n++) {
      assert.ok(n < 20_000, 'it never comes to rest');
      const nextMs = Math.min(this.#againMs ?? Infinity, ...this.#members.map((member) => member.nextMs));
      if (nextMs > untilMs) break;
      this.#nowMs = Math.max(this.#nowMs, nextMs);
      for (const member of this.#members.filter((one) => one.nextMs <= this.#nowMs)) this.#happen(member);
      this.#settle();
    }
    this.#nowMs = untilMs;
  }

  #in(lowMs: number, highMs: number): number {
    return this.#nowMs + this.#chance.between(lowMs, highMs);
  }

  #happen(member: Member): void {
    const bad = this.#bad.has(member.revision);
    member.nextMs = Infinity;
    if (member.leaving !== 'no') {
      this.#log(this.#nowMs, 'gone', member.number);
      this.#members = this.#members.filter((one) => one !== member);
    } else if (member.state === 'ready' || (member.state === 'starting' && bad && this.#chance.happens(0.4))) {
      member.state = this.#chance.happens(0.5) ? 'backoff' : 'starting';
      member.failedOnce = true;
      member.admitted = false;
      member.nextMs = this.#in(1, 8_000);
      this.#log(this.#nowMs, 'crash', member.number, member.state);
    } else if (member.state === 'backoff') {
      member.state = 'starting';
      member.nextMs = this.#in(0, 5_000);
    } else {
      this.#log(this.#nowMs, 'ready', member.number);
      member.state = 'ready';
      member.readyMs = this.#nowMs;
      if ((bad && this.#chance.happens(0.3)) || (this.#rough && this.#chance.happens(0.1)))
        member.nextMs = this.#in(0, 10_000);
    }
  }

  #leave(member: Member, how: Member['leaving']): void {
    member.leaving = how;
    member.admitted = false;
    // Without a process it is gone at once.
    if (member.state === 'backoff') this.#members = this.#members.filter((one) => one !== member);
    else member.state = 'stopping';
    member.nextMs = this.#in(0, 8_000);
  }

  // ---------------------------------------------------------------- the walk, as an app does it

  #settle(): void {
    for (let round = 0; ; round++) {
      assert.ok(round < 100, 'reconcile never comes to rest');
      this.#judge();
      const goal = this.#goal();
      this.#admit(goal);
      const live = this.#live();
      const changes = reconcile(goal, live);
      if (changes.length === 0) return this.#checkRotation(goal);
      this.#check(goal, live, changes);
      for (const change of changes) this.#perform(change);
    }
  }

  #admit(goal: Goal): void {
    for (const id of toAdmit(goal, this.#live())) {
      const member = this.#members.find((one) => `w${one.number}` === id)!;
      assert.deepEqual([member.admitted, member.state, member.leaving], [false, 'ready', 'no']);
      this.#log(this.#nowMs, 'admitted', member.number);
      member.admitted = true;
    }
  }

  #judge(): void {
    this.#againMs = null;
    if (!this.#rollout) return;
    const verdict = judge(this.#rollout, this.#seen(), this.#replicas + this.#spares, this.#nowMs);
    if (verdict.type === 'rolling') {
      this.#againMs = verdict.againMs;
      return;
    }
    this.#log(this.#nowMs, verdict);
    this.#ends++;
    if (verdict.type === 'succeeded') this.#good = this.#revision;
    this.#revision = this.#good;
    this.#rollout = null;
  }

  #goal(): Goal {
    const inFlight = this.#rollout ? Math.max(1, this.#maxSurge, this.#maxUnavailable) : Infinity;
    return {
      replicas: this.#replicas,
      spares: this.#spares,
      revision: this.#revision,
      maxSurge: this.#maxSurge,
      maxUnavailable: this.#maxUnavailable,
      inFlight,
    };
  }

  #seen(): RolloutWorker[] {
    return this.#members.map((member) => ({ ...member, id: `w${member.number}`, leaving: member.leaving !== 'no' }));
  }

  #live(): LiveWorker[] {
    const seen = this.#seen();
    return this.#members.map((member, index) => ({
      ...member,
      id: `w${member.number}`,
      available: isAvailable(seen[index]!, this.#rollout, seen, this.#nowMs),
      sharesListener: this.#isShared,
    }));
  }

  #perform(change: Change): void {
    this.#log(this.#nowMs, change);
    if (change.type === 'stop')
      return this.#leave(
        this.#members.find((member) => `w${member.number}` === change.id)!,
        'retiring',
      );
    this.#members.push({
      number: ++this.#lastNumber,
      slot: change.slot,
      revision: this.#revision,
      state: 'starting',
      readyMs: null,
      failedOnce: false,
      leaving: 'no',
      admitted: false,
      nextMs: this.#in(0, 5_000),
    });
  }

  // ---------------------------------------------------------------- what must hold

  #check(goal: Goal, live: readonly LiveWorker[], changes: readonly Change[]): void {
    const added = changes.flatMap((change) => (change.type === 'add' ? [change.slot] : []));
    const replaced = new Set(
      changes.flatMap((change) => (change.type === 'stop' && change.why === 'replaced' ? [change.id] : [])),
    );
    const surplus = new Set(
      changes.flatMap((change) => (change.type === 'stop' && change.why === 'scale-down' ? [change.id] : [])),
    );
    const wanted = goal.replicas + goal.spares;
    if (added.length > 0) assert.ok(live.length + added.length <= wanted + goal.maxSurge, 'above the surge');

    const taken = new Set(live.map((worker) => worker.slot));
    for (const slot of added) {
      const lowest = [...Array(64).keys()].find((one) => !taken.has(one));
      assert.equal(slot, lowest, 'not the lowest free slot');
      taken.add(slot);
    }

    const ready = live.filter(
      (worker) => worker.state === 'ready' && worker.leaving === 'no' && !surplus.has(worker.id),
    );
    const left = ready.filter((worker) => !replaced.has(worker.id));
    assert.ok(
      left.length >= Math.min(ready.length, wanted - goal.maxUnavailable),
      `below the floor: ${ready.length} -> ${left.length} ready`,
    );
    this.#checkCanary(goal, live, replaced);
  }

  /** Nothing of the good revision that serves is given up before a canary has been ready for long enough. */
  #checkCanary(goal: Goal, live: readonly LiveWorker[], replaced: ReadonlySet<string>): void {
    const rollout = this.#rollout;
    const serving = live.filter(
      (worker) => worker.available && worker.leaving === 'no' && worker.revision === rollout?.from,
    );
    if (
      !rollout ||
      goal.maxUnavailable > 0 ||
      serving.length > goal.replicas + goal.spares ||
      !serving.some((worker) => replaced.has(worker.id))
    )
      return;
    const held = this.#members.filter(
      (member) =>
        member.revision === rollout.to && member.readyMs !== null && this.#nowMs - member.readyMs >= rollout.canaryMs,
    );
    const others = live.filter(
      (worker) =>
        worker.available &&
        worker.leaving === 'no' &&
        worker.revision !== rollout.to &&
        worker.revision !== rollout.from,
    );
    assert.ok(held.length > 0 || others.length > 0, 'an old worker is replaced before the canary has proved itself');
  }

  /** Whatever has happened: as many serve as can, and as should. */
  #checkRotation({ replicas, revision }: Goal): void {
    const ready = this.#members.filter(({ state, leaving }) => state === 'ready' && leaving === 'no');
    const serving = ready.filter(({ admitted }) => admitted);
    assert.ok(
      this.#members.every((one) => !one.admitted || ready.includes(one)),
      'one that is not ready serves',
    );
    if (this.#isShared || this.#spares === 0)
      return assert.equal(serving.length, ready.length, 'one that is ready does not serve');
    assert.ok(serving.length >= Math.min(replicas, ready.length), `${serving.length} serve, ${ready.length} are ready`);
    const current = ready.filter((one) => one.revision === revision);
    const served = current.filter(({ admitted }) => admitted).length;
    assert.equal(served, Math.min(replicas, current.length), 'of the wanted revision others should serve');
  }

  #checkEnd(): void {
    assert.equal(this.#rollout, null, 'the rollout never ended');
    assert.ok(this.#ends > 0);
    const found = this.#members.map((member) => `${member.revision} ${member.state} ${member.leaving}`);
    assert.deepEqual(
      found,
      Array(this.#replicas + this.#spares).fill(`${this.#good} ready no`),
      'the fleet is not whole',
    );
  }
}

test('random rollouts end, within the bounds, with a whole fleet', () => {
  forSeeds(fleets, (chance, log) => new Fleet(chance, log).live());
});
