// What the device tells of itself: its health at a steady pace, and what its models answered, as
// deltas per release. A sensor that fails is null in the report, never an exception. Health is kept
// cheap, for it shares the supervisor's event loop: no child process is started on Linux
// (systeminformation's disk and temperature calls start shells, one of them synchronously, so that
// those two read statfs and /sys here; its cpu and memory calls only read /proc).
import { readFile, readdir, statfs } from 'node:fs/promises';
import os from 'node:os';
import { join } from 'node:path';
import si from 'systeminformation';
import { limits } from '../../shared/base/limits.js';
import { reason } from '../../shared/base/fault-codes.js';
import type { Cancel, Clock, Log } from '../../shared/base/interfaces.js';
import type { HealthBody, InferenceBody } from '../../shared/protocol/telemetry.js';
import type { ReleaseRef } from '../../shared/release/release-ref.js';
import { QuantileSketch } from '../../shared/statistics/quantile-sketch.js';
import { addAnswer, emptyAnswers, type Answers } from '../../shared/statistics/trial-verdict.js';
import type { Reporter } from '../interfaces.js';
import type { SpoolStats } from './spool.js';

/**
 * Each may reject or give NaN. Load as a share in [0, 1], memory and disk in bytes, temperature in
 * degrees Celsius.
 */
export interface Sensors {
  cpuUse(): Promise<number>;
  memory(): Promise<{ total: number; available: number }>;
  temperature(): Promise<number | null>;
  disk(folder: string): Promise<{ total: number; free: number }>;
}

export const realSensors: Sensors = {
  cpuUse: async () => (await si.currentLoad()).currentLoad / 100,
  memory: async () => {
    const { total, available } = await si.mem();
    return { total, available };
  },
  temperature: () =>
    process.platform === 'linux'
      ? linuxTemperature('/sys/class/thermal')
      : si.cpuTemperature().then(({ main }) => main),
  disk: async (folder) => {
    const { blocks, bavail, bsize } = await statfs(folder);
    return { total: blocks * bsize, free: bavail * bsize };
  },
};

/**
 * The hottest thermal zone (kernel Documentation/driver-api/thermal/sysfs-api: millidegrees); null
 * when there is none.
 */
export async function linuxTemperature(folder: string): Promise<number | null> {
  const zones = (await readdir(folder)).filter((name) => name.startsWith('thermal_zone'));
  const readings = await Promise.allSettled(
    zones.map((zone) => readFile(join(folder, zone, 'temp'), 'utf8')),
  );
  const degrees = readings
    .flatMap((reading) =>
      reading.status === 'fulfilled' ? [Number.parseInt(reading.value, 10) / 1000] : [],
    )
    .filter((value) => value > -60 && value < 200); // A zone without a sensor tells nonsense.
  return degrees.length === 0 ? null : Math.max(...degrees);
}

export interface HealthOptions {
  readonly reporter: Reporter;
  readonly spoolStats: () => SpoolStats;
  /** Where the agent keeps its data: the disk that matters. */
  readonly folder: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly sensors?: Sensors;
}

/** Reports health at once and then every `bounds.healthEveryMs`. */
export class HealthCollector {
  readonly #options: HealthOptions;
  readonly #sensors: Sensors;
  readonly #startedAt: number;
  #cancel: Cancel = () => {};
  #running = false;

  constructor(options: HealthOptions) {
    this.#options = options;
    this.#sensors = options.sensors ?? realSensors;
    this.#startedAt = options.clock.monotonic();
  }

  start(): void {
    this.#running = true;
    void this.#beat();
  }

  stop(): void {
    this.#running = false;
    this.#cancel();
  }

  /** `uptimeSeconds` is the agent's own, so that restarts show. */
  async sample(): Promise<HealthBody> {
    const { folder, spoolStats, clock } = this.#options;
    const [cpu, memory, temperature, disk] = await Promise.all([
      this.#reading('cpu', () => this.#sensors.cpuUse()),
      this.#reading('memory', () => this.#sensors.memory()),
      this.#reading('temperature', () => this.#sensors.temperature()),
      this.#reading('disk', () => this.#sensors.disk(folder)),
    ]);
    return {
      cpuUse: finite(cpu, (value) => Math.min(1, Math.max(0, value))),
      memoryTotalBytes: finite(memory?.total, count) ?? os.totalmem(),
      memoryAvailableBytes: finite(memory?.available, count) ?? os.freemem(),
      temperatureC: finite(temperature, (value) => value),
      diskTotalBytes: finite(disk?.total, count),
      diskFreeBytes: finite(disk?.free, count),
      agentRssBytes: process.memoryUsage.rss(),
      uptimeSeconds: Math.max(0, Math.round((clock.monotonic() - this.#startedAt) / 1000)),
      spool: { ...spoolStats() },
    };
  }

  async #beat(): Promise<void> {
    const body = await this.sample();
    if (!this.#running) return;
    this.#options.reporter.report('health', body);
    this.#cancel = this.#options.clock.after(limits.healthEveryMs, () => void this.#beat());
  }

  async #reading<T>(name: string, read: () => Promise<T>): Promise<T | null> {
    try {
      return await read();
    } catch (error) {
      // Whatever a sensor throws, the other readings are worth having. This is the one place that
      // may catch everything.
      this.#options.log.debug({ sensor: name, error: reason(error) }, 'sensor failed');
      return null;
    }
  }
}

const count = (value: number): number => Math.max(0, Math.floor(value));

function finite(value: number | null | undefined, shape: (value: number) => number): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? shape(value) : null;
}

/**
 * One answer of the engine. `classes` has one entry a classified input, null when the release
 * declares no classifier.
 */
export interface InferenceAnswer {
  readonly release: ReleaseRef;
  readonly latencyMs: number;
  readonly outcome: 'served' | 'failed' | 'refused';
  readonly classes: readonly { index: number; confidence: number }[] | null;
  /** How many classes the release has. */
  readonly labels: number;
}

interface Tally {
  readonly release: ReleaseRef;
  readonly latency: QuantileSketch;
  served: number;
  failed: number;
  refused: number;
  answers: Answers | null;
}

const CLASSES_MAX = 1000;

/**
 * Counts answers and reports the deltas per release every `bounds.inferenceEveryMs`, when there
 * were any. Latency is that of served answers.
 */
export class InferenceStats {
  readonly #reporter: Reporter;
  readonly #clock: Clock;
  readonly #tallies = new Map<string, Tally>();
  #since: number;
  #cancel: Cancel = () => {};

  constructor(options: { reporter: Reporter; clock: Clock }) {
    this.#reporter = options.reporter;
    this.#clock = options.clock;
    this.#since = options.clock.monotonic();
  }

  start(): void {
    this.#cancel();
    this.#cancel = this.#clock.after(limits.inferenceEveryMs, () => {
      this.flush();
      this.start();
    });
  }

  /** Reports what has come since the last report, then no more. */
  stop(): void {
    this.#cancel();
    this.flush();
  }

  take(answer: InferenceAnswer): void {
    const tally = this.#tallyOf(answer.release);
    tally[answer.outcome] += 1;
    if (answer.outcome !== 'served') return;
    tally.latency.add(answer.latencyMs);
    if (answer.classes === null || answer.labels < 1 || answer.labels > CLASSES_MAX) return;
    tally.answers ??= emptyAnswers(answer.labels);
    for (const { index, confidence } of answer.classes) addAnswer(tally.answers, index, confidence);
  }

  flush(): void {
    const now = this.#clock.monotonic();
    const seconds = Math.max(0, (now - this.#since) / 1000);
    this.#since = now;
    const tallies = [...this.#tallies.values()];
    this.#tallies.clear();
    for (const { release, latency, served, failed, refused, answers } of tallies) {
      const body: InferenceBody = {
        release,
        seconds,
        served,
        failed,
        refused,
        latencyMs: latency.toSketch(),
        answers,
      };
      this.#reporter.report('inference', body);
    }
  }

  #tallyOf(release: ReleaseRef): Tally {
    let tally = this.#tallies.get(release.digest);
    if (tally === undefined) {
      const { component, version, digest } = release;
      tally = {
        release: { component, version, digest },
        latency: new QuantileSketch(),
        served: 0,
        failed: 0,
        refused: 0,
        answers: null,
      };
      this.#tallies.set(release.digest, tally);
    }
    return tally;
  }
}
