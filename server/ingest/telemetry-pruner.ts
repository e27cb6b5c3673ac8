// The regular task that keeps stored telemetry within its limits. It deletes slice by slice, with a
// pause after each, so that batches and requests are served between two slices however much there
// is to delete.
import { sleep, type Clock } from '../../shared/base/interfaces.js';
import { limits } from '../../shared/base/limits.js';
import type { TelemetryStore } from '../interfaces.js';

export interface TelemetryPrunerOptions {
  readonly telemetry: Pick<TelemetryStore, 'prune'>;
  readonly clock: Clock;
}

export class TelemetryPruner {
  readonly #options: TelemetryPrunerOptions;
  #stopped = false;

  constructor(options: TelemetryPrunerOptions) {
    this.#options = options;
  }

  /** Deletes until nothing is left to delete, or until it is stopped. */
  async pass(): Promise<void> {
    const { telemetry, clock } = this.#options;
    while (!this.#stopped && (await telemetry.prune(clock.now())) > 0)
      await sleep(clock, limits.prunePauseMs);
  }

  stop(): void {
    this.#stopped = true;
  }
}
