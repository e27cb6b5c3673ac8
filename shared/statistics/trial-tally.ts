// Gathers the evidence of a trial from single events: requests, comparisons with the old release,
// timings. Events are put into blocks of time (betting.ts says why); a block counts when the next
// one begins. The device's model runtime feeds it, and so do simulations. Pure but for its own
// state; times are seconds of a monotonic clock.
import { limits } from '../base/limits.js';
import { addBlock, blocksOf, emptyTally, meanInterval, type BlockTally } from './betting.js';
import { BLOCK_SECONDS, type BlockMeter, type InputSignature } from './block-length.js';
import {
  FUSE_BINS,
  RATIO_POWER_MOST,
  RATIO_STEP,
  type ComparisonEvidence,
  type TrialEvidence,
} from './trial-evidence.js';

export interface TrialTallyOptions {
  readonly startedAt: number;
  /** Saw the inputs before the swap; its block length is frozen, once it has one. */
  readonly meter: Pick<BlockMeter, 'add' | 'chooseSeconds'>;
  readonly comparisons: readonly Pick<ComparisonEvidence, 'output' | 'kind' | 'declaredPermille'>[];
  /** What the rehearsal found, by output; the comparisons go on from there. */
  readonly rehearsed?: readonly Pick<ComparisonEvidence, 'output' | 'pairs' | 'blocks'>[];
  /** How far back the fuse looks; trialFuseSeconds when left out. */
  readonly fuseSeconds?: number;
  /** Upper bound of the old release's share of failed requests; null without a history. */
  readonly oldErrorPermille: number | null;
  /** A request is slow beyond this. */
  readonly slowMs: number;
}

/** One live input that both releases were given. */
export interface ComparedRequest {
  readonly newFailed: boolean;
  readonly oldFailed: boolean;
  /** One for each comparison, in [0, 1]; empty where a release failed. */
  readonly differences: readonly number[];
  /** Run times; null where a release failed. */
  readonly newMs: number | null;
  readonly oldMs: number | null;
}

/** A mean that grows while its block is open. */
class OpenBlock {
  tally: BlockTally;
  #sum = 0;
  #count = 0;

  constructor(tally: BlockTally = emptyTally()) {
    this.tally = tally;
  }

  add(value: number): void {
    this.#sum += value;
    this.#count += 1;
  }

  close(): void {
    if (this.#count > 0) this.tally = addBlock(this.tally, this.#sum / this.#count);
    this.drop();
  }

  drop(): void {
    this.#sum = 0;
    this.#count = 0;
  }
}

/**
 * Failed requests of the release that serves now, in blocks of every length that a trial may have:
 * what the next release is compared with.
 */
export class FailureHistory {
  readonly #levels = BLOCK_SECONDS.map((seconds) => ({
    seconds,
    block: Number.NEGATIVE_INFINITY,
    open: new OpenBlock(),
  }));

  add(at: number, failed: boolean): void {
    for (const level of this.#levels) {
      const block = Math.floor(at / level.seconds);
      if (block > level.block) level.open.close();
      level.block = block;
      level.open.add(failed ? 1 : 0);
    }
  }

  /**
   * Upper 95 % bound of their share in thousandths, in blocks of the trial's length; null without a
   * length or enough blocks.
   */
  upperPermille(blockSeconds: number | null): number | null {
    const level = this.#levels.find(({ seconds }) => seconds === blockSeconds);
    if (level === undefined || blocksOf(level.open.tally) < limits.trialBlocksMinCount) return null;
    return Math.ceil(1000 * meanInterval(level.open.tally, 0.1).high);
  }
}

const NOTHING_REHEARSED = { pairs: 0, blocks: emptyTally() };

/** The fuse's window moves in so many steps. */
const FUSE_STEPS = 60;
interface FuseStep {
  readonly step: number;
  readonly pairs: number[];
  scenes: number;
}

/** Relative change of an input's summary that is another scene. */
const SCENE_CHANGE = 0.05;

export class TrialTally {
  readonly #options: TrialTallyOptions;
  #blockSeconds: number | null;
  #block = Number.NEGATIVE_INFINITY;
  /** Of each comparison: what the rehearsal found. */
  readonly #rehearsed: readonly Pick<ComparisonEvidence, 'pairs' | 'blocks'>[];
  readonly #differences: OpenBlock[];
  readonly #pairs: number[];
  readonly #onlyOne = new OpenBlock();
  readonly #share = new OpenBlock();
  readonly #onlyOneSlow = new OpenBlock();
  readonly #slow = new OpenBlock();
  readonly #ratios = new Map<number, number>();
  #timedBlock = Number.NEGATIVE_INFINITY;
  #fuse: FuseStep[] = [];
  #scene: readonly number[] | null = null;
  #served = 0;
  #failed = 0;
  #look: { served: number; failed: number } | null = null;
  #modelFaults = 0;

  constructor(options: TrialTallyOptions) {
    this.#options = options;
    this.#blockSeconds = options.meter.chooseSeconds();
    this.#rehearsed = options.comparisons.map(
      ({ output }) => options.rehearsed?.find((one) => one.output === output) ?? NOTHING_REHEARSED,
    );
    this.#differences = this.#rehearsed.map(({ blocks }) => new OpenBlock(blocks));
    this.#pairs = this.#rehearsed.map(({ pairs }) => pairs);
  }

  /** A live input, whatever becomes of it. Without a block length yet, it may give one. */
  input(signature: InputSignature): void {
    const isBlockOver = this.#options.meter.add(signature);
    if (this.#scene === null || change(this.#scene, signature.summary) > SCENE_CHANGE) {
      this.#scene = signature.summary;
      this.#fuseNow(signature.seconds).scenes += 1;
    }
    if (this.#blockSeconds === null && isBlockOver) {
      this.#blockSeconds = this.#options.meter.chooseSeconds();
      // What came before is in no block.
      for (const open of this.#open()) open.drop();
    }
  }

  served(at: number): void {
    this.#moveTo(at);
    this.#served += 1;
    this.#lookAgain();
  }

  failed(): void {
    this.#failed += 1;
    this.#lookAgain();
  }

  fault(): void {
    this.#modelFaults += 1;
  }

  /** A request of a release that has no old one beside it; `runMs` is null where it failed. */
  alone(at: number, runMs: number | null): void {
    this.#moveTo(at);
    this.#share.add(runMs === null ? 1 : 0);
    if (runMs !== null) this.#slow.add(this.#isSlow(runMs) ? 1 : 0);
  }

  #isSlow(runMs: number): boolean {
    return runMs > this.#options.slowMs;
  }

  compared(at: number, request: ComparedRequest): void {
    const { newFailed, oldFailed, differences, newMs, oldMs } = request;
    this.#moveTo(at);
    // A device that is busy is slow with both: that says nothing.
    if (newMs !== null && oldMs !== null && this.#isSlow(newMs) !== this.#isSlow(oldMs))
      this.#onlyOneSlow.add(this.#isSlow(newMs) ? 1 : 0);
    if (newFailed && oldFailed) {
      // The input is the reason: the request counts for neither.
      this.#failed = Math.max(0, this.#failed - 1);
      return;
    }
    this.#share.add(newFailed ? 1 : 0);
    if (newFailed !== oldFailed) this.#onlyOne.add(newFailed ? 1 : 0);
    // The old release's own failures say nothing about the new one's answers.
    if (oldFailed || (!newFailed && differences.length === 0)) return;
    const values = this.#pairs.map((_, i) => (newFailed ? 1 : (differences[i] ?? 1)));
    values.forEach((value, i) => {
      this.#pairs[i] = (this.#pairs[i] ?? 0) + 1;
      this.#differences[i]?.add(value);
    });
    if (values.length === 0) return;
    const { pairs } = this.#fuseNow(at);
    const bin = Math.floor(Math.min(1, Math.max(...values)) * (FUSE_BINS - 1) + 1e-9);
    pairs[bin] = (pairs[bin] ?? 0) + 1;
  }

  /** True when the block at this time has no timing yet: one a block is enough. */
  wantsTiming(at: number): boolean {
    return this.#blockSeconds !== null && this.#blockAt(at) !== this.#timedBlock;
  }

  /** Both releases ran the same input, in random order, without other requests. */
  timed(at: number, newMs: number, oldMs: number): void {
    if (!this.wantsTiming(at)) return;
    this.#timedBlock = this.#blockAt(at);
    const power = Math.floor(Math.log(newMs / oldMs) / Math.log(RATIO_STEP) + 1e-9);
    if (!Number.isFinite(power)) return;
    const bin = Math.min(RATIO_POWER_MOST, Math.max(-RATIO_POWER_MOST, power));
    this.#ratios.set(bin, (this.#ratios.get(bin) ?? 0) + 1);
  }

  evidence(
    now: number,
    more: Pick<TrialEvidence, 'replaces' | 'comparable' | 'new' | 'old'>,
  ): TrialEvidence {
    return {
      seconds: now - this.#options.startedAt,
      served: this.#served,
      failed: this.#failed,
      look: this.#look,
      modelFaults: this.#modelFaults,
      blockSeconds: this.#blockSeconds,
      comparisons: this.#options.comparisons.map((comparison, i) => ({
        ...comparison,
        pairs: this.#pairs[i] ?? 0,
        blocks: this.#differences[i]?.tally ?? emptyTally(),
        rehearsed: this.#rehearsedOf(i),
      })),
      fuse: this.#fuseAt(now),
      errors: {
        onlyOne: this.#onlyOne.tally,
        share: this.#share.tally,
        oldPermille: this.#options.oldErrorPermille,
      },
      latency: {
        ratios: [...this.#ratios].sort(([one], [other]) => one - other),
        onlyOneSlow: this.#onlyOneSlow.tally,
        slow: this.#slow.tally,
      },
      ...more,
    };
  }

  /** No more comes: the last block counts too. */
  end(): void {
    if (this.#blockSeconds !== null) for (const open of this.#open()) open.close();
  }

  #rehearsedOf(comparison: number): ComparisonEvidence['rehearsed'] {
    const { pairs, blocks } = this.#rehearsed[comparison] ?? NOTHING_REHEARSED;
    return { pairs, blocks: blocksOf(blocks) };
  }

  #open(): OpenBlock[] {
    return [...this.#differences, this.#onlyOne, this.#share, this.#onlyOneSlow, this.#slow];
  }

  #blockAt(at: number): number {
    return this.#blockSeconds === null ? 0 : Math.floor(at / this.#blockSeconds);
  }

  #moveTo(at: number): void {
    const block = this.#blockAt(at);
    if (this.#blockSeconds === null || block <= this.#block) return;
    for (const open of this.#open()) open.close();
    this.#block = block;
  }

  #lookAgain(): void {
    const count = this.#served + this.#failed;
    const doublings = Math.log2(count / limits.trialFirstLookCount);
    if (doublings >= 0 && Number.isInteger(doublings))
      this.#look = { served: this.#served, failed: this.#failed };
  }

  #fuseNow(at: number): FuseStep {
    const step = this.#fuseStep(at);
    const last = this.#fuse.at(-1);
    if (last?.step === step) return last;
    const next = { step, pairs: new Array<number>(FUSE_BINS).fill(0), scenes: 0 };
    this.#fuse = [...this.#recent(step), next];
    return next;
  }

  #recent(step: number): FuseStep[] {
    return this.#fuse.filter((one) => one.step > step - FUSE_STEPS);
  }

  #fuseAt(now: number): TrialEvidence['fuse'] {
    const pairs = new Array<number>(FUSE_BINS).fill(0);
    let scenes = 0;
    for (const one of this.#recent(this.#fuseStep(now))) {
      scenes += one.scenes;
      one.pairs.forEach((count, bin) => (pairs[bin] = (pairs[bin] ?? 0) + count));
    }
    return { pairs, scenes };
  }

  #fuseStep(at: number): number {
    const { fuseSeconds = limits.trialFuseSeconds } = this.#options;
    return Math.floor((at * FUSE_STEPS) / fuseSeconds);
  }
}

/** Distance of two summaries over the size of the first. */
function change(from: readonly number[], to: readonly number[]): number {
  let [distance, size] = [0, 0];
  for (let i = 0; i < from.length; i++) {
    const value = from[i] ?? 0;
    distance += (value - (to[i] ?? 0)) ** 2;
    size += value ** 2;
  }
  return Math.sqrt(distance) / Math.max(Math.sqrt(size), Number.MIN_VALUE);
}
