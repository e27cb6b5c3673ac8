// What a loop says again and again: worth a line when it changes, and now and then while it stays.
import type { Clock } from './interfaces.js';
import { limits } from './limits.js';

export class RepeatedNotes {
  readonly #clock: Clock;
  #last: { readonly text: string; readonly at: number } | null = null;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether `text` is new, or was said so long ago that it is worth saying again. */
  isWorth(text: string): boolean {
    const now = this.#clock.monotonic();
    const last = this.#last;
    if (last?.text === text && now - last.at < limits.sameWarningEveryMs) return false;
    this.#last = { text, at: now };
    return true;
  }
}
