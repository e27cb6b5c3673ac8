// When a device dials its broker again. Three reasons, three paces:
// - a connection that held was lost: the server may have restarted, and its whole fleet with it is
//   back at once, so the first attempt is spread over a window. Those that come while it is still
//   down do not come again together: the loss counts as some failures;
// - an attempt failed: exponential backoff with jitter;
// - the broker refused the login: it will refuse the next one as well, until somebody acts. The
//   device polls over HTTP meanwhile.
import { limits } from '../../shared/base/limits.js';
import { backoff, type Random } from '../../shared/base/interfaces.js';

export interface EndedConnection {
  /** How long it was up; null when it never was. */
  readonly heldMs: number | null;
  /** The broker refused its login. */
  readonly isRefused: boolean;
}

export class Reconnect {
  readonly #random: Random;
  #failures = 0;
  #refusals = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  /** How long to wait before the next attempt, in milliseconds. */
  waitMs({ heldMs, isRefused }: EndedConnection): number {
    if (heldMs !== null && heldMs >= limits.linkSettledMs) {
      this.#failures = limits.linkLostTriesCount;
      this.#refusals = 0;
      return Math.round(this.#random.fraction() * limits.linkSpreadMs);
    }
    if (isRefused) {
      this.#refusals += 1;
      return backoff(
        this.#refusals,
        limits.linkRefusedFirstMs,
        limits.linkRefusedMaxMs,
        this.#random,
      );
    }
    this.#failures += 1;
    return backoff(
      this.#failures,
      limits.linkBackoffFirstMs,
      limits.linkBackoffMaxMs,
      this.#random,
    );
  }
}
