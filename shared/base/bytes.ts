// Byte helpers that every room uses: hex, UTF-8, SHA-256 of values in memory, and canonical JSON.
// All are pure. Hashing of files and streams is in shared/platform/hashing.ts.
import { createHash } from 'node:crypto';
import { canonicalize } from '@tufjs/canonical-json';
import { Type } from 'typebox';

/** Schema of 32 bytes in lower-case hex: a SHA-256, an Ed25519 key, a TUF key id. */
export const Hex32 = Type.String({ pattern: '^[0-9a-f]{64}$' });
/** Schema of 64 bytes in lower-case hex: an Ed25519 signature. */
export const Hex64 = Type.String({ pattern: '^[0-9a-f]{128}$' });

const HEX = /^(?:[0-9a-fA-F]{2})*$/;

export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** Bytes of a hex text; empty when the text is not hex (Buffer would decode a prefix). */
export const fromHex = (text: string): Uint8Array =>
  HEX.test(text) ? new Uint8Array(Buffer.from(text, 'hex')) : new Uint8Array(0);

export const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Lower-case hex SHA-256 of bytes, or of a text in UTF-8. */
export const sha256 = (bytes: Uint8Array | string): string =>
  createHash('sha256').update(bytes).digest('hex');

/** OLPC canonical JSON, the bytes that TUF signs (spec 4.1). It has no fractions. */
export function canonicalBytes(value: unknown): Uint8Array {
  return utf8(canonicalize(value));
}
