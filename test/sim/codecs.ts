// Codecs for tests: XOR, which streams byte by byte (every file that it encodes ends with
// LAST_BYTE, which it leaves out, so that the encoded file is the shorter one), and gzip, a real
// one.
import { Readable } from 'node:stream';
import { createGunzip, gzipSync } from 'node:zlib';
import type { FileCodec } from '../../agent/update/codec/codec.js';
import { Fault } from '../../shared/base/fault-codes.js';

const LAST_BYTE = 0x0a;
const KEY = 0x5a;
const xored = (bytes: Uint8Array): Uint8Array => bytes.map((byte) => byte ^ KEY);

/** A codec with its encoder; it counts the encoded bytes that it was given. */
export interface TestCodec extends FileCodec {
  encode(bytes: Uint8Array): Uint8Array;
  decodedBytes: number;
}

export function xorCodec(): TestCodec {
  const codec: TestCodec = {
    name: 'xor',
    decodedBytes: 0,
    encode: (bytes) => xored(bytes.subarray(0, bytes.length - 1)),
    async *decode(encoded) {
      for await (const chunk of encoded) {
        codec.decodedBytes += chunk.length;
        yield xored(chunk);
      }
      yield Uint8Array.of(LAST_BYTE);
    },
  };
  return codec;
}

export function gzipCodec(): TestCodec {
  const codec: TestCodec = {
    name: 'gzip',
    decodedBytes: 0,
    encode: (bytes) => gzipSync(bytes),
    async *decode(encoded) {
      const counted = async function* (): AsyncIterable<Uint8Array> {
        for await (const chunk of encoded) {
          codec.decodedBytes += chunk.length;
          yield chunk;
        }
      };
      const gunzip = createGunzip();
      const source = Readable.from(counted()).on('error', (error) => gunzip.destroy(error));
      try {
        yield* source.pipe(gunzip) as AsyncIterable<Uint8Array>;
      } catch (error) {
        const code = (error as { code?: unknown }).code;
        if (typeof code !== 'string' || !code.startsWith('Z_')) throw error;
        throw new Fault('file_digest', 'the bytes are not gzip', { cause: error });
      }
    },
  };
  return codec;
}
