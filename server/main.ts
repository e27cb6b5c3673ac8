// The fleet server's composition root: the only place in the server that takes the real clock,
// randomness, timers and log, and the only one that connects its parts. It opens the database, the
// image repository and the director, then MQTT and HTTP; it reports that it is ready when both
// listen. It closes in the opposite direction, and stores first what is being stored.
// Over 400 lines because it is the one place that knows every part.
import { chmod, mkdir } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { listenFault } from '../shared/platform/listen.js';
import { limits } from '../shared/base/limits.js';
import { Fault, isFault, reason } from '../shared/base/fault-codes.js';
import type { Clock, Log } from '../shared/base/interfaces.js';
import { realClock, realRandom } from '../shared/platform/clock.js';
import { readSettingFile } from '../shared/platform/setting-files.js';
import { WholeFiles } from '../shared/platform/whole-files.js';
import { sha256 } from '../shared/base/bytes.js';
import { floorOf } from '../shared/trust/assignments.js';
import { DiskArtifactStore } from './artifacts/disk.js';
import { newOperatorToken } from './access/tokens.js';
import { buildApp } from './http/app.js';
import type { FleetApp } from './http/context.js';
import {
  checkTogether,
  revocationListFile,
  SERVER_IDENTITY,
  type ServerSettings,
} from './config.js';
import { databaseFault } from './database-fault.js';
import type { ClientIdentity, TlsFiles, Transport, TransportEvents } from './interfaces.js';
import { Ingest } from './ingest/ingest.js';
import { openEmbeddedBroker } from './mqtt/broker.js';
import { openExternalBroker } from './mqtt/client.js';
import { makeAuthority, openAuthority } from './certificates/authority-files.js';
import type { CertificateAuthority } from './certificates/authority.js';
import { CertificateService } from './certificates/service.js';
import { Director } from './tuf/director-repository.js';
import { ImageRepository } from './tuf/image-repository.js';
import { readOnlineKeys } from './tuf/online-keys.js';
import { FleetConditionWatch } from './rollout/condition-watch.js';
import { Conductor } from './rollout/conductor.js';
import { Reception } from './rollout/reception.js';
import { OperatorService } from './rollout/service.js';
import { SituationReader } from './rollout/situation-reader.js';
import { SecurityEventBus } from './security-events/bus.js';
import { Store } from './store/store.js';

export interface RunningServer {
  /** Base URL of the HTTP API, with the real port. */
  readonly address: string;
  readonly mqttPort: number;
  close(): Promise<void>;
}

const DATABASE = 'fleet.sqlite';
/** In the repository folder: the files of all releases. */
const ARTIFACTS = 'files';
const FIRST_TOKEN_NAME = 'first-admin';

/**
 * Starts the server. Faults: config_invalid, port_in_use, key_invalid, not_found (no repository),
 * disk_failed, server_unreachable (external broker).
 */
export async function startServer(
  settings: ServerSettings,
  { log }: { log: Log },
): Promise<RunningServer> {
  checkTogether(settings);
  const undo: (() => Promise<void> | void)[] = [];
  const close = async (): Promise<void> => {
    for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step();
  };
  try {
    return await open(settings, log, undo, close);
  } catch (error) {
    await close();
    throw error;
  }
}

async function open(
  settings: ServerSettings,
  log: Log,
  undo: (() => Promise<void> | void)[],
  close: () => Promise<void>,
): Promise<RunningServer> {
  const tls = readTls(settings);
  const store = await openStore(settings);
  undo.push(() => store.close());
  const security = new SecurityEventBus({
    store: (events) => store.security.add(events),
    clock: realClock,
    log: log.child({ room: 'security-events' }),
  });
  undo.push(() => security.close());
  const { authority, certificates } = await openCertificates(settings, store, log);
  if (certificates !== null) undo.push(() => certificates.settled());
  const { artifacts, images, director } = await openRepositories(settings, store, log);

  // The conductor sends hints through the transport, which is opened after it; hints flow only once
  // both exist.
  let transport: Transport | null = null;
  const reception = new Reception({ clock: realClock });
  const { conductor, rollouts } = openRollouts(store, images, reception, security, log, (device) =>
    transport?.hint(device),
  );
  const ingest = openIngest(store, security, log, () => reception.restart());
  undo.push(() => ingest.settled());
  const login = await brokerLogin(settings, authority);
  const events = transportEvents(store, ingest, reception, security);
  transport = await openTransport(settings, tls, login, log, events);
  const { port: mqttPort } = transport;
  undo.push(() => transport.close());
  const app = await buildApp({
    devices: store.devices,
    tokens: store.tokens,
    releases: store.releases,
    telemetry: store.telemetry,
    audit: store.audit,
    securityEvents: store.security,
    security,
    clock: realClock,
    random: realRandom,
    log: log.child({ room: 'http' }),
    images,
    artifacts,
    director,
    rollouts,
    mqttPort: () => mqttPort,
    deviceBroker: deviceBroker(settings),
    certificates,
    disconnect: (device) => {
      transport.disconnect(device);
      certificates?.revoked(device);
    },
    silentAfterMs: settings.silent_after_seconds * 1000,
    tls,
  });
  undo.push(() => closeWithin(app));
  const address = await listen(app, settings);
  conductor.start();
  undo.push(() => conductor.stop());
  undo.push(...regularTasks(store, images, security, log));
  if (certificates !== null) undo.push(regularList(certificates, log));
  log.info(
    { address, mqtt: mqttPort, broker: settings.broker?.url ?? 'embedded' },
    'the fleet server is ready',
  );
  return { address, mqttPort, close };
}

/** What ends each of them. */
function regularTasks(
  store: Store,
  images: ImageRepository,
  security: SecurityEventBus,
  log: Log,
): (() => void)[] {
  const conditions = new FleetConditionWatch({
    store: store.conditions,
    security,
    clock: realClock,
    log: log.child({ room: 'rollout' }),
  });
  const renew = { everyMs: limits.metadataRenewEveryMs, what: 'renewal of image metadata' };
  const watch = { everyMs: limits.conditionSlotMs, what: 'watch over conditions' };
  return [
    repeat(realClock, renew, () => images.renew(), log),
    repeat(realClock, watch, () => conditions.pass(), log),
  ];
}

function regularList(certificates: CertificateService, log: Log): () => void {
  const list = { everyMs: limits.revocationListEveryMs, what: 'renewal of the revocation list' };
  return repeat(realClock, list, () => certificates.writeList(), log);
}

function transportEvents(
  store: Store,
  ingest: Ingest,
  reception: Reception,
  security: SecurityEventBus,
): TransportEvents {
  return {
    ingest: (device, batch) => ingest.ingest(device, batch),
    keyOf: async (id) => {
      const device = await store.devices.get(id);
      return device?.status === 'enrolled' ? device.publicKey : undefined;
    },
    onReception: (connected) => (connected ? reception.connected() : reception.disconnected()),
    security,
  };
}

interface Certificates {
  readonly authority: CertificateAuthority | null;
  readonly certificates: CertificateService | null;
}

/** Both null when this server has no CA for devices. */
async function openCertificates(
  settings: ServerSettings,
  store: Store,
  log: Log,
): Promise<Certificates> {
  const passphrase = process.env['LINNET_KEY_PASSPHRASE'] ?? null;
  const needs = { clock: realClock, random: realRandom, passphrase };
  const authority = await openAuthority(settings, needs);
  if (authority === null) return { authority, certificates: null };
  const certificates = new CertificateService({
    authority,
    store: store.certificates,
    files: new WholeFiles(realRandom),
    listFile: revocationListFile(settings),
    clock: realClock,
    log: log.child({ room: 'certificates' }),
  });
  await certificates.writeList();
  return { authority, certificates };
}

/** What devices are told of an external broker; nothing when the broker is the embedded one. */
function deviceBroker({ broker }: ServerSettings): { mqttUrl?: string; mqttCa?: string } {
  if (broker === undefined) return {};
  const { url, public_url: mqttUrl = url, ca_file: caFile } = broker;
  if (caFile === undefined) return { mqttUrl };
  return { mqttUrl, mqttCa: readSettingFile('broker.ca_file', caFile).toString('utf8') };
}

interface Repositories {
  readonly artifacts: DiskArtifactStore;
  readonly images: ImageRepository;
  readonly director: Director;
}

async function openRepositories(
  settings: ServerSettings,
  store: Store,
  log: Log,
): Promise<Repositories> {
  const passphrase = process.env['LINNET_KEY_PASSPHRASE'] ?? null;
  const keys = await readOnlineKeys(settings.repository, passphrase);
  const artifacts = await DiskArtifactStore.open({
    folder: join(settings.repository, ARTIFACTS),
    random: realRandom,
  });
  const images = await ImageRepository.open({
    folder: settings.repository,
    artifacts,
    keys: keys.image,
    clock: realClock,
    random: realRandom,
    log: log.child({ room: 'repository' }),
  });
  const director = await Director.open({
    store: store.assignments,
    keys: keys.director,
    folder: settings.repository,
    imageTargets: () => images.targets(),
    clock: realClock,
  });
  return { artifacts, images, director };
}

function openRollouts(
  store: Store,
  images: ImageRepository,
  reception: Reception,
  security: SecurityEventBus,
  log: Log,
  hint: (device: string) => void,
): { conductor: Conductor; rollouts: OperatorService } {
  const situations = new SituationReader({
    store: store.rollouts,
    reception,
    clock: realClock,
    floorOf: (component) => floorOf(images.targets(), component),
  });
  const conductor = new Conductor({
    store: store.rollouts,
    situations,
    reception,
    clock: realClock,
    log: log.child({ room: 'rollout' }),
    security,
    hint,
  });
  const rollouts = new OperatorService({
    store: store.rollouts,
    situations,
    clock: realClock,
    random: realRandom,
    log: log.child({ room: 'rollout' }),
    security,
    onCommand: () => conductor.wake(),
  });
  return { conductor, rollouts };
}

function openIngest(
  store: Store,
  security: SecurityEventBus,
  log: Log,
  onBatchLost: () => void,
): Ingest {
  return new Ingest({
    devices: store.devices,
    telemetry: store.telemetry,
    assignments: store.assignments,
    security,
    clock: realClock,
    log: log.child({ room: 'ingest' }),
    isStorageFault: (error) => isFault(databaseFault(error, 'storing telemetry')),
    onBatchLost,
  });
}

interface BrokerLogin {
  readonly identity?: ClientIdentity;
  readonly sharedGroup?: string;
}

/** At an external broker over TLS, the server logs in by a certificate of the device CA. */
async function brokerLogin(
  { broker }: ServerSettings,
  authority: CertificateAuthority | null,
): Promise<BrokerLogin> {
  if (authority === null || broker?.url.startsWith('mqtts:') !== true) return {};
  const name = broker.identity ?? SERVER_IDENTITY;
  const identity = await authority.clientIdentity(name, realClock.now());
  return { identity, sharedGroup: authority.sharedGroup };
}

function openTransport(
  { broker, mqtt }: ServerSettings,
  tls: TlsFiles | null,
  login: BrokerLogin,
  log: Log,
  events: TransportEvents,
): Promise<Transport> {
  const common = { events, log: log.child({ room: 'mqtt' }) };
  return broker === undefined
    ? openEmbeddedBroker({ ...common, host: mqtt.host, port: mqtt.port, tls, clock: realClock })
    : openExternalBroker({
        ...common,
        url: broker.url,
        username: broker.username,
        passwordFile: broker.password_file,
        caFile: broker.ca_file,
        ...login,
        random: realRandom,
      });
}

async function listen(app: FleetApp, settings: ServerSettings): Promise<string> {
  const { host, port } = settings.http;
  try {
    await app.listen({ host, port });
  } catch (error) {
    throw listenFault(error, `HTTP: ${host}:${port}`);
  }
  const { port: real } = app.server.address() as AddressInfo;
  const scheme = settings.tls === undefined ? 'http' : 'https';
  return `${scheme}://${host.includes(':') ? `[${host}]` : host}:${real}`;
}

/**
 * Lets present requests end within limits.serverDrainMs; connections that are still open then are
 * closed.
 */
async function closeWithin(app: FleetApp): Promise<void> {
  const cancel = realClock.after(limits.serverDrainMs, () => app.server.closeAllConnections());
  await app.close();
  cancel();
}

/**
 * Creates the data folder, the device CA and the first admin token, and returns the token. `keep`
 * is called with
 * it before it is committed, so that no token exists that nobody has. Faults: conflict when there
 * is an admin token.
 */
export async function initServer(
  settings: ServerSettings,
  keep: (token: string) => Promise<void> = () => Promise.resolve(),
): Promise<string> {
  const store = await openStore(settings);
  const passphrase = process.env['LINNET_KEY_PASSPHRASE'] ?? null;
  await makeAuthority(settings, { clock: realClock, random: realRandom, passphrase });
  try {
    if (await store.tokens.hasAdmin()) {
      throw new Fault(
        'conflict',
        `${settings.data_dir} already has an admin token; ` +
          'create further tokens with `linnet token create`',
      );
    }
    const token = newOperatorToken(realRandom);
    await keep(token);
    const now = realClock.now();
    await store.tokens.add(
      { hash: sha256(token), name: FIRST_TOKEN_NAME, role: 'admin' },
      {
        actor: 'linnet server init',
        action: 'token.create',
        subject: FIRST_TOKEN_NAME,
        detail: 'admin',
      },
      now,
    );
    return token;
  } finally {
    await store.close();
  }
}

async function openStore(settings: ServerSettings): Promise<Store> {
  try {
    await mkdir(settings.data_dir, { recursive: true });
    await chmod(settings.data_dir, 0o700);
  } catch (error) {
    throw new Fault(
      'disk_failed',
      `data_dir ${settings.data_dir} cannot be created: ${reason(error)}`,
      { cause: error },
    );
  }
  return Store.open(join(settings.data_dir, DATABASE));
}

function readTls({ tls }: ServerSettings): TlsFiles | null {
  if (tls === undefined) return null;
  return {
    cert: readSettingFile('tls.cert_file', tls.cert_file),
    key: readSettingFile('tls.key_file', tls.key_file),
  };
}

/**
 * Calls `action` every `everyMs` until the returned function is called; a failure is logged and the
 * next turn tries again.
 */
export function repeat(
  clock: Clock,
  { everyMs, what }: { readonly everyMs: number; readonly what: string },
  action: () => Promise<void>,
  log: Log,
): () => void {
  let stopped = false;
  let cancel = clock.after(everyMs, turn);
  function turn(): void {
    action()
      .catch((error: unknown) =>
        log.error({ err: error, what }, 'a regular task failed; its next turn tries again'),
      )
      .finally(() => {
        if (!stopped) cancel = clock.after(everyMs, turn);
      });
  }
  return () => {
    stopped = true;
    cancel();
  };
}
