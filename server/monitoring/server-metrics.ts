// What this process counts about itself: HTTP, ingest and the delay of the event loop. The registry
// is made by server/main.ts and injected: no metric is global. Every label has a fixed set of
// values.
import { Counter, Histogram, Registry } from 'prom-client';
import type { Cancel, Clock } from '../../shared/base/interfaces.js';
import { limits } from '../../shared/base/limits.js';
import type { TelemetryAck } from '../../shared/protocol/telemetry.js';
import { OTHER } from './bounded-series.js';

export type MetricRegistry = Registry;
export const newRegistry = (): MetricRegistry => new Registry();

export interface AnsweredRequest {
  readonly method: string;
  /** The route's template; undefined: there is no such route. */
  readonly route: string | undefined;
  readonly status: number;
  readonly ms: number;
}

const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);
const REQUEST_SECONDS = [0.005, 0.025, 0.1, 0.25, 1, 5, 30];
const DELAY_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

export class ServerMetrics {
  readonly #requests: Counter<'method' | 'route' | 'status'>;
  readonly #requestSeconds: Histogram<'route'>;
  readonly #batches: Counter<'result'>;
  readonly #batchBytes: Counter;
  readonly #records: Counter;
  readonly #delay: Histogram;
  readonly #refused: Counter<'work'>;

  constructor(registry: MetricRegistry) {
    const registers = [registry];
    this.#requests = new Counter({
      name: 'linnet_http_requests_total',
      help: 'HTTP requests that were answered, by route template.',
      labelNames: ['method', 'route', 'status'],
      registers,
    });
    this.#requestSeconds = new Histogram({
      name: 'linnet_http_request_seconds',
      help: 'Time from the head of an HTTP request to the end of its answer.',
      labelNames: ['route'],
      buckets: REQUEST_SECONDS,
      registers,
    });
    this.#batches = new Counter({
      name: 'linnet_ingest_batches_total',
      help: 'Telemetry batches: acknowledged as stored, refused, or not acknowledged.',
      labelNames: ['result'],
      registers,
    });
    for (const result of ['stored', 'refused', 'unacknowledged']) this.#batches.inc({ result }, 0);
    this.#batchBytes = new Counter({
      name: 'linnet_ingest_bytes_total',
      help: 'Bytes of telemetry batches that arrived.',
      registers,
    });
    this.#records = new Counter({
      name: 'linnet_ingest_records_total',
      help: 'Records of telemetry batches that were stored for the first time.',
      registers,
    });
    this.#refused = new Counter({
      name: 'linnet_overload_refusals_total',
      help: 'Logins and requests of devices that were refused because the server was behind.',
      labelNames: ['work'],
      registers,
    });
    for (const work of ['login', 'request']) this.#refused.inc({ work }, 0);
    this.#delay = new Histogram({
      name: 'linnet_event_loop_delay_seconds',
      help: 'How late a regular timer ran.',
      buckets: DELAY_SECONDS,
      registers,
    });
  }

  answered({ method, route, status, ms }: AnsweredRequest): void {
    const name = route ?? OTHER;
    this.#requests.inc({ method: METHODS.has(method) ? method : OTHER, route: name, status });
    this.#requestSeconds.observe({ route: name }, ms / 1000);
  }

  /** `ack` null: it was not acknowledged, and its device sends it again. */
  batch(bytes: number, ack: TelemetryAck | null): void {
    this.#batches.inc({ result: ack?.result ?? 'unacknowledged' });
    this.#batchBytes.inc(bytes);
  }

  records(count: number): void {
    this.#records.inc(count);
  }

  refused(work: 'login' | 'request'): void {
    this.#refused.inc({ work });
  }

  /** Measures until the returned function is called. */
  watchEventLoop(clock: Clock): Cancel {
    let cancel: Cancel;
    const next = (): void => {
      const due = clock.monotonic() + limits.eventLoopLookMs;
      cancel = clock.after(limits.eventLoopLookMs, () => {
        this.#delay.observe(Math.max(0, clock.monotonic() - due) / 1000);
        next();
      });
    };
    next();
    return () => cancel();
  }
}
