// What a decision about a rollout depends on, and what it decides: the types that the pure parts of
// this room share.
import { limits } from '../../shared/base/limits.js';
import type {
  AssignmentChange,
  DeviceFacts,
  MeasuredBlock,
  MemberRow,
  RolloutChange,
  RolloutRow,
  Take,
} from '../interfaces.js';
import type { ReleaseRef } from '../../shared/release/release-ref.js';
import { after, type RolloutEvent } from './transitions.js';
import { activationOf } from './strategies.js';
import type { Moment } from './verdict.js';

export interface Situation extends Moment {
  readonly rollout: RolloutRow;
  /** By wave and rank: in the order in which they are asked. */
  readonly members: readonly MemberRow[];
  readonly facts: ReadonlyMap<string, DeviceFacts>;
  /** Comparisons of arms that are due, measured; empty for other strategies. */
  readonly blocks: readonly MeasuredBlock[];
  /** All takes of its series (strategies.ts), over all rollouts, in order. */
  readonly takes: readonly Take[];
  /**
   * Of an undo: the release that stood before, where the signed floor lets a device that never ran
   * it go there. Null otherwise.
   */
  readonly before: ReleaseRef | null;
  /**
   * Digests of published releases among those that devices report: a device can be rolled back only
   * to one of these.
   */
  readonly published: ReadonlySet<string>;
}

/** One step. */
export type Plan = Omit<RolloutChange, 'audit'>;

export const clip = (reasons: string): string =>
  reasons.length > limits.detailMaxChars
    ? `${reasons.slice(0, limits.detailMaxChars - 1)}…`
    : reasons;

/** The rollout after `event`. A new state or wave starts its own clock, without approval. */
export function moved(
  rollout: RolloutRow,
  event: RolloutEvent,
  reasons: readonly string[],
  now: number,
  change: Partial<RolloutRow> = {},
): RolloutRow {
  const state = after(rollout.state, event);
  return { ...rollout, state, since: now, approved: false, reasons: reasons.map(clip), ...change };
}

export const only = (rollout: RolloutRow): Plan => ({ rollout, members: [], assignments: [] });

export function assignmentOf(
  rollout: RolloutRow,
  device: string,
  release: ReleaseRef | null,
  rollback: boolean,
): AssignmentChange {
  const { id, policy } = rollout;
  const { component } = rollout.release;
  const activation = release === null || rollback ? 'swap' : activationOf(rollout);
  return { device, component, release, rollback, activation, rollout: id, trial: policy.trial };
}

/** What the device ran before; nothing, where nothing is known of that. */
export const assignmentBack = (
  rollout: RolloutRow,
  { device, previous }: MemberRow,
): AssignmentChange => assignmentOf(rollout, device, previous, previous !== null);

/** "d1, d2 and 3 more"; `members` may be the first of `count`. */
export function listed(members: readonly MemberRow[], count = members.length): string {
  const first = members.slice(0, limits.reasonLinesMaxCount);
  const names = first.map((member) => member.name).join(', ');
  return count > first.length ? `${names} and ${count - first.length} more` : names;
}
