// shadowing -> idle: the candidate never serves. It answers copies of live requests beside what
// serves, the payload handler compares both, and the end is an outcome for a person to read.
import { Fault, isFault } from '../../../shared/base/fault-codes.js';
import { limits } from '../../../shared/base/limits.js';
import type { Outcome } from '../../../shared/protocol/telemetry.js';
import { outcomeOf } from '../next-record.js';
import { spareOf, type RecordIn } from '../record.js';
import { REST, type EventResult, type Step, type StepContext, type StepResult } from './step.js';
import { unlessSuperseded } from './superseded.js';

export const shadowing: Step<'shadowing'> = unlessSuperseded(async (context) => {
  const { record, releases, handler } = context;
  // What serves does not start (its trouble says so): there is nothing to compare with now.
  if (!handler.serves) return REST;
  const candidate = await releases.installed(record, spareOf(record));
  if (candidate === null)
    throw new Fault('file_digest', 'the staged release no longer verifies from disk');
  const current = await releases.installed(record, record.active);
  try {
    await handler.startShadow(candidate, current);
  } catch (error) {
    return startFailed(record, error);
  }
  return observe(context);
});

/** A release that is refused ends at once, one that does not start three times is a crash. */
function startFailed(record: RecordIn<'shadowing'>, error: unknown): StepResult {
  if (!isFault(error) || error.kind === 'refused' || error.code === 'installation_incomplete')
    throw error;
  const trialFaults = record.trialFaults + 1;
  if (trialFaults < limits.trialFaultsMaxCount)
    return { waitMs: limits.trialPauseMs, change: { trialFaults }, detail: error.message };
  const detail = `${error.detail} (start ${trialFaults})`;
  return ended(record, 'trial_crashes', detail);
}

async function observe({ record, handler }: StepContext<'shadowing'>): Promise<StepResult> {
  const { verdict, code, evidence, reasons } = await handler.observeShadow({
    policy: record.assignment.trial,
    replaces: true,
    failedStarts: record.trialFaults,
  });
  const stage = verdict === 'measuring' ? 'measuring' : 'decided';
  const reports = evidence === null ? [] : [{ kind: 'trial', evidence, stage } as const];
  if (stage === 'measuring') return { waitMs: limits.trialPauseMs, reports };
  return { ...ended(record, code, reasons.join('; ')), reports };
}

const ended = (
  { assignment }: RecordIn<'shadowing'>,
  code: Outcome['code'],
  detail: string,
): EventResult => ({
  event: 'shadowed',
  change: { outcome: outcomeOf(assignment, { result: 'shadowed', code, detail }) },
});
