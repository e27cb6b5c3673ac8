// The releases in a component's two slots, verified from disk. A release that was verified in this
// process is remembered until its slot is verified again: the payload handler checks what it loads
// once more (the model process hashes the bytes that it parses).
import { Fault, isFault } from '../../shared/base/fault-codes.js';
import type { AnyInstalled, OpenRelease } from './payload/handler.js';
import type { SlotName, UpdateRecord } from './record.js';
import type { Slots } from './slots.js';

export interface SlotReleasesOptions {
  readonly slots: Slots;
  readonly open: OpenRelease;
  /** Told of every slot that does not verify. */
  readonly onUnverified: (slot: SlotName, fault: Fault) => void;
}

/** A sector that cannot be read is like one that reads wrong: the other slot may still be good. */
export const isUnverified = (error: unknown): error is Fault =>
  isFault(error) && (error.kind === 'refused' || error.code === 'disk_failed');

export class SlotReleases {
  readonly #options: SlotReleasesOptions;
  readonly #verified = new Map<SlotName, AnyInstalled>();

  constructor(options: SlotReleasesOptions) {
    this.#options = options;
  }

  /**
   * The release in a slot, as it was verified last in this process; null when it does not verify.
   */
  async installed(record: UpdateRecord, slot: SlotName | null): Promise<AnyInstalled | null> {
    if (slot === null) return null;
    const known = this.#verified.get(slot);
    return known !== undefined && known.release.digest === record.slots[slot]?.digest
      ? known
      : this.verify(record, slot);
  }

  /** The release in a slot, verified from disk now; null when it does not verify. */
  async verify(record: UpdateRecord, slot: SlotName): Promise<AnyInstalled | null> {
    const named = record.slots[slot];
    if (named === null) return null;
    this.#verified.delete(slot);
    try {
      const installed = await this.#options.slots.verify(slot, this.#options.open);
      if (installed.release.digest !== named.digest)
        throw new Fault(
          'manifest_mismatch',
          `slot ${slot} holds ${installed.release.version}, the record says ${named.version}`,
        );
      this.#verified.set(slot, installed);
      return installed;
    } catch (error) {
      if (!isUnverified(error)) throw error;
      this.#options.onUnverified(slot, error);
      return null;
    }
  }
}
