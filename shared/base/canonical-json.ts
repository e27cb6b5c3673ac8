// The bytes of a document that is signed.
import { canonicalize } from '@tufjs/canonical-json';
import { utf8 } from './bytes.js';

/** OLPC canonical JSON, the bytes that TUF signs (spec 4.1). It has no fractions. */
export function canonicalBytes(value: unknown): Uint8Array {
  return utf8(canonicalize(value));
}
