// Requests to an S3 bucket: signed (AWS Signature Version 4, by aws4), retried with backoff when
// the store fails or the connection breaks, and given up when nothing moves. Every body is hashed
// into its signature, so the store itself refuses bytes that changed on the way. A request says
// which statuses it expects; every other one is a Fault with the store's own error code. All
// requests that this module retries may be done twice.
import type http from 'node:http';
import type { Readable } from 'node:stream';
import aws4 from 'aws4';
import { Fault } from '../../shared/base/fault-codes.js';
import type { Clock, Random } from '../../shared/base/interfaces.js';
import { limits } from '../../shared/base/limits.js';
import { RunningDigest } from '../../shared/platform/hashing.js';
import type { Proxies } from '../../shared/platform/proxies.js';
import { leaves } from './s3-answers.js';
import type { S3Credentials, S3Location } from './s3-settings.js';
import { StoreConnection, type Body, type StoreRequest } from './store-connection.js';

export interface S3ClientOptions {
  readonly location: S3Location;
  readonly credentials: S3Credentials;
  readonly clock: Clock;
  readonly random: Random;
  readonly proxies: Proxies;
}

export interface S3Request {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE';
  /** Within the prefix; undefined for a request to the bucket. */
  readonly name?: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly range?: string;
  readonly body?: Body;
  /** Statuses that are an answer; others are faults. */
  readonly expected: readonly number[];
}

export interface S3Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly text: string;
}

/** An answer whose body is read by the caller, or destroyed. */
export interface S3Body {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  /** Ends with a Fault unless it has brought as many bytes as its headers say. */
  readonly stream: Readable;
}

const SERVICE = 's3';
const TOO_MANY = 429;
const FAILING = 500;

export class S3Client {
  readonly #options: S3ClientOptions;
  readonly #connection: StoreConnection;
  readonly #host: string;

  constructor(options: S3ClientOptions) {
    this.#options = options;
    const { name, hostname, port } = options.location;
    const { clock, random, proxies } = options;
    this.#connection = new StoreConnection({ name, clock, random, proxies });
    this.#host = port === '' ? hostname : `${hostname}:${port}`;
  }

  /** The whole answer. Faults: artifact_store_unreachable, artifact_store_refused. */
  call(request: S3Request): Promise<S3Answer> {
    return this.#connection.retried(async () => {
      const response = await this.#sent(request);
      const text = await this.#connection.text(response);
      const status = response.statusCode ?? 0;
      // The end of a multipart upload answers 200 before it is done, and may then fail.
      const hasFailed = !request.expected.includes(status) || leaves(text, 'Code').length > 0;
      if (hasFailed && !(request.expected.includes(status) && status >= 400))
        throw this.#fault(request, status, text);
      return { status, headers: response.headers, text };
    });
  }

  /** An answer whose body is a stream. Faults as of `call`. */
  open(request: S3Request): Promise<S3Body> {
    return this.#connection.retried(async () => {
      const response = await this.#sent(request);
      const status = response.statusCode ?? 0;
      if (!request.expected.includes(status))
        throw this.#fault(request, status, await this.#connection.text(response));
      return { status, headers: response.headers, stream: this.#connection.body(response) };
    });
  }

  /** A URL that reads the object for a short time, for anyone who has it. */
  link(name: string): string {
    const { location, credentials } = this.#options;
    const query = new URLSearchParams({
      'X-Amz-Date': this.#date(),
      'X-Amz-Expires': String(Math.floor(limits.s3LinkMs / 1000)),
    });
    const { path } = aws4.sign(
      {
        ...{ service: SERVICE, region: location.region, method: 'GET', signQuery: true },
        headers: { host: this.#host },
        path: `${location.root}${location.prefix}${name}?${query.toString()}`,
      },
      credentials,
    );
    return `${location.protocol}//${this.#host}${path ?? ''}`;
  }

  close(): void {
    this.#connection.close();
  }

  #sent(request: S3Request): Promise<http.IncomingMessage> {
    const { body = [] } = request;
    return this.#connection.send(this.#signed(request, body), body);
  }

  #signed(request: S3Request, body: Body): StoreRequest {
    const { location, credentials } = this.#options;
    const { root, prefix, region, protocol } = location;
    const digest = new RunningDigest();
    let length = 0;
    for (const chunk of body) length = digest.update(chunk).length;
    const path = request.name === undefined ? root : `${root}${prefix}${request.name}`;
    const query = new URLSearchParams(request.query).toString();
    const {
      method,
      path: signedPath,
      headers,
    } = aws4.sign(
      {
        ...{ service: SERVICE, region, method: request.method },
        path: query === '' ? path : `${path}?${query}`,
        headers: {
          host: this.#host,
          'content-length': length,
          'x-amz-content-sha256': digest.end().sha256,
          'x-amz-date': this.#date(),
          ...(request.range === undefined ? {} : { range: request.range }),
        },
      },
      credentials,
    );
    return {
      url: `${protocol}//${this.#host}${signedPath ?? ''}`,
      method: method ?? request.method,
      headers: headers ?? {},
    };
  }

  /** `20260102T030405Z` */
  #date(): string {
    const iso = new Date(this.#options.clock.now()).toISOString();
    return `${iso.slice(0, 'yyyy-mm-ddThh:mm:ss'.length).replace(/[-:]/g, '')}Z`;
  }

  #fault(request: S3Request, status: number, text: string): Fault {
    const [code = ''] = leaves(text, 'Code');
    const [message = ''] = leaves(text, 'Message');
    const said = `${code} ${message}`.trim().slice(0, limits.quotedMaxChars);
    const what = `${request.method} answered ${status}${said === '' ? '' : ` (${said})`}`;
    // 200: an end of a multipart upload that failed after its head was sent.
    const isTemporary = status >= FAILING || status === TOO_MANY || status === 408 || status < 300;
    return isTemporary
      ? this.#connection.unreachable(what)
      : new Fault('artifact_store_refused', `${this.#options.location.name}: ${what}`);
  }
}
