// Limits the length of MQTT packets while their bytes arrive. The broker's parser would collect a
// packet of up to 256 MB before anyone could refuse it, also from a client that has not logged in.
// This class reads each packet's length from its fixed header (MQTT 3.1.1, section 2.2.3) and
// refuses at once. It keeps no bytes of the packets. Each type of packet has a limit of its own: a
// subscription of 100 KB holds thousands of filters, and the broker handles each of them.

/** Fixed by MQTT 3.1.1. */
const LENGTH_BYTES_MAX = 4;

/** Packet types of MQTT 3.1.1, table 2.1. */
export const PacketType = { connect: 1, publish: 3, subscribe: 8, unsubscribe: 10 } as const;

export interface PacketLimitOptions {
  /** Of the remaining length: a packet of that type without its fixed header. */
  readonly maxBytesOf: (type: number) => number;
}

export class PacketLimit {
  readonly #maxBytesOf: (type: number) => number;
  #type = 0;
  /** Bytes of the present packet that are still to come. */
  #rest = 0;
  /** In the fixed header: how many length bytes were read (-1: the type byte is next). */
  #lengthBytes = -1;
  #length = 0;

  constructor({ maxBytesOf }: PacketLimitOptions) {
    this.#maxBytesOf = maxBytesOf;
  }

  /** Of the packet that was looked at last. */
  get type(): number {
    return this.#type;
  }

  /**
   * False as soon as a packet announces more than the limit, or a malformed length; the caller must
   * close the connection then.
   */
  accept(chunk: Uint8Array): boolean {
    let at = 0;
    while (at < chunk.length) {
      if (this.#rest > 0) {
        const skipped = Math.min(this.#rest, chunk.length - at);
        this.#rest -= skipped;
        at += skipped;
      } else if (!this.#header(chunk[at++] as number)) {
        return false;
      }
    }
    return true;
  }

  #header(byte: number): boolean {
    if (this.#lengthBytes < 0) {
      this.#type = byte >> 4;
      this.#lengthBytes = 0;
      this.#length = 0;
      return true;
    }
    this.#length += (byte & 0x7f) * 128 ** this.#lengthBytes;
    this.#lengthBytes += 1;
    if ((byte & 0x80) !== 0) return this.#lengthBytes < LENGTH_BYTES_MAX;
    this.#lengthBytes = -1;
    this.#rest = this.#length;
    return this.#length <= this.#maxBytesOf(this.#type);
  }
}
