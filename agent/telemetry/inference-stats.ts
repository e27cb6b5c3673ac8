// What the models answered, reported as deltas per release at a steady pace.
import { limits } from '../../shared/base/limits.js';
import type { Cancel, Clock } from '../../shared/base/interfaces.js';
import type { InferenceBody } from '../../shared/protocol/telemetry.js';
import type { ReleaseRef } from '../../shared/release/release-ref.js';
import { QuantileSketch } from '../../shared/statistics/quantile-sketch.js';
import { addAnswer, emptyAnswers, type Answers } from '../../shared/statistics/trial-verdict.js';
import type { Reporter } from '../interfaces.js';

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

/**
 * Counts answers and reports the deltas of each release every `limits.inferenceEveryMs` when there
 * were any. Only served answers count for the latency.
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

  /** Reports what was counted since the last report, for the last time. */
  stop(): void {
    this.#cancel();
    this.flush();
  }

  take(answer: InferenceAnswer): void {
    const tally = this.#tallyOf(answer.release);
    tally[answer.outcome] += 1;
    if (answer.outcome !== 'served') return;
    tally.latency.add(answer.latencyMs);
    if (answer.classes === null || answer.labels < 1 || answer.labels > limits.labelsMaxCount)
      return;
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
