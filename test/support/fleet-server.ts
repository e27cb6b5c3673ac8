// A real fleet server for tests: its own folder, a repository made by `linnet repo init`'s own
// code, real SQLite, a real broker and HTTP on free ports. `store` is a second connection to the
// same database, to see what is really on disk.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectAsync, type MqttClient } from 'mqtt';
import { FleetClient } from '../../firmware-tools/fleet/fleet-client.js';
import { readSigningKey } from '../../firmware-tools/release/keys/key-files.js';
import { initRepository } from '../../firmware-tools/release/repository.js';
import { serverSettings, type ServerSettings } from '../../server/config.js';
import { initServer, startServer, type RunningServer } from '../../server/main.js';
import type { Store } from '../../server/store/store.js';
import {
  manifestBytes,
  RELEASE_PAYLOAD_TYPE,
  type Manifest,
} from '../../shared/release/manifest.js';
import { targetPath } from '../../shared/release/release-ref.js';
import { silentLog, type Log } from '../../shared/base/interfaces.js';
import { DEVICE_SCHEME, EnrolAnswer, enrolMessage } from '../../shared/protocol/device-api.js';
import {
  Claim,
  NewToken,
  ReleaseDetail,
  RepositoryView,
  SecurityEventPage,
  type Role,
  type SecurityEventSummary,
} from '../../shared/protocol/operator-api.js';
import {
  topics,
  type TelemetryAck,
  type TelemetryBatch,
  type TelemetryRecord,
  type UpdateBody,
} from '../../shared/protocol/telemetry.js';
import { realClock, realRandom } from '../../shared/platform/clock.js';
import { hex, sha256, utf8 } from '../../shared/base/bytes.js';
import {
  audienceOf,
  deviceIdOf,
  makeDeviceToken,
  type TokenUse,
} from '../../shared/trust/device-token.js';
import { signEnvelope } from '../../shared/trust/envelope.js';
import { signerFromSeed, type Signer } from '../../shared/trust/signer.js';
import { decodeDocument, signDocument } from '../../shared/trust/documents.js';
import { simRelease, type SimRelease } from '../sim/release.js';
import { openTestStore, testTarget } from './test-store.js';

export interface TestFleet {
  readonly folder: string;
  readonly settings: ServerSettings;
  readonly server: RunningServer;
  readonly adminToken: string;
  /** What its devices' tokens name. */
  readonly audience: string;
  readonly admin: FleetClient;
  readonly store: Store;
  /** Stops the server and starts it again on the same data, with other settings if given. */
  restart(changed?: Partial<ServerSettings>): Promise<TestFleet>;
  close(): Promise<void>;
}

/** What most helpers need of a fleet: also one whose server is another process. */
export type FleetAccess = Pick<TestFleet, 'server' | 'admin' | 'audience'>;

/** `data`: folder of the database, where it is not below the fleet's own. */
export async function startFleet(
  extra = '',
  log: Log = silentLog,
  data: string | null = null,
): Promise<TestFleet> {
  const folder = await mkdtemp(join(tmpdir(), 'linnet-server-'));
  const dataDir = data ?? join(folder, 'data');
  await initRepository({
    out: join(folder, 'repo'),
    passphrase: null,
    clock: realClock,
    random: realRandom,
  });
  const target = await testTarget(join(dataDir, 'fleet.sqlite'));
  const database = typeof target === 'string' ? '' : `database = "${withoutPassword(target.url)}"`;
  const settings = serverSettings(
    `data_dir = "${dataDir}"\nrepository = "${folder}/repo/server"\n${database}\n${extra}\n` +
      `[http]\nport = 0\n[mqtt]\nport = 0\n`,
    {},
  );
  return openFleet(folder, settings, await initServer(settings), log);
}

/** A fleet whose server runs on data that is there. */
export async function openFleet(
  folder: string,
  settings: ServerSettings,
  adminToken: string,
  log: Log,
): Promise<TestFleet> {
  const server = await startServer(settings, { log });
  const store = await openTestStore(join(settings.data_dir, 'fleet.sqlite'));
  const stop = async (): Promise<void> => {
    await store.close();
    await server.close();
  };
  return {
    folder,
    settings,
    server,
    adminToken,
    audience: await audienceIn(settings.repository),
    store,
    admin: new FleetClient({ server: server.address, token: adminToken }),
    restart: async (changed = {}) => {
      await stop();
      return openFleet(folder, { ...settings, ...changed }, adminToken, log);
    },
    close: async () => {
      await stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** That of the first director root in a repository folder. */
export async function audienceIn(repository: string): Promise<string> {
  const path = join(repository, 'metadata', 'director', '1.root.json');
  return audienceOf(decodeDocument('root', await readFile(path)));
}

/** The settings refuse one; the server finds it in the environment, as an operator's would. */
export function withoutPassword(url: string): string {
  const parsed = new URL(url);
  process.env['PGPASSWORD'] = parsed.password;
  parsed.password = '';
  return parsed.href;
}

export async function clientAs(fleet: TestFleet, role: Role): Promise<FleetClient> {
  const { token } = await fleet.admin.request('POST', '/tokens', NewToken, {
    name: `a-${role}`,
    role,
  });
  return new FleetClient({ server: fleet.server.address, token });
}

export interface TestDevice {
  readonly id: string;
  readonly name: string;
  readonly key: Signer;
  /** For a fleet; without one, for a test that asks nobody about the audience. */
  token(use: TokenUse, fleet?: Pick<FleetAccess, 'audience'>): Promise<string>;
}

/** A token of a test device, made now. */
export const tokenOf =
  (device: string, key: Signer): TestDevice['token'] =>
  (use, { audience } = { audience: sha256('no fleet') }) =>
    makeDeviceToken(key, {
      ...{ device, use, audience },
      ...{ nowMs: Date.now(), nonce: realRandom.bytes(32) },
    });

let seeds = 0;
export function newDevice(name: string): TestDevice {
  seeds += 1;
  const key = signerFromSeed(
    new Uint8Array(32).fill(3).map((byte, index) => (index === 0 ? seeds : byte)),
  );
  const id = deviceIdOf(key.publicKey);
  return { id, name, key, token: tokenOf(id, key) };
}

export async function post(
  fleet: FleetAccess,
  path: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<{ status: number; body: Record<string, unknown> }> {
  const response = await fetch(`${fleet.server.address}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

export async function enrolBody(
  device: TestDevice,
  options: { claim?: string; hardware?: string; signer?: Signer } = {},
): Promise<Record<string, unknown>> {
  const asked = {
    publicKey: device.key.publicKey,
    name: device.name,
    hardware: options.hardware ?? 'sim',
    components: ['digits'],
    ...(options.claim === undefined ? {} : { claim: options.claim }),
  };
  return {
    ...asked,
    signature: hex(await (options.signer ?? device.key).sign(enrolMessage(asked))),
  };
}

export async function makeClaim(fleet: FleetAccess, group = 'canary', uses = 1): Promise<string> {
  return (await fleet.admin.request('POST', '/claims', Claim, { group, uses, minutes: 10 })).claim;
}

export async function enrolled(
  fleet: FleetAccess,
  name: string,
  group = 'canary',
): Promise<TestDevice> {
  const device = newDevice(name);
  const { status, body } = await post(
    fleet,
    '/device/v1/enrol',
    await enrolBody(device, { claim: await makeClaim(fleet, group) }),
  );
  if (status !== 200 || (body as unknown as EnrolAnswer).status !== 'enrolled')
    throw new Error(`enrolment failed: ${JSON.stringify(body)}`);
  return device;
}

export async function deviceGet(
  fleet: FleetAccess,
  device: TestDevice,
  path: string,
): Promise<Response> {
  return fetch(`${fleet.server.address}${path}`, {
    headers: { authorization: `${DEVICE_SCHEME} ${await device.token('http', fleet)}` },
  });
}

export interface MqttSession {
  readonly client: MqttClient;
  readonly acks: TelemetryAck[];
  send(payload: string | Uint8Array): Promise<void>;
}

export async function mqttOf(
  fleet: FleetAccess,
  device: TestDevice,
  options: { password?: string; clientId?: string; username?: string } = {},
): Promise<MqttSession> {
  const client = await connectAsync(
    `mqtt://127.0.0.1:${fleet.server.mqttPort}`,
    {
      clientId: options.clientId ?? device.id,
      username: options.username ?? device.id,
      password: options.password ?? (await device.token('mqtt', fleet)),
      reconnectPeriod: 0,
      clean: true,
    },
    false,
  );
  const acks: TelemetryAck[] = [];
  client.on('error', () => {});
  client.on('message', (topic, payload) => {
    if (topic === topics.ack(device.id)) acks.push(JSON.parse(payload.toString()) as TelemetryAck);
  });
  await client.subscribeAsync(topics.down(device.id), { qos: 1 });
  return {
    client,
    acks,
    send: async (payload) => {
      await client.publishAsync(topics.telemetry(device.id), Buffer.from(payload), { qos: 1 });
    },
  };
}

let batches = 0;

/** What a device reports that updates nothing. */
export const idleUpdate = (more: Partial<UpdateBody> = {}): UpdateBody => ({
  component: 'digits',
  state: 'idle',
  running: null,
  previous: null,
  updatingTo: null,
  assignmentId: 0,
  progress: null,
  outcome: null,
  trouble: null,
  conditions: [],
  directorVersion: 0,
  ...more,
});

export function batchOf(records: TelemetryRecord[]): TelemetryBatch {
  batches += 1;
  return {
    format: 'linnet.telemetry/1',
    batch: batches.toString(16).padStart(32, '0'),
    instance: '1'.repeat(32),
    records,
  };
}

/** Signs and publishes a small genuine release over the API, as `linnet publish` does. */
export async function publish(
  fleet: Pick<TestFleet, 'folder' | 'admin'>,
  version: string,
  more: Partial<Manifest> = {},
): Promise<SimRelease> {
  const made = simRelease(version);
  const release = { ...made, manifest: { ...made.manifest, ...more } };
  const key = (name: string): Promise<Signer> =>
    readSigningKey(join(fleet.folder, 'repo', 'offline', `${name}.key.json`), {});
  const envelope = utf8(
    JSON.stringify(
      await signEnvelope(RELEASE_PAYLOAD_TYPE, manifestBytes(release.manifest), [
        await key('release'),
      ]),
    ),
  );
  for (const [digest, bytes] of release.files)
    await fleet.admin.putFile(digest, [bytes], bytes.length);
  const view = await fleet.admin.request('GET', '/repository', RepositoryView);
  const { signed } = decodeDocument('targets', Buffer.from(view.targets, 'base64'));
  const target = {
    length: envelope.length,
    hashes: { sha256: sha256(envelope) },
    custom: { component: release.manifest.component, version, hardware: release.manifest.hardware },
  };
  const targets = await signDocument(
    {
      ...signed,
      version: signed.version + 1,
      targets: { ...signed.targets, [targetPath(release.manifest.component, version)]: target },
    },
    [await key('image-targets')],
  );
  await fleet.admin.request('POST', '/releases', ReleaseDetail, {
    envelope: Buffer.from(envelope).toString('base64'),
    targets: Buffer.from(targets).toString('base64'),
  });
  return { ...release, envelope, digest: sha256(envelope) };
}

/** Every row of a store's list at once. */
export const ALL = { limit: 10_000, after: null } as const;

/** Security events of a source, once the server has written what is waiting. */
export async function securityEvents(
  fleet: FleetAccess,
  source?: string,
): Promise<SecurityEventSummary[]> {
  const query = source === undefined ? '' : `?source=${encodeURIComponent(source)}`;
  return fleet.admin.list(`/security-events${query}`, SecurityEventPage);
}
