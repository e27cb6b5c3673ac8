// The ingest without a transport: what it acknowledges, what it refuses, what it drops when too
// much waits, and which of these excuse the silence of other devices. Over 400 lines because all
// tests share one ingest.
import { beforeEach, describe, expect, test } from 'vitest';
import { Ingest } from '../../../server/ingest/ingest.js';
import type {
  SecurityEvent,
  SecurityEventSink,
  SecurityReport,
  TelemetryStore,
} from '../../../server/interfaces.js';
import { SecurityEventBus } from '../../../server/security-events/bus.js';
import type { Store } from '../../../server/store/store.js';
import { isShortOnPostgres, openTestStore } from '../../support/test-store.js';
import { limits } from '../../../shared/base/limits.js';
import { silentLog, type Clock, type Log } from '../../../shared/base/interfaces.js';
import type { TelemetryAck, TelemetryBatch } from '../../../shared/protocol/telemetry.js';
import { realClock } from '../../../shared/platform/clock.js';
import { by } from '../../support/audit-actions.js';
import { batchOf, idleUpdate, newDevice, type TestDevice } from '../../support/fleet-server.js';

const STORAGE_FAULT = new Error('the disk is full');

let store: Store;
let ingest: Ingest;
let acks: string[];
let lost: number;
let reports: SecurityReport[];
let security: SecurityEventSink;

function make(
  telemetry: Pick<TelemetryStore, 'insertBatches'> = store.telemetry,
  log: Log = silentLog,
  clock: Clock = realClock,
): Ingest {
  return new Ingest({
    devices: store.devices,
    telemetry: telemetry as TelemetryStore,
    assignments: store.assignments,
    security,
    clock,
    log,
    isStorageFault: (error) => error === STORAGE_FAULT,
    onBatchLost: () => (lost += 1),
  });
}

beforeEach(async () => {
  store = await openTestStore();
  acks = [];
  lost = 0;
  reports = [];
  security = {
    report: (report) => void reports.push(report),
    record: (report) => {
      reports.push(report);
      return Promise.resolve();
    },
    flush: () => Promise.resolve(),
  };
  ingest = make();
});

async function pending(name: string): Promise<TestDevice> {
  const device = newDevice(name);
  const asked = {
    publicKey: device.key.publicKey,
    name,
    hardware: 'sim',
    components: ['digits'],
    signature: 'not checked here',
  };
  await store.devices.enrol(device.id, asked, null, 1);
  return device;
}

async function known(name: string): Promise<TestDevice> {
  const device = await pending(name);
  await store.devices.approve(device.id, by('anna'), 1);
  return device;
}

const oneRecord = (size = 1): TelemetryBatch => {
  const body = { code: 'x', detail: 'y'.repeat(size) };
  return batchOf([{ seq: 1, at: 1, kind: 'security', body }]);
};
const encoded = (batch: object): Buffer => Buffer.from(JSON.stringify(batch));

const send = (device: TestDevice): void =>
  void ingest.ingest(device.id, encoded(oneRecord())).then((ack) => {
    if (ack !== null) acks.push(`${device.id} ${ack.result}`);
  });

describe('a batch', () => {
  test('stored_batch_is_acknowledged_by_its_id', async () => {
    const device = await known('speaks');
    const batch = oneRecord();
    const expected: TelemetryAck = { batch: batch.batch, result: 'stored' };
    expect(await ingest.ingest(device.id, encoded(batch))).toEqual(expected);
    expect((await store.telemetry.records(device.id, 10, null)).map((row) => row.seq)).toEqual([1]);
  });

  test('stored_batch_is_logged_with_its_last_record_and_the_time_since_its_arrival', async () => {
    const device = await known('logs');
    const lines: object[] = [];
    const debug = (fields: object, message: string): void =>
      void lines.push({ ...fields, message });
    const batch = oneRecord();
    await make(store.telemetry, { ...silentLog, debug }).ingest(device.id, encoded(batch));
    const message = 'stored a telemetry batch';
    const afterMs = expect.any(Number) as number;
    expect(lines).toEqual([{ device: device.id, batch: batch.batch, seq: 1, afterMs, message }]);
  });

  test('same_batch_twice_is_acknowledged_twice_and_stored_once', async () => {
    const device = await known('repeats');
    const batch = oneRecord();
    for (let times = 0; times < 2; times++)
      expect(await ingest.ingest(device.id, encoded(batch))).toMatchObject({ result: 'stored' });
    expect((await store.telemetry.records(device.id, 10, null)).length).toBe(1);
  });

  test('undecodable_batch_is_recorded_and_refused_by_its_id', async () => {
    const device = await known('garbles');
    const { batch } = oneRecord();
    const refusal = await ingest.ingest(device.id, encoded({ batch, records: 'none' }));
    expect(refusal).toMatchObject({ batch, result: 'refused' });
    expect(refusal?.detail).toContain('records');
    expect(reports).toMatchObject([
      { source: { kind: 'device', id: device.id }, code: 'message_undecodable' },
    ]);
    expect(reports[0]?.detail).toBe(refusal?.detail);
  });

  test('undecodable_batch_without_an_id_is_recorded_and_not_acknowledged', async () => {
    const device = await known('noise');
    for (const bytes of [Buffer.from('{{{'), Buffer.from([0xff, 0xfe]), encoded({ batch: 'x' })])
      expect(await ingest.ingest(device.id, bytes)).toBeNull();
    expect(reports.map(({ code }) => code)).toEqual(Array(3).fill('message_undecodable'));
    expect(lost).toBe(0);
  });

  test('telemetry_of_a_device_that_is_not_enrolled_is_ignored_and_reported', async () => {
    const [waits, revoked] = [await pending('waits'), await known('revoked')];
    await store.devices.revoke(revoked.id, by('anna'), 2);
    for (const [device, status] of [
      [newDevice('stranger'), 'unknown'],
      [waits, 'pending'],
      [revoked, 'revoked'],
    ] as const) {
      reports.length = 0;
      expect(await ingest.ingest(device.id, encoded(oneRecord()))).toBeNull();
      expect(reports).toEqual([
        {
          source: { kind: 'server' },
          code: 'auth_denied',
          detail: `ignored telemetry of ${device.id}, which is ${status}`,
        },
      ]);
      expect(await store.telemetry.records(device.id, 10, null)).toEqual([]);
    }
  });
});

describe('a database that cannot store', () => {
  const failing = (error: Error): Ingest => make({ insertBatches: () => Promise.reject(error) });

  test('storage_fault_is_not_acknowledged_and_excuses_silence', async () => {
    const device = await known('unlucky');
    ingest = failing(STORAGE_FAULT);
    expect(await ingest.ingest(device.id, encoded(oneRecord()))).toBeNull();
    expect(lost).toBe(1);
    await ingest.settled();
  });

  test('strange_batch_is_not_acknowledged_and_excuses_nobody', async () => {
    const device = await known('strange');
    ingest = failing(new Error('a bug met this batch'));
    expect(await ingest.ingest(device.id, encoded(oneRecord()))).toBeNull();
    expect(lost).toBe(0);
  });

  test('batches_after_a_failed_one_are_stored', async () => {
    const device = await known('goes-on');
    let calls = 0;
    ingest = make({
      insertBatches: (...args) => {
        calls += 1;
        return calls === 1 ? Promise.reject(STORAGE_FAULT) : store.telemetry.insertBatches(...args);
      },
    });
    expect(await ingest.ingest(device.id, encoded(oneRecord()))).toBeNull();
    expect(await ingest.ingest(device.id, encoded(oneRecord()))).toMatchObject({
      result: 'stored',
    });
  });
});

describe('a group', () => {
  const groups: number[] = [];
  const counting = (
    insertBatches: TelemetryStore['insertBatches'] = (...args) =>
      store.telemetry.insertBatches(...args),
  ): Ingest => {
    groups.length = 0;
    return make({
      insertBatches: (group, now) => {
        groups.push(group.length);
        return insertBatches(group, now);
      },
    });
  };
  const devicesOf = (count: number): Promise<TestDevice[]> =>
    Promise.all(Array.from({ length: count }, (_, n) => known(`g${n}`)));
  const seqsOf = async ({ id }: TestDevice): Promise<number[]> =>
    (await store.telemetry.records(id, 1000, null)).map(({ seq }) => seq);

  test('batches_of_many_devices_that_arrive_together_are_one_transaction', async () => {
    const devices = await devicesOf(20);
    ingest = counting();
    for (const device of devices) send(device);
    await ingest.settled();
    expect(groups).toEqual([20]);
    expect(acks).toEqual(devices.map(({ id }) => `${id} stored`));
    for (const device of devices) expect(await seqsOf(device)).toEqual([1]);
  });

  test('nothing_is_acknowledged_before_the_commit', async () => {
    const [one, two] = await devicesOf(2);
    let commit = (): void => {};
    const committed = new Promise<void>((resolve) => (commit = resolve));
    ingest = counting(async (...args) => {
      const results = await store.telemetry.insertBatches(...args);
      await committed;
      return results;
    });
    send(one!);
    send(two!);
    await expect.poll(() => groups).toEqual([2]);
    expect(acks).toEqual([]);
    commit();
    await ingest.settled();
    expect(acks).toHaveLength(2);
  });

  test('a_poisoned_batch_in_the_middle_loses_only_itself', async () => {
    const devices = await devicesOf(5);
    const poisoned = devices[2]!;
    ingest = counting((group, now) =>
      group.some(({ device }) => device === poisoned.id)
        ? Promise.reject(new Error('a bug met this batch'))
        : store.telemetry.insertBatches(group, now),
    );
    for (const device of devices) send(device);
    await ingest.settled();
    expect(groups).toEqual([5, 1, 1, 1, 1, 1]);
    const others = devices.filter((device) => device !== poisoned);
    expect(acks).toEqual(others.map(({ id }) => `${id} stored`));
    expect(lost).toBe(0);
  });

  test('undecodable_and_unknown_senders_in_a_group_lose_only_themselves', async () => {
    const [one, two] = await devicesOf(2);
    ingest = counting();
    send(one!);
    void ingest.ingest(one!.id, Buffer.from('{{{'));
    send(newDevice('stranger'));
    send(two!);
    await ingest.settled();
    expect(groups).toEqual([3]);
    expect(acks).toEqual([`${one!.id} stored`, `${two!.id} stored`]);
    expect(reports.map(({ code }) => code).sort()).toEqual(['auth_denied', 'message_undecodable']);
  });

  test('refusals_of_a_group_are_recorded_in_few_writes_however_many_they_are', async () => {
    const devices = await devicesOf(10);
    const writes: (readonly SecurityEvent[])[] = [];
    security = new SecurityEventBus({
      clock: realClock,
      log: silentLog,
      store: (events) => {
        writes.push(events);
        return Promise.resolve();
      },
    });
    ingest = counting();
    const { batch } = oneRecord();
    const garbage = encoded({ batch, records: 'none' });
    const count = limits.ingestWaitingPerDeviceMaxCount;
    const sent = devices.flatMap(({ id }) =>
      Array.from({ length: count }, () => ingest.ingest(id, garbage)),
    );
    for (const ack of await Promise.all(sent)) expect(ack).toMatchObject({ result: 'refused' });
    expect(writes.flat().reduce((sum, event) => sum + event.count, 0)).toBe(sent.length);
    expect(writes.length).toBe(1);
  });

  test('a_full_disk_fails_the_whole_group_once', async () => {
    const devices = await devicesOf(3);
    ingest = counting(() => Promise.reject(STORAGE_FAULT));
    for (const device of devices) send(device);
    await ingest.settled();
    expect([groups, acks, lost]).toEqual([[3], [], 3]);
  });

  test('one_batch_twice_in_a_group_is_acknowledged_twice_and_stored_once', async () => {
    const [device] = await devicesOf(1);
    ingest = counting();
    const batch = oneRecord();
    const answers = await Promise.all([1, 2].map(() => ingest.ingest(device!.id, encoded(batch))));
    expect(answers).toMatchObject([{ result: 'stored' }, { result: 'stored' }]);
    expect([groups, await seqsOf(device!)]).toEqual([[2], [1]]);
  });

  test('batches_of_one_device_keep_their_order', async () => {
    const [device] = await devicesOf(1);
    const versions = [1, 2].map((directorVersion) =>
      batchOf([
        { seq: directorVersion, at: 1, kind: 'update', body: idleUpdate({ directorVersion }) },
      ]),
    );
    ingest = counting();
    await Promise.all(versions.map((batch) => ingest.ingest(device!.id, encoded(batch))));
    expect([groups, await seqsOf(device!)]).toEqual([[2], [2, 1]]);
    const latest = (await store.telemetry.latest([device!.id])).get(device!.id);
    expect(latest?.updates).toMatchObject([{ directorVersion: 2 }]);
  });

  test.skipIf(isShortOnPostgres)('a_group_is_limited_in_batches_and_in_records', async () => {
    const devices = await devicesOf(limits.ingestGroupMaxCount + 10);
    ingest = counting();
    for (const device of devices) send(device);
    await ingest.settled();
    expect(groups).toEqual([limits.ingestGroupMaxCount, 10]);
    const body = { code: 'x', detail: '' };
    const full = (): TelemetryBatch =>
      batchOf(
        Array.from({ length: limits.batchMaxCount }, (_, n) => ({
          seq: n + 1,
          at: 2,
          kind: 'security',
          body,
        })),
      );
    ingest = counting();
    for (const { id } of devices.slice(0, 7)) void ingest.ingest(id, encoded(full()));
    await ingest.settled();
    expect(groups).toEqual([5, 2]); // 1,000 records, then the rest.
  });
});

describe('the queue', () => {
  test('a_device_that_floods_keeps_only_its_own_messages_out', async () => {
    const [loud, quiet] = [await known('loud'), await known('quiet')];
    for (let n = 0; n < 1000; n++) send(loud);
    send(quiet);
    await ingest.settled();
    expect(acks).toEqual([
      ...Array.from({ length: limits.ingestWaitingPerDeviceMaxCount }, () => `${loud.id} stored`),
      `${quiet.id} stored`,
    ]);
    expect(lost).toBe(0);
    acks.length = 0;
    send(loud); // What was stored makes room.
    await ingest.settled();
    expect(acks).toEqual([`${loud.id} stored`]);
  });

  test('a_device_that_floods_does_not_decide_how_long_the_log_is', async () => {
    const [loud, strange] = [await known('loud'), await known('strange')];
    const warnings: unknown[] = [];
    const warn = ({ device }: { device: string }): void => void warnings.push(device);
    let now = 0;
    const clock = { ...realClock, monotonic: () => now };
    ingest = make(store.telemetry, { ...silentLog, warn }, clock);
    const flood = async (): Promise<void> => {
      for (let n = 0; n < 100; n++) send(loud);
      for (let n = 0; n < 3; n++) await ingest.ingest(strange.id, Buffer.from('{'));
      await ingest.settled();
    };
    await flood();
    await flood();
    expect(warnings).toEqual([loud.id, strange.id]);
    now = limits.ingestWarningMs;
    await flood();
    expect(warnings).toEqual([loud.id, strange.id, loud.id, strange.id]);
  });

  test('waiting_bytes_are_limited_and_a_drop_for_them_excuses_silence', async () => {
    const large = Buffer.alloc(limits.mqttPayloadMaxBytes);
    const fits = limits.ingestQueueMaxBytes / limits.mqttPayloadMaxBytes;
    for (let n = 0; n < fits; n++) void ingest.ingest(`nobody-${n}`, large);
    expect(lost).toBe(0);
    send(newDevice('late'));
    expect(lost).toBe(1);
    await ingest.settled();
    send(newDevice('later')); // What was worked off makes room.
    expect(lost).toBe(1);
    await ingest.settled();
  });

  test.skipIf(isShortOnPostgres)(
    'waiting_batches_are_limited_and_a_drop_for_them_excuses_silence',
    async () => {
      const tiny = Buffer.alloc(1);
      for (let n = 0; n < limits.ingestQueueMaxCount; n++) void ingest.ingest(`nobody-${n}`, tiny);
      expect(lost).toBe(0);
      void ingest.ingest('one-more', tiny);
      expect(lost).toBe(1);
      await ingest.settled();
    },
  );
});

describe('a device that refuses the metadata of a restored server', () => {
  const SEEN = 400_000_000;
  const refusal = (directorVersion: number): TelemetryBatch =>
    batchOf([
      {
        seq: 1,
        at: directorVersion,
        kind: 'update',
        body: idleUpdate({
          trouble: { code: 'metadata_rollback', detail: 'older than what was trusted', since: 1 },
          directorVersion,
        }),
      },
    ]);

  test('its_documents_go_on_above_what_it_has_seen', async () => {
    const device = await known('restored');
    const bytes = new Uint8Array();
    const documents = { targets: bytes, snapshot: bytes, timestamp: bytes };
    const versions = { targetsVersion: 5, snapshotVersion: 5, timestampVersion: 5 };
    const row = { revision: 0, expiresAt: 2 ** 50, ...versions, ...documents };
    await store.assignments.saveDirectorDocuments(device.id, row, null);
    await ingest.ingest(device.id, encoded(refusal(4))); // The server is ahead: nothing to do.
    expect(await store.assignments.directorDocuments(device.id)).toMatchObject(versions);
    await ingest.ingest(device.id, encoded(refusal(SEEN)));
    expect(await store.assignments.directorDocuments(device.id)).toMatchObject({
      targetsVersion: SEEN,
      snapshotVersion: SEEN,
      timestampVersion: SEEN,
      expiresAt: 0, // The next request signs anew, above it.
    });
  });
});
