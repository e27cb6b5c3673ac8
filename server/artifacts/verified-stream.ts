// Passes the bytes of an upload on while it verifies their length and SHA-256. It throws after the
// last byte when they do not match, so a store that makes an artifact visible only after the stream
// has ended never shows a wrong one. It keeps no bytes.
import { complaints } from '../../shared/base/decode.js';
import { RunningDigest } from '../../shared/platform/hashing.js';
import { Fault } from '../../shared/base/fault-codes.js';
import { limits } from '../../shared/base/limits.js';
import { Hex32 } from '../../shared/base/hex-schemas.js';
import type { ArtifactLimits } from '../interfaces.js';

/** Faults: file_length, file_digest; errors of the stream pass unchanged. */
export async function* verified(
  digest: string,
  stream: AsyncIterable<Uint8Array>,
  { maxBytes, lengthBytes }: ArtifactLimits,
): AsyncGenerator<Uint8Array, void, void> {
  const most = Math.min(maxBytes, lengthBytes ?? maxBytes);
  const received = new RunningDigest();
  for await (const chunk of stream) {
    if (received.update(chunk).length > most)
      throw new Fault('file_length', `the upload is longer than ${most} bytes: it was stopped`);
    yield chunk;
  }
  const { sha256: found, length } = received.end();
  if (lengthBytes !== undefined && length !== lengthBytes)
    throw new Fault('file_length', `the upload has ${length} bytes, ${lengthBytes} were announced`);
  if (found !== digest)
    throw new Fault('file_digest', `the upload has SHA-256 ${found}, ${digest} was announced`);
}

export const isDigest = (text: string): boolean => complaints(Hex32, text).length === 0;

/** What can be refused before a byte is read. Faults: message_undecodable, file_length. */
export function requirePlausible(
  digest: string,
  { maxBytes, lengthBytes = 0 }: ArtifactLimits,
): void {
  if (!isDigest(digest))
    throw new Fault(
      'message_undecodable',
      `${digest.slice(0, limits.quotedMaxChars)} is not a SHA-256 in hex`,
    );
  if (lengthBytes > maxBytes)
    throw new Fault(
      'file_length',
      `the upload announces ${lengthBytes} bytes, at most ${maxBytes} are allowed`,
    );
}
