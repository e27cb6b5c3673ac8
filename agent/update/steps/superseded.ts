// Guards every working state: when the director assigns something else, the update under way ends.
import type { UpdateState } from '../../../shared/protocol/states.js';
import type { WorkingState } from '../record.js';
import type { Step, StepContext } from './step.js';

/** True when the director now assigns something else than what is under way. */
export function isSuperseded({ record, latest }: StepContext<WorkingState>): boolean {
  return (
    latest !== undefined &&
    (latest === null || latest.assignmentId !== record.assignment.assignmentId)
  );
}

/** The step, unless the assignment under way was superseded. */
export const unlessSuperseded =
  <S extends WorkingState & UpdateState>(step: Step<S>): Step<S> =>
  (context) =>
    isSuperseded(context) ? Promise.resolve({ event: 'superseded' }) : step(context);
