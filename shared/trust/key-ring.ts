// Who may sign, and how many must: the one place that counts signatures, for TUF roles and for DSSE
// envelopes alike. A signer counts once, however many signatures or key ids it appears under.
import { keyIdOf, type PublicKey } from './signer.js';
import { verify } from './ed25519.js';

export interface KeyRing {
  /** Keys by key id. Keys that are not in `keyids` may be present; they do not count. */
  readonly keys: Readonly<Record<string, PublicKey>>;
  readonly keyids: readonly string[];
  /** How many distinct keys must have signed. */
  readonly threshold: number;
}

export interface KeyedSignature {
  readonly keyid: string;
  readonly signature: Uint8Array;
}

/**
 * How many distinct keys of the ring have a valid signature over `message`. Signatures by unknown
 * keys are skipped, as TUF and DSSE ask.
 */
export function countSigners(
  ring: KeyRing,
  message: Uint8Array,
  signatures: readonly KeyedSignature[],
): number {
  const signers = new Set<string>();
  for (const { keyid, signature } of signatures) {
    const key = Object.hasOwn(ring.keys, keyid) ? ring.keys[keyid] : undefined;
    if (key === undefined || !ring.keyids.includes(keyid) || keyIdOf(key) !== keyid) continue;
    if (signers.has(key.keyval.public)) continue;
    if (verify(key, message, signature)) signers.add(key.keyval.public);
  }
  return signers.size;
}
