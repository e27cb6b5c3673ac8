// Mergeable histograms. LogHistogram is the DDSketch mapping (Masson, Rim, Lee: "DDSketch: A fast
// and fully-mergeable quantile sketch with relative-error guarantees", VLDB 2019) with GAMMA chosen
// for 2 % relative error: two sketches merge by adding counts, so a fleet's quantiles come from its
// devices' sketches without their raw values.
import { Type, type Static } from 'typebox';

const RELATIVE_ERROR = 0.02;
const GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR);
const LOG_GAMMA = Math.log(GAMMA);
/**
 * Fixed by the wire form below: bins cover about 1 ns .. 11 days when values are milliseconds; what
 * lies outside is clamped to the ends.
 */
const BIN_MIN = -350;
/** Fixed by the wire form below, likewise. */
const BIN_MAX = 520;

/** Wire form: [bin, count] pairs, sorted by bin. */
export const Sketch = Type.Object(
  {
    count: Type.Integer({ minimum: 0 }),
    bins: Type.Array(
      Type.Tuple([
        Type.Integer({ minimum: BIN_MIN, maximum: BIN_MAX }),
        Type.Integer({ minimum: 1 }),
      ]),
      {
        maxItems: BIN_MAX - BIN_MIN + 1,
      },
    ),
  },
  { additionalProperties: false },
);
export type Sketch = Static<typeof Sketch>;

export class QuantileSketch {
  #bins = new Map<number, number>();
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** Adds one value (any unit, the same for all); values <= 0 fall into the lowest bin. */
  add(value: number, times = 1): void {
    const bin =
      value > 0
        ? Math.min(BIN_MAX, Math.max(BIN_MIN, Math.ceil(Math.log(value) / LOG_GAMMA)))
        : BIN_MIN;
    this.#bins.set(bin, (this.#bins.get(bin) ?? 0) + times);
    this.#count += times;
  }

  merge(sketch: Sketch): void {
    for (const [bin, count] of sketch.bins) {
      this.#bins.set(bin, (this.#bins.get(bin) ?? 0) + count);
      this.#count += count;
    }
  }

  /** The value at quantile `q` in [0, 1], within 2 % of the true one; null when empty. */
  quantile(q: number): number | null {
    let rank = Math.min(this.#count - 1, Math.floor(q * this.#count));
    for (const [bin, count] of this.#sorted()) {
      if (rank < count) return (2 * GAMMA ** bin) / (GAMMA + 1);
      rank -= count;
    }
    return null;
  }

  toSketch(): Sketch {
    return { count: this.#count, bins: this.#sorted() };
  }

  clear(): void {
    this.#bins.clear();
    this.#count = 0;
  }

  #sorted(): [number, number][] {
    return [...this.#bins.entries()].sort(([a], [b]) => a - b);
  }
}
