// One alarm for the earliest of many deadlines, instead of one timer per request. When it rings,
// the owner looks at all its deadlines and arms it again.
import type { Cancel, Clock } from '../../../shared/base/interfaces.js';

export class DeadlineAlarm {
  readonly #clock: Clock;
  readonly #onRing: () => void;
  #armed: { readonly cancel: Cancel; readonly at: number } | null = null;

  constructor(clock: Clock, onRing: () => void) {
    this.#clock = clock;
    this.#onRing = onRing;
  }

  /** Rings at `at` (monotonic milliseconds) or earlier. */
  arm(at: number): void {
    if (this.#armed !== null) {
      if (this.#armed.at <= at) return;
      this.#armed.cancel();
    }
    const waitMs = Math.max(0, Math.ceil(at - this.#clock.monotonic()));
    const ring = () => {
      this.#armed = null;
      this.#onRing();
    };
    this.#armed = { at, cancel: this.#clock.after(waitMs, ring) };
  }

  cancel(): void {
    this.#armed?.cancel();
    this.#armed = null;
  }
}
