// Leases, and that only their holder commits what a conductor writes.
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Fence, RolloutRow } from '../../../server/interfaces.js';
import type { Store } from '../../../server/store/store.js';
import { rollout } from '../../support/rollout-rows.js';
import { openTestStore } from '../../support/test-store.js';

const NOW = 1_700_000_000_000;
const LONG = 60_000;
/** Over as soon as it has begun. */
const OVER = 0;

let store: Store;
beforeEach(async () => {
  store = await openTestStore();
});
afterEach(() => store.close());

it('one_holder_at_a_time_and_a_renewal_keeps_the_revision', async () => {
  const first = await store.leases.acquire('conductor', 'a', LONG);
  expect(first).toEqual({ name: 'conductor', holder: 'a', revision: 1 });
  expect(await store.leases.acquire('conductor', 'b', LONG)).toBeNull();
  expect(await store.leases.acquire('conductor', 'a', LONG)).toEqual(first);
  expect(await store.leases.acquire('another', 'b', LONG)).toMatchObject({ revision: 1 });
});

it('lease_that_ended_or_was_given_back_goes_to_the_next_with_a_higher_revision', async () => {
  await store.leases.acquire('conductor', 'a', OVER);
  const second = (await store.leases.acquire('conductor', 'b', LONG)) as Fence;
  expect(second).toMatchObject({ holder: 'b', revision: 2 });
  // The one before gives back what it does not hold any more: nothing happens.
  await store.leases.release({ name: 'conductor', holder: 'a', revision: 1 });
  expect(await store.leases.acquire('conductor', 'a', LONG)).toBeNull();
  await store.leases.release(second);
  expect(await store.leases.acquire('conductor', 'a', LONG)).toMatchObject({ revision: 3 });
});

it('conductor_that_lost_its_lease_commits_nothing', async () => {
  await store.rollouts.insertRollout(rollout({ id: 'r1' }), []);
  const row = (await store.rollouts.rollout('r1')) as RolloutRow;
  const commit = (fence: Fence | null) =>
    store.fenced(() => fence).rollouts.commit({ rollout: row, members: [], assignments: [] }, NOW);
  const lost = await store.leases.acquire('conductor', 'a', OVER);
  const held = await store.leases.acquire('conductor', 'b', LONG);
  await expect(commit(lost)).rejects.toThrow(/another server conducts/);
  await expect(commit(null)).rejects.toThrow(/another server conducts/);
  await expect(store.fenced(() => lost).conditions.commitSlot(NOW, [])).rejects.toThrow(
    /another server conducts/,
  );
  expect(await store.conditions.lastSlot()).toBeNull();
  expect((await store.rollouts.rollout('r1'))?.revision).toBe(row.revision);
  expect(await commit(held)).toBe(true);
});
