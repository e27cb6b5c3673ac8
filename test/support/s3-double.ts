// An S3 store in memory, strict where the real ones are: it verifies every signature by itself (AWS
// Signature Version 4, in headers or in a URL), every body by its digest, the size of parts and
// their tags. It keeps lists short so that callers must page. Faults are injected before or after
// the work: an error, a connection cut before, within or after the answer, an answer cut short.
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { S3ArtifactStore, type S3ArtifactStoreOptions } from '../../server/artifacts/s3.js';
import { s3Location } from '../../server/artifacts/s3-settings.js';
import { silentLog } from '../../shared/base/interfaces.js';
import { MIB } from '../../shared/base/units.js';
import { realClock, realRandom } from '../../shared/platform/clock.js';
import { Proxies } from '../../shared/platform/proxies.js';

export const S3_KEY = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'wJalrXUtnFEMI/K7MDENG+bPx' };
const BUCKET = 'models';
const REGION = 'eu-test-1';
const PART_MIN_BYTES = 5 * MIB;
const PAGE_MAX_COUNT = 3;
const CLOCK_MAX_MS = 15 * 60_000;

/** What goes wrong with one request. */
export type S3Trouble =
  | { readonly kind: 'status'; readonly status: number; readonly code: string }
  | { readonly kind: 'cut' | 'cut after work' | 'truncated' | 'failed end' | 'silent' };

export interface S3Seen {
  readonly method: string;
  readonly key: string;
  readonly query: URLSearchParams;
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
  ) {
    super(code);
  }
}

export class S3Double {
  readonly objects = new Map<string, Buffer>();
  readonly uploads = new Map<string, { key: string; parts: Map<number, Buffer> }>();
  readonly seen: S3Seen[] = [];
  /** Asked for each request. */
  trouble: (request: S3Seen) => S3Trouble | null = () => null;
  now: () => number = Date.now;
  received = 0;
  sent = 0;
  readonly #server = http.createServer((request, response) => void this.#serve(request, response));
  #ids = 0;

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return this;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get region(): string {
    return REGION;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #serve(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const seen = seenOf(request);
    this.seen.push(seen);
    const trouble = this.trouble(seen);
    if (trouble?.kind === 'silent') return;
    if (trouble?.kind === 'cut') {
      request.once('data', () => request.socket.destroy());
      request.once('end', () => request.socket.destroy());
      return;
    }
    let reply: Reply;
    try {
      const body = await this.#body(request);
      if (trouble?.kind === 'status') throw new Refused(trouble.status, trouble.code);
      verifySignature(request, seen, this.now());
      verifyBody(seen, body);
      if (trouble?.kind === 'failed end') reply = { status: 200, body: errorXml('InternalError') };
      else reply = this.#answer(seen, body);
    } catch (error) {
      if (!(error instanceof Refused)) return void request.socket.destroy();
      reply = { status: error.status, body: errorXml(error.code) };
    }
    if (trouble?.kind === 'cut after work') return void request.socket.destroy();
    this.#send(seen, reply, response, trouble?.kind === 'truncated');
  }

  #send(seen: S3Seen, reply: Reply, response: http.ServerResponse, truncated: boolean): void {
    const body = Buffer.from(reply.body ?? '');
    response.writeHead(reply.status, { 'content-length': body.length, ...reply.headers });
    if (seen.method === 'HEAD') return void response.end();
    if (truncated) {
      response.write(body.subarray(0, body.length / 2), () => response.destroy());
      return;
    }
    let at = 0;
    const next = (): void => {
      if (at >= body.length) return void response.end();
      const piece = body.subarray(at, at + 65_536);
      at += piece.length;
      response.write(piece, () => {
        this.sent += piece.length;
        next();
      });
    };
    next();
  }

  async #body(request: http.IncomingMessage): Promise<Buffer> {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) {
      this.received += chunk.length;
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  }

  #answer(seen: S3Seen, body: Buffer): Reply {
    const { method, key, query } = seen;
    if (key === '') {
      if (method !== 'GET' || query.get('list-type') !== '2') throw new Refused(501, 'Unknown');
      return this.#list(query);
    }
    const uploadId = query.get('uploadId');
    if (method === 'POST' && query.has('uploads')) return this.#begin(key);
    if (uploadId !== null) return this.#upload(seen, uploadId, body);
    if (method === 'PUT') {
      this.objects.set(key, body);
      return { status: 200, headers: { etag: tagOf(body) } };
    }
    if (method === 'DELETE') {
      this.objects.delete(key);
      return { status: 204 };
    }
    if (method !== 'GET' && method !== 'HEAD') throw new Refused(405, 'MethodNotAllowed');
    return this.#read(seen);
  }

  #read({ key, headers }: S3Seen): Reply {
    const object = this.objects.get(key);
    if (object === undefined) throw new Refused(404, 'NoSuchKey');
    const whole = { 'accept-ranges': 'bytes', etag: tagOf(object) };
    const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(headers.range ?? '') ?? [];
    if (first === undefined) return { status: 200, headers: whole, body: object };
    const start = Number(first);
    if (start >= object.length) throw new Refused(416, 'InvalidRange');
    const end = Math.min(object.length - 1, last === '' ? Infinity : Number(last));
    return {
      status: 206,
      headers: { ...whole, 'content-range': `bytes ${start}-${end}/${object.length}` },
      body: object.subarray(start, end + 1),
    };
  }

  #list(query: URLSearchParams): Reply {
    const after = query.get('continuation-token') ?? '';
    const most = Math.min(PAGE_MAX_COUNT, Number(query.get('max-keys') ?? 1000));
    const rest = [...this.objects.keys()]
      .sort()
      .filter((key) => key.startsWith(query.get('prefix') ?? '') && `&<${key}` > after);
    const page = rest.slice(0, most);
    const contents = page.map(
      (key) =>
        `<Contents><Key>${escaped(key)}</Key><ETag>&quot;x&quot;</ETag>` +
        `<Size>${this.objects.get(key)?.length ?? 0}</Size></Contents>`,
    );
    const more = rest.length > page.length;
    const token = escaped(`&<${page.at(-1) ?? ''}`);
    const next = `<NextContinuationToken>${token}</NextContinuationToken>`;
    return {
      status: 200,
      body:
        `<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">` +
        `<Name>${BUCKET}</Name><IsTruncated>${more}</IsTruncated>${more ? next : ''}` +
        `${contents.join('')}</ListBucketResult>`,
    };
  }

  #begin(key: string): Reply {
    this.#ids += 1;
    const id = `upload+/=&${this.#ids}`;
    this.uploads.set(id, { key, parts: new Map() });
    const tag = 'InitiateMultipartUploadResult';
    const body = `<${tag}><UploadId>${escaped(id)}</UploadId></${tag}>`;
    return { status: 200, body };
  }

  #upload({ method, key, query }: S3Seen, id: string, body: Buffer): Reply {
    const upload = this.uploads.get(id);
    if (upload?.key !== key) throw new Refused(404, 'NoSuchUpload');
    if (method === 'DELETE') {
      this.uploads.delete(id);
      return { status: 204 };
    }
    if (method === 'PUT') {
      upload.parts.set(Number(query.get('partNumber')), body);
      return { status: 200, headers: { etag: tagOf(body) } };
    }
    const listed = Array.from(
      body.toString().matchAll(/<PartNumber>(\d+)<\/PartNumber><ETag>([^<]*)<\/ETag>/g),
    );
    const parts = listed.map(([, number, tag], index) => {
      const part = upload.parts.get(index + 1);
      if (part === undefined || Number(number) !== index + 1 || tagOf(part) !== tag)
        throw new Refused(400, 'InvalidPart');
      if (index < listed.length - 1 && part.length < PART_MIN_BYTES)
        throw new Refused(400, 'EntityTooSmall');
      return part;
    });
    if (parts.length === 0 || parts.length !== upload.parts.size)
      throw new Refused(400, 'InvalidPart');
    this.objects.set(key, Buffer.concat(parts));
    this.uploads.delete(id);
    return { status: 200, body: '<CompleteMultipartUploadResult/>' };
  }
}

/** A store in the bucket of the double. */
export function openS3(
  double: S3Double,
  options: Partial<S3ArtifactStoreOptions> = {},
): Promise<S3ArtifactStore> {
  return S3ArtifactStore.open({
    location: s3Location(`s3://${BUCKET}/some/where`, {
      ...{ endpoint: double.endpoint, region: double.region, path_style: true },
    }),
    credentials: S3_KEY,
    links: true,
    proxies: new Proxies({}),
    ...{ clock: realClock, random: realRandom, log: silentLog },
    ...options,
  });
}

function seenOf(request: http.IncomingMessage): S3Seen {
  const url = new URL(request.url ?? '', 'http://any');
  const isVirtual = (request.headers.host ?? '').startsWith(`${BUCKET}.`);
  const root = isVirtual ? '/' : `/${BUCKET}/`;
  const path = decodeURIComponent(url.pathname);
  return {
    method: request.method ?? '',
    key: path.startsWith(root) ? path.slice(root.length) : `outside:${path}`,
    query: url.searchParams,
    headers: request.headers,
  };
}

const hmac = (key: string | Buffer, text: string): Buffer =>
  createHmac('sha256', key).update(text).digest();
const hash = (bytes: string | Buffer): string => createHash('sha256').update(bytes).digest('hex');
const tagOf = (bytes: Buffer): string => `"${hash(bytes).slice(0, 32)}"`;
const escaped = (text: string): string => text.replace(/&/g, '&amp;').replace(/</g, '&lt;');
const errorXml = (code: string): string =>
  `<?xml version="1.0"?><Error><Code>${code}</Code><Message>of the double</Message></Error>`;
const encoded = (text: string): string =>
  encodeURIComponent(text).replace(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );

interface Claimed {
  readonly credential: string;
  readonly signedHeaders: string;
  readonly signature: string;
  readonly date: string;
  readonly payload: string;
}

function claimedBy({ query, headers }: S3Seen, now: number): Claimed {
  const payload = String(headers['x-amz-content-sha256']);
  if (query.has('X-Amz-Signature')) {
    if (headers.authorization !== undefined) throw new Refused(400, 'InvalidArgument');
    const date = query.get('X-Amz-Date') ?? '';
    const expires = Number(query.get('X-Amz-Expires'));
    if (!(now <= timeOf(date) + expires * 1000)) throw new Refused(403, 'AccessDenied');
    return {
      credential: query.get('X-Amz-Credential') ?? '',
      signedHeaders: query.get('X-Amz-SignedHeaders') ?? '',
      signature: query.get('X-Amz-Signature') ?? '',
      date,
      payload: 'UNSIGNED-PAYLOAD',
    };
  }
  const [, credential, signedHeaders, signature] =
    /^AWS4-HMAC-SHA256 Credential=(\S+), SignedHeaders=(\S+), Signature=(\w+)$/.exec(
      headers.authorization ?? '',
    ) ?? [];
  if (credential === undefined || signedHeaders === undefined || signature === undefined)
    throw new Refused(403, 'AccessDenied');
  return { credential, signedHeaders, signature, date: String(headers['x-amz-date']), payload };
}

const timeOf = (date: string): number =>
  Date.parse(date.replace(/^(....)(..)(..)T(..)(..)(..)Z$/, '$1-$2-$3T$4:$5:$6Z'));

/** https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html */
function verifySignature(request: http.IncomingMessage, seen: S3Seen, now: number): void {
  const claimed = claimedBy(seen, now);
  const { credential, signedHeaders, date, payload } = claimed;
  const [id, ...scope] = credential.split('/');
  const day = date.slice(0, 8);
  if (id !== S3_KEY.accessKeyId) throw new Refused(403, 'InvalidAccessKeyId');
  if (scope.join('/') !== `${day}/${REGION}/s3/aws4_request`)
    throw new Refused(400, 'AuthorizationHeaderMalformed');
  if (!(Math.abs(timeOf(date) - now) <= CLOCK_MAX_MS))
    throw new Refused(403, 'RequestTimeTooSkewed');
  const names = signedHeaders.split(';');
  const mustSign = Object.keys(seen.headers).filter((name) => /^(host$|x-amz-)/.test(name));
  if (mustSign.some((name) => !names.includes(name))) throw new Refused(403, 'AccessDenied');
  const query = [...seen.query]
    .filter(([name]) => name !== 'X-Amz-Signature')
    .map(([name, value]) => `${encoded(name)}=${encoded(value)}`)
    .sort();
  const canonical = [
    request.method,
    decodeURIComponent((request.url ?? '').replace(/\?.*$/, ''))
      .split('/')
      .map(encoded)
      .join('/'),
    query.join('&'),
    ...names.map((name) => `${name}:${String(seen.headers[name]).trim()}`),
    '',
    signedHeaders,
    payload,
  ].join('\n');
  const key = [day, REGION, 's3', 'aws4_request'].reduce<string | Buffer>(
    hmac,
    `AWS4${S3_KEY.secretAccessKey}`,
  );
  const text = ['AWS4-HMAC-SHA256', date, scope.join('/'), hash(canonical)].join('\n');
  const right = hmac(key, text);
  const given = Buffer.from(claimed.signature, 'hex');
  if (given.length !== right.length || !timingSafeEqual(given, right))
    throw new Refused(403, 'SignatureDoesNotMatch');
}

function verifyBody({ query, headers }: S3Seen, body: Buffer): void {
  if (query.has('X-Amz-Signature')) return;
  if (headers['x-amz-content-sha256'] !== hash(body))
    throw new Refused(400, 'XAmzContentSHA256Mismatch');
}
