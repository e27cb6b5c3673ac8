// Rebuilds an unreadable record from what the slots hold. Which slot was active is lost. Of two
// that verify, the older one is taken: it was confirmed before the other one came, and the other
// one may have been on trial. The latest assignment brings the newer one back, through a trial.
import semver from 'semver';
import { refOf, type ReleaseRef } from '../../shared/release/release-ref.js';
import type { OpenRelease } from './payload/handler.js';
import { SLOT_NAMES, type RecordIn, type SlotName } from './record.js';
import { isUnverified } from './slot-releases.js';
import type { Slots } from './slots.js';

export async function recoverRecord(
  fresh: RecordIn<'idle'>,
  slots: Slots,
  open: OpenRelease,
): Promise<RecordIn<'idle'>> {
  const found: Record<SlotName, ReleaseRef | null> = { a: null, b: null };
  for (const slot of SLOT_NAMES) {
    try {
      found[slot] = refOf((await slots.verify(slot, open)).release);
    } catch (error) {
      if (!isUnverified(error)) throw error;
    }
  }
  const { a, b } = found;
  const active = a === null ? (b === null ? null : 'b') : isOlder(b, a) ? 'b' : 'a';
  return {
    ...fresh,
    slots: found,
    active,
    floor: active === null ? null : (found[active]?.version ?? null),
    first: a === null || b === null,
  };
}

const isOlder = (one: ReleaseRef | null, other: ReleaseRef): boolean =>
  one !== null && semver.lt(one.version, other.version);
