// The real Fetcher, over node:http(s) with kept-alive connections: bounded while streaming, given
// up when idle, resumed by Range, never redirected, never decompressed. The image repository's tree
// may come from any mirror (`http(s)://`, or a `file://` folder of the same layout), tried in order
// before the fleet server, whose word is the last; everything else comes from the fleet server, and
// only the fleet server sees this device's token. What comes is proven by its reader.
import { open as openFile } from 'node:fs/promises';
import http from 'node:http';
import https from 'node:https';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Type } from 'typebox';
import { limits } from '../../shared/base/limits.js';
import { complaints, parseJson } from '../../shared/base/decode.js';
import {
  Fault,
  FAULT_CODES,
  isFault,
  isFaultCode,
  reason,
  systemCode,
  type FaultCode,
} from '../../shared/base/fault-codes.js';
import type { Clock } from '../../shared/base/interfaces.js';
import type { Fetcher } from '../interfaces.js';

const MIRRORED = '/repo/image/';
const TIMESTAMP = '/timestamp.json';
const ERROR_BODY_MAX_BYTES = 8 * 1024;
const MIRROR_REST_MS = 60_000;
const ErrorBody = Type.Object({
  error: Type.Optional(Type.String()),
  code: Type.Optional(Type.String()),
});

export interface HttpFetcherOptions {
  /** `http(s)://host[:port]` of the fleet server. */
  readonly server: string;
  /** `http(s)://...` or `file:///folder`, whose paths are those of the fleet server. */
  readonly mirrors?: readonly string[];
  /**
   * Value of the Authorization header for the fleet server, asked for at each request; null before
   * enrolment.
   */
  readonly authorization: () => Promise<string | null>;
  /** PEM certificates to trust instead of the system's, for https. */
  readonly ca?: string | Uint8Array;
  readonly clock: Clock;
  readonly idleMs?: number;
}

interface Body {
  readonly chunks: AsyncIterable<Uint8Array>;
  /** Ends the transfer early. */
  discard(): void;
}

interface Source {
  readonly name: string;
  /** The body from `offset` on; null when there is no such document. */
  open(path: string, offset: number): Promise<Body | null>;
}

export class HttpFetcher implements Fetcher {
  readonly #options: HttpFetcherOptions;
  readonly #reach: Reach;
  readonly #server: HttpSource;
  readonly #mirrors: readonly Source[];
  /**
   * Mirrors that failed lately, with the (monotonic) time until which the others are asked first.
   */
  readonly #resting = new Map<Source, number>();
  /** Which mirror gave the first bytes of a path last; the oldest are forgotten. */
  readonly #givers = new Map<string, Source>();

  constructor(options: HttpFetcherOptions) {
    this.#options = options;
    const ca =
      options.ca === undefined
        ? {}
        : { ca: typeof options.ca === 'string' ? options.ca : Buffer.from(options.ca) };
    const agents = {
      http: new http.Agent({ keepAlive: true }),
      https: new https.Agent({ keepAlive: true, ...ca }),
    };
    this.#reach = {
      agents,
      clock: options.clock,
      idleMs: options.idleMs ?? limits.fetchIdleMs,
      underWay: new Set(),
      closed: false,
    };
    this.#server = new HttpSource(options.server, options.authorization, this.#reach);
    this.#mirrors = (options.mirrors ?? []).map((url) =>
      url.startsWith('file:')
        ? new FolderSource(url)
        : new HttpSource(url, () => Promise.resolve(null), this.#reach),
    );
  }

  async get(path: string, maxBytes: number): Promise<Uint8Array | null> {
    return this.#fromAny(path, async (source) => {
      const body = await source.open(path, 0);
      return body === null ? null : gather(body, maxBytes, `${source.name}${path}`, this.#reach);
    });
  }

  async open(path: string, offset: number): Promise<AsyncIterable<Uint8Array>> {
    const ask = async (source: Source): Promise<AsyncIterable<Uint8Array> | null> => {
      const found = await source.open(path, offset);
      return found === null ? null : this.#watched(source, path, offset, found);
    };
    const body = await this.#fromAny(path, ask, offset > 0);
    if (body === null) throw new Fault('not_found', `no source has ${path}`);
    return body;
  }

  /** Posts JSON to the fleet server; the answer's JSON, null when it is empty. */
  async post(path: string, body: unknown, maxBytes: number): Promise<unknown> {
    const answer = await this.#server.request('POST', path, {}, Buffer.from(JSON.stringify(body)));
    const status = answer.response.statusCode ?? 0;
    if (status < 200 || status > 299)
      throw await refusal(answer, status, `${this.#server.name}${path}`);
    const bytes = await gather(bodyOf(answer), maxBytes, path, this.#reach);
    return bytes.length === 0 ? null : parseJson(bytes, `the answer to ${path}`);
  }

  /** Ends what is under way with a Fault, and refuses whatever is asked from now on. */
  close(): void {
    this.#reach.closed = true;
    for (const exchange of [...this.#reach.underWay]) exchange.destroy(closedFault());
    this.#reach.agents.http.destroy();
    this.#reach.agents.https.destroy();
  }

  /**
   * The first source that has it. Faults of mirrors only mean the next one; the fleet server's
   * answer, or fault, is the last. But for timestamp.json, which the server alone is asked for (a
   * stale mirror would hold back every order), what stands under a name of the image tree never
   * changes, and who has proven it does not ask again: asked anew for what a mirror gave, that
   * mirror's bytes did not prove, and it rests.
   */
  async #fromAny<T>(
    path: string,
    ask: (source: Source) => Promise<T | null>,
    resumed = false,
  ): Promise<T | null> {
    if (path.startsWith(MIRRORED) && !path.endsWith(TIMESTAMP)) {
      const giver = this.#givers.get(path);
      if (giver !== undefined && !resumed) this.#rest(giver);
      for (const mirror of this.#inOrder()) {
        if (this.#rests(mirror) && giver === mirror) continue;
        try {
          const found = await ask(mirror);
          if (found === null) continue;
          this.#gave(path, mirror);
          return found;
        } catch (error) {
          if (!isFault(error)) throw error;
          this.#rest(mirror);
        }
      }
    }
    return ask(this.#server);
  }

  #gave(path: string, mirror: Source): void {
    this.#givers.delete(path);
    this.#givers.set(path, mirror);
    const [oldest] = this.#givers.keys();
    if (this.#givers.size > limits.fetchGiversMaxCount && oldest !== undefined)
      this.#givers.delete(oldest);
  }

  #inOrder(): Source[] {
    return [...this.#mirrors].sort((a, b) => Number(this.#rests(a)) - Number(this.#rests(b)));
  }

  #rests(mirror: Source): boolean {
    return (this.#resting.get(mirror) ?? 0) > this.#options.clock.monotonic();
  }

  #rest(source: Source): void {
    if (source !== this.#server)
      this.#resting.set(source, this.#options.clock.monotonic() + MIRROR_REST_MS);
  }

  /**
   * No file may go on for ever, and a mirror that breaks in the middle is asked last when the
   * caller resumes.
   */
  async *#watched(
    source: Source,
    path: string,
    offset: number,
    body: Body,
  ): AsyncGenerator<Uint8Array> {
    let position = offset;
    try {
      for await (const chunk of body.chunks) {
        if (this.#reach.closed) throw closedFault();
        position += chunk.length;
        if (position > limits.releaseFileMaxBytes) {
          throw new Fault(
            'file_length',
            `${source.name}${path} goes on after ${limits.releaseFileMaxBytes} bytes`,
          );
        }
        yield chunk;
      }
      // Nothing where more was asked for: its copy is cut short.
      if (offset > 0 && position === offset) this.#rest(source);
    } catch (error) {
      if (isFault(error)) this.#rest(source);
      throw error;
    } finally {
      body.discard();
    }
  }
}

interface Reach {
  readonly agents: { http: http.Agent; https: https.Agent };
  readonly clock: Clock;
  readonly idleMs: number;
  /** Requests that wait for an answer, and answers whose bodies come. */
  readonly underWay: Set<http.ClientRequest | http.IncomingMessage>;
  closed: boolean;
}

interface Answer {
  readonly response: http.IncomingMessage;
  readonly url: string;
  readonly reach: Reach;
}

class HttpSource implements Source {
  readonly name: string;

  constructor(
    base: string,
    private readonly authorization: () => Promise<string | null>,
    private readonly reach: Reach,
  ) {
    this.name = base.replace(/\/+$/, '');
  }

  async open(path: string, offset: number): Promise<Body | null> {
    const headers: http.OutgoingHttpHeaders = offset > 0 ? { range: `bytes=${offset}-` } : {};
    const answer = await this.request('GET', path, headers, null);
    const { response, url } = answer;
    const range = response.headers['content-range'] ?? '';
    switch (response.statusCode) {
      case 200:
        // A server may ignore Range (RFC 9110, 14.2): what was had already is skipped.
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
   * Resolves at the answer's head. A kept-alive connection that the other side had closed meanwhile
   * is replaced once.
   */
  async request(
    method: string,
    path: string,
    headers: http.OutgoingHttpHeaders,
    body: Buffer | null,
  ): Promise<Answer> {
    const token = await this.authorization();
    if (this.reach.closed) throw closedFault();
    const full = { ...headers, ...(token === null ? {} : { authorization: token }) };
    const first = await this.#try(method, path, full, body);
    const last =
      first === 'stale'
        ? await this.#try(method, path, { ...full, connection: 'close' }, body)
        : first;
    if (last === 'stale')
      throw new Fault('server_unreachable', `${this.name} closes every connection`);
    return last;
  }

  #try(
    method: string,
    path: string,
    extra: http.OutgoingHttpHeaders,
    body: Buffer | null,
  ): Promise<Answer | 'stale'> {
    const url = this.name + path;
    const headers = {
      ...extra,
      ...(body === null
        ? {}
        : { 'content-type': 'application/json', 'content-length': body.length }),
    };
    const secure = url.startsWith('https:');
    return new Promise((resolve, reject) => {
      const agent = secure ? this.reach.agents.https : this.reach.agents.http;
      const request = (secure ? https : http).request(url, {
        method,
        headers,
        ...(extra.connection === 'close' ? {} : { agent }),
      });
      const cancel = this.reach.clock.after(this.reach.idleMs, () => {
        request.destroy(
          new Fault('server_unreachable', `${url} did not answer within ${this.reach.idleMs} ms`),
        );
      });
      const { underWay } = this.reach;
      underWay.add(request);
      request.once('close', () => underWay.delete(request));
      request.once('response', (response) => {
        cancel();
        underWay.add(response);
        response.once('close', () => underWay.delete(response));
        resolve({ response, url, reach: this.reach });
      });
      request.on('error', (error) => {
        cancel();
        if (
          !this.reach.closed &&
          request.reusedSocket &&
          (systemCode(error) === 'ECONNRESET' || systemCode(error) === 'EPIPE')
        )
          return resolve('stale');
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

/** A folder (a USB stick, a mounted share) with the layout of the repository's URLs. */
class FolderSource implements Source {
  readonly name: string;
  readonly #folder: string;

  constructor(url: string) {
    this.name = url.replace(/\/+$/, '');
    this.#folder = fileURLToPath(url);
  }

  async open(path: string, offset: number): Promise<Body | null> {
    if (path.split(/[\\/]/).includes('..'))
      throw new Fault('not_found', `${path} leaves the folder`);
    try {
      const file = await openFile(join(this.#folder, path), 'r');
      const stream = file.createReadStream({
        start: offset,
        highWaterMark: limits.fetchChunkBytes,
      });
      return { chunks: faulted(stream, this.name + path), discard: () => stream.destroy() };
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return null;
      throw new Fault('server_unreachable', `${this.name}${path}: ${reason(error)}`, {
        cause: error,
      });
    }
  }
}

function closedFault(): Fault {
  return new Fault('server_unreachable', 'the fetcher is closed');
}

async function* nothing(): AsyncGenerator<Uint8Array> {}

async function* faulted(
  chunks: AsyncIterable<Uint8Array>,
  name: string,
): AsyncGenerator<Uint8Array> {
  try {
    yield* chunks;
  } catch (error) {
    throw isFault(error)
      ? error
      : new Fault('fetch_interrupted', `${name}: ${reason(error)}`, { cause: error });
  }
}

function bodyOf(answer: Answer, skip = 0): Body {
  return { chunks: streamOf(answer, skip), discard: () => answer.response.destroy() };
}

/**
 * The body's chunks after `skip` bytes. Time runs only while a chunk is awaited: a slow reader is
 * not a slow server. Who sends nothing for idleMs is given up, and so is who sends, idleMs after
 * idleMs, less than a link that is of use would carry.
 */
async function* streamOf(
  { response, url, reach }: Answer,
  skip: number,
): AsyncGenerator<Uint8Array> {
  let left = skip;
  const window = { ms: 0, bytes: 0 };
  const chunks = response[Symbol.asyncIterator]() as AsyncIterator<Buffer, undefined>;
  try {
    for (;;) {
      const cancel = reach.clock.after(reach.idleMs, () => {
        response.destroy(
          new Fault('fetch_interrupted', `${url} sent nothing for ${reach.idleMs} ms`),
        );
      });
      const since = reach.clock.monotonic();
      const { value, done } = await chunks.next().finally(cancel);
      if (done === true) break;
      window.ms += reach.clock.monotonic() - since;
      window.bytes += value.length;
      if (window.ms >= reach.idleMs) {
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
      `${url} is ${left} bytes shorter than what was had already`,
    );
}

/** A small document, whole, within its length and time. */
async function gather(
  body: Body,
  maxBytes: number,
  name: string,
  { clock }: Reach,
): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  // The reading below then ends with a Fault.
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

/**
 * The Fault that an error answer means. A refusal that the server names by code keeps that code;
 * its words are kept always.
 */
async function refusal(answer: Answer, status: number, name: string): Promise<Fault> {
  const { error, code } = await errorBody(answer);
  const reasons = [
    `${name} answered ${status}`,
    error,
    code === undefined ? undefined : `(${code})`,
  ]
    .filter((part) => part !== undefined)
    .join(' ');
  if (
    status >= 400 &&
    status < 500 &&
    code !== undefined &&
    isFaultCode(code) &&
    FAULT_CODES[code].kind === 'refused'
  )
    return new Fault(code, reasons);
  return new Fault(codeOf(status), reasons);
}

function codeOf(status: number): FaultCode {
  if (status === 401) return 'auth_missing';
  if (status === 403) return 'auth_denied';
  if (status === 404 || status === 410) return 'not_found';
  if (status === 409) return 'conflict';
  if (status === 408 || status === 429) return 'server_unreachable';
  if (status >= 400 && status < 500) return 'message_undecodable';
  // 5xx: in trouble. 1xx and 3xx: not the server that was meant; a redirect is never followed, it
  // could lead anywhere.
  return 'server_unreachable';
}

async function errorBody(answer: Answer): Promise<{ error?: string; code?: string }> {
  try {
    const value = parseJson(
      await gather(bodyOf(answer), ERROR_BODY_MAX_BYTES, answer.url, answer.reach),
      'an error answer',
    );
    return complaints(ErrorBody, value).length === 0
      ? (value as { error?: string; code?: string })
      : {};
  } catch (error) {
    if (isFault(error)) return {}; // Not ours, too long or cut short: the status says enough.
    throw error;
  }
}
