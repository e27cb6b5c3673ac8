// Whether the server can do its work now, by named checks, for /readyz and the metrics. A check
// costs a small write or a look at the disk, so one result serves everybody who asks within
// limits.readinessKeptMs: how often strangers ask does not change how often the disk is written.
// Details go to the log when they change; what strangers see is the name of a check and a code.
import { isFault, reason, type FaultCode } from '../../shared/base/fault-codes.js';
import type { Clock, Log } from '../../shared/base/interfaces.js';
import { limits } from '../../shared/base/limits.js';

export const READINESS_CHECKS = ['database', 'disk', 'broker', 'metadata'] as const;
type ReadinessCheck = (typeof READINESS_CHECKS)[number];

interface NotReady {
  readonly check: ReadinessCheck;
  readonly code: FaultCode;
}

export interface Readiness {
  /** Empty: the server is ready. */
  readonly reasons: readonly NotReady[];
}

export interface ReadinessOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** Each resolves when its part works, and rejects with what is wrong. */
  readonly checks: Readonly<Record<ReadinessCheck, () => Promise<void>>>;
}

export class ReadinessWatch {
  readonly #options: ReadinessOptions;
  #kept: { readonly at: number; readonly result: Promise<Readiness> } | null = null;
  #shown = '';

  constructor(options: ReadinessOptions) {
    this.#options = options;
  }

  /** Never rejects. */
  look(): Promise<Readiness> {
    const at = this.#options.clock.monotonic();
    if (this.#kept === null || at - this.#kept.at >= limits.readinessKeptMs)
      this.#kept = { at, result: this.#look() };
    return this.#kept.result;
  }

  async #look(): Promise<Readiness> {
    const { checks, log } = this.#options;
    const looks = READINESS_CHECKS.map((check) =>
      checks[check]().then(
        () => null,
        (error: unknown) => ({ check, error }),
      ),
    );
    const failed = (await Promise.all(looks)).filter((found) => found !== null);
    const reasons = failed.map(({ check, error }): NotReady => ({
      check,
      code: isFault(error) ? error.code : 'internal',
    }));
    const shown = failed.map(({ check, error }) => `${check}: ${reason(error)}`);
    const text = reasons.map(({ check, code }) => `${check} ${code}`).join();
    if (text !== this.#shown) {
      if (shown.length > 0) log.error({ reasons: shown }, 'the server is not ready');
      else log.info({}, 'the server is ready again');
    }
    this.#shown = text;
    return { reasons };
  }
}
