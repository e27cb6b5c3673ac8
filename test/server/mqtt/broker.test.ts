// Devices on the real broker: who gets in, where they may speak and listen, and what becomes of
// what they say. Over 400 lines because all of it is tried on one running fleet server.
import { createConnection } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { limits } from '../../../shared/base/limits.js';
import {
  Device,
  DeviceDetail,
  TelemetryHourPage,
  TelemetryPage,
} from '../../../shared/protocol/operator-api.js';
import {
  topics,
  type InferenceBody,
  type TelemetryRecord,
} from '../../../shared/protocol/telemetry.js';
import { QuantileSketch } from '../../../shared/statistics/quantile-sketch.js';
import { emptyAnswers } from '../../../shared/statistics/trial-verdict.js';
import {
  securityEvents,
  batchOf,
  enrolled,
  idleUpdate,
  makeClaim,
  mqttOf,
  newDevice,
  post,
  enrolBody,
  startFleet,
  type MqttSession,
  type TestDevice,
  type TestFleet,
} from '../../support/fleet-server.js';

let fleet: TestFleet;
const sessions: MqttSession[] = [];
beforeAll(async () => {
  fleet = await startFleet();
});
afterAll(async () => {
  for (const { client } of sessions) await client.endAsync(true);
  await fleet.close();
});

async function session(
  device: TestDevice,
  options: Parameters<typeof mqttOf>[2] = {},
): Promise<MqttSession> {
  const made = await mqttOf(fleet, device, options);
  sessions.push(made);
  return made;
}

const until = (fact: () => boolean | Promise<boolean>): Promise<unknown> =>
  expect.poll(fact, { timeout: 30_000, interval: 20 }).toBe(true);
const refusedLogin = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'let in',
    (error: unknown) => String(error),
  );
const eventsOf = async (source: string): Promise<string[]> =>
  (await securityEvents(fleet, source)).flatMap(({ code, detail, count }) =>
    Array.from({ length: count }, () => `${code} ${detail}`),
  );

const REF = { component: 'digits', version: '1.0.0', digest: 'ab'.repeat(32) };
const update = idleUpdate({ running: REF });
const health = {
  cpuUse: 0.5,
  memoryTotalBytes: 100,
  memoryAvailableBytes: 50,
  temperatureC: null,
  diskTotalBytes: 10,
  diskFreeBytes: 5,
  agentRssBytes: 1,
  uptimeSeconds: 1,
  spool: { records: 0, bytes: 0, lost: 0 },
  clockErrorMs: null,
};

function inference(served: number, ms: number): InferenceBody {
  const latency = new QuantileSketch();
  latency.add(ms, served);
  const answers = emptyAnswers(10);
  answers.classes[3] = served;
  answers.confidence[18] = served;
  return {
    release: REF,
    seconds: 1,
    served,
    failed: 1,
    refused: 2,
    latencyMs: latency.toSketch(),
    answers: { ...answers, confidenceSum: served * 0.9 },
  };
}

describe('the broker', () => {
  it('lets_in_only_the_enrolled_device_whose_key_signed', async () => {
    const [device, other, stranger] = [
      await enrolled(fleet, 'cam-1'),
      await enrolled(fleet, 'cam-2'),
      newDevice('stranger'),
    ];
    await session(device);
    const bad = 'Connection refused: Bad username or password';
    expect(await refusedLogin(session(stranger))).toContain(bad);
    expect(
      await refusedLogin(session(device, { password: await other.token('mqtt', fleet) })),
    ).toContain(bad);
    const foreign = await device.token('mqtt', { audience: 'bb'.repeat(32) });
    expect(await refusedLogin(session(device, { password: foreign }))).toContain(bad);
    expect(await refusedLogin(session(device, { clientId: other.id }))).toContain(bad);
    expect(await refusedLogin(session(device, { username: other.id }))).toContain(bad);
    expect(await refusedLogin(session(device, { password: 'nonsense' }))).toContain(bad);
    expect(
      await refusedLogin(
        session(device, {
          clientId: 'linnet-server',
          username: 'linnet-server',
          password: 'guess',
        }),
      ),
    ).toContain(bad);
    await until(async () => (await eventsOf('127.0.0.1')).length >= 6);
    expect(await eventsOf('127.0.0.1')).toContainEqual(expect.stringMatching(/^fleet_wrong /));
  });

  it('pending_device_is_refused', async () => {
    const device = newDevice('waits');
    await post(fleet, '/device/v1/enrol', await enrolBody(device));
    expect(await refusedLogin(session(device))).toContain('Bad username or password');
  });

  it('device_cannot_listen_to_another', async () => {
    const [device, other] = [await enrolled(fleet, 'eve'), await enrolled(fleet, 'alice')];
    for (const topic of [
      topics.down(other.id),
      topics.up(device.id),
      '#',
      'linnet/v1/+/down/#',
      '$SYS/#',
      topics.hint(device.id),
    ]) {
      const { client } = await session(device);
      const closed = new Promise<void>((resolve) => client.once('close', () => resolve()));
      const granted = await client.subscribeAsync(topic, { qos: 1 }).then(
        (found) => found[0]?.qos,
        () => 128,
      );
      expect([topic, granted]).toEqual([topic, 128]);
      await closed;
    }
    await until(async () =>
      (await eventsOf(device.id)).some((event) => event.includes('subscribe refused')),
    );
  });

  it('a_subscription_to_thousands_of_filters_is_cut_off_at_its_header', async () => {
    const device = await enrolled(fleet, 'greedy');
    for (const filter of [
      (n: number) => `x/${n}`,
      (n: number) => `${topics.down(device.id).slice(0, -1)}${n}`,
    ]) {
      const { client } = await session(device);
      const closed = new Promise<void>((resolve) => client.once('close', () => resolve()));
      client.subscribe(Array.from({ length: 15_000 }, (_, n) => filter(n)));
      await closed;
    }
    await until(async () =>
      (await eventsOf('127.0.0.1')).some((event) =>
        event.includes(`type 8 is longer than ${limits.mqttSubscribeMaxBytes} bytes`),
      ),
    );
    const { client } = await session(device);
    expect(await client.subscribeAsync(topics.down(device.id), { qos: 1 })).toHaveLength(1);
  });

  it('filters_after_the_first_refused_one_are_neither_looked_at_nor_reported', async () => {
    const device = await enrolled(fleet, 'prober');
    const { client } = await session(device);
    const closed = new Promise<void>((resolve) => client.once('close', () => resolve()));
    client.subscribe(['a/1', 'a/2', topics.down(device.id), 'a/3']);
    await closed;
    await until(async () => (await eventsOf(device.id)).length > 0);
    expect((await eventsOf(device.id)).filter((event) => event.includes('a/'))).toHaveLength(1);
  });

  it('device_cannot_speak_for_another_nor_retain', async () => {
    const other = await enrolled(fleet, 'victim');
    const payload = JSON.stringify(batchOf([{ seq: 1, at: 1, kind: 'update', body: update }]));
    for (const [topic, retain] of [
      [topics.telemetry(other.id), false],
      [topics.hint(other.id), false],
      ['TELEMETRY', true],
    ] as const) {
      const device = await enrolled(fleet, 'mallory');
      const { client } = await session(device);
      const closed = new Promise<void>((resolve) => client.once('close', () => resolve()));
      void client
        .publishAsync(topic === 'TELEMETRY' ? topics.telemetry(device.id) : topic, payload, {
          qos: 1,
          retain,
        })
        .catch(() => {});
      await closed;
      await until(async () =>
        (await eventsOf(device.id)).some((event) => event.includes('publish refused')),
      );
    }
    expect(await fleet.store.telemetry.records(other.id, 10, null)).toEqual([]);
  });

  it.each([
    ['a_will', { will: { topic: 'x', payload: Buffer.from('x'), qos: 1, retain: false } }],
    ['a_session_that_is_kept', { clean: false }],
  ] as const)('device_cannot_connect_with_%s', async (_, options) => {
    const device = await enrolled(fleet, 'keeper');
    const { connectAsync } = await import('mqtt');
    const connecting = connectAsync(
      `mqtt://127.0.0.1:${fleet.server.mqttPort}`,
      {
        clientId: device.id,
        username: device.id,
        password: await device.token('mqtt', fleet),
        reconnectPeriod: 0,
        ...options,
      },
      false,
    );
    await expect(connecting).rejects.toThrow();
    await until(async () =>
      (await eventsOf('127.0.0.1')).some((event) => event.includes('connection refused')),
    );
  });

  it('revoked_device_is_cut_off_and_stays_out', async () => {
    const device = await enrolled(fleet, 'goes');
    const { client } = await session(device);
    const closed = new Promise<void>((resolve) => client.once('close', () => resolve()));
    await fleet.admin.request('POST', '/devices/goes/revoke', Device);
    await closed;
    expect(await refusedLogin(session(device))).toContain('Bad username or password');
  });

  it('a_packet_beyond_the_bound_is_cut_off_before_it_is_gathered', async () => {
    const socket = createConnection(fleet.server.mqttPort, '127.0.0.1');
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.on('error', () => {});
    // CONNECT (0x10) with a remaining length of 200 MB, of which not one byte is sent.
    const length = 200 * 1024 * 1024;
    socket.write(
      Buffer.from([
        0x10,
        ...[0, 1, 2, 3].map((at) => (Math.floor(length / 128 ** at) % 128) | (at < 3 ? 0x80 : 0)),
      ]),
    );
    await closed;
    await until(async () =>
      (await eventsOf('127.0.0.1')).some((event) =>
        event.includes(`type 1 is longer than ${limits.mqttConnectMaxBytes} bytes`),
      ),
    );
  });
});

describe('telemetry', () => {
  it('is_acknowledged_once_stored_and_shown', async () => {
    const device = await enrolled(fleet, 'speaks');
    const link = await session(device);
    const records: TelemetryRecord[] = [
      { seq: 1, at: 1000, kind: 'health', body: health },
      {
        seq: 2,
        at: 1001,
        kind: 'update',
        body: {
          ...update,
          outcome: {
            result: 'confirmed',
            code: null,
            detail: 'all well',
            release: REF,
            assignmentId: 1,
          },
        },
      },
      { seq: 3, at: 1002, kind: 'inference', body: inference(100, 5) },
      { seq: 4, at: 1003, kind: 'inference', body: inference(300, 20) },
      { seq: 5, at: 1004, kind: 'security', body: { code: 'file_digest', detail: 'model.onnx' } },
    ];
    const batch = batchOf(records);
    await link.send(JSON.stringify(batch));
    await until(() => link.acks.length === 1);
    expect(link.acks).toEqual([{ batch: batch.batch, result: 'stored' }]);
    const detail = await fleet.admin.request('GET', '/devices/speaks', DeviceDetail);
    expect(detail.device).toMatchObject({
      silent: false,
      health: { cpuUse: 0.5 },
      updates: [{ running: REF }],
    });
    expect(detail.device.lastSeenAt).not.toBeNull();
    expect(detail.inference).toMatchObject([
      { served: 400, failed: 2, refused: 4, classes: [0, 0, 0, 400, 0, 0, 0, 0, 0, 0] },
    ]);
    expect(detail.inference[0]?.meanConfidence).toBeCloseTo(0.9, 6);
    expect(detail.inference[0]?.p50Ms).toBeGreaterThan(19);
    expect(detail.inference[0]?.p50Ms).toBeLessThan(21);
    expect(detail.security).toMatchObject([
      { code: 'file_digest', detail: 'model.onnx', count: 1, sourceKind: 'device' },
    ]);
    expect(detail.outcomes.map(({ outcome }) => outcome.result)).toEqual(['confirmed']);
  });

  it('same_batch_twice_is_once_and_acknowledged_twice', async () => {
    const device = await enrolled(fleet, 'repeats');
    const link = await session(device);
    const batch = batchOf([
      { seq: 1, at: 1, kind: 'inference', body: inference(10, 1) },
      { seq: 2, at: 2, kind: 'security', body: { code: 'x', detail: 'y' } },
    ]);
    await link.send(JSON.stringify(batch));
    await link.send(JSON.stringify(batch));
    // The same record in another batch, as after a spool that lost its lease, is also the same
    // record.
    await link.send(
      JSON.stringify({
        ...batchOf([...batch.records, { seq: 3, at: 3, kind: 'health', body: health }]),
      }),
    );
    await until(() => link.acks.length === 3);
    expect(link.acks.map((ack) => ack.result)).toEqual(['stored', 'stored', 'stored']);
    const rows = await fleet.admin.list('/telemetry?device=repeats', TelemetryPage);
    expect(rows.map((row) => row.seq)).toEqual([2, 1]);
    const hours = await fleet.admin.list('/telemetry/hours?device=repeats', TelemetryHourPage);
    const counts = hours.map(({ records }) => records);
    const sum = (kind: keyof (typeof counts)[number]): number =>
      counts.reduce((total, count) => total + count[kind], 0);
    expect([sum('inference'), sum('security'), sum('health')]).toEqual([1, 1, 1]);
    expect(hours[0]?.cpuUse?.p50).toBeCloseTo(0.5, 1);
    const detail = await fleet.admin.request('GET', '/devices/repeats', DeviceDetail);
    expect(detail.inference.map((row) => row.served)).toEqual([10]);
    expect(detail.security.length).toBe(1);
  });

  it('a_device_that_lost_its_spool_starts_its_numbers_again_and_loses_nothing', async () => {
    const device = await enrolled(fleet, 'forgets');
    const link = await session(device);
    const body = { code: 'x', detail: 'y' };
    await link.send(JSON.stringify(batchOf([{ seq: 1, at: 1, kind: 'security', body }])));
    await link.send(JSON.stringify(batchOf([{ seq: 1, at: 9, kind: 'security', body }])));
    await until(() => link.acks.length === 2);
    expect(
      (await fleet.store.telemetry.records(device.id, 10, null)).map((row) => row.deviceAt),
    ).toEqual([9, 1]);
  });

  it('what_does_not_decode_is_refused_by_name_and_recorded', async () => {
    const device = await enrolled(fleet, 'mumbles');
    const link = await session(device);
    const good = batchOf([{ seq: 1, at: 1, kind: 'health', body: health }]);
    const refused = async (payload: string | Uint8Array, events: number): Promise<void> => {
      await link.send(payload);
      await until(async () => (await eventsOf(device.id)).length === events);
    };
    await refused('{{{', 1);
    await refused(Buffer.from([0xff, 0xfe, 0x00]), 2);
    await refused(
      JSON.stringify({
        ...good,
        records: [{ seq: 1, at: 1, kind: 'health', body: { cpuUse: 'hot' } }],
      }),
      3,
    );
    await link.send(JSON.stringify(batchOf([{ seq: 2, at: 1, kind: 'update', body: update }])));
    await until(() => link.acks.length === 2);
    expect(link.acks.map((ack) => [ack.batch === good.batch, ack.result])).toEqual([
      [true, 'refused'],
      [false, 'stored'],
    ]);
    expect(
      (await eventsOf(device.id)).filter((event) => event.startsWith('message_undecodable')).length,
    ).toBe(3);
    expect(
      (await fleet.store.telemetry.records(device.id, 10, null)).map((row) => row.seq),
    ).toEqual([2]);
  });

  it('everything_is_there_after_a_restart', async () => {
    const device = await enrolled(fleet, 'survives');
    const link = await session(device);
    await link.send(JSON.stringify(batchOf([{ seq: 1, at: 1, kind: 'update', body: update }])));
    await until(() => link.acks.length === 1);
    await makeClaim(fleet);
    fleet = await fleet.restart();
    expect(
      (await fleet.admin.request('GET', '/devices/survives', DeviceDetail)).device.updates,
    ).toEqual([update]);
    const again = await session(device);
    await again.send(JSON.stringify(batchOf([{ seq: 2, at: 2, kind: 'health', body: health }])));
    await until(() => again.acks.length === 1);
  });
});
