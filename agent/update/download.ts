// Downloads the files of a release into its incoming folder, each resumed from what is already
// here. A file that a slot already holds is linked instead of fetched. Every length is limited by
// the signed manifest: a source that sends more is cut off. The digests of the files are verified
// by the next step, from disk, after the last byte; an encoded file (codec/) is verified here,
// before it is decoded.
import { join } from 'node:path';
import { Fault, isFault } from '../../shared/base/fault-codes.js';
import type { FileEntry } from '../../shared/release/manifest-head.js';
import { routes } from '../../shared/protocol/device-api.js';
import type { Disk, Fetcher } from '../interfaces.js';
import { chooseEncoding, type ChosenEncoding, type FileCodec } from './codec/codec.js';
import type { AnyRelease } from './payload/handler.js';
import { ENVELOPE, type Slots } from './slots.js';

export interface FetchProgress {
  readonly doneBytes: number;
  readonly totalBytes: number;
}

/** A release on this device whose envelope is verified; its files are verified before use. */
export interface LocalRelease {
  readonly folder: string;
  readonly files: readonly FileEntry[];
}

export interface ReleaseDownloadOptions {
  readonly disk: Disk;
  readonly fetcher: Fetcher;
  readonly slots: Slots;
  readonly codecs: readonly FileCodec[];
}

/** A file as it is transferred: named, with the digest and length of the transferred bytes. */
interface Transfer {
  readonly name: string;
  readonly sha256: string;
  readonly length: number;
  readonly path: string;
}

export class ReleaseDownload {
  readonly #options: ReleaseDownloadOptions;

  constructor(options: ReleaseDownloadOptions) {
    this.#options = options;
  }

  async keepEnvelope(digest: string, envelope: Uint8Array): Promise<void> {
    const { disk, slots } = this.#options;
    await disk.replace(join(slots.incoming(digest), ENVELOPE), envelope);
  }

  /** Bytes that the download still needs on disk. */
  async missingBytes(release: AnyRelease, local: readonly LocalRelease[]): Promise<number> {
    const { disk, slots } = this.#options;
    let missing = 0;
    for (const file of release.manifest.files) {
      const present = (await disk.size(slots.partial(release.digest, file))) ?? 0;
      if (present === file.length || twinOf(file, local) !== null) continue;
      const encoded = this.#encodedTransfer(release, file);
      if (encoded === null) missing += Math.max(0, file.length - present);
      else
        missing +=
          file.length + Math.max(0, encoded.length - ((await disk.size(encoded.path)) ?? 0));
    }
    return missing;
  }

  /** Every file of `release` in its incoming folder, complete in length, durable on return. */
  async files(
    release: AnyRelease,
    local: readonly LocalRelease[],
    onProgress: (progress: FetchProgress) => void,
  ): Promise<void> {
    const { disk, slots } = this.#options;
    const { files } = release.manifest;
    const totalBytes = files.reduce((sum, file) => sum + this.#transferBytes(file), 0);
    let before = 0;
    for (const file of files) {
      const path = slots.partial(release.digest, file);
      const onBytes = (done: number): void => onProgress({ doneBytes: before + done, totalBytes });
      if ((await disk.size(path)) !== file.length)
        await onceMore(() => this.#file(release, file, local, onBytes));
      before += this.#transferBytes(file);
      onProgress({ doneBytes: before, totalBytes });
    }
    await disk.syncFolder(slots.incoming(release.digest));
  }

  /** A signed file beside the release, complete in length, at `path`. */
  async beside(file: Omit<Transfer, 'path'>, path: string): Promise<void> {
    await onceMore(() => this.#fetch({ ...file, path }, () => {}));
  }

  #transferBytes(file: FileEntry): number {
    return chooseEncoding(file, this.#options.codecs)?.encoding.length ?? file.length;
  }

  #encodedTransfer(release: AnyRelease, file: FileEntry): (Transfer & ChosenEncoding) | null {
    const chosen = chooseEncoding(file, this.#options.codecs);
    if (chosen === null) return null;
    const { sha256, length } = chosen.encoding;
    const path = this.#options.slots.encoded(release.digest, sha256);
    return { ...chosen, name: `${file.name} (${chosen.codec.name})`, sha256, length, path };
  }

  async #file(
    release: AnyRelease,
    file: FileEntry,
    local: readonly LocalRelease[],
    onBytes: (done: number) => void,
  ): Promise<void> {
    const { disk, slots } = this.#options;
    const path = slots.partial(release.digest, file);
    const twin = twinOf(file, local);
    if (twin !== null && (await disk.sha256(twin))?.sha256 === file.sha256)
      return disk.link(twin, path);
    const encoded = this.#encodedTransfer(release, file);
    if (encoded === null) return this.#fetch({ ...file, path }, onBytes);
    await this.#fetch(encoded, onBytes);
    await this.#decode(encoded, file, path);
  }

  /** The transferred bytes at their path, resumed, complete in length. */
  async #fetch(transfer: Transfer, onBytes: (done: number) => void): Promise<void> {
    const { disk, fetcher } = this.#options;
    const { name, sha256, length, path } = transfer;
    const present = (await disk.size(path)) ?? 0;
    if (present === length) return;
    // Longer than signed: damaged or an attack; begin again.
    if (present > length) await disk.remove(path);
    const offset = present > length ? 0 : present;
    const stream = await retryable(fetcher.open(routes.imageFile(sha256), offset), name);
    await disk.append(path, offset, limited(stream, { name, length, offset, onBytes }));
    const size = (await disk.size(path)) ?? 0;
    if (size !== length)
      throw new Fault('fetch_interrupted', `${name} ends at byte ${size} of ${length}`);
  }

  /** Decodes bytes that are verified, and only those. Cut anywhere, it begins again. */
  async #decode(
    { codec, name, sha256, path }: Transfer & ChosenEncoding,
    file: FileEntry,
    to: string,
  ): Promise<void> {
    const { disk } = this.#options;
    if ((await disk.sha256(path))?.sha256 !== sha256) {
      await disk.remove(path);
      throw new Fault('file_digest', `${name} does not have the SHA-256 that its manifest names`);
    }
    const decoded = codec.decode(disk.stream(path));
    const { length } = file;
    await disk.append(to, 0, limited(decoded, { name, length, offset: 0, onBytes: () => {} }));
    if ((await disk.size(to)) !== length)
      throw new Fault(
        'file_length',
        `${name} does not decode to the ${length} bytes of its manifest`,
      );
    await disk.remove(path);
  }
}

/** Where a local release holds the same bytes; null when none does. */
function twinOf(file: FileEntry, local: readonly LocalRelease[]): string | null {
  for (const { folder, files } of local) {
    const twin = files.find(({ sha256 }) => sha256 === file.sha256);
    if (twin !== undefined) return join(folder, twin.name);
  }
  return null;
}

/**
 * A refusal by a source (404 while it publishes, a captive portal's 403) is unsigned and says
 * nothing about the release: it is only a reason to ask again.
 */
export async function retryable<T>(answer: Promise<T>, name: string): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    if (!isFault(error) || error.kind !== 'refused' || error.code === 'metadata_too_large')
      throw error;
    throw new Fault('fetch_interrupted', `no source gives ${name}: ${error.detail}`, {
      cause: error,
    });
  }
}

/**
 * Bytes that fail verification are asked for once more: the fetcher skips the mirror that gave
 * them. Only the second failure counts.
 */
export async function onceMore<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    if (!isFault(error, 'file_length', 'file_digest')) throw error;
    return ask();
  }
}

interface LimitedOptions {
  readonly name: string;
  readonly length: number;
  readonly offset: number;
  readonly onBytes: (done: number) => void;
}

/** Passes chunks on up to the signed length; more is an endless-data attack. */
async function* limited(
  chunks: AsyncIterable<Uint8Array>,
  { name, length, offset, onBytes }: LimitedOptions,
): AsyncIterable<Uint8Array> {
  let done = offset;
  for await (const chunk of chunks) {
    done += chunk.length;
    if (done > length)
      throw new Fault('file_length', `${name} is longer than the ${length} bytes of its manifest`);
    onBytes(done);
    yield chunk;
  }
}
