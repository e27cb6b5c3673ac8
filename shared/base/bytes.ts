// Byte helpers that every room uses: hex, UTF-8, SHA-256 of values in memory. All are pure. Hashing
// of files and streams is in shared/platform/hashing.ts. Model processes load this file, so it
// needs no package (test/agent/inference/model-process/loaded-modules.test.ts).
import { createHash } from 'node:crypto';

const HEX = /^(?:[0-9a-fA-F]{2})*$/;

export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** Bytes of a hex text; empty when the text is not hex (Buffer would decode a prefix). */
export const fromHex = (text: string): Uint8Array =>
  HEX.test(text) ? new Uint8Array(Buffer.from(text, 'hex')) : new Uint8Array(0);

export const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Lower-case hex SHA-256 of bytes, or of a text in UTF-8. */
export const sha256 = (bytes: Uint8Array | string): string =>
  createHash('sha256').update(bytes).digest('hex');
