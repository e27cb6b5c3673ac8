// What the server wants, as far as signed metadata proves it: asks at each poll and after each
// hint, and tells each component's update machine. Nothing that goes wrong here stops serving:
// metadata that does not verify is a security event and changes nothing; a server that is away is
// asked again.
import { limits } from '../../shared/base/limits.js';
import { isFault, reason } from '../../shared/base/fault-codes.js';
import type { Clock, Log } from '../../shared/base/interfaces.js';
import type { TrustedAssignment } from '../../shared/trust/assignments.js';
import type { Reporter } from '../interfaces.js';
import type { UpdateDriver } from './driver.js';

export interface AssignmentPollerOptions {
  readonly refresh: () => Promise<TrustedAssignment[]>;
  readonly drivers: readonly UpdateDriver[];
  readonly reporter: Reporter;
  readonly clock: Clock;
  readonly log: Log;
}

export class AssignmentPoller {
  /**
   * The last complaint, so that a frozen mirror asked every minute makes one event, not one a
   * minute.
   */
  #complaint: string | null = null;

  constructor(private readonly options: AssignmentPollerOptions) {}

  /** One look. True when the orders are known to be current. */
  async look(): Promise<boolean> {
    const { refresh, drivers, log } = this.options;
    try {
      const assignments = await refresh();
      for (const driver of drivers)
        driver.assign(assignments.find(({ component }) => component === driver.component) ?? null);
      this.#complaint = null;
      return true;
    } catch (error) {
      if (!isFault(error)) throw error;
      log.warn({ why: reason(error) }, 'cannot refresh the orders; serving on');
      if (error.entry.security === true && error.message !== this.#complaint) {
        this.options.reporter.report('security', {
          code: error.code,
          detail: error.detail.slice(0, limits.detailMaxChars),
        });
      }
      this.#complaint = error.message;
      return false;
    }
  }
}

/** A loop that a signal can hurry: waits `ms` or until `wake`, whichever comes first. */
export class Pacer {
  #wake: () => void = () => {};
  #hurried = false;

  constructor(private readonly clock: Clock) {}

  wake(): void {
    this.#hurried = true;
    this.#wake();
  }

  async wait(ms: number): Promise<void> {
    if (!this.#hurried && ms > 0) {
      await new Promise<void>((resolve) => {
        const cancel = this.clock.after(Math.min(ms, limits.stepBackoffMaxMs * 1440), resolve);
        this.#wake = () => {
          cancel();
          resolve();
        };
      });
    }
    this.#hurried = false;
    this.#wake = () => {};
  }
}
