// When a device dials its broker again. Four reasons, four paces:
// - a connection that held was lost: the server may have restarted, and its whole fleet with it is
//   back at once, so the first attempt is spread over a window. Those that come while it is still
//   down do not come again together: the loss counts as some failures;
// - an attempt failed: exponential backoff with jitter;
// - the broker refused the login: it will refuse the next one as well, until somebody acts. The
//   device polls over HTTP meanwhile;
// - the broker has no room now: other devices are before this one, and each attempt costs it.
import { limits } from '../../shared/base/limits.js';
import { backoff, type Random } from '../../shared/base/interfaces.js';

export interface EndedConnection {
  /** How long it was up; null when it never was. */
  readonly heldMs: number | null;
  /** The broker refused its login. */
  readonly isRefused: boolean;
  /** The broker said that it cannot serve now. */
  readonly isBusy?: boolean;
}

export class Reconnect {
  readonly #random: Random;
  #failures = 0;
  #refusals = 0;
  #busy = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  /** How long to wait before the next attempt, in milliseconds. */
  waitMs({ heldMs, isRefused, isBusy = false }: EndedConnection): number {
    if (heldMs !== null && heldMs >= limits.linkSettledMs) {
      this.#failures = limits.linkLostTriesCount;
      this.#refusals = 0;
      this.#busy = 0;
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
    if (isBusy) {
      this.#busy += 1;
      return backoff(this.#busy, limits.linkBusyFirstMs, limits.linkBusyMaxMs, this.#random);
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
