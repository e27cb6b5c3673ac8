// The store's promises to the conductor and the director, on real SQLite: one transaction or
// nothing, revisions, assignment ids that only rise, one active rollout a component; and the limits
// of what is kept.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Store } from '../../../server/store/store.js';
import { isOnPostgres, openTestStore } from '../../support/test-store.js';
import type { AssignmentChange, MemberRow, RolloutRow } from '../../../server/interfaces.js';
import { nextVersion } from '../../../shared/trust/version-floor.js';
import { limits } from '../../../shared/base/limits.js';
import { isFault } from '../../../shared/base/fault-codes.js';
import { asFault } from '../../../server/http/errors.js';
import { by } from '../../support/audit-actions.js';
import { deviceRow } from '../../support/device-rows.js';
import { sql } from 'kysely';
import { emptySilence } from '../../../shared/statistics/silence-test.js';
import { defaultTrialPolicy } from '../../../shared/statistics/trial-verdict.js';
import { batchOf, idleUpdate, newDevice, type TestDevice } from '../../support/fleet-server.js';

const NOW = 1_800_000_000_000;
const REF = { component: 'digits', version: '1.0.0', digest: 'ab'.repeat(32) };
let folder: string;
let store: Store;
let devices: TestDevice[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'linnet-store-'));
  store = await openTestStore(join(folder, 'fleet.sqlite'));
  devices = [newDevice('a'), newDevice('b')];
  for (const { id, key, name } of devices) {
    await store.devices.enrol(
      id,
      {
        publicKey: key.publicKey,
        name,
        hardware: 'sim',
        components: ['digits'],
        signature: 'not checked here',
      },
      null,
      NOW,
    );
    await store.devices.approve(id, by('anna'), NOW);
  }
});
afterEach(async () => {
  await store.close();
  await rm(folder, { recursive: true, force: true });
});

const rollout = (id: string, state: RolloutRow['state'] = 'draft'): RolloutRow => ({
  id,
  release: REF,
  state,
  wave: 0,
  reasons: ['made'],
  createdAt: NOW,
  createdBy: 'me',
  since: NOW,
  selector: {},
  approved: false,
  answeredAt: null,
  asked: false,
  undo: false,
  silence: null,
  pool: null,
  goAt: null,
  trace: null,
  arms: null,
  revision: 0,
  policy: {
    waves: [{ name: 'all', percent: 100, soakSeconds: 0, approval: false }],
    trial: defaultTrialPolicy,
    acceptableFailurePermille: 50,
    alarmingFailurePermille: 300,
    falseAlarmPermille: 50,
    startWindow: 3,
    silentAfterSeconds: 60,
    deviceDeadlineSeconds: 600,
    autoRevert: true,
  },
});
const member = (id: string, device: string): MemberRow => ({
  rollout: id,
  device,
  name: device,
  group: 'default',
  hardware: 'sim',
  site: 'default',
  wave: 0,
  rank: 0,
  state: 'waiting',
  since: NOW,
  reasons: '',
  previous: null,
  mayRun: false,
  assignmentId: null,
  assignedAt: null,
  proven: false,
  failed: false,
  silence: null,
});
const assignment = (
  id: string,
  device: string,
  release: AssignmentChange['release'] = REF,
): AssignmentChange => ({
  device,
  component: 'digits',
  release,
  rollback: false,
  activation: 'swap',
  rollout: id,
  trial: defaultTrialPolicy,
});
const deviceAt = (index: number): string => (devices[index] as TestDevice).id;

it('of_two_writers_the_one_with_the_older_revision_loses_and_writes_nothing', async () => {
  await store.rollouts.insertRollout(rollout('r1'), [member('r1', deviceAt(0))]);
  const other = await openTestStore(join(folder, 'fleet.sqlite'));
  const read = (await store.rollouts.rollout('r1')) as RolloutRow;
  const readByOther = (await other.rollouts.rollout('r1')) as RolloutRow;
  expect(
    await store.rollouts.commit(
      { rollout: { ...read, state: 'rolling' }, members: [], assignments: [] },
      NOW + 1,
    ),
  ).toBe(true);
  expect(
    await other.rollouts.commit(
      {
        rollout: { ...readByOther, state: 'dropped', reasons: ['lost'] },
        members: [{ ...member('r1', deviceAt(0)), state: 'failed' }],
        assignments: [assignment('r1', deviceAt(0))],
      },
      NOW + 2,
    ),
  ).toBe(false);
  expect(await store.rollouts.rollout('r1')).toMatchObject({
    state: 'rolling',
    revision: 1,
    reasons: ['made'],
  });
  expect((await store.rollouts.members('r1')).map((row) => row.state)).toEqual(['waiting']);
  expect(await store.assignments.assignments(deviceAt(0))).toEqual({
    revision: 0,
    assignments: [],
  });
  await other.close();
});

it('a_commit_that_breaks_in_the_middle_leaves_nothing', async () => {
  await store.rollouts.insertRollout(rollout('r1'), [member('r1', deviceAt(0))]);
  const read = (await store.rollouts.rollout('r1')) as RolloutRow;
  await expect(
    store.rollouts.commit(
      {
        rollout: { ...read, state: 'rolling' },
        members: [],
        assignments: [assignment('r1', deviceAt(0)), assignment('r1', 'dev-unknown')],
      },
      NOW,
    ),
  ).rejects.toThrow(/foreign key/i);
  expect(await store.rollouts.rollout('r1')).toMatchObject({ state: 'draft', revision: 0 });
  expect(await store.assignments.assignments(deviceAt(0))).toEqual({
    revision: 0,
    assignments: [],
  });
});

it('assignment_ids_only_rise_across_withdrawals_and_the_revision_with_each', async () => {
  await store.rollouts.insertRollout(
    rollout('r1'),
    devices.map(({ id }) => member('r1', id)),
  );
  const seen: unknown[] = [];
  const HOUR = 3_600_000;
  for (const [release, at] of [
    [REF, NOW + 5],
    [null, NOW + 5],
    [{ ...REF, version: '1.1.0' }, NOW + 5],
    // So that a server that was restored from an hour ago goes on above what devices saw.
    [{ ...REF, version: '1.2.0' }, NOW + HOUR],
  ] as const) {
    const read = (await store.rollouts.rollout('r1')) as RolloutRow;
    expect(
      await store.rollouts.commit(
        {
          rollout: { ...read, state: 'rolling' },
          members: [{ ...member('r1', deviceAt(0)), state: 'taken' }],
          assignments: [assignment('r1', deviceAt(0), release)],
        },
        at,
      ),
    ).toBe(true);
    const { revision, assignments } = await store.assignments.assignments(deviceAt(0));
    seen.push([revision, assignments.map((row) => [row.assignmentId, row.release?.version])]);
  }
  expect(seen).toEqual([
    [1, [[nextVersion(0, NOW), '1.0.0']]],
    [2, []],
    [3, [[nextVersion(0, NOW) + 2, '1.1.0']]],
    [4, [[nextVersion(0, NOW) + 3600, '1.2.0']]],
  ]);
  expect(
    (await store.rollouts.members('r1'))
      .map((row) => [row.device === deviceAt(0), row.assignmentId, row.assignedAt])
      .sort(),
  ).toEqual([
    [false, null, null],
    [true, nextVersion(0, NOW) + 3600, NOW + HOUR],
  ]);
  expect((await store.assignments.assignments(deviceAt(1))).revision).toBe(0);
});

it('the_facts_of_a_device_name_its_standing_assignment', async () => {
  await store.rollouts.insertRollout(rollout('r1'), []);
  const standing = async (): Promise<unknown> =>
    (await store.rollouts.facts('digits', [deviceAt(0)])).get(deviceAt(0))?.standing;
  expect(await standing()).toBeNull();
  await store.devices.revoke(deviceAt(1), by('anna'), NOW);
  const facts = await store.rollouts.facts(
    'digits',
    devices.map(({ id }) => id),
  );
  expect(devices.map(({ id }) => facts.get(id)?.status)).toEqual(['enrolled', 'revoked']);
  for (const release of [REF, null]) {
    const read = (await store.rollouts.rollout('r1')) as RolloutRow;
    const assignments = [{ ...assignment('r1', deviceAt(0), release), rollback: release !== null }];
    await store.rollouts.commit({ rollout: read, members: [], assignments }, NOW);
    expect(await standing()).toEqual({ release, rollback: release !== null });
  }
});

it('a_second_active_rollout_of_a_component_is_not_written', async () => {
  for (const id of ['r1', 'r2']) await store.rollouts.insertRollout(rollout(id), []);
  const start = async (id: string): Promise<boolean> =>
    store.rollouts.commit(
      {
        rollout: { ...((await store.rollouts.rollout(id)) as RolloutRow), state: 'rolling' },
        members: [],
        assignments: [],
      },
      NOW,
    );
  expect([await start('r1'), await start('r2')]).toEqual([true, false]);
  expect((await store.rollouts.active()).map((row) => row.id)).toEqual(['r1']);
});

it('history_grows_only_when_state_wave_or_reasons_change', async () => {
  await store.rollouts.insertRollout(rollout('r1'), []);
  const write = async (change: Partial<RolloutRow>): Promise<unknown> =>
    store.rollouts.commit(
      {
        rollout: { ...((await store.rollouts.rollout('r1')) as RolloutRow), ...change },
        members: [],
        assignments: [],
      },
      NOW,
    );
  await write({ state: 'rolling' });
  await write({ approved: true });
  await write({ silence: { state: emptySilence(), slotAt: NOW, eventAt: NOW } });
  await write({ reasons: ['soaking'] });
  expect((await store.rollouts.history('r1')).map((row) => [row.state, row.reasons])).toEqual([
    ['draft', ['made']],
    ['rolling', ['made']],
    ['rolling', ['soaking']],
  ]);
});

it('director_documents_come_back_byte_for_byte', async () => {
  const documents = {
    revision: 4,
    targetsVersion: 3,
    snapshotVersion: 2,
    timestampVersion: 1,
    expiresAt: NOW,
    targets: new Uint8Array([0, 255]),
    snapshot: new Uint8Array([1]),
    timestamp: new Uint8Array([2]),
  };
  expect(await store.assignments.directorDocuments(deviceAt(0))).toBeNull();
  const save = (revision: number, before: number | null) =>
    store.assignments.saveDirectorDocuments(deviceAt(0), { ...documents, revision }, before);
  expect(await save(1, null)).toBe(true);
  // Another server signed meanwhile: its documents stay.
  expect(await save(2, null)).toBe(false);
  expect(await save(3, 7)).toBe(false);
  expect(await save(4, 1)).toBe(true);
  expect(await store.assignments.directorDocuments(deviceAt(0))).toEqual(documents);
});

it.skipIf(isOnPostgres())(
  'a_full_disk_in_the_middle_of_a_transaction_is_reported_as_such',
  async () => {
    const pages = await sql<{ page_count: number }>`pragma page_count`.execute(store.db);
    await sql
      .raw(`pragma max_page_count = ${(pages.rows[0]?.page_count ?? 0) + 2}`)
      .execute(store.db);
    // One row is one write: there SQLite takes the whole transaction back by itself, and a ROLLBACK
    // after it is refused.
    const large = { ...rollout('r1'), reasons: ['y'.repeat(50_000)] };
    const fault = asFault(
      await store.rollouts.insertRollout(large, []).then(
        () => 'stored',
        (error: unknown) => error,
      ),
    );
    expect([fault.code, fault.entry.http]).toEqual(['disk_full', 507]);
    await sql.raw('pragma max_page_count = 100000').execute(store.db);
    await store.rollouts.insertRollout(large, []);
    expect((await store.rollouts.page({ limit: 10, after: null })).map((row) => row.id)).toEqual([
      'r1',
    ]);
  },
);

it('the_oldest_that_waits_for_approval_makes_room_and_a_claim_needs_none', async () => {
  const count = limits.pendingDevicesMaxCount;
  const values = Array.from({ length: count }, (_, n) =>
    deviceRow(n, {
      ...{ id: `dev-w${n}`, name: `w${n}`, status: 'pending', group_name: 'default' },
      ...{ first_seen_at: NOW + n, enrolled_at: null, last_seen_at: null },
    }),
  );
  for (let at = 0; at < count; at += 500)
    await store.db
      .insertInto('devices')
      .values(values.slice(at, at + 500))
      .execute();
  const enrol = async (name: string, claim: string | null): Promise<string> => {
    const { id, key } = newDevice(name);
    const asked = {
      publicKey: key.publicKey,
      name,
      hardware: 'sim',
      components: ['digits'],
      signature: 'not checked here',
    };
    return (await store.devices.enrol(id, asked, claim, NOW + count)).status;
  };
  const pending = async (): Promise<string[]> => {
    const rows = await store.db
      .selectFrom('devices')
      .select('id')
      .where('status', '=', 'pending')
      .orderBy('first_seen_at')
      .execute();
    return rows.map((row) => row.id);
  };
  await store.devices.addClaim(
    { hash: 'hash', group: 'canary', uses: 1, expiresAt: NOW * 2, createdBy: 'me' },
    by('me'),
    NOW,
  );
  expect(await enrol('claims', 'hash')).toBe('enrolled');
  expect([(await pending()).length, (await pending())[0]]).toEqual([count, 'dev-w0']);
  expect(await enrol('asks', null)).toBe('pending');
  expect([(await pending()).length, (await pending())[0]]).toEqual([count, 'dev-w1']);
});

it('facts_of_components_that_the_device_did_not_enrol_with_are_ignored', async () => {
  const records = ['digits', 'other', 'third'].map((component, n) => ({
    seq: n + 1,
    at: 1,
    kind: 'update' as const,
    body: idleUpdate({ component }),
  }));
  await store.telemetry.insertBatches([{ device: deviceAt(0), batch: batchOf(records) }], NOW);
  const known = (await store.telemetry.latest([deviceAt(0)])).get(deviceAt(0));
  expect(known?.updates.map(({ component }) => component)).toEqual(['digits']);
  // The raw records are kept as they came.
  expect(await store.telemetry.records(deviceAt(0), 10, null)).toHaveLength(3);
});

it('a_file_that_is_no_database_is_a_fault', async () => {
  const { writeFile } = await import('node:fs/promises');
  await writeFile(
    join(folder, 'junk.sqlite'),
    'this is not a database, and long enough to be looked at'.repeat(40),
  );
  await expect(Store.open(join(folder, 'junk.sqlite'))).rejects.toSatisfy((error) =>
    isFault(error, 'disk_failed'),
  );
});
