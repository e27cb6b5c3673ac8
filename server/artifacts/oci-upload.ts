// One upload to an OCI registry: chunks in their order, each of which goes on where the registry
// stopped when its connection broke, then the end with the digest, which the registry verifies.
import { Fault } from '../../shared/base/fault-codes.js';
import { limits } from '../../shared/base/limits.js';
import { blobDigest } from './oci-manifest.js';
import type { OciAnswer, OciClient } from './oci-client.js';
import type { Part } from './parts.js';

const CREATED = 201;
const ACCEPTED = 202;
const NO_CONTENT = 204;
const ABSENT = 404;
const UNSATISFIABLE = 416;

export class OciUpload {
  readonly #client: OciClient;
  /** How long all chunks but the last must be. */
  readonly chunkBytes: number;
  #at: URL;
  #lengthBytes = 0;

  private constructor(client: OciClient, at: URL, chunkBytes: number) {
    this.#client = client;
    this.#at = at;
    this.chunkBytes = chunkBytes;
  }

  /** Faults, as of all others: artifact_store_unreachable, artifact_store_refused. */
  static async start(client: OciClient): Promise<OciUpload> {
    const answer = await client.call({
      method: 'POST',
      at: 'blobs/uploads/',
      expected: [ACCEPTED],
    });
    const least = Number(answer.headers['oci-chunk-min-length'] ?? 0);
    if (!(least <= limits.ociChunkMaxBytes))
      throw new Fault('artifact_store_refused', `the registry wants chunks of ${least} bytes`);
    return new OciUpload(client, addressIn(answer), Math.max(limits.ociChunkBytes, least));
  }

  get lengthBytes(): number {
    return this.#lengthBytes;
  }

  async append(part: Part): Promise<void> {
    const end = this.#lengthBytes + part.reduce((sum, chunk) => sum + chunk.length, 0);
    let from = this.#lengthBytes;
    let hasFailed = false;
    await this.#client.retried(async () => {
      if (hasFailed) from = await this.#received(end);
      hasFailed = true;
      if (from === end) return;
      const answer = await this.#client.callOnce({
        ...{ method: 'PATCH', at: this.#at, body: rest(part, from - this.#lengthBytes) },
        headers: {
          'content-type': 'application/octet-stream',
          'content-range': `${from}-${end - 1}`,
        },
        expected: [ACCEPTED],
      });
      this.#at = addressIn(answer);
    });
    this.#lengthBytes = end;
  }

  /** False when the registry does not know the upload: a try whose answer was lost has ended it. */
  async complete(digest: string): Promise<boolean> {
    const at = new URL(this.#at);
    at.searchParams.set('digest', blobDigest(digest));
    const expected = [CREATED, ABSENT];
    return (await this.#client.call({ method: 'PUT', at, expected })).status === CREATED;
  }

  async cancel(): Promise<void> {
    const expected = [NO_CONTENT, ABSENT];
    await this.#client.call({ method: 'DELETE', at: this.#at, expected });
  }

  /** Up to which byte the registry has the upload: within the present chunk. */
  async #received(end: number): Promise<number> {
    const answer = await this.#client.callOnce({
      ...{ method: 'GET', at: this.#at, expected: [NO_CONTENT, ABSENT, UNSATISFIABLE] },
    });
    // docker-registry 2.8 forgets an upload of which it has a part of a chunk.
    if (answer.status !== NO_CONTENT)
      throw new Fault('artifact_store_unreachable', 'the registry has lost an unfinished upload');
    this.#at = addressIn(answer);
    const [, last = ''] = /^(?:bytes=)?0-(\d+)$/.exec(answer.headers.range ?? '') ?? [];
    // Registries say 0-0 of nothing, too.
    const received = last === '' || last === '0' ? 0 : Number(last) + 1;
    if (received < this.#lengthBytes || received > end)
      throw new Fault(
        'artifact_store_refused',
        `the registry has ${received} bytes of an upload of ${this.#lengthBytes} to ${end}`,
      );
    return received;
  }
}

function addressIn({ location }: OciAnswer): URL {
  if (location === null)
    throw new Fault('artifact_store_refused', 'the registry does not say where an upload goes on');
  return location;
}

/** Without its first `skip` bytes. */
function rest(part: Part, skip: number): Part {
  const left: Uint8Array[] = [];
  let toSkip = skip;
  for (const chunk of part) {
    if (toSkip < chunk.length) left.push(chunk.subarray(toSkip));
    toSkip = Math.max(0, toSkip - chunk.length);
  }
  return left;
}
