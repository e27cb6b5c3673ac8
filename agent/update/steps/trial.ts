// swapped -> idle: the trial. The new release is activated with the previous one kept beside it;
// the payload handler observes both; the trial ends confirmed or rolled back. Before it is
// confirmed, the new release is started once more, because some releases break only then.
import { Fault, isFault } from '../../../shared/base/fault-codes.js';
import { limits } from '../../../shared/base/limits.js';
import type { Outcome } from '../../../shared/protocol/telemetry.js';
import type { TrialPolicy } from '../../../shared/statistics/trial-verdict.js';
import type { ColdStart } from '../../interfaces.js';
import { outcomeOf, withoutSlot } from '../next-record.js';
import type { AnyInstalled } from '../payload/handler.js';
import { previousOf, spareOf, type RecordIn } from '../record.js';
import type { EventResult, Step, StepContext, StepReport, StepResult, WaitResult } from './step.js';
import { isSuperseded } from './superseded.js';

type End = Pick<Outcome, 'result' | 'code' | 'detail'>;

const OBSERVE_AGAIN: WaitResult = { waitMs: limits.trialPauseMs };

export const swapped: Step<'swapped'> = async (context) => {
  const { record, releases, activate } = context;
  const { assignment } = record;
  if (isSuperseded(context)) return withdrawn(context);
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
  return observe(context, current, previous !== null);
};

const withdrawn = (context: StepContext<'swapped'>): Promise<EventResult> =>
  rollBack(context, {
    result: 'rolled_back',
    code: 'trial_withdrawn',
    detail: 'the server withdrew this release during its trial',
  });

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

async function observe(
  context: StepContext<'swapped'>,
  current: AnyInstalled,
  replaces: boolean,
): Promise<StepResult> {
  const { record, handler, coldStarts } = context;
  const observed = await handler.observe({
    policy: policyNow(context),
    replaces,
    failedStarts: record.trialFaults,
  });
  const { verdict, evidence, reasons } = observed;
  const stage = STAGE[verdict];
  const reports = evidence === null ? [] : [{ kind: 'trial', evidence, stage } as const];
  if (stage !== 'decided') return { ...OBSERVE_AGAIN, reports };
  const detail = reasons.join('; ');
  if (verdict === 'pass') {
    const started = coldStarts.of(record.assignment.assignmentId);
    if (started !== null)
      return { ...confirm(record, 'confirmed', `${detail}; ${started}`), reports };
    const measured = reports.map((report) => ({ ...report, stage: 'measuring' as const }));
    return startAgain(context, current, { replaces, measured });
  }
  const result = verdict === 'fail' ? 'rolled_back' : 'differs';
  return { ...(await rollBack(context, { result, code: observed.code, detail })), reports };
}

/** A person may have accepted a larger difference meanwhile: the same assignment says so. */
function policyNow({ record: { assignment }, latest }: StepContext<'swapped'>): TrialPolicy {
  return latest?.assignmentId === assignment.assignmentId ? latest.trial : assignment.trial;
}

/**
 * The cold start that a release must come through before it is confirmed. One that fails is a
 * failed start of the release. It takes no longer than a start may.
 */
async function startAgain(
  context: StepContext<'swapped'>,
  current: AnyInstalled,
  { replaces, measured }: { replaces: boolean; measured: readonly StepReport[] },
): Promise<StepResult> {
  const { record, handler, coldStarts } = context;
  let start: ColdStart;
  try {
    start = await handler.coldStart(current);
  } catch (error) {
    if (!isFault(error)) throw error;
    return { ...(await activationFailed(context, error)), reports: measured };
  }
  if (start === 'later') return { ...OBSERVE_AGAIN, reports: measured };
  const how =
    'none' in start
      ? `no cold start: ${start.none}`
      : `came through a cold start in ${start.tookMs} ms`;
  coldStarts.note(record.assignment.assignmentId, how);
  // It took seconds, in which requests were answered and another assignment may have come.
  return isSuperseded(context) ? withdrawn(context) : observe(context, current, replaces);
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
