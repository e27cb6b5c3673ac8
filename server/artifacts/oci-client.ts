// Requests to one repository of an OCI registry (distribution specification 1.1): logged in as the
// registry asks for, retried with backoff when it fails or the connection breaks, and given up when
// nothing moves. A request says which statuses it expects; every other one is a Fault with the
// registry's own error code. A registry may keep its bytes elsewhere and redirect: a GET follows,
// never from https to http, and another host gets no secret.
import type http from 'node:http';
import type { Readable } from 'node:stream';
import { Type } from 'typebox';
import { complaints } from '../../shared/base/decode.js';
import { Fault } from '../../shared/base/fault-codes.js';
import type { Clock, Random } from '../../shared/base/interfaces.js';
import { limits } from '../../shared/base/limits.js';
import type { Proxies } from '../../shared/platform/proxies.js';
import { OciLogin } from './oci-login.js';
import type { OciCredentials, OciLocation } from './oci-settings.js';
import { StoreConnection, type Body } from './store-connection.js';

export interface OciClientOptions {
  readonly location: OciLocation;
  readonly credentials: OciCredentials | null;
  readonly clock: Clock;
  readonly random: Random;
  readonly proxies: Proxies;
}

export interface OciRequest {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'PATCH' | 'DELETE';
  /** Relative to the repository, or what an answer named. */
  readonly at: string | URL;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Body;
  /** Statuses that are an answer; others are faults. */
  readonly expected: readonly number[];
  /** Without a login, as a device would ask; a redirect is an answer then. */
  readonly isAnonymous?: boolean;
  /** An error code of the registry that passes: `call` sends the request again. */
  readonly passingCode?: string;
}

export interface OciAnswer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly text: string;
  /** Where the answer says that something is. */
  readonly location: URL | null;
}

/** An answer whose body is read by the caller, or destroyed. */
export interface OciBody {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  /** Ends with a Fault unless it has brought as many bytes as its headers say. */
  readonly stream: Readable;
}

const OK = 200;
const UNAUTHORIZED = 401;
const ABSENT = 404;
const TIMED_OUT = 408;
const TOO_MANY = 429;
const FAILING = 500;
export const REDIRECTS: readonly number[] = [301, 302, 303, 307, 308];

const Errors = Type.Object({
  errors: Type.Array(Type.Object({ code: Type.String(), message: Type.Optional(Type.String()) }), {
    minItems: 1,
  }),
});

export class OciClient {
  readonly #options: OciClientOptions;
  readonly #connection: StoreConnection;
  readonly #login: OciLogin;

  constructor(options: OciClientOptions) {
    this.#options = options;
    const { location, clock, random, proxies } = options;
    const { name, ca } = location;
    this.#connection = new StoreConnection({
      ...{ name, clock, random, proxies },
      ...(ca === null ? {} : { ca }),
    });
    this.#login = new OciLogin({
      ...options,
      fetchText: (url, authorization) => this.#tokenText(url, authorization),
    });
  }

  /** The whole answer. Faults: artifact_store_unreachable, artifact_store_refused. */
  call(request: OciRequest): Promise<OciAnswer> {
    return this.retried(() => this.callOnce(request));
  }

  /** As `call`, for what cannot simply be sent again. */
  async callOnce(request: OciRequest): Promise<OciAnswer> {
    const { response, url } = await this.#answered(request);
    const text = await this.#connection.text(response);
    const status = response.statusCode ?? 0;
    if (!request.expected.includes(status)) throw this.#fault(request, status, text);
    const { location } = response.headers;
    return {
      ...{ status, headers: response.headers, text },
      location: location === undefined ? null : this.#named(location, url),
    };
  }

  /** The attempt again after artifact_store_unreachable, within limits. */
  retried<T>(attempt: () => Promise<T>): Promise<T> {
    return this.#connection.retried(attempt);
  }

  /** An answer whose body is a stream. Faults as of `call`. */
  open(request: OciRequest): Promise<OciBody> {
    return this.retried(async () => {
      const { response } = await this.#answered(request);
      const status = response.statusCode ?? 0;
      if (!request.expected.includes(status))
        throw this.#fault(request, status, await this.#connection.text(response));
      return { status, headers: response.headers, stream: this.#connection.body(response) };
    });
  }

  close(): void {
    this.#connection.close();
  }

  /** The head of the last answer, after login and redirects. */
  async #answered(request: OciRequest): Promise<{ response: http.IncomingMessage; url: URL }> {
    let url = new URL(request.at, this.#options.location.base);
    for (let redirects = 0; ; redirects += 1) {
      const response = await this.#sent(request, url);
      const status = response.statusCode ?? 0;
      const { location } = response.headers;
      const isFollowed =
        request.method === 'GET' && request.isAnonymous !== true && REDIRECTS.includes(status);
      if (!isFollowed || location === undefined) {
        // Where the registry itself sent us, nothing is absent for good.
        if (redirects > 0 && status === ABSENT) {
          response.destroy();
          throw this.#connection.unreachable(`${url.host}, where it redirects to, answered 404`);
        }
        return { response, url };
      }
      response.destroy();
      if (redirects === limits.ociRedirectsMaxCount)
        throw this.#refused(`redirects more than ${limits.ociRedirectsMaxCount} times`);
      url = this.#named(location, url);
    }
  }

  /** The head of the answer from one address; after a first 401, as the challenge asks. */
  async #sent(request: OciRequest, url: URL): Promise<http.IncomingMessage> {
    const isOurs = url.origin === this.#options.location.base.origin;
    const hasLogin = isOurs && request.isAnonymous !== true;
    const used = hasLogin ? await this.#login.authorization() : null;
    const response = await this.#request(request, url, used);
    if (response.statusCode !== UNAUTHORIZED || !hasLogin) return response;
    if (!this.#login.learn(response.headers['www-authenticate'] ?? '', used)) return response;
    await this.#connection.text(response);
    return this.#request(request, url, await this.#login.authorization());
  }

  #request(
    { method, headers = {}, body = [] }: Pick<OciRequest, 'method' | 'headers' | 'body'>,
    url: URL,
    authorization: string | null,
  ): Promise<http.IncomingMessage> {
    const length = body.reduce((sum, chunk) => sum + chunk.length, 0);
    const hasLength = method !== 'GET' && method !== 'HEAD';
    return this.#connection.send(
      {
        url: url.href,
        method,
        headers: {
          ...headers,
          ...(hasLength ? { 'content-length': length } : {}),
          ...(authorization === null ? {} : { authorization }),
        },
      },
      body,
    );
  }

  async #tokenText(url: URL, authorization: string | null): Promise<string> {
    const request = { method: 'GET', at: url, expected: [OK] } as const;
    const response = await this.#request(request, url, authorization);
    const text = await this.#connection.text(response);
    const status = response.statusCode ?? 0;
    if (status !== OK) throw this.#fault(request, status, text, `token service ${url.host}`);
    return text;
  }

  /** An address that an answer named. */
  #named(location: string, from: URL): URL {
    const url = URL.canParse(location, from.href) ? new URL(location, from) : null;
    if (url?.protocol === 'https:') return url;
    if (url?.protocol === 'http:' && from.protocol === 'http:') return url;
    throw this.#refused('names an address that is not https: it may be wrong behind its proxy');
  }

  #fault({ method, passingCode }: OciRequest, status: number, text: string, who = ''): Fault {
    const error = errorOf(text);
    const said = error.slice(0, limits.quotedMaxChars);
    const what = `${who === '' ? '' : `${who}: `}${method} answered ${status}${said}`;
    const isPassing = passingCode !== undefined && error.startsWith(` (${passingCode} `);
    const isTemporary =
      status >= FAILING || status === TOO_MANY || status === TIMED_OUT || isPassing;
    return isTemporary ? this.#connection.unreachable(what) : this.#refused(what);
  }

  #refused(what: string): Fault {
    return new Fault('artifact_store_refused', `${this.#options.location.name}: ${what}`);
  }
}

/** ` (CODE message)` of the first error, or nothing. */
export function errorOf(text: string): string {
  let answer: unknown;
  try {
    answer = JSON.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return '';
  }
  if (complaints(Errors, answer).length > 0) return '';
  const [first] = (answer as { errors: { code: string; message?: string }[] }).errors;
  return ` (${`${first?.code ?? ''} ${first?.message ?? ''}`.trim()})`;
}
