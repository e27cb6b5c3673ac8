// Ranges of artifacts, as a store asks for them over HTTP and as it is answered. A store need not
// know ranges, and then sends the whole.
import assert from 'node:assert/strict';
import type { IncomingHttpHeaders } from 'node:http';
import { Readable } from 'node:stream';
import { Fault } from '../../shared/base/fault-codes.js';
import type { Artifact, ArtifactStore, ByteRange } from '../interfaces.js';

const OK = 200;
const PARTIAL = 206;
const ABSENT = 404;
const UNSATISFIABLE = 416;

/** What a store may answer to a request for an artifact or a range of it. */
export const RANGE_STATUSES: readonly number[] = [OK, PARTIAL, ABSENT, UNSATISFIABLE];

/** The header `Range` that asks for it; none for the whole. A start below 0 is a bug. */
export function rangeHeader(range: ByteRange): string | undefined {
  const { start, end } = range;
  if (start < 0) rangeInside(range, 0);
  return start === 0 && end === null ? undefined : `bytes=${start}-${end ?? ''}`;
}

/** The range with its last byte. A range outside the artifact is a bug of the caller. */
export function rangeInside(
  { start, end }: ByteRange,
  lengthBytes: number,
): { start: number; end: number } {
  const last = end ?? lengthBytes - 1;
  assert(
    start >= 0 && start <= Math.max(0, lengthBytes - 1) && last < lengthBytes,
    `range ${start}-${end ?? ''} is not inside ${lengthBytes} bytes`,
  );
  return { start, end: last };
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly stream: Readable;
}

/**
 * The artifact, or the range of it, in an answer with one of RANGE_STATUSES; null when it is
 * absent. Faults: artifact_store_unreachable.
 */
export async function artifactIn(
  answer: Answer,
  digest: string,
  range: ByteRange,
  store: Pick<ArtifactStore, 'stat'>,
): Promise<Artifact | null> {
  const { status, stream } = answer;
  if (status === OK || status === PARTIAL) return { digest, ...bytesInRange(answer, range) };
  stream.destroy();
  if (status === UNSATISFIABLE) {
    const found = await store.stat(digest);
    if (found !== null) rangeInside(range, found.lengthBytes);
  }
  return null;
}

/** The bytes that were asked for. Destroys the answer's stream when it throws. */
function bytesInRange(
  { status, headers, stream }: Answer,
  range: ByteRange,
): Pick<Artifact, 'lengthBytes' | 'stream'> {
  try {
    if (status === PARTIAL) {
      const lengthBytes = wholeLengthOf(headers, range.start);
      rangeInside(range, lengthBytes);
      return { lengthBytes, stream };
    }
    const lengthBytes = lengthOf(headers);
    const { start, end } = rangeInside(range, lengthBytes);
    if (start === 0 && end === lengthBytes - 1) return { lengthBytes, stream };
    return { lengthBytes, stream: Readable.from(cut(stream, start, end), { objectMode: false }) };
  } catch (error) {
    stream.destroy();
    throw error;
  }
}

/** Faults: artifact_store_unreachable. */
export function lengthOf(headers: IncomingHttpHeaders): number {
  const length = headers['content-length'] ?? '';
  if (!/^\d+$/.test(length)) throw unreachable('an answer names no Content-Length');
  return Number(length);
}

/** Of a range, which must be the one that begins at `start`. */
function wholeLengthOf(headers: IncomingHttpHeaders, start: number): number {
  const range = headers['content-range'] ?? '';
  const [, first, whole] = /^bytes (\d+)-\d+\/(\d+)$/.exec(range) ?? [];
  if (first === undefined || Number(first) !== start)
    throw unreachable(`a range from ${start} was answered by ${range}`);
  return Number(whole);
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
