// One simulated device around the real update machine: a disk that loses power, a fetcher that
// serves real releases, and a runtime that refuses to serve anything whose bytes are not exactly
// those of a signed manifest.
import { Fault } from '../../shared/base/fault-codes.js';
import { silentLog, type Log, type Clock } from '../../shared/base/interfaces.js';
import type { AcceptanceSet } from '../../shared/release/acceptance-set.js';
import type { BodyOf, Kind } from '../../shared/protocol/telemetry.js';
import { trialEvidence } from '../support/trial-evidence.js';
import type {
  ColdStart,
  Fetcher,
  Installed,
  Measured,
  ModelRuntime,
  ProbeReport,
  Rehearsed,
  Standing,
} from '../../agent/interfaces.js';
import { UpdateDriver } from '../../agent/update/driver.js';
import type { FileCodec } from '../../agent/update/codec/codec.js';
import type { PayloadHandler } from '../../agent/update/payload/handler.js';
import { ModelHandler } from '../../agent/update/payload/model.js';
import type { Assignment } from '../../agent/update/record.js';
import { Troubles } from '../../agent/update/troubles.js';
import { acceptanceRing, ring, type AnySimRelease } from './release.js';
import { SimDisk } from './disk.js';

class SimClock implements Clock {
  at = 1_000_000;
  now = (): number => this.at;
  monotonic = (): number => this.at;
  after(ms: number, fn: () => void): () => void {
    this.at += ms;
    queueMicrotask(fn);
    return () => {};
  }
}

class SimFetcher implements Fetcher {
  opened: string[] = [];
  down = false;
  /** The server answers, but has no file (yet). */
  missing = false;
  tamper: ((bytes: Uint8Array) => Uint8Array) | null = null;
  /** The first transfer breaks after so many bytes. */
  cutAfter = Number.POSITIVE_INFINITY;
  /** Files of no release. */
  readonly others = new Map<string, Uint8Array>();
  readonly #releases: readonly AnySimRelease[];

  constructor(releases: readonly AnySimRelease[]) {
    this.#releases = releases;
  }

  get(): Promise<Uint8Array | null> {
    return Promise.resolve(null);
  }

  post(): Promise<unknown> {
    throw new Error('not used');
  }

  async open(path: string, offset: number): Promise<AsyncIterable<Uint8Array>> {
    if (this.down) throw new Fault('server_unreachable', 'the network is away');
    this.opened.push(`${path}@${offset}`);
    const digest = path.split('/').at(-1) ?? '';
    const found =
      this.others.get(digest) ??
      this.#releases
        .map((release) => release.files.get(digest))
        .find((bytes) => bytes !== undefined);
    if (found === undefined || this.missing) throw new Fault('not_found', path);
    const bytes = (this.tamper?.(found) ?? found).subarray(offset);
    const end = this.cutAfter;
    this.cutAfter = Number.POSITIVE_INFINITY;
    return (async function* chunks() {
      for (let at = 0; at < bytes.length; at += 50) {
        if (at >= end) throw new Fault('fetch_interrupted', 'the connection was cut');
        yield bytes.subarray(at, at + 50);
      }
    })();
  }
}

export class SimRuntime implements ModelRuntime {
  /** The acceptance set of the last probe. */
  acceptance: AcceptanceSet | null = null;
  serving: string | null = null;
  /** What runs beside it in a trial. */
  beside: string | null = null;
  /** What runs beside it as a shadow, and never serves; and each that did. */
  candidate: string | null = null;
  candidates: string[] = [];
  history: string[] = [];
  probeReport: Partial<ProbeReport> = {};
  failServe: ((version: string) => Fault | null) | null = null;
  failShadow: (() => Fault | null) | null = null;
  /** How many cold starts there were, and how the next one ends. */
  coldStarts = 0;
  onColdStart: (() => ColdStart | Fault | Promise<ColdStart>) | null = null;
  evidenceNow: Partial<Measured> = {};
  rehearsed: Rehearsed = { none: 'not simulated' };
  rehearsals = 0;
  /** By version; healthy when left out. */
  readonly standings = new Map<string, Standing>();
  readonly #disk: SimDisk;
  /** What serves was compared with another release; that stays when that one runs no longer. */
  #compared = false;

  constructor(disk: SimDisk) {
    this.#disk = disk;
  }

  async probe(candidate: Installed, acceptance: AcceptanceSet | null): Promise<ProbeReport> {
    this.acceptance = acceptance;
    await this.#onlyVerified(candidate);
    return {
      passed: true,
      code: null,
      reasons: 'simulated',
      p99LatencyMs: 1,
      peakMemoryMiB: 1,
      worstDifference: 0,
      ...this.probeReport,
    };
  }

  async rehearse(candidate: Installed, current: Installed): Promise<Rehearsed> {
    await this.#onlyVerified(candidate);
    await this.#onlyVerified(current);
    this.rehearsals += 1;
    return this.rehearsed;
  }

  async serve(current: Installed, shadow: Installed | null): Promise<void> {
    const fault = this.failServe?.(current.release.version) ?? null;
    if (fault !== null) throw fault;
    await this.#onlyVerified(current);
    if (shadow !== null) await this.#onlyVerified(shadow);
    if (this.serving !== current.release.version) {
      this.history.push(current.release.version);
      this.#compared = false;
    }
    this.serving = current.release.version;
    this.beside = shadow?.release.version ?? null;
    this.#compared ||= shadow !== null;
  }

  async shadow(candidate: Installed | null): Promise<void> {
    const version = candidate?.release.version ?? null;
    if (candidate === null || version === null || this.candidate === version) {
      this.candidate = version;
      return;
    }
    if (this.serving === null) throw new Error('a shadow beside nothing');
    const fault = this.failShadow?.() ?? null;
    if (fault !== null) throw fault;
    await this.#onlyVerified(candidate);
    this.candidate = version;
    this.candidates.push(version);
  }

  shadowEvidence(): Measured | null {
    return this.candidate === null ? null : { ...this.#evidence(), comparable: true };
  }

  async restart(lacking: () => Promise<string | null>): Promise<ColdStart> {
    if (this.serving === null) throw new Error('a cold start of nothing');
    this.beside = null;
    const none = await lacking();
    if (none !== null) return { none };
    this.coldStarts += 1;
    const end = (await this.onColdStart?.()) ?? { tookMs: 812 };
    if (end instanceof Fault) throw end;
    return end;
  }

  stop(): Promise<void> {
    this.serving = null;
    this.candidate = null;
    this.history.push('nothing');
    return Promise.resolve();
  }

  evidence(): Measured {
    const comparable = this.#compared && this.evidenceNow.comparable !== false;
    return { ...this.#evidence(), comparable };
  }

  #evidence(): Measured {
    return { ...trialEvidence({ pairs: 500, differing: 10, seconds: 60 }), ...this.evidenceNow };
  }

  standing(): Standing {
    return this.standings.get(this.serving ?? '') ?? { conditions: [], crashLoop: null };
  }

  async #onlyVerified({ release, folder }: Installed): Promise<void> {
    for (const file of release.manifest.files) {
      const found = await this.#disk.sha256(`${folder}/${file.name}`);
      if (found?.sha256 !== file.sha256)
        throw new Error(`UNVERIFIED BYTES reached the runtime: ${release.version} ${file.name}`);
    }
  }
}

export interface SimDevice {
  readonly driver: UpdateDriver;
  readonly runtime: SimRuntime;
  readonly fetcher: SimFetcher;
  readonly clock: SimClock;
  readonly reports: { kind: Kind; body: BodyOf<Kind> }[];
}

export interface BootOptions {
  readonly hardware?: string;
  readonly memory?: number | (() => number);
  /** When the update hours begin; open when left out. */
  opensAt?: number | null;
  readonly failServe?: SimRuntime['failServe'];
  readonly evidence?: Partial<Measured>;
  readonly rehearsed?: Rehearsed;
  /** Instead of the handler for models. */
  readonly handlers?: readonly PayloadHandler[];
  readonly codecs?: readonly FileCodec[];
  readonly traceOf?: (assignmentId: number) => string | undefined;
  readonly log?: Log;
}

/** A booted device on `disk`: its processes are new, what stands on disk is old. */
export async function bootDevice(
  disk: SimDisk,
  releases: readonly AnySimRelease[],
  options: BootOptions = {},
): Promise<SimDevice> {
  const runtime = new SimRuntime(disk);
  runtime.failServe = options.failServe ?? null;
  runtime.evidenceNow = options.evidence ?? {};
  runtime.rehearsed = options.rehearsed ?? runtime.rehearsed;
  const fetcher = new SimFetcher(releases);
  const reports: SimDevice['reports'] = [];
  const clock = new SimClock();
  const { memory = 1e10 } = options;
  const resources = {
    memoryAvailableBytes: () => Promise.resolve(typeof memory === 'number' ? memory : memory()),
  };
  const driver = new UpdateDriver({
    component: 'digits',
    hardware: options.hardware ?? 'sim',
    folder: '/data/components/digits',
    disk,
    fetcher,
    handlers: options.handlers ?? [new ModelHandler({ runtime, resources })],
    codecs: options.codecs ?? [],
    troubles: new Troubles({ clock }),
    directorVersion: () => 0,
    traceOf: options.traceOf ?? (() => undefined),
    opensAt: () => options.opensAt ?? null,
    clock,
    log: options.log ?? silentLog,
    ring: () => ring,
    acceptanceRing: () => acceptanceRing,
    random: { bytes: (count) => new Uint8Array(count), fraction: () => 0.5 },
    reporter: {
      report: (kind, body) => {
        reports.push({ kind, body });
      },
    },
    fetchEnvelope: (assignment) => {
      const release = releases.find((one) => one.digest === assignment.sha256);
      if (fetcher.down || release === undefined)
        throw new Fault('server_unreachable', 'the network is away');
      return Promise.resolve(release.envelope);
    },
  });
  await driver.start();
  return { driver, runtime, fetcher, clock, reports };
}

/** Ticks until the order has an outcome (or `ticks` are over); waiting costs no time. */
export async function settle(
  device: SimDevice,
  assignment: Assignment | null,
  ticks = 60,
): Promise<void> {
  device.driver.assign(assignment);
  for (let tick = 0; tick < ticks; tick += 1) {
    await device.driver.tick();
    const { state, outcome, assignmentId: taken } = device.driver.record;
    if (
      assignment !== null &&
      state === 'idle' &&
      taken === assignment.assignmentId &&
      outcome?.assignmentId === assignment.assignmentId
    )
      return;
  }
}
