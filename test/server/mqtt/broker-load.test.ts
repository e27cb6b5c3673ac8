// The embedded broker alone, without a server around it, when it has very much to send or to take.
// mqemitter works its queue off by recursion where nobody listens to a message: a test fails with a
// stack overflow if a message without a listener can get into that queue.
import { connect, createConnection, type Socket } from 'node:net';
import { connectAsync, type MqttClient } from 'mqtt';
import { generate } from 'mqtt-packet';
import { afterEach, expect, test, vi } from 'vitest';
import { AddressLimits } from '../../../server/access/address-limits.js';
import { Admission } from '../../../server/access/admission.js';
import type { Transport } from '../../../server/interfaces.js';
import { openEmbeddedBroker } from '../../../server/mqtt/broker.js';
import { silentLog } from '../../../shared/base/interfaces.js';
import { limits } from '../../../shared/base/limits.js';
import { realClock } from '../../../shared/platform/clock.js';
import { topics, type TelemetryAck } from '../../../shared/protocol/telemetry.js';
import { ManualClock } from '../../sim/manual-clock.js';
import { newDevice, type TestDevice } from '../../support/fleet-server.js';

const HINTS = 200;
const ABSENT = `dev-${'0'.repeat(20)}`;

interface OpenBroker {
  readonly broker: Transport;
  readonly reports: string[];
  /** Looked up so far. */
  readonly lookUps: () => number;
  readonly ingested: () => number;
}

let open: Transport | null = null;
let admission = new Admission({ clock: realClock, log: silentLog });
const clients: MqttClient[] = [];
const sockets: Socket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const client of clients.splice(0)) await client.endAsync(true);
  await open?.close();
  open = null;
  admission = new Admission({ clock: realClock, log: silentLog });
});

async function brokerOf(
  devices: readonly TestDevice[],
  ack: TelemetryAck | null = null,
): Promise<OpenBroker> {
  const keys = new Map(devices.map(({ id, key }) => [id, key.publicKey]));
  const reports: string[] = [];
  let [lookUps, ingested] = [0, 0];
  const security = {
    report: ({ code, detail }: { code: string; detail: string }) => {
      reports.push(`${code} ${detail}`);
    },
    record: () => Promise.resolve(),
    flush: () => Promise.resolve(),
  };
  const broker = await openEmbeddedBroker({
    host: '127.0.0.1',
    port: 0,
    tls: null,
    deviceAuthority: null,
    clock: realClock,
    log: silentLog,
    addressLimits: new AddressLimits({ clock: realClock, security }),
    admission,
    connections: { maxCount: 2_000, perAddressMaxCount: 50 },
    isTrusted: () => false,
    events: {
      ingest: () => {
        ingested += 1;
        return Promise.resolve(ack);
      },
      keyOf: (id) => {
        lookUps += 1;
        return Promise.resolve(keys.get(id));
      },
      isAudience: () => Promise.resolve(true),
      onReception: () => {},
      security,
    },
  });
  open = broker;
  return { broker, reports, lookUps: () => lookUps, ingested: () => ingested };
}

async function login(broker: Transport, device: TestDevice): Promise<MqttClient> {
  const client = await connectAsync(
    `mqtt://127.0.0.1:${broker.port}`,
    {
      clientId: device.id,
      username: device.id,
      password: await device.token('mqtt'),
      reconnectPeriod: 0,
    },
    false,
  );
  client.on('error', () => {});
  clients.push(client);
  await client.subscribeAsync(topics.down(device.id), { qos: 1 });
  return client;
}

const raw = (broker: Transport): Socket => {
  const socket = createConnection(broker.port, '127.0.0.1');
  socket.on('error', () => {});
  // Unread bytes would keep it from closing.
  socket.resume();
  sockets.push(socket);
  return socket;
};
const closed = (socket: Socket): Promise<void> =>
  new Promise((resolve) => (socket.closed ? resolve() : socket.once('close', () => resolve())));

test('thousands_of_hints_to_absent_devices_do_not_overflow_the_stack', async () => {
  const device = newDevice('present');
  const { broker } = await brokerOf([device]);
  const client = await login(broker, device);
  let hints = 0;
  client.on('message', () => (hints += 1));
  // Deliveries to the device fill the concurrency of the broker's queue; all that follow wait in
  // it, and nobody subscribed to them.
  for (let n = 0; n < HINTS; n++) broker.hint(device.id);
  for (let n = 0; n < 50_000; n++) broker.hint(ABSENT);
  await expect.poll(() => hints, { timeout: 30_000 }).toBe(HINTS);
});

test('thousands_of_hints_to_devices_that_just_left_do_not_overflow_the_stack', async () => {
  const devices = Array.from({ length: 40 }, (_, n) => newDevice(`leaves-${n}`));
  const stays = newDevice('stays');
  const { broker } = await brokerOf([...devices, stays]);
  for (const device of devices) await login(broker, device);
  const client = await login(broker, stays);
  let hints = 0;
  client.on('message', () => (hints += 1));
  // They leave without a word, all at once, while the hints to them wait.
  for (const left of clients.slice(0, -1)) left.stream.destroy();
  for (let n = 0; n < 20_000; n++) broker.hint(devices[n % devices.length]?.id ?? '');
  broker.hint(stays.id);
  await expect.poll(() => hints, { timeout: 30_000 }).toBe(1);
});

test('fifty_thousand_publishes_without_an_answer_are_all_taken', async () => {
  const devices = Array.from({ length: 20 }, (_, n) => newDevice(`talks-${n}`));
  const { broker, ingested } = await brokerOf(devices);
  for (const device of devices) await login(broker, device);
  const each = 50_000 / devices.length;
  for (const [n, device] of devices.entries()) {
    const packet = generate({
      cmd: 'publish',
      topic: topics.telemetry(device.id),
      payload: '{}',
      qos: 0,
      retain: false,
      dup: false,
    });
    clients[n]?.stream.write(Buffer.concat(Array.from({ length: each }, () => packet)));
  }
  await expect.poll(ingested, { timeout: 60_000 }).toBe(50_000);
}, 90_000);

test('device_that_reads_nothing_is_disconnected_and_holds_up_no_message_to_another', async () => {
  const [deaf, reads] = [newDevice('deaf'), newDevice('reads')];
  const detail = 'x'.repeat(limits.detailMaxChars);
  const { broker, ingested } = await brokerOf([deaf, reads], {
    batch: 'b'.repeat(32),
    result: 'refused',
    detail,
  });
  const client = await login(broker, reads);
  let hints = 0;
  client.on('message', () => (hints += 1));
  const { stream } = await login(broker, deaf);
  stream.removeAllListeners('data');
  stream.pause();
  const { id } = deaf;
  const topic = topics.telemetry(id);
  const packet = generate({
    ...({ cmd: 'publish', topic, payload: '{}', qos: 0, retain: false, dup: false } as const),
  });
  // The answers are some 40 MB: more than the kernel keeps for it.
  stream.write(Buffer.concat(Array.from({ length: 20_000 }, () => packet)));
  await expect.poll(() => broker.connections(), { timeout: 8_000 }).toBe(1);
  expect(ingested()).toBeGreaterThan(0);
  broker.hint(reads.id);
  await expect.poll(() => hints, { timeout: 8_000 }).toBe(1);
}, 30_000);

test('qos_2_without_pubrel_keeps_nothing_and_ends_the_connection', async () => {
  const device = newDevice('two');
  const { broker, reports, ingested } = await brokerOf([device]);
  const client = await login(broker, device);
  const left = new Promise<void>((resolve) => client.once('close', () => resolve()));
  for (let messageId = 1; messageId <= 100; messageId++)
    client.stream.write(
      generate({
        cmd: 'publish',
        topic: topics.telemetry(device.id),
        payload: Buffer.alloc(limits.mqttPayloadMaxBytes / 4),
        qos: 2,
        messageId,
        retain: false,
        dup: false,
      }),
    );
  await left;
  expect(reports).toEqual(['auth_denied MQTT publish refused: QoS 2 is not offered']);
  expect(ingested()).toBe(0);
});

test.each([
  ['$SYS/#', 128],
  [`$share/group/${topics.everyUp}`, 128],
])('device_cannot_subscribe_to_%s', async (filter, code) => {
  const device = newDevice('listens');
  const { broker, reports } = await brokerOf([device]);
  const client = await login(broker, device);
  const left = new Promise<void>((resolve) => client.once('close', () => resolve()));
  const granted = await client.subscribeAsync(filter).then(
    (found) => found[0]?.qos,
    () => 128,
  );
  expect(granted).toBe(code);
  await left;
  expect(reports[0]).toContain(`${filter} is not the filter of`);
});

test('refused_logins_without_end_stop_costing_look_ups', async () => {
  const { broker, reports, lookUps } = await brokerOf([]);
  const stranger = newDevice('stranger');
  const password = await stranger.token('mqtt');
  for (let n = 0; n < 200; n++) {
    const socket = raw(broker);
    socket.write(
      generate({
        cmd: 'connect',
        clientId: stranger.id,
        username: stranger.id,
        password: Buffer.from(password),
        protocolId: 'MQTT',
        protocolVersion: 4,
        clean: true,
        keepalive: 30,
      }),
    );
    await closed(socket);
  }
  // What the bucket held, and what it got back while the test ran.
  expect(lookUps()).toBeGreaterThanOrEqual(limits.failedLoginsMaxCount);
  expect(lookUps()).toBeLessThan(150);
  expect(reports.filter((report) => report.startsWith('too_many_attempts')).length).toBeGreaterThan(
    0,
  );
  expect(reports.length).toBeLessThan(300);
});

test('connections_without_a_login_are_limited_by_address_and_those_with_one_are_not', async () => {
  const devices = Array.from({ length: 60 }, (_, n) => newDevice(`many-${n}`));
  const { broker, reports } = await brokerOf(devices);
  for (const device of devices) await login(broker, device);
  const held = Array.from({ length: 50 }, () => raw(broker));
  await expect.poll(() => held.every((socket) => !socket.connecting)).toBe(true);
  const over = raw(broker);
  await closed(over);
  expect(reports).toEqual([
    'too_many_attempts too many MQTT connections without a login: further ones are closed',
  ]);
  // Another address is not affected.
  const other = connect({ port: broker.port, host: '127.0.0.1', localAddress: '127.0.0.2' });
  sockets.push(other);
  other.write(Buffer.from([0x10]));
  await expect.poll(() => other.connecting).toBe(false);
  expect(other.destroyed).toBe(false);
  // A place is free again when one leaves.
  held[0]?.destroy();
  await expect
    .poll(async () => {
      const again = raw(broker);
      await new Promise((resolve) => setTimeout(resolve, 100));
      return again.closed;
    })
    .toBe(false);
});

/** Turns of the event loop, and time, only when the test says so. */
function heldAdmission(): { readonly clock: ManualClock; readonly turn: () => void } {
  const clock = new ManualClock();
  const nextTurn: (() => void)[] = [];
  admission = new Admission({
    clock,
    log: silentLog,
    inNextTurn: (fn) => void nextTurn.push(fn),
  });
  const turn = (): void => {
    for (const fn of nextTurn.splice(0)) fn();
  };
  return { clock, turn };
}

async function connectPacket(device: TestDevice): Promise<Buffer> {
  const { id } = device;
  return generate({
    cmd: 'connect',
    clientId: id,
    username: id,
    password: Buffer.from(await device.token('mqtt')),
    protocolId: 'MQTT',
    protocolVersion: 4,
    clean: true,
    keepalive: 30,
  });
}

test('broker_that_is_behind_answers_server_unavailable_without_a_look_up', async () => {
  const { clock, turn } = heldAdmission();
  const device = newDevice('comes');
  const { broker, reports, lookUps } = await brokerOf([device]);
  const first = admission.enter('login');
  clock.pass(limits.loginWaitMaxMs + 1);
  const socket = createConnection(broker.port, '127.0.0.1');
  sockets.push(socket);
  const answer: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => answer.push(chunk));
  socket.write(await connectPacket(device));
  await closed(socket);
  expect(Buffer.concat(answer).toString('hex')).toBe('20020003');
  expect([lookUps(), reports]).toEqual([0, []]);

  turn();
  await first;
  const again = login(broker, device);
  const turning = setInterval(turn, 1);
  await again.finally(() => clearInterval(turning));
});

test('device_that_gave_up_while_it_waited_costs_no_look_up_and_is_no_event', async () => {
  const { turn } = heldAdmission();
  const [gone, stays] = [newDevice('gone'), newDevice('stays')];
  const { broker, reports, lookUps } = await brokerOf([gone, stays]);
  const entered = vi.spyOn(admission, 'enter');
  const socket = raw(broker);
  socket.write(await connectPacket(gone));
  await expect.poll(() => entered.mock.calls.length).toBe(1);
  socket.destroy();
  await closed(socket);
  // A device that connects after that is read after the end of the first connection.
  const coming = login(broker, stays);
  await expect.poll(() => entered.mock.calls.length).toBe(2);
  turn();
  await coming;
  // The login, and the look at whether it was revoked meanwhile.
  expect([lookUps(), reports]).toEqual([2, []]);
});
