// Receives request bodies within their limits: each body by its own limit, and all bodies in memory
// together by another. Nothing is copied while a body is one chunk; more chunks go into one buffer
// of the announced size, placed so that the first tensor is aligned and needs no copy later.
import type { IncomingMessage } from 'node:http';
import { Fault } from '../../../shared/base/fault-codes.js';
import type { InferenceLimits } from '../inference-limits.js';

/** Response spelling; requests are looked up in lower case. */
export const HEADER_LENGTH = 'Inference-Header-Content-Length';
const HEADER_LENGTH_KEY = 'inference-header-content-length';

/** The text of `Inference-Header-Content-Length`; undefined for a JSON request. */
export function headerLengthText({ headers }: IncomingMessage): string | string[] | undefined {
  return headers[HEADER_LENGTH_KEY];
}

interface BodyLimit {
  readonly bytes: number;
  /** What a refused client can do instead; empty when there is nothing. */
  readonly advice: string;
}

export interface BodyListener {
  /** `release` must be called once, when the body is no longer used. */
  onBody(body: Buffer, release: () => void): void;
  /** The rest of the request is not read. */
  onRefused(fault: Fault): void;
}

/** Receives the bodies of all requests of one server. */
export class BodyIntake {
  readonly #binaryLimit: BodyLimit;
  readonly #jsonLimit: BodyLimit;
  readonly #totalMaxBytes: number;
  #totalBytes = 0;

  constructor({ requestMaxBytes, jsonRequestMaxBytes, requestBodiesMaxCount }: InferenceLimits) {
    this.#totalMaxBytes = requestBodiesMaxCount * requestMaxBytes;
    this.#binaryLimit = { bytes: requestMaxBytes, advice: '' };
    this.#jsonLimit = {
      bytes: Math.min(jsonRequestMaxBytes, requestMaxBytes),
      advice: ` of JSON; binary tensors (${HEADER_LENGTH}) may have ${requestMaxBytes}`,
    };
  }

  /** Faults for onRefused: `request_too_large`, `busy`. Neither is called if the client leaves. */
  receive(request: IncomingMessage, listener: BodyListener): void {
    const headerLength = headerLengthText(request);
    const limit = headerLength === undefined ? this.#jsonLimit : this.#binaryLimit;
    const announced = request.headers['content-length'];
    const size = announced === undefined ? -1 : Number(announced);
    if (size > limit.bytes) {
      listener.onRefused(tooLarge(`the body has ${size} bytes`, limit));
      return;
    }
    const body = new Body(size, Number(headerLength ?? 0));
    let open = true;
    const release = () => {
      if (open) this.#totalBytes -= body.length;
      open = false;
    };
    request.on('data', (chunk: Buffer) => {
      if (!open) return;
      const fault = this.#refusalOf(body.length + chunk.length, chunk.length, limit);
      if (fault !== null) {
        release();
        listener.onRefused(fault);
        return;
      }
      this.#totalBytes += chunk.length;
      body.add(chunk);
    });
    request.on('end', () => {
      if (open) listener.onBody(body.whole(), release);
    });
    request.on('close', () => {
      if (!request.complete) release(); // The client left before its body was complete.
    });
  }

  #refusalOf(bodyBytes: number, chunkBytes: number, limit: BodyLimit): Fault | null {
    if (bodyBytes > limit.bytes) return tooLarge('the body has more bytes than allowed', limit);
    if (this.#totalBytes + chunkBytes > this.#totalMaxBytes)
      return new Fault(
        'busy',
        `request bodies in memory have reached their limit of ${this.#totalMaxBytes} bytes`,
      );
    return null;
  }
}

function tooLarge(given: string, { bytes, advice }: BodyLimit): Fault {
  return new Fault('request_too_large', `${given}; the limit is ${bytes} bytes${advice}`);
}

/**
 * One body while it is received: a single chunk is kept as it is, more chunks are copied into one
 * buffer.
 */
class Body {
  length = 0;
  readonly #announced: number;
  readonly #headerBytes: number;
  #first: Buffer | null = null;
  #whole: Buffer | null = null;
  #chunks: Buffer[] | null = null;

  /**
   * `announced`: the Content-Length, -1 without one. The first tensor starts after `headerBytes`;
   * the buffer is placed so that this is a multiple of 8, the largest element size.
   */
  constructor(announced: number, headerBytes: number) {
    this.#announced = announced;
    this.#headerBytes = headerBytes;
  }

  add(chunk: Buffer): void {
    if (this.#first === null) this.#first = chunk;
    else if (this.#announced >= 0) {
      if (this.#whole === null) {
        const header = this.#headerBytes;
        const shift = Number.isInteger(header) && header > 0 ? (8 - (header % 8)) % 8 : 0;
        this.#whole = Buffer.allocUnsafeSlow(this.#announced + shift).subarray(shift);
        this.#first.copy(this.#whole, 0);
      }
      chunk.copy(this.#whole, this.length);
    } else {
      this.#chunks ??= [this.#first];
      this.#chunks.push(chunk);
    }
    this.length += chunk.length;
  }

  whole(): Buffer {
    if (this.#chunks !== null) return Buffer.concat(this.#chunks, this.length);
    return this.#whole ?? this.#first ?? Buffer.alloc(0);
  }
}
