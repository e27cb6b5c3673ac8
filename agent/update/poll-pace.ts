// When a device asks for its assignments again. A server that is behind (HTTP 503) says after which
// time to come back: earlier than the next regular poll, and later with each refusal in a row.
import { backoff, type Random } from '../../shared/base/interfaces.js';

export interface PollPaceOptions {
  readonly everyMs: number;
  readonly random: Random;
}

export class PollPace {
  readonly #options: PollPaceOptions;
  #refusals = 0;

  constructor(options: PollPaceOptions) {
    this.#options = options;
  }

  /** `retryAfterMs`: what the server said to the last poll; null: nothing. */
  waitMs(retryAfterMs: number | null): number {
    const { everyMs, random } = this.#options;
    if (retryAfterMs === null) {
      this.#refusals = 0;
      // Spread by 20 % so that devices do not poll in lockstep.
      return everyMs * (0.9 + random.fraction() / 5);
    }
    this.#refusals += 1;
    return backoff(this.#refusals, 2 * retryAfterMs, everyMs, random);
  }
}
