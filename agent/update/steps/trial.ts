// swapped -> idle: the trial. The new release is activated with the previous one kept beside it;
// the payload handler observes both; the trial ends confirmed or rolled back.
import { Fault, isFault } from '../../../shared/base/fault-codes.js';
import { limits } from '../../../shared/base/limits.js';
import type { Outcome } from '../../../shared/protocol/telemetry.js';
import type { TrialPolicy } from '../../../shared/statistics/trial-verdict.js';
import { outcomeOf, withoutSlot } from '../next-record.js';
import { previousOf, spareOf, type RecordIn } from '../record.js';
import type { EventResult, Step, StepContext, StepReport, StepResult, WaitResult } from './step.js';
import { isSuperseded } from './superseded.js';

type End = Pick<Outcome, 'result' | 'code' | 'detail'>;

const OBSERVE_AGAIN: WaitResult = { waitMs: limits.trialPauseMs };

export const swapped: Step<'swapped'> = async (context) => {
  const { record, releases, activate } = context;
  const { assignment } = record;
  if (isSuperseded(context))
    return rollBack(context, {
      result: 'rolled_back',
      code: 'trial_withdrawn',
      detail: 'the server withdrew this release during its trial',
    });
  const current = await releases.installed(record, record.active);
  if (current === null)
    return rollBack(context, {
      result: 'rolled_back',
      code: 'file_digest',
      detail: 'the new release no longer verifies from disk',
    });
  const previous = assignment.rollback ? null : await releases.installed(record, spareOf(record));
  try {
    await activate(current, previous);
  } catch (error) {
    if (!isFault(error)) throw error;
    return activationFailed(context, error);
  }
  if (assignment.rollback) return confirm(record, 'reverted', 'rolled back as assigned');
  return observe(context, previous !== null);
};

/** A release that is refused, or that does not start three times, is rolled back. */
async function activationFailed(
  context: StepContext<'swapped'>,
  fault: Fault,
): Promise<StepResult> {
  // Without its own files this agent starts no release at all: the trial waits for them.
  if (fault.code === 'installation_incomplete')
    return { waitMs: limits.installationPauseMs, trouble: fault };
  const trialFaults = context.record.trialFaults + 1;
  if (fault.kind !== 'refused' && trialFaults < limits.trialFaultsMaxCount)
    return { ...OBSERVE_AGAIN, change: { trialFaults }, detail: fault.message };
  return rollBack(context, {
    result: 'rolled_back',
    code: fault.kind === 'refused' ? fault.code : 'trial_crashes',
    detail: `${fault.detail} (start ${trialFaults})`,
  });
}

async function observe(context: StepContext<'swapped'>, replaces: boolean): Promise<StepResult> {
  const { record, handler } = context;
  const observed = await handler.observe({
    policy: policyNow(context),
    replaces,
    failedStarts: record.trialFaults,
  });
  const { verdict, evidence, reasons } = observed;
  const stage = STAGE[verdict];
  const reports: StepReport[] = evidence === null ? [] : [{ kind: 'trial', evidence, stage }];
  if (stage !== 'decided') return { ...OBSERVE_AGAIN, reports };
  const detail = reasons.join(' ');
  if (verdict === 'pass') return { ...confirm(record, 'confirmed', detail), reports };
  const result = verdict === 'fail' ? 'rolled_back' : 'differs';
  return { ...(await rollBack(context, { result, code: observed.code, detail })), reports };
}

/** A person may have accepted a larger difference meanwhile: the same assignment says so. */
function policyNow({ record: { assignment }, latest }: StepContext<'swapped'>): TrialPolicy {
  return latest?.assignmentId === assignment.assignmentId ? latest.trial : assignment.trial;
}

/** A trial that ends unproven keeps the release, and the old slot, and goes on comparing. */
const STAGE = {
  measuring: 'measuring',
  unproven: 'open',
  pass: 'decided',
  fail: 'decided',
  differs_more_than_declared: 'decided',
} as const;

function confirm(
  record: RecordIn<'swapped'>,
  result: 'confirmed' | 'reverted',
  detail: string,
): EventResult {
  return {
    event: 'confirmed',
    change: {
      floor: record.assignment.version,
      first: record.first && previousOf(record) === null,
      outcome: outcomeOf(record.assignment, { result, code: null, detail }),
    },
  };
}

/**
 * Ends a trial: one write makes the other slot active again, or none when that slot does not verify
 * (a first install has none).
 */
export async function rollBack(
  { record, releases }: Pick<StepContext<'swapped'>, 'record' | 'releases'>,
  end: End,
): Promise<EventResult> {
  const previous = spareOf(record);
  const target = await releases.verify(record, previous);
  const slots = record.active === null ? record.slots : withoutSlot(record.slots, record.active);
  return {
    event: 'rolled_back',
    change: {
      active: target === null ? null : previous,
      slots,
      outcome: outcomeOf(record.assignment, end),
    },
  };
}
