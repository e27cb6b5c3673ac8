// Verification of Ed25519 signatures (RFC 8032) by node:crypto, with the strict rules of "Taming
// the many EdDSAs" (Chalkias, Garillot, Nikolaenko, 2020): a public key or commitment R of small
// order is refused (a small-order key verifies one signature for many messages), and so is every
// encoding that is not canonical, so that a valid signature has one form. OpenSSL compares the
// encoding of R and refuses S >= L by itself; the checks here do not depend on its version. Signing
// is in signer.ts.
import { createPublicKey, verify as verifyBytes, type KeyObject } from 'node:crypto';
import type { PublicKey } from './signer.js';
import { fromHex } from '../base/bytes.js';
import { limits } from '../base/limits.js';
import { RecentMap } from '../base/recent-map.js';

/** Fixed by RFC 8032: a point, and a signature, which is a point and a number. */
const POINT_BYTES = 32;
/** DER prefix of an Ed25519 SubjectPublicKeyInfo (RFC 8410); the raw key follows. */
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');

/** The field prime p = 2^255 - 19, little-endian. */
const FIELD_PRIME = Buffer.from(`ed${'ff'.repeat(30)}7f`, 'hex');
/** The group order L = 2^252 + 27742317777372353535851937790883648493, little-endian. */
const GROUP_ORDER = Buffer.from(`edd3f55c1a631258d69cf7a2def9de14${'00'.repeat(15)}10`, 'hex');

/**
 * The y coordinates of the eight points whose order divides 8, little-endian. Each but the first
 * two stands for two points, which differ in the sign of x.
 */
const SMALL_ORDER_Y = new Set([
  `01${'00'.repeat(31)}`, // order 1, the neutral element
  `ec${'ff'.repeat(30)}7f`, // order 2
  '00'.repeat(32), // order 4
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05', // order 8
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a', // order 8
]);

/**
 * True only when `signature` (64 bytes) is the strict Ed25519 signature of `message` by `key`.
 * Never throws for what a peer sent: wrong lengths, unusable keys and bad encodings are simply not
 * valid.
 */
export function verify(key: PublicKey, message: Uint8Array, signature: Uint8Array): boolean {
  if (signature.length !== 2 * POINT_BYTES) return false;
  if (!isStrictPoint(signature.subarray(0, POINT_BYTES))) return false;
  if (!isLess(signature.subarray(POINT_BYTES), GROUP_ORDER)) return false;
  const publicKey = keyObjectOf(key.keyval.public);
  return publicKey !== null && verifyBytes(null, message, publicKey, signature);
}

/** Decoding a key costs twice as much as a check with it; the same devices come again. */
const keyObjects = new RecentMap<string, KeyObject>(limits.decodedKeysMaxCount);

/** Null: the key cannot be used. */
function keyObjectOf(publicHex: string): KeyObject | null {
  const known = keyObjects.get(publicHex);
  if (known !== undefined) return known;
  const point = fromHex(publicHex);
  if (!isStrictPoint(point)) return null;
  const der = Buffer.concat([SPKI_PREFIX, point]);
  const decoded = createPublicKey({ key: der, format: 'der', type: 'spki' });
  keyObjects.set(publicHex, decoded);
  return decoded;
}

/** True when a public key can be used: 32 bytes, canonical, and not of small order. */
export function isUsableKey(key: PublicKey): boolean {
  return isStrictPoint(fromHex(key.keyval.public));
}

function isStrictPoint(point: Uint8Array): boolean {
  if (point.length !== POINT_BYTES) return false;
  const y = Buffer.from(point);
  y[POINT_BYTES - 1] = (y[POINT_BYTES - 1] ?? 0) & 0x7f; // The top bit is the sign of x.
  return isLess(y, FIELD_PRIME) && !SMALL_ORDER_Y.has(y.toString('hex'));
}

/** `a < b`, both little-endian and of one length. The values are public: time does not matter. */
function isLess(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(Buffer.from(a).reverse(), Buffer.from(b).reverse()) < 0;
}
