// The body of one request while it comes in. Copies nothing while there is one chunk; more go into
// one buffer of the announced size, placed so that the first tensor needs no copy to be read as
// numbers. Bounding it is the caller's.

/**
 * A body as it comes: chunks as they are while there is one, one buffer of the announced size when
 * there are more.
 */
export class Body {
  length = 0;
  #first: Buffer | null = null;
  #whole: Buffer | null = null;
  #chunks: Buffer[] | null = null;

  /**
   * `header` bytes come before the first tensor, which is laid at a multiple of 8 so that it is
   * read where it stands.
   */
  constructor(
    private readonly announced: number,
    private readonly header: number,
  ) {}

  add(chunk: Buffer): void {
    if (this.#first === null) this.#first = chunk;
    else if (this.announced >= 0) {
      if (this.#whole === null) {
        const shift =
          Number.isInteger(this.header) && this.header > 0 ? (8 - (this.header % 8)) % 8 : 0;
        this.#whole = Buffer.allocUnsafeSlow(this.announced + shift).subarray(shift);
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
