// Measures a trial: how the serving release answers, and, on a sample of the same live inputs, how
// the release it replaced answers (the shadow). A request is offered after its answer was sent,
// failed ones too: what both releases fail is the input's fault. It waits in a queue, limited by
// count and bytes, until no request waits or runs, and is dropped when the queue is full, so that
// no answer waits for a comparison. The exception is a device that is never idle: there one
// comparison runs every shadowWaitMaxMs, because without evidence a trial cannot succeed. In each
// block of time one input is run on both, in random order and without other requests, to compare
// their times. Differences are model/differences.ts's, blocks shared/statistics/trial-tally.ts's,
// the verdict shared/statistics/trial-verdict.ts's.
import type { Clock, Random } from '../../../shared/base/interfaces.js';
import { isFault } from '../../../shared/base/fault-codes.js';
import type { Release } from '../../../shared/release/manifest.js';
import type { ComparisonEvidence } from '../../../shared/statistics/trial-evidence.js';
import { TrialTally } from '../../../shared/statistics/trial-tally.js';
import { addAnswer, emptyAnswers, type Answers } from '../../../shared/statistics/trial-verdict.js';
import type { Measured } from '../../interfaces.js';
import type { InferenceLimits } from '../inference-limits.js';
import { classify, type Classified } from '../model/classify.js';
import { guard, nonFiniteAnswer } from '../model/guard.js';
import { inputSummary } from '../model/input-signature.js';
import type { Tensor } from '../model/tensor.js';
import type { Replica } from '../model-process/replica.js';
import { ComparedOutputs } from './compared-outputs.js';
import type { BeforeSwap } from './serving-history.js';

/** `outputs` is null where the serving release failed the request. */
interface Pair {
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[] | null;
  readonly bytes: number;
}

/** The part of a replica that a comparison needs. */
export type Shadow = Pick<Replica, 'installed' | 'free' | 'run'>;

export interface TrialOptions extends BeforeSwap {
  readonly clock: Clock;
  readonly random: Random;
  readonly limits: InferenceLimits;
  /** Share of live requests that are compared. */
  readonly shadowSample: number;
  /** What the rehearsal against this old release found; the comparisons go on from there. */
  readonly rehearsedWith: (old: Release) => readonly ComparisonEvidence[];
  /** True while no request waits or runs. */
  readonly isIdle: () => boolean;
  /** A comparison ended. Its replica is free again, and may be the serving one by now. */
  readonly onCompared: () => void;
}

export class Trial {
  readonly #serving: Shadow;
  readonly #options: TrialOptions;
  readonly #startedAt: number;
  #shadow: Shadow | null = null;
  /** Null while nothing can be compared. */
  #compared: ComparedOutputs | null = null;
  #tally: TrialTally;
  #queue: Pair[] = [];
  #queueBytes = 0;
  #comparedAt: number;
  #new: Answers | null = null;
  #old: Answers | null = null;

  constructor(serving: Shadow, options: TrialOptions) {
    this.#serving = serving;
    this.#options = options;
    this.#comparedAt = options.clock.monotonic();
    this.#startedAt = this.#seconds;
    this.#tally = this.#newTally(null);
  }

  /** The replica of the old release; null when there is none any more. Measurements stay. */
  attach(shadow: Shadow | null): void {
    if (shadow === this.#shadow) return;
    this.#shadow = shadow;
    this.#queue = [];
    this.#queueBytes = 0;
    if (shadow === null || this.#compared !== null) return;
    const { release: old } = shadow.installed;
    const compared = new ComparedOutputs(this.#serving.installed.release, old);
    if (compared.comparisons.length === 0) return;
    this.#compared = compared;
    this.#tally = this.#newTally(old);
    if (compared.labelOf === null) return;
    this.#new ??= emptyAnswers(compared.labelOf.length);
    this.#old ??= emptyAnswers(compared.labelOf.length);
  }

  #newTally(old: Release | null): TrialTally {
    const { meter, oldErrorPermille, slowMs, rehearsedWith } = this.#options;
    return new TrialTally({
      startedAt: this.#startedAt,
      meter,
      oldErrorPermille,
      slowMs,
      comparisons: this.#compared?.declared ?? [],
      rehearsed: old === null ? [] : rehearsedWith(old),
    });
  }

  get #seconds(): number {
    return this.#options.clock.monotonic() / 1000;
  }

  get #compares(): boolean {
    return this.#shadow !== null && this.#compared !== null;
  }

  countFault(): void {
    this.#tally.fault();
  }

  /** A live request that was answered. Cheap: it only counts and adds to the queue. */
  served(
    inputs: readonly Tensor[],
    outputs: readonly Tensor[],
    { runMs, score }: { readonly runMs: number; readonly score: number | null },
  ): void {
    this.#tally.input({ seconds: this.#seconds, score, summary: inputSummary(inputs) });
    this.#tally.served(this.#seconds, runMs);
    this.#offer(inputs, outputs);
  }

  /** A live request that the serving release failed. */
  failed(inputs: readonly Tensor[]): void {
    this.#tally.failed();
    this.#offer(inputs, null);
  }

  #offer(inputs: readonly Tensor[], outputs: readonly Tensor[] | null): void {
    const { limits, shadowSample, random } = this.#options;
    if (!this.#compares) {
      this.#tally.alone(this.#seconds, outputs === null);
      return;
    }
    if (shadowSample < 1 && random.fraction() >= shadowSample) return;
    let bytes = 0;
    for (const { data } of inputs) bytes += data.byteLength;
    for (const { data } of outputs ?? []) bytes += data.byteLength;
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
    const old = await this.#runBoth(shadow, pair);
    if (old === undefined || this.#shadow !== shadow) return;
    const { outputs } = pair;
    const differences =
      outputs === null || old === null ? [] : this.#compared?.differences(outputs, old);
    this.#tally.compared(this.#seconds, {
      newFailed: outputs === null,
      oldFailed: old === null,
      differences: differences ?? [],
    });
    if (outputs !== null && old !== null) this.#addAnswers(outputs, old);
  }

  /** The old release's answer; null where it fails the input, undefined where it could not run. */
  async #runBoth(shadow: Shadow, { inputs, outputs }: Pair): Promise<Tensor[] | null | undefined> {
    const { random, isIdle } = this.#options;
    const timing =
      outputs !== null && isIdle() && this.#serving.free && this.#tally.wantsTiming(this.#seconds);
    if (!timing) return (await this.#runOn(shadow, inputs)).outputs;
    const newFirst = random.fraction() < 0.5;
    const first = await this.#runOn(newFirst ? this.#serving : shadow, inputs);
    // Requests go first: one that came meanwhile ends the timing.
    const other = newFirst ? shadow : this.#serving;
    if (!isIdle() || !other.free) return newFirst ? undefined : first.outputs;
    const second = await this.#runOn(other, inputs);
    const [fresh, old] = newFirst ? [first, second] : [second, first];
    if (fresh.ms !== null && old.ms !== null) this.#tally.timed(this.#seconds, fresh.ms, old.ms);
    return old.outputs;
  }

  /** `ms` is null where it did not answer. */
  async #runOn(
    replica: Shadow,
    given: readonly Tensor[],
  ): Promise<{ outputs: Tensor[] | null | undefined; ms: number | null }> {
    const { clock, limits } = this.#options;
    const since = clock.monotonic();
    try {
      const { manifest } = replica.installed.release;
      const inputs = guard(manifest.inputs, given, limits.requestMaxBytes);
      const outputs = await replica.run(inputs);
      const withheld = nonFiniteAnswer(outputs) !== null;
      return { outputs: withheld ? null : outputs, ms: clock.monotonic() - since };
    } catch (error) {
      if (!isFault(error)) throw error;
      // A process that died answers nothing; a model that refuses an input does.
      return { outputs: error.code === 'host_died' ? undefined : null, ms: null };
    }
  }

  #addAnswers(fresh: readonly Tensor[], old: readonly Tensor[]): void {
    const labelOf = this.#compared?.labelOf ?? null;
    const { classifier } = this.#serving.installed.release.manifest;
    const oldClassifier = this.#shadow?.installed.release.manifest.classifier ?? null;
    if (labelOf === null || classifier === null || oldClassifier === null) return;
    const newRows = classify(classifier, fresh);
    const oldRows = classify(oldClassifier, old);
    if (newRows?.length !== oldRows?.length) return;
    for (const [i, row] of (newRows ?? []).entries()) {
      const oldRow = oldRows?.[i] as Classified;
      if (this.#new !== null) addAnswer(this.#new, row.index, row.confidence);
      if (this.#old !== null)
        addAnswer(this.#old, labelOf[oldRow.index] as number, oldRow.confidence);
    }
  }

  evidence(): Measured {
    const { replaces: _, ...measured } = this.#tally.evidence(this.#seconds, {
      replaces: false,
      comparable: this.#compared !== null,
      new: structuredClone(this.#new),
      old: structuredClone(this.#old),
    });
    return measured;
  }
}
