// A signer that can also sign synchronously, by node:crypto, so that simulators can make signed
// documents in constructors and in the middle of a synchronous attack. Product code sees only
// `Signer`.
import { createPrivateKey, sign } from 'node:crypto';
import { hex, utf8 } from '../../shared/base/bytes.js';
import { canonicalBytes } from '../../shared/base/canonical-json.js';
import { documentBytes, type Role, type SignedOf } from '../../shared/trust/documents.js';
import { envelopeOf, pae } from '../../shared/trust/envelope.js';
import { signerFromSeed, type Signer } from '../../shared/trust/signer.js';

const PKCS8_ED25519 = Buffer.from('302e020100300506032b657004220420', 'hex');

export interface SyncSigner extends Signer {
  signNow(message: Uint8Array): Uint8Array;
}

export function syncSigner(seed: Uint8Array): SyncSigner {
  const { keyId, publicKey } = signerFromSeed(seed);
  const key = createPrivateKey({
    key: Buffer.concat([PKCS8_ED25519, seed]),
    format: 'der',
    type: 'pkcs8',
  });
  const signNow = (message: Uint8Array): Uint8Array => new Uint8Array(sign(null, message, key));
  return { keyId, publicKey, signNow, sign: (message) => Promise.resolve(signNow(message)) };
}

/** `signDocument`, synchronously. */
export function signDocumentNow(
  signed: SignedOf<Role>,
  signers: readonly SyncSigner[],
): Uint8Array {
  const message = canonicalBytes(signed);
  return documentBytes(
    signed,
    signers.map((signer) => ({ keyid: signer.keyId, sig: hex(signer.signNow(message)) })),
  );
}

/** Bytes of the JSON of a DSSE envelope, synchronously. */
export function envelopeBytesNow(
  payloadType: string,
  payload: Uint8Array,
  signers: readonly SyncSigner[],
): Uint8Array {
  const message = pae(payloadType, payload);
  const signatures = signers.map((signer) => ({
    keyid: signer.keyId,
    signature: signer.signNow(message),
  }));
  return utf8(JSON.stringify(envelopeOf(payloadType, payload, signatures)));
}
