// The device agent's composition root: it makes the real ports, ties update/, runtime/ and
// telemetry/ together, and keeps three loops: what is wanted (orders), what is true (one update
// machine a component), what is told (telemetry). It serves what is installed and proven before it
// talks to anybody; a server that never answers changes nothing of that.
import { mkdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { limits } from '../shared/base/limits.js';
import { Fault, isFault, reason, systemCode } from '../shared/base/fault-codes.js';
import { backoff, type Clock, type Log, type Random } from '../shared/base/interfaces.js';
import { DEVICE_SCHEME } from '../shared/protocol/device-api.js';
import { makeDeviceToken } from '../shared/trust/device-token.js';
import type { AgentSettings } from './config.js';
import { deviceIdentity, enrol, type DeviceIdentity } from './identity/enrolment.js';
import { NodeDisk } from './platform/disk.js';
import { HttpFetcher } from './platform/fetcher.js';
import { MqttLink } from './platform/mqtt-link.js';
import { AssignmentPoller, Pacer } from './update/assignment-poller.js';
import type { Disk, Reporter } from './interfaces.js';
import { InferenceServer, type InferenceServerAddress } from './inference/api/inference-server.js';
import { Engine } from './inference/engine/engine.js';
import { compiledChild } from './inference/model-process/spawn-child.js';
import { HealthCollector, InferenceStats, realSensors } from './telemetry/collect.js';
import { TelemetryUploader } from './telemetry/uploader.js';
import { Spool } from './telemetry/spool.js';
import { MetadataClient } from './update/metadata.js';
import { UpdateDriver } from './update/driver.js';

export interface AgentPlatform {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** The disk under the update machine; a test passes one that fails. */
  readonly disk?: Disk;
  /** Path of the compiled model process, where it is not beside this file. */
  readonly childPath?: string;
}

export interface Agent {
  readonly device: string;
  /** Where the local inference API listens. */
  readonly api: readonly string[];
  /** Rejects when a bug ends a loop; never resolves before `close`. */
  readonly running: Promise<void>;
  close(): Promise<void>;
}

const TOKEN_REUSE_MS = 60_000;
const VERSION = (
  JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  }
).version;

export async function startAgent(settings: AgentSettings, world: AgentPlatform): Promise<Agent> {
  const parts = await compose(settings, world);
  const { log } = parts;
  const { tcp, unix } = await raise(parts);
  const api = [
    ...(tcp === null ? [] : [`http://${tcp.host}:${tcp.port}`]),
    ...(unix === null ? [] : [`unix:${unix}`]),
  ];
  log.info({ device: parts.identity.id, api }, 'agent is up');
  const loops = new Loops(parts);
  return { device: parts.identity.id, api, running: loops.run(), close: () => loops.close() };
}

/**
 * Serves what is installed, then listens. What is up already goes down again when the rest does not
 * come up.
 */
async function raise({
  drivers,
  inferenceServer,
  engines,
  fetcher,
  spool,
}: Parts): Promise<InferenceServerAddress> {
  try {
    for (const driver of drivers) await driver.start();
    return await inferenceServer.listen();
  } catch (error) {
    // A model process keeps this one alive: a service manager would never see that the start
    // failed.
    fetcher.close();
    await Promise.all([...engines.values()].map((engine) => engine.stop()));
    spool.close();
    throw error;
  }
}

interface Parts {
  readonly settings: AgentSettings;
  readonly world: AgentPlatform;
  readonly log: Log;
  readonly identity: DeviceIdentity;
  readonly token: () => Promise<string>;
  readonly fetcher: HttpFetcher;
  readonly metadata: MetadataClient;
  readonly spool: Spool;
  readonly reporter: SpoolingReporter;
  readonly engines: ReadonlyMap<string, Engine>;
  readonly stats: InferenceStats;
  readonly drivers: readonly UpdateDriver[];
  readonly inferenceServer: InferenceServer;
}

/** Reports go to the spool from the first moment, and hurry the sender once there is one. */
class SpoolingReporter implements Reporter {
  sender: TelemetryUploader | null = null;
  constructor(private readonly spool: Spool) {}

  report: Reporter['report'] = (kind, body) => {
    if (this.sender === null) this.spool.append(kind, body);
    else this.sender.report(kind, body);
  };
}

async function compose(settings: AgentSettings, world: AgentPlatform): Promise<Parts> {
  const { clock, random } = world;
  const dataDir = resolve(settings.data_dir);
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const disk = world.disk ?? new NodeDisk();
  const spool = new Spool(join(dataDir, 'spool.sqlite'), {
    maxBytes: settings.telemetry.spool_max_bytes,
    clock,
    random,
    log: world.log,
  });
  const reporter = new SpoolingReporter(spool);
  const identity = await deviceIdentity(disk, dataDir, random);
  const log = world.log.child({ device: identity.id, name: settings.name });
  const token = tokens(identity, clock, random);
  const fetcher = new HttpFetcher({
    server: settings.server.url,
    mirrors: settings.server.mirrors,
    clock,
    authorization: async () => `${DEVICE_SCHEME} ${await token()}`,
    ...caOf(settings),
  });
  const metadata = new MetadataClient({
    disk,
    fetcher,
    clock,
    folder: join(dataDir, 'trust'),
    device: { id: identity.id, hardware: settings.hardware },
    imageRoot: provisioned(settings.trust.image_root),
    directorRoot: provisioned(settings.trust.director_root),
  });
  await metadata.load();
  const stats = new InferenceStats({ reporter, clock });
  const engines = new Map(
    settings.components.map((component) => [
      component,
      engineOf(component, settings, world, dataDir, stats),
    ]),
  );
  const resources = { memoryAvailableBytes: async () => (await realSensors.memory()).available };
  const drivers = settings.components.map((component) => {
    const runtime = engines.get(component);
    if (runtime === undefined) throw new Error(`no engine for ${component}`);
    return new UpdateDriver(component, settings.hardware, join(dataDir, 'components', component), {
      disk,
      fetcher,
      runtime,
      resources,
      reporter,
      clock,
      random,
      log,
      ring: () => metadata.releaseRing(),
      fetchEnvelope: (assignment) => metadata.fetchEnvelope(assignment),
    });
  });
  const inferenceServer = new InferenceServer({
    engines,
    clock,
    log,
    version: VERSION,
    tcp: {
      host: settings.api.host,
      port: settings.api.port,
      hostNames: settings.api.host_names,
    },
    ...(settings.api.socket === undefined ? {} : { unix: resolve(settings.api.socket) }),
  });
  return {
    settings,
    world,
    log,
    identity,
    token,
    fetcher,
    metadata,
    spool,
    reporter,
    engines,
    stats,
    drivers,
    inferenceServer,
  };
}

function engineOf(
  component: string,
  settings: AgentSettings,
  world: AgentPlatform,
  dataDir: string,
  stats: InferenceStats,
): Engine {
  return new Engine({
    component,
    clock: world.clock,
    random: world.random,
    log: world.log.child({ component }),
    home: join(dataDir, 'hosts', component),
    childPath: world.childPath ?? compiledChild,
    threads: settings.runtime.intra_op_threads,
    shadowSample: settings.runtime.shadow_sample,
    onAnswer: (answer) => stats.take(answer),
  });
}

/** A token serves several requests within its life, so that a poll does not sign each time. */
function tokens(identity: DeviceIdentity, clock: Clock, random: Random): () => Promise<string> {
  let known: { token: string; at: number } | null = null;
  return async () => {
    const now = clock.now();
    if (known !== null && Math.abs(now - known.at) <= TOKEN_REUSE_MS) return known.token;
    const token = await makeDeviceToken(identity.id, identity.key, now, random.bytes(32));
    known = { token, at: now };
    return token;
  };
}

function provisioned(path: string): Uint8Array {
  try {
    return new Uint8Array(readFileSync(path));
  } catch (error) {
    throw new Fault(
      'config_invalid',
      `cannot read the trusted root ${path} (${systemCode(error) ?? 'unreadable'}): copy it from the trust/ folder that \`linnet repo init\` made`,
      { cause: error },
    );
  }
}

function caOf(settings: AgentSettings): { ca?: Uint8Array } {
  return settings.server.ca_file === undefined ? {} : { ca: provisioned(settings.server.ca_file) };
}

/**
 * The agent's life after it serves. Every loop ends when `closing` is set and its pacer is woken.
 */
class Loops {
  readonly #ordersPace: Pacer;
  readonly #enrolPace: Pacer;
  readonly #updatePaces: readonly Pacer[];
  readonly #health: HealthCollector;
  #closing = false;
  #link: MqttLink | null = null;
  #ended: Promise<unknown> = Promise.resolve();

  constructor(private readonly parts: Parts) {
    const { clock } = parts.world;
    this.#ordersPace = new Pacer(clock);
    this.#enrolPace = new Pacer(clock);
    this.#updatePaces = parts.drivers.map(() => new Pacer(clock));
    this.#health = new HealthCollector({
      reporter: parts.reporter,
      spoolStats: () => parts.spool.stats(),
      folder: resolve(parts.settings.data_dir),
      clock,
      log: parts.log,
    });
  }

  run(): Promise<void> {
    this.#health.start();
    this.parts.stats.start();
    const all = [
      this.#belong(),
      ...this.parts.drivers.map((driver, at) =>
        this.#update(driver, this.#updatePaces[at] as Pacer),
      ),
    ];
    this.#ended = Promise.allSettled(all);
    return Promise.all(all).then(() => undefined);
  }

  /**
   * Waits for nobody but local clients and model processes: the net may be silent for as long as it
   * likes.
   */
  async close(): Promise<void> {
    const { fetcher, inferenceServer, stats, engines, reporter, spool } = this.parts;
    this.#closing = true;
    fetcher.close(); // A transfer under way ends now; its step is taken up again at the next start.
    for (const pace of [this.#ordersPace, this.#enrolPace, ...this.#updatePaces]) pace.wake();
    this.#health.stop();
    await inferenceServer.close();
    stats.stop();
    // Before the engines stop: an update loop that still runs could have one serve again.
    await this.#ended;
    await Promise.all([...engines.values()].map((engine) => engine.stop()));
    const sent = reporter.sender?.stop();
    await this.#link?.close(); // The sender may wait for a broker that never acknowledges.
    await sent;
    spool.close();
  }

  /** Enrols, connects, then looks for orders for ever. */
  async #belong(): Promise<void> {
    const port = await this.#enrolled();
    if (port === null) return;
    this.#connect(port);
    const { settings, metadata, drivers, reporter, log, world } = this.parts;
    const orders = new AssignmentPoller({
      refresh: () => metadata.refresh(),
      drivers,
      reporter,
      clock: world.clock,
      log,
    });
    while (!this.#closing) {
      await orders.look();
      for (const pace of this.#updatePaces) pace.wake();
      await this.#ordersPace.wait(
        settings.server.poll_seconds * 1000 * (0.9 + world.random.fraction() / 5),
      );
    }
  }

  /** The broker's port, once the server knows this device; null when closing. */
  async #enrolled(): Promise<number | null> {
    const { fetcher, identity, settings, world, log } = this.parts;
    const claim = readClaim(settings);
    for (let tries = 1; !this.#closing; tries += 1) {
      try {
        const answer = await enrol(fetcher, identity, settings, claim);
        if (answer.status === 'enrolled') return answer.mqttPort;
        log.warn(
          { status: answer.status },
          answer.status === 'pending'
            ? 'waiting for an operator: linnet device approve'
            : 'the server has revoked this device',
        );
      } catch (error) {
        if (!isFault(error)) throw error;
        log.warn({ why: reason(error) }, 'cannot enrol yet');
      }
      await this.#enrolPace.wait(
        backoff(
          tries,
          limits.stepBackoffFirstMs,
          settings.server.poll_seconds * 1000,
          world.random,
        ),
      );
    }
    return null;
  }

  #connect(mqttPort: number): void {
    const { settings, world, identity, reporter, spool, log, token } = this.parts;
    const server = new URL(settings.server.url);
    const url =
      settings.mqtt.url ??
      `${server.protocol === 'https:' ? 'mqtts' : 'mqtt'}://${server.hostname}:${mqttPort}`;
    const { clock, random } = world;
    this.#link = new MqttLink({
      url,
      device: identity.id,
      token,
      clock,
      random,
      log,
      ...caOf(settings),
    });
    const sender = new TelemetryUploader({
      device: identity.id,
      spool,
      link: this.#link,
      clock,
      random,
      log,
    });
    sender.onHint(() => this.#ordersPace.wake());
    reporter.sender = sender;
    sender.start();
  }

  async #update(driver: UpdateDriver, pace: Pacer): Promise<void> {
    while (!this.#closing) {
      const waitMs = await driver.tick();
      if (waitMs > 0) await pace.wait(waitMs);
    }
  }
}

/**
 * The claim token, from the environment or a file; a device that is enrolled already needs none.
 */
function readClaim(settings: AgentSettings): string | null {
  const fromEnvironment = process.env.LINNET_CLAIM;
  if (fromEnvironment !== undefined && fromEnvironment !== '') return fromEnvironment;
  if (settings.server.claim_file === undefined) return null;
  try {
    return readFileSync(settings.server.claim_file, 'utf8').trim();
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return null; // Used and removed, as it should be.
    throw new Fault('config_invalid', `cannot read claim_file ${settings.server.claim_file}`, {
      cause: error,
    });
  }
}
