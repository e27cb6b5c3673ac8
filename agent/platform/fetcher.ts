// The Fetcher over HTTP(S) and folders. The tree of the image repository may come from any mirror
// (`http(s)://`, or a `file://` folder of the same layout); mirrors are tried in order before the
// fleet server, whose answer is final. Everything else comes from the fleet server, and only the
// fleet server sees this device's token. The reader of the bytes verifies them.
import { limits } from '../../shared/base/limits.js';
import { parseJson } from '../../shared/base/decode.js';
import { Fault, isFault } from '../../shared/base/fault-codes.js';
import type { Clock } from '../../shared/base/interfaces.js';
import { HttpConnector } from '../../shared/platform/http-connector.js';
import { Proxies } from '../../shared/platform/proxies.js';
import type { Fetcher } from '../interfaces.js';
import { FolderSource } from './folder-source.js';
import {
  bodyOf,
  closedFault,
  gather,
  HttpSource,
  refusal,
  type HttpTransport,
  type TaggedDocument,
} from './http-source.js';
import type { Body, Source } from './source.js';

const MIRRORED = '/repo/image/';
const TIMESTAMP = '/timestamp.json';

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
  /** Told of the time in each answer of the fleet server; true when that moved the present. */
  readonly onServerTime?: (serverMs: number) => boolean;
  /** Told of the header TRACES_HEADER of a timestamp of the fleet server. */
  readonly onTraces?: (header: string) => void;
  /** PEM certificates to trust instead of the system's, for https. */
  readonly ca?: string | Uint8Array;
  /** Without it, everything is asked directly. */
  readonly proxies?: Proxies;
  readonly clock: Clock;
  readonly idleMs?: number;
}

export class HttpFetcher implements Fetcher {
  /** The last answers by path, one for each repository, and when they came. */
  readonly #timestamps = new Map<string, TaggedDocument & { readonly at: number }>();
  readonly #options: HttpFetcherOptions;
  readonly #transport: HttpTransport;
  readonly #server: HttpSource;
  readonly #mirrors: readonly Source[];
  /** Mirrors that failed lately, and until when (monotonic) the others are asked first. */
  readonly #resting = new Map<Source, number>();
  /** Which mirror last gave the first bytes of a path; the oldest entries are removed. */
  readonly #givers = new Map<string, Source>();

  constructor(options: HttpFetcherOptions) {
    this.#options = options;
    const { ca } = options;
    this.#transport = {
      connector: new HttpConnector({
        proxies: options.proxies ?? new Proxies({}),
        keepAlive: true,
        ca: ca === undefined || typeof ca === 'string' ? ca : Buffer.from(ca),
      }),
      clock: options.clock,
      idleMs: options.idleMs ?? limits.fetchIdleMs,
      underWay: new Set(),
      closed: false,
    };
    this.#server = new HttpSource(
      options.server,
      options.authorization,
      this.#transport,
      options.onServerTime,
      options.onTraces,
    );
    this.#mirrors = (options.mirrors ?? []).map((url) =>
      url.startsWith('file:')
        ? new FolderSource(url)
        : new HttpSource(url, () => Promise.resolve(null), this.#transport),
    );
  }

  async get(path: string, maxBytes: number): Promise<Uint8Array | null> {
    if (path.endsWith(TIMESTAMP)) return this.#timestamp(path, maxBytes);
    return this.#fromAny(path, async (source) => {
      const body = await source.open(path, 0, 'document');
      return body === null
        ? null
        : gather(body, maxBytes, `${source.name}${path}`, this.#transport);
    });
  }

  /**
   * What is polled: asked for by its entity tag, so that a poll where nothing changed costs the
   * server and the network little. It is fetched whole again after a while, because what was
   * damaged on its way would otherwise be taken for unchanged.
   */
  async #timestamp(path: string, maxBytes: number): Promise<Uint8Array | null> {
    const now = this.#options.clock.monotonic();
    const before = this.#timestamps.get(path);
    const known = before !== undefined && now - before.at < limits.revalidatedMs ? before : null;
    const found = await this.#server.document(path, maxBytes, known);
    if (found === null || found.etag === '') this.#timestamps.delete(path);
    else if (found !== known) this.#timestamps.set(path, { ...found, at: now });
    return found?.bytes ?? null;
  }

  async open(path: string, offset: number): Promise<AsyncIterable<Uint8Array>> {
    const ask = async (source: Source): Promise<AsyncIterable<Uint8Array> | null> => {
      const found = await source.open(path, offset, 'file');
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
    const bytes = await gather(bodyOf(answer), maxBytes, path, this.#transport);
    return bytes.length === 0 ? null : parseJson(bytes, `the answer to ${path}`);
  }

  /** Ends every transfer with a Fault and refuses every later request. */
  close(): void {
    this.#transport.closed = true;
    for (const exchange of [...this.#transport.underWay]) exchange.destroy(closedFault());
    this.#transport.connector.destroy();
  }

  /**
   * The first source that has it. A Fault of a mirror only means that the next one is asked; the
   * answer of the fleet server, or its Fault, is final. timestamp.json comes from the server alone:
   * a stale mirror would hold back every assignment. Everything else in the image tree never
   * changes under its name, and a reader that has verified it does not ask again. So a path that is
   * asked for again failed verification, and the mirror that gave it is skipped for a while.
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
      this.#resting.set(source, this.#options.clock.monotonic() + limits.mirrorPauseMs);
  }

  /**
   * Limits the length of any file. A mirror that breaks in the middle is asked last when the caller
   * resumes.
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
        if (this.#transport.closed) throw closedFault();
        position += chunk.length;
        if (position > limits.releaseFileMaxBytes) {
          throw new Fault(
            'file_length',
            `${source.name}${path} is longer than ${limits.releaseFileMaxBytes} bytes`,
          );
        }
        yield chunk;
      }
      // No byte although more was asked for: the copy of this mirror is too short.
      if (offset > 0 && position === offset) this.#rest(source);
    } catch (error) {
      if (isFault(error)) this.#rest(source);
      throw error;
    } finally {
      body.discard();
    }
  }
}
