// Assignments that follow a change of their rollout, a thousand in a transaction, on the real
// store; and a server that dies between two of these.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RolloutChange } from '../../../server/interfaces.js';
import { Conductor } from '../../../server/rollout/conductor.js';
import { Reception } from '../../../server/rollout/reception.js';
import { assignmentOf } from '../../../server/rollout/situation.js';
import { SituationReader } from '../../../server/rollout/situation-reader.js';
import { SqlRolloutStore } from '../../../server/store/rollouts.js';
import type { Store } from '../../../server/store/store.js';
import { silentLog } from '../../../shared/base/interfaces.js';
import { limits } from '../../../shared/base/limits.js';
import type { Activation } from '../../../shared/protocol/states.js';
import { deviceId, policyOf, releaseOf } from '../../sim/fleet.js';
import { ManualClock } from '../../sim/manual-clock.js';
import { devicesFrom } from '../../support/device-rows.js';
import { member, rollout, T0 } from '../../support/rollout-rows.js';
import { openTestStore } from '../../support/test-store.js';

const DEVICES = 2 * limits.conductorPageRowsMaxCount + 200;
const policy = policyOf({ strategy: 'blue-green', blueGreen: { go: 'ask' } });

/** Notes what is committed, and fails at one of the changes of assignments. */
class WatchedStore extends SqlRolloutStore {
  readonly updated: number[] = [];
  failsAt = 0;

  override commit(change: RolloutChange, now: number): Promise<boolean> {
    if (change.updated !== undefined) {
      if (this.updated.length + 1 === this.failsAt) throw new Error('the server died');
      this.updated.push(change.updated.length);
    }
    return super.commit(change, now);
  }
}

let store: Store;
let watched: WatchedStore;
let hints: string[];

/** All devices are ready, and the go was given. */
beforeEach(async () => {
  hints = [];
  store = await openTestStore();
  watched = new WatchedStore(store.db);
  for (let first = 0; first < DEVICES; first += 100)
    await store.db.insertInto('devices').values(devicesFrom(first)).execute();
  const ready = { state: 'ready', assignmentId: null, proven: true } as const;
  const members = Array.from({ length: DEVICES }, (_, n) => member(n, ready));
  const row = rollout({ policy, goAt: null });
  await watched.insertRollout(row, members);
  const assignments = members.map(({ device }) =>
    assignmentOf(row, device, releaseOf('1.1.0'), false),
  );
  await watched.commit({ rollout: row, members: [], assignments }, T0);
  const told = { ...row, revision: row.revision + 1, goAt: T0 };
  await watched.commit({ rollout: told, members: [], assignments: [] }, T0);
});

afterEach(() => store.close());

/** By a server that has just started. */
async function pass(): Promise<void> {
  const clock = new ManualClock(T0 + 1000);
  const reception = new Reception({ clock });
  const common = { store: watched, reception, clock };
  const conductor = new Conductor({
    ...common,
    situations: new SituationReader({ ...common, floorOf: () => null }),
    log: silentLog,
    security: { report: () => {} },
    hint: (device) => void hints.push(device),
  });
  await conductor.pass();
}

const count = async (activation: Activation): Promise<number> => {
  const { count } = await store.db
    .selectFrom('assignments')
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .where('activation', '=', activation)
    .executeTakeFirstOrThrow();
  return count;
};

const idOf = async (n: number): Promise<number | undefined> =>
  (await store.assignments.assignments(deviceId(n))).assignments[0]?.assignmentId;

describe('after the go', () => {
  it('every_device_is_told_under_the_id_that_it_has_a_thousand_in_a_transaction', async () => {
    const before = await idOf(DEVICES - 1);
    await pass();
    expect(watched.updated).toEqual([1000, 1000, 200]);
    expect(await count('hold')).toBe(0);
    expect(await idOf(DEVICES - 1)).toBe(before);
    const states = (await watched.members('ro-1')).map(({ state }) => state);
    expect(new Set(states)).toEqual(new Set(['taken']));
    for (const n of [0, DEVICES - 1]) expect(hints).toContain(deviceId(n));
  });

  it('a_server_that_dies_between_two_transactions_goes_on_with_the_others', async () => {
    watched.failsAt = 2;
    await pass();
    expect(await count('swap')).toBe(1000);
    watched.failsAt = 0;
    await pass();
    expect(watched.updated).toEqual([1000, 1000, 200]);
    expect(await count('swap')).toBe(DEVICES);
  });

  it('nothing_is_written_again_when_all_were_told', async () => {
    await pass();
    watched.updated.length = 0;
    await pass();
    expect(watched.updated).toEqual([]);
  });
});
