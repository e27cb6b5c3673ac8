// Streaming SHA-256: of a file, of a stream, and of a stream that must have a length and a digest
// that are known before. Memory stays at one or two blocks, whatever the size.
import { createHash } from 'node:crypto';
import { open, type FileHandle } from 'node:fs/promises';

const BLOCK_BYTES = 1024 * 1024;

export interface Digest {
  /** Lower-case hex. */
  readonly sha256: string;
  /** Bytes. */
  readonly length: number;
}

/** The digest of a file. Errors are those of the system. */
export async function fileDigest(path: string): Promise<Digest> {
  const file = await open(path, 'r');
  try {
    return await handleDigest(file);
  } finally {
    await file.close();
  }
}

/**
 * The digest of an open file from its beginning; reads the next block while the last one is hashed.
 */
export async function handleDigest(file: FileHandle): Promise<Digest> {
  const hash = createHash('sha256');
  let [front, back] = [Buffer.allocUnsafe(BLOCK_BYTES), Buffer.allocUnsafe(BLOCK_BYTES)];
  let length = 0;
  let reading = file.read(front, 0, BLOCK_BYTES, 0);
  for (;;) {
    const { bytesRead } = await reading;
    if (bytesRead === 0) return { sha256: hash.digest('hex'), length };
    length += bytesRead;
    reading = file.read(back, 0, BLOCK_BYTES, length);
    hash.update(front.subarray(0, bytesRead));
    [front, back] = [back, front];
  }
}

/** The digest of all chunks. */
export async function streamDigest(chunks: AsyncIterable<Uint8Array>): Promise<Digest> {
  const running = new RunningDigest();
  for await (const chunk of chunks) running.update(chunk);
  return running.end();
}

/** Counts and hashes what passes by; `end` may be called once. */
export class RunningDigest {
  readonly #hash = createHash('sha256');
  #length = 0;

  /** Bytes so far. */
  get length(): number {
    return this.#length;
  }

  update(chunk: Uint8Array): this {
    this.#hash.update(chunk);
    this.#length += chunk.length;
    return this;
  }

  end(): Digest {
    return { sha256: this.#hash.digest('hex'), length: this.#length };
  }
}
