// Details of large rollouts, kept for a while. Making one reads every member, and screens ask for
// it again and again: how often they ask must not decide how much of its time the server spends on
// it. Requests that come meanwhile share one reading, and what took long is kept for a multiple of
// the time that it took, as long as state and wave of the rollout stay. Small ones are made anew.
import type { Clock } from '../../shared/base/interfaces.js';
import { limits } from '../../shared/base/limits.js';
import { RecentMap } from '../../shared/base/recent-map.js';
import type { RolloutDetail } from '../../shared/protocol/operator-api.js';
import type { RolloutRow } from '../interfaces.js';

interface Kept {
  readonly stage: string;
  readonly view: Promise<RolloutDetail>;
  /** Monotonic; null: it is being made. */
  until: number | null;
}

export class KeptViews {
  readonly #clock: Clock;
  readonly #kept = new RecentMap<string, Kept>(limits.rolloutViewsKeptMaxCount);

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  of(rollout: RolloutRow, make: () => Promise<RolloutDetail>): Promise<RolloutDetail> {
    const { id } = rollout;
    const kept = this.#kept.get(id);
    const isFresh =
      kept !== undefined &&
      kept.stage === stageOf(rollout) &&
      (kept.until === null || this.#clock.monotonic() < kept.until);
    return isFresh ? kept.view : this.anew(rollout, make);
  }

  /** After a command: what was kept is of the time before it. */
  anew(rollout: RolloutRow, make: () => Promise<RolloutDetail>): Promise<RolloutDetail> {
    const { id } = rollout;
    const from = this.#clock.monotonic();
    const made: Kept = { stage: stageOf(rollout), view: make(), until: null };
    this.#kept.set(id, made);
    made.view.then(
      ({ counts }) => {
        const now = this.#clock.monotonic();
        const members = counts.reduce((sum, { devices }) => sum + devices, 0);
        made.until = now + (now - from) * limits.rolloutViewKeptFactor;
        if (members <= limits.conductorPageRowsMaxCount) this.#forget(id, made);
      },
      () => this.#forget(id, made),
    );
    return made.view;
  }

  #forget(id: string, made: Kept): void {
    if (this.#kept.get(id) === made) this.#kept.delete(id);
  }
}

const stageOf = ({ state, wave }: RolloutRow): string => `${state} ${wave}`;
