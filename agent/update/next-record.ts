// What the record says after a step: pure functions of the record before and of the step's result.
// Nothing else computes a record.
import { limits } from '../../shared/base/limits.js';
import { next } from '../../shared/base/state-machine.js';
import type { Outcome } from '../../shared/protocol/telemetry.js';
import { refOfTarget } from '../../shared/release/release-ref.js';
import { isResting, spareOf, type Assignment, type SlotName, type UpdateRecord } from './record.js';
import type { EventResult, RecordChange } from './steps/step.js';
import { updateTransitions } from './transitions.js';

/**
 * The record after an event of the table. A candidate that never served (its update ended early)
 * leaves its slot. Throws ImpossibleTransition for an event that the state does not have.
 */
export function afterEvent(before: UpdateRecord, result: EventResult): UpdateRecord {
  const state = next(updateTransitions, before.state, result.event);
  const slots = result.change?.slots ?? before.slots;
  const changed = { ...before, ...result.change };
  if (isResting(state)) {
    const left = state === 'idle' && isCandidate(before) ? spareOf(before) : null;
    return {
      ...changed,
      state,
      assignment: null,
      slots: left === null ? slots : withoutSlot(slots, left),
      writes: 0,
    };
  }
  const assignment = result.event === 'assigned' ? result.assignment : before.assignment;
  if (assignment === null) throw new Error(`event ${result.event} without an assignment`);
  // A hold may last through any number of restarts: each one rehearses again.
  const isHeld = state === 'rehearsed' && assignment.activation === 'hold';
  return { ...changed, state, assignment, writes: isHeld ? 0 : before.writes + 1 };
}

/** The record after a change that keeps the state. */
export function afterChange(before: UpdateRecord, change: RecordChange): UpdateRecord {
  return { ...before, ...change, writes: isResting(before.state) ? 0 : before.writes + 1 };
}

const CANDIDATE = ['staged', 'probed', 'rehearsed', 'shadowing'] as const;

/** True while the spare slot holds a new release that has not served here yet. */
export const isCandidate = ({ state, assignment }: UpdateRecord): boolean =>
  CANDIDATE.some((one) => one === state) && assignment?.rollback === false;

export const withoutSlot = (
  slots: UpdateRecord['slots'],
  name: SlotName,
): UpdateRecord['slots'] => ({ ...slots, [name]: null });

/** How an assignment ended, as the record and the reports carry it. */
export function outcomeOf(
  assignment: Assignment,
  end: Pick<Outcome, 'result' | 'code' | 'detail'>,
): Outcome {
  return {
    ...end,
    detail: end.detail.slice(0, limits.detailMaxChars),
    release: refOfTarget(assignment),
    assignmentId: assignment.assignmentId,
  };
}
