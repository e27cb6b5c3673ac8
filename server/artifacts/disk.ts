// The artifact store on a local disk: one file per artifact, named by its digest, in one folder. An
// artifact is written under a temporary name while its length and digest are verified, then fsynced
// and renamed, and the folder is fsynced; so a reader or a restart sees a whole artifact or none.
// Temporary files of a crash are removed when the store is opened. Callers decide who may read and
// write.
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCode } from '../../shared/base/fault-codes.js';
import type { Random } from '../../shared/base/interfaces.js';
import type {
  Artifact,
  ArtifactLimits,
  ArtifactRef,
  ArtifactStore,
  ByteRange,
} from '../interfaces.js';
import { WholeFiles } from '../../shared/platform/whole-files.js';
import { rangeInside } from './ranges.js';
import { isDigest, requirePlausible, verified } from './verified-stream.js';

export interface DiskArtifactStoreOptions {
  /** Created when it is absent. */
  readonly folder: string;
  readonly random: Random;
}

export class DiskArtifactStore implements ArtifactStore {
  readonly #folder: string;
  readonly #files: WholeFiles;

  private constructor({ folder, random }: DiskArtifactStoreOptions) {
    this.#folder = folder;
    this.#files = new WholeFiles(random);
  }

  /** Faults: disk_full, disk_failed. */
  static async open(options: DiskArtifactStoreOptions): Promise<DiskArtifactStore> {
    const store = new DiskArtifactStore(options);
    await store.#files.makeFolder(store.#folder);
    await store.#files.removeLeftovers(store.#folder);
    return store;
  }

  async put(
    digest: string,
    stream: AsyncIterable<Uint8Array>,
    limits: ArtifactLimits,
  ): Promise<{ stored: boolean }> {
    requirePlausible(digest, limits);
    if ((await this.stat(digest)) !== null) return { stored: false };
    await this.#files.stream(this.#path(digest), verified(digest, stream, limits));
    return { stored: true };
  }

  async get(digest: string, range: ByteRange = { start: 0, end: null }): Promise<Artifact | null> {
    if (!isDigest(digest)) return null;
    let file;
    try {
      file = await open(this.#path(digest), 'r');
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return null;
      throw error;
    }
    try {
      const { size: lengthBytes } = await file.stat();
      const { start, end } = rangeInside(range, lengthBytes);
      // With end -1 (an empty file) createReadStream would throw.
      const stream = file.createReadStream(end < start ? { start } : { start, end });
      return { digest, lengthBytes, stream };
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  async stat(digest: string): Promise<ArtifactRef | null> {
    if (!isDigest(digest)) return null;
    const lengthBytes = await this.#files.length(this.#path(digest));
    return lengthBytes === null ? null : { digest, lengthBytes };
  }

  async delete(digest: string): Promise<boolean> {
    if ((await this.stat(digest)) === null) return false;
    await rm(this.#path(digest), { force: true });
    await this.#files.syncFolder(this.#folder);
    return true;
  }

  async *list(): AsyncIterable<ArtifactRef> {
    for (const name of await this.#files.names(this.#folder)) {
      const found = await this.stat(name);
      if (found !== null) yield found;
    }
  }

  #path(digest: string): string {
    return join(this.#folder, digest);
  }
}
