// Admission: may this genuine release be installed on this device now? Signatures and digests are
// verified before and not here; what only a payload kind knows is its handler's. Pure but for what
// the caller measured. Each refusal names the two values that do not fit.
import semver from 'semver';
import { limits } from '../../shared/base/limits.js';
import { Fault } from '../../shared/base/fault-codes.js';
import type { AnyRelease } from './payload/handler.js';
import type { Assignment, UpdateRecord } from './record.js';

/**
 * What the assignment names must be what the signed manifest says (Uptane: wrong software
 * installation). Fault: manifest_mismatch.
 */
export function matchAssignment(release: AnyRelease, assignment: Assignment): void {
  if (
    release.digest !== assignment.sha256 ||
    release.component !== assignment.component ||
    release.version !== assignment.version
  ) {
    const name = (one: { component: string; version: string }, digest: string): string =>
      `${one.component} ${one.version} (${digest.slice(0, 12)})`;
    throw new Fault(
      'manifest_mismatch',
      `the assignment is for ${name(assignment, assignment.sha256)}, ` +
        `the manifest is ${name(release, release.digest)}`,
    );
  }
}

/**
 * Hardware id and version floor. A signed rollback may go below the version that was confirmed
 * here, to a release that a slot still holds, or down to the floor that is signed offline in the
 * image targets. A rollback to what was confirmed here may be fetched again: its slot may have
 * been lost. Faults: hardware_unsupported, version_floor.
 */
export function admit(release: AnyRelease, assignment: Assignment, record: UpdateRecord): void {
  if (!release.manifest.hardware.includes(record.hardware)) {
    throw new Fault(
      'hardware_unsupported',
      `${release.component} ${release.version} is for ${release.manifest.hardware.join(', ')}; ` +
        `this device is ${record.hardware}`,
    );
  }
  const { floor, slots } = record;
  const slotRows = [slots.a, slots.b];
  if (assignment.rollback && slotRows.some((slot) => slot?.digest === release.digest)) return;
  const signed = assignment.floor;
  if (assignment.rollback && signed !== null && semver.gte(release.version, signed)) return;
  // When both slots are empty, no slot can show what ran here.
  const stranded = slotRows.every((slot) => slot === null);
  if (assignment.rollback && floor === null && !stranded) {
    throw new Fault(
      'version_floor',
      `rollback to ${release.version}, which this device has not run before`,
    );
  }
  if (floor !== null && semver.lt(release.version, floor)) {
    throw new Fault(
      'version_floor',
      `${release.component} ${release.version} is older than ${floor}, ` +
        `which was confirmed here${assignment.rollback ? NO_WAY_BACK : ''}`,
    );
  }
}

const NO_WAY_BACK = '; no slot holds it, and no signed floor allows it (linnet publish --floor)';

/**
 * Disk for the bytes still to come, with a reserve that keeps the spool and the record writable.
 * Fault: contract_disk.
 */
export function admitDisk(release: AnyRelease, missingBytes: number, freeBytes: number): void {
  const needed = missingBytes + limits.freeSpaceReserveBytes;
  if (missingBytes > 0 && freeBytes < needed) {
    throw new Fault(
      'contract_disk',
      `${release.component} ${release.version} needs ${needed} free bytes of disk, ` +
        `${freeBytes} are free`,
    );
  }
}
