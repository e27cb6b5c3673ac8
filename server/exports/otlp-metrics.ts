// The metrics of this process, the same as at /metrics, pushed by OTLP at regular times: for
// networks in which no scraper can reach the server. Sums and histograms are cumulative since the
// start of the process, as Prometheus counts them, so a push that failed loses nothing but its
// time.
import type { Cancel, Clock, Log } from '../../shared/base/interfaces.js';
import { limits } from '../../shared/base/limits.js';
import {
  attribute,
  nanoseconds,
  postOtlp,
  resourceOf,
  SCOPE,
  type OtlpOptions,
} from './otlp-http.js';

/** AGGREGATION_TEMPORALITY_CUMULATIVE. */
const CUMULATIVE = 2;

/** As prom-client gives them; its own types leave out `metricName`, which histograms have. */
interface Value {
  readonly value: number;
  readonly labels: Readonly<Record<string, string | number | undefined>>;
  readonly metricName?: string;
}
interface Metric {
  readonly name: string;
  readonly help: string;
  readonly type: unknown;
  readonly values: readonly Value[];
}

export interface OtlpMetricsOptions {
  readonly otlp: OtlpOptions;
  readonly registry: { getMetricsAsJSON(): Promise<readonly Metric[]> };
  readonly clock: Clock;
  readonly log: Log;
}

export class OtlpMetrics {
  readonly #options: OtlpMetricsOptions;
  readonly #startedAt: number;
  #isFailing = false;
  #stopped = false;
  #cancel: Cancel = () => {};
  #turn: Promise<void> = Promise.resolve();

  constructor(options: OtlpMetricsOptions) {
    this.#options = options;
    this.#startedAt = options.clock.now();
  }

  start(): void {
    this.#turn = this.#push();
  }

  /** Resolves when nothing is under way any more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel();
    await this.#turn;
  }

  async #push(): Promise<void> {
    const { otlp, registry, clock, log } = this.#options;
    try {
      const metrics = await registry.getMetricsAsJSON();
      await postOtlp(otlp, '/v1/metrics', {
        resourceMetrics: [
          {
            resource: resourceOf(otlp),
            scopeMetrics: [
              {
                scope: SCOPE,
                metrics: metrics.flatMap((metric) =>
                  otlpMetric(metric, this.#startedAt, clock.now()),
                ),
              },
            ],
          },
        ],
      });
      if (this.#isFailing) log.info({}, 'metrics are pushed again');
      this.#isFailing = false;
    } catch (err) {
      if (!this.#isFailing) log.warn({ err }, 'cannot push metrics; will retry');
      this.#isFailing = true;
    }
    if (!this.#stopped)
      this.#cancel = clock.after(limits.metricsPushEveryMs, () => {
        this.start();
      });
  }
}

/** None for a metric without values, or of a type that OTLP lacks. Times are ms since the epoch. */
function otlpMetric(metric: Metric, startedAt: number, now: number): unknown[] {
  const { name, help: description, values } = metric;
  const times = { startTimeUnixNano: nanoseconds(startedAt), timeUnixNano: nanoseconds(now) };
  const type = String(metric.type);
  if (values.length === 0) return [];
  if (type === 'histogram') {
    const dataPoints = seriesOf(values).map((series) => ({ ...times, ...pointOf(series) }));
    return [{ name, description, histogram: { aggregationTemporality: CUMULATIVE, dataPoints } }];
  }
  if (type !== 'counter' && type !== 'gauge') return [];
  const dataPoints = values.map(({ labels, value }) => ({
    ...times,
    attributes: attributesOf(labels),
    asDouble: value,
  }));
  return [
    type === 'gauge'
      ? { name, description, gauge: { dataPoints } }
      : {
          name,
          description,
          sum: { aggregationTemporality: CUMULATIVE, isMonotonic: true, dataPoints },
        },
  ];
}

const attributesOf = (labels: Value['labels']): unknown[] =>
  Object.entries(labels)
    .filter(([key]) => key !== 'le')
    .map(([key, value]) => attribute(key, String(value)));

/** The values of a histogram, by their labels without `le`. */
function seriesOf(values: readonly Value[]): Value[][] {
  const series = new Map<string, Value[]>();
  for (const value of values) {
    const key = JSON.stringify(attributesOf(value.labels));
    series.set(key, [...(series.get(key) ?? []), value]);
  }
  return [...series.values()];
}

/** Prometheus counts a bucket with all below it; OTLP counts each alone. */
function pointOf(series: readonly Value[]): object {
  const of = (suffix: string): Value[] =>
    series.filter(({ metricName }) => metricName?.endsWith(suffix) === true);
  const buckets = of('_bucket')
    .map(({ labels: { le }, value }) => ({ bound: le === '+Inf' ? Infinity : Number(le), value }))
    .sort((a, b) => a.bound - b.bound);
  const counts = buckets.map(({ value }, index) => value - (buckets[index - 1]?.value ?? 0));
  return {
    attributes: attributesOf(series[0]?.labels ?? {}),
    count: String(of('_count')[0]?.value ?? 0),
    sum: of('_sum')[0]?.value ?? 0,
    bucketCounts: counts.map(String),
    explicitBounds: buckets.map(({ bound }) => bound).filter(Number.isFinite),
  };
}
