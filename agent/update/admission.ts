// Policy: may this genuine release run on this device, now? Proof (signatures, digests) comes
// before and is not here. Pure but for what the caller measured. Each refusal names the two numbers
// that do not fit.
import semver from 'semver';
import { limits } from '../../shared/base/limits.js';
import { Fault } from '../../shared/base/fault-codes.js';
import { totalLength, type Release } from '../../shared/release/manifest.js';
import type { Assignment, UpdateRecord } from './record.js';

const MIB = 1024 * 1024;

/**
 * What the order names and what the signed manifest says must be one thing (wrong software
 * installation).
 */
export function matchAssignment(release: Release, assignment: Assignment): void {
  if (
    release.digest !== assignment.sha256 ||
    release.component !== assignment.component ||
    release.version !== assignment.version
  ) {
    const reasons = (one: { component: string; version: string }, digest: string) =>
      `${one.component} ${one.version} (${digest.slice(0, 12)})`;
    throw new Fault(
      'manifest_mismatch',
      `the order is for ${reasons(assignment, assignment.sha256)}, the manifest is ${reasons(release, release.digest)}`,
    );
  }
}

/**
 * Hardware id and version floor. `record.slots` says what ran here before: a signed order to go
 * back may name only that.
 */
export function admit(release: Release, assignment: Assignment, record: UpdateRecord): void {
  if (!release.manifest.hardware.includes(record.hardware)) {
    throw new Fault(
      'hardware_unsupported',
      `${release.component} ${release.version} is for ${release.manifest.hardware.join(', ')}; this device is ${record.hardware}`,
    );
  }
  // Where no slot proves any more there is nothing to know a release by: there the floor decides,
  // as for any order.
  const stranded = record.slots.a === null && record.slots.b === null;
  if (assignment.rollback && !stranded) {
    const known = [record.slots.a, record.slots.b].some((slot) => slot?.digest === release.digest);
    if (!known)
      throw new Fault(
        'version_floor',
        `ordered back to ${release.version}, which this device has not run before`,
      );
    return;
  }
  if (record.floor !== null && semver.lt(release.version, record.floor)) {
    throw new Fault(
      'version_floor',
      `${release.component} ${release.version} is older than ${record.floor}, which was confirmed here`,
    );
  }
}

/**
 * Disk for the bytes still to come, with a reserve that keeps the spool and the record writable.
 */
export function admitDisk(release: Release, presentBytes: number, freeBytes: number): void {
  const missing = Math.max(0, totalLength(release.manifest) - presentBytes);
  const needed = missing + limits.freeSpaceReserveBytes;
  if (missing > 0 && freeBytes < needed) {
    throw new Fault(
      'contract_disk',
      `${release.component} ${release.version} needs ${needed} free bytes of disk, ${freeBytes} are free`,
    );
  }
}

/**
 * Old and new model run side by side during probe and trial, so the new one's whole peak must be
 * free.
 */
export function admitMemory(release: Release, availableBytes: number): void {
  const needed = release.manifest.contract.peakMemoryMiB * MIB;
  if (availableBytes < needed) {
    throw new Fault(
      'contract_memory',
      `${release.component} ${release.version} may use ${release.manifest.contract.peakMemoryMiB} MiB, ${Math.floor(availableBytes / MIB)} MiB are available`,
    );
  }
}
