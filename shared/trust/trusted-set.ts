// The trusted metadata of one repository (image or director) as a value, and the functions that
// update it: the client workflow of TUF 1.0 section 5 with the additions of Uptane 2.1.0. Each is a
// pure function of the trusted set, new bytes and a time. It returns a new set, or throws a Fault
// and changes nothing. The design follows python-tuf's TrustedMetadataSet. The caller downloads and
// stores (agent/update/metadata.ts).
import assert from 'node:assert/strict';
import { Fault, isFault } from '../base/fault-codes.js';
import {
  decodeDocument,
  expiryMs,
  releaseRing,
  requireMeta,
  requireThreshold,
  roleRing,
  type Document,
  type MetaFile,
  type Role,
  type Root,
} from './documents.js';

export type RepositoryName = 'image' | 'director';

export interface TrustedSet {
  readonly repository: RepositoryName;
  /** Of a director repository: the device that it is for. */
  readonly device: string | null;
  readonly root: Document<'root'>;
  /**
   * The latest accepted documents, also after they expired: versions of newer ones must not be
   * lower.
   */
  readonly timestamp: Document<'timestamp'> | null;
  readonly snapshot: Document<'snapshot'> | null;
  readonly targets: Document<'targets'> | null;
}

/**
 * Spec 5.2: starts with a root that was provisioned or that this device stored. A threshold of its
 * own keys must have signed it, so a damaged file is noticed. Its expiry is checked later. Faults:
 * metadata_*.
 */
export function startTrust(
  repository: RepositoryName,
  rootBytes: Uint8Array,
  device: string | null = null,
): TrustedSet {
  assert(
    (repository === 'director') === (device !== null),
    'a director repository has a device, an image repository has none',
  );
  const root = decodeDocument('root', rootBytes);
  requireThreshold(root, roleRing(root.signed, 'root'), 'it itself');
  requireReleaseKeys(repository, root);
  return { repository, device, root, timestamp: null, snapshot: null, targets: null };
}

/**
 * Not in the specification. An image root of another tool may have no release keys; with it, the
 * installed release could not be verified at the next start.
 */
function requireReleaseKeys(repository: RepositoryName, root: Document<'root'>): void {
  if (repository === 'image') releaseRing(root.signed);
}

/** Spec 5.3.4 to 5.3.7 and 5.3.11: one step of the root chain. Faults: metadata_*, root_version. */
export function withRoot(set: TrustedSet, bytes: Uint8Array): TrustedSet {
  const root = decodeDocument('root', bytes);
  const old = set.root.signed;
  // 5.3.4 arbitrary software attack: a threshold of the old root's keys and of its own.
  requireThreshold(root, roleRing(old, 'root'), `trusted root ${old.version}`);
  requireThreshold(root, roleRing(root.signed, 'root'), 'it itself');
  requireReleaseKeys(set.repository, root);
  // 5.3.5 rollback attack: exactly the next version.
  if (root.signed.version !== old.version + 1) {
    throw new Fault(
      'root_version',
      `${set.repository} root is version ${root.signed.version}; expected version ` +
        `${old.version + 1}`,
    );
  }
  // 5.3.6: an intermediate root may have expired; requireFreshRoot checks the last one.
  const rotated = (role: Role): boolean =>
    old.roles[role].keyids.some((keyid) => !root.signed.roles[role].keyids.includes(keyid));
  // 5.3.11 fast-forward recovery: a stolen key may have signed a very high version, so what it
  // signed is forgotten when the key is replaced.
  const recovered = rotated('timestamp') || rotated('snapshot');
  return {
    ...set,
    root,
    timestamp: recovered ? null : stillSigned(set.timestamp, root.signed),
    snapshot: recovered ? null : stillSigned(set.snapshot, root.signed),
    targets: rotated('targets') ? null : stillSigned(set.targets, root.signed),
  };
}

function stillSigned<R extends Role>(document: Document<R> | null, root: Root): Document<R> | null {
  if (document === null) return null;
  try {
    requireThreshold(document, roleRing(root, document.role), `root ${root.version}`);
    return document;
  } catch (error) {
    if (isFault(error, 'metadata_signature')) return null;
    throw error;
  }
}

/**
 * Spec 5.3.10 freeze attack: the last root of the chain must not have expired. Fault
 * metadata_expired.
 */
export function requireFreshRoot(set: TrustedSet, nowMs: number): void {
  requireUnexpired(set, set.root, nowMs);
}

/**
 * Spec 5.4. At an equal version the trusted document stays. `latestMs`: the time that it names
 * must not be after this. Faults: metadata_*, director_other_device.
 */
export function withTimestamp(
  set: TrustedSet,
  bytes: Uint8Array,
  nowMs: number,
  latestMs = Number.POSITIVE_INFINITY,
): TrustedSet {
  requireFreshRoot(set, nowMs);
  const timestamp = decodeDocument('timestamp', bytes);
  requireThreshold(
    timestamp,
    roleRing(set.root.signed, 'timestamp'),
    `${set.repository} root ${set.root.signed.version}`,
  ); // 5.4.2
  requireDevice(set, timestamp);
  const old = set.timestamp;
  let next = timestamp;
  if (old !== null) {
    // 5.4.3.1 and 5.4.3.2 rollback attack.
    if (timestamp.signed.version < old.signed.version)
      throw rollback(set, 'timestamp.json', timestamp.signed.version, old.signed.version);
    if (timestamp.signed.version === old.signed.version) next = old;
    const before = old.signed.meta['snapshot.json'].version;
    const after = next.signed.meta['snapshot.json'].version;
    if (after < before)
      throw rollback(set, 'snapshot.json (as timestamp.json names it)', after, before);
  }
  requireUnexpired(set, next, nowMs); // 5.4.4
  if (next !== old) requirePossibleTime(set, next, latestMs);
  return { ...set, timestamp: next };
}

/**
 * Not of the specification. The time in timestamp.json becomes the earliest present, so a lie about
 * it could make every other document look expired. It must lie before the document's own expiry and
 * that of the root (signed offline: no stolen online key moves it), and not after `latestMs`.
 */
function requirePossibleTime(
  set: TrustedSet,
  { signed }: Document<'timestamp'>,
  latestMs: number,
): void {
  const time = signed['x-linnet-time'];
  if (time === undefined) return;
  const ms = expiryMs(time, 'timestamp.json');
  const limit = Math.min(
    expiryMs(signed.expires, 'timestamp.json'),
    expiryMs(set.root.signed.expires, 'root.json'),
  );
  if (ms < limit && ms <= latestMs) return;
  const why =
    ms < limit
      ? `the present is not after ${new Date(latestMs).toISOString()}`
      : 'it or its root has expired by then';
  throw new Fault(
    'metadata_time',
    `${set.repository} timestamp.json version ${signed.version} names the time ${time}; ${why}`,
  );
}

/** True when timestamp.json names another snapshot than the trusted one. */
export function needsSnapshot(set: TrustedSet): boolean {
  return set.snapshot === null || !isNamed(set.snapshot, snapshotMeta(set));
}

/** What timestamp.json says of snapshot.json. */
export function snapshotMeta(set: TrustedSet): MetaFile {
  assert(set.timestamp !== null, 'timestamp before snapshot');
  return set.timestamp.signed.meta['snapshot.json'];
}

/** Spec 5.5. Faults: metadata_*, director_other_device. */
export function withSnapshot(set: TrustedSet, bytes: Uint8Array, nowMs: number): TrustedSet {
  const meta = snapshotMeta(set);
  requireMeta(bytes, meta, 'snapshot.json'); // 5.5.2 mix-and-match attack
  const snapshot = decodeDocument('snapshot', bytes);
  requireThreshold(
    snapshot,
    roleRing(set.root.signed, 'snapshot'),
    `${set.repository} root ${set.root.signed.version}`,
  ); // 5.5.3
  requireDevice(set, snapshot);
  requireNamedVersion(snapshot, meta, 'timestamp.json'); // 5.5.4 mix-and-match attack
  // Uptane 5.4.4.5, check 4: the snapshot's own version never falls. The timestamp alone does not
  // show it: a device that lost its timestamp.json keeps its snapshot.json.
  if (set.snapshot !== null && snapshot.signed.version < set.snapshot.signed.version)
    throw rollback(set, 'snapshot.json', snapshot.signed.version, set.snapshot.signed.version);
  // 5.5.5 rollback attack: no listed version falls, and no entry disappears.
  for (const [name, before] of Object.entries(set.snapshot?.signed.meta ?? {})) {
    const after = Object.hasOwn(snapshot.signed.meta, name)
      ? snapshot.signed.meta[name]
      : undefined;
    if (after === undefined)
      throw new Fault(
        'metadata_rollback',
        `${set.repository} snapshot ${snapshot.signed.version} no longer lists ${name}`,
      );
    if (after.version < before.version)
      throw rollback(set, `${name} (as snapshot.json names it)`, after.version, before.version);
  }
  requireUnexpired(set, snapshot, nowMs); // 5.5.6
  return { ...set, snapshot };
}

/** True when snapshot.json names other targets than the trusted ones. */
export function needsTargets(set: TrustedSet): boolean {
  return set.targets === null || !isNamed(set.targets, targetsMeta(set));
}

/** What snapshot.json says of targets.json. Fault metadata_mismatch when it says nothing. */
export function targetsMeta(set: TrustedSet): MetaFile {
  assert(set.snapshot !== null, 'snapshot before targets');
  const meta = set.snapshot.signed.meta['targets.json'];
  if (meta === undefined)
    throw new Fault(
      'metadata_mismatch',
      `${set.repository} snapshot ${set.snapshot.signed.version} does not list targets.json`,
    );
  return meta;
}

/**
 * Spec 5.6, Uptane 5.4.4.6 (targets). Faults: metadata_*, director_delegates,
 * director_other_device.
 */
export function withTargets(set: TrustedSet, bytes: Uint8Array, nowMs: number): TrustedSet {
  const meta = targetsMeta(set);
  requireMeta(bytes, meta, 'targets.json'); // 5.6.2 mix-and-match attack
  const targets = decodeDocument('targets', bytes);
  requireThreshold(
    targets,
    roleRing(set.root.signed, 'targets'),
    `${set.repository} root ${set.root.signed.version}`,
  ); // 5.6.3
  requireDevice(set, targets);
  requireNamedVersion(targets, meta, 'snapshot.json'); // 5.6.4 mix-and-match attack
  // Uptane: also when snapshot.json was forgotten in a recovery.
  if (set.targets !== null && targets.signed.version < set.targets.signed.version) {
    throw rollback(set, 'targets.json', targets.signed.version, set.targets.signed.version);
  }
  requireUnexpired(set, targets, nowMs); // 5.6.5
  if (set.repository === 'director' && targets.signed.delegations !== undefined) {
    throw new Fault(
      'director_delegates',
      `director targets ${targets.signed.version} carry delegations`,
    );
  }
  return { ...set, targets };
}

/**
 * Loads a document that this device stored after it had accepted it. Its signatures must meet the
 * threshold of the trusted root. Expiry and parents are not checked, because the document only
 * sets the lowest version for newer ones. A document that does not decode, or is no longer signed,
 * is left out and fetched again.
 */
export function withStored(
  set: TrustedSet,
  role: Exclude<Role, 'root'>,
  bytes: Uint8Array,
): TrustedSet {
  try {
    const document = decodeDocument(role, bytes);
    requireThreshold(
      document,
      roleRing(set.root.signed, role),
      `${set.repository} root ${set.root.signed.version}`,
    );
    requireDevice(set, document);
    return { ...set, [role]: document };
  } catch (error) {
    if (error instanceof Fault) return set;
    throw error;
  }
}

/**
 * The targets, which may be used only when all four documents are present, each is the one that
 * its parent names, and none has expired. Fault metadata_expired or metadata_mismatch.
 */
export function requireCurrent(set: TrustedSet, nowMs: number): Document<'targets'> {
  const { root, timestamp, snapshot, targets } = set;
  if (
    timestamp === null ||
    snapshot === null ||
    targets === null ||
    needsSnapshot(set) ||
    needsTargets(set)
  ) {
    throw new Fault(
      'metadata_mismatch',
      `the ${set.repository} repository's metadata is incomplete`,
    );
  }
  for (const document of [root, timestamp, snapshot, targets])
    requireUnexpired(set, document, nowMs);
  return targets;
}

/**
 * When the trusted timestamp was signed, by its own field; 0 without that field. The current time
 * cannot be earlier. It is part of the document: after a stolen timestamp key has signed a wrong
 * time, rotating the key recovers.
 */
export function knownTimeMs(set: TrustedSet): number {
  const time = set.timestamp?.signed['x-linnet-time'];
  return time === undefined ? 0 : expiryMs(time, 'timestamp.json');
}

function isNamed(document: Document<'snapshot' | 'targets'>, meta: MetaFile): boolean {
  if (document.signed.version !== meta.version) return false;
  try {
    requireMeta(document.bytes, meta, `${document.role}.json`);
    return true;
  } catch (error) {
    if (isFault(error, 'metadata_mismatch')) return false;
    throw error;
  }
}

function requireNamedVersion(
  document: Document<'snapshot' | 'targets'>,
  meta: MetaFile,
  parent: string,
): void {
  if (document.signed.version !== meta.version) {
    throw new Fault(
      'metadata_mismatch',
      `${document.role}.json is version ${document.signed.version}, ` +
        `${parent} names ${meta.version}`,
    );
  }
}

/**
 * Replayed metadata of another device must not change the trusted versions of this one. Every
 * director document names its device.
 */
function requireDevice(
  set: TrustedSet,
  document: Document<'timestamp' | 'snapshot' | 'targets'>,
): void {
  if (set.repository !== 'director') return;
  const named = document.signed['x-linnet-device'];
  if (named !== set.device)
    throw new Fault(
      'director_other_device',
      `director ${document.role}.json is for ${named ?? 'no device'}; this device is ${set.device}`,
    );
}

function requireUnexpired(set: TrustedSet, document: Document<Role>, nowMs: number): void {
  const { version, expires } = document.signed;
  if (nowMs < expiryMs(expires, `${document.role}.json`)) return;
  throw new Fault(
    'metadata_expired',
    `${set.repository} ${document.role}.json version ${version} expired at ${expires}; it is ` +
      new Date(nowMs).toISOString(),
  );
}

function rollback(set: TrustedSet, what: string, version: number, trusted: number): Fault {
  return new Fault(
    'metadata_rollback',
    `${set.repository} ${what} is version ${version}; version ${trusted} was trusted before`,
  );
}
