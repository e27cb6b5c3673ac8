// How long a block of time must be so that the means of neighbouring blocks do not follow each
// other (decisions.md R9). A camera that sees one scene for a minute gives one observation a
// minute, not sixty: tests on single inputs would then be wrong in both directions. The meter sees
// a signature of every input and keeps sums for block lengths that double, so its memory does not
// grow. The length that it gives when a release is swapped is frozen for the trial.
import { limits } from '../base/limits.js';

/** What an input looks like, in a few numbers. */
export interface InputSignature {
  /** When it arrived, in seconds of a monotonic clock. */
  readonly seconds: number;
  /** The serving release's top score; null where it has none. */
  readonly score: number | null;
  /** A coarse summary of the input, of one length for all inputs. */
  readonly summary: readonly number[];
}

/** Block lengths from 1/8 s to more than 2 hours, each twice the one before. */
export const BLOCK_SECONDS: readonly number[] = Array.from(
  { length: 17 },
  (_, level) => (limits.trialBlockFirstMs / 1000) * 2 ** level,
);
/** With more blocks the sums are halved, so that old inputs are forgotten. */
const REMEMBERED_BLOCKS = 8192;

export class BlockMeter {
  readonly #levels = BLOCK_SECONDS.map(() => new Level());
  /** The first signature; all are taken relative to it, so that equal ones are exactly zero. */
  #origin: InputSignature | null = null;

  /** The next input; they come in the order of time. */
  add(input: InputSignature): void {
    const origin = (this.#origin ??= input);
    const vector = [
      (input.score ?? 0) - (origin.score ?? 0),
      ...origin.summary.map((value, i) => (input.summary[i] ?? 0) - value),
    ];
    const index = Math.floor(input.seconds / (BLOCK_SECONDS[0] ?? 1));
    let closed = this.#levels[0]?.add(index, vector, 1) ?? null;
    for (const level of this.#levels.slice(1)) {
      if (closed === null) return;
      closed = level.add(Math.floor(closed.index / 2), closed.sum, closed.count);
    }
  }

  /**
   * The shortest length in seconds with enough blocks that do not follow each other, in their
   * scores and in their summaries. Null where there is none: the inputs change too slowly, or there
   * were too few.
   */
  chooseSeconds(): number | null {
    return BLOCK_SECONDS[this.#levels.findIndex((level) => level.independent())] ?? null;
  }
}

interface Block {
  readonly index: number;
  readonly sum: readonly number[];
  readonly count: number;
}

/** Blocks of one length. A block without inputs is no block. */
class Level {
  #open: Block | null = null;
  #previous: readonly number[] | null = null;
  /** Sums over closed blocks: how many, means, squares, and products with the block before. */
  #blocks = 0;
  #neighbours = 0;
  #means: number[] = [];
  #squares: number[] = [];
  #products: number[] = [];

  /** Returns the block that ended. */
  add(index: number, sum: readonly number[], count: number): Block | null {
    const open = this.#open;
    if (open?.index === index) {
      const sums = open.sum.map((value, i) => value + (sum[i] ?? 0));
      this.#open = { index, sum: sums, count: open.count + count };
      return null;
    }
    this.#open = { index, sum, count };
    if (open !== null) this.#close(open.sum.map((value) => value / open.count));
    return open;
  }

  #close(mean: readonly number[]): void {
    const previous = this.#previous;
    this.#blocks += 1;
    this.#means = mean.map((value, i) => (this.#means[i] ?? 0) + value);
    this.#squares = mean.map((value, i) => (this.#squares[i] ?? 0) + value * value);
    if (previous !== null) {
      this.#neighbours += 1;
      this.#products = mean.map(
        (value, i) => (this.#products[i] ?? 0) + value * (previous[i] ?? 0),
      );
    }
    this.#previous = mean;
    if (this.#blocks > REMEMBERED_BLOCKS) this.#halve();
  }

  #halve(): void {
    const half = (values: readonly number[]): number[] => values.map((value) => value / 2);
    this.#blocks /= 2;
    this.#neighbours /= 2;
    [this.#means, this.#squares, this.#products] = [
      half(this.#means),
      half(this.#squares),
      half(this.#products),
    ];
  }

  independent(): boolean {
    if (this.#blocks < limits.trialBlocksMinCount) return false;
    const views = [this.#follow(0, 1), this.#follow(1, this.#means.length)].filter(
      (value) => value !== null,
    );
    return views.length > 0 && views.every((value) => value < limits.trialAutocorrelationMaxRatio);
  }

  /** Lag-1 autocorrelation over some of the dimensions; null where nothing varies in them. */
  #follow(from: number, to: number): number | null {
    let [variance, covariance] = [0, 0];
    for (let i = from; i < to; i++) {
      const centre = (this.#means[i] ?? 0) / this.#blocks;
      variance += (this.#squares[i] ?? 0) / this.#blocks - centre * centre;
      covariance += (this.#products[i] ?? 0) / this.#neighbours - centre * centre;
    }
    return variance <= 1e-12 ? null : covariance / variance;
  }
}
