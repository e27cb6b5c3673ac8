// The steps of the resting states: idle decides whether the latest assignment is accepted; stranded
// accepts any.
import { runningOf, type Assignment, type RecordIn } from '../record.js';
import { outcomeOf } from '../next-record.js';
import { deferred } from './deferred.js';
import { REST, type EventResult, type Step, type StepResult, type WaitResult } from './step.js';

/** Accepts an assignment with a new id. One that names what runs already is answered at once. */
export const idle: Step<'idle'> = ({ record, latest, mayRetry, opensAt }) => {
  const begin = (assignment: Assignment): StepResult => accept(assignment, opensAt());
  const decide = (): StepResult => {
    if (latest === undefined) return REST;
    if (latest === null) return withdrawn(record);
    const runs = runningOf(record)?.digest === latest.sha256;
    if (latest.assignmentId > record.assignmentId)
      return runs ? runsAlready(record, latest) : begin(latest);
    const again =
      latest.assignmentId === record.assignmentId && !runs && mustSucceed(record, latest);
    return again && mayRetry ? begin(latest) : REST;
  };
  return Promise.resolve(decide());
};

/** With nothing to serve, any assignment is accepted, also one that was accepted before. */
export const stranded: Step<'stranded'> = ({ latest }) =>
  Promise.resolve(latest === undefined || latest === null ? REST : accept(latest, null));

/**
 * An assignment that failed is not tried again, with two exceptions: a rollback, and a device that
 * lost the release it served.
 */
const mustSucceed = (record: RecordIn<'idle'>, assignment: Assignment): boolean =>
  assignment.rollback || (record.active === null && record.floor !== null);

/**
 * A new release waits for the update hours of the device. The way back from a bad one does not, nor
 * does a device that serves nothing.
 */
function accept(assignment: Assignment, opensAt: number | null): EventResult | WaitResult {
  return (
    deferred(assignment, opensAt) ?? {
      event: 'assigned',
      assignment,
      change: {
        assignmentId: assignment.assignmentId,
        damaged: 0,
        trialFaults: 0,
        outcome: null,
      },
    }
  );
}

const runsAlready = (record: RecordIn<'idle'>, latest: Assignment): StepResult => ({
  ...REST,
  change: {
    assignmentId: latest.assignmentId,
    floor: latest.rollback ? latest.version : record.floor,
    outcome: outcomeOf(latest, {
      result: latest.rollback ? 'reverted' : 'confirmed',
      code: null,
      detail: 'this release was running already',
    }),
  },
});

/**
 * The director assigns nothing any more. A device that never had another release stops serving. One
 * that was never assigned anything, or that has confirmed a second release, keeps serving.
 */
function withdrawn(record: RecordIn<'idle'>): StepResult {
  if (record.assignmentId === 0 || !record.first || record.active === null) return REST;
  return { ...REST, change: { active: null, slots: { a: null, b: null } } };
}
