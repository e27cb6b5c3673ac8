// The real mosquitto with the files that `linnet server broker-config` prints: a real fleet server
// and real client certificates. Skipped where mosquitto is not installed.
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { mosquittoFiles } from '../../../server/mqtt/broker-config.js';
import { openExternalBroker } from '../../../server/mqtt/client.js';
import { CertificateAuthority, newAuthority } from '../../../server/certificates/authority.js';
import type { Transport } from '../../../server/interfaces.js';
import { silentLog } from '../../../shared/base/interfaces.js';
import { realRandom as random } from '../../../shared/platform/clock.js';
import { topics } from '../../../shared/protocol/telemetry.js';
import { certificateRequest, newKeyPair } from '../../../shared/trust/x509.js';

const isInstalled = ((): boolean => {
  try {
    execFileSync('mosquitto', ['-h'], { stdio: 'ignore' });
    return true;
  } catch (error) {
    return (error as { code?: string }).code !== 'ENOENT';
  }
})();
if (!isInstalled) console.warn('mosquitto is not installed: its tests are skipped');

const [A, B] = [`dev-${'aa'.repeat(10)}`, `dev-${'bb'.repeat(10)}`] as const;

let folder: string;
let port: number;
let authority: CertificateAuthority;
let mosquitto: ChildProcess;
let transport: Transport;
let seen: string[] = [];
const serials = new Map<string, string>();
const logins = new Map<string, { cert: string; key: string }>();
const clients: MqttClient[] = [];

/** The broker's own, self-signed. */
function makeBrokerCertificate(): void {
  const [key, certificate] = [join(folder, 'broker.key'), join(folder, 'broker.crt')];
  const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  const names = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
  const files = ['-keyout', key, '-out', certificate, '-days', '2'];
  execFileSync('openssl', ['req', ...kind, ...names, ...files], { stdio: 'ignore' });
}

async function startMosquitto(): Promise<void> {
  mosquitto = spawn('mosquitto', ['-c', join(folder, 'linnet.conf')], { stdio: 'pipe' });
  let output = '';
  await new Promise<void>((resolve, reject) => {
    mosquitto.stderr?.on('data', (chunk: Buffer) => {
      output += chunk.toString();
      if (output.includes('running')) resolve();
    });
    mosquitto.once('exit', () => reject(new Error(`mosquitto ended: ${output}`)));
  });
}

async function stopMosquitto(): Promise<void> {
  if (mosquitto.exitCode !== null) return;
  const ended = once(mosquitto, 'exit');
  mosquitto.kill('SIGTERM');
  await ended;
}

async function connect(device: string, more: IClientOptions = {}): Promise<MqttClient> {
  const options = { clientId: device, reconnectPeriod: 0, connectTimeout: 5000, clean: true };
  const client = await connectAsync(
    `mqtts://localhost:${port}`,
    { ...options, ca: await readFile(join(folder, 'broker.crt')), ...logins.get(device), ...more },
    false,
  );
  client.on('error', () => {});
  clients.push(client);
  return client;
}

const until = (fact: () => boolean): Promise<void> =>
  expect
    .poll(fact, { timeout: 15_000 })
    .toBe(true)
    .then(() => undefined);

describe.skipIf(!isInstalled)('mosquitto', () => {
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'linnet-mosquitto-'));
    const probe = createServer().listen(0, '127.0.0.1');
    await once(probe, 'listening');
    ({ port } = probe.address() as AddressInfo);
    await new Promise((resolve) => probe.close(resolve));
    const made = await newAuthority(random, Date.now(), null);
    const options = { random, nowMs: Date.now(), passphrase: null, what: 'key' };
    authority = await CertificateAuthority.open(made, options);
    for (const device of [A, B]) {
      const pair = await newKeyPair();
      const request = await certificateRequest(device, pair);
      const issued = await authority.issue(request, device, Date.now());
      serials.set(device, issued.serial);
      logins.set(device, { cert: issued.pem, key: pair.pem });
    }
    makeBrokerCertificate();
    const files = mosquittoFiles({
      folder,
      port,
      servers: ['linnet-server'],
      authority: authority.certificate,
      revocationList: join(folder, 'device-ca.crl'),
    });
    for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
    // Started as root, mosquitto would become a user who cannot read this folder.
    if (process.getuid?.() === 0) await appendFile(join(folder, 'linnet.conf'), 'user root\n');
    await writeFile(join(folder, 'device-ca.crl'), await authority.revocationList([], Date.now()));
    await startMosquitto();
    transport = await openExternalBroker({
      url: `mqtts://localhost:${port}`,
      caFile: join(folder, 'broker.crt'),
      identity: await authority.clientIdentity('linnet-server', Date.now()),
      sharedGroup: authority.sharedGroup,
      random,
      log: silentLog,
      events: {
        ingest: (device, bytes) => {
          seen.push(`${device} ${Buffer.from(bytes).toString()}`);
          return Promise.resolve(null);
        },
        keyOf: () => Promise.resolve(undefined),
        isAudience: () => Promise.resolve(true),
        onReception: (connected) => seen.push(connected ? 'connected' : 'disconnected'),
        security: {
          report: () => {},
          record: () => Promise.resolve(),
          flush: () => Promise.resolve(),
        },
      },
    });
  });
  afterEach(async () => {
    for (const client of clients.splice(0)) await client.endAsync(true);
    seen = [];
  });
  afterAll(async () => {
    await transport.close();
    await stopMosquitto();
    await rm(folder, { recursive: true, force: true });
  });

  test('a_device_reaches_the_server_and_the_server_the_device', async () => {
    const device = await connect(A);
    const received: string[] = [];
    device.on('message', (topic) => received.push(topic));
    await device.subscribeAsync(topics.down(A), { qos: 1 });
    await device.publishAsync(topics.telemetry(A), 'own', { qos: 1 });
    await until(() => seen.includes(`${A} own`));
    transport.hint(A);
    await until(() => received.includes(topics.hint(A)));
  });

  test('foreign_topics_carry_nothing_from_a_device_and_nothing_to_it', async () => {
    const [attacker, victim] = [await connect(B), await connect(A)];
    const stolen: string[] = [];
    const received: string[] = [];
    attacker.on('message', (topic, payload) => stolen.push(`${topic} ${payload.toString()}`));
    victim.on('message', (topic) => received.push(topic));
    await victim.subscribeAsync(topics.down(A), { qos: 1 });
    const filters = ['#', '$SYS/#', '+/+/+/+/+', topics.down(A), topics.up(A), topics.everyUp];
    for (const filter of [...filters, `$share/linnet/${topics.everyUp}`, topics.down(B)])
      await attacker.subscribeAsync(filter, { qos: 1 }).catch(() => {});
    for (const topic of [topics.telemetry(A), topics.hint(A), topics.ack(A), '$SYS/broker/x'])
      await attacker.publishAsync(topic, 'forged', { qos: 1 }).catch(() => {});
    for (let count = 0; count < 8; count += 1)
      await victim.publishAsync(topics.telemetry(A), `own ${count}`, { qos: 1 });
    // All eight: the attacker's group of shared subscriptions is not the server's.
    await until(() => seen.filter((each) => each.startsWith(`${A} own`)).length === 8);
    transport.hint(A);
    transport.hint(B);
    await until(() => received.length > 0 && stolen.length > 0);
    expect(received).toEqual([topics.hint(A)]);
    expect(stolen.map((each) => each.split(' ')[0])).toEqual([topics.hint(B)]);
    expect(seen.filter((each) => each.includes('forged'))).toEqual([]);
  });

  test('a_retained_message_ends_the_connection', async () => {
    const device = await connect(A);
    const closed = new Promise<void>((resolve) => device.once('close', () => resolve()));
    device.publish(topics.telemetry(A), 'kept', { qos: 1, retain: true });
    await closed;
    expect(seen).toEqual([]);
  });

  test('the_client_id_of_another_device_or_of_the_server_is_not_taken_over', async () => {
    const victim = await connect(A);
    await connect(B, { clientId: A });
    await connect(B, { clientId: 'linnet-server' });
    await connect(B, { clientId: B, username: A });
    await victim.publishAsync(topics.telemetry(A), 'still here', { qos: 1 });
    await until(() => seen.includes(`${A} still here`));
    expect(victim.connected).toBe(true);
    expect(seen).not.toContain('disconnected');
  });

  test('nobody_connects_without_a_certificate_or_with_one_of_another_ca', async () => {
    const made = await newAuthority(random, Date.now(), null);
    const options = { random, nowMs: Date.now(), passphrase: null, what: 'key' };
    const other = await CertificateAuthority.open(made, options);
    const { cert, key } = await other.clientIdentity(A, Date.now());
    await expect(connect('nobody')).rejects.toThrow();
    await expect(connect(A, { cert, key })).rejects.toThrow();
  });

  test('after_a_restart_of_the_broker_the_server_hears_devices_again', async () => {
    await stopMosquitto();
    await until(() => seen.includes('disconnected'));
    await startMosquitto();
    await until(() => seen.includes('connected'));
    const device = await connect(A);
    await expect
      .poll(
        async () => {
          await device.publishAsync(topics.telemetry(A), 'again', { qos: 1 });
          return seen.includes(`${A} again`);
        },
        { timeout: 15_000 },
      )
      .toBe(true);
  });

  test('a_revoked_device_is_refused_once_the_list_was_read', async () => {
    const list = await authority.revocationList([serials.get(A) ?? ''], Date.now());
    await writeFile(join(folder, 'device-ca.crl'), list);
    mosquitto.kill('SIGHUP');
    await expect
      .poll(
        () =>
          connect(A).then(
            () => 'admitted',
            () => 'refused',
          ),
        { timeout: 15_000 },
      )
      .toBe('refused');
    await connect(B);
  });
});
