// The acceptance set of an assignment on this device: fetched beside the release, and verified from
// disk each time it is about to be used: length and digest by the signed image targets, then the
// signature by the acceptance keys of the trusted root. Nothing of it is parsed before.
import { Fault } from '../../shared/base/fault-codes.js';
import { limits } from '../../shared/base/limits.js';
import { sha256 } from '../../shared/base/bytes.js';
import { openAcceptanceSet, type AcceptanceSet } from '../../shared/release/acceptance-set.js';
import type { KeyRing } from '../../shared/trust/key-ring.js';
import type { Disk } from '../interfaces.js';
import type { Assignment } from './record.js';
import type { Slots } from './slots.js';

export interface AcceptanceSetsOptions {
  readonly disk: Disk;
  readonly slots: Slots;
  /** The acceptance keys of the trusted root; throws a Fault when it lists none. */
  readonly ring: () => KeyRing;
}

export class AcceptanceSets {
  readonly #options: AcceptanceSetsOptions;

  constructor(options: AcceptanceSetsOptions) {
    this.#options = options;
  }

  /**
   * The verified set; null where the release needs none. Faults: file_length, file_digest,
   * signature_invalid, manifest_undecodable, metadata_undecodable (no acceptance keys).
   */
  async verified(assignment: Assignment): Promise<AcceptanceSet | null> {
    const due = dueOf(assignment);
    if (due === null) return null;
    const { disk, slots, ring } = this.#options;
    const path = slots.acceptance(assignment.sha256, due.sha256);
    const bytes = await disk.read(path, limits.acceptanceSetMaxBytes);
    if (bytes?.length !== due.length)
      throw new Fault(
        'file_length',
        `the acceptance set has ${bytes?.length ?? 0} bytes, the image targets say ${due.length}`,
      );
    if (sha256(bytes) !== due.sha256)
      throw new Fault(
        'file_digest',
        'the acceptance set does not have the SHA-256 that the image targets name',
      );
    const set = openAcceptanceSet(bytes, ring());
    if (set.component !== assignment.component)
      throw new Fault('manifest_mismatch', `the acceptance set is one of ${set.component}`);
    return set;
  }
}

/** A rollback takes a release that ran here before, and must not be kept out. */
export const dueOf = ({ acceptance, rollback }: Assignment): Assignment['acceptance'] =>
  rollback ? null : acceptance;
