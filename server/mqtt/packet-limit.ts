// Bounds the length of MQTT packets as their bytes arrive. The broker's parser would gather a
// packet of up to 256 MB before anybody could refuse it, also from a client that has not logged in;
// this reads each packet's length from its first bytes (MQTT 3.1.1, section 2.2.3) and says no at
// once.

const LENGTH_BYTES_MAX = 4;

export class PacketLimit {
  /** Bytes of the present packet's body still to come. */
  #rest = 0;
  /** In the fixed header: how many length bytes were read (-1: the type byte is next). */
  #lengthBytes = -1;
  #length = 0;

  constructor(private readonly maxBytes: number) {}

  /**
   * False as soon as a packet announces more than the bound, or a length that is none; the
   * connection is to be cut then.
   */
  take(chunk: Uint8Array): boolean {
    let at = 0;
    while (at < chunk.length) {
      if (this.#rest > 0) {
        const eaten = Math.min(this.#rest, chunk.length - at);
        this.#rest -= eaten;
        at += eaten;
      } else if (!this.#header(chunk[at++] as number)) {
        return false;
      }
    }
    return true;
  }

  #header(byte: number): boolean {
    if (this.#lengthBytes < 0) {
      this.#lengthBytes = 0;
      this.#length = 0;
      return true;
    }
    this.#length += (byte & 0x7f) * 128 ** this.#lengthBytes;
    this.#lengthBytes += 1;
    if ((byte & 0x80) !== 0) return this.#lengthBytes < LENGTH_BYTES_MAX;
    this.#lengthBytes = -1;
    this.#rest = this.#length;
    return this.#length <= this.maxBytes;
  }
}
