// Frames between the supervisor and a model process, over a stream socket: u32 header length, u32
// body length (little-endian), header, body. Header byte 0 is the kind. `control` headers hold
// JSON. `run` and `answer` headers are binary: count, id, and for each tensor its datatype, byte
// length and dimensions. Names are left out: position i is input (or output) i of the manifest.
// Bodies hold the tensors' little-endian bytes, each at a multiple of 8 (as is the body's start),
// so that the receiver needs no copy to read them as typed arrays. Every length is checked before
// anything is allocated. A frame that breaks these rules is a bug of the other end: FrameError, and
// the process behind it is killed.
import { readSync } from 'node:fs';
import { limits } from '../../../shared/base/limits.js';
import type { Datatype } from '../../../shared/release/model-manifest.js';
import type { Tensor } from '../model/tensor.js';

export const FrameKind = { control: 0, run: 1, answer: 2 } as const;
export type FrameKind = (typeof FrameKind)[keyof typeof FrameKind];

export class FrameError extends Error {
  override readonly name = 'FrameError';
}

export interface Frame {
  readonly header: Buffer;
  readonly body: Buffer;
}

/** Fixed by the form of a frame: the lengths of header and body. */
const PREFIX_BYTES = 8;
/** Fixed by the form of a frame: kind, count and id, before the first tensor. */
const TABLE_BYTES = 8;
/** Fixed by the form of a frame: datatype, rank and byte length, before a tensor's dimensions. */
const ENTRY_BYTES = 8;
const CODES: readonly Datatype[] = [
  'BOOL',
  'UINT8',
  'INT8',
  'UINT16',
  'INT16',
  'INT32',
  'INT64',
  'FP32',
  'FP64',
];
const CODE_OF = Object.fromEntries(CODES.map((datatype, code) => [datatype, code])) as Record<
  Datatype,
  number
>;
const NOTHING = Buffer.alloc(0);

const padded = (bytes: number): number => (bytes + 7) & ~7;

/**
 * The pieces of a `run` or `answer` frame, to write in this order. The bytes of large tensors are
 * not copied. FrameError when the frame is longer than `maxBytes`.
 */
export function encodeTensors(
  kind: FrameKind,
  id: number,
  tensors: readonly Tensor[],
  maxBytes: number,
): Uint8Array[] {
  let headerBytes = TABLE_BYTES;
  let bodyBytes = 0;
  for (const tensor of tensors) {
    headerBytes += ENTRY_BYTES + 4 * tensor.shape.length;
    bodyBytes += padded(tensor.data.byteLength);
  }
  headerBytes = padded(headerBytes);
  const total = PREFIX_BYTES + headerBytes + bodyBytes;
  if (total > maxBytes)
    throw new FrameError(`a frame of ${total} bytes is longer than the limit of ${maxBytes}`);
  const joined = total <= limits.hostFrameJoinedMaxBytes;
  const head = Buffer.allocUnsafe(joined ? total : PREFIX_BYTES + headerBytes);
  writeTable(head, kind, id, tensors, headerBytes, bodyBytes);
  if (joined) {
    let at = PREFIX_BYTES + headerBytes;
    for (const { data } of tensors) {
      head.set(data, at);
      at += padded(data.byteLength);
    }
    return [head];
  }
  const pieces: Uint8Array[] = [head];
  for (const { data } of tensors) {
    pieces.push(data);
    if (data.byteLength % 8 !== 0)
      pieces.push(Buffer.alloc(padded(data.byteLength) - data.byteLength));
  }
  return pieces;
}

function writeTable(
  head: Buffer,
  kind: FrameKind,
  id: number,
  tensors: readonly Tensor[],
  headerBytes: number,
  bodyBytes: number,
): void {
  head.writeUInt32LE(headerBytes, 0);
  head.writeUInt32LE(bodyBytes, 4);
  head[8] = kind;
  head[9] = tensors.length;
  head.writeUInt16LE(0, 10);
  head.writeUInt32LE(id, 12);
  let at = PREFIX_BYTES + TABLE_BYTES;
  for (const { datatype, shape, data } of tensors) {
    head[at] = CODE_OF[datatype];
    head[at + 1] = shape.length;
    head.writeUInt16LE(0, at + 2);
    head.writeUInt32LE(data.byteLength, at + 4);
    at += ENTRY_BYTES;
    for (const size of shape) at = head.writeUInt32LE(size, at);
  }
  head.fill(0, at, PREFIX_BYTES + headerBytes);
}

export function encodeControl(message: object): Buffer {
  const json = Buffer.from(JSON.stringify(message));
  const head = Buffer.alloc(PREFIX_BYTES + padded(1 + json.length), 0x20);
  head.writeUInt32LE(head.length - PREFIX_BYTES, 0);
  head.writeUInt32LE(0, 4);
  head[8] = FrameKind.control;
  json.copy(head, PREFIX_BYTES + 1);
  return head;
}

export function kindOf(frame: Frame): number {
  return frame.header.readUInt8(0);
}

export function idOf(frame: Frame): number {
  return frame.header.readUInt32LE(4);
}

export function decodeControl(frame: Frame): unknown {
  return JSON.parse(frame.header.toString('utf8', 1)) as unknown;
}

/**
 * The tensors of a `run` or `answer` frame, named by position. Their data are views of the frame's
 * body. FrameError when the table does not fit `names` or the body.
 */
export function decodeTensors(frame: Frame, names: readonly { readonly name: string }[]): Tensor[] {
  const { header, body } = frame;
  const count = header[1] ?? 0;
  if (count !== names.length)
    throw new FrameError(`a frame carries ${count} tensors, expected ${names.length}`);
  const tensors: Tensor[] = [];
  let at = TABLE_BYTES;
  let start = 0;
  for (let i = 0; i < count; i += 1) {
    if (at + ENTRY_BYTES > header.length)
      throw new FrameError("a frame's tensor table is cut short");
    const datatype = CODES[header[at] as number];
    const rank = header[at + 1] as number;
    const bytes = header.readUInt32LE(at + 4);
    at += ENTRY_BYTES;
    if (datatype === undefined || at + 4 * rank > header.length || start + bytes > body.length)
      throw new FrameError("a frame's tensor table does not fit its body");
    const shape: number[] = [];
    for (let axis = 0; axis < rank; axis += 1, at += 4) shape.push(header.readUInt32LE(at));
    tensors.push({
      name: (names[i] as { name: string }).name,
      datatype,
      shape,
      data: body.subarray(start, start + bytes),
    });
    start += padded(bytes);
  }
  return tensors;
}

function lengths(prefix: Buffer, at: number, maxBytes: number): { header: number; body: number } {
  const header = prefix.readUInt32LE(at);
  const body = prefix.readUInt32LE(at + 4);
  if (
    header < 1 ||
    header > limits.hostFrameHeaderMaxBytes ||
    PREFIX_BYTES + header + body > maxBytes
  ) {
    throw new FrameError(`a frame announces ${header} + ${body} bytes, the limit is ${maxBytes}`);
  }
  return { header, body };
}

/**
 * Frames from chunks that may be split anywhere. `onFrame` may keep its frame: no memory is reused.
 */
export class FrameDecoder {
  readonly #maxBytes: number;
  readonly #onFrame: (frame: Frame) => void;
  #held: Buffer = NOTHING;
  #header: Buffer = NOTHING;
  #body: Buffer | null = null;
  #filled = 0;

  constructor(maxBytes: number, onFrame: (frame: Frame) => void) {
    this.#maxBytes = maxBytes;
    this.#onFrame = onFrame;
  }

  push(chunk: Buffer): void {
    let at = 0;
    if (this.#body !== null) {
      at = this.#fill(this.#body, chunk);
    } else if (this.#held.length > 0) {
      chunk = Buffer.concat([this.#held, chunk]);
      this.#held = NOTHING;
    }
    while (at < chunk.length) {
      const left = chunk.length - at;
      const size = left < PREFIX_BYTES ? null : lengths(chunk, at, this.#maxBytes);
      if (size === null || left < PREFIX_BYTES + size.header) {
        this.#held = chunk.subarray(at);
        return;
      }
      const header = chunk.subarray(at + PREFIX_BYTES, at + PREFIX_BYTES + size.header);
      at += PREFIX_BYTES + size.header;
      if (chunk.length - at >= size.body) {
        this.#onFrame({ header, body: chunk.subarray(at, at + size.body) });
        at += size.body;
        continue;
      }
      this.#header = header;
      this.#body = Buffer.allocUnsafeSlow(size.body);
      this.#filled = 0;
      at += this.#fill(this.#body, chunk.subarray(at));
    }
  }

  /** Bytes taken from `chunk`. */
  #fill(body: Buffer, chunk: Buffer): number {
    const taken = chunk.copy(body, this.#filled);
    this.#filled += taken;
    if (this.#filled === body.length) {
      this.#body = null;
      this.#onFrame({ header: this.#header, body });
    }
    return taken;
  }
}

/**
 * Frames by blocking reads, for the model process, which does nothing else: no turn of the event
 * loop passes between a request's bytes and its run. A frame is valid until the next call, which
 * reuses its memory.
 */
export class BlockingFrames {
  readonly #fd: number;
  readonly #maxBytes: number;
  #memory = Buffer.allocUnsafeSlow(limits.hostFrameJoinedMaxBytes);
  #start = 0;
  #end = 0;

  constructor(fd: number, maxBytes: number) {
    this.#fd = fd;
    this.#maxBytes = maxBytes;
  }

  /** Null at the end of the stream. */
  next(): Frame | null {
    if (this.#start === this.#end) this.#start = this.#end = 0;
    if (!this.#have(PREFIX_BYTES)) return null;
    const size = lengths(this.#memory, this.#start, this.#maxBytes);
    const total = PREFIX_BYTES + size.header + size.body;
    if (!this.#have(total)) return null;
    const from = this.#start + PREFIX_BYTES;
    this.#start += total;
    return {
      header: this.#memory.subarray(from, from + size.header),
      body: this.#memory.subarray(from + size.header, this.#start),
    };
  }

  /**
   * Reads until `count` bytes are held from #start on; false at the end of the stream. Held bytes
   * move to the front first, so that frames are aligned.
   */
  #have(count: number): boolean {
    if (this.#end - this.#start >= count) return true;
    if (this.#start > 0) {
      this.#memory.copyWithin(0, this.#start, this.#end);
      this.#end -= this.#start;
      this.#start = 0;
    }
    if (count > this.#memory.length) {
      const larger = Buffer.allocUnsafeSlow(count);
      this.#memory.copy(larger, 0, 0, this.#end);
      this.#memory = larger;
    }
    while (this.#end < count) {
      const got = readSync(
        this.#fd,
        this.#memory,
        this.#end,
        this.#memory.length - this.#end,
        null,
      );
      if (got === 0) return false;
      this.#end += got;
    }
    return true;
  }
}
