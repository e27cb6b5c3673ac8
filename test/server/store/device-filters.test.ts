// Filters of the list of devices and of the audit log, and what the page of a device reads, on the
// database itself.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { limits } from '../../../shared/base/limits.js';
import type { DeviceFilter, DeviceKey } from '../../../server/interfaces.js';
import type { Store } from '../../../server/store/store.js';
import type { TelemetryRecord } from '../../../shared/protocol/telemetry.js';
import { ALL, idleUpdate } from '../../support/fleet-server.js';
import { openTestStore } from '../../support/test-store.js';

let store: Store;
beforeEach(async () => {
  store = await openTestStore();
});
afterEach(() => store.close());

const idOf = (n: number): string => `dev-${String(n).padStart(20, '0')}`;
const running = { component: 'digits', version: '1.0.0', digest: 'a'.repeat(64) };

async function add(n: number, more: { hardware?: string; seenAt?: number } = {}): Promise<void> {
  await store.db
    .insertInto('devices')
    .values({
      id: idOf(n),
      name: `line-${n}`,
      hardware: more.hardware ?? 'sim',
      components_json: '["digits","faces"]',
      public_key: 'c'.repeat(64),
      status: 'enrolled',
      group_name: n % 2 === 0 ? 'even' : 'odd',
      labels_json: '{}',
      first_seen_at: 1,
      assignment_revision: 0,
      instances_json: '[]',
      enrolled_at: 1,
      last_seen_at: more.seenAt ?? 1_000,
      pending_reason: null,
      cloned_at: null,
    })
    .execute();
}

let batches = 0;
async function report(n: number, ...records: Omit<TelemetryRecord, 'seq' | 'at'>[]): Promise<void> {
  batches += 1;
  await store.telemetry.insertBatches(
    [
      {
        device: idOf(n),
        batch: {
          format: 'linnet.telemetry/1',
          batch: String(batches).padStart(32, '0'),
          instance: '1'.repeat(32),
          records: records.map((record, at) => ({
            ...record,
            seq: batches * 10 + at,
            at: 1_000,
          })) as TelemetryRecord[],
        },
      },
    ],
    1_000,
  );
}

const names = async (filter: DeviceFilter): Promise<string[]> =>
  (await store.devices.page(filter, ALL)).map(({ name }) => name);

describe('a filter of devices', () => {
  beforeEach(async () => {
    await add(1, { hardware: 'pi' });
    await add(2, { seenAt: 10 });
    await add(3);
    await report(1, { kind: 'update', body: idleUpdate({ running }) });
    await report(3, {
      kind: 'update',
      body: idleUpdate({
        trouble: { code: 'disk_full', detail: 'no room', since: 1 },
        conditions: [{ code: 'crashes', count: 2, since: 1, detail: 'twice' }],
      }),
    });
    await store.db
      .updateTable('devices')
      .set({ cloned_at: 900 })
      .where('id', '=', idOf(3))
      .execute();
    await store.db
      .updateTable('devices')
      .set({ last_seen_at: 10 })
      .where('id', '=', idOf(2))
      .execute();
  });

  it('by_hardware_name_and_id_fits_exactly_these', async () => {
    expect(await names({ hardware: 'pi' })).toEqual(['line-1']);
    expect(await names({ search: 'line-' })).toEqual(['line-2', 'line-1', 'line-3']);
    expect(await names({ search: 'line-2' })).toEqual(['line-2']);
    expect(await names({ search: idOf(3) })).toEqual(['line-3']);
    expect(await names({ search: '%' })).toEqual([]);
    expect(await names({ search: 'line-', group: 'odd' })).toEqual(['line-1', 'line-3']);
  });

  it('by_label_fits_key_and_value_also_where_a_key_has_dots', async () => {
    await store.db
      .updateTable('devices')
      .set({ labels_json: '{"site.room":"a=1","rack":"7"}' })
      .where('id', '=', idOf(2))
      .execute();
    expect(await names({ label: { key: 'site.room', value: 'a=1' } })).toEqual(['line-2']);
    expect(await names({ label: { key: 'site.room' } })).toEqual(['line-2']);
    expect(await names({ label: { key: 'rack', value: '8' } })).toEqual([]);
    expect(await names({ label: { key: 'site' } })).toEqual([]);
  });

  it('by_what_runs_fits_component_and_version', async () => {
    expect(await names({ running: { component: 'digits', version: '1.0.0' } })).toEqual(['line-1']);
    expect(await names({ running: { component: 'digits', version: '1.0' } })).toEqual([]);
    expect(await names({ running: { component: 'other', version: '1.0.0' } })).toEqual([]);
  });

  it('by_the_state_of_an_update_and_by_nothing_that_runs_fits_the_reports', async () => {
    expect(await names({ update: 'idle' })).toEqual(['line-1', 'line-3']);
    expect(await names({ update: 'staged' })).toEqual([]);
    const nothing = { component: 'digits', version: null };
    expect(await names({ running: nothing })).toEqual(['line-3']);
    expect(await names({ running: nothing, update: 'idle' })).toEqual(['line-3']);
    await report(1, { kind: 'update', body: idleUpdate({ component: 'faces', state: 'staged' }) });
    expect(await names({ update: 'staged' })).toEqual(['line-1']);
    const digits = { component: 'digits', version: '1.0.0' };
    expect(await names({ running: digits, update: 'staged' })).toEqual([]);
  });

  it('by_what_needs_a_person_fits_each_kind', async () => {
    const since = { heardSince: 500, clonedSince: 500 };
    expect(await names({ attention: 'trouble', ...since })).toEqual(['line-3']);
    expect(await names({ attention: 'conditions', ...since })).toEqual(['line-3']);
    expect(await names({ attention: 'cloned', ...since })).toEqual(['line-3']);
    expect(await names({ attention: 'silent', ...since })).toEqual(['line-2']);
    const overview = await store.counts.overview(500, 500);
    expect(overview).toMatchObject({ trouble: 1, conditions: 1, cloned: 1, silent: 1 });
    expect(overview.hardware).toEqual([
      { hardware: 'pi', count: 1 },
      { hardware: 'sim', count: 2 },
    ]);
  });
});

describe('a search of a large fleet', () => {
  it('looks_at_a_bounded_number_of_devices_a_page_and_finds_the_last_one', async () => {
    const count = limits.listScanRowsCount + 5;
    const values = Array.from({ length: count }, (_, n) => n);
    for (let from = 0; from < count; from += 500)
      await store.db
        .insertInto('devices')
        .values(
          values.slice(from, from + 500).map((n) => ({
            id: idOf(n),
            name: n === count - 1 ? 'zz-last' : `a-${String(n).padStart(6, '0')}`,
            hardware: 'sim',
            components_json: '[]',
            public_key: 'c'.repeat(64),
            status: 'enrolled',
            group_name: 'all',
            labels_json: '{}',
            first_seen_at: 1,
            assignment_revision: 0,
            instances_json: '[]',
            enrolled_at: 1,
            last_seen_at: null,
            pending_reason: null,
            cloned_at: null,
          })),
        )
        .execute();
    const found: string[] = [];
    let after: DeviceKey | null = null;
    let pages = 0;
    do {
      const filter: DeviceFilter = { search: 'zz' };
      found.push(
        ...(await store.devices.page(filter, { limit: 100, after })).map(({ name }) => name),
      );
      after = await store.devices.scanned(filter, after);
      pages += 1;
    } while (after !== null);
    expect([found, pages]).toEqual([['zz-last'], 2]);
    expect(await store.devices.scanned({ group: 'all' }, null)).toBeNull();
  });
});

describe('the audit log', () => {
  it('is_filtered_by_token_action_and_subject', async () => {
    const entry = (actor: string, action: string, subject: string) =>
      store.audit.append({ actor, action, subject, detail: '', trace: null }, 1);
    await entry('ann', 'rollout.start', 'ro-1');
    await entry('bob', 'rollout.start', 'ro-2');
    await entry('ann', 'device.revoke', 'dev-1');
    const subjects = async (filter: object) =>
      (await store.audit.page(ALL, filter)).map(({ subject }) => subject);
    expect(await subjects({ actor: 'ann' })).toEqual(['dev-1', 'ro-1']);
    expect(await subjects({ action: 'rollout.start' })).toEqual(['ro-2', 'ro-1']);
    expect(await subjects({ actor: 'ann', subject: 'ro-1' })).toEqual(['ro-1']);
    expect(await subjects({})).toEqual(['dev-1', 'ro-2', 'ro-1']);
  });
});

describe('the history of a device', () => {
  it('has_what_it_served_report_by_report_and_its_certificates', async () => {
    await add(1);
    const body = (served: number) => ({
      release: running,
      seconds: 10,
      served,
      failed: 0,
      refused: 0,
      latencyMs: { count: 0, bins: [] },
      answers: null,
    });
    await report(1, { kind: 'inference', body: body(1) }, { kind: 'inference', body: body(2) });
    await report(1, { kind: 'inference', body: body(3) });
    const points = await store.history.inference(idOf(1), 2, null);
    expect(points.map((point) => point.body.served)).toEqual([3, 2]);
    const rest = await store.history.inference(idOf(1), 2, points.at(-1)!.id);
    expect(rest.map((point) => point.body.served)).toEqual([1]);
    await store.certificates.add(idOf(1), { pem: '', serial: 'ab', issuedAt: 1, expiresAt: 9 });
    expect(await store.history.certificates(idOf(1), 5)).toEqual([
      { serial: 'ab', issuedAt: 1, expiresAt: 9 },
    ]);
    expect(await store.history.rollouts(idOf(1), 5)).toEqual([]);
  });
});
