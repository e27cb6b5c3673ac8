// Since when the server has been able to hear its devices without a gap. A device is silent only
// while the server could have heard it: time in which the server was stopped, suspended, cut off
// from its broker or unable to store what came in does not count against a device. It is kept in
// memory only, because a server that has just started has heard nobody yet. What follows from
// silence is decided in verdict.ts.
import { limits } from '../../shared/base/limits.js';
import type { Clock } from '../../shared/base/interfaces.js';

export interface ReceptionOptions {
  readonly clock: Clock;
}

export class Reception {
  readonly #clock: Clock;
  #since: number;
  #observedAt: number;
  #isDisconnected = false;

  constructor({ clock }: ReceptionOptions) {
    this.#clock = clock;
    this.#since = clock.now();
    this.#observedAt = this.#since;
  }

  /** ms since the epoch; the present while the transport is disconnected. */
  get since(): number {
    return this.#isDisconnected ? this.#clock.now() : this.#since;
  }

  /**
   * Call it regularly, and before each judgement. Calls far apart mean that this process stood
   * still or that the clock was set: nothing was heard in between, so reception starts again.
   */
  observe(): void {
    const now = this.#clock.now();
    const gap = now - this.#observedAt;
    if (gap < 0 || gap > limits.conductorGapMaxMs) this.#since = now;
    this.#observedAt = now;
  }

  /** A message of a device was lost here: reception starts again. */
  restart(): void {
    this.#since = this.#clock.now();
    this.#observedAt = this.#since;
  }

  /** Nothing can arrive until `connected`. */
  disconnected(): void {
    this.#isDisconnected = true;
  }

  connected(): void {
    this.#isDisconnected = false;
    this.restart();
  }
}
