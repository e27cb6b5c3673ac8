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
  /** Of the present input. Reused, because this runs for every request that is answered. */
  readonly #vector: number[] = [];

  /**
   * The next input; they come in the order of time. True when a block ended, without which
   * chooseSeconds() gives the same as before.
   */
  add(input: InputSignature): boolean {
    const origin = (this.#origin ??= input);
    const vector = this.#vector;
    vector[0] = (input.score ?? 0) - (origin.score ?? 0);
    for (let i = 0; i < origin.summary.length; i++)
      vector[i + 1] = (input.summary[i] ?? 0) - (origin.summary[i] ?? 0);
    let index = Math.floor(input.seconds / (BLOCK_SECONDS[0] ?? 1));
    let closed: Block | null = null;
    for (const level of this.#levels) {
      const next: Block | null = level.add(index, closed?.sum ?? vector, closed?.count ?? 1);
      if (next === null) return closed !== null;
      closed = next;
      index = Math.floor(closed.index / 2);
    }
    return true;
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
  readonly sum: number[];
  count: number;
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

  /** Returns the block that ended. `sum` is copied. */
  add(index: number, sum: readonly number[], count: number): Block | null {
    const open = this.#open;
    if (open?.index === index) {
      for (let i = 0; i < sum.length; i++) open.sum[i] = (open.sum[i] ?? 0) + (sum[i] ?? 0);
      open.count += count;
      return null;
    }
    this.#open = { index, sum: [...sum], count };
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
