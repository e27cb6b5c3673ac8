// staged -> probed -> swapped: the candidate is verified once more and probed beside what serves;
// then one write of the record is the swap.
import { Fault } from '../../../shared/base/fault-codes.js';
import { spareOf } from '../record.js';
import type { Step } from './step.js';
import { unlessSuperseded } from './superseded.js';

export const staged: Step<'staged'> = unlessSuperseded(async (context) => {
  const { record, releases, handler } = context;
  const candidate = await releases.verify(record, spareOf(record));
  if (candidate === null)
    throw new Fault('file_digest', 'the staged release no longer verifies from disk');
  const detail = await handler.probe(candidate, {
    rollback: record.assignment.rollback,
    acceptance: await context.acceptance.verified(record.assignment),
  });
  return { event: 'probed', detail };
});

/** The driver's write is the swap; the next step, and every start, activates what it names. */
export const probed: Step<'probed'> = unlessSuperseded(({ record }) =>
  Promise.resolve({
    event: 'swapped',
    change: { active: spareOf(record), trialFaults: 0 },
  }),
);
