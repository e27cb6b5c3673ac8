// May this targets document replace the current one? Pure: it compares the two documents and the
// release that is being added. `linnet publish` makes the next targets.json from the current one,
// and only people's keys sign it; the server still refuses what would change releases that devices
// may have read already.
import { isDeepStrictEqual } from 'node:util';
import { Fault } from '../../shared/base/fault-codes.js';
import { type Release } from '../../shared/release/manifest.js';
import { targetPath } from '../../shared/release/release-ref.js';
import type { ImageCustom } from '../../shared/protocol/device-api.js';
import {
  acceptanceOf,
  expiryMs,
  type Document,
  type TargetFile,
} from '../../shared/trust/documents.js';

export interface Publication {
  /** Opened with the trusted root's release keys. */
  readonly release: Release;
  readonly envelope: Uint8Array;
  /** Signed by the trusted root's targets role. */
  readonly next: Document<'targets'>;
  readonly current: Document<'targets'>;
  readonly nowMs: number;
}

/** The entry of a release in the image repository's targets. */
function imageTarget(release: Release, envelope: Uint8Array): TargetFile {
  const custom: ImageCustom = {
    component: release.component,
    version: release.version,
    hardware: release.manifest.hardware,
  };
  return { length: envelope.length, hashes: { sha256: release.digest }, custom };
}

/**
 * `already` when this very document is current. Faults: metadata_rollback, metadata_expired,
 * conflict, target_mismatch.
 */
export function admitPublication({
  release,
  envelope,
  next,
  current,
  nowMs,
}: Publication): 'new' | 'already' {
  const path = targetPath(release.component, release.version);
  const named = Object.hasOwn(next.signed.targets, path) ? next.signed.targets[path] : undefined;
  if (named === undefined)
    throw new Fault('target_mismatch', `targets ${next.signed.version} do not list ${path}`);
  if (!isDeepStrictEqual(named, imageTarget(release, envelope))) {
    throw new Fault(
      'target_mismatch',
      `targets ${next.signed.version} describe ${path} differently than the release does ` +
        '(length, SHA-256 or custom)',
    );
  }
  const version = next.signed.version;
  const last = current.signed.version;
  if (version === last && Buffer.from(next.message).equals(current.message)) return 'already';
  if (version <= last)
    throw new Fault(
      'metadata_rollback',
      `targets are version ${version}, version ${last} is current: ` +
        'read the repository again and retry',
    );
  if (version !== last + 1)
    throw new Fault(
      'conflict',
      `targets are version ${version}, the one after ${last} is due: ` +
        'read the repository again and retry',
    );
  if (nowMs >= expiryMs(next.signed.expires, 'targets.json'))
    throw new Fault('metadata_expired', `targets ${version} expired at ${next.signed.expires}`);
  for (const [earlier, target] of Object.entries(current.signed.targets)) {
    const still = Object.hasOwn(next.signed.targets, earlier)
      ? next.signed.targets[earlier]
      : undefined;
    if (still === undefined)
      throw new Fault('conflict', `targets ${version} drop ${earlier}: releases stay published`);
    if (!isDeepStrictEqual(still, target))
      throw new Fault(
        'conflict',
        `targets ${version} change ${earlier}: ` +
          'a published release never changes, raise its version',
      );
  }
  for (const component of Object.keys(current.signed['x-linnet-acceptance'] ?? {}))
    if (acceptanceOf(next.signed, component) === null)
      throw new Fault(
        'conflict',
        `targets ${version} drop the acceptance set of ${component}: it can only be replaced`,
      );
  const added = Object.keys(next.signed.targets).filter(
    (name) => !Object.hasOwn(current.signed.targets, name),
  );
  if (added.length > 1)
    throw new Fault(
      'conflict',
      `targets ${version} add ${added.join(', ')}: publish one release at a time`,
    );
  return 'new';
}
