// DSSE envelopes (github.com/secure-systems-lab/dsse, protocol 1.0.2): a payload, its type, and
// signatures over both. Opening one verifies before it returns the payload; what the payload means
// is left to the caller.
import { Type, type Static } from 'typebox';
import { utf8 } from '../base/bytes.js';
import { Hex32 } from '../base/hex-schemas.js';
import { decodeJson } from '../base/decode.js';
import { Fault } from '../base/fault-codes.js';
import { limits } from '../base/limits.js';
import { countSigners, type KeyedSignature, type KeyRing } from './key-ring.js';
import type { Signer } from './signer.js';

const strict = { additionalProperties: false } as const;

export const Envelope = Type.Object(
  {
    payload: Type.String({ maxLength: limits.acceptanceSetMaxBytes }),
    payloadType: Type.String({ maxLength: limits.nameMaxChars }),
    signatures: Type.Array(
      Type.Object(
        { keyid: Hex32, sig: Type.String({ maxLength: limits.signatureMaxChars }) },
        strict,
      ),
      { minItems: 1, maxItems: limits.signaturesMaxCount },
    ),
  },
  strict,
);
export type Envelope = Static<typeof Envelope>;

/**
 * Pre-Authentication Encoding: the bytes that a DSSE signature covers. The type is part of it, so a
 * payload of one type never verifies as another.
 */
export function pae(payloadType: string, payload: Uint8Array): Uint8Array {
  return Buffer.concat([
    utf8(`DSSEv1 ${utf8(payloadType).length} ${payloadType} ${payload.length} `),
    payload,
  ]);
}

export async function signEnvelope(
  payloadType: string,
  payload: Uint8Array,
  signers: readonly Signer[],
): Promise<Envelope> {
  const message = pae(payloadType, payload);
  const signatures = await Promise.all(
    signers.map(async (signer) => ({
      keyid: signer.keyId,
      signature: await signer.sign(message),
    })),
  );
  return envelopeOf(payloadType, payload, signatures);
}

/** The envelope of a payload and signatures that were made over its `pae`. */
export function envelopeOf(
  payloadType: string,
  payload: Uint8Array,
  signatures: readonly KeyedSignature[],
): Envelope {
  const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
  return {
    payload: base64(payload),
    payloadType,
    signatures: signatures.map(({ keyid, signature }) => ({ keyid, sig: base64(signature) })),
  };
}

/**
 * The payload of an envelope that at least `ring.threshold` distinct keys of the ring have signed.
 * Faults: manifest_undecodable, signature_invalid.
 */
export function openEnvelope(bytes: Uint8Array, payloadType: string, ring: KeyRing): Uint8Array {
  const envelope = decodeJson(Envelope, bytes, 'DSSE envelope', 'manifest_undecodable');
  if (envelope.payloadType !== payloadType) {
    throw new Fault(
      'signature_invalid',
      `envelope carries ${envelope.payloadType}, expected ${payloadType}`,
    );
  }
  const payload = new Uint8Array(Buffer.from(envelope.payload, 'base64'));
  const signatures = envelope.signatures.map(({ keyid, sig }) => ({
    keyid,
    signature: Buffer.from(sig, 'base64'),
  }));
  const valid = countSigners(ring, pae(payloadType, payload), signatures);
  if (valid < ring.threshold) {
    throw new Fault(
      'signature_invalid',
      `${valid} of ${ring.threshold} required signatures are valid (${signatures.length} present)`,
    );
  }
  return payload;
}

/** Each signature of an envelope, and whether it is a valid one of a key of the ring. */
export function signaturesOf(
  bytes: Uint8Array,
  ring: KeyRing,
): { keyid: string; valid: boolean }[] {
  const envelope = decodeJson(Envelope, bytes, 'DSSE envelope', 'manifest_undecodable');
  const message = pae(envelope.payloadType, Buffer.from(envelope.payload, 'base64'));
  return envelope.signatures.map(({ keyid, sig }) => ({
    keyid,
    valid: countSigners(ring, message, [{ keyid, signature: Buffer.from(sig, 'base64') }]) === 1,
  }));
}
