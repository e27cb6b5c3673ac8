// Since when the server has heard its devices without a break. Silence is a device's only while
// somebody listens: a server that was stopped, suspended, cut off from its broker or unable to
// store what came in must not count that time against a fleet. Kept in memory only, because a
// server that has just started has heard nobody yet. Who is judged by it is health.ts's.
import { limits } from '../../shared/base/limits.js';
import type { Clock } from '../../shared/base/interfaces.js';

export class Reception {
  #since: number;
  #lookedAt: number;
  #deaf = false;

  constructor(private readonly clock: Clock) {
    this.#since = clock.now();
    this.#lookedAt = this.#since;
  }

  /**
   * ms since the epoch; the present while nothing can be heard. To be asked at every look: looks
   * far apart mean that this process stood still or that the clock was set, and then what happened
   * in between was not heard.
   */
  since(): number {
    const now = this.clock.now();
    const gap = now - this.#lookedAt;
    if (this.#deaf || gap < 0 || gap > limits.conductorGapMaxMs) this.#since = now;
    this.#lookedAt = now;
    return this.#since;
  }

  /** Something that devices said was lost here: listening begins anew. */
  again(): void {
    this.#since = this.clock.now();
    this.#lookedAt = this.#since;
  }

  /** Nothing can come in until `back`. */
  lost(): void {
    this.#deaf = true;
  }

  back(): void {
    this.#deaf = false;
    this.again();
  }
}
