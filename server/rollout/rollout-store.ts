// What the conductor needs of the store beyond RolloutStore (server/ports.ts): making rollouts and
// reading them back. The store (server/store) implements it. Two promises that the schema must
// keep, not the caller:
// - `commit` (server/ports.ts) also answers false, and writes nothing, when it would make a second
// rollout of the same
//   component active (rolling, held or reverting): a partial unique index on the component. So two `start` cannot both win.
// - an assignment with `release: null` raises the member's `order` like any other and is then left
// out of the director's view.
import type { RolloutState } from '../../shared/protocol/states.js';
import type { ReleaseRef } from '../../shared/protocol/telemetry.js';
import type { MemberRow, RolloutRow, RolloutStore } from '../interfaces.js';

export interface HistoryRow {
  /** ms since the epoch. */
  readonly at: number;
  readonly state: RolloutState;
  readonly wave: number;
  readonly reasons: readonly string[];
}

export interface EligibleDevice {
  readonly id: string;
  readonly name: string;
  readonly group: string;
  readonly hardware: string;
}

export interface PublishedRelease {
  readonly ref: ReleaseRef;
  /** Hardware ids that its manifest lists. */
  readonly hardware: readonly string[];
}

export interface RolloutServiceStore extends RolloutStore {
  /**
   * A new rollout with its members in one transaction, with a first history row. `row.generation`
   * is stored as it is.
   */
  insertRollout(row: RolloutRow, members: readonly MemberRow[]): Promise<void>;
  /** The newest `limit` rollouts, the newest first. */
  list(limit: number): Promise<RolloutRow[]>;
  /** Oldest first. */
  history(rollout: string): Promise<HistoryRow[]>;
  /**
   * Enrolled devices that carry the component on one of these hardware ids; in one of `groups`,
   * unless it is null.
   */
  eligible(
    component: string,
    hardware: readonly string[],
    groups: readonly string[] | null,
  ): Promise<EligibleDevice[]>;
  /** The published release of that version, or null. */
  release(component: string, version: string): Promise<PublishedRelease | null>;
}
