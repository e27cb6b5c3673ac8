// downloaded -> verified -> staged: every byte is verified from disk, then policy, then the spare
// slot is laid out. Nothing parses the payload before this.
import { Fault, isFault } from '../../../shared/base/fault-codes.js';
import { limits } from '../../../shared/base/limits.js';
import { refOf } from '../../../shared/release/release-ref.js';
import { admit, matchAssignment } from '../admission.js';
import type { AnyRelease } from '../payload/handler.js';
import { spareOf } from '../record.js';
import type { Step, StepContext } from './step.js';
import { unlessSuperseded } from './superseded.js';

export const downloaded: Step<'downloaded'> = unlessSuperseded(async (context) => {
  const { record, slots, disk, handler, acceptance } = context;
  const { assignment } = record;
  const release = await incomingRelease(context);
  matchAssignment(release, assignment);
  try {
    await slots.verifyFiles(release.manifest, (file) => slots.partial(release.digest, file));
    await acceptance.verified(assignment);
  } catch (error) {
    if (!isFault(error, 'file_digest', 'file_length')) throw error;
    // Bytes that fail verification are not kept. A torn write or a bad mirror is worth another
    // download; a source that stays bad ends the update.
    await disk.remove(slots.incoming(assignment.sha256));
    const damaged = record.damaged + 1;
    if (damaged >= limits.fetchTriesMaxCount) throw error;
    const detail = `${error.detail}; downloading it again`;
    return {
      event: 'damaged',
      change: { damaged },
      reports: [{ kind: 'security', code: error.code, detail }],
    };
  }
  admit(release, assignment, record);
  await handler.admit(release, { rollback: assignment.rollback });
  if (assignment.activation === 'shadow')
    handler.admitShadow(release, await context.releases.installed(record, record.active));
  // The next step rewrites the spare slot, so from here on the record no longer names what that
  // slot held, unless it is this release.
  const spare = spareOf(record);
  const kept = record.slots[spare]?.digest === release.digest ? record.slots[spare] : null;
  return { event: 'verified', change: { slots: { ...record.slots, [spare]: kept } } };
});

export const verified: Step<'verified'> = unlessSuperseded(async (context) => {
  const { record, slots, handler } = context;
  const spare = spareOf(record);
  const release = await incomingRelease(context);
  await slots.layOut(release, spare);
  await handler.install({ release, folder: slots.slot(spare) });
  return { event: 'staged', change: { slots: { ...record.slots, [spare]: refOf(release) } } };
});

/** The downloaded release, its envelope verified again from disk. */
async function incomingRelease({
  record,
  slots,
  open,
}: StepContext<'downloaded' | 'verified'>): Promise<AnyRelease> {
  const envelope = await slots.envelope(slots.incoming(record.assignment.sha256));
  if (envelope === null)
    throw new Fault('manifest_undecodable', 'the downloaded release has lost its envelope');
  return open(envelope);
}
