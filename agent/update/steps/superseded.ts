// Guards every working state: when the director assigns something else, the update under way ends.
import type { UpdateState } from '../../../shared/protocol/states.js';
import type { WorkingState } from '../record.js';
import type { Step, StepContext } from './step.js';

/**
 * True when the director now assigns something else than what is under way. That a hold becomes a
 * swap is its end, not another assignment.
 */
export function isSuperseded({
  record: { assignment },
  latest,
}: StepContext<WorkingState>): boolean {
  if (latest === undefined) return false;
  if (latest?.assignmentId !== assignment.assignmentId) return true;
  const hasGo = assignment.activation === 'hold' && latest.activation === 'swap';
  return latest.activation !== assignment.activation && !hasGo;
}

/** The step, unless the assignment under way was superseded. */
export const unlessSuperseded =
  <S extends WorkingState & UpdateState>(step: Step<S>): Step<S> =>
  (context) =>
    isSuperseded(context) ? Promise.resolve({ event: 'superseded' }) : step(context);
