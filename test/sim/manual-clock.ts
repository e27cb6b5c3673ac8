// A clock that stands still until a test moves it. The wall clock can be set without the monotonic
// one, as on a device whose clock is wrong.
import type { Clock } from '../../shared/base/interfaces.js';

export class ManualClock implements Clock {
  #monotonicMs = 1_000;
  #timers: { readonly at: number; readonly fire: () => void }[] = [];

  constructor(public wallMs: number = Date.UTC(2026, 10, 2)) {}

  now(): number {
    return this.wallMs;
  }

  monotonic(): number {
    return this.#monotonicMs;
  }

  after(ms: number, fire: () => void): () => void {
    const timer = { at: this.#monotonicMs + ms, fire };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  /** Time passes, and what is due is called. */
  pass(ms: number): void {
    this.wallMs += ms;
    this.#monotonicMs += ms;
    const due = this.#timers.filter(({ at }) => at <= this.#monotonicMs);
    this.#timers = this.#timers.filter(({ at }) => at > this.#monotonicMs);
    for (const { fire } of due.sort((one, other) => one.at - other.at)) fire();
  }
}
