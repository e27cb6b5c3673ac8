// The .bundle file: an ordinary tar (POSIX ustar) whose every byte follows from its contents, so
// that the same release makes the same file and a reader can hold each byte, padding and headers
// included, to what must stand there.
//
//   bundle.json         the index: the release's digest, and every following entry with length
//                       and SHA-256
//   release.dsse.json   the signed manifest
//   files/<name>        every file that the manifest names, sorted by name
//   1024 zero bytes
import { Header, Pax, type HeaderData } from 'tar';
import { Type, type Static } from 'typebox';
import { limits } from '../../../shared/base/limits.js';
import { ENVELOPE_FILE_NAME } from '../../../shared/release/file-names.js';
import { type Manifest } from '../../../shared/release/manifest.js';
import { Component, Version } from '../../../shared/release/manifest-head.js';
import { utf8 } from '../../../shared/base/bytes.js';
import { Hex32 } from '../../../shared/base/hex-schemas.js';

export const INDEX_NAME = 'bundle.json';
export const ENVELOPE_NAME = ENVELOPE_FILE_NAME;
export const FILES_FOLDER = 'files/';
/** Fixed by tar: what headers and padding are multiples of. */
export const BLOCK_BYTES = 512;
/** Fixed by tar: the zeros after the last entry. */
export const TRAILER_BYTES = 2 * BLOCK_BYTES;

const strict = { additionalProperties: false } as const;
export const BundleIndex = Type.Object(
  {
    format: Type.Literal('linnet.bundle/1'),
    component: Component,
    version: Version,
    release: Hex32,
    entries: Type.Array(
      Type.Object(
        {
          name: Type.String({ maxLength: limits.nameMaxChars }),
          length: Type.Integer({ minimum: 0, maximum: limits.releaseFileMaxBytes }),
          sha256: Hex32,
        },
        strict,
      ),
      { minItems: 2, maxItems: limits.releaseFilesMaxCount + 1 },
    ),
  },
  strict,
);
export type BundleIndex = Static<typeof BundleIndex>;

/** The only index that a release may have. */
export function indexOf(
  manifest: Manifest,
  envelope: { readonly length: number; readonly sha256: string },
): BundleIndex {
  const files = [...manifest.files].sort((a, b) => (a.name < b.name ? -1 : 1));
  return {
    format: 'linnet.bundle/1',
    component: manifest.component,
    version: manifest.version,
    release: envelope.sha256,
    entries: [
      { name: ENVELOPE_NAME, length: envelope.length, sha256: envelope.sha256 },
      ...files.map(({ name, length, sha256 }) => ({
        name: `${FILES_FOLDER}${name}`,
        length,
        sha256,
      })),
    ],
  };
}

export function indexBytes(index: BundleIndex): Uint8Array {
  const { format, component, version, release, entries } = index;
  // Built anew, so that the keys have one sequence whatever they were decoded from.
  const only = entries.map(({ name, length, sha256 }) => ({ name, length, sha256 }));
  const ordered = { format, component, version, release, entries: only };
  return utf8(`${JSON.stringify(ordered, null, 2)}\n`);
}

/** No owner and no time, mode 0644: an entry's header follows from its name and length. */
const entryOf = (name: string, length: number): HeaderData => ({
  path: name,
  size: length,
  mode: 0o644,
  mtime: new Date(0),
  uid: 0,
  gid: 0,
  type: 'File',
});

/**
 * The bytes before an entry's content: one block, or three where the name is longer than ustar has
 * room for (then a pax record carries it).
 */
export function headerBytes(name: string, length: number): Uint8Array {
  const header = new Header(entryOf(name, length));
  const block = Buffer.alloc(BLOCK_BYTES);
  if (!header.encode(block, 0)) return new Uint8Array(block);
  const pax = new Pax({ path: name }).encode();
  return new Uint8Array(Buffer.concat([pax, block]));
}

/** Length of the content whose header `block` is, or null when it is not a file's header. */
export function contentLength(block: Uint8Array): number | null {
  const header = new Header(Buffer.from(block));
  return header.cksumValid && header.type === 'File' ? (header.size ?? null) : null;
}

export function paddingBytes(length: number): number {
  return (BLOCK_BYTES - (length % BLOCK_BYTES)) % BLOCK_BYTES;
}
