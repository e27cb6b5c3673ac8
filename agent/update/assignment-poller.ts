// Asks which assignments are current, as far as signed metadata shows, and passes each to its
// component's update driver. A failure never stops serving: metadata that does not verify is a
// security event and changes nothing; a server that is away is asked again.
import { limits } from '../../shared/base/limits.js';
import { isFault, reason } from '../../shared/base/fault-codes.js';
import type { Log } from '../../shared/base/interfaces.js';
import type { TrustedAssignment } from '../../shared/trust/assignments.js';
import type { Reporter } from '../interfaces.js';
import type { UpdateDriver } from './driver.js';
import type { Troubles } from './troubles.js';

export interface AssignmentPollerOptions {
  readonly refresh: () => Promise<TrustedAssignment[]>;
  readonly drivers: readonly Pick<UpdateDriver, 'component' | 'assign'>[];
  readonly reporter: Reporter;
  readonly troubles: Troubles;
  readonly log: Log;
}

export class AssignmentPoller {
  readonly #options: AssignmentPollerOptions;
  /** The last failure: a frozen mirror that is asked every minute makes one event, not many. */
  #lastFailure: string | null = null;
  /** The assignments to unknown components that were reported last, for the same reason. */
  #lastUnknown = '';
  #retryAfterMs: number | null = null;

  constructor(options: AssignmentPollerOptions) {
    this.#options = options;
  }

  /** When to ask again, where the last poll failed with an answer that says it. */
  get retryAfterMs(): number | null {
    return this.#retryAfterMs;
  }

  /** Polls once. True when the assignments are known to be current. */
  async poll(): Promise<boolean> {
    const { refresh, drivers, log, reporter, troubles } = this.#options;
    this.#retryAfterMs = null;
    try {
      const assignments = await refresh();
      for (const driver of drivers)
        driver.assign(assignments.find(({ component }) => component === driver.component) ?? null);
      this.#lastFailure = null;
      troubles.clear('assignments', null);
      this.#reportUnknown(assignments);
      return true;
    } catch (error) {
      if (!isFault(error)) throw error;
      this.#retryAfterMs = error.retryAfterMs;
      troubles.set('assignments', null, error);
      log.warn({ err: reason(error) }, 'cannot refresh the assignments; the agent keeps serving');
      if (error.entry.security === true && error.message !== this.#lastFailure) {
        const detail = error.detail.slice(0, limits.detailMaxChars);
        reporter.report('security', { code: error.code, detail });
      }
      this.#lastFailure = error.message;
      return false;
    }
  }

  /** Uptane 5.4.4.6: each assignment must be for a component that the device has. */
  #reportUnknown(assignments: readonly TrustedAssignment[]): void {
    const { drivers, log, reporter } = this.#options;
    const unknown = assignments.filter(
      ({ component }) => !drivers.some((driver) => driver.component === component),
    );
    const names = unknown.map(({ component, version }) => `${component} ${version}`).join(', ');
    if (names !== '' && names !== this.#lastUnknown) {
      const detail =
        `assigned: ${names}; this device has ` + drivers.map((each) => each.component).join(', ');
      log.warn(
        { assigned: names },
        'an assignment names a component that this device does not have',
      );
      reporter.report('security', {
        code: 'component_unknown',
        detail: detail.slice(0, limits.detailMaxChars),
      });
    }
    this.#lastUnknown = names;
  }
}
