// The artifact store in an OCI registry: a file is a blob by its own digest, which a manifest at a
// tag of its own keeps (see oci-manifest.ts). A file is there when its manifest is; the manifest is
// put last, after length and digest of the whole were verified here and by the registry. One or two
// chunks of an upload are in memory. A chunk whose connection breaks goes on where the registry
// says that it stopped. A failed upload is cancelled; what a server that died has begun, the
// registry removes after its own time.
import { Fault, isFault, reason } from '../../shared/base/fault-codes.js';
import { sha256 } from '../../shared/base/bytes.js';
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
import { errorOf, OciClient, REDIRECTS } from './oci-client.js';
import {
  blobDigest,
  digestIn,
  EMPTY_CONFIG,
  fileOf,
  MANIFEST_TYPE,
  manifestOf,
  tagOf,
  tagsOn,
} from './oci-manifest.js';
import type { OciCredentials, OciLocation } from './oci-settings.js';
import { OciUpload } from './oci-upload.js';
import { inParts, type Part } from './parts.js';
import { artifactIn, RANGE_STATUSES, rangeHeader } from './ranges.js';
import { isDigest, requirePlausible, verified } from './verified-stream.js';

export interface OciArtifactStoreOptions {
  readonly location: OciLocation;
  readonly credentials: OciCredentials | null;
  /** Whether `link` gives links: the registry must give blobs to anybody. */
  readonly links: boolean;
  readonly proxies: Proxies;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

const OK = 200;
const CREATED = 201;
const ACCEPTED = 202;
const BAD_REQUEST = 400;
const UNAUTHORIZED = 401;
const FORBIDDEN = 403;
const ABSENT = 404;
const NOT_ALLOWED = 405;
/** What registries answer that remove blobs by garbage collection only. */
const BLOB_DELETED: readonly number[] = [OK, ACCEPTED, 204, BAD_REQUEST, ABSENT, NOT_ALLOWED, 501];

export class OciArtifactStore implements ArtifactStore {
  readonly #client: OciClient;
  readonly #location: OciLocation;
  readonly #log: Log;
  #links: boolean;

  private constructor(options: OciArtifactStoreOptions) {
    this.#client = new OciClient(options);
    this.#location = options.location;
    this.#log = options.log;
    this.#links = options.links;
  }

  /**
   * Asks the registry once. One that does not answer now may answer later: that is a warning, and
   * devices are then not sent to it until the next start. Faults: artifact_store_refused,
   * config_invalid.
   */
  static async open(options: OciArtifactStoreOptions): Promise<OciArtifactStore> {
    const store = new OciArtifactStore(options);
    try {
      await store.#page('tags/list?n=1');
      if (options.links) await store.#requireAnonymousReads();
    } catch (err) {
      if (!isFault(err, 'artifact_store_unreachable')) {
        store.close();
        throw err;
      }
      store.#links = false;
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
    // A blob may be gone although its manifest is there: this puts it back.
    const isKept = (await this.stat(digest)) !== null && (await this.#hasBlob(digest));
    if (isKept) return { stored: false };
    const lengthBytes = await this.#upload(digest, (partBytes) =>
      inParts(verified(digest, stream, announced), partBytes),
    );
    await this.#requireConfig();
    await this.#client.call({
      ...{ method: 'PUT', at: `manifests/${tagOf(digest)}`, expected: [CREATED] },
      headers: { 'content-type': MANIFEST_TYPE },
      body: [manifestOf({ digest, lengthBytes })],
      // docker-registry 2.8 says so while somebody else puts the same file: it reads a link that is
      // being written.
      passingCode: 'DIGEST_INVALID',
    });
    return { stored: true };
  }

  /**
   * Of a blob without asking for its manifest: a registry that removes blobs by garbage collection
   * only may give one that was deleted.
   */
  async get(digest: string, range: ByteRange = { start: 0, end: null }): Promise<Artifact | null> {
    if (!isDigest(digest)) return null;
    const header = rangeHeader(range);
    const answer = await this.#client.open({
      ...{ method: 'GET', at: `blobs/${blobDigest(digest)}` },
      expected: RANGE_STATUSES,
      ...(header === undefined ? {} : { headers: { range: header } }),
    });
    return artifactIn(answer, digest, range, this);
  }

  async stat(digest: string): Promise<ArtifactRef | null> {
    if (!isDigest(digest)) return null;
    const { status, text } = await this.#client.call({
      ...{ method: 'GET', at: `manifests/${tagOf(digest)}`, expected: [OK, ABSENT] },
      headers: { accept: MANIFEST_TYPE },
    });
    return status === ABSENT ? null : fileOf(digest, text);
  }

  async delete(digest: string): Promise<boolean> {
    const found = await this.stat(digest);
    if (found === null) return false;
    // By its digest: not every registry deletes by tag. The tag goes with it.
    const manifest = blobDigest(sha256(manifestOf(found)));
    const expected = [OK, ACCEPTED, 204, ABSENT];
    await this.#client.call({ method: 'DELETE', at: `manifests/${manifest}`, expected });
    const at = `blobs/${blobDigest(digest)}`;
    await this.#client.call({ method: 'DELETE', at, expected: BLOB_DELETED });
    return true;
  }

  async *list(): AsyncIterable<ArtifactRef> {
    let at: string | URL | null = `tags/list?n=${limits.ociPageMaxCount}`;
    while (at !== null) {
      const { tags, next }: Page = await this.#page(at);
      const digests = tags.map(digestIn).filter((digest) => digest !== null);
      for (let from = 0; from < digests.length; from += limits.ociReadsAtOnceMaxCount) {
        const some = digests.slice(from, from + limits.ociReadsAtOnceMaxCount);
        for (const ref of await Promise.all(some.map((digest) => this.stat(digest))))
          if (ref !== null) yield ref;
      }
      at = next;
    }
  }

  link(digest: string): string | null {
    if (!this.#links || !isDigest(digest)) return null;
    return new URL(`blobs/${blobDigest(digest)}`, this.#location.base).href;
  }

  close(): void {
    this.#client.close();
  }

  async #hasBlob(digest: string): Promise<boolean> {
    const at = `blobs/${blobDigest(digest)}`;
    // What is kept elsewhere is there, too.
    const expected = [OK, ABSENT, ...REDIRECTS];
    return (await this.#client.call({ method: 'HEAD', at, expected })).status !== ABSENT;
  }

  /** The length of what was stored. Nothing is left behind when it fails. */
  async #upload(
    digest: string,
    partsOf: (partBytes: number) => AsyncIterable<Part>,
  ): Promise<number> {
    const upload = await OciUpload.start(this.#client);
    try {
      for await (const part of partsOf(upload.chunkBytes)) await upload.append(part);
      if (!(await upload.complete(digest)) && !(await this.#hasBlob(digest)))
        throw new Fault('artifact_store_unreachable', 'an upload disappeared before its end');
      return upload.lengthBytes;
    } catch (error) {
      await this.#cancel(upload, digest);
      throw error;
    }
  }

  async #cancel(upload: OciUpload, digest: string): Promise<void> {
    try {
      await upload.cancel();
    } catch (error) {
      if (!isFault(error)) throw error;
      this.#log.warn({ digest, reason: reason(error) }, 'a failed upload may be left');
    }
  }

  async #requireConfig(): Promise<void> {
    const digest = sha256(EMPTY_CONFIG);
    if (await this.#hasBlob(digest)) return;
    await this.#upload(digest, async function* () {
      yield await Promise.resolve([EMPTY_CONFIG]);
    });
  }

  /** Devices have no account at the registry. Faults: config_invalid. */
  async #requireAnonymousReads(): Promise<void> {
    await this.#requireConfig();
    const { status } = await this.#client.call({
      ...{ method: 'GET', at: `blobs/${blobDigest(sha256(EMPTY_CONFIG))}`, isAnonymous: true },
      expected: [OK, ...REDIRECTS, UNAUTHORIZED, FORBIDDEN, ABSENT],
    });
    if (status >= BAD_REQUEST)
      throw new Fault(
        'config_invalid',
        `artifacts_redirect: ${this.#location.name} answers ${status} to who has no secret, as ` +
          'devices have none. Set it to false: the server passes the files on',
      );
  }

  async #page(at: string | URL): Promise<Page> {
    const address = new URL(at, this.#location.base);
    const { status, text, headers } = await this.#client.call({
      ...{ method: 'GET', at: address, expected: [OK, ABSENT] },
    });
    if (status === ABSENT) {
      // A repository begins with its first file. Any web server answers 404, though.
      if (errorOf(text).includes('NAME_UNKNOWN')) return { tags: [], next: null };
      throw new Fault('artifact_store_refused', `${this.#location.name} is not in an OCI registry`);
    }
    const [, next] = /^\s*<([^>]*)>\s*;\s*rel="?next"?/.exec(String(headers.link ?? '')) ?? [];
    return { tags: tagsOn(text), next: next === undefined ? null : new URL(next, address) };
  }
}

interface Page {
  readonly tags: readonly string[];
  readonly next: URL | null;
}
