// Signatures over small documents: Ed25519 by tweetnacl, TUF key objects and key ids, DSSE
// envelopes, and the token by which a device proves its key. Pure: seeds and times come in as
// arguments. Bulk hashing of files is not here; the fleet server's hot path signs with node:crypto,
// which makes the same bytes (Ed25519 is deterministic, RFC 8032).
import { createHash } from 'node:crypto';
import { canonicalize } from '@tufjs/canonical-json';
import nacl from 'tweetnacl';
import { Type, type Static } from 'typebox';
import { limits } from '../base/limits.js';
import { decode, decodeJson } from '../base/decode.js';
import { Fault } from '../base/fault-codes.js';

export const Hex32 = Type.String({ pattern: '^[0-9a-f]{64}$' });
export const Hex64 = Type.String({ pattern: '^[0-9a-f]{128}$' });

/** A TUF key object (spec 4.2); the only scheme is ed25519. */
export const PublicKey = Type.Object({
  keytype: Type.Literal('ed25519'),
  scheme: Type.Literal('ed25519'),
  keyval: Type.Object({ public: Hex32 }),
});
export type PublicKey = Static<typeof PublicKey>;

export interface SigningKey {
  readonly keyId: string;
  readonly publicKey: PublicKey;
  sign(message: Uint8Array): Uint8Array;
}

export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
export const fromHex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'));
export const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
export const sha256 = (bytes: Uint8Array | string): string =>
  createHash('sha256').update(bytes).digest('hex');

/** OLPC canonical JSON, the bytes that TUF signs (spec 4.1). */
export function canonicalBytes(value: unknown): Uint8Array {
  return utf8(canonicalize(value));
}

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

/** A signing key from its 32-byte seed, by tweetnacl. */
export function signingKey(seed: Uint8Array): SigningKey {
  const pair = nacl.sign.keyPair.fromSeed(seed);
  const publicKey = publicKeyOf(pair.publicKey);
  return {
    keyId: keyIdOf(publicKey),
    publicKey,
    sign: (message) => nacl.sign.detached(message, pair.secretKey),
  };
}

/** True only for a good signature; malformed hex or lengths are simply not good. */
export function verify(key: PublicKey, message: Uint8Array, signatureHex: string): boolean {
  const signature = fromHex(signatureHex);
  const raw = fromHex(key.keyval.public);
  if (signature.length !== nacl.sign.signatureLength || raw.length !== nacl.sign.publicKeyLength)
    return false;
  return nacl.sign.detached.verify(message, signature, raw);
}

// --- DSSE (github.com/secure-systems-lab/dsse, protocol 1.0.2) ---

export const Envelope = Type.Object(
  {
    payload: Type.String({ maxLength: limits.manifestMaxBytes * 2 }),
    payloadType: Type.String({ maxLength: 200 }),
    signatures: Type.Array(
      Type.Object(
        { keyid: Hex32, sig: Type.String({ maxLength: 200 }) },
        { additionalProperties: false },
      ),
      {
        minItems: 1,
        maxItems: 16,
      },
    ),
  },
  { additionalProperties: false },
);
export type Envelope = Static<typeof Envelope>;

/**
 * Pre-Authentication Encoding: what a DSSE signature covers, so that no payload can pass as another
 * type.
 */
export function pae(payloadType: string, payload: Uint8Array): Uint8Array {
  return Buffer.concat([
    utf8(`DSSEv1 ${utf8(payloadType).length} ${payloadType} ${payload.length} `),
    payload,
  ]);
}

export function signEnvelope(
  payloadType: string,
  payload: Uint8Array,
  keys: readonly SigningKey[],
): Envelope {
  const message = pae(payloadType, payload);
  return {
    payload: Buffer.from(payload).toString('base64'),
    payloadType,
    signatures: keys.map((key) => ({
      keyid: key.keyId,
      sig: Buffer.from(key.sign(message)).toString('base64'),
    })),
  };
}

export interface KeyRing {
  readonly keys: Readonly<Record<string, PublicKey>>;
  readonly keyids: readonly string[];
  readonly threshold: number;
}

/**
 * The payload of an envelope that `ring.threshold` distinct keys of the ring have signed; else
 * Fault `signature_invalid`.
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
  const message = pae(payloadType, payload);
  const good = new Set<string>();
  for (const { keyid, sig } of envelope.signatures) {
    const key = ring.keys[keyid];
    if (key === undefined || !ring.keyids.includes(keyid) || keyIdOf(key) !== keyid) continue;
    if (verify(key, message, hex(Buffer.from(sig, 'base64')))) good.add(key.keyval.public);
  }
  if (good.size < ring.threshold) {
    throw new Fault(
      'signature_invalid',
      `${good.size} of ${ring.threshold} needed signatures are good (${envelope.signatures.length} present)`,
    );
  }
  return payload;
}

// --- Device tokens: how a device proves its key over HTTP and MQTT without a shared secret ---

const DeviceToken = Type.Object(
  {
    device: Type.String({ maxLength: 128 }),
    at: Type.Integer({ minimum: 0 }),
    nonce: Hex32,
    sig: Hex64,
  },
  { additionalProperties: false },
);
const tokenMessage = (device: string, at: number, nonce: string): Uint8Array =>
  utf8(`linnet-device-token/1\n${device}\n${at}\n${nonce}`);

export function makeDeviceToken(
  device: string,
  key: SigningKey,
  nowMs: number,
  nonce: Uint8Array,
): string {
  const at = Math.floor(nowMs);
  const sig = hex(key.sign(tokenMessage(device, at, hex(nonce))));
  return Buffer.from(JSON.stringify({ device, at, nonce: hex(nonce), sig })).toString('base64url');
}

/**
 * The device id of a token that is genuine and fresh; else Fault `auth_missing`. `keyOf` looks an
 * enrolled device's key up.
 */
export async function openDeviceToken(
  token: string,
  nowMs: number,
  keyOf: (device: string) => Promise<PublicKey | undefined>,
): Promise<string> {
  const fields = decode(DeviceToken, parseToken(token), 'device token', 'auth_missing');
  if (Math.abs(nowMs - fields.at) > limits.deviceTokenLifeMs + limits.clockSkewMaxMs) {
    throw new Fault(
      'auth_missing',
      `device token of ${fields.device} is stale or from the future: check the device's clock`,
    );
  }
  const key = await keyOf(fields.device);
  if (
    key === undefined ||
    !verify(key, tokenMessage(fields.device, fields.at, fields.nonce), fields.sig)
  ) {
    throw new Fault(
      'auth_missing',
      `device token of ${fields.device} is not signed by an enrolled device's key`,
    );
  }
  return fields.device;
}

function parseToken(token: string): unknown {
  try {
    return JSON.parse(Buffer.from(token, 'base64url').toString('utf8')) as unknown;
  } catch (error) {
    throw new Fault('auth_missing', 'device token does not decode', { cause: error });
  }
}

/** A device's id is derived from its key, so that no other device can claim it. */
export function deviceIdOf(key: PublicKey): string {
  return `dev-${sha256(fromHex(key.keyval.public)).slice(0, 20)}`;
}
