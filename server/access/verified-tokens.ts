// The device tokens whose signatures were verified lately, so that a device that presents one token
// with many requests costs one verification, and so that a token for one login only is not taken
// twice. The least recently used goes first. It only remembers that a signature fits a key: whether
// the device may do anything is read from the database with each request.
import { limits } from '../../shared/base/limits.js';
import { RecentMap } from '../../shared/base/recent-map.js';
import type { SeenTokens } from '../../shared/trust/device-token.js';

export class VerifiedTokens implements SeenTokens {
  readonly #keys = new RecentMap<string, true>(limits.verifiedTokensMaxCount);

  has(key: string): boolean {
    const isKnown = this.#keys.has(key);
    if (isKnown) this.#keys.set(key, true);
    return isKnown;
  }

  add(key: string): void {
    this.#keys.set(key, true);
  }
}
