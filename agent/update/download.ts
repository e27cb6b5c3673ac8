// Gathering a release: its envelope first (small, proven at once), then every file, resumed from
// what is already here. A file that a slot already holds is linked instead of fetched. Bounded by
// the lengths that the signed manifest names: a mirror that sends more is cut off. Digests are
// checked by vetting, from disk, after the last byte.
import { join } from 'node:path';
import { Fault, isFault } from '../../shared/base/fault-codes.js';
import { totalLength, type Release } from '../../shared/release/manifest.js';
import type { FileEntry } from '../../shared/release/manifest-head.js';
import { routes } from '../../shared/protocol/device-api.js';
import type { Disk, Fetcher } from '../interfaces.js';
import { ENVELOPE, type Slots } from './slots.js';

export interface FetchProgress {
  readonly doneBytes: number;
  readonly totalBytes: number;
}

export class ReleaseFetch {
  constructor(
    private readonly disk: Disk,
    private readonly fetcher: Fetcher,
    private readonly slots: Slots,
  ) {}

  async keepEnvelope(digest: string, envelope: Uint8Array): Promise<void> {
    await this.disk.replace(join(this.slots.incoming(digest), ENVELOPE), envelope);
  }

  /**
   * Every file of `release` in its incoming folder, complete in length. `local` lists folders of
   * proven or once proven releases to link from.
   */
  async files(
    release: Release,
    local: readonly { folder: string; files: readonly FileEntry[] }[],
    onProgress: (progress: FetchProgress) => void,
  ): Promise<void> {
    const totalBytes = totalLength(release.manifest);
    let before = 0;
    for (const file of release.manifest.files) {
      const path = this.slots.partial(release.digest, file);
      if ((await this.disk.size(path)) !== file.length)
        await onceMore(() =>
          this.file(file, path, local, (done) =>
            onProgress({ doneBytes: before + done, totalBytes }),
          ),
        );
      before += file.length;
      onProgress({ doneBytes: before, totalBytes });
    }
    await this.disk.syncFolder(this.slots.incoming(release.digest));
  }

  private async file(
    file: FileEntry,
    path: string,
    local: readonly { folder: string; files: readonly FileEntry[] }[],
    onBytes: (done: number) => void,
  ): Promise<void> {
    for (const { folder, files } of local) {
      const twin = files.find((other) => other.sha256 === file.sha256);
      if (twin === undefined) continue;
      const from = join(folder, twin.name);
      const found = await this.disk.sha256(from);
      if (found?.sha256 === file.sha256) return this.disk.link(from, path);
    }
    const present = await this.disk.size(path);
    // Longer than signed: damaged or an attack; begin again.
    if (present !== null && present > file.length) await this.disk.remove(path);
    const offset = present === null || present > file.length ? 0 : present;
    const stream = await asked(this.fetcher.open(routes.imageFile(file.sha256), offset), file.name);
    await this.disk.append(path, offset, bounded(stream, file, offset, onBytes));
    const size = await this.disk.size(path);
    if (size !== file.length)
      throw new Fault(
        'fetch_interrupted',
        `${file.name} ends at byte ${size ?? 0} of ${file.length}`,
      );
  }
}

/**
 * What a source answers (404 while it publishes, a portal's 403) is unsigned and says nothing about
 * the release: only ever a reason to ask again.
 */
export async function asked<T>(answer: Promise<T>, name: string): Promise<T> {
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
 * Bytes that do not prove are asked for once more: the fetcher passes the mirror by that gave them,
 * and only a second time is an answer.
 */
export async function onceMore<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    if (!isFault(error, 'file_length', 'file_digest')) throw error;
    return ask();
  }
}

/**
 * Passes chunks on until the signed length is reached; more than that is an endless-data attack.
 */
async function* bounded(
  stream: AsyncIterable<Uint8Array>,
  file: FileEntry,
  offset: number,
  onBytes: (done: number) => void,
): AsyncIterable<Uint8Array> {
  let done = offset;
  for await (const chunk of stream) {
    done += chunk.length;
    if (done > file.length)
      throw new Fault(
        'file_length',
        `the server sends more than the ${file.length} bytes that the manifest names for ${file.name}`,
      );
    onBytes(done);
    yield chunk;
  }
}
