// The device agent's composition root: makes the real parts, connects update/, inference/ and
// telemetry/, and runs the loops: poll the assignments, drive one update machine a component,
// report telemetry. What is installed and verified is served before the network is used; a server
// that never answers changes nothing of that.
// Over 400 lines because it is the one place that knows every part.
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Clock, Log, Random } from '../shared/base/interfaces.js';
import { hex } from '../shared/base/bytes.js';
import { isFault, reason } from '../shared/base/fault-codes.js';
import { limits } from '../shared/base/limits.js';
import { Proxies } from '../shared/platform/proxies.js';
import { SECOND_MS } from '../shared/base/units.js';
import { DEVICE_SCHEME, routes, type EnrolAnswer } from '../shared/protocol/device-api.js';
import type { AgentSettings } from './config.js';
import { ClientCertificate } from './identity/client-certificate.js';
import { enrolUntilKnown } from './identity/enrolment.js';
import { deviceIdentity, type DeviceIdentity } from './identity/identity.js';
import { ServerTime } from './identity/server-time.js';
import { readCertificates, readTrustedRoots } from './identity/provisioning.js';
import { tokenSource } from './identity/token-source.js';
import { audienceOf, type TokenUse } from '../shared/trust/device-token.js';
import { decodeDocument } from '../shared/trust/documents.js';
import { InferenceServer, type InferenceServerAddress } from './inference/api/inference-server.js';
import { Engine } from './inference/engine/engine.js';
import type { RehearsalSettings } from './inference/engine/rehearsal.js';
import type { NewHost } from './inference/model-process/host.js';
import { requireInstallation } from './inference/model-process/installation.js';
import { compiledChild } from './inference/model-process/spawn-child.js';
import type { Disk, Reporter } from './interfaces.js';
import { openDataDir } from './platform/data-dir.js';
import { NodeDisk } from './platform/disk.js';
import { HttpFetcher } from './platform/fetcher.js';
import { MqttLink } from './platform/mqtt-link.js';
import { Pacer } from './platform/pacer.js';
import { DeviceHealth } from './telemetry/device-health.js';
import { InferenceStats } from './telemetry/inference-stats.js';
import { realSensors } from './telemetry/sensors.js';
import { Spool } from './telemetry/spool.js';
import { TelemetryUploader } from './telemetry/uploader.js';
import { AssignmentPoller } from './update/assignment-poller.js';
import { UpdateDriver } from './update/driver.js';
import { listenForHints } from './update/hint-listener.js';
import { MetadataClient } from './update/metadata.js';
import { PollPace } from './update/poll-pace.js';
import { ModelHandler } from './update/payload/model.js';
import { Traces } from './update/traces.js';
import { Troubles } from './update/troubles.js';
import { UpdateWindows } from '../shared/base/update-hours.js';

export interface AgentPlatform {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** The disk under the update machine; a test passes one that fails. */
  readonly disk?: Disk;
  /** Path of the compiled model process, where it is not beside this file. */
  readonly childPath?: string;
  /** Makes what runs a model, in place of model processes; for tests of many agents at once. */
  readonly newHost?: NewHost;
}

export interface Agent {
  readonly device: string;
  /** Where the local inference API listens. */
  readonly api: readonly string[];
  /** Rejects when a bug ends a loop; never resolves before `close`. */
  readonly running: Promise<void>;
  close(): Promise<void>;
}

/** Read when the agent starts: other commands import this module and need no version. */
const agentVersion = (): string =>
  (
    JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
      version: string;
    }
  ).version;

/**
 * Serves what is installed, then listens, then starts the loops. Faults: installation_incomplete,
 * config_invalid, disk_full, disk_failed, port_in_use, conflict (another agent uses data_dir).
 */
export async function startAgent(settings: AgentSettings, platform: AgentPlatform): Promise<Agent> {
  const parts = await compose(settings, platform);
  const { tcp, unix } = await startServing(parts);
  const api = [
    ...(tcp === null ? [] : [`http://${tcp.host}:${tcp.port}`]),
    ...(unix === null ? [] : [`unix:${unix}`]),
  ];
  parts.log.info({ api }, 'agent is up');
  const loops = new Loops(parts);
  return { device: parts.identity.id, api, running: loops.run(), close: () => loops.close() };
}

interface Parts {
  readonly settings: AgentSettings;
  readonly platform: AgentPlatform;
  readonly dataDir: string;
  readonly disk: Disk;
  readonly log: Log;
  readonly identity: DeviceIdentity;
  readonly token: (use: TokenUse) => Promise<string>;
  readonly time: ServerTime;
  readonly fetcher: HttpFetcher;
  readonly metadata: MetadataClient;
  readonly spool: Spool;
  readonly reporter: SpoolingReporter;
  readonly troubles: Troubles;
  readonly traces: Traces;
  readonly proxies: Proxies;
  readonly engines: ReadonlyMap<string, Engine>;
  readonly stats: InferenceStats;
  readonly drivers: readonly UpdateDriver[];
  readonly inferenceServer: InferenceServer;
}

/** Reports go to the spool from the first moment on, and wake the uploader once there is one. */
class SpoolingReporter implements Reporter {
  readonly #spool: Spool;
  uploader: TelemetryUploader | null = null;

  constructor(spool: Spool) {
    this.#spool = spool;
  }

  report: Reporter['report'] = (kind, body) => {
    if (this.uploader === null) this.#spool.append(kind, body);
    else this.uploader.report(kind, body);
  };
}

async function compose(settings: AgentSettings, platform: AgentPlatform): Promise<Parts> {
  const { clock, random } = platform;
  requireInstallation(platform.childPath ?? compiledChild);
  const roots = readTrustedRoots(settings);
  const certificates = readCertificates(settings);
  const proxies = new Proxies(process.env, settings.server.proxy);
  const dataDir = openDataDir(settings.data_dir);
  const disk = platform.disk ?? new NodeDisk();
  const identity = await deviceIdentity({ disk, dataDir, random, log: platform.log });
  const log = platform.log.child({ device: identity.id, name: settings.name });
  // The metadata is read after the fetcher exists; until then nothing is known of the present.
  let metadata: MetadataClient | null = null;
  const time = new ServerTime({
    clock,
    earliest: () => metadata?.trustedTimeMs() ?? 0,
    latest: () => metadata?.latestTimeMs() ?? 0,
    log,
  });
  const audience = audienceOf(decodeDocument('root', roots.directorRoot));
  const token = tokenSource(identity, audience, time.clock, random);
  const traces = new Traces();
  const fetcher = new HttpFetcher({
    server: settings.server.url,
    mirrors: settings.server.mirrors,
    clock,
    authorization: async () => `${DEVICE_SCHEME} ${await token('http')}`,
    onServerTime: (serverMs) => time.observe(serverMs),
    onTraces: (header) => traces.learn(header),
    proxies,
    ...certificates,
  });
  metadata = new MetadataClient({
    disk,
    fetcher,
    clock: time.clock,
    folder: join(dataDir, 'trust'),
    device: { id: identity.id, hardware: settings.hardware },
    ...roots,
  });
  await metadata.load();
  const spool = new Spool(join(dataDir, 'spool.sqlite'), {
    maxBytes: settings.telemetry.spool_max_bytes,
    clock,
    random,
    log,
  });
  const reporter = new SpoolingReporter(spool);
  const stats = new InferenceStats({ reporter, clock });
  const engines = enginesOf(settings, platform, { clock: time.clock, log, dataDir, stats });
  const troubles = new Troubles({ clock: time.clock });
  const core = {
    ...{ settings, platform, dataDir, disk, log, fetcher },
    ...{ metadata, reporter, troubles, time, traces, proxies },
  };
  return {
    ...core,
    identity,
    token,
    spool,
    engines,
    stats,
    drivers: [...engines].map(([component, engine]) => updateDriver(core, component, engine)),
    inferenceServer: inferenceServer(core, engines),
  };
}

function enginesOf(
  settings: AgentSettings,
  { random, childPath = compiledChild, newHost }: AgentPlatform,
  parts: { clock: Clock; log: Log; dataDir: string; stats: InferenceStats },
): Map<string, Engine> {
  const { clock, log, dataDir, stats } = parts;
  return new Map(
    settings.components.map((component) => [
      component,
      new Engine({
        component,
        clock,
        random,
        log,
        home: join(dataDir, 'hosts', component),
        childPath,
        newHost,
        threads: settings.runtime.intra_op_threads,
        shadowSample: settings.runtime.shadow_sample,
        rehearsal: rehearsalOf(settings, component),
        onAnswer: (answer) => stats.take(answer),
      }),
    ]),
  );
}

function rehearsalOf(
  { rehearsal }: AgentSettings,
  component: string,
): RehearsalSettings | undefined {
  const found = rehearsal[component];
  return found && { maxMiB: found.max_mib, maxAgeHours: found.max_age_hours };
}

function updateDriver(
  parts: Pick<
    Parts,
    | 'settings'
    | 'platform'
    | 'dataDir'
    | 'disk'
    | 'log'
    | 'fetcher'
    | 'metadata'
    | 'reporter'
    | 'troubles'
    | 'time'
    | 'traces'
  >,
  component: string,
  engine: Engine,
): UpdateDriver {
  const { settings, platform, dataDir, disk, log, fetcher, metadata, reporter, troubles } = parts;
  const { time, traces } = parts;
  const windows = new UpdateWindows(settings.update.windows, settings.update.zone);
  const resources = { memoryAvailableBytes: async () => (await realSensors.memory()).available };
  return new UpdateDriver({
    component,
    hardware: settings.hardware,
    folder: join(dataDir, 'components', component),
    disk,
    fetcher,
    handlers: [new ModelHandler({ runtime: engine, resources })],
    reporter,
    troubles,
    opensAt: () => windows.opensAt(time.now()),
    directorVersion: () => metadata.directorVersion(),
    traceOf: (assignmentId) => traces.of(component, assignmentId),
    clock: platform.clock,
    random: platform.random,
    log,
    ring: () => metadata.releaseRing(),
    acceptanceRing: () => metadata.acceptanceRing(),
    fetchEnvelope: (assignment) => metadata.fetchEnvelope(assignment),
  });
}

function inferenceServer(
  { settings, platform, log }: Pick<Parts, 'settings' | 'platform' | 'log'>,
  engines: ReadonlyMap<string, Engine>,
): InferenceServer {
  const { host, port, socket, host_names: hostNames } = settings.api;
  return new InferenceServer({
    engines,
    clock: platform.clock,
    log,
    version: agentVersion(),
    tcp: { host, port, hostNames },
    ...(socket === undefined ? {} : { unix: resolve(socket) }),
  });
}

/** Serves what is installed, then listens. When one part does not start, all are stopped again. */
async function startServing(parts: Parts): Promise<InferenceServerAddress> {
  try {
    for (const driver of parts.drivers) await driver.start();
    return await parts.inferenceServer.listen();
  } catch (error) {
    // A model process keeps this process alive: a service manager would never see the failure.
    parts.fetcher.close();
    await Promise.all([...parts.engines.values()].map((engine) => engine.stop()));
    parts.spool.close();
    throw error;
  }
}

/** The agent after its start. Every loop ends once `closing` is set and its pacer is woken. */
class Loops {
  readonly #parts: Parts;
  readonly #pollPacer: Pacer;
  readonly #enrolPacer: Pacer;
  readonly #updatePacers: ReadonlyMap<UpdateDriver, Pacer>;
  readonly #health: DeviceHealth;
  readonly #certificatePacer: Pacer;
  #certificate: ClientCertificate | null = null;
  #renewals: Promise<void> = Promise.resolve();
  #closing = false;
  #link: MqttLink | null = null;
  #ended: Promise<unknown> = Promise.resolve();

  constructor(parts: Parts) {
    this.#parts = parts;
    const { clock } = parts.platform;
    this.#pollPacer = new Pacer(clock);
    this.#enrolPacer = new Pacer(clock);
    this.#certificatePacer = new Pacer(clock);
    this.#updatePacers = new Map(parts.drivers.map((driver) => [driver, new Pacer(clock)]));
    this.#health = new DeviceHealth({
      reporter: parts.reporter,
      spool: parts.spool,
      clockErrorMs: () => parts.time.clockErrorMs(),
      folder: parts.dataDir,
      clock,
      log: parts.log,
    });
  }

  run(): Promise<void> {
    this.#health.start();
    this.#parts.stats.start();
    const all = [
      this.#enrolAndPoll(),
      ...[...this.#updatePacers].map(([driver, pacer]) => this.#drive(driver, pacer)),
    ];
    this.#ended = Promise.allSettled(all);
    return Promise.all(all).then(() => undefined);
  }

  /** Waits for local clients and model processes only, never for the network. */
  async close(): Promise<void> {
    const { fetcher, inferenceServer, stats, engines, reporter, spool } = this.#parts;
    this.#closing = true;
    fetcher.close(); // A transfer under way ends now; the next start resumes it.
    const pacers = [this.#pollPacer, this.#enrolPacer, this.#certificatePacer];
    for (const pacer of [...pacers, ...this.#updatePacers.values()]) pacer.wake();
    this.#health.stop();
    await inferenceServer.close();
    stats.stop();
    for (const engine of engines.values()) engine.cutRehearsal();
    // Before the engines stop: an update loop that still runs could start one again.
    await this.#ended;
    await this.#renewals.catch(() => {}); // Logged when it ended.
    await Promise.all([...engines.values()].map((engine) => engine.stop()));
    const stopped = reporter.uploader?.stop();
    await this.#link?.close(); // The uploader may wait for a broker that never acknowledges.
    await stopped;
    spool.close();
  }

  /** Enrols, connects to the broker, then polls the assignments until the agent stops. */
  async #enrolAndPoll(): Promise<void> {
    const { fetcher, identity, settings, metadata, drivers, reporter, log, platform } = this.#parts;
    const { troubles } = this.#parts;
    const { clock, random } = platform;
    const answer = await enrolUntilKnown({
      fetcher,
      identity,
      settings,
      clock,
      random,
      log,
      wait: (ms) => this.#enrolPacer.wait(ms),
      stopped: () => this.#closing,
    });
    if (answer === null) return;
    await this.#readyCertificate(answer.certificateAuthority);
    if (this.#closing) return;
    this.#connect(answer);
    const poller = new AssignmentPoller({
      refresh: () => metadata.refresh(),
      drivers,
      reporter,
      troubles,
      log,
    });
    const pace = new PollPace({ everyMs: settings.server.poll_seconds * SECOND_MS, random });
    while (!this.#closing) {
      await poller.poll();
      for (const pacer of this.#updatePacers.values()) pacer.wake();
      await this.#pollPacer.wait(pace.waitMs(poller.retryAfterMs));
    }
  }

  /** Loads or gets the client certificate, and renews it from then on. */
  async #readyCertificate(authority: string | undefined): Promise<void> {
    if (authority === undefined) return;
    const { platform, identity, disk, dataDir, fetcher, time, log } = this.#parts;
    const { random } = platform;
    const device = identity.id;
    const certificate = new ClientCertificate({
      device,
      disk,
      dataDir,
      fetcher,
      clock: time.clock,
      random,
      log,
    });
    this.#certificate = certificate;
    await certificate.load(authority);
    let waitMs = await certificate.renew(authority);
    const renewals = async (): Promise<void> => {
      for (;;) {
        await this.#certificatePacer.wait(waitMs);
        if (this.#closing) return;
        waitMs = await certificate.renew(authority);
      }
    };
    this.#renewals = renewals();
    this.#renewals.catch((error: unknown) => log.error({ err: error }, 'renewals ended'));
  }

  #connect({ mqttPort, mqttUrl, mqttCa }: EnrolAnswer): void {
    const { settings, platform, identity, reporter, spool, log, token, proxies } = this.#parts;
    const { clock, random } = platform;
    const server = new URL(settings.server.url);
    const scheme = server.protocol === 'https:' ? 'mqtts' : 'mqtt';
    const link = new MqttLink({
      url: settings.mqtt.url ?? mqttUrl ?? `${scheme}://${server.hostname}:${mqttPort}`,
      device: identity.id,
      token: () => token('mqtt'),
      onRefused: () => this.#learnTime(),
      clock,
      random,
      log,
      certificate: () => this.#certificate?.current() ?? null,
      proxies,
      ...readCertificates(settings),
      ...(mqttCa === undefined ? {} : { ca: mqttCa }),
    });
    this.#link = link;
    const device = identity.id;
    listenForHints({ device, link, log, onHint: () => this.#pollPacer.wake() });
    const instance = hex(random.bytes(16));
    reporter.uploader = new TelemetryUploader({
      device,
      instance,
      spool,
      link,
      clock,
      random,
      log,
    });
    reporter.uploader.start();
  }

  /** One authenticated request: its answer tells the server's time. True when that moved. */
  async #learnTime(): Promise<boolean> {
    const { fetcher, time, log } = this.#parts;
    const { steps } = time;
    try {
      await fetcher.get(routes.director('timestamp.json'), limits.timestampMaxBytes);
    } catch (error) {
      if (!isFault(error)) throw error;
      log.debug({ err: reason(error) }, "cannot learn the server's time");
    }
    return time.steps !== steps;
  }

  async #drive(driver: UpdateDriver, pacer: Pacer): Promise<void> {
    while (!this.#closing) {
      const waitMs = await driver.tick();
      if (waitMs > 0) await pacer.wait(waitMs);
    }
  }
}
