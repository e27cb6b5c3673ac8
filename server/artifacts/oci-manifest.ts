// What keeps a file in an OCI registry: a registry's garbage collection removes each blob that no
// manifest names, and a manifest that no tag names may go, too. So each file has a manifest of its
// own (an "artifact" of the image specification 1.1, with the empty config), tagged by its digest.
// The tag is not `sha256-...`: that name is the referrers' of a manifest in registries without the
// referrers API, and tools overwrite it. The same file always has the same manifest, byte by byte.
import { Type } from 'typebox';
import { sha256 } from '../../shared/base/bytes.js';
import { Hex32 } from '../../shared/base/hex-schemas.js';
import { complaints, decodeJson } from '../../shared/base/decode.js';
import { Fault } from '../../shared/base/fault-codes.js';
import type { ArtifactRef } from '../interfaces.js';

export const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';
const TAG_PREFIX = 'file-';

/** The blob that the config of each manifest is. */
export const EMPTY_CONFIG = Buffer.from('{}');

const Manifest = Type.Object({
  layers: Type.Array(Type.Object({ digest: Type.String(), size: Type.Integer({ minimum: 0 }) }), {
    minItems: 1,
    maxItems: 1,
  }),
});

export const blobDigest = (digest: string): string => `sha256:${digest}`;
export const tagOf = (digest: string): string => `${TAG_PREFIX}${digest}`;

/** The digest in a tag; null when it is a tag of something else. */
export function digestIn(tag: string): string | null {
  const digest = tag.slice(TAG_PREFIX.length);
  return tag.startsWith(TAG_PREFIX) && complaints(Hex32, digest).length === 0 ? digest : null;
}

export const manifestOf = ({ digest, lengthBytes }: ArtifactRef): Buffer =>
  Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MANIFEST_TYPE,
      artifactType: 'application/vnd.linnet.file',
      config: {
        mediaType: 'application/vnd.oci.empty.v1+json',
        digest: blobDigest(sha256(EMPTY_CONFIG)),
        size: EMPTY_CONFIG.length,
      },
      layers: [
        {
          mediaType: 'application/octet-stream',
          digest: blobDigest(digest),
          size: lengthBytes,
        },
      ],
    }),
  );

/** What the manifest at a file's tag says of it. Faults: artifact_store_refused. */
export function fileOf(digest: string, manifest: string): ArtifactRef {
  const what = `the manifest at tag ${tagOf(digest)}`;
  const { layers } = decodeJson(Manifest, manifest, what, 'artifact_store_refused');
  const [layer] = layers;
  if (layer?.digest !== blobDigest(digest))
    throw new Fault('artifact_store_refused', `${what} names another file`);
  return { digest, lengthBytes: layer.size };
}

const Tags = Type.Object({
  tags: Type.Optional(Type.Union([Type.Null(), Type.Array(Type.String())])),
});

/** The tags on a page of the list. Faults: artifact_store_refused. */
export const tagsOn = (page: string): string[] =>
  decodeJson(Tags, page, 'the list of tags', 'artifact_store_refused').tags ?? [];
