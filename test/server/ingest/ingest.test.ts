// The ingest without a transport: what it acknowledges, what it refuses, what it drops when too
// much waits, and which of these excuse the silence of other devices.
import { beforeEach, describe, expect, test } from 'vitest';
import { Ingest } from '../../../server/ingest/ingest.js';
import type { SecurityReport, TelemetryStore } from '../../../server/interfaces.js';
import type { Store } from '../../../server/store/store.js';
import { openTestStore } from '../../support/test-store.js';
import { limits } from '../../../shared/base/limits.js';
import { silentLog, type Log } from '../../../shared/base/interfaces.js';
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

function make(
  telemetry: Pick<TelemetryStore, 'insertBatch'> = store.telemetry,
  log: Log = silentLog,
): Ingest {
  return new Ingest({
    devices: store.devices,
    telemetry: telemetry as TelemetryStore,
    assignments: store.assignments,
    security: {
      report: (report) => void reports.push(report),
      record: (report) => {
        reports.push(report);
        return Promise.resolve();
      },
      flush: () => Promise.resolve(),
    },
    clock: realClock,
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
  const failing = (error: Error): Ingest => make({ insertBatch: () => Promise.reject(error) });

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
      insertBatch: (...args) => {
        calls += 1;
        return calls === 1 ? Promise.reject(STORAGE_FAULT) : store.telemetry.insertBatch(...args);
      },
    });
    const [first, second] = [oneRecord(), oneRecord()].map((batch) =>
      ingest.ingest(device.id, encoded(batch)),
    );
    expect(await first).toBeNull();
    expect(await second).toMatchObject({ result: 'stored' });
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

  test('waiting_batches_are_limited_and_a_drop_for_them_excuses_silence', async () => {
    const tiny = Buffer.alloc(1);
    for (let n = 0; n < limits.ingestQueueMaxCount; n++) void ingest.ingest(`nobody-${n}`, tiny);
    expect(lost).toBe(0);
    void ingest.ingest('one-more', tiny);
    expect(lost).toBe(1);
    await ingest.settled();
  });
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
