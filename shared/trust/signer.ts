// Signing with Ed25519 behind an asynchronous interface, and TUF key objects with their ids. A seed
// in memory is one implementation; a TPM, a PKCS #11 token or another process can be others, so
// callers see only `Signer`. Verification is in ed25519.ts.
import nacl from 'tweetnacl';
import { Type, type Static } from 'typebox';
import { hex, sha256 } from '../base/bytes.js';
import { canonicalBytes } from '../base/canonical-json.js';
import { Hex32 } from '../base/hex-schemas.js';

/** A TUF key object (spec 4.2); the only scheme is ed25519. */
export const PublicKey = Type.Object({
  keytype: Type.Literal('ed25519'),
  scheme: Type.Literal('ed25519'),
  keyval: Type.Object({ public: Hex32 }),
});
export type PublicKey = Static<typeof PublicKey>;

/** A private key that signs; where it is kept is the implementation's business. */
export interface Signer {
  readonly keyId: string;
  readonly publicKey: PublicKey;
  /** The 64-byte Ed25519 signature of `message`. Deterministic: RFC 8032 has one per message. */
  sign(message: Uint8Array): Promise<Uint8Array>;
}

/** The TUF key object of a raw 32-byte Ed25519 public key. */
export function publicKeyOf(raw: Uint8Array): PublicKey {
  return { keytype: 'ed25519', scheme: 'ed25519', keyval: { public: hex(raw) } };
}

/** TUF spec 4.2: the key id is the SHA-256 of the canonical form of the key object. */
export function keyIdOf(key: PublicKey): string {
  return sha256(
    canonicalBytes({
      keytype: key.keytype,
      scheme: key.scheme,
      keyval: { public: key.keyval.public },
    }),
  );
}

/** A signer with its 32-byte seed in memory, by tweetnacl. */
export function signerFromSeed(seed: Uint8Array): Signer {
  const pair = nacl.sign.keyPair.fromSeed(seed);
  const publicKey = publicKeyOf(pair.publicKey);
  return {
    keyId: keyIdOf(publicKey),
    publicKey,
    sign: (message) => Promise.resolve(nacl.sign.detached(message, pair.secretKey)),
  };
}
