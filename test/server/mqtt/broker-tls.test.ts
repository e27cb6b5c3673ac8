// Mutual TLS at the embedded broker, with the agent's own parts against a real server: a device
// gets a certificate, logs in by it without a token, as nobody else, and not after it was revoked.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ClientCertificate } from '../../../agent/identity/client-certificate.js';
import { NodeDisk } from '../../../agent/platform/disk.js';
import { HttpFetcher } from '../../../agent/platform/fetcher.js';
import { MqttLink } from '../../../agent/platform/mqtt-link.js';
import { CertificateAuthority, newAuthority } from '../../../server/certificates/authority.js';
import { limits } from '../../../shared/base/limits.js';
import { silentLog } from '../../../shared/base/interfaces.js';
import { realClock as clock, realRandom as random } from '../../../shared/platform/clock.js';
import { DEVICE_SCHEME, type EnrolAnswer } from '../../../shared/protocol/device-api.js';
import { topics } from '../../../shared/protocol/telemetry.js';
import { certificateRequest, newKeyPair, P256, x509 } from '../../../shared/trust/x509.js';
import {
  batchOf,
  enrolBody,
  idleUpdate,
  newDevice,
  startFleet,
  type TestDevice,
  type TestFleet,
} from '../../support/fleet-server.js';
import { tempFolder } from '../../support/temp-folders.js';

interface Enrolled {
  readonly device: TestDevice;
  readonly answer: EnrolAnswer;
  readonly login: { readonly cert: string; readonly key: string };
}

let ca: string;
let fleet: TestFleet;
let operator: HttpFetcher;
let gate: Enrolled;
let other: Enrolled;
const clients: MqttClient[] = [];

const validity = {
  notBefore: new Date(clock.now() - 60_000),
  notAfter: new Date(clock.now() + 86_400_000),
};

/** The server's own, self-signed. */
async function serverCertificate(): Promise<{ cert: string; key: string }> {
  const { keys, pem } = await newKeyPair();
  const made = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: '01',
    name: [{ CN: ['fleet server'] }],
    ...validity,
    signingAlgorithm: P256,
    keys,
    extensions: [new x509.SubjectAlternativeNameExtension([{ type: 'ip', value: '127.0.0.1' }])],
  });
  return { cert: `${made.toString('pem')}\n`, key: pem };
}

/** Settings with a CA of the operator, whose own issuer is in none of the files. */
async function operatorsAuthority(folder: string): Promise<string> {
  const [root, own] = [await newKeyPair(), await newKeyPair()];
  const { BasicConstraintsExtension, KeyUsagesExtension, KeyUsageFlags } = x509;
  const made = await x509.X509CertificateGenerator.create({
    serialNumber: '02',
    subject: [{ CN: ['Operator device CA'] }],
    issuer: [{ CN: ['Operator root'] }],
    publicKey: own.keys.publicKey,
    signingKey: root.keys.privateKey,
    signingAlgorithm: P256,
    ...validity,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(own.keys.publicKey),
    ],
  });
  const [cert, key] = [join(folder, 'ca.crt'), join(folder, 'ca.key')];
  writeFileSync(cert, `${made.toString('pem')}\n`);
  writeFileSync(key, own.pem, { mode: 0o600 });
  return `[device_ca]\ncert_file = "${cert}"\nkey_file = "${key}"\n`;
}

const fetcherWith = (authorization: () => Promise<string | null>): HttpFetcher =>
  new HttpFetcher({ server: fleet.server.address, authorization, ca, clock });

async function enrol(name: string): Promise<Enrolled> {
  const { claim } = (await operator.post(
    '/api/v1/claims',
    { group: 'canary', uses: 1, minutes: 10 },
    limits.certificateAnswerMaxBytes,
  )) as { claim: string };
  const device = newDevice(name);
  const fetcher = fetcherWith(async () => `${DEVICE_SCHEME} ${await device.token('http', fleet)}`);
  const body = await enrolBody(device, { claim });
  const answer = (await operator.post(
    '/device/v1/enrol',
    body,
    limits.certificateAnswerMaxBytes,
  )) as EnrolAnswer;
  const certificate = new ClientCertificate({
    ...{ device: device.id, disk: new NodeDisk(), dataDir: tempFolder(), fetcher },
    ...{ clock, random, log: silentLog },
  });
  const { certificateAuthority = '' } = answer;
  await certificate.load(certificateAuthority);
  await certificate.renew(certificateAuthority);
  return { device, answer, login: certificate.current() ?? { cert: '', key: '' } };
}

const urlOf = (): string => `mqtts://127.0.0.1:${fleet.server.mqttPort}`;

async function connect(device: TestDevice, login: IClientOptions): Promise<MqttClient> {
  const { id } = device;
  const client = await connectAsync(
    urlOf(),
    { clientId: id, username: id, reconnectPeriod: 0, clean: true, ca, ...login },
    false,
  );
  client.on('error', () => {});
  clients.push(client);
  return client;
}

describe.each([
  ['that_server_init_made', () => Promise.resolve('')],
  ['of_the_operator_without_its_issuer', operatorsAuthority],
])('with_a_device_ca_%s', (_what, authoritySettings) => {
  beforeAll(async () => {
    const folder = tempFolder();
    const own = await serverCertificate();
    ca = own.cert;
    const [cert, key] = [join(folder, 'server.crt'), join(folder, 'server.key')];
    writeFileSync(cert, own.cert);
    writeFileSync(key, own.key, { mode: 0o600 });
    fleet = await startFleet(
      `[tls]\ncert_file = "${cert}"\nkey_file = "${key}"\n${await authoritySettings(folder)}`,
    );
    operator = fetcherWith(() => Promise.resolve(`Bearer ${fleet.adminToken}`));
    gate = await enrol('gate-tls');
    other = await enrol('other-tls');
  });
  afterAll(async () => {
    for (const client of clients.splice(0)) await client.endAsync(true);
    await fleet.close();
  });

  it('a_device_is_told_of_the_ca_and_gets_a_certificate_of_it', () => {
    expect(gate.answer.certificateAuthority).toMatch(/^[0-9a-f]{64}$/);
    expect(gate.login.cert).toContain('BEGIN CERTIFICATE');
  });

  it('the_agents_link_sends_telemetry_by_its_certificate_and_makes_no_token', async () => {
    const { device, login } = gate;
    const link = new MqttLink({
      url: urlOf(),
      device: device.id,
      token: () => Promise.reject(new Error('a token was asked for')),
      certificate: () => login,
      ...{ ca, clock, random, log: silentLog },
    });
    const acks: string[] = [];
    link.onMessage((topic) => acks.push(topic));
    await new Promise<void>((resolve) => link.onConnected(resolve));
    const batch = batchOf([{ seq: 1, at: 1, kind: 'update', body: idleUpdate() }]);
    await link.publish(topics.telemetry(device.id), Buffer.from(JSON.stringify(batch)));
    await expect.poll(() => acks, { timeout: 20_000 }).toEqual([topics.ack(device.id)]);
    await link.close();
  });

  it('a_certificate_is_a_login_as_its_own_device_only_whatever_token_comes_with_it', async () => {
    const password = await gate.device.token('mqtt', fleet);
    await expect(connect(gate.device, { ...other.login })).rejects.toThrow(/Bad username/);
    await expect(connect(gate.device, { ...other.login, password })).rejects.toThrow(
      /Bad username/,
    );
    const client = await connect(other.device, { ...other.login });
    expect(client.connected).toBe(true);
  });

  it('without_a_certificate_a_token_is_needed_and_enough', async () => {
    await expect(connect(gate.device, {})).rejects.toThrow(/Bad username/);
    const client = await connect(gate.device, { password: await gate.device.token('mqtt', fleet) });
    expect(client.connected).toBe(true);
  });

  it('a_certificate_of_another_ca_is_none', async () => {
    const made = await newAuthority(random, clock.now(), null);
    const options = { random, nowMs: clock.now(), passphrase: null, what: 'key' };
    const stranger = await CertificateAuthority.open(made, options);
    const pair = await newKeyPair();
    const request = await certificateRequest(gate.device.id, pair);
    const { pem: cert } = await stranger.issue(request, gate.device.id, clock.now());
    await expect(connect(gate.device, { cert, key: pair.pem })).rejects.toThrow(/Bad username/);
  });

  it('a_revoked_device_is_cut_off_and_its_certificate_is_refused', async () => {
    const lost = await enrol('lost-tls');
    const client = await connect(lost.device, { ...lost.login });
    const ended = new Promise<void>((resolve) => client.once('close', resolve));
    await operator.post(
      `/api/v1/devices/${lost.device.id}/revoke`,
      {},
      limits.certificateAnswerMaxBytes,
    );
    await ended;
    await expect(connect(lost.device, { ...lost.login })).rejects.toThrow(/Bad username/);
  });
});
