// What a release is: a manifest (manifest-head.ts with the fields of one payload kind), signed as a
// DSSE envelope by a release key. The envelope is the TUF target, and its SHA-256 is the digest of
// the release. Decoding is total: a payload kind that is not known here is refused by name.
import { sha256, utf8 } from '../base/bytes.js';
import { decode, parseJson } from '../base/decode.js';
import { Fault } from '../base/fault-codes.js';
import { limits } from '../base/limits.js';
import { openEnvelope } from '../trust/envelope.js';
import type { KeyRing } from '../trust/key-ring.js';
import { fileNamesProblem } from './file-names.js';
import { ManifestHead, type ManifestKind } from './manifest-head.js';
import { MODEL_KIND, ModelManifest } from './model-manifest.js';
import type { ReleaseRef } from './release-ref.js';

export const RELEASE_PAYLOAD_TYPE = 'application/vnd.linnet.release+json';

/**
 * A manifest of any known kind, told apart by `kind`. One kind today, so no union is written yet.
 */
export const Manifest = ModelManifest;
export type Manifest = ModelManifest;

/** The payload kinds of this version. Tests pass others to decodeManifest and openRelease. */
export const MANIFEST_KINDS: readonly ManifestKind<Manifest>[] = [MODEL_KIND];

export interface Release<M extends ManifestHead = Manifest> extends ReleaseRef {
  readonly manifest: M;
}

/** Total length of the files of a release, in bytes. */
export function totalLength(manifest: ManifestHead): number {
  return manifest.files.reduce((sum, file) => sum + file.length, 0);
}

/**
 * Decodes the bytes of a manifest and checks what its schema cannot say. The signature is not
 * checked here: see openRelease. Faults: manifest_undecodable, payload_unsupported.
 */
export function decodeManifest<M extends ManifestHead = Manifest>(
  bytes: Uint8Array,
  kinds?: readonly ManifestKind<M>[],
): M {
  const what = 'release manifest';
  const known = kinds ?? (MANIFEST_KINDS as readonly ManifestKind[]);
  const value = parseJson(bytes, what, 'manifest_undecodable');
  const head = decode(ManifestHead, value, what, 'manifest_undecodable');
  const kind = known.find((each) => each.kind === head.kind);
  if (kind === undefined)
    throw new Fault(
      'payload_unsupported',
      `${head.component} ${head.version} is of kind ${head.kind}; known here: ` +
        known.map((each) => each.kind).join(', '),
    );
  const manifest = decode(kind.schema, value, what, 'manifest_undecodable') as M;
  checkFiles(manifest);
  kind.check(manifest);
  return manifest;
}

function checkFiles(manifest: ManifestHead): void {
  const problem = fileNamesProblem(manifest.files.map(({ name }) => name));
  if (problem !== null)
    throw new Fault('manifest_undecodable', `the files of the release ${problem}`);
  const total = totalLength(manifest);
  if (total > limits.releaseTotalMaxBytes)
    throw new Fault(
      'manifest_undecodable',
      `files are ${total} bytes together, the limit is ${limits.releaseTotalMaxBytes}`,
    );
}

/**
 * A release from the bytes of its envelope: size, then signatures, then schema. A device repeats
 * this at every start. Faults: manifest_undecodable, signature_invalid, payload_unsupported.
 */
export function openRelease<M extends ManifestHead = Manifest>(
  envelope: Uint8Array,
  ring: KeyRing,
  kinds?: readonly ManifestKind<M>[],
): Release<M> {
  if (envelope.length > limits.manifestMaxBytes)
    throw new Fault(
      'manifest_undecodable',
      `envelope is ${envelope.length} bytes, the limit is ${limits.manifestMaxBytes}`,
    );
  return releaseOf(
    decodeManifest(openEnvelope(envelope, RELEASE_PAYLOAD_TYPE, ring), kinds),
    envelope,
  );
}

/** The release that a decoded manifest and the bytes of its envelope are. Verifies nothing. */
export function releaseOf<M extends ManifestHead>(manifest: M, envelope: Uint8Array): Release<M> {
  const { component, version } = manifest;
  return { component, version, digest: sha256(envelope), manifest };
}

/** JSON with sorted keys. Not canonical JSON, which has no fractions. */
export function manifestBytes(manifest: ManifestHead): Uint8Array {
  return utf8(`${JSON.stringify(sorted(manifest), null, 2)}\n`);
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, inner]) => [key, sorted(inner)]),
  );
}
