// Which members the database makes due for the conductor, and a rollout of many members that is
// written in portions.
import { beforeEach, describe, expect, it } from 'vitest';
import type { MemberRow } from '../../../server/interfaces.js';
import type { Store } from '../../../server/store/store.js';
import { limits } from '../../../shared/base/limits.js';
import type { TelemetryRecord } from '../../../shared/protocol/telemetry.js';
import { by } from '../../support/audit-actions.js';
import { enrolledIn } from '../../support/enrolled-devices.js';
import { batchOf, idleUpdate } from '../../support/fleet-server.js';
import { member, rollout, T0, waiting } from '../../support/rollout-rows.js';
import { devicesFrom } from '../../support/device-rows.js';
import { openTestStore } from '../../support/test-store.js';

const ID = 'ro-1';
let store: Store;
let ids: string[];
let seq = 0;

beforeEach(async () => {
  store = await openTestStore();
  ids = await enrolledIn(store, 3);
  return () => store.close();
});

const due = async (now = T0): Promise<number[]> =>
  (await store.rollouts.due(ID, now, 100)).map(({ device }) => ids.indexOf(device)).sort();

async function report(n: number, kind: 'update' | 'health', at = T0): Promise<void> {
  seq += 1;
  const record =
    kind === 'update'
      ? { seq, at, kind, body: idleUpdate({ directorVersion: seq }) }
      : { seq, at, kind, body: { uptimeSeconds: seq } };
  const batch = batchOf([record as TelemetryRecord]);
  await store.telemetry.insertBatches([{ device: ids[n]!, batch }], at);
}

async function settled(change: Partial<MemberRow>, state: 'rolling' | 'completed' = 'rolling') {
  const members = ids.map((device, n) => member(n, { device, ...change }));
  await store.rollouts.insertRollout(rollout({ state }), members);
  await putAside();
}

/** All that are due are put aside, for as long as nothing happens. */
async function putAside(at: number | null = null): Promise<void> {
  const looks = await store.rollouts.due(ID, Number.MAX_SAFE_INTEGER - 1, 100);
  await store.rollouts.looked(
    ID,
    looks.map((look) => ({ ...look, at })),
  );
}

describe('a member is due', () => {
  it('when_its_device_reports_an_update_and_not_when_it_is_only_heard', async () => {
    await settled({ state: 'confirmed' });
    await report(0, 'health');
    expect(await due()).toEqual([]);
    await report(1, 'update');
    expect(await due()).toEqual([1]);
    expect(await store.rollouts.dueRollouts(T0)).toEqual([ID]);
  });

  it('when_it_is_heard_again_after_a_silence', async () => {
    await settled({ state: 'silent' });
    await report(0, 'health');
    expect(await due()).toEqual([0]);
  });

  it('when_its_time_has_come', async () => {
    await settled({ state: 'taken' });
    await report(0, 'update');
    await putAside(T0 + 50);
    expect(await due(T0 + 49)).toEqual([]);
    expect(await due(T0 + 50)).toEqual([0]);
  });

  it('when_its_device_is_revoked', async () => {
    await settled({ state: 'waiting' });
    await store.devices.revoke(ids[2]!, by('anna'), T0);
    expect(await due()).toEqual([2]);
  });

  it('when_it_was_written_and_not_while_it_waits_from_the_start', async () => {
    const members = [waiting(0, { device: ids[0]! }), member(1, { device: ids[1]! })];
    await store.rollouts.insertRollout(rollout(), members);
    expect(await due()).toEqual([1]);
    await putAside();
    const row = (await store.rollouts.rollout(ID))!;
    const change = { rollout: row, members: [members[0]!], assignments: [] };
    expect(await store.rollouts.commit(change, T0)).toBe(true);
    expect(await due()).toEqual([0]);
  });

  it('still_when_something_was_reported_while_it_was_looked_at', async () => {
    await settled({ state: 'trial' });
    await report(0, 'update');
    const looks = await store.rollouts.due(ID, T0, 100);
    await report(0, 'update');
    await store.rollouts.looked(
      ID,
      looks.map((look) => ({ ...look, at: null })),
    );
    expect(await due()).toEqual([0]);
  });

  it('never_in_a_completed_rollout_that_waits_for_nobody', async () => {
    await settled({ state: 'confirmed', proven: true }, 'completed');
    await report(0, 'update');
    expect(await due()).toEqual([]);
  });

  it('in_a_completed_rollout_while_a_device_is_undecided', async () => {
    await settled({ state: 'trial' }, 'completed');
    await report(0, 'update');
    expect(await due()).toEqual([0]);
  });

  it('no_more_when_its_rollout_has_ended_and_was_forgotten', async () => {
    await settled({ state: 'trial' });
    for (const n of [0, 1, 2]) await report(n, 'update');
    await store.rollouts.forgetLooks(ID, 2);
    expect(await due()).toHaveLength(1);
    await store.rollouts.forgetLooks(ID, 2);
    expect(await store.rollouts.dueRollouts(T0)).toEqual([]);
  });
});

describe('a rollout of many members', () => {
  const COUNT = 2 * limits.conductorPageRowsMaxCount + 1;

  async function members(last?: string): Promise<MemberRow[]> {
    for (let first = 0; first < COUNT; first += 100)
      await store.db
        .insertInto('devices')
        .values(devicesFrom(first))
        .onConflict((oc) => oc.doNothing())
        .execute();
    return Array.from({ length: COUNT }, (_, n) =>
      waiting(n, n === COUNT - 1 && last !== undefined ? { device: last } : {}),
    );
  }

  it('is_a_draft_with_all_of_them_when_the_last_one_is_written', async () => {
    const row = rollout({ state: 'draft' });
    await store.rollouts.insertRollout(row, await members(), [by('ann')]);
    expect(await store.rollouts.rollout(ID)).toEqual(row);
    const counts = await store.rollouts.memberCounts(ID);
    expect(counts.map(({ count }) => count)).toEqual([COUNT]);
    expect((await store.rollouts.history(ID)).map(({ state }) => state)).toEqual([
      'dropped',
      'draft',
    ]);
    const again = store.rollouts.insertRollout(row, await members());
    await expect(again).rejects.toThrow(/already is a rollout/);
  });

  it('stays_dropped_and_says_why_when_it_was_interrupted', async () => {
    const interrupted = store.rollouts.insertRollout(
      rollout({ state: 'draft' }),
      await members('no such device'),
      [by('ann')],
    );
    await expect(interrupted).rejects.toThrow();
    const row = await store.rollouts.rollout(ID);
    expect(row).toMatchObject({ state: 'dropped' });
    expect(row!.reasons.join()).toMatch(/create it again/);
    expect(await store.rollouts.active()).toEqual([]);
    expect(await store.audit.page({ limit: 1, after: null })).not.toMatchObject([
      { action: by('ann').action, actor: 'ann' },
    ]);
  });
});
