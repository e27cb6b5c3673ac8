// The health of this device, reported at a steady pace. A reading that fails is null in the report,
// never an exception.
import os from 'node:os';
import { limits } from '../../shared/base/limits.js';
import { reason } from '../../shared/base/fault-codes.js';
import type { Cancel, Clock, Log } from '../../shared/base/interfaces.js';
import type { HealthBody } from '../../shared/protocol/telemetry.js';
import type { Reporter } from '../interfaces.js';
import { realSensors, type Sensors } from './sensors.js';
import type { Spool } from './spool.js';

export interface DeviceHealthOptions {
  readonly reporter: Reporter;
  readonly spool: Pick<Spool, 'stats' | 'oldestAt'>;
  /** How far the device's own clock is ahead of the server's; null while that is not known. */
  readonly clockErrorMs: () => number | null;
  /** The data folder of the agent: its disk is the one that is reported. */
  readonly folder: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly sensors?: Sensors;
}

/** Reports health at once and then every `limits.healthEveryMs`. */
export class DeviceHealth {
  readonly #options: DeviceHealthOptions;
  readonly #sensors: Sensors;
  readonly #startedAt: number;
  #cancel: Cancel = () => {};
  #running = false;

  constructor(options: DeviceHealthOptions) {
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

  /** `uptimeSeconds` is that of the agent, so that restarts show. */
  async sample(): Promise<HealthBody> {
    const { folder, clockErrorMs, clock } = this.#options;
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
      spool: this.#waiting(),
      clockErrorMs: clockErrorMs(),
    };
  }

  #waiting(): HealthBody['spool'] {
    const { spool, clock } = this.#options;
    const oldestAt = spool.oldestAt();
    if (oldestAt === null) return { ...spool.stats() };
    return { ...spool.stats(), oldestSeconds: count((clock.now() - oldestAt) / 1000) };
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
      // Whatever a sensor throws, the other readings are reported. This is the only place that may
      // catch everything.
      this.#options.log.debug({ sensor: name, err: reason(error) }, 'sensor failed');
      return null;
    }
  }
}

const count = (value: number): number => Math.max(0, Math.floor(value));

function finite(value: number | null | undefined, shape: (value: number) => number): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? shape(value) : null;
}
