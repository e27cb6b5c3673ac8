// An OCI registry in memory, strict where the real ones are: it verifies logins, the offsets of
// chunks, digests, and that a manifest names only blobs that it has. It keeps pages short so that
// callers must follow them. Faults are injected: an error, a connection cut within the body, after
// the work, or within the answer.
import { createHash } from 'node:crypto';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { OciArtifactStore, type OciArtifactStoreOptions } from '../../server/artifacts/oci.js';
import { ociLocation } from '../../server/artifacts/oci-settings.js';
import { silentLog } from '../../shared/base/interfaces.js';
import { realClock, realRandom } from '../../shared/platform/clock.js';
import { Proxies } from '../../shared/platform/proxies.js';

export const OCI_LOGIN = { username: 'fleet', password: 'hunter2 with: all' };
const REPOSITORY = 'some/models';
const PAGE_MAX_COUNT = 3;

export type OciTrouble =
  | { readonly kind: 'status'; readonly status: number; readonly code: string }
  | { readonly kind: 'cut within' | 'cut after work' | 'truncated' | 'silent' };

export interface OciSeen {
  readonly method: string;
  /** Below the repository, with its query. */
  readonly path: string;
  readonly headers: http.IncomingHttpHeaders;
}

interface Reply {
  readonly status: number;
  readonly headers?: http.OutgoingHttpHeaders;
  readonly body?: Buffer | string;
}

class Refused extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly headers: http.OutgoingHttpHeaders = {},
  ) {
    super(code);
  }
}

const hash = (bytes: Buffer): string =>
  `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

export class OciDouble {
  readonly blobs = new Map<string, Buffer>();
  /** By digest. */
  readonly manifests = new Map<string, Buffer>();
  readonly tags = new Map<string, string>();
  readonly uploads = new Map<string, Buffer[]>();
  readonly seen: OciSeen[] = [];
  /** Asked for each request to the repository. */
  trouble: (request: OciSeen) => OciTrouble | null = () => null;
  login: 'none' | 'basic' | 'bearer' = 'none';
  /** Reading needs no login. */
  isPublic = false;
  hasRanges = true;
  deletesBlobs = true;
  chunkMinBytes = 0;
  /** Where blobs are read instead: an origin. */
  redirect: string | null = null;
  /** Tokens that were given, and those that are still taken. */
  readonly tokens = new Set<string>();
  tokenRequests = 0;
  received = 0;
  sent = 0;
  readonly #server = http.createServer((request, response) => void this.#serve(request, response));
  #ids = 0;

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return this;
  }

  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #serve(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const { url = '', method = '', headers } = request;
    const root = `/v2/${REPOSITORY}/`;
    const path = url.startsWith(root) ? url.slice(root.length) : `outside:${url}`;
    const seen = { method, path, headers };
    this.seen.push(seen);
    const trouble = url.startsWith('/token') ? null : this.trouble(seen);
    if (trouble?.kind === 'silent') return;
    let reply: Reply;
    try {
      const body = await this.#body(request, trouble?.kind === 'cut within' ? seen : null);
      if (body === null) return;
      if (trouble?.kind === 'status') throw new Refused(trouble.status, trouble.code);
      reply = url.startsWith('/token') ? this.#token(url, headers) : this.#answer(seen, body);
    } catch (error) {
      if (!(error instanceof Refused)) return void request.socket.destroy();
      const { status, code } = error;
      const text = JSON.stringify({ errors: [{ code, message: 'of the double', detail: null }] });
      reply = { status, headers: error.headers, body: text };
    }
    if (trouble?.kind === 'cut after work') return void request.socket.destroy();
    await this.#send(method, reply, response, trouble?.kind === 'truncated');
  }

  /** Null: cut in the middle, after a chunk of an upload was kept as far as it came. */
  async #body(request: http.IncomingMessage, cut: OciSeen | null): Promise<Buffer | null> {
    const chunks: Buffer[] = [];
    let length = 0;
    const { socket } = request;
    const half = Number(request.headers['content-length'] ?? 0) / 2;
    for await (const chunk of request as AsyncIterable<Buffer>) {
      this.received += chunk.length;
      length += chunk.length;
      chunks.push(chunk);
      if (cut !== null && length >= half) break;
    }
    if (cut === null) return Buffer.concat(chunks);
    const [, id = ''] = /^blobs\/uploads\/(\d+)/.exec(cut.path) ?? [];
    this.uploads.get(id)?.push(...chunks);
    socket.destroy();
    return null;
  }

  async #send(method: string, reply: Reply, response: http.ServerResponse, truncated: boolean) {
    const body = Buffer.from(reply.body ?? '');
    response.writeHead(reply.status, { 'content-length': body.length, ...reply.headers });
    if (method === 'HEAD') return void response.end();
    if (truncated) {
      response.write(body.subarray(0, body.length / 2), () => response.destroy());
      return;
    }
    const closed = new Promise((resolve) => response.once('close', resolve));
    for (let at = 0; at < body.length && !response.destroyed; at += 65_536) {
      const piece = body.subarray(at, at + 65_536);
      const written = new Promise((resolve) => response.write(piece, resolve));
      await Promise.race([closed, written]);
      this.sent += piece.length;
    }
    response.end();
  }

  #token(url: string, { authorization }: http.IncomingHttpHeaders): Reply {
    this.tokenRequests += 1;
    const asked = new URL(url, 'http://any').searchParams;
    if (asked.get('service') !== 'the double') throw new Refused(400, 'SERVICE');
    if (asked.get('scope') !== `repository:${REPOSITORY}:pull,push,delete`)
      throw new Refused(400, 'SCOPE');
    if (authorization !== BASIC) throw new Refused(401, 'UNAUTHORIZED');
    const token = `t0ken.${this.tokenRequests}`;
    this.tokens.add(token);
    const name = this.tokenRequests % 2 === 0 ? 'token' : 'access_token';
    return {
      status: 200,
      body: JSON.stringify({ [name]: token, expires_in: 300, issued_at: 'x' }),
    };
  }

  #requireLogin({ method, headers: { authorization = '' } }: OciSeen): void {
    if (this.login === 'none' || (this.isPublic && method === 'GET')) return;
    if (this.login === 'basic') {
      if (authorization === BASIC) return;
      throw new Refused(401, 'UNAUTHORIZED', { 'www-authenticate': 'Basic realm="x"' });
    }
    if (this.tokens.has(authorization.replace(/^Bearer /, ''))) return;
    const challenge =
      `Bearer realm="http://${this.host}/token",service="the double",` +
      `scope="repository:${REPOSITORY}:pull"`;
    throw new Refused(401, 'UNAUTHORIZED', { 'www-authenticate': challenge });
  }

  #answer(seen: OciSeen, body: Buffer): Reply {
    const { method, path } = seen;
    if (path.startsWith('outside:')) throw new Refused(404, 'PAGE_NOT_FOUND');
    this.#requireLogin(seen);
    const url = new URL(path, 'http://any');
    const [, kind = '', name = ''] =
      /^\/(blobs\/uploads|blobs|manifests|tags)\/(.*)$/.exec(url.pathname) ?? [];
    if (kind === 'tags') return this.#list(url.searchParams);
    if (kind === 'manifests') return this.#manifest(seen, name, body);
    if (kind === 'blobs/uploads') return this.#upload(seen, name, url.searchParams, body);
    if (kind === 'blobs') return this.#blob(seen, name);
    throw new Refused(405, `UNSUPPORTED ${method}`);
  }

  #list(query: URLSearchParams): Reply {
    if (this.manifests.size === 0) throw new Refused(404, 'NAME_UNKNOWN');
    const most = Math.min(PAGE_MAX_COUNT, Number(query.get('n') ?? 1000));
    const after = query.get('last') ?? '';
    const rest = [...this.tags.keys()].sort().filter((tag) => tag > after);
    const tags = rest.slice(0, most);
    const next = `</v2/${REPOSITORY}/tags/list?n=${most}&last=${tags.at(-1)}>; rel="next"`;
    return {
      status: 200,
      headers: rest.length > tags.length ? { link: next } : {},
      body: JSON.stringify({ name: REPOSITORY, tags: rest.length === 0 ? null : tags }),
    };
  }

  #manifest({ method, headers }: OciSeen, name: string, body: Buffer): Reply {
    if (method === 'PUT') {
      const { mediaType, config, layers } = JSON.parse(body.toString()) as {
        mediaType: string;
        config: { digest: string };
        layers: { digest: string; size: number }[];
      };
      if (headers['content-type'] !== mediaType) throw new Refused(400, 'MANIFEST_INVALID');
      if (!/^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/.test(name)) throw new Refused(400, 'TAG_INVALID');
      for (const { digest } of [config, ...layers])
        if (!this.blobs.has(digest)) throw new Refused(400, 'MANIFEST_BLOB_UNKNOWN');
      for (const { digest, size } of layers)
        if (this.blobs.get(digest)?.length !== size) throw new Refused(400, 'SIZE_INVALID');
      this.manifests.set(hash(body), body);
      this.tags.set(name, hash(body));
      return { status: 201 };
    }
    if (method === 'DELETE') {
      if (!name.startsWith('sha256:')) throw new Refused(405, 'UNSUPPORTED');
      if (!this.manifests.delete(name)) throw new Refused(404, 'MANIFEST_UNKNOWN');
      for (const [tag, digest] of this.tags) if (digest === name) this.tags.delete(tag);
      return { status: 202 };
    }
    const found = this.manifests.get(this.tags.get(name) ?? name);
    if (found === undefined) throw new Refused(404, 'MANIFEST_UNKNOWN');
    return { status: 200, body: found };
  }

  #blob({ method, headers }: OciSeen, digest: string): Reply {
    const blob = this.blobs.get(digest);
    if (blob === undefined) throw new Refused(404, 'BLOB_UNKNOWN');
    if (method === 'DELETE') {
      if (!this.deletesBlobs) throw new Refused(405, 'UNSUPPORTED');
      this.blobs.delete(digest);
      return { status: 202 };
    }
    if (this.redirect !== null && method === 'GET')
      return { status: 307, headers: { location: `${this.redirect}/elsewhere/${digest}?sig=1` } };
    const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(headers.range ?? '') ?? [];
    if (first === undefined || !this.hasRanges) return { status: 200, body: blob };
    const start = Number(first);
    if (start >= blob.length) throw new Refused(416, 'RANGE_INVALID');
    const end = Math.min(blob.length - 1, last === '' ? Infinity : Number(last));
    return {
      status: 206,
      headers: { 'content-range': `bytes ${start}-${end}/${blob.length}` },
      body: blob.subarray(start, end + 1),
    };
  }

  #upload({ method, headers }: OciSeen, name: string, query: URLSearchParams, body: Buffer): Reply {
    if (method === 'POST') {
      this.#ids += 1;
      this.uploads.set(String(this.#ids), []);
      const least = { 'oci-chunk-min-length': this.chunkMinBytes };
      const at = this.#next(String(this.#ids), 0);
      return { status: 202, headers: { ...at, ...(this.chunkMinBytes === 0 ? {} : least) } };
    }
    const chunks = this.uploads.get(name);
    if (chunks === undefined) throw new Refused(404, 'BLOB_UPLOAD_UNKNOWN');
    const whole = Buffer.concat(chunks);
    if (method === 'DELETE') {
      this.uploads.delete(name);
      return { status: 204 };
    }
    if (method === 'GET') return { status: 204, headers: this.#next(name, whole.length) };
    // As docker-registry does: an address is for one offset.
    if (Number(query.get('offset')) !== whole.length) throw new Refused(416, 'RANGE_INVALID');
    if (method === 'PATCH') {
      const said = headers['content-range'];
      if (said !== `${whole.length}-${whole.length + body.length - 1}`)
        throw new Refused(416, 'RANGE_INVALID');
      chunks.push(body);
      return { status: 202, headers: this.#next(name, whole.length + body.length) };
    }
    const digest = query.get('digest') ?? '';
    if (hash(Buffer.concat([whole, body])) !== digest) throw new Refused(400, 'DIGEST_INVALID');
    this.blobs.set(digest, Buffer.concat([whole, body]));
    this.uploads.delete(name);
    return { status: 201, headers: { location: `/v2/${REPOSITORY}/blobs/${digest}` } };
  }

  #next(id: string, length: number): http.OutgoingHttpHeaders {
    const at = `/v2/${REPOSITORY}/blobs/uploads/${id}?offset=${length}`;
    // Relative or absolute, as registries differ.
    const location = length % 2 === 0 ? at : `http://${this.host}${at}`;
    return { location, range: `0-${Math.max(0, length - 1)}` };
  }
}

const LOGIN = Buffer.from(`${OCI_LOGIN.username}:${OCI_LOGIN.password}`).toString('base64');
const BASIC = `Basic ${LOGIN}`;

/** A store in the repository of a registry without TLS. */
export function openOci(
  host: string,
  options: Partial<OciArtifactStoreOptions> = {},
): Promise<OciArtifactStore> {
  return OciArtifactStore.open({
    location: ociLocation(`oci://${host}/${REPOSITORY}`, { plain_http: true }),
    credentials: null,
    links: false,
    proxies: new Proxies({}),
    ...{ clock: realClock, random: realRandom, log: silentLog },
    ...options,
  });
}
