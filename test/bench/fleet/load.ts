// The devices of the benchmark, in a few processes: what can be asked of all of them together.
import { fileURLToPath } from 'node:url';
import { Child } from './child-calls.js';
import type { Target } from './light-device.js';

export interface StartRequest {
  readonly indexes: readonly number[];
  readonly target: Target;
  /** They begin at random times within it. */
  readonly spreadMs: number;
  readonly seed: number;
}

export interface RoundResult {
  /** Wall clock. */
  readonly servedAt: readonly number[];
  readonly unserved: number;
  /** MQTT connections that were begun. */
  readonly attempts: number;
  readonly failedLooks: number;
}

export interface FloodRequest {
  /** The devices with a lower number send. */
  readonly below: number;
  readonly records: number;
  readonly milliseconds: number;
}

export interface FloodResult {
  readonly batches: number;
  /** Milliseconds from the first sending of a batch to its acknowledgement. */
  readonly waits: readonly number[];
  readonly resent: number;
  /** How many rows each device has sent since it exists. */
  readonly rows: readonly (readonly [device: string, count: number])[];
}

export interface PaceRequest {
  /** Devices with a lower index take part. */
  readonly below: number;
  readonly what: 'poll' | 'health';
  readonly milliseconds: number;
}

export interface PaceResult {
  readonly waits: readonly number[];
  readonly failed: number;
}

export interface ReleaseRequest {
  readonly below: number;
  readonly version: string;
  readonly withinMs: number;
}

/** Wall clock; 0: never. */
export interface LookResult {
  readonly hintAt: number;
  readonly haveAt: number;
  readonly hints: number;
  readonly emptyLooks: number;
  readonly failedLooks: number;
}

const CHILD = fileURLToPath(new URL('load-child.js', import.meta.url));

export class Load {
  readonly #children: readonly Child[];

  constructor(processes: number) {
    this.#children = Array.from({ length: processes }, () => new Child(CHILD, []));
  }

  async start(devices: number, target: Target, spreadMs: number): Promise<void> {
    const width = this.#children.length;
    await Promise.all(
      this.#children.map((child, at) => {
        const count = Math.ceil((devices - at) / width);
        const indexes = Array.from({ length: count }, (_, n) => at + n * width);
        const asked: StartRequest = { indexes, target, spreadMs, seed: at + 1 };
        return child.call('start', asked);
      }),
    );
  }

  /** The server has gone: every device is to be served once more. */
  async again(): Promise<void> {
    await this.#all('again');
  }

  async round(withinMs: number): Promise<RoundResult> {
    const results = await this.#all<RoundResult>('round', { withinMs });
    return {
      servedAt: results.flatMap(({ servedAt }) => servedAt),
      unserved: sum(results.map(({ unserved }) => unserved)),
      attempts: sum(results.map(({ attempts }) => attempts)),
      failedLooks: sum(results.map((one) => one.failedLooks)),
    };
  }

  async flood(request: FloodRequest): Promise<FloodResult> {
    const results = await this.#all<FloodResult>('flood', request);
    return {
      batches: sum(results.map(({ batches }) => batches)),
      waits: results.flatMap(({ waits }) => waits),
      resent: sum(results.map(({ resent }) => resent)),
      rows: results.flatMap(({ rows }) => rows),
    };
  }

  async pace(request: PaceRequest): Promise<PaceResult> {
    const results = await this.#all<PaceResult>('pace', request);
    return {
      waits: results.flatMap(({ waits }) => waits),
      failed: sum(results.map(({ failed }) => failed)),
    };
  }

  async watchHints(request: ReleaseRequest): Promise<void> {
    await this.#all('watchHints', request);
  }

  async hintResults(): Promise<LookResult[]> {
    return (await this.#all<LookResult[]>('hintResults')).flat();
  }

  async connected(): Promise<number> {
    return sum(await this.#all<number>('connected'));
  }

  async close(): Promise<void> {
    await Promise.all(this.#children.map((child) => child.kill()));
  }

  #all<T>(name: string, argument?: unknown): Promise<T[]> {
    return Promise.all(this.#children.map((child) => child.call<T>(name, argument)));
  }
}

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
