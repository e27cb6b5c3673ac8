// Asks a server again and again until there is nothing more to wait for: what `rollout watch`,
// `security list --follow` and `telemetry tail --follow` have in common. A server that restarts or
// cannot be reached for a while does not end it; a wrong token or an unknown name does.
import { isFault, type Fault } from '../../shared/base/fault-codes.js';
import { sleep, type Clock } from '../../shared/base/interfaces.js';
import { limits } from '../../shared/base/limits.js';

/** `again`: there is more now; `later`: ask after a pause; a result ends it. */
export type Turn<T> = 'again' | 'later' | { readonly result: T };

export interface PollOptions {
  readonly clock: Clock;
  /** Whether the server answered before: its first silence may then pass. */
  readonly hasAnswered?: boolean;
  /** Told of each try that failed and is tried again. */
  readonly onRetry?: (fault: Fault) => void;
}

/**
 * Calls `ask` until it has a result. Throws its error when that is no temporary failure, when the
 * server never answered (a wrong address is more likely than one that restarts), or after
 * limits.watchTriesMaxCount failures in a row.
 */
export async function poll<T>(
  ask: () => Promise<Turn<T>>,
  { clock, hasAnswered = false, onRetry }: PollOptions,
): Promise<T> {
  let answered = hasAnswered;
  let failures = 0;
  for (;;) {
    try {
      const turn = await ask();
      if (typeof turn === 'object') return turn.result;
      answered = true;
      failures = 0;
      if (turn === 'again') continue;
    } catch (error) {
      failures += 1;
      if (!isFault(error) || error.kind !== 'flaked' || !answered) throw error;
      if (failures >= limits.watchTriesMaxCount) throw error;
      onRetry?.(error);
    }
    await sleep(clock, limits.watchEveryMs);
  }
}
