// Assignments that say no longer what their rollout wants: those that are held, after the go of a
// blue-green rollout, and those with the trial of before, after a person accepted a difference. The
// change of the rollout is one transaction, and these follow, some at a time. A server that stops
// between them goes on with the others. Pure.
import type { MemberRow, RolloutRow } from '../interfaces.js';
import type { Plan } from './situation.js';
import { isPreparing } from './strategies.js';

/**
 * What assignments may lag behind; null where none can: nothing has changed since they were made,
 * or devices go back.
 */
export function changeSince({ state, goAt, policy }: RolloutRow): string | null {
  const accepted = policy.trial.acceptedDifferencePermille ?? null;
  const isForward = state === 'rolling' || state === 'held';
  return isForward && (goAt ?? accepted) !== null ? JSON.stringify([goAt, accepted]) : null;
}

/** `members`: of the rollout, with assignments that lag behind it. */
export function updateAssignments(
  rollout: RolloutRow,
  members: readonly MemberRow[],
  now: number,
): Plan {
  return {
    rollout,
    members: isPreparing(rollout) ? [] : members.filter(isReady).map((one) => told(one, now)),
    assignments: [],
    updated: members.map(({ device }) => device),
  };
}

const isReady = ({ state }: MemberRow): boolean => state === 'ready';

/** It was ready, and has now to show that it serves the release. */
const told = (member: MemberRow, now: number): MemberRow => ({
  ...member,
  state: 'taken',
  since: now,
  assignedAt: now,
  proven: false,
  reasons: 'told to swap',
});
