// Reads and writes the signed documents of TUF 1.0 (section 4 of
// https://theupdateframework.github.io/specification/): bytes in, a typed document or a Fault out.
// Unknown fields are allowed, as section 4 requires, and are covered by the signatures. The fields
// that Linnet uses are decoded strictly. The only signature scheme is ed25519. Whether a document
// is trusted is decided in trusted-set.ts.
//
// Linnet's own fields, which other TUF clients skip:
//   root       x-linnet-release  the release keys, which sign manifests (DSSE); the keys themselves
//                                are in `keys`
//   root       x-linnet-acceptance  the keys that sign acceptance sets (DSSE)
//   timestamp  x-linnet-time     when it was signed: a lower limit for the current time, which a
//                                device without a clock can trust
//   targets    x-linnet-floors   of the image repository: for a component, the oldest version that
//                                a device may be sent back to
//              x-linnet-acceptance  for a component, the file with its acceptance set
//   director   x-linnet-device   the one device that timestamp, snapshot and targets of its
//                                director repository are for
import { createHash } from 'node:crypto';
import { Type, type Static } from 'typebox';
import { limits } from '../base/limits.js';
import { complaints, decode, parseJson } from '../base/decode.js';
import { Fault } from '../base/fault-codes.js';
import { fromHex, hex, sha256, utf8 } from '../base/bytes.js';
import { canonicalBytes } from '../base/canonical-json.js';
import { Hex32 } from '../base/hex-schemas.js';
import { Component, Version as ReleaseVersion } from '../release/manifest-head.js';
import { countSigners, type KeyRing } from './key-ring.js';
import { keyIdOf, PublicKey, type Signer } from './signer.js';

const SPEC_VERSION = '1.0.31';

const Version = Type.Integer({ minimum: 1, maximum: 2 ** 52 });
const Length = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
/** Spec 4.1: ISO 8601, UTC, whole seconds. */
const Time = Type.String({ pattern: '^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}Z$' });
/**
 * TypeBox's pattern for "any key" does not match a key with a line break. Such a key is refused:
 * the schema of the values would not be applied to its value.
 */
const strict = { additionalProperties: false };
const Hashes = Type.Record(Type.String(), Type.String({ pattern: '^[0-9a-f]{32,128}$' }), strict);

const RoleKeys = Type.Object({
  keyids: Type.Array(Hex32, { uniqueItems: true, maxItems: limits.ringKeysMaxCount }),
  threshold: Type.Integer({ minimum: 1, maximum: limits.ringKeysMaxCount }),
});

const common = {
  spec_version: Type.String({ pattern: '^1\\.\\d+(\\.\\d+)?$' }),
  version: Version,
  expires: Time,
};
const ofDevice = {
  'x-linnet-device': Type.Optional(Type.String({ maxLength: limits.deviceIdMaxChars })),
};

export const Root = Type.Object({
  _type: Type.Literal('root'),
  ...common,
  /** File names carry versions and digests (spec 6.2); other repositories are refused. */
  consistent_snapshot: Type.Literal(true),
  /**
   * Keys of schemes that this client does not know are skipped (spec 4.2), so they are not decoded
   * here.
   */
  keys: Type.Record(Type.String(), Type.Unknown(), strict),
  roles: Type.Object({
    root: RoleKeys,
    timestamp: RoleKeys,
    snapshot: RoleKeys,
    targets: RoleKeys,
  }),
  'x-linnet-release': Type.Optional(RoleKeys),
  'x-linnet-acceptance': Type.Optional(RoleKeys),
});
export type Root = Static<typeof Root>;

/**
 * What a parent document lists about a child. Length and hashes are optional in the specification;
 * they are checked when they are present.
 */
export const MetaFile = Type.Object({
  version: Version,
  length: Type.Optional(Length),
  hashes: Type.Optional(Hashes),
});
export type MetaFile = Static<typeof MetaFile>;

export const Timestamp = Type.Object({
  _type: Type.Literal('timestamp'),
  ...common,
  ...ofDevice,
  'x-linnet-time': Type.Optional(Time),
  meta: Type.Object({ 'snapshot.json': MetaFile }),
});
export type Timestamp = Static<typeof Timestamp>;

export const Snapshot = Type.Object({
  _type: Type.Literal('snapshot'),
  ...common,
  ...ofDevice,
  meta: Type.Record(Type.String(), MetaFile, strict),
});
export type Snapshot = Static<typeof Snapshot>;

export const TargetFile = Type.Object({
  length: Length,
  hashes: Hashes,
  custom: Type.Optional(Type.Unknown()),
});
export type TargetFile = Static<typeof TargetFile>;

/** The file of an acceptance set (shared/release/acceptance-set.ts). */
export const AcceptanceFile = Type.Object({
  sha256: Hex32,
  length: Type.Integer({ minimum: 1, maximum: limits.acceptanceSetMaxBytes }),
});
export type AcceptanceFile = Static<typeof AcceptanceFile>;

export const Targets = Type.Object({
  _type: Type.Literal('targets'),
  ...common,
  ...ofDevice,
  'x-linnet-floors': Type.Optional(Type.Record(Component, ReleaseVersion, strict)),
  'x-linnet-acceptance': Type.Optional(Type.Record(Component, AcceptanceFile, strict)),
  targets: Type.Record(Type.String(), TargetFile, strict),
  delegations: Type.Optional(Type.Unknown()),
});
export type Targets = Static<typeof Targets>;

const SCHEMAS = { root: Root, timestamp: Timestamp, snapshot: Snapshot, targets: Targets } as const;
export type Role = keyof typeof SCHEMAS;
/** Named: the compiler would work long on the type of a schema that it does not know yet. */
interface Signed {
  root: Root;
  timestamp: Timestamp;
  snapshot: Snapshot;
  targets: Targets;
}
export type SignedOf<R extends Role> = Signed[R];

export const MAX_BYTES: Readonly<Record<Role, number>> = {
  root: limits.rootMaxBytes,
  timestamp: limits.timestampMaxBytes,
  snapshot: limits.snapshotMaxBytes,
  targets: limits.targetsMaxBytes,
};

const Wrapping = Type.Object({
  signatures: Type.Array(
    Type.Object({
      keyid: Type.String({ maxLength: limits.nameMaxChars }),
      sig: Type.String({ maxLength: limits.signatureMaxChars }),
    }),
    { maxItems: limits.signaturesMaxCount },
  ),
  signed: Type.Object({}),
});

export interface Document<R extends Role> {
  readonly role: R;
  /** As received. These are stored, and a parent's hashes are over these. */
  readonly bytes: Uint8Array;
  readonly signed: SignedOf<R>;
  readonly signatures: readonly { readonly keyid: string; readonly sig: string }[];
  /** What the signatures cover: the canonical form of `signed`. */
  readonly message: Uint8Array;
}

/** Faults: metadata_too_large, metadata_undecodable. Signatures are not checked here. */
export function decodeDocument<R extends Role>(role: R, bytes: Uint8Array): Document<R> {
  const what = `${role}.json`;
  if (bytes.length > MAX_BYTES[role])
    throw new Fault(
      'metadata_too_large',
      `${what} has ${bytes.length} bytes; the limit is ${MAX_BYTES[role]}`,
    );
  const wrapping = decode(
    Wrapping,
    parseJson(bytes, what, 'metadata_undecodable'),
    what,
    'metadata_undecodable',
  );
  const signed = decode(
    SCHEMAS[role],
    wrapping.signed,
    what,
    'metadata_undecodable',
  ) as SignedOf<R>;
  expiryMs(signed.expires, what);
  if ('x-linnet-time' in signed) expiryMs(signed['x-linnet-time'], what);
  return {
    role,
    bytes,
    signed,
    signatures: wrapping.signatures,
    message: messageOf(wrapping.signed, what),
  };
}

/**
 * Canonical JSON has no fractions and no unlimited nesting, so a document with either cannot have
 * been signed.
 */
function messageOf(signed: unknown, what: string): Uint8Array {
  try {
    return canonicalBytes(signed);
  } catch (error) {
    if (error instanceof TypeError || error instanceof RangeError)
      throw new Fault('metadata_undecodable', `${what} has no canonical form`, { cause: error });
    throw error;
  }
}

/**
 * Milliseconds since the epoch. An impossible date (month 13) is refused: it would be NaN, which
 * never compares as expired.
 */
export function expiryMs(time: string, what: string): number {
  const ms = Date.parse(time);
  if (Number.isNaN(ms)) throw new Fault('metadata_undecodable', `${what}: ${time} is not a date`);
  return ms;
}

/** Spec 4.1 time of `ms` since the epoch, rounded down to a second. */
export function timeText(ms: number): string {
  return `${new Date(Math.floor(ms / 1000) * 1000).toISOString().slice(0, 19)}Z`;
}

/**
 * The keys that root.json lists and this client can use: scheme ed25519, id = hash of the key (spec
 * 4.2).
 */
function keysOf(root: Root): Record<string, PublicKey> {
  const keys: Record<string, PublicKey> = {};
  for (const [keyid, key] of Object.entries(root.keys)) {
    if (complaints(PublicKey, key).length === 0 && keyIdOf(key as PublicKey) === keyid)
      keys[keyid] = key as PublicKey;
  }
  return keys;
}

export function roleRing(root: Root, role: Role): KeyRing {
  return { keys: keysOf(root), ...root.roles[role] };
}

/**
 * The keys that may sign release manifests, by this root. Fault metadata_undecodable when it lists
 * fewer usable keys than its threshold.
 */
export const releaseRing = (root: Root): KeyRing => ownRing(root, 'release');

/** The keys that may sign acceptance sets, by this root. Fault as releaseRing. */
export const acceptanceRing = (root: Root): KeyRing => ownRing(root, 'acceptance');

function ownRing(root: Root, name: 'release' | 'acceptance'): KeyRing {
  const role = root[`x-linnet-${name}`];
  if (role === undefined)
    throw new Fault(
      'metadata_undecodable',
      `root version ${root.version} lists no ${name} keys (x-linnet-${name})`,
    );
  const keys = keysOf(root);
  const usable = new Set(role.keyids.flatMap((keyid) => keys[keyid]?.keyval.public ?? []));
  if (usable.size < role.threshold) {
    throw new Fault(
      'metadata_undecodable',
      `root version ${root.version} requires ${role.threshold} ${name} signatures and lists ` +
        `${usable.size} usable ${name} keys`,
    );
  }
  return { keys, ...role };
}

/** The acceptance set that image targets name for a component; null when they name none. */
export function acceptanceOf(
  { 'x-linnet-acceptance': sets = {} }: Targets,
  component: string,
): AcceptanceFile | null {
  const named = Object.hasOwn(sets, component) ? sets[component] : undefined;
  return named === undefined ? null : { sha256: named.sha256, length: named.length };
}

/** Spec 4.2.1 and 5.x: key ids of signatures are unique; a document that repeats one is refused. */
function requireDistinctKeyIds(document: Document<Role>): void {
  const seen = new Set<string>();
  for (const { keyid } of document.signatures) {
    if (seen.has(keyid))
      throw new Fault(
        'metadata_signature',
        `${document.role}.json version ${document.signed.version} carries two signatures of ` +
          `key ${keyid}`,
      );
    seen.add(keyid);
  }
}

/**
 * Spec 4.2.2, and in 5.x.y "check for an arbitrary software attack": at least `ring.threshold`
 * distinct keys of the ring have signed. `whose` names the ring in the message. Fault
 * metadata_signature.
 */
export function requireThreshold(document: Document<Role>, ring: KeyRing, whose: string): void {
  requireDistinctKeyIds(document);
  const signatures = document.signatures.map(({ keyid, sig }) => ({
    keyid,
    signature: fromHex(sig),
  }));
  const valid = countSigners(ring, document.message, signatures);
  if (valid >= ring.threshold) return;
  throw new Fault(
    'metadata_signature',
    `${document.role}.json version ${document.signed.version} has ${valid} valid signatures; ` +
      `${whose} requires ${ring.threshold}`,
  );
}

/** The hash algorithms that TUF repositories list. */
const HASH_ALGORITHMS: ReadonlySet<string> = new Set(['sha256', 'sha384', 'sha512']);

/**
 * The length and every hash that a parent lists must be those of `bytes`. Fault metadata_mismatch.
 */
export function requireMeta(bytes: Uint8Array, meta: MetaFile, what: string): void {
  if (meta.length !== undefined && meta.length !== bytes.length) {
    throw new Fault(
      'metadata_mismatch',
      `${what} has ${bytes.length} bytes; its parent lists ${meta.length}`,
    );
  }
  for (const [algorithm, named] of Object.entries(meta.hashes ?? {})) {
    // An unknown algorithm is refused, not skipped: it may be the only hash that is still secure.
    if (!HASH_ALGORITHMS.has(algorithm))
      throw new Fault(
        'metadata_mismatch',
        `${what}: its parent lists a ${algorithm} hash, which this client cannot compute`,
      );
    if (createHash(algorithm).update(bytes).digest('hex') !== named)
      throw new Fault(
        'metadata_mismatch',
        `${what} does not have the ${algorithm} hash that its parent lists`,
      );
  }
}

// --- writing ---

/**
 * Bytes of a document, signed by each of `signers`. The same content and keys make the same bytes.
 */
export async function signDocument(
  signed: SignedOf<Role>,
  signers: readonly Signer[],
): Promise<Uint8Array> {
  const message = canonicalBytes(signed);
  const signatures = await Promise.all(
    signers.map(async (signer) => ({
      keyid: signer.keyId,
      sig: hex(await signer.sign(message)),
    })),
  );
  return documentBytes(signed, signatures);
}

/** Bytes of a document with signatures that were made elsewhere over its canonical form. */
export function documentBytes(
  signed: SignedOf<Role>,
  signatures: Document<Role>['signatures'],
): Uint8Array {
  return utf8(`${JSON.stringify({ signatures, signed })}\n`);
}

export function metaOf(bytes: Uint8Array, version: number): MetaFile {
  return { version, length: bytes.length, hashes: { sha256: sha256(bytes) } };
}

/** Fields that every document begins with. */
export function heading<R extends Role>(
  role: R,
  version: number,
  expiresMs: number,
): { _type: R; spec_version: string; version: number; expires: string } {
  return { _type: role, spec_version: SPEC_VERSION, version, expires: timeText(expiresMs) };
}
