// What a component's serving release did before the next one takes over: how its inputs change, how
// many requests it failed, how long its runs took. A trial is judged against it. In memory only.
import { limits } from '../../../shared/base/limits.js';
import type { Release } from '../../../shared/release/manifest.js';
import { BlockMeter } from '../../../shared/statistics/block-length.js';
import { QuantileSketch } from '../../../shared/statistics/quantile-sketch.js';
import { FailureHistory } from '../../../shared/statistics/trial-tally.js';

export interface BeforeSwap {
  /** Saw the inputs, whatever release served them. */
  readonly meter: Pick<BlockMeter, 'add' | 'chooseSeconds'>;
  /** Upper bound of the share of failed requests in thousandths; null where too little is known. */
  readonly oldErrorPermille: number | null;
  /** A run is slow beyond this: the next release's contract, or the old release's p99 and more. */
  readonly slowMs: number;
}

export class ServingHistory {
  readonly #meter = new BlockMeter();
  #failures = new FailureHistory();
  #runTimes = new QuantileSketch();

  served(nowMs: number, runMs: number): void {
    this.#failures.add(nowMs / 1000, false);
    this.#runTimes.add(runMs);
  }

  failed(nowMs: number): void {
    this.#failures.add(nowMs / 1000, true);
  }

  /** Length of a block of time; null where the inputs change too slowly or were too few. */
  blockSeconds(): number | null {
    return this.#meter.chooseSeconds();
  }

  /** What `next` is judged against while the release that serves goes on. */
  soFar(next: Release): BeforeSwap {
    const slowest = (this.#runTimes.quantile(0.99) ?? 0) * limits.trialSlowRunMinRatio;
    return {
      // The inputs come from the release that serves; they are not counted twice. Its blocks end at
      // times that are not told here, so the length is asked for each time.
      meter: { add: () => true, chooseSeconds: () => this.blockSeconds() },
      oldErrorPermille: this.#failures.upperPermille(this.blockSeconds()),
      slowMs: Math.max(next.manifest.contract.p99LatencyMs, slowest),
    };
  }

  /** What is frozen when `next` takes over; counting starts again for that one. */
  beforeSwap(next: Release): BeforeSwap {
    const before = { ...this.soFar(next), meter: this.#meter };
    this.#failures = new FailureHistory();
    this.#runTimes = new QuantileSketch();
    return before;
  }
}
