// Reads a bundle as untrusted input: front to back, within limits, every byte checked. The layout
// is deterministic, so headers, padding and the end must be exactly what the writer would have
// written; contents are checked against their digests, the manifest against its signature. Nothing
// is unpacked: files are located, and read on demand.
import { createHash, type Hash } from 'node:crypto';
import { open, type FileHandle } from 'node:fs/promises';
import { limits } from '../../../shared/base/limits.js';
import { decode, decodeJson, parseJson } from '../../../shared/base/decode.js';
import { Fault, isFault, reason } from '../../../shared/base/fault-codes.js';
import {
  decodeManifest,
  openRelease,
  releaseOf,
  RELEASE_PAYLOAD_TYPE,
  type Release,
} from '../../../shared/release/manifest.js';
import type { FileEntry } from '../../../shared/release/manifest-head.js';
import { RunningDigest, streamDigest } from '../../../shared/platform/hashing.js';
import { sha256 } from '../../../shared/base/bytes.js';
import { Envelope } from '../../../shared/trust/envelope.js';
import type { KeyRing } from '../../../shared/trust/key-ring.js';
import { unreadable } from '../../model/input-data/input-file.js';
import {
  BLOCK_BYTES,
  BundleIndex,
  contentLength,
  ENVELOPE_NAME,
  FILES_FOLDER,
  headerBytes,
  indexBytes,
  indexOf,
  INDEX_NAME,
  paddingBytes,
  TRAILER_BYTES,
} from './layout.js';

const ZEROS = Buffer.alloc(TRAILER_BYTES);

export interface BundleView {
  readonly file: string;
  /** Length and SHA-256 of the whole bundle file. */
  readonly bytes: number;
  readonly sha256: string;
  readonly release: Release;
  /** The signed manifest, exactly. */
  readonly envelope: Uint8Array;
  /** False when no key ring was given: digests were checked, signatures were not. */
  readonly verified: boolean;
  /** Every file of the manifest, with the offset of its first byte in the bundle. */
  readonly files: readonly { readonly entry: FileEntry; readonly offset: number }[];
}

/**
 * With `ring`, signatures are verified; with null, they are not (for `inspect`). Faults:
 * bundle_truncated, bundle_undecodable, file_digest, signature_invalid, manifest_undecodable;
 * file_unreadable when the file cannot be read.
 */
export async function readBundle(file: string, ring: KeyRing | null): Promise<BundleView> {
  const handle = await openBundle(file);
  try {
    const reader = new Reader(handle, file);
    const index = await readIndex(reader);
    const [first, ...rest] = index.entries;
    if (first?.name !== ENVELOPE_NAME)
      throw reader.bad(
        `its first entry is ${first?.name ?? 'missing'}, it must be ${ENVELOPE_NAME}`,
      );
    if (first.length > limits.manifestMaxBytes)
      throw reader.bad(
        `${ENVELOPE_NAME} is ${first.length} bytes, the limit is ${limits.manifestMaxBytes}`,
      );
    await reader.expect(headerBytes(first.name, first.length), `the header of ${first.name}`);
    const envelope = await reader.take(first.length);
    if (sha256(envelope) !== first.sha256)
      throw new Fault(
        'file_digest',
        `${file}: ${first.name} does not have the SHA-256 that the index names`,
      );
    await reader.expectZeros(paddingBytes(first.length), `the padding of ${first.name}`);
    const release = ring === null ? unverifiedRelease(envelope) : openRelease(envelope, ring);
    const due = indexBytes(
      indexOf(release.manifest, { length: envelope.length, sha256: release.digest }),
    );
    if (!Buffer.from(indexBytes(index)).equals(due))
      throw reader.bad('its index does not match its manifest');
    const files = [];
    for (const { name, length, sha256: digest } of rest) {
      await reader.expect(headerBytes(name, length), `the header of ${name}`);
      files.push({ entry: entryOf(release, name), offset: reader.offset });
      if ((await reader.digest(length)) !== digest)
        throw new Fault(
          'file_digest',
          `${file}: ${name} does not have the SHA-256 that its manifest names`,
        );
      await reader.expectZeros(paddingBytes(length), `the padding of ${name}`);
    }
    await reader.expectZeros(TRAILER_BYTES, 'the end');
    await reader.expectEnd();
    return {
      file,
      bytes: reader.offset,
      sha256: reader.whole.digest('hex'),
      release,
      envelope,
      verified: ring !== null,
      files,
    };
  } finally {
    await handle.close();
  }
}

/**
 * The bytes of one file of a bundle that readBundle verified, read again at its offset and checked
 * against its digest again. The last chunk is yielded only after the digest of all of them matched,
 * so a consumer never gets a complete file with wrong bytes. Faults: not_found, file_digest,
 * bundle_truncated, disk_failed.
 */
export async function* bundleFile(view: BundleView, name: string): AsyncGenerator<Uint8Array> {
  const found = view.files.find(({ entry }) => entry.name === name);
  if (found === undefined) throw new Fault('not_found', `${view.file} has no file ${name}`);
  const handle = await openBundle(view.file);
  try {
    const reader = new Reader(handle, view.file, found.offset);
    const digest = new RunningDigest();
    let held: Uint8Array | null = null;
    for await (const chunk of reader.chunks(found.entry.length)) {
      if (held !== null) yield held;
      digest.update(chunk);
      held = chunk;
    }
    if (digest.end().sha256 !== found.entry.sha256)
      throw new Fault('file_digest', `${view.file}: ${name} changed since it was verified`);
    if (held !== null) yield held;
  } finally {
    await handle.close();
  }
}

async function openBundle(file: string): Promise<FileHandle> {
  try {
    return await open(file, 'r');
  } catch (error) {
    throw unreadable(file, error);
  }
}

async function readIndex(reader: Reader): Promise<BundleIndex> {
  const header = await reader.firstBlock();
  const length = contentLength(header) ?? 0;
  if (
    length === 0 ||
    length > limits.bundleIndexMaxBytes ||
    !Buffer.from(header).equals(headerBytes(INDEX_NAME, length))
  )
    throw reader.notABundle();
  const bytes = await reader.take(length);
  const what = `${INDEX_NAME} of ${reader.file}`;
  const index = decode(
    BundleIndex,
    parseJson(bytes, what, 'bundle_undecodable'),
    what,
    'bundle_undecodable',
  );
  if (!Buffer.from(bytes).equals(indexBytes(index)))
    throw reader.bad(`${INDEX_NAME} is not in the only form that an index may have`);
  await reader.expectZeros(paddingBytes(length), `the padding of ${INDEX_NAME}`);
  return index;
}

function unverifiedRelease(bytes: Uint8Array): Release {
  const envelope = decodeJson(Envelope, bytes, ENVELOPE_NAME, 'manifest_undecodable');
  if (envelope.payloadType !== RELEASE_PAYLOAD_TYPE)
    throw new Fault('manifest_undecodable', `${ENVELOPE_NAME} carries ${envelope.payloadType}`);
  const manifest = decodeManifest(new Uint8Array(Buffer.from(envelope.payload, 'base64')));
  return releaseOf(manifest, bytes);
}

function entryOf(release: Release, name: string): FileEntry {
  const found = release.manifest.files.find((file) => `${FILES_FOLDER}${file.name}` === name);
  if (found === undefined)
    // Unreachable unless there is a bug: the index was compared with the manifest.
    throw new Fault('bundle_undecodable', `${name} is not a file of the manifest`);
  return found;
}

/** Reads front to back, with at most one chunk in memory. */
class Reader {
  readonly whole: Hash = createHash('sha256');

  readonly #handle: FileHandle;

  constructor(
    handle: FileHandle,
    readonly file: string,
    public offset = 0,
  ) {
    this.#handle = handle;
  }

  bad(detail: string): Fault {
    return new Fault('bundle_undecodable', `${this.file}: ${detail}`);
  }

  notABundle(): Fault {
    return this.bad(`it is not a Linnet bundle (a tar file whose first entry is ${INDEX_NAME})`);
  }

  /** The first block. A shorter file is cut short only if it begins as a bundle does. */
  async firstBlock(): Promise<Uint8Array> {
    const start = Buffer.alloc(INDEX_NAME.length);
    const { bytesRead } = await this.#read(start);
    if (start.toString('latin1', 0, bytesRead) !== INDEX_NAME.slice(0, bytesRead))
      throw this.notABundle();
    return this.take(BLOCK_BYTES);
  }

  async *chunks(length: number): AsyncIterable<Uint8Array> {
    for (let left = length; left > 0;) {
      const buffer = Buffer.allocUnsafe(Math.min(left, limits.readChunkBytes));
      const { bytesRead } = await this.#read(buffer);
      if (bytesRead === 0)
        throw new Fault(
          'bundle_truncated',
          `${this.file} ends at byte ${this.offset}; ${left} more bytes must follow`,
        );
      const chunk = buffer.subarray(0, bytesRead);
      this.whole.update(chunk);
      this.offset += bytesRead;
      left -= bytesRead;
      yield chunk;
    }
  }

  async take(length: number): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    for await (const chunk of this.chunks(length)) parts.push(chunk);
    return new Uint8Array(Buffer.concat(parts));
  }

  async digest(length: number): Promise<string> {
    return (await streamDigest(this.chunks(length))).sha256;
  }

  async expect(bytes: Uint8Array, what: string): Promise<void> {
    if (!Buffer.from(await this.take(bytes.length)).equals(bytes))
      throw this.bad(`${what} differs from what a bundle must have there`);
  }

  expectZeros(length: number, what: string): Promise<void> {
    return this.expect(ZEROS.subarray(0, length), what);
  }

  async expectEnd(): Promise<void> {
    if ((await this.#read(Buffer.alloc(1))).bytesRead > 0)
      throw this.bad('it has bytes after its end');
  }

  async #read(buffer: Buffer): Promise<{ bytesRead: number }> {
    try {
      return await this.#handle.read(buffer, 0, buffer.length, this.offset);
    } catch (error) {
      if (isFault(error)) throw error;
      throw new Fault('disk_failed', `cannot read ${this.file}: ${reason(error)}`, {
        cause: error,
      });
    }
  }
}
