// The transport over an external broker, against a real aedes in this process: messages both ways,
// an outage, and what is refused at the start.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Aedes } from 'aedes';
import { connectAsync, type MqttClient } from 'mqtt';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { SecurityReport, Transport } from '../../../server/interfaces.js';
import { openExternalBroker } from '../../../server/mqtt/client.js';
import { silentLog } from '../../../shared/base/interfaces.js';
import { realRandom } from '../../../shared/platform/clock.js';
import { topics, type TelemetryAck } from '../../../shared/protocol/telemetry.js';

const DEVICE = `dev-${'ab'.repeat(10)}`;
const BATCH = 'cd'.repeat(16);

let folder: string;
let broker: Aedes;
let server: Server;
let port: number;
let transport: Transport | null;
let device: MqttClient | null;
/** In the order in which they came. */
let seen: string[];
let reports: SecurityReport[];
let answer: TelemetryAck | null;

async function startBroker(at = 0): Promise<void> {
  broker = await Aedes.createBroker();
  broker.authenticate = (_client, username, password, done) =>
    done(null, username === undefined || (username === 'fleet' && String(password) === 'secret'));
  server = createServer((socket) => {
    broker.handle(socket);
  });
  await new Promise<void>((resolve) => server.listen(at, '127.0.0.1', resolve));
  port = (server.address() as AddressInfo).port;
}

async function stopBroker(): Promise<void> {
  const closed = new Promise((resolve) => server.close(resolve));
  await new Promise<void>((resolve) => broker.close(() => resolve()));
  await closed;
}

async function open(
  credentials: { username?: string; passwordFile?: string } = {},
): Promise<Transport> {
  transport = await openExternalBroker({
    url: `mqtt://127.0.0.1:${port}`,
    ...credentials,
    random: realRandom,
    log: silentLog,
    events: {
      ingest: (id, batch) => {
        seen.push(`${id} ${Buffer.from(batch).toString()}`);
        return Promise.resolve(answer);
      },
      keyOf: () => Promise.resolve(undefined),
      isAudience: () => Promise.resolve(true),
      onReception: (connected) => seen.push(connected ? 'connected' : 'disconnected'),
      security: {
        report: (report) => void reports.push(report),
        record: () => Promise.resolve(),
        flush: () => Promise.resolve(),
      },
    },
  });
  return transport;
}

async function connectDevice(received: string[]): Promise<MqttClient> {
  device = await connectAsync(`mqtt://127.0.0.1:${port}`, { clientId: DEVICE, reconnectPeriod: 0 });
  device.on('error', () => {});
  device.on('message', (topic, payload) => received.push(`${topic} ${payload.toString()}`));
  await device.subscribeAsync(topics.down(DEVICE), { qos: 1 });
  return device;
}

const until = (fact: () => boolean): Promise<void> =>
  expect.poll(fact, { timeout: 30_000, interval: 20 }).toBe(true);

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'linnet-broker-'));
  [transport, device, seen, reports, answer] = [null, null, [], [], null];
  await startBroker();
});
afterEach(async () => {
  await device?.endAsync(true);
  await transport?.close();
  await stopBroker();
  await rm(folder, { recursive: true, force: true });
});

describe('messages', () => {
  test('batch_reaches_the_ingest_and_its_acknowledgement_the_device', async () => {
    answer = { batch: BATCH, result: 'stored' };
    await open();
    const received: string[] = [];
    const client = await connectDevice(received);
    await client.publishAsync(topics.telemetry(DEVICE), 'a batch', { qos: 1 });
    await until(() => received.length === 1);
    expect(seen).toEqual([`${DEVICE} a batch`]);
    expect(received).toEqual([`${topics.ack(DEVICE)} ${JSON.stringify(answer)}`]);
  });

  test('batch_that_is_not_stored_is_not_acknowledged', async () => {
    const opened = await open();
    const received: string[] = [];
    const client = await connectDevice(received);
    await client.publishAsync(topics.telemetry(DEVICE), 'a batch', { qos: 1 });
    await until(() => seen.length === 1);
    // A hint after it comes alone.
    opened.hint(DEVICE);
    await until(() => received.length === 1);
    expect(received).toEqual([`${topics.hint(DEVICE)} {"look":"assignment"}`]);
  });

  test('message_under_an_impossible_device_id_is_reported_and_ignored', async () => {
    await open();
    const client = await connectDevice([]);
    await client.publishAsync('linnet/v1/nobody/up/telemetry', 'a batch', { qos: 1 });
    await until(() => reports.length === 1);
    expect(reports).toMatchObject([{ source: { kind: 'server' }, code: 'message_undecodable' }]);
    expect(seen).toEqual([]);
  });

  test('outage_is_reported_at_both_ends_and_the_subscription_returns', async () => {
    await open();
    await stopBroker();
    await until(() => seen.includes('disconnected'));
    expect(seen).not.toContain('connected');
    await startBroker(port);
    await until(() => seen.includes('connected'));
    // The subscription follows the connection; a device sends until it is acknowledged.
    const client = await connectDevice([]);
    await until(() => {
      client.publish(topics.telemetry(DEVICE), 'a batch', { qos: 1 });
      return seen.includes(`${DEVICE} a batch`);
    });
  });
});

describe('the start', () => {
  test('login_with_the_password_of_the_file', async () => {
    const passwordFile = join(folder, 'password');
    await writeFile(passwordFile, 'secret\n');
    const opened = await open({ username: 'fleet', passwordFile });
    expect(opened.port).toBe(port);
    await writeFile(passwordFile, 'wrong\n');
    await expect(open({ username: 'fleet', passwordFile })).rejects.toMatchObject({
      code: 'server_unreachable',
    });
  });

  test('password_file_that_cannot_be_read_is_a_configuration_mistake', async () => {
    const passwordFile = join(folder, 'none');
    await expect(open({ username: 'fleet', passwordFile })).rejects.toMatchObject({
      code: 'config_invalid',
      detail: expect.stringContaining(passwordFile) as string,
    });
  });

  test('broker_that_nobody_runs_is_unreachable', async () => {
    await stopBroker();
    await expect(open()).rejects.toMatchObject({ code: 'server_unreachable' });
    await startBroker();
  });

  test('broker_that_refuses_the_subscription_is_a_configuration_mistake', async () => {
    broker.authorizeSubscribe = (_client, _subscription, done) => done(null, null);
    await expect(open()).rejects.toMatchObject({
      code: 'config_invalid',
      detail: expect.stringContaining(topics.everyUp) as string,
    });
  });

  test('broker_that_hangs_up_on_the_subscription_is_unreachable', async () => {
    broker.authorizeSubscribe = (client) => client.close();
    await expect(open()).rejects.toMatchObject({ code: 'server_unreachable' });
  });
});
