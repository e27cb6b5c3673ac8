// The fleet server's composition root: the only place in the server that takes the real clock,
// randomness, timers and log, and the only one that connects its parts. It opens the database,
// the image repository and the director, then MQTT and HTTP; it reports that it is ready when
// both listen. It closes in the opposite direction, and stores first what is being stored. Over
// 400 lines because all parts are connected in one place.
import { access, chmod, constants } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { listenFault } from '../shared/platform/listen.js';
import { limits } from '../shared/base/limits.js';
import { Fault, isFault, reason, systemCode } from '../shared/base/fault-codes.js';
import { bracketed } from '../shared/base/hosts.js';
import { makeFolders } from '../shared/platform/durable-files.js';
import { diskFault, isDiskFull } from '../shared/platform/errno-faults.js';
import type { Clock, Log } from '../shared/base/interfaces.js';
import { realClock, realRandom } from '../shared/platform/clock.js';
import { Proxies } from '../shared/platform/proxies.js';
import { readSettingFile } from '../shared/platform/setting-files.js';
import { WholeFiles } from '../shared/platform/whole-files.js';
import { hex, sha256 } from '../shared/base/bytes.js';
import { floorOf } from '../shared/trust/assignments.js';
import { requireNoUnfinishedRestore } from './backup/restore.js';
import { openArtifactStore } from './artifacts/open-store.js';
import { Uploads } from './artifacts/uploads.js';
import { AddressLimits } from './access/address-limits.js';
import { Admission } from './access/admission.js';
import { trustedProxies } from './access/connection-limits.js';
import { listenerLimits, openFilesMaxCount } from './access/open-files.js';
import { newOperatorToken } from './access/tokens.js';
import { buildApp } from './http/app.js';
import type { AppOptions, FleetApp } from './http/context.js';
import { checkTogether, revocationListFile, type ServerSettings } from './config.js';
import { SERVER_IDENTITY } from './server-identity.js';
import { ChangeFeed } from './changes/change-feed.js';
import { ChangeMarks } from './changes/change-marks.js';
import { toldRollouts, toldStores } from './changes/told-stores.js';
import { databaseFault } from './database-fault.js';
import type {
  ArtifactStore,
  ClientIdentity,
  ConditionStore,
  FleetVersionsStore,
  RolloutStore,
  TlsFiles,
  Transport,
  TransportEvents,
} from './interfaces.js';
import type { ExportTarget } from './exports/exporter.js';
import { OtlpMetrics } from './exports/otlp-metrics.js';
import { exportTargets, otlpOptions, startExporters } from './exports/start.js';
import { Ingest } from './ingest/ingest.js';
import { TelemetryPruner } from './ingest/telemetry-pruner.js';
import { openEmbeddedBroker, type EmbeddedBrokerOptions } from './mqtt/broker.js';
import { openExternalBroker } from './mqtt/client.js';
import { SharedTransport } from './mqtt/shared-transport.js';
import { makeAuthority, openAuthority } from './certificates/authority-files.js';
import type { CertificateAuthority } from './certificates/authority.js';
import { CertificateService } from './certificates/service.js';
import { Director } from './tuf/director-repository.js';
import { ImageRepository } from './tuf/image-repository.js';
import { referencedFiles } from './tuf/referenced-files.js';
import { readOnlineKeys } from './tuf/online-keys.js';
import { FleetConditionWatch } from './rollout/condition-watch.js';
import { Conductor } from './rollout/conductor.js';
import { ConductorLease } from './rollout/conductor-lease.js';
import { Reception } from './rollout/reception.js';
import { OperatorService } from './rollout/service.js';
import { SituationReader } from './rollout/situation-reader.js';
import { requireRoom, requireUnexpired, requireWritable } from './monitoring/checks.js';
import { exportMetrics } from './monitoring/export-metrics.js';
import { processMeasures } from './monitoring/process-measures.js';
import { registerFleetMetrics } from './monitoring/fleet-metrics.js';
import { ReadinessWatch, type Readiness } from './monitoring/readiness.js';
import { newRegistry, ServerMetrics, type MetricRegistry } from './monitoring/server-metrics.js';
import { SecurityEventBus } from './security-events/bus.js';
import { PostgresNotices } from './store/postgres-notices.js';
import { Store, type DatabaseTarget } from './store/store.js';

export interface RunningServer {
  /** Base URL of the HTTP API, with the real port. */
  readonly address: string;
  readonly mqttPort: number;
  close(): Promise<void>;
}

const DATABASE = 'fleet.sqlite';
/** In the repository folder: the files of all releases. */
export const ARTIFACTS = 'files';
/** Of the repository folder, when several servers share it. */
const REREAD = { everyMs: limits.sharedFolderEveryMs, what: 'reading of the shared repository' };
const FIRST_TOKEN_NAME = 'first-admin';

/**
 * Starts the server. Faults: config_invalid, port_in_use, key_invalid, not_found (no repository),
 * disk_failed, artifact_store_refused, server_unreachable (external broker), schema_newer,
 * restore_unfinished.
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
  const targets = exportTargets(settings, exportNeeds());
  const store = await openStore(settings);
  undo.push(() => store.close());
  const changes = new ChangeFeed({ clock: realClock });
  const security = openSecurityEvents(store, changes, log);
  undo.push(() => security.close());
  const { authority, certificates } = await openCertificates(settings, store, log);
  if (certificates !== null) undo.push(() => certificates.settled());
  const listeners = listenerLimits(openFilesMaxCount());
  const repositories = await openRepositories(settings, store, log, undo);
  const { images, uploads } = repositories;

  // The conductor sends hints through the transport, which is opened after it; hints flow only once
  // both exist.
  let transport: Transport | null = null;
  const reception = new Reception({ clock: realClock });
  const lease = openLease(settings, store, log, () => conductor);
  const conducting = lease === null ? store : store.fenced(() => lease.fence());
  const { conductor, rollouts } = openRollouts(
    { store, conducting: conducting.rollouts, images, reception, security, changes, log },
    (device) => transport?.hint(device),
  );
  const broker = { connected: true };
  const watching = openWatching(settings, store, images, broker, log);
  const { metrics, registry } = watching;
  undo.push(metrics.watchEventLoop(realClock));
  const ingest = openIngest(store, security, log, metrics, () => reception.restart());
  undo.push(() => ingest.settled());
  const strangers = limitsOfStrangers(security, metrics, log);
  const logins = {
    ...{ ...strangers, connections: listeners.mqtt, deviceAuthority: authority },
    login: await brokerLogin(settings, authority),
  };
  const events = transportEvents({
    ...{ store, ingest, metrics, broker, reception, security, changes },
    director: repositories.director,
  });
  const own = await openTransport(settings, tls, log, logins, events);
  undo.push(() => own.close());
  transport = await sharedTransport(settings, own, log, undo);
  const { port: mqttPort } = transport;
  registerMetrics(settings, store, images, watching, transport, log);
  const app = await openHttp(settings, log, {
    ...{ store, security, ...strangers, repositories, rollouts, transport, watching, tls },
    ...{ certificates, connections: listeners.http, changes },
  });
  undo.push(() => closeWithin(app));
  const address = await listen(app, settings);
  undo.push(startConducting(conductor, lease));
  const { conditions } = conducting;
  const { versions } = store;
  undo.push(...regularTasks({ conditions, images, uploads, versions, security, lease, log }));
  if (certificates !== null) undo.push(regularList(certificates, log));
  undo.push(startPruning(store, log));
  startExports(targets, store, registry, log, undo);
  undo.push(pushMetrics(settings, registry, log));
  undo.push(watchMarks(settings, store, changes, log));
  log.info(
    { address, mqtt: mqttPort, broker: settings.broker?.url ?? 'embedded', listeners },
    'the fleet server is ready',
  );
  return { address, mqttPort, close };
}

function limitsOfStrangers(
  security: SecurityEventBus,
  metrics: ServerMetrics,
  log: Log,
): Pick<AppOptions, 'addressLimits' | 'admission'> {
  const admission = new Admission({
    clock: realClock,
    log: log.child({ room: 'access' }),
    onRefused: (work) => metrics.refused(work),
  });
  return { addressLimits: new AddressLimits({ clock: realClock, security }), admission };
}

interface HttpParts extends Pick<
  AppOptions,
  'addressLimits' | 'admission' | 'rollouts' | 'tls' | 'connections'
> {
  readonly certificates: CertificateService | null;
  readonly store: Store;
  readonly changes: ChangeFeed;
  readonly security: SecurityEventBus;
  readonly repositories: Repositories;
  readonly transport: Transport;
  readonly watching: Watching;
}

function openHttp(
  settings: ServerSettings,
  log: Log,
  { store, repositories, transport, watching, ...parts }: HttpParts,
): Promise<FleetApp> {
  return buildApp({
    ...parts,
    ...repositories,
    ...watching,
    ...toldStores(parts.changes, store),
    telemetry: store.telemetry,
    counts: store.counts,
    versions: store.versions,
    history: store.history,
    securityEvents: store.security,
    clock: realClock,
    random: realRandom,
    log: log.child({ room: 'http' }),
    mqttPort: () => transport.port,
    deviceBroker: deviceBroker(settings),
    brokerAsksCertificates: asksCertificates(settings),
    disconnect: (device) => {
      transport.disconnect(device);
      parts.certificates?.revoked(device);
    },
    silentAfterMs: settings.silent_after_seconds * 1000,
    trustedProxies: settings.trusted_proxies,
  });
}

function openSecurityEvents(store: Store, changes: ChangeFeed, log: Log): SecurityEventBus {
  const bus = new SecurityEventBus({
    store: (events) => store.security.add(events),
    clock: realClock,
    log: log.child({ room: 'security-events' }),
  });
  bus.subscribe(async () => changes.changed('security'));
  return bus;
}

interface Watching {
  readonly registry: MetricRegistry;
  readonly metrics: ServerMetrics;
  readonly readiness: () => Promise<Readiness>;
}

function openWatching(
  settings: ServerSettings,
  store: Store,
  images: ImageRepository,
  broker: { readonly connected: boolean },
  log: Log,
): Watching {
  const watch = openReadiness(settings, store, images, broker, log);
  const registry = newRegistry();
  return { registry, metrics: new ServerMetrics(registry), readiness: () => watch.look() };
}

function registerMetrics(
  settings: ServerSettings,
  store: Store,
  images: ImageRepository,
  { registry, readiness }: Watching,
  transport: Transport,
  log: Log,
): void {
  registerFleetMetrics({
    registry,
    readiness,
    clock: realClock,
    log: log.child({ room: 'monitoring' }),
    counts: store.counts,
    silentAfterMs: settings.silent_after_seconds * 1000,
    expiries: () => images.expiries(),
    mqttConnections: () => transport.connections(),
    ...processMeasures(settings.data_dir),
  });
}

function transportEvents({
  store,
  ingest,
  metrics,
  broker,
  reception,
  security,
  changes,
  director,
}: {
  store: Store;
  ingest: Ingest;
  metrics: ServerMetrics;
  broker: { connected: boolean };
  reception: Reception;
  security: SecurityEventBus;
  changes: ChangeFeed;
  director: Director;
}): TransportEvents {
  return {
    ingest: async (device, batch) => {
      const ack = await ingest.ingest(device, batch);
      metrics.batch(batch.length, ack);
      if (ack?.result === 'stored') changes.changed('devices', [device]);
      return ack;
    },
    keyOf: async (id) => {
      const device = await store.devices.get(id);
      return device?.status === 'enrolled' ? device.publicKey : undefined;
    },
    isAudience: (audience) => director.isAudience(audience),
    onReception: (connected) => {
      broker.connected = connected;
      if (connected) reception.connected();
      else reception.disconnected();
    },
    security,
  };
}

function startExports(
  targets: readonly ExportTarget[],
  store: Store,
  registry: MetricRegistry,
  log: Log,
  undo: (() => Promise<void> | void)[],
): void {
  const exporters = startExporters(targets, {
    events: store.security,
    marks: store.marks,
    clock: realClock,
    random: realRandom,
    log: log.child({ room: 'exports' }),
    counts: exportMetrics(registry),
  });
  undo.push(...exporters.map((exporter) => () => exporter.stop()));
}

/** Faults: config_invalid (a proxy of the environment that is none). */
const exportNeeds = () => ({
  host: hostname(),
  clock: realClock,
  proxies: new Proxies(process.env),
});

function pushMetrics(
  { otlp }: ServerSettings,
  registry: MetricRegistry,
  log: Log,
): () => Promise<void> {
  if (otlp === undefined) return () => Promise.resolve();
  const metrics = new OtlpMetrics({
    otlp: otlpOptions(otlp, exportNeeds()),
    registry,
    clock: realClock,
    log: log.child({ room: 'exports' }),
  });
  metrics.start();
  return () => metrics.stop();
}

/** Of several servers: tells the streams here what another server changed. */
function watchMarks(
  { database }: ServerSettings,
  store: Store,
  feed: ChangeFeed,
  log: Log,
): () => void {
  if (database === undefined) return () => {};
  const { rollouts, security, audit } = store;
  const marks = new ChangeMarks({ feed, rollouts, security, audit });
  const look = { everyMs: limits.changeMarksEveryMs, what: 'look for changes of other servers' };
  return repeat(realClock, look, () => marks.look(), log);
}

function openReadiness(
  { data_dir: data, repository }: ServerSettings,
  store: Store,
  images: ImageRepository,
  broker: { readonly connected: boolean },
  log: Log,
): ReadinessWatch {
  return new ReadinessWatch({
    clock: realClock,
    log: log.child({ room: 'monitoring' }),
    checks: {
      database: () => requireWritable(() => store.marks.set('test write', realClock.now())),
      disk: () => requireRoom([data, repository]),
      broker: async () => {
        if (!broker.connected)
          throw new Fault('server_unreachable', 'the MQTT broker is disconnected');
      },
      metadata: async () => requireUnexpired(images.expiries(), realClock.now()),
    },
  });
}

/** What ends it. With a lease the conductor runs while this server holds it. */
function startConducting(conductor: Conductor, lease: ConductorLease | null): () => Promise<void> {
  if (lease === null) conductor.start();
  else lease.start();
  return async () => {
    await lease?.stop();
    await conductor.stop();
  };
}

interface RegularTasks {
  readonly conditions: ConditionStore;
  readonly images: ImageRepository;
  readonly uploads: Uploads;
  readonly versions: FleetVersionsStore;
  readonly security: SecurityEventBus;
  readonly lease: ConductorLease | null;
  readonly log: Log;
}

/**
 * What ends each of them. Of several servers only the one that conducts counts, renews and
 * collects; all read what another one published.
 */
function regularTasks(parts: RegularTasks): (() => void)[] {
  const { images, uploads, versions, security, lease, log } = parts;
  const conditions = new FleetConditionWatch({
    store: parts.conditions,
    security,
    clock: realClock,
    log: log.child({ room: 'rollout' }),
  });
  const whileConducting = (action: () => Promise<void>) => (): Promise<void> =>
    lease === null || lease.fence() !== null ? action() : Promise.resolve();
  const renew = { everyMs: limits.metadataRenewEveryMs, what: 'renewal of image metadata' };
  const watch = { everyMs: limits.conditionSlotMs, what: 'watch over conditions' };
  const collect = { everyMs: limits.uploadsCollectEveryMs, what: 'collection of uploads' };
  const count = { everyMs: limits.fleetVersionsEveryMs, what: 'count of the versions that run' };
  const alone: [Task, () => Promise<void>][] = [
    [renew, () => images.renew()],
    [watch, () => conditions.pass()],
    [count, () => versions.record(realClock.now())],
    [
      collect,
      async () => {
        await uploads.collect();
      },
    ],
  ];
  return [
    repeat(realClock, REREAD, () => images.reread(), log),
    ...alone.map(([task, action]) => repeat(realClock, task, whileConducting(action), log)),
  ];
}

/** Which server conducts, of several on one PostgreSQL; null: this one is alone with its SQLite. */
function openLease(
  { database }: ServerSettings,
  store: Store,
  log: Log,
  conductor: () => Conductor,
): ConductorLease | null {
  if (database === undefined) return null;
  return new ConductorLease({
    store: store.leases,
    holder: hex(realRandom.bytes(16)),
    clock: realClock,
    log: log.child({ room: 'rollout' }),
    onGain: () => conductor().start(),
    onLoss: () => conductor().stop(),
  });
}

function startPruning(store: Store, log: Log): () => void {
  const pruner = new TelemetryPruner({ telemetry: store.telemetry, clock: realClock });
  const pruning = { everyMs: limits.pruneEveryMs, what: 'pruning of telemetry' };
  const end = repeat(realClock, pruning, () => pruner.pass(), log);
  return () => {
    end();
    pruner.stop();
  };
}

function regularList(certificates: CertificateService, log: Log): () => void {
  const list = { everyMs: limits.revocationListEveryMs, what: 'renewal of the revocation list' };
  return repeat(realClock, list, () => certificates.writeList(), log);
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

/** Over TLS any broker of this fleet knows devices by their client certificates. */
function asksCertificates({ broker, tls }: ServerSettings): boolean {
  if (broker === undefined) return tls !== undefined;
  return (broker.public_url ?? broker.url).startsWith('mqtts:');
}

/** What devices are told of an external broker; nothing when the broker is the embedded one. */
function deviceBroker({ broker }: ServerSettings): { mqttUrl?: string; mqttCa?: string } {
  if (broker === undefined) return {};
  const { url, public_url: mqttUrl = url, ca_file: caFile } = broker;
  if (caFile === undefined) return { mqttUrl };
  return { mqttUrl, mqttCa: readSettingFile('broker.ca_file', caFile).toString('utf8') };
}

interface Repositories {
  readonly artifacts: ArtifactStore;
  readonly images: ImageRepository;
  readonly director: Director;
  readonly uploads: Uploads;
}

async function openRepositories(
  settings: ServerSettings,
  store: Store,
  log: Log,
  undo: (() => Promise<void> | void)[],
): Promise<Repositories> {
  const passphrase = process.env['LINNET_KEY_PASSPHRASE'] ?? null;
  const keys = await readOnlineKeys(settings.repository, passphrase);
  const artifacts = await openArtifactStore({
    location: settings.artifacts,
    folder: join(settings.repository, ARTIFACTS),
    ...{ s3: settings.s3, oci: settings.oci },
    links: settings.artifacts_redirect,
    env: process.env,
    proxies: new Proxies(process.env),
    clock: realClock,
    random: realRandom,
    log: log.child({ room: 'artifacts' }),
  });
  undo.push(() => artifacts.close?.());
  const images = await ImageRepository.open({
    folder: settings.repository,
    artifacts,
    keys: keys.image,
    clock: realClock,
    random: realRandom,
    isShared: settings.database !== undefined,
    log: log.child({ room: 'repository' }),
  });
  const director = await Director.open({
    store: store.assignments,
    keys: keys.director,
    folder: settings.repository,
    imageTargets: () => images.targets(),
    clock: realClock,
  });
  const uploads = new Uploads({
    store: store.uploads,
    artifacts,
    clock: realClock,
    log: log.child({ room: 'repository' }),
    referenced: () => referencedFiles(images),
  });
  return { artifacts, images, director, uploads };
}

function openRollouts(
  {
    store,
    conducting,
    images,
    reception,
    security,
    changes,
    log,
  }: {
    readonly store: Store;
    readonly conducting: RolloutStore;
    readonly images: ImageRepository;
    readonly reception: Reception;
    readonly security: SecurityEventBus;
    readonly changes: ChangeFeed;
    readonly log: Log;
  },
  hint: (device: string) => void,
): { conductor: Conductor; rollouts: OperatorService } {
  const situations = new SituationReader({
    store: store.rollouts,
    reception,
    clock: realClock,
    floorOf: (component) => floorOf(images.targets(), component),
  });
  const conductor = new Conductor({
    store: toldRollouts(changes, conducting),
    situations,
    reception,
    clock: realClock,
    log: log.child({ room: 'rollout' }),
    security,
    hint,
  });
  const rollouts = new OperatorService({
    store: toldRollouts(changes, store.rollouts),
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
  metrics: ServerMetrics,
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
    onStored: (records) => metrics.records(records),
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

type StrangerOptions = 'addressLimits' | 'admission' | 'connections' | 'deviceAuthority';
interface TransportLogins extends Pick<EmbeddedBrokerOptions, StrangerOptions> {
  /** Of the server, at an external broker. */
  readonly login: BrokerLogin;
}

function openTransport(
  { broker, mqtt, trusted_proxies }: ServerSettings,
  tls: TlsFiles | null,
  log: Log,
  { login, ...strangers }: TransportLogins,
  events: TransportEvents,
): Promise<Transport> {
  const common = { events, log: log.child({ room: 'mqtt' }) };
  return broker === undefined
    ? openEmbeddedBroker({
        ...common,
        ...strangers,
        isTrusted: trustedProxies(trusted_proxies),
        host: mqtt.host,
        port: mqtt.port,
        tls,
        clock: realClock,
      })
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

/** Of several servers with brokers of their own: devices of the others are reached, too. */
async function sharedTransport(
  settings: ServerSettings,
  own: Transport,
  log: Log,
  undo: (() => Promise<void> | void)[],
): Promise<Transport> {
  const target = databaseOf(settings);
  if (typeof target === 'string' || settings.broker !== undefined) return own;
  const common = { log: log.child({ room: 'mqtt' }) };
  const shared = new SharedTransport({ ...common, own, send: (text) => notices.send(text) });
  const notices = new PostgresNotices({
    ...common,
    target,
    onNotice: (text) => shared.receive(text),
    clock: realClock,
    random: realRandom,
  });
  undo.push(() => notices.close());
  await notices.open();
  return shared;
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
  return `${scheme}://${bracketed(host)}:${real}`;
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
        trace: null,
      },
      now,
    );
    return token;
  } finally {
    await store.close();
  }
}

async function openStore(settings: ServerSettings): Promise<Store> {
  const { data_dir: path } = settings;
  try {
    await makeFolders(path);
    await chmod(path, 0o700);
    await access(path, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    if (isDiskFull(error)) throw diskFault(error, `make data_dir ${path}`);
    const hint = ['EEXIST', 'ENOTDIR'].includes(systemCode(error) ?? '')
      ? 'it, or a folder above it, is not a folder'
      : `${systemCode(error) ?? reason(error)}; the user of the server must be able to write it`;
    throw new Fault('config_invalid', `cannot use data_dir ${path}: ${hint}`, { cause: error });
  }
  await requireNoUnfinishedRestore(path);
  return Store.open(databaseOf(settings));
}

export function databaseOf({
  data_dir,
  database,
  database_password_file,
}: ServerSettings): DatabaseTarget {
  if (database === undefined) return join(data_dir, DATABASE);
  const name = 'database_password_file';
  return database_password_file === undefined
    ? { url: database }
    : {
        url: database,
        password: readSettingFile(name, database_password_file).toString('utf8').trimEnd(),
      };
}

function readTls({ tls }: ServerSettings): TlsFiles | null {
  if (tls === undefined) return null;
  return {
    cert: readSettingFile('tls.cert_file', tls.cert_file),
    key: readSettingFile('tls.key_file', tls.key_file),
  };
}

interface Task {
  readonly everyMs: number;
  readonly what: string;
}

/**
 * Calls `action` every `everyMs` until the returned function is called; a failure is logged and the
 * next turn tries again.
 */
export function repeat(
  clock: Clock,
  { everyMs, what }: Task,
  action: () => Promise<unknown>,
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
