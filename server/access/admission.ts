// When devices are more than the server can serve at once (a whole fleet after a restart), it
// serves some of them well and refuses the others early and cheaply. Without that, all are served
// so slowly that they give up, and begin again: the work was for nothing.
//
// What begins work for a device (a login, a look at its metadata) waits here for its turn, in the
// order of arrival, for MQTT and HTTP together. In one turn of the event loop, only as many begin
// as fit into limits.admissionSliceMs: Node accepts one connection a turn of a listener, so that
// long turns would leave devices in the kernel's queue until they have given up. How long the next
// one would wait is known from how many wait and how fast they began lately: beyond a bound it is
// refused. It comes back after a random time (agent/platform/reconnect.ts), with the same chance as
// all others, and those that were served come no more. Operators do not wait here.
import { limits } from '../../shared/base/limits.js';
import { Fault } from '../../shared/base/fault-codes.js';
import type { Clock, Log } from '../../shared/base/interfaces.js';

export type Work = 'login' | 'request';

/** How long one may have to wait. */
const WAIT_MAX_MS = {
  login: limits.loginWaitMaxMs,
  request: limits.deviceRequestWaitMaxMs,
} as const satisfies Record<Work, number>;

export interface AdmissionOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** Calls it in the next turn of the event loop. */
  readonly inNextTurn?: (fn: () => void) => void;
  /** Must not throw. */
  readonly onRefused?: (work: Work) => void;
}

interface Waiting {
  readonly since: number;
  readonly begin: () => void;
}

export class Admission {
  readonly #options: Required<AdmissionOptions>;
  readonly #waiting: Waiting[] = [];
  #isTurning = false;
  /** Time between two that began while others waited; an average over the last ones. */
  #eachMs = 0;
  #beganAt: number | null = null;
  #refusedCount = 0;

  constructor(options: AdmissionOptions) {
    this.#options = {
      inNextTurn: (fn) => void setImmediate(fn),
      onRefused: () => {},
      ...options,
    };
  }

  /** Whether `work` that came now would be refused. */
  isBehind(work: Work): boolean {
    const [first] = this.#waiting;
    if (first === undefined) return false;
    const { length } = this.#waiting;
    const waitMs = Math.max(
      length * this.#eachMs,
      // Where none begins: the event loop is held.
      this.#options.clock.monotonic() - first.since,
    );
    return waitMs > WAIT_MAX_MS[work] || length >= limits.admissionWaitingMaxCount;
  }

  /** Resolves in a later turn of the event loop, when it may begin. Fault overloaded. */
  async enter(work: Work): Promise<void> {
    if (this.isBehind(work)) {
      this.refused(work);
      throw new Fault('overloaded', 'more devices come than the server can serve at once', {
        retryAfterMs: limits.overloadRetryMs,
      });
    }
    await new Promise<void>((begin) => {
      this.#waiting.push({ since: this.#options.clock.monotonic(), begin });
      if (this.#isTurning) return;
      this.#isTurning = true;
      this.#turn();
    });
  }

  /** Counts work that the caller refused by itself, because of isBehind. */
  refused(work: Work): void {
    const { log, onRefused } = this.#options;
    if (this.#refusedCount === 0)
      log.warn({ waiting: this.#waiting.length }, 'devices are refused: the server is behind');
    this.#refusedCount += 1;
    onRefused(work);
  }

  /** Each begins in a callback of its own, so that what it does at once counts for the slice. */
  #turn(): void {
    const { clock, inNextTurn } = this.#options;
    const count = limits.admissionsPerTurnMaxCount;
    let from: number | null = null;
    for (let one = 1; one <= count; one += 1)
      inNextTurn(() => {
        const now = clock.monotonic();
        from ??= now;
        if (one === 1 || now - from < limits.admissionSliceMs) this.#begin(now);
        if (one < count) return;
        if (this.#waiting.length > 0) this.#turn();
        else this.#rest();
      });
  }

  #begin(now: number): void {
    const first = this.#waiting.shift();
    if (first === undefined) return;
    if (this.#beganAt !== null)
      this.#eachMs += (now - this.#beganAt - this.#eachMs) / limits.admissionAverageCount;
    this.#beganAt = now;
    first.begin();
  }

  #rest(): void {
    this.#isTurning = false;
    this.#beganAt = null;
    if (this.#refusedCount === 0) return;
    this.#options.log.info(
      { refused: this.#refusedCount },
      'devices are served again as they come',
    );
    this.#refusedCount = 0;
  }
}
