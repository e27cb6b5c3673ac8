// The steps of the resting states: idle decides whether the latest assignment is accepted; stranded
// accepts any.
import type { Outcome } from '../../../shared/protocol/telemetry.js';
import { runningOf, type Assignment, type RecordIn } from '../record.js';
import { outcomeOf } from '../next-record.js';
import { deferred } from './deferred.js';
import {
  REST,
  type EventResult,
  type RecordChange,
  type Step,
  type StepResult,
  type WaitResult,
} from './step.js';

/** Accepts an assignment with a new id. One that names what runs already is answered at once. */
export const idle: Step<'idle'> = ({ record, latest, mayRetry, opensAt }) => {
  const begin = (assignment: Assignment): StepResult => accept(assignment, opensAt());
  const decide = (): StepResult => {
    if (latest === undefined) return REST;
    if (latest === null) return withdrawn(record);
    const runs = runningOf(record)?.digest === latest.sha256;
    if (latest.assignmentId > record.assignmentId) {
      if (latest.activation === 'shadow' && record.active === null) return nothingServes(latest);
      return runs ? runsAlready(record, latest) : begin(latest);
    }
    const again =
      latest.assignmentId === record.assignmentId && !runs && mustSucceed(record, latest);
    return again && mayRetry ? begin(latest) : REST;
  };
  return Promise.resolve(decide());
};

/**
 * With nothing to serve, any assignment of something to serve is accepted, also one that was
 * accepted before.
 */
export const stranded: Step<'stranded'> = ({ latest }) =>
  Promise.resolve(
    latest === undefined || latest === null || latest.activation === 'shadow'
      ? REST
      : accept(latest, null),
  );

/**
 * An assignment that failed is not tried again, with two exceptions: a rollback, and a device that
 * lost the release it served.
 */
const mustSucceed = (record: RecordIn<'idle'>, assignment: Assignment): boolean =>
  assignment.rollback ||
  (record.active === null && record.floor !== null && assignment.activation !== 'shadow');

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
        shadowed: assignment.activation === 'shadow',
        damaged: 0,
        trialFaults: 0,
        outcome: null,
      },
    }
  );
}

/** What becomes of an assignment that is answered at once. */
const answered = (
  latest: Assignment,
  end: Pick<Outcome, 'result' | 'code' | 'detail'>,
  change: RecordChange = {},
): StepResult => ({
  ...REST,
  change: {
    assignmentId: latest.assignmentId,
    shadowed: latest.activation === 'shadow',
    outcome: outcomeOf(latest, end),
    ...change,
  },
});

function runsAlready(record: RecordIn<'idle'>, latest: Assignment): StepResult {
  if (latest.activation === 'shadow') {
    const detail = 'this release is serving already';
    return answered(latest, { result: 'shadowed', code: null, detail });
  }
  const result = latest.rollback ? 'reverted' : 'confirmed';
  const floor = latest.rollback ? latest.version : record.floor;
  const detail = 'this release was running already';
  return answered(latest, { result, code: null, detail }, { floor });
}

const nothingServes = (latest: Assignment): StepResult =>
  answered(latest, {
    result: 'refused',
    code: 'shadow_needs_serving',
    detail: `no release of ${latest.component} serves on this device`,
  });

/**
 * The director assigns nothing any more. A device that never had another release stops serving. One
 * that was never assigned anything, that has confirmed a second release, or whose shadow is
 * withdrawn keeps serving.
 */
function withdrawn(record: RecordIn<'idle'>): StepResult {
  if (record.assignmentId === 0 || record.shadowed || !record.first || record.active === null)
    return REST;
  return { ...REST, change: { active: null, slots: { a: null, b: null } } };
}
