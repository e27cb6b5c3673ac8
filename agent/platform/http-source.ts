// Files over HTTP(S): kept-alive connections, limited while streaming, aborted when idle or too
// slow, resumed by Range, never decompressed. Only the download of a file follows redirects, a few,
// to https or to the scheme of the server itself: the bytes are verified by their digest, wherever
// they come from. Another host sees no token, tells no time, and its errors are not the server's.
import type http from 'node:http';
import { limits } from '../../shared/base/limits.js';
import { Fault, isFault, reason, systemCode } from '../../shared/base/fault-codes.js';
import type { Clock } from '../../shared/base/interfaces.js';
import type { HttpConnector } from '../../shared/platform/http-connector.js';
import { refusalFault } from '../../shared/platform/http-refusal.js';
import { TRACES_HEADER } from '../../shared/protocol/assignment-traces.js';
import { TIME_HEADER } from '../../shared/protocol/device-api.js';
import type { Body, Source, What } from './source.js';

const UNAUTHORIZED = 401;

/** What all HTTP sources of one fetcher share. */
export interface HttpTransport {
  readonly connector: HttpConnector;
  readonly clock: Clock;
  readonly idleMs: number;
  /** Requests without an answer yet, and answers whose bodies are being read. */
  readonly underWay: Set<http.ClientRequest | http.IncomingMessage>;
  closed: boolean;
}

export interface Answer {
  readonly response: http.IncomingMessage;
  /** For messages. */
  readonly url: string;
  /** Of the request, with its query. */
  readonly target: string;
  readonly transport: HttpTransport;
}

export interface TaggedDocument {
  /** Empty when the server gave none. */
  readonly etag: string;
  readonly bytes: Uint8Array;
}

export class HttpSource implements Source {
  readonly name: string;
  readonly #authorization: () => Promise<string | null>;
  readonly #transport: HttpTransport;
  readonly #onTime: (serverMs: number) => boolean;
  readonly #onTraces: (header: string) => void;

  /**
   * `onTime` is told of the time that an answer names; true when that moved the present. `onTraces`
   * is told of the header TRACES_HEADER.
   */
  constructor(
    base: string,
    authorization: () => Promise<string | null>,
    transport: HttpTransport,
    onTime: (serverMs: number) => boolean = () => false,
    onTraces: (header: string) => void = () => {},
  ) {
    this.#authorization = authorization;
    this.#transport = transport;
    this.#onTime = onTime;
    this.#onTraces = onTraces;
    this.name = base.replace(/\/+$/, '');
  }

  async open(path: string, offset: number, what: What): Promise<Body | null> {
    const headers: http.OutgoingHttpHeaders = offset > 0 ? { range: `bytes=${offset}-` } : {};
    const first = await this.request('GET', path, headers, null);
    const answer = what === 'file' ? await this.#followed(first, headers) : first;
    const { response, url } = answer;
    const range = response.headers['content-range'] ?? '';
    switch (response.statusCode) {
      case 200:
        // A server may ignore Range (RFC 9110, 14.2): the bytes before `offset` are skipped.
        return bodyOf(answer, offset);
      case 206:
        if (range.startsWith(`bytes ${offset}-`)) return bodyOf(answer);
        response.destroy();
        throw new Fault(
          'fetch_interrupted',
          `${url} answered the range ${range} instead of ${offset}-`,
        );
      case 404:
        await errorBody(answer);
        return null;
      case 416:
        await errorBody(answer);
        if (range === `bytes */${offset}`) return { chunks: nothing(), discard: () => {} };
        throw new Fault('fetch_interrupted', `${url} has no bytes from ${offset} on (${range})`);
      default:
        throw await refusal(answer, response.statusCode ?? 0, url);
    }
  }

  /**
   * The answer that redirects lead to. Another host cannot refuse in the server's name: what brings
   * no bytes from there is a temporary failure. Faults: fetch_interrupted.
   */
  async #followed(first: Answer, headers: http.OutgoingHttpHeaders): Promise<Answer> {
    let answer = first;
    for (let hops = 0; isRedirect(answer.response); hops += 1) {
      const target = redirectTarget(answer);
      await errorBody(answer);
      const isAllowed = target.protocol === 'https:' || target.protocol === this.#protocol;
      const to = withoutSecrets(target);
      if (!isAllowed || target.username !== '' || target.password !== '')
        throw new Fault('fetch_interrupted', `${answer.url} redirects to ${to}: not followed`);
      if (hops >= limits.redirectsMaxCount)
        throw new Fault('fetch_interrupted', `${this.name} redirects more than ${hops} times`);
      answer = await this.#sent('GET', target.href, headers, null);
    }
    const { statusCode = 0 } = answer.response;
    if (answer === first || FILE_STATUSES.has(statusCode)) return answer;
    await errorBody(answer);
    throw new Fault('fetch_interrupted', `${answer.url} answered ${statusCode}`);
  }

  get #protocol(): string {
    return new URL(this.name).protocol;
  }

  /** A whole document; the known one when the server says that it has not changed (304). */
  async document(
    path: string,
    maxBytes: number,
    known: TaggedDocument | null,
  ): Promise<TaggedDocument | null> {
    const headers = known === null ? {} : { 'if-none-match': known.etag };
    const answer = await this.request('GET', path, headers, null);
    const { response, url } = answer;
    if (response.statusCode === 200) {
      const bytes = await gather(bodyOf(answer), maxBytes, url, this.#transport);
      const traces = response.headers[TRACES_HEADER];
      if (typeof traces === 'string') this.#onTraces(traces);
      return { etag: response.headers.etag ?? '', bytes };
    }
    if (response.statusCode === 304 && known !== null) {
      await errorBody(answer);
      return known;
    }
    if (response.statusCode !== 404) throw await refusal(answer, response.statusCode ?? 0, url);
    await errorBody(answer);
    return null;
  }

  /**
   * Resolves with the head of the answer. A request whose token was refused for its time is sent
   * once more, with a token of the time that the answer names.
   */
  async request(
    method: string,
    path: string,
    headers: http.OutgoingHttpHeaders,
    body: Buffer | null,
  ): Promise<Answer> {
    const first = await this.#once(method, path, headers, body);
    const moved = this.#observeTime(first);
    if (!moved || first.response.statusCode !== UNAUTHORIZED) return first;
    await errorBody(first);
    const second = await this.#once(method, path, headers, body);
    this.#observeTime(second);
    return second;
  }

  #observeTime({ response }: Answer): boolean {
    const named = response.headers[TIME_HEADER];
    return typeof named === 'string' && /^\d{1,15}$/.test(named) && this.#onTime(Number(named));
  }

  /**
   * A request on a kept-alive connection that the other side had closed is sent once more, on a new
   * connection.
   */
  async #once(
    method: string,
    path: string,
    headers: http.OutgoingHttpHeaders,
    body: Buffer | null,
  ): Promise<Answer> {
    const token = await this.#authorization();
    if (this.#transport.closed) throw closedFault();
    const full = { ...headers, ...(token === null ? {} : { authorization: token }) };
    return this.#sent(method, this.name + path, full, body);
  }

  async #sent(
    method: string,
    url: string,
    headers: http.OutgoingHttpHeaders,
    body: Buffer | null,
  ): Promise<Answer> {
    if (this.#transport.closed) throw closedFault();
    const first = await this.#try(method, url, headers, body);
    const last =
      first === 'stale'
        ? await this.#try(method, url, { ...headers, connection: 'close' }, body)
        : first;
    if (last === 'stale')
      throw new Fault('server_unreachable', `${new URL(url).origin} closes every connection`);
    return last;
  }

  #try(
    method: string,
    target: string,
    extra: http.OutgoingHttpHeaders,
    body: Buffer | null,
  ): Promise<Answer | 'stale'> {
    const url = withoutSecrets(new URL(target));
    const headers = {
      ...extra,
      ...(body === null
        ? {}
        : { 'content-type': 'application/json', 'content-length': body.length }),
    };
    const fresh = extra.connection === 'close';
    return new Promise((resolve, reject) => {
      const request = this.#transport.connector.request(target, { method, headers, fresh });
      const cancel = this.#transport.clock.after(this.#transport.idleMs, () => {
        request.destroy(
          new Fault(
            'server_unreachable',
            `${url} did not answer within ${this.#transport.idleMs} ms`,
          ),
        );
      });
      const { underWay } = this.#transport;
      underWay.add(request);
      request.once('close', () => underWay.delete(request));
      request.once('response', (response) => {
        cancel();
        underWay.add(response);
        response.once('close', () => underWay.delete(response));
        resolve({ response, url, target, transport: this.#transport });
      });
      request.on('error', (error) => {
        cancel();
        if (
          !this.#transport.closed &&
          request.reusedSocket &&
          (systemCode(error) === 'ECONNRESET' || systemCode(error) === 'EPIPE')
        ) {
          resolve('stale');
          return;
        }
        reject(
          isFault(error)
            ? error
            : new Fault('server_unreachable', `${url}: ${error.message}`, { cause: error }),
        );
      });
      request.end(body ?? undefined);
    });
  }
}

/** Answers that bring a file, or say that all of it is here. */
const FILE_STATUSES: ReadonlySet<number> = new Set([200, 206, 416]);

const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
const isRedirect = ({ statusCode = 0, headers }: http.IncomingMessage): boolean =>
  REDIRECTS.has(statusCode) && headers.location !== undefined;

/** Faults: fetch_interrupted. */
function redirectTarget({ response, target, url }: Answer): URL {
  const { location = '' } = response.headers;
  if (!URL.canParse(location, target))
    throw new Fault('fetch_interrupted', `${url} redirects to what is no URL`);
  return new URL(location, target);
}

/** For messages: the query of a link is a secret. */
function withoutSecrets({ origin, pathname }: URL): string {
  return origin + pathname;
}

export function closedFault(): Fault {
  return new Fault('server_unreachable', 'the fetcher is closed');
}

async function* nothing(): AsyncGenerator<Uint8Array> {}

export function bodyOf(answer: Answer, skip = 0): Body {
  return { chunks: streamOf(answer, skip), discard: () => answer.response.destroy() };
}

/**
 * The chunks of the body after `skip` bytes. Time counts only while a chunk is awaited: a slow
 * reader is not a slow server. Aborts when no byte arrives for idleMs, or when the throughput over
 * such a time is below fetchRateMinBytes.
 */
async function* streamOf(
  { response, url, transport }: Answer,
  skip: number,
): AsyncGenerator<Uint8Array> {
  let left = skip;
  const window = { ms: 0, bytes: 0 };
  const chunks = response[Symbol.asyncIterator]() as AsyncIterator<Buffer, undefined>;
  try {
    for (;;) {
      const cancel = transport.clock.after(transport.idleMs, () => {
        response.destroy(
          new Fault('fetch_interrupted', `${url} sent nothing for ${transport.idleMs} ms`),
        );
      });
      const since = transport.clock.monotonic();
      const { value, done } = await chunks.next().finally(cancel);
      if (done === true) break;
      window.ms += transport.clock.monotonic() - since;
      window.bytes += value.length;
      if (window.ms >= transport.idleMs) {
        if (window.bytes < (window.ms / 1000) * limits.fetchRateMinBytes)
          throw new Fault(
            'fetch_interrupted',
            `${url} sent ${window.bytes} bytes in ${Math.round(window.ms)} ms: too slow`,
          );
        window.ms = window.bytes = 0;
      }
      const dropped = Math.min(left, value.length);
      left -= dropped;
      if (dropped < value.length) yield value.subarray(dropped);
    }
  } catch (error) {
    throw isFault(error)
      ? error
      : new Fault('fetch_interrupted', `${url}: ${reason(error)}`, { cause: error });
  } finally {
    if (!response.complete) response.destroy();
  }
  if (!response.complete) throw new Fault('fetch_interrupted', `${url} ended too early`);
  if (left > 0)
    throw new Fault(
      'fetch_interrupted',
      `${url} is ${left} bytes shorter than what is here already`,
    );
}

/** A small document as a whole, limited in length and time. */
export async function gather(
  body: Body,
  maxBytes: number,
  name: string,
  { clock }: HttpTransport,
): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  // The loop below then ends with a Fault.
  const cancel = clock.after(limits.fetchDocumentMs, () => body.discard());
  try {
    for await (const chunk of body.chunks) {
      length += chunk.length;
      if (length > maxBytes)
        throw new Fault('metadata_too_large', `${name} has more than ${maxBytes} bytes`);
      pieces.push(chunk);
    }
  } catch (error) {
    body.discard();
    throw error;
  } finally {
    cancel();
  }
  return new Uint8Array(Buffer.concat(pieces));
}

/** The Fault for an error answer, which `name` gave. */
export async function refusal(answer: Answer, status: number, name: string): Promise<Fault> {
  const { location, 'retry-after': retryAfter } = answer.response.headers;
  return refusalFault({ status, body: await errorBody(answer), location, retryAfter }, name);
}

/** Empty where it is too long or cut short: the status is enough. */
async function errorBody(answer: Answer): Promise<Uint8Array> {
  try {
    return await gather(bodyOf(answer), limits.errorBodyMaxBytes, answer.url, answer.transport);
  } catch (error) {
    if (isFault(error)) return new Uint8Array();
    throw error;
  }
}
