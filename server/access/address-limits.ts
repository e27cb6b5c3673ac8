// Limits of failed logins by remote address. The transports ask before they look anything up or
// check a signature, so that a stranger who sends wrong credentials without end costs a look-up in
// a map. Three rules keep a valid peer behind the same address (NAT) in:
// - Only what failed costs. Any number of peers may log in from one address.
// - Each kind of login has buckets of its own: wrong operator tokens refuse no device.
// - An identity that has logged in from the address has a bucket of its own there, which strangers
//   cannot empty without naming it.
// Memory is limited: of addresses and of identities the least recently used are forgotten. Pure but
// for the injected clock.
import { limits } from '../../shared/base/limits.js';
import { Fault } from '../../shared/base/fault-codes.js';
import type { Clock } from '../../shared/base/interfaces.js';
import { RecentMap } from '../../shared/base/recent-map.js';
import type { SecurityEventSink } from '../interfaces.js';
import { addressKey } from './address-key.js';

export interface Attempt {
  readonly kind: 'operator' | 'device' | 'enrolment';
  /** Remote address, as the socket names it. */
  readonly address: string | undefined;
  /** What the credential claims to be, not verified yet: a device id, the hash of a token. */
  readonly identity: string | null;
}

interface Bucket {
  tokens: number;
  /** Monotonic time to which `tokens` belongs. */
  at: number;
}

interface Rate {
  readonly burst: number;
  readonly refillMs: number;
  readonly maxCount: number;
}

/** Token buckets by key, the least recently used forgotten. */
class Buckets {
  readonly #rate: Rate;
  readonly #clock: Clock;
  readonly #buckets: RecentMap<string, Bucket>;

  constructor(clock: Clock, rate: Rate) {
    this.#clock = clock;
    this.#rate = rate;
    this.#buckets = new RecentMap(rate.maxCount);
  }

  get size(): number {
    return this.#buckets.size;
  }

  has(key: string): boolean {
    return this.#buckets.has(key);
  }

  /** Milliseconds until a token is there; 0: there is one. */
  waitMs(key: string): number {
    const { tokens } = this.#now(key);
    return tokens >= 1 ? 0 : Math.ceil((1 - tokens) * this.#rate.refillMs);
  }

  /** Takes a token, or what there is of one. */
  take(key: string): void {
    const bucket = this.#now(key);
    this.#buckets.set(key, { ...bucket, tokens: Math.max(0, bucket.tokens - 1) });
  }

  fill(key: string): void {
    this.#buckets.set(key, { tokens: this.#rate.burst, at: this.#clock.monotonic() });
  }

  #now(key: string): Bucket {
    const at = this.#clock.monotonic();
    const known = this.#buckets.get(key);
    if (known === undefined) return { tokens: this.#rate.burst, at };
    const tokens = known.tokens + (at - known.at) / this.#rate.refillMs;
    return { tokens: Math.min(this.#rate.burst, tokens), at };
  }
}

export interface AddressLimitsOptions {
  readonly clock: Clock;
  readonly security: Pick<SecurityEventSink, 'report'>;
}

export class AddressLimits {
  readonly #security: AddressLimitsOptions['security'];
  readonly #addresses: Buckets;
  readonly #known: Buckets;

  constructor({ clock, security }: AddressLimitsOptions) {
    this.#security = security;
    this.#addresses = new Buckets(clock, {
      burst: limits.failedLoginsMaxCount,
      refillMs: limits.failedLoginRefillMs,
      maxCount: limits.limitedAddressesMaxCount,
    });
    this.#known = new Buckets(clock, {
      burst: limits.knownFailedLoginsMaxCount,
      refillMs: limits.failedLoginRefillMs,
      maxCount: limits.knownLoginsMaxCount,
    });
  }

  /** Addresses and identities that are remembered. */
  get size(): number {
    return this.#addresses.size + this.#known.size;
  }

  /** Call it before the credential is looked at. Faults: too_many_attempts. */
  admit(attempt: Attempt): void {
    const { address, known } = keysOf(attempt);
    if (known !== null && this.#known.has(known) && this.#known.waitMs(known) === 0) return;
    const waitMs = this.#addresses.waitMs(address);
    if (waitMs === 0) return;
    throw new Fault(
      'too_many_attempts',
      `too many failed logins (${attempt.kind}) from ${addressKey(attempt.address)}`,
      { retryAfterMs: waitMs },
    );
  }

  /** The credential was not valid. */
  failed(attempt: Attempt): void {
    const { address, known } = keysOf(attempt);
    if (known !== null && this.#known.has(known)) this.#known.take(known);
    if (this.#addresses.waitMs(address) > 0) return;
    this.#addresses.take(address);
    // Once each time that the limit is reached: the refusals behind it cost no event.
    if (this.#addresses.waitMs(address) > 0)
      this.#security.report({
        source: { kind: 'anonymous', address: attempt.address ?? 'unknown' },
        code: 'too_many_attempts',
        detail: `failed logins (${attempt.kind}) reached their limit: further ones are refused`,
      });
  }

  /** The credential was valid. */
  succeeded(attempt: Attempt): void {
    const { known } = keysOf(attempt);
    if (known !== null) this.#known.fill(known);
  }

  /**
   * The credential was valid and leads nowhere yet (a device that waits for its approval): known
   * from now on, and not for nothing.
   */
  waits(attempt: Attempt): void {
    const { address, known } = keysOf(attempt);
    if (known !== null && this.#known.has(known)) {
      this.#known.take(known);
      return;
    }
    this.#addresses.take(address);
    if (known !== null) this.#known.fill(known);
  }
}

function keysOf({ kind, address, identity }: Attempt): { address: string; known: string | null } {
  const own = `${kind} ${addressKey(address)}`;
  return { address: own, known: identity === null ? null : `${own} ${identity}` };
}
