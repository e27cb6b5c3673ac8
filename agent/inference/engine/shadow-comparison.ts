// Measures a trial: what the serving release answered, and, on a sample of the same live inputs,
// what the release it replaced answers (the shadow). A pair is offered after its answer was sent.
// It waits in a queue, limited by count and bytes, until no request waits or runs, and is dropped
// when the queue is full, so that no answer waits for a comparison. The exception is a device that
// is never idle: there one comparison runs every shadowWaitMaxMs, because without evidence a trial
// cannot succeed. Every row of a batch counts. Without a classifier two answers agree when every
// element is within the release's own probe tolerance. The verdict is
// shared/statistics/trial-verdict.ts.
import type { Clock, Random } from '../../../shared/base/interfaces.js';
import type { Release } from '../../../shared/release/manifest.js';
import { addAnswer, emptyAnswers, type Answers } from '../../../shared/statistics/trial-verdict.js';
import { isFault } from '../../../shared/base/fault-codes.js';
import type { Measured } from '../../interfaces.js';
import { classify, type Classified } from '../model/classify.js';
import { worstOf } from '../model/compare.js';
import type { Replica } from '../model-process/replica.js';
import { guard } from '../model/guard.js';
import type { InferenceLimits } from '../inference-limits.js';
import type { Tensor } from '../model/tensor.js';

interface Pair {
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  readonly bytes: number;
}

/** The part of a replica that a comparison needs. */
export type Shadow = Pick<Replica, 'installed' | 'free' | 'run'>;

export interface TrialOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly limits: InferenceLimits;
  /** Share of live requests that are compared. */
  readonly shadowSample: number;
  /** True while no request waits or runs. */
  readonly isIdle: () => boolean;
  /** A comparison ended. Its replica is free again, and may be the serving one by now. */
  readonly onCompared: () => void;
}

export class Trial {
  readonly #current: Release;
  readonly #options: TrialOptions;
  readonly #since: number;
  #shadow: Shadow | null = null;
  /** Index of an old label -> index of the new one; null unless both have the same labels. */
  #labelOf: readonly number[] | null = null;
  #comparable = false;
  #queue: Pair[] = [];
  #queueBytes = 0;
  #comparedAt: number;
  #served = 0;
  #failed = 0;
  #modelFaults = 0;
  #pairs = 0;
  #disagreed = 0;
  #new: Answers | null = null;
  #old: Answers | null = null;

  constructor(current: Release, options: TrialOptions) {
    this.#current = current;
    this.#options = options;
    this.#since = options.clock.monotonic();
    this.#comparedAt = this.#since;
  }

  /** The replica of the old release; null when there is none any more. Measurements stay. */
  attach(shadow: Shadow | null): void {
    if (shadow === this.#shadow) return;
    this.#shadow = shadow;
    this.#queue = [];
    this.#queueBytes = 0;
    if (shadow === null) return;
    this.#labelOf = sharedLabels(this.#current, shadow.installed.release);
    this.#comparable =
      this.#labelOf !== null || bothUnclassified(this.#current, shadow.installed.release);
    if (this.#labelOf !== null) {
      this.#new ??= emptyAnswers(this.#labelOf.length);
      this.#old ??= emptyAnswers(this.#labelOf.length);
    }
  }

  countServed(): void {
    this.#served += 1;
  }

  countFailed(): void {
    this.#failed += 1;
  }

  countFault(): void {
    this.#modelFaults += 1;
  }

  /** A live request that was answered. Cheap: it only adds to the queue. */
  offer(inputs: readonly Tensor[], outputs: readonly Tensor[]): void {
    const { limits, shadowSample, random } = this.#options;
    if (this.#shadow === null || !this.#comparable) return;
    if (shadowSample < 1 && random.fraction() >= shadowSample) return;
    let bytes = 0;
    for (const { data } of inputs) bytes += data.byteLength;
    for (const { data } of outputs) bytes += data.byteLength;
    if (
      this.#queue.length >= limits.shadowQueueMaxCount ||
      this.#queueBytes + bytes > limits.requestMaxBytes
    )
      return;
    this.#queue.push({ inputs, outputs, bytes });
    this.#queueBytes += bytes;
  }

  /**
   * Runs the next comparison if the shadow is free. Called after answers were sent and when the
   * shadow becomes free.
   */
  pump(): void {
    const shadow = this.#shadow;
    if (shadow === null || !shadow.free) return;
    const { clock, limits, isIdle } = this.#options;
    const now = clock.monotonic();
    if (!isIdle() && now - this.#comparedAt < limits.shadowWaitMaxMs) return;
    const pair = this.#queue.shift();
    if (pair === undefined) return;
    this.#queueBytes -= pair.bytes;
    this.#comparedAt = now;
    void this.#compare(shadow, pair).then(() => {
      this.pump();
      this.#options.onCompared();
    });
  }

  async #compare(shadow: Shadow, pair: Pair): Promise<void> {
    const { release } = shadow.installed;
    try {
      const inputs = guard(
        release.manifest.inputs,
        pair.inputs,
        this.#options.limits.requestMaxBytes,
      );
      const outputs = await shadow.run(inputs);
      if (this.#shadow === shadow) this.#count(pair.outputs, outputs, release);
    } catch (error) {
      // The old model's own failures and crashes say nothing about the new one: no pair.
      if (!isFault(error)) throw error;
    }
  }

  #count(fresh: readonly Tensor[], old: readonly Tensor[], release: Release): void {
    const labelOf = this.#labelOf;
    const { classifier, probes } = this.#current.manifest;
    if (labelOf === null || classifier === null || release.manifest.classifier === null) {
      this.#pairs += 1;
      const worst = worstOf(fresh, old, probes.tolerance);
      if (!worst.within) this.#disagreed += 1;
      return;
    }
    const newRows = classify(classifier, fresh);
    const oldRows = classify(release.manifest.classifier, old);
    // Non-finite answers of the new model count as failed requests, not here.
    if (newRows === null || oldRows === null) return;
    this.#pairs += newRows.length;
    if (newRows.length !== oldRows.length) {
      this.#disagreed += newRows.length;
      return;
    }
    for (const [i, row] of newRows.entries()) {
      const oldRow = oldRows[i] as Classified;
      const oldIndex = labelOf[oldRow.index] as number;
      if (row.index !== oldIndex) this.#disagreed += 1;
      if (this.#new !== null) addAnswer(this.#new, row.index, row.confidence);
      if (this.#old !== null) addAnswer(this.#old, oldIndex, oldRow.confidence);
    }
  }

  evidence(): Measured {
    return {
      seconds: (this.#options.clock.monotonic() - this.#since) / 1000,
      served: this.#served,
      failed: this.#failed,
      modelFaults: this.#modelFaults,
      pairs: this.#pairs,
      disagreed: this.#disagreed,
      new: structuredClone(this.#new),
      old: structuredClone(this.#old),
      comparable: this.#comparable,
    };
  }
}

function sharedLabels(current: Release, old: Release): number[] | null {
  const [a, b] = [current.manifest.classifier, old.manifest.classifier];
  if (a === null || b === null || a.labels.length !== b.labels.length || !sameInputs(current, old))
    return null;
  const indexes = b.labels.map((label) => a.labels.indexOf(label));
  return indexes.includes(-1) || new Set(indexes).size !== indexes.length ? null : indexes;
}

function bothUnclassified(current: Release, old: Release): boolean {
  const outputs = ({ manifest }: Release) =>
    manifest.outputs.map(({ name, datatype }) => `${name} ${datatype}`).join();
  return (
    current.manifest.classifier === null &&
    old.manifest.classifier === null &&
    sameInputs(current, old) &&
    outputs(current) === outputs(old)
  );
}

function sameInputs(current: Release, old: Release): boolean {
  const inputs = ({ manifest }: Release) =>
    manifest.inputs
      .map(({ name, datatype, shape }) => `${name} ${datatype} ${shape.length}`)
      .sort()
      .join();
  return inputs(current) === inputs(old);
}
