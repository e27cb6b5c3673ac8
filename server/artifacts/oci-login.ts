// How a registry is logged in to: it says so itself in the challenge of a 401. Basic: user and
// password with each request. Bearer: a token of a token service for this repository (Docker's
// "Token Authentication Specification"), kept until shortly before its end. A token service gets
// the password only over TLS, unless the registry itself is configured without TLS.
import { Type } from 'typebox';
import { decodeJson } from '../../shared/base/decode.js';
import { Fault } from '../../shared/base/fault-codes.js';
import type { Clock } from '../../shared/base/interfaces.js';
import { limits } from '../../shared/base/limits.js';
import type { OciCredentials, OciLocation } from './oci-settings.js';

export interface OciLoginOptions {
  readonly location: OciLocation;
  readonly credentials: OciCredentials | null;
  readonly clock: Clock;
  /** The text of an answer with 200. Faults: artifact_store_unreachable, artifact_store_refused. */
  readonly fetchText: (url: URL, authorization: string | null) => Promise<string>;
}

const TokenAnswer = Type.Object({
  token: Type.Optional(Type.String({ minLength: 1 })),
  access_token: Type.Optional(Type.String({ minLength: 1 })),
  expires_in: Type.Optional(Type.Number({ minimum: 0 })),
});

type Scheme = { readonly kind: 'basic' } | { readonly kind: 'bearer'; readonly url: URL };

export class OciLogin {
  readonly #options: OciLoginOptions;
  #scheme: Scheme | null = null;
  #token: { readonly text: string; readonly until: number } | null = null;

  constructor(options: OciLoginOptions) {
    this.#options = options;
  }

  /** The header of a request to the registry. */
  async authorization(): Promise<string | null> {
    if (this.#scheme === null) return null;
    if (this.#scheme.kind === 'basic') return this.#basic();
    return `Bearer ${await this.#bearer(this.#scheme.url)}`;
  }

  /**
   * After a 401 to a request that carried `used`: learns from the challenge. False when there is no
   * other way to ask. Faults: artifact_store_refused.
   */
  learn(challenge: string, used: string | null): boolean {
    const scheme = this.#schemeOf(challenge);
    if (scheme === null || (scheme.kind === 'basic' && used !== null)) return false;
    // A token that the registry takes no longer is replaced once.
    this.#token = null;
    this.#scheme = scheme;
    return true;
  }

  #basic(): string | null {
    const { credentials } = this.#options;
    if (credentials === null) return null;
    const { username, password } = credentials;
    return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
  }

  #schemeOf(challenge: string): Scheme | null {
    const [, kind = '', rest = ''] = /^\s*(\w+)\s+(.*)$/.exec(challenge) ?? [];
    if (kind.toLowerCase() === 'basic')
      return this.#options.credentials === null ? null : { kind: 'basic' };
    if (kind.toLowerCase() !== 'bearer') return null;
    const named = new Map(
      Array.from(rest.matchAll(/(\w+)="([^"]*)"/g), ([, name = '', value = '']) => [name, value]),
    );
    const { location } = this.#options;
    const realm = named.get('realm') ?? '';
    const url = URL.canParse(realm) ? new URL(realm) : null;
    if (url === null || (url.protocol !== 'https:' && url.protocol !== location.base.protocol))
      throw this.#refused('names a token service that is not https');
    const service = named.get('service');
    if (service !== undefined) url.searchParams.set('service', service);
    url.searchParams.set('scope', `repository:${location.repository}:pull,push,delete`);
    return { kind: 'bearer', url };
  }

  async #bearer(url: URL): Promise<string> {
    const { clock } = this.#options;
    if (this.#token !== null && clock.monotonic() < this.#token.until) return this.#token.text;
    // Requests at once may each fetch one: rare, and harmless.
    const { text, lifeMs } = await this.#fetched(url);
    this.#token = { text, until: clock.monotonic() + lifeMs - limits.ociTokenMarginMs };
    return text;
  }

  async #fetched(url: URL): Promise<{ text: string; lifeMs: number }> {
    const { fetchText, location } = this.#options;
    const answer = await fetchText(url, this.#basic());
    const {
      token,
      access_token: other,
      expires_in: seconds,
    } = decodeJson(
      TokenAnswer,
      answer,
      `${location.name}: token of ${url.host}`,
      'artifact_store_refused',
    );
    const text = token ?? other;
    if (text === undefined) throw this.#refused('has a token service that gives no token');
    return { text, lifeMs: seconds === undefined ? limits.ociTokenMs : seconds * 1000 };
  }

  #refused(what: string): Fault {
    return new Fault('artifact_store_refused', `${this.#options.location.name} ${what}`);
  }
}
