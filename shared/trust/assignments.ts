// Uptane 2.1.0, full verification, step 10: an assignment of the director is accepted only when the
// image repository, which people sign offline, lists the same release. One assignment that does not
// match refuses the whole document.
import { isDeepStrictEqual } from 'node:util';
import { decode } from '../base/decode.js';
import { Fault } from '../base/fault-codes.js';
import { targetPath } from '../release/release-ref.js';
import { DirectorCustom, ImageCustom } from '../protocol/device-api.js';
import type { Activation } from '../protocol/states.js';
import type { TrialPolicy } from '../statistics/trial-verdict.js';
import { acceptanceOf, type AcceptanceFile, type TargetFile, type Targets } from './documents.js';

/**
 * An assignment that both repositories agree on. `length` and `sha256` are those of the release's
 * envelope.
 */
export interface TrustedAssignment {
  readonly component: string;
  readonly version: string;
  readonly path: string;
  readonly length: number;
  readonly sha256: string;
  readonly rollout: string;
  readonly assignmentId: number;
  readonly rollback: boolean;
  readonly activation: Activation;
  /** The oldest version that the device may be sent back to, signed offline; null: none named. */
  readonly floor: string | null;
  /** The file with the acceptance set that the release must pass; null: none named. */
  readonly acceptance: AcceptanceFile | null;
  readonly trial: TrialPolicy;
}

/**
 * The assignments of a device, sorted by component. Faults: metadata_undecodable (custom part),
 * target_unknown, target_mismatch, hardware_unsupported.
 */
export function matchAssignments(
  director: Targets,
  image: Targets,
  device: { readonly id: string; readonly hardware: string },
): TrustedAssignment[] {
  const byComponent = new Map<string, TrustedAssignment>();
  for (const [path, target] of Object.entries(director.targets)) {
    const assignment = matchOne(path, target, image, device.hardware);
    // Uptane: no two images for one unit.
    if (byComponent.has(assignment.component)) {
      throw new Fault(
        'target_mismatch',
        `the director assigns two releases of ${assignment.component} to ${device.id}`,
      );
    }
    byComponent.set(assignment.component, assignment);
  }
  return [...byComponent.values()].sort((a, b) => (a.component < b.component ? -1 : 1));
}

function listedSha256({ hashes }: TargetFile, path: string): string {
  const sha256 = hashes['sha256'];
  if (sha256 === undefined || sha256.length !== 64)
    throw new Fault('target_mismatch', `${path}: no SHA-256 is listed`);
  return sha256;
}

/** The oldest version of a component that a device may be sent back to; null: none is signed. */
export function floorOf(
  { 'x-linnet-floors': floors = {} }: Targets,
  component: string,
): string | null {
  return Object.hasOwn(floors, component) ? (floors[component] ?? null) : null;
}

/** Both must list the same hashes: otherwise the shorter list would decide. */
function matchFiles(path: string, target: TargetFile, genuine: TargetFile): void {
  if (target.length !== genuine.length) {
    throw new Fault(
      'target_mismatch',
      `${path}: the director says ${target.length} bytes, the image repository ${genuine.length}`,
    );
  }
  if (!isDeepStrictEqual(target.hashes, genuine.hashes))
    throw new Fault(
      'target_mismatch',
      `${path}: the director and the image repository list different hashes`,
    );
}

function matchOne(
  path: string,
  target: TargetFile,
  image: Targets,
  hardware: string,
): TrustedAssignment {
  const selected = decode(
    DirectorCustom,
    target.custom,
    `director target ${path}`,
    'metadata_undecodable',
  );
  const genuine = Object.hasOwn(image.targets, path) ? image.targets[path] : undefined;
  if (genuine === undefined)
    throw new Fault(
      'target_unknown',
      `the director assigns ${path}; image targets version ${image.version} does not list it`,
    );
  const known = decode(ImageCustom, genuine.custom, `image target ${path}`, 'metadata_undecodable');
  matchFiles(path, target, genuine);
  const sha256 = listedSha256(genuine, path);
  if (selected.component !== known.component || selected.version !== known.version) {
    throw new Fault(
      'target_mismatch',
      `${path}: the director calls it ${selected.component} ${selected.version}, the image ` +
        `repository ${known.component} ${known.version}`,
    );
  }
  if (path !== targetPath(known.component, known.version))
    throw new Fault(
      'target_mismatch',
      `${path} is not the path of ${known.component} ${known.version}`,
    );
  if (selected.hardware !== hardware)
    throw new Fault(
      'hardware_unsupported',
      `${path}: the director assigns it for ${selected.hardware}; this device is ${hardware}`,
    );
  if (!known.hardware.includes(hardware))
    throw new Fault(
      'hardware_unsupported',
      `${path} is for ${known.hardware.join(', ')}; this device is ${hardware}`,
    );
  const { component, version, rollout, assignmentId, rollback, activation, trial } = selected;
  if (rollback && activation !== 'swap')
    throw new Fault('target_mismatch', `${path}: a way back cannot be assigned as ${activation}`);
  return {
    component,
    version,
    path,
    length: genuine.length,
    sha256,
    rollout,
    assignmentId,
    rollback,
    activation,
    floor: floorOf(image, component),
    acceptance: acceptanceOf(image, component),
    trial,
  };
}
