// The wait between two turns of a loop, which another part of the agent may end early.
import { limits } from '../../shared/base/limits.js';
import type { Clock } from '../../shared/base/interfaces.js';

export class Pacer {
  readonly #clock: Clock;
  #wake: () => void = () => {};
  #woken = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Ends the wait under way, or else the next one. */
  wake(): void {
    this.#woken = true;
    this.#wake();
  }

  /** Resolves after `ms`, at most a day, or at `wake`. */
  async wait(ms: number): Promise<void> {
    if (!this.#woken && ms > 0) {
      await new Promise<void>((resolve) => {
        const cancel = this.#clock.after(Math.min(ms, limits.pollMaxMs), resolve);
        this.#wake = () => {
          cancel();
          resolve();
        };
      });
    }
    this.#woken = false;
    this.#wake = () => {};
  }
}
