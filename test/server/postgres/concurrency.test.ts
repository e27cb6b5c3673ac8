// Two servers on one PostgreSQL, as two stores with connections of their own: what they do at the
// same time is done once, and in one order.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Store, type DatabaseTarget } from '../../../server/store/store.js';
import { tempFolder } from '../../support/temp-folders.js';
import { isOnPostgres, testTarget } from '../../support/test-store.js';
import type { TelemetryBatch } from '../../../shared/protocol/telemetry.js';
import { newDevice } from '../../support/fleet-server.js';

const NOW = 1_700_000_000_000;
const by = (subject: string) => ({
  actor: 'anna',
  action: 'test',
  subject,
  detail: '',
  trace: null,
});

let target: DatabaseTarget;
let a: Store;
let b: Store;

async function enrolled(name: string): Promise<string> {
  const { id, key } = newDevice(name);
  const request = { publicKey: key.publicKey, name, hardware: 'sim', components: ['digits'] };
  await a.devices.enrol(id, { ...request, signature: 'not checked here' }, null, NOW);
  await a.devices.approve(id, by(name), NOW);
  return id;
}

describe.runIf(isOnPostgres())('two_servers_on_one_postgresql', () => {
  beforeEach(async () => {
    target = await testTarget(tempFolder());
    [a, b] = await Promise.all([Store.open(target), Store.open(target)]);
  });
  afterEach(() => Promise.all([a.close(), b.close()]));

  it('audit_entries_of_both_are_one_chain', async () => {
    const all = Array.from({ length: 30 }, (_, index) =>
      (index % 2 === 0 ? a : b).audit.append(by(`entry-${index}`), NOW + index),
    );
    await Promise.all(all);
    expect(await b.audit.verify()).toMatchObject({ entries: 30, brokenAt: null });
  });

  it('one_claim_of_three_uses_enrols_three_devices', async () => {
    const claim = { hash: 'c', group: 'g', uses: 3, expiresAt: NOW + 1000, createdBy: 'anna' };
    await a.devices.addClaim(claim, by('claim'), NOW);
    const rows = await Promise.all(
      Array.from({ length: 8 }, (_, index) => {
        const { id, key, name } = newDevice(`claiming-${index}`);
        const request = { publicKey: key.publicKey, name, hardware: 'sim', components: ['digits'] };
        const store = index % 2 === 0 ? a : b;
        return store.devices.enrol(id, { ...request, signature: 'not checked' }, 'c', NOW);
      }),
    );
    expect(rows.filter(({ status }) => status === 'enrolled')).toHaveLength(3);
  });

  it('device_that_enrols_at_both_at_once_is_one_device', async () => {
    const { id, key, name } = newDevice('twice');
    const request = { publicKey: key.publicKey, name, hardware: 'sim', components: ['digits'] };
    const enrol = (store: Store) =>
      store.devices.enrol(id, { ...request, signature: 'not checked here' }, null, NOW);
    const rows = await Promise.all([enrol(a), enrol(b), enrol(a), enrol(b)]);
    expect(new Set(rows.map((row) => row.id))).toEqual(new Set([id]));
  });

  it('one_batch_that_arrives_at_both_is_stored_once', async () => {
    const device = await enrolled('sends-twice');
    const body = { code: 'auth_denied', detail: 'once' } as const;
    const records: TelemetryBatch['records'] = [{ seq: 1, at: NOW, kind: 'security', body }];
    const format = 'linnet.telemetry/1' as const;
    const batch: TelemetryBatch = { format, batch: 'b1', instance: 'i1', records };
    const stored = await Promise.all([
      a.telemetry.insertBatches([{ device, batch }], NOW),
      b.telemetry.insertBatches([{ device, batch }], NOW),
      b.telemetry.insertBatches([{ device, batch: { ...batch, batch: 'b2' } }], NOW),
    ]);
    expect(stored.flat().toSorted()).toEqual(['repeated', 'stored', 'stored']);
    expect(await a.telemetry.records(device, 10, null)).toHaveLength(1);
    expect(await a.security.page({}, { limit: 9, after: null })).toMatchObject([{ count: 1 }]);
  });

  it('of_two_that_sign_for_a_device_at_once_one_is_saved', async () => {
    const device = await enrolled('signed');
    const bytes = new Uint8Array([1]);
    const documents = {
      ...{ revision: 1, targetsVersion: 1, snapshotVersion: 1, timestampVersion: 1 },
      ...{ expiresAt: NOW, targets: bytes, snapshot: bytes, timestamp: bytes },
    };
    const save = (store: Store, before: number | null, version: number) =>
      store.assignments.saveDirectorDocuments(
        device,
        { ...documents, timestampVersion: version },
        before,
      );
    const first = await Promise.all([save(a, null, 5), save(b, null, 5)]);
    expect(first.toSorted()).toEqual([false, true]);
    const second = await Promise.all([save(a, 5, 6), save(b, 5, 6)]);
    expect(second.toSorted()).toEqual([false, true]);
  });

  it('several_that_start_at_once_on_an_empty_database_migrate_it_once', async () => {
    const empty = await testTarget(tempFolder(), { isEmpty: true });
    const stores = await Promise.all([1, 2, 3].map(() => Store.open(empty)));
    expect(await stores[2]?.audit.verify()).toMatchObject({ entries: 0, brokenAt: null });
    await Promise.all(stores.map((store) => store.close()));
  });

  it('zero_characters_that_a_device_reports_do_not_stop_its_events', async () => {
    const event = { source: { kind: 'anonymous', address: '::1' }, code: 'auth_denied' } as const;
    await a.security.add([{ ...event, detail: 'a\0b', count: 1, firstAt: NOW, lastAt: NOW }]);
    expect((await b.security.page({}, { limit: 1, after: null }))[0]?.detail).toBe('a\ufffdb');
  });

  it('number_beyond_2_53_in_the_database_is_an_error_and_not_rounded', async () => {
    await a.audit.append(by('large'), NOW);
    await a.db
      .updateTable('audit')
      .set((eb) => ({ at: eb.lit(2 ** 53) }))
      .execute();
    await expect(a.audit.find(1)).rejects.toThrow(/2\^53/);
  });
});
