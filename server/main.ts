// The fleet server's composition root: the only place in the server that takes the real clock,
// randomness, timers and log, and the only one that connects its parts. It opens the database, the
// image repository and the director, then MQTT and HTTP; it reports that it is ready when both
// listen. It closes in the opposite direction, and stores first what is being stored.
// Over 400 lines because all parts are connected in one place.
import { chmod, mkdir } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { listenFault } from '../shared/platform/listen.js';
import { limits } from '../shared/base/limits.js';
import { Fault, isFault, reason } from '../shared/base/fault-codes.js';
import type { Clock, Log } from '../shared/base/interfaces.js';
import { realClock, realRandom } from '../shared/platform/clock.js';
import { readSettingFile } from '../shared/platform/setting-files.js';
import { hex, sha256 } from '../shared/base/bytes.js';
import { floorOf } from '../shared/trust/assignments.js';
import type { PublicKey } from '../shared/trust/signer.js';
import { DiskArtifactStore } from './artifacts/disk.js';
import { newOperatorToken } from './access/tokens.js';
import { buildApp } from './http/app.js';
import type { FleetApp } from './http/context.js';
import { checkTogether, type ServerSettings } from './config.js';
import { databaseFault } from './database-fault.js';
import type {
  ConditionStore,
  RolloutStore,
  TlsFiles,
  Transport,
  TransportEvents,
} from './interfaces.js';
import { Ingest } from './ingest/ingest.js';
import { openEmbeddedBroker } from './mqtt/broker.js';
import { openExternalBroker } from './mqtt/client.js';
import { Director } from './tuf/director-repository.js';
import { ImageRepository } from './tuf/image-repository.js';
import { readOnlineKeys } from './tuf/online-keys.js';
import { FleetConditionWatch } from './rollout/condition-watch.js';
import { Conductor } from './rollout/conductor.js';
import { ConductorLease } from './rollout/conductor-lease.js';
import { Reception } from './rollout/reception.js';
import { OperatorService } from './rollout/service.js';
import { SituationReader } from './rollout/situation-reader.js';
import { SecurityEventBus } from './security-events/bus.js';
import { Store, type DatabaseTarget } from './store/store.js';

export interface RunningServer {
  /** Base URL of the HTTP API, with the real port. */
  readonly address: string;
  readonly mqttPort: number;
  close(): Promise<void>;
}

const DATABASE = 'fleet.sqlite';
/** In the repository folder: the files of all releases. */
const ARTIFACTS = 'files';
/** Of the repository folder, when several servers share it. */
const REREAD = { everyMs: limits.sharedFolderEveryMs, what: 'reading of the shared repository' };
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
  const { artifacts, images, director } = await openRepositories(settings, store, log);

  // The conductor sends hints through the transport, which is opened after it; hints flow only once
  // both exist.
  let transport: Transport | null = null;
  const reception = new Reception({ clock: realClock });
  const lease = openLease(settings, store, log, () => conductor);
  const conducting = lease === null ? store : store.fenced(() => lease.fence());
  const { conductor, rollouts } = openRollouts(
    { store, conducting: conducting.rollouts, images, reception, security, log },
    (device) => transport?.hint(device),
  );
  const ingest = openIngest(store, security, log, () => reception.restart());
  undo.push(() => ingest.settled());
  transport = await openTransport(settings, tls, log, {
    ingest: (device, batch) => ingest.ingest(device, batch),
    keyOf: (id) => keyOf(store, id),
    onReception: (connected) => (connected ? reception.connected() : reception.disconnected()),
    security,
  });
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
    disconnect: (device) => transport.disconnect(device),
    silentAfterMs: settings.silent_after_seconds * 1000,
    tls,
  });
  undo.push(() => closeWithin(app));
  const address = await listen(app, settings);
  undo.push(startConducting(conductor, lease));
  undo.push(...regularTasks(conducting.conditions, images, security, log, lease));
  log.info(
    { address, mqtt: mqttPort, broker: settings.broker?.url ?? 'embedded' },
    'the fleet server is ready',
  );
  return { address, mqttPort, close };
}

async function keyOf(store: Store, id: string): Promise<PublicKey | undefined> {
  const device = await store.devices.get(id);
  return device?.status === 'enrolled' ? device.publicKey : undefined;
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

/**
 * What ends each of them. Of several servers only the one that conducts counts and renews; all read
 * what another one published.
 */
function regularTasks(
  store: ConditionStore,
  images: ImageRepository,
  security: SecurityEventBus,
  log: Log,
  lease: ConductorLease | null,
): (() => void)[] {
  const conditions = new FleetConditionWatch({
    store,
    security,
    clock: realClock,
    log: log.child({ room: 'rollout' }),
  });
  const whileConducting = (action: () => Promise<void>) => (): Promise<void> =>
    lease === null || lease.fence() !== null ? action() : Promise.resolve();
  const renew = { everyMs: limits.metadataRenewEveryMs, what: 'renewal of image metadata' };
  const watch = { everyMs: limits.conditionSlotMs, what: 'watch over conditions' };
  return [
    repeat(realClock, REREAD, () => images.reread(), log),
    repeat(
      realClock,
      renew,
      whileConducting(() => images.renew()),
      log,
    ),
    repeat(
      realClock,
      watch,
      whileConducting(() => conditions.pass()),
      log,
    ),
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
  return { artifacts, images, director };
}

function openRollouts(
  {
    store,
    conducting,
    images,
    reception,
    security,
    log,
  }: {
    readonly store: Store;
    readonly conducting: RolloutStore;
    readonly images: ImageRepository;
    readonly reception: Reception;
    readonly security: SecurityEventBus;
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
    store: conducting,
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

function openTransport(
  { broker, mqtt }: ServerSettings,
  tls: TlsFiles | null,
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
 * Creates the data folder and the first admin token, and returns the token. `keep` is called with
 * it before it is committed, so that no token exists that nobody has. Faults: conflict when there
 * is an admin token.
 */
export async function initServer(
  settings: ServerSettings,
  keep: (token: string) => Promise<void> = () => Promise.resolve(),
): Promise<string> {
  const store = await openStore(settings);
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
  return Store.open(databaseOf(settings));
}

function databaseOf({
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
