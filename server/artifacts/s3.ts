// The artifact store in an S3 bucket: one object per artifact, named by its digest, under a prefix.
// A small artifact is verified in memory and stored by one PUT; of a large one, at most two parts
// are in memory, and the object appears only when the upload is completed, after length and digest
// of the whole were verified. A failed upload is aborted. Its parts stay only where the server
// died, the store refused the abort, or the answer that named the upload was lost: the bucket needs
// a lifecycle rule for those, because another server may be uploading the same artifact.
import { Fault, isFault, reason } from '../../shared/base/fault-codes.js';
import type { Clock, Log, Random } from '../../shared/base/interfaces.js';
import { limits } from '../../shared/base/limits.js';
import type { Proxies } from '../../shared/platform/proxies.js';
import type {
  Artifact,
  ArtifactLimits,
  ArtifactRef,
  ArtifactStore,
  ByteRange,
} from '../interfaces.js';
import { leaves } from './s3-answers.js';
import { S3Client, type S3Answer } from './s3-client.js';
import type { S3Credentials, S3Location } from './s3-settings.js';
import { inParts, type Part } from './parts.js';
import { artifactIn, lengthOf, RANGE_STATUSES, rangeHeader } from './ranges.js';
import { isDigest, requirePlausible, verified } from './verified-stream.js';

export interface S3ArtifactStoreOptions {
  readonly location: S3Location;
  readonly credentials: S3Credentials;
  /** Whether `link` gives links. */
  readonly links: boolean;
  readonly proxies: Proxies;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

const OK = 200;
const NO_CONTENT = 204;
const ABSENT = 404;

export class S3ArtifactStore implements ArtifactStore {
  readonly #client: S3Client;
  readonly #prefix: string;
  readonly #links: boolean;
  readonly #log: Log;

  private constructor(options: S3ArtifactStoreOptions) {
    this.#client = new S3Client(options);
    this.#prefix = options.location.prefix;
    this.#links = options.links;
    this.#log = options.log;
  }

  /**
   * Asks the bucket once. A store that does not answer now may answer later: that is a warning.
   * Faults: artifact_store_refused.
   */
  static async open(options: S3ArtifactStoreOptions): Promise<S3ArtifactStore> {
    const store = new S3ArtifactStore(options);
    try {
      await store.#page(undefined, 1);
    } catch (err) {
      if (!isFault(err, 'artifact_store_unreachable')) {
        store.close();
        throw err;
      }
      options.log.warn({ err }, 'the artifact store does not answer');
    }
    return store;
  }

  async put(
    digest: string,
    stream: AsyncIterable<Uint8Array>,
    announced: ArtifactLimits,
  ): Promise<{ stored: boolean }> {
    requirePlausible(digest, announced);
    if ((await this.stat(digest)) !== null) return { stored: false };
    let uploadId: string | null = null;
    let held: Part | null = null;
    const tags: string[] = [];
    try {
      for await (const part of inParts(verified(digest, stream, announced), limits.s3PartBytes)) {
        if (held !== null) {
          uploadId ??= await this.#start(digest);
          tags.push(await this.#putPart(digest, uploadId, tags.length + 1, held));
        }
        held = part;
      }
      const body = held ?? [];
      if (uploadId === null)
        await this.#client.call({ method: 'PUT', name: digest, body, expected: [OK] });
      else {
        tags.push(await this.#putPart(digest, uploadId, tags.length + 1, body));
        await this.#complete(digest, uploadId, tags);
      }
    } catch (error) {
      if (uploadId !== null) await this.#abort(digest, uploadId);
      throw error;
    }
    return { stored: true };
  }

  async get(digest: string, range: ByteRange = { start: 0, end: null }): Promise<Artifact | null> {
    if (!isDigest(digest)) return null;
    const header = rangeHeader(range);
    const answer = await this.#client.open({
      ...{ method: 'GET', name: digest, expected: RANGE_STATUSES },
      ...(header === undefined ? {} : { range: header }),
    });
    return artifactIn(answer, digest, range, this);
  }

  async stat(digest: string): Promise<ArtifactRef | null> {
    if (!isDigest(digest)) return null;
    const { status, headers } = await this.#client.call({
      ...{ method: 'HEAD', name: digest, expected: [OK, ABSENT] },
    });
    return status === ABSENT ? null : { digest, lengthBytes: lengthOf(headers) };
  }

  async delete(digest: string): Promise<boolean> {
    if ((await this.stat(digest)) === null) return false;
    const expected = [OK, NO_CONTENT, ABSENT];
    await this.#client.call({ method: 'DELETE', name: digest, expected });
    return true;
  }

  async *list(): AsyncIterable<ArtifactRef> {
    let token: string | undefined;
    do {
      const { text } = await this.#page(token, limits.s3PageMaxCount);
      const sizes = leaves(text, 'Size');
      for (const [index, key] of leaves(text, 'Key').entries()) {
        const digest = key.slice(this.#prefix.length);
        if (isDigest(digest)) yield { digest, lengthBytes: Number(sizes[index]) };
      }
      [token] = leaves(text, 'NextContinuationToken');
    } while (token !== undefined);
  }

  link(digest: string): string | null {
    return this.#links && isDigest(digest) ? this.#client.link(digest) : null;
  }

  close(): void {
    this.#client.close();
  }

  #page(token: string | undefined, count: number): Promise<S3Answer> {
    return this.#client.call({
      method: 'GET',
      query: {
        ...{ 'list-type': '2', prefix: this.#prefix, 'max-keys': String(count) },
        ...(token === undefined ? {} : { 'continuation-token': token }),
      },
      expected: [OK],
    });
  }

  async #start(digest: string): Promise<string> {
    const { text } = await this.#client.call({
      ...{ method: 'POST', name: digest, query: { uploads: '' }, expected: [OK] },
    });
    const [uploadId] = leaves(text, 'UploadId');
    if (uploadId === undefined)
      throw new Fault('artifact_store_refused', 'the start of an upload was answered without id');
    return uploadId;
  }

  /** Its entity tag. */
  async #putPart(digest: string, uploadId: string, number: number, body: Part): Promise<string> {
    const query = { partNumber: String(number), uploadId };
    const { headers } = await this.#client.call({
      ...{ method: 'PUT', name: digest, query, body, expected: [OK] },
    });
    return headers.etag ?? '';
  }

  async #complete(digest: string, uploadId: string, tags: readonly string[]): Promise<void> {
    const parts = tags.map(
      (tag, index) =>
        `<Part><PartNumber>${index + 1}</PartNumber>` +
        `<ETag>${tag.replace(/&/g, '&amp;').replace(/</g, '&lt;')}</ETag></Part>`,
    );
    const body = Buffer.from(
      `<CompleteMultipartUpload>${parts.join('')}</CompleteMultipartUpload>`,
    );
    const { status } = await this.#client.call({
      ...{ method: 'POST', name: digest, query: { uploadId }, body: [body] },
      expected: [OK, ABSENT],
    });
    // An upload that is gone was completed by a try whose answer was lost.
    if (status === ABSENT && (await this.stat(digest)) === null)
      throw new Fault('artifact_store_unreachable', 'an upload disappeared before its end');
  }

  async #abort(digest: string, uploadId: string): Promise<void> {
    try {
      const expected = [OK, NO_CONTENT, ABSENT];
      await this.#client.call({ method: 'DELETE', name: digest, query: { uploadId }, expected });
    } catch (error) {
      if (!isFault(error)) throw error;
      this.#log.warn({ digest, reason: reason(error) }, 'parts of a failed upload may be left');
    }
  }
}
