// Measures a trial: how the serving release answers, and, on a sample of the same live inputs, how
// the release it replaced answers (the shadow). With `isNew: 'shadow'` the roles are swapped: the
// shadow is a candidate that never serves, what serves is the old release, and the candidate's
// answers to the sample are what counts as served and failed. A request is offered after its answer
// was sent, failed ones too: what both releases fail is the input's fault. It waits in a queue,
// limited by count and bytes, until no request waits or runs, and is dropped when the queue is
// full, so that no answer waits for a comparison. The exception is a device that is never idle:
// there one comparison runs every shadowWaitMaxMs, because without evidence a trial cannot succeed.
// In each block of time one input is run on both, in random order and without other requests, to
// compare their times. Differences are model/differences.ts's, blocks
// shared/statistics/trial-tally.ts's, the verdict shared/statistics/trial-verdict.ts's.
import type { Clock, Random } from '../../../shared/base/interfaces.js';
import { isFault } from '../../../shared/base/fault-codes.js';
import type { Release } from '../../../shared/release/manifest.js';
import type { Classifier } from '../../../shared/release/model-manifest.js';
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

/** `outputs` and `runMs` are null where the serving release failed the request. */
interface Pair {
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[] | null;
  readonly runMs: number | null;
  readonly bytes: number;
}

/** One release's answer to an input; null where it failed it. */
interface Answered {
  readonly outputs: readonly Tensor[] | null;
  readonly ms: number | null;
}

/** Outputs are null where the release fails the input, undefined where it could not run. */
interface Run {
  readonly outputs: readonly Tensor[] | null | undefined;
  /** Null where it did not answer. */
  readonly ms: number | null;
}

/** The part of a replica that a comparison needs. */
export type Shadow = Pick<Replica, 'installed' | 'free' | 'run'>;

export interface TrialOptions extends BeforeSwap {
  /** Which of the two is the new release, which is judged. */
  readonly isNew: 'serving' | 'shadow';
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
  #isDisturbed = false;

  constructor(serving: Shadow, options: TrialOptions) {
    this.#serving = serving;
    this.#options = options;
    this.#comparedAt = options.clock.monotonic();
    this.#startedAt = this.#seconds;
    this.#tally = this.#newTally(null);
  }

  /** The replica beside what serves; null when there is none any more. Measurements stay. */
  attach(shadow: Shadow | null): void {
    if (shadow === this.#shadow) return;
    this.#shadow = shadow;
    this.#queue = [];
    this.#queueBytes = 0;
    if (shadow === null || this.#compared !== null) return;
    const [fresh, old] = this.#newAndOld(this.#serving.installed.release, shadow.installed.release);
    const compared = new ComparedOutputs(fresh, old);
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

  /** A candidate that cannot be compared answers the sample all the same: it may crash on it. */
  get #takesPairs(): boolean {
    return this.#shadow !== null && (this.#compared !== null || !this.#judgesServing);
  }

  get #judgesServing(): boolean {
    return this.#options.isNew === 'serving';
  }

  #newAndOld<T>(ofServing: T, ofShadow: T): [T, T] {
    return this.#judgesServing ? [ofServing, ofShadow] : [ofShadow, ofServing];
  }

  /** While a process starts beside what serves: that it answers slowly then says nothing. */
  disturb(isDisturbed: boolean): void {
    this.#isDisturbed = isDisturbed;
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
    if (this.#judgesServing) this.#tally.served(this.#seconds);
    this.#offer({ inputs, outputs, runMs });
  }

  /** A live request that the serving release failed. */
  failed(inputs: readonly Tensor[]): void {
    if (this.#judgesServing) this.#tally.failed();
    this.#offer({ inputs, outputs: null, runMs: null });
  }

  #offer({ inputs, outputs, runMs }: Omit<Pair, 'bytes'>): void {
    const { limits, shadowSample, random } = this.#options;
    if (!this.#takesPairs) {
      if (this.#judgesServing && !this.#isDisturbed) this.#tally.alone(this.#seconds, runMs);
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
    this.#queue.push({ inputs, outputs, runMs, bytes });
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
    const beside = await this.#runBoth(shadow, pair);
    if (beside.outputs === undefined || this.#shadow !== shadow) return;
    const served = { outputs: pair.outputs, ms: pair.runMs };
    const [fresh, old] = this.#newAndOld<Answered>(served, { ...beside, outputs: beside.outputs });
    if (!this.#judgesServing) {
      if (fresh.outputs === null) this.#tally.failed();
      else this.#tally.served(this.#seconds);
    }
    if (this.#compared === null) {
      this.#tally.alone(this.#seconds, fresh.ms);
      return;
    }
    const isAnswered = fresh.outputs !== null && old.outputs !== null;
    this.#tally.compared(this.#seconds, {
      newFailed: fresh.outputs === null,
      oldFailed: old.outputs === null,
      differences: isAnswered ? this.#compared.differences(fresh.outputs, old.outputs) : [],
      newMs: fresh.ms,
      oldMs: old.ms,
    });
    if (isAnswered) this.#addAnswers(fresh.outputs, old.outputs);
  }

  /** The shadow's run; with times of both where this is the moment for it. */
  async #runBoth(shadow: Shadow, { inputs, outputs }: Pair): Promise<Run> {
    const { random, isIdle } = this.#options;
    const timing =
      outputs !== null && isIdle() && this.#serving.free && this.#tally.wantsTiming(this.#seconds);
    if (!timing) return this.#runOn(shadow, inputs);
    const servingFirst = random.fraction() < 0.5;
    const first = await this.#runOn(servingFirst ? this.#serving : shadow, inputs);
    // Requests go first: one that came meanwhile ends the timing.
    const other = servingFirst ? shadow : this.#serving;
    if (!isIdle() || !other.free) return servingFirst ? { outputs: undefined, ms: null } : first;
    const second = await this.#runOn(other, inputs);
    const [served, beside] = servingFirst ? [first, second] : [second, first];
    const [fresh, old] = this.#newAndOld(served, beside);
    if (fresh.ms !== null && old.ms !== null) this.#tally.timed(this.#seconds, fresh.ms, old.ms);
    return beside;
  }

  async #runOn(replica: Shadow, given: readonly Tensor[]): Promise<Run> {
    const { clock, limits } = this.#options;
    const since = clock.monotonic();
    const { manifest } = replica.installed.release;
    const [fresh] = this.#newAndOld(this.#serving, this.#shadow);
    try {
      const inputs = guard(manifest.inputs, given, limits.requestMaxBytes);
      const outputs = await replica.run(inputs);
      const withheld = nonFiniteAnswer(outputs) !== null;
      return { outputs: withheld ? null : outputs, ms: clock.monotonic() - since };
    } catch (error) {
      if (!isFault(error)) throw error;
      // A process that died answers nothing; a model that refuses an input does. What the guard of
      // the new release would refuse is no failure of it, as in live requests.
      const isNothing =
        error.code === 'host_died' || (error.code === 'request_tensor' && replica === fresh);
      return { outputs: isNothing ? undefined : null, ms: null };
    }
  }

  #addAnswers(fresh: readonly Tensor[], old: readonly Tensor[]): void {
    const labelOf = this.#compared?.labelOf ?? null;
    const [newClassifier, oldClassifier] = this.#newAndOld(this.#serving, this.#shadow).map(
      (replica) => replica?.installed.release.manifest.classifier ?? null,
    ) as [Classifier | null, Classifier | null];
    if (labelOf === null || newClassifier === null || oldClassifier === null) return;
    const newRows = classify(newClassifier, fresh);
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
