// The time that this device goes by. Its own clock is a report and never a credential: it may stand
// in 1970 after each power cut, or ahead. Every answer of the fleet server carries the server's
// time; from then on the present is that time plus what the monotonic clock has counted since.
// Before the first answer it is the device's own clock, but never earlier than the time of trusted
// metadata.
//
// Over TLS the answers are authenticated. Without TLS, anyone on the path can name a time: that can
// delay this device and date its tokens, within what trusted metadata allows (`latest`, the expiry
// of the trusted root), but no document becomes valid by it: shared/trust keeps its own floor.
import { limits } from '../../shared/base/limits.js';
import type { Clock, Log } from '../../shared/base/interfaces.js';

export interface ServerTimeOptions {
  /** The device's own clock. */
  readonly clock: Clock;
  /** The present is not before this (the time of trusted metadata); ms since the epoch. */
  readonly earliest: () => number;
  /** A server that names this time or a later one is not believed. */
  readonly latest: () => number;
  readonly log: Log;
}

export class ServerTime {
  readonly #options: ServerTimeOptions;
  /** The server's time at a moment of the monotonic clock; null before the first answer. */
  #known: { readonly serverMs: number; readonly at: number } | null = null;
  #steps = 0;
  /** The same as `now`, for parts that take a Clock. */
  readonly clock: Clock;

  constructor(options: ServerTimeOptions) {
    this.#options = options;
    const { clock } = options;
    this.clock = {
      now: () => this.now(),
      monotonic: () => clock.monotonic(),
      after: (ms, fn) => clock.after(ms, fn),
    };
  }

  now(): number {
    const { clock, earliest } = this.#options;
    if (this.#known === null) return Math.max(clock.now(), earliest());
    return this.#known.serverMs + (clock.monotonic() - this.#known.at);
  }

  /**
   * What an answer of the fleet server says. True when it moved the present by so much that a
   * refused token is worth another try.
   */
  observe(serverMs: number): boolean {
    const { clock, latest, log } = this.#options;
    if (!Number.isSafeInteger(serverMs) || serverMs < 0) return false;
    if (serverMs >= latest()) {
      log.warn({ serverMs }, 'the server names a time after the expiry of the trusted root');
      return false;
    }
    const movedMs = serverMs - this.now();
    const isSteady = Math.abs(movedMs) <= limits.clockStepMinMs;
    if (this.#known !== null && isSteady) return false;
    this.#known = { serverMs, at: clock.monotonic() };
    if (!isSteady) log.info({ movedMs: Math.round(movedMs) }, "the present is the server's now");
    if (!isSteady) this.#steps += 1;
    return !isSteady;
  }

  /** How often an answer moved the present. */
  get steps(): number {
    return this.#steps;
  }

  /** How far the device's own clock is ahead (ms; negative: behind); null before any answer. */
  clockErrorMs(): number | null {
    if (this.#known === null) return null;
    return Math.round(this.#options.clock.now() - this.now());
  }
}
