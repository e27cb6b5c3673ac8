// Uploads that no published release names: each operator has a quota of them, and they expire. The
// store of artifacts knows digests only; the rows beside it (UploadStore) know who uploaded what,
// and when.
//
// Nothing that is published is deleted, and nothing that is about to be: publishing touches the
// rows of its files before it looks for them, a row that was touched is not collected, and one that
// is being collected refuses the publication. An upload under way has no file yet that could be
// deleted. A file without a row (after a crash) gets one, and expires from then on.
import { limits } from '../../shared/base/limits.js';
import type { Clock, Log } from '../../shared/base/interfaces.js';
import type { ArtifactStore, UploadStore } from '../interfaces.js';
import { isDigest } from './verified-stream.js';

export interface UploadsOptions {
  readonly store: UploadStore;
  readonly artifacts: ArtifactStore;
  readonly clock: Clock;
  readonly log: Log;
  /** Digests of all files that published releases name, or more. Must not answer less. */
  readonly referenced: () => Promise<ReadonlySet<string>>;
}

export interface Upload {
  readonly digest: string;
  readonly operator: string;
  /** Null: the sender did not announce it. */
  readonly lengthBytes: number | null;
  readonly stream: AsyncIterable<Uint8Array>;
}

export class Uploads {
  readonly #options: UploadsOptions;

  constructor(options: UploadsOptions) {
    this.#options = options;
  }

  /** Stores a file within the quota of its operator. Faults: quota_exceeded, those of the store. */
  async put({ digest, operator, lengthBytes, stream }: Upload): Promise<void> {
    const { store, artifacts, clock } = this.#options;
    const maxBytes = Math.min(lengthBytes ?? Infinity, limits.releaseFileMaxBytes);
    await this.claim(new Set([digest]));
    const found = isDigest(digest) ? await artifacts.stat(digest) : null;
    if (found === null && isDigest(digest))
      await store.begin(
        { digest, operator, bytes: maxBytes, touchedAt: clock.now() },
        {
          maxBytes: limits.uploadsPerOperatorMaxBytes,
          maxCount: limits.uploadsPerOperatorMaxCount,
        },
      );
    try {
      const { stored } = await artifacts.put(digest, stream, {
        maxBytes: limits.releaseFileMaxBytes,
        ...(lengthBytes === null ? {} : { lengthBytes }),
      });
      if (!stored) return;
    } catch (error) {
      if ((await artifacts.stat(digest)) === null) await store.remove([digest]);
      throw error;
    }
    const bytes = (await artifacts.stat(digest))?.lengthBytes ?? maxBytes;
    await store.put({ digest, operator, bytes, touchedAt: clock.now() });
  }

  /** Before they are published. Faults: conflict (one is being deleted). */
  claim(digests: ReadonlySet<string>): Promise<void> {
    return this.#options.store.touch(digests, this.#options.clock.now());
  }

  /** They fill no quota and never expire. */
  published(digests: ReadonlySet<string>): Promise<void> {
    return this.#options.store.remove([...digests]);
  }

  /** Deletes what has expired. Returns how many files. */
  async collect(): Promise<number> {
    const { store, artifacts, clock, log, referenced } = this.#options;
    const before = clock.now() - limits.uploadKeptMs;
    const named = await referenced();
    const rows = new Map((await store.all()).map((row) => [row.digest, row]));
    await store.remove([...rows.keys()].filter((digest) => named.has(digest)));
    for await (const { digest, lengthBytes } of artifacts.list())
      if (!named.has(digest) && !rows.has(digest))
        await store.put({ digest, operator: '', bytes: lengthBytes, touchedAt: clock.now() });
    let deleted = 0;
    for (const { digest } of rows.values()) {
      if (named.has(digest) || !(await store.collect(digest, before))) continue;
      if (await artifacts.delete(digest)) deleted += 1;
      await store.remove([digest]);
    }
    if (deleted > 0) log.info({ deleted }, 'uploads that were never published were deleted');
    return deleted;
  }
}
