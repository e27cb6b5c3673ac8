// staged -> probed -> rehearsed -> swapped: the candidate is verified once more and probed beside
// what serves, then it answers recent inputs of this device beside it; then one write of the record
// is the swap. Until that write it has answered no live request. A hold waits before that write
// until the director says swap; a wait writes nothing. A shadow goes on in shadow.ts instead.
import { Fault } from '../../../shared/base/fault-codes.js';
import { outcomeOf } from '../next-record.js';
import { spareOf, type RecordIn } from '../record.js';
import type { AnyInstalled } from '../payload/handler.js';
import type { SlotReleases } from '../slot-releases.js';
import { deferred } from './deferred.js';
import { REST, type Step, type StepContext, type StepResult } from './step.js';
import { unlessSuperseded } from './superseded.js';

export const staged: Step<'staged'> = unlessSuperseded(async (context) => {
  const { record, releases, handler } = context;
  const candidate = await candidateOf(record, releases);
  const detail = await handler.probe(candidate, {
    rollback: record.assignment.rollback,
    acceptance: await context.acceptance.verified(record.assignment),
  });
  return { event: 'probed', detail };
});

export const probed: Step<'probed'> = unlessSuperseded(async ({ record, releases, handler }) => {
  const { assignment, active } = record;
  const candidate = await candidateOf(record, releases);
  const current = await releases.installed(record, active);
  const { differs, detail } = await handler.rehearse(candidate, current, {
    policy: assignment.trial,
    rollback: assignment.rollback,
  });
  if (differs === null) return { event: 'rehearsed', detail };
  const outcome = outcomeOf(assignment, { result: 'differs', code: differs, detail });
  return { event: 'differs', change: { outcome }, detail };
});

async function candidateOf(
  record: RecordIn<'staged' | 'probed' | 'rehearsed'>,
  releases: SlotReleases,
): Promise<AnyInstalled> {
  const candidate = await releases.verify(record, spareOf(record));
  if (candidate === null)
    throw new Fault('file_digest', 'the staged release no longer verifies from disk');
  return candidate;
}

/** The driver's write is the swap; the next step, and every start, activates what it names. */
export const rehearsed: Step<'rehearsed'> = unlessSuperseded(async (context) => {
  const { record } = context;
  const { activation } = record.assignment;
  if (activation === 'shadow') return { event: 'shadowing' };
  if (!isPermitted(context)) return REST;
  const wait = activation === 'hold' ? await held(context) : null;
  return wait ?? { event: 'swapped', change: { active: spareOf(record), trialFaults: 0 } };
});

/**
 * A device that prepared a release and then lost its network does not swap by itself: the release
 * may have been stopped meanwhile. The way back, and a device that serves nothing, do not wait.
 */
const isPermitted = ({ record, maySwap }: StepContext<'rehearsed'>): boolean =>
  record.assignment.rollback || record.active === null || maySwap();

/**
 * The wait of a hold; null once the director says swap and the update hours of the device last. A
 * device that lost what it served does not wait for them. The hold may have taken weeks, so the
 * candidate is verified again.
 */
async function held(context: StepContext<'rehearsed'>): Promise<StepResult | null> {
  const { record, latest, releases, opensAt } = context;
  if (latest?.activation !== 'swap') return REST;
  const lost = record.active === null && record.floor !== null;
  const wait = lost ? null : deferred(record.assignment, opensAt());
  if (wait === null) await candidateOf(record, releases);
  return wait;
}
