// The device tokens whose signatures were verified lately, so that a device that presents one token
// with many requests costs one verification, and so that a token for one login only is not taken
// twice. The least recently used goes first. It only remembers that a signature fits a key: whether
// the device may do anything is read from the database with each request.
import { limits } from '../../shared/base/limits.js';
import type { SeenTokens } from '../../shared/trust/device-token.js';

export class VerifiedTokens implements SeenTokens {
  readonly #keys = new Set<string>();

  has(key: string): boolean {
    if (!this.#keys.delete(key)) return false;
    this.#keys.add(key);
    return true;
  }

  add(key: string): void {
    this.#keys.add(key);
    if (this.#keys.size <= limits.verifiedTokensMaxCount) return;
    for (const oldest of this.#keys) {
      this.#keys.delete(oldest);
      return;
    }
  }
}
