// The audit chain: what it finds, and that a change and its entry are one transaction.
import { sql } from 'kysely';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Store } from '../../../server/store/store.js';
import { breakInsertsInto, openTestStore } from '../../support/test-store.js';
import { limits } from '../../../shared/base/limits.js';
import { by } from '../../support/audit-actions.js';
import { newDevice } from '../../support/fleet-server.js';
import { rollout as rowOf } from '../../support/rollout-rows.js';

const NOW = 1_800_000_000_000;
let store: Store;
beforeEach(async () => {
  store = await openTestStore();
  return () => store.close();
});

const run = (statement: string): Promise<unknown> => sql.raw(statement).execute(store.db);
const brokenAt = async (): Promise<number | null> => (await store.audit.verify()).brokenAt;
const actions = async (): Promise<string[]> =>
  (await store.audit.page({ limit: 100, after: null })).map(({ action }) => action);

describe('the chain', () => {
  beforeEach(async () => {
    for (const action of ['a', 'b', 'c'])
      await store.audit.append({ ...by('anna', action), trace: 'ab'.repeat(16) }, NOW);
  });

  it('a_whole_chain_verifies_to_its_last_entry', async () => {
    const head = await store.audit.verify();
    expect([head.entries, head.brokenAt]).toEqual([3, null]);
    expect(head.hash).toBe((await store.audit.find(3))?.hash);
    expect(await store.audit.find(4)).toBeNull();
  });

  it('an_empty_log_is_whole', async () => {
    const empty = await openTestStore();
    expect(await empty.audit.verify()).toEqual({
      entries: 0,
      hash: '0'.repeat(64),
      brokenAt: null,
    });
    await empty.close();
  });

  it('every_changed_column_breaks_the_chain_at_its_entry', async () => {
    for (const column of ['actor', 'action', 'subject', 'detail', 'trace']) {
      await run(`update audit set ${column} = ${column} || '!' where seq = 2`);
      expect([column, await brokenAt()]).toEqual([column, 2]);
      await run(`update audit set ${column} = rtrim(${column}, '!') where seq = 2`);
    }
    await run('update audit set at = at + 1 where seq = 2');
    expect(await brokenAt()).toBe(2);
  });

  it('an_entry_removed_from_the_middle_is_found', async () => {
    await run('delete from audit where seq = 2');
    expect(await brokenAt()).toBe(2);
  });

  it('entries_cut_off_at_the_end_are_found', async () => {
    await run('delete from audit where seq = 3');
    expect(await store.audit.verify()).toMatchObject({ entries: 2, brokenAt: 3 });
    await run('delete from audit');
    expect(await store.audit.verify()).toMatchObject({ entries: 0, brokenAt: 1 });
  });

  it('a_head_that_is_not_the_hash_of_its_entry_is_found', async () => {
    await run(`update audit_head set hash = '${'1'.repeat(64)}'`);
    expect(await brokenAt()).toBe(3);
  });

  it('a_list_cuts_details_and_pages_by_seq', async () => {
    await store.audit.append({ ...by('anna'), detail: 'z'.repeat(5000) }, NOW);
    const [row] = await store.audit.page({ limit: 1, after: null });
    expect([row?.seq, row?.detail.length]).toEqual([4, limits.summaryDetailMaxChars]);
    expect((await store.audit.find(4))?.detail.length).toBe(limits.auditDetailMaxChars);
    const next = await store.audit.page({ limit: 2, after: [NOW, 4] });
    expect(next.map(({ seq }) => seq)).toEqual([3, 2]);
    expect(await brokenAt()).toBeNull();
  });
});

const rollout = rowOf({ id: 'ro-1', state: 'draft', createdAt: NOW, since: NOW, revision: 0 });

describe('a change and its entry', () => {
  const device = newDevice('cam');
  beforeEach(async () => {
    const request = {
      publicKey: device.key.publicKey,
      name: 'cam',
      hardware: 'sim',
      components: ['digits'],
      signature: 'not checked here',
    };
    await store.devices.enrol(device.id, request, null, NOW);
  });

  /** Every change that carries an entry, and what shows whether it happened. */
  const changes: readonly [string, () => Promise<unknown>, () => Promise<unknown>][] = [
    [
      'device.approve',
      () => store.devices.approve(device.id, by('anna', 'device.approve'), NOW),
      async () => (await store.devices.get(device.id))?.status,
    ],
    [
      'device.revoke',
      () => store.devices.revoke(device.id, by('anna', 'device.revoke'), NOW),
      async () => (await store.devices.get(device.id))?.status,
    ],
    [
      'device.change',
      () => store.devices.change(device.id, { group: 'x' }, by('anna', 'device.change'), NOW),
      async () => (await store.devices.get(device.id))?.group,
    ],
    [
      'claim.create',
      () =>
        store.devices.addClaim(
          { hash: 'h', group: 'x', uses: 1, expiresAt: NOW + 1, createdBy: 'anna' },
          by('anna', 'claim.create'),
          NOW,
        ),
      () => store.db.selectFrom('claims').selectAll().execute(),
    ],
    [
      'token.create',
      () =>
        store.tokens.add({ hash: 'h', name: 'n', role: 'admin' }, by('anna', 'token.create'), NOW),
      () => store.tokens.hasAdmin(),
    ],
    [
      'rollout.create',
      () => store.rollouts.insertRollout(rollout, [], [by('anna', 'rollout.create')]),
      () => store.rollouts.rollout('ro-1'),
    ],
  ];

  it.each(changes)('%s_is_committed_with_its_entry_or_not_at_all', async (action, change, seen) => {
    const before = await seen();
    const repair = await breakInsertsInto(store, 'audit', 'audit is full');
    await expect(change()).rejects.toThrow('audit is full');
    expect(await seen()).toEqual(before);
    expect(await actions()).toEqual([]);
    await repair();
    await change();
    expect(await seen()).not.toEqual(before);
    expect(await actions()).toEqual([action]);
  });

  it('a_rollout_command_is_committed_with_its_entry_or_not_at_all', async () => {
    await store.rollouts.insertRollout(rollout, [], []);
    const start = () =>
      store.rollouts.commit(
        {
          rollout: { ...rollout, state: 'rolling' },
          members: [],
          assignments: [],
          audit: [by('anna', 'rollout.start')],
        },
        NOW,
      );
    const repair = await breakInsertsInto(store, 'audit', 'audit is full');
    await expect(start()).rejects.toThrow('audit is full');
    expect((await store.rollouts.rollout('ro-1'))?.state).toBe('draft');
    await repair();
    expect(await start()).toBe(true);
    // The revision has moved on: nothing is written, and no entry either.
    expect(await start()).toBe(false);
    expect(await actions()).toEqual(['rollout.start']);
  });

  it('a_refused_change_leaves_no_entry_of_it', async () => {
    await store.devices.revoke(device.id, by('anna', 'device.revoke'), NOW);
    await expect(store.devices.approve(device.id, by('anna'), NOW)).rejects.toThrow('revoked');
    await expect(
      store.tokens.revoke({ name: 'nobody', isForced: false }, by('anna'), NOW),
    ).rejects.toThrow('nobody');
    await expect(store.devices.change('dev-none', {}, by('anna'), NOW)).rejects.toThrow('dev-none');
    expect(await actions()).toEqual(['device.revoke']);
  });
});
