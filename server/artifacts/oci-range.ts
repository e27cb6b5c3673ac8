// The answer to a request for a blob or a range of it, as the bytes that were asked for: a registry
// need not know ranges, and then sends the whole.
import { Readable } from 'node:stream';
import { Fault } from '../../shared/base/fault-codes.js';
import type { Artifact, ByteRange } from '../interfaces.js';
import type { OciBody } from './oci-client.js';
import { rangeInside } from './verified-stream.js';

const PARTIAL = 206;

/** Destroys the answer's stream when it throws. Faults: artifact_store_unreachable. */
export function blobStream(
  { status, headers, stream }: OciBody,
  range: ByteRange,
): Pick<Artifact, 'lengthBytes' | 'stream'> {
  try {
    if (status === PARTIAL) {
      const said = headers['content-range'] ?? '';
      const [, first, whole] = /^bytes (\d+)-\d+\/(\d+)$/.exec(said) ?? [];
      if (first === undefined || Number(first) !== range.start)
        throw unreachable(`a range from ${range.start} was answered by ${said}`);
      rangeInside(range, Number(whole));
      return { lengthBytes: Number(whole), stream };
    }
    const length = headers['content-length'] ?? '';
    if (!/^\d+$/.test(length)) throw unreachable('an answer names no Content-Length');
    const lengthBytes = Number(length);
    const { start, end } = rangeInside(range, lengthBytes);
    if (start === 0 && end === lengthBytes - 1) return { lengthBytes, stream };
    return { lengthBytes, stream: Readable.from(cut(stream, start, end), { objectMode: false }) };
  } catch (error) {
    stream.destroy();
    throw error;
  }
}

async function* cut(stream: Readable, start: number, end: number): AsyncGenerator<Uint8Array> {
  let at = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    const wanted = chunk.subarray(Math.max(0, start - at), Math.max(0, end + 1 - at));
    if (wanted.length > 0) yield wanted;
    at += chunk.length;
    // Leaving the loop destroys the stream.
    if (at > end) return;
  }
}

const unreachable = (what: string): Fault => new Fault('artifact_store_unreachable', what);
