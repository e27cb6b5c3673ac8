// Devices over their life: who has a name, what moves to a replacement, why a claim enrols nobody,
// and how two copies of one data folder show.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isCloned } from '../../../server/access/cloned.js';
import type { Store } from '../../../server/store/store.js';
import { openTestStore } from '../../support/test-store.js';
import { isFault } from '../../../shared/base/fault-codes.js';
import { limits } from '../../../shared/base/limits.js';
import type { UpdateBody } from '../../../shared/protocol/telemetry.js';
import { by } from '../../support/audit-actions.js';
import { ALL, batchOf, newDevice } from '../../support/fleet-server.js';

const NOW = 1_800_000_000_000;
let store: Store;
beforeEach(async () => {
  store = await openTestStore();
});
afterEach(() => store.close());

async function enrol(name: string, claim: string | null = null, at = NOW): Promise<string> {
  const { id, key } = newDevice(name);
  const request = {
    publicKey: key.publicKey,
    name,
    hardware: 'sim',
    components: ['digits'],
    signature: 'not checked here',
  };
  await store.devices.enrol(id, request, claim, at);
  return id;
}
const enrolled = async (name: string): Promise<string> => {
  const id = await enrol(name);
  await store.devices.approve(id, by('anna'), NOW);
  return id;
};
const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'no fault',
    (error: unknown) => (isFault(error) ? error.code : String(error)),
  );

describe('a name', () => {
  it('re_flashed_device_shares_a_name_with_its_past_and_each_is_found', async () => {
    const old = await enrolled('gate-1');
    const fresh = await enrol('gate-1');
    expect((await store.devices.named('gate-1', 'enrolled')).id).toBe(old);
    expect((await store.devices.named('gate-1', 'pending')).id).toBe(fresh);
    await store.devices.revoke(old, by('anna'), NOW);
    await store.devices.approve(fresh, by('anna'), NOW);
    for (const first of ['enrolled', 'pending'] as const)
      expect((await store.devices.named('gate-1', first)).id).toBe(fresh);
    expect((await store.devices.named(old, 'enrolled')).status).toBe('revoked');
  });

  it('pending_strangers_of_the_same_name_make_no_enrolled_device_ambiguous', async () => {
    const ours = await enrolled('gate-1');
    await enrol('gate-1');
    await enrol('gate-1');
    expect((await store.devices.named('gate-1', 'enrolled')).id).toBe(ours);
    expect(await codeOf(store.devices.named('gate-1', 'pending'))).toBe('conflict');
  });

  it('two_enrolled_devices_of_one_name_need_an_id', async () => {
    await enrolled('gate-1');
    await enrolled('gate-1');
    expect(await codeOf(store.devices.named('gate-1', 'enrolled'))).toBe('conflict');
  });
});

describe('a replacement', () => {
  it('new_device_takes_name_group_and_labels_and_the_old_one_is_revoked', async () => {
    const old = await enrolled('gate-1');
    const labels = { site: 'north' };
    await store.devices.change(old, { group: 'gates', labels }, by('anna'), NOW);
    const fresh = await enrol('unboxed');
    const row = await store.devices.replace(old, fresh, by('anna', 'device.replace'), NOW + 1);
    expect(row).toMatchObject({ id: fresh, name: 'gate-1', group: 'gates', labels });
    expect(row).toMatchObject({ status: 'enrolled', enrolledAt: NOW + 1 });
    expect(await store.devices.get(old)).toMatchObject({ status: 'revoked', name: 'gate-1' });
    expect((await store.devices.named('gate-1', 'enrolled')).id).toBe(fresh);
    expect((await store.audit.page(ALL))[0]).toMatchObject({ action: 'device.replace' });
  });

  it('nothing_moves_to_itself_or_to_a_revoked_device', async () => {
    const old = await enrolled('gate-1');
    const gone = await enrolled('gate-2');
    await store.devices.revoke(gone, by('anna'), NOW);
    for (const target of [old, gone])
      expect(await codeOf(store.devices.replace(old, target, by('anna'), NOW))).toBe('conflict');
    expect((await store.devices.get(old))?.status).toBe('enrolled');
  });
});

describe('a claim that enrols nobody', () => {
  const claim = async (uses: number, expiresAt: number): Promise<string> => {
    const hash = `${uses}-${expiresAt}`;
    const row = { hash, group: 'canary', uses, expiresAt, createdBy: 'anna' };
    await store.devices.addClaim(row, by('anna'), NOW);
    return hash;
  };
  const reasonOf = async (id: string): Promise<string | null | undefined> =>
    (await store.devices.get(id))?.pendingReason;

  it('device_waits_and_the_reason_is_told', async () => {
    const used = await claim(1, NOW + 10);
    await enrol('first', used);
    const second = await enrol('second', used);
    expect(await store.devices.get(second)).toMatchObject({ status: 'pending', group: 'default' });
    expect(await reasonOf(second)).toMatch(/used up/);
    expect(await reasonOf(await enrol('late', await claim(5, NOW + 10), NOW + 10))).toMatch(
      /expired at 2027-01-15/,
    );
    expect(await reasonOf(await enrol('typo', 'nothing'))).toMatch(/not one of this server/);
    expect(await reasonOf(await enrol('without'))).toBeNull();
  });

  it('approval_ends_the_reason', async () => {
    const id = await enrol('typo', 'nothing');
    await store.devices.approve(id, by('anna'), NOW);
    expect(await reasonOf(id)).toBeNull();
  });
});

describe('instances', () => {
  let id: string;
  beforeEach(async () => {
    id = await enrolled('gate-1');
  });
  const send = async (instance: string, at = NOW): Promise<void> => {
    const batch = batchOf([{ seq: 1, at, kind: 'security', body: { code: 'x', detail: 'y' } }]);
    const sent = { ...batch, instance: instance.repeat(32) };
    await store.telemetry.insertBatches([{ device: id, batch: sent }], at);
  };
  const events = async (): Promise<(string | number)[][]> =>
    (await store.security.page({ source: id }, ALL))
      .filter(({ code }) => code === 'device_cloned')
      .map(({ code, count }) => [code, count]);

  it('restarts_are_no_clones', async () => {
    for (const instance of ['a', 'a', 'b', 'c', 'c', 'd']) await send(instance);
    expect((await store.devices.get(id))?.clonedAt).toBeNull();
    expect(await events()).toEqual([]);
  });

  it('two_copies_of_one_data_folder_alternate_and_are_told', async () => {
    for (const instance of ['a', 'b', 'a']) await send(instance);
    expect((await store.devices.get(id))?.clonedAt).toBe(NOW);
    expect(await events()).toEqual([['device_cloned', 1]]);
    await send('b', NOW + 1000);
    expect((await store.devices.get(id))?.clonedAt).toBe(NOW + 1000);
    expect(await events()).toEqual([['device_cloned', 2]]);
  });

  it('copies_that_restart_in_between_are_found_all_the_same', async () => {
    for (const instance of ['a', 'b', 'c', 'd', 'b']) await send(instance);
    expect((await store.devices.get(id))?.clonedAt).toBe(NOW);
  });

  it('device_is_no_clone_any_more_a_day_after_the_copy_was_gone', () => {
    expect(isCloned(null, NOW)).toBe(false);
    expect(isCloned(NOW, NOW)).toBe(true);
    expect(isCloned(NOW, NOW + limits.deviceClonedMs)).toBe(false);
  });
});

describe('conditions of a release', () => {
  it('new_condition_is_a_security_event_once_and_again_when_it_returns', async () => {
    const id = await enrolled('gate-1');
    let seq = 0;
    const report = async (...codes: ('crashes' | 'memory')[]): Promise<void> => {
      seq += 1;
      const body: UpdateBody = {
        component: 'digits',
        state: 'idle',
        running: { component: 'digits', version: '1.1.0', digest: 'ab'.repeat(32) },
        previous: null,
        updatingTo: null,
        assignmentId: 1,
        progress: null,
        outcome: null,
        trouble: null,
        conditions: codes.map((code) => ({ code, count: seq, since: 1, detail: `${code} seen` })),
        directorVersion: 1,
      };
      const batch = batchOf([{ seq, at: 1, kind: 'update', body }]);
      await store.telemetry.insertBatches([{ device: id, batch }], NOW);
    };
    const events = async (): Promise<[string, number][]> =>
      (await store.security.page({ source: id }, ALL))
        .filter(({ code }) => code === 'model_unhealthy')
        .map(({ detail, count }): [string, number] => [detail, count])
        .sort();
    await report();
    await report('crashes');
    await report('crashes', 'memory');
    await report('crashes', 'memory');
    expect(await events()).toEqual([
      ['digits 1.1.0: crashes: crashes seen', 1],
      ['digits 1.1.0: memory: memory seen', 1],
    ]);
    await report();
    await report('memory');
    expect((await events())[1]?.[1]).toBe(2);
  });
});
