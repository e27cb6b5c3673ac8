// The artifact store in memory: the second implementation of the interface, for tests that need no
// disk. It makes the same promises as the disk's (test/server/artifacts runs one contract over
// both), except that nothing survives the process.
import { Readable } from 'node:stream';
import { rangeInside } from '../../server/artifacts/ranges.js';
import { isDigest, requirePlausible, verified } from '../../server/artifacts/verified-stream.js';
import type {
  Artifact,
  ArtifactLimits,
  ArtifactRef,
  ArtifactStore,
  ByteRange,
} from '../../server/interfaces.js';

export class MemoryArtifactStore implements ArtifactStore {
  readonly #artifacts = new Map<string, Buffer>();

  async put(
    digest: string,
    stream: AsyncIterable<Uint8Array>,
    limits: ArtifactLimits,
  ): Promise<{ stored: boolean }> {
    requirePlausible(digest, limits);
    if (this.#artifacts.has(digest)) return { stored: false };
    const chunks: Uint8Array[] = [];
    for await (const chunk of verified(digest, stream, limits)) chunks.push(chunk);
    this.#artifacts.set(digest, Buffer.concat(chunks));
    return { stored: true };
  }

  get(digest: string, range: ByteRange = { start: 0, end: null }): Promise<Artifact | null> {
    const bytes = this.#artifacts.get(digest);
    if (bytes === undefined) return Promise.resolve(null);
    const { start, end } = rangeInside(range, bytes.length);
    const part = bytes.subarray(start, end + 1);
    const stream = Readable.from(part.length === 0 ? [] : [part]);
    return Promise.resolve({ digest, lengthBytes: bytes.length, stream });
  }

  stat(digest: string): Promise<ArtifactRef | null> {
    const bytes = isDigest(digest) ? this.#artifacts.get(digest) : undefined;
    return Promise.resolve(bytes === undefined ? null : { digest, lengthBytes: bytes.length });
  }

  delete(digest: string): Promise<boolean> {
    return Promise.resolve(this.#artifacts.delete(digest));
  }

  async *list(): AsyncIterable<ArtifactRef> {
    for (const [digest, { length: lengthBytes }] of this.#artifacts)
      yield await Promise.resolve({ digest, lengthBytes });
  }
}
