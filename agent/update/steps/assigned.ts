// assigned -> downloaded: the envelope first (small, verified at once), then the checks that need
// no more than the envelope, then the files.
import { isFault } from '../../../shared/base/fault-codes.js';
import { dueOf } from '../acceptance.js';
import { admit, admitDisk, matchAssignment } from '../admission.js';
import type { LocalRelease } from '../download.js';
import type { AnyRelease } from '../payload/handler.js';
import { SLOT_NAMES } from '../record.js';
import type { Step, StepContext } from './step.js';
import { unlessSuperseded } from './superseded.js';

export const assigned: Step<'assigned'> = unlessSuperseded(async (context) => {
  const { record, slots, download, disk } = context;
  const { assignment } = record;
  await slots.prepare(assignment.sha256);
  await slots.tidy(assignment.sha256);
  const release = await envelopeOf(context);
  matchAssignment(release, assignment);
  admit(release, assignment, record);
  const local = await localReleases(context);
  const missing = (await download.missingBytes(release, local)) + (dueOf(assignment)?.length ?? 0);
  admitDisk(release, missing, await disk.freeBytes(slots.incoming(release.digest)));
  const acceptance = dueOf(assignment);
  if (acceptance !== null)
    await download.beside(
      { name: 'the acceptance set', ...acceptance },
      slots.acceptance(release.digest, acceptance.sha256),
    );
  await download.files(release, local, context.onProgress);
  return { event: 'downloaded' };
});

/**
 * The verified envelope of the assignment: kept from before a restart, still in a slot (a
 * rollback), or fetched.
 */
async function envelopeOf(context: StepContext<'assigned'>): Promise<AnyRelease> {
  const { slots, download, open, record } = context;
  const { assignment } = record;
  const kept = await slots.envelope(slots.incoming(assignment.sha256));
  if (kept !== null) {
    try {
      const release = open(kept);
      if (release.digest === assignment.sha256) return release;
    } catch (error) {
      if (!isFault(error)) throw error; // Damaged on disk: fetched again below.
    }
  }
  let bytes: Uint8Array | null = null;
  for (const slot of SLOT_NAMES) {
    if (record.slots[slot]?.digest === assignment.sha256)
      bytes = await slots.envelope(slots.slot(slot));
  }
  bytes ??= await context.fetchEnvelope(assignment);
  const release = open(bytes);
  await download.keepEnvelope(assignment.sha256, bytes);
  return release;
}

/** The releases in the slots: a file that one of them holds is not fetched again. */
async function localReleases({
  record,
  slots,
  open,
}: StepContext<'assigned'>): Promise<LocalRelease[]> {
  const found: LocalRelease[] = [];
  for (const slot of SLOT_NAMES) {
    if (record.slots[slot] === null) continue;
    const bytes = await slots.envelope(slots.slot(slot));
    if (bytes === null) continue;
    try {
      const { manifest } = open(bytes);
      found.push({ folder: slots.slot(slot), files: manifest.files });
    } catch (error) {
      if (!isFault(error)) throw error; // A damaged slot is not a source of files.
    }
  }
  return found;
}
