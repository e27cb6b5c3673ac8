// The guard on packet lengths, byte by byte: it counts the same however the bytes are cut.
import { describe, expect, test } from 'vitest';
import { PacketLimit, PacketType } from '../../../server/mqtt/packet-limit.js';

const MAX = 20_000;
const SMALL = 100;

/** A packet with this many bytes after its fixed header (MQTT 3.1.1, section 2.2.3). */
function packet(bodyBytes: number, type: number = PacketType.publish): Buffer {
  const length: number[] = [];
  let rest = bodyBytes;
  do {
    const digit = rest % 128;
    rest = Math.floor(rest / 128);
    length.push(rest > 0 ? digit | 0x80 : digit);
  } while (rest > 0);
  return Buffer.concat([Buffer.from([type << 4, ...length]), Buffer.alloc(bodyBytes, 0xff)]);
}

function accepts(bytes: Uint8Array, chunkBytes: number): boolean {
  const packetLimit = new PacketLimit({
    maxBytesOf: (type) => (type === PacketType.publish ? MAX : SMALL),
  });
  for (let at = 0; at < bytes.length; at += chunkBytes)
    if (!packetLimit.accept(bytes.subarray(at, at + chunkBytes))) return false;
  return true;
}

describe.each([1, 2, 3, 7, 4096, 1e6])('in chunks of %i bytes', (chunkBytes) => {
  test('packets_up_to_the_limit_pass_one_after_the_other', () => {
    const sizes = [0, 1, 127, 128, 129, 16_383, 16_384, MAX, 0, MAX];
    expect(accepts(Buffer.concat(sizes.map((size) => packet(size))), chunkBytes)).toBe(true);
  });

  test('packet_beyond_the_limit_is_refused_after_any_number_of_good_ones', () => {
    for (const before of [[], [5], [MAX, 0, 128]]) {
      const bytes = Buffer.concat([...before, MAX + 1].map((size) => packet(size)));
      expect(accepts(bytes, chunkBytes)).toBe(false);
    }
  });

  test('refused_at_its_header_without_one_byte_of_the_body', () => {
    expect(accepts(packet(MAX + 1).subarray(0, 4), chunkBytes)).toBe(false);
    expect(accepts(packet(MAX).subarray(0, 4), chunkBytes)).toBe(true);
  });

  test('each_type_has_its_own_limit_whatever_came_before', () => {
    for (const type of [PacketType.connect, PacketType.subscribe, PacketType.unsubscribe, 12]) {
      const small = packet(SMALL, type);
      expect(accepts(Buffer.concat([packet(MAX), small, packet(MAX)]), chunkBytes)).toBe(true);
      const large = packet(SMALL + 1, type);
      expect(accepts(Buffer.concat([packet(MAX), large]), chunkBytes)).toBe(false);
    }
  });

  test('length_of_more_than_four_bytes_is_malformed', () => {
    expect(accepts(Buffer.from([0x10, 0x80, 0x80, 0x80, 0x80, 0x01]), chunkBytes)).toBe(false);
    expect(accepts(Buffer.from([0x10, 0x80, 0x80, 0x80, 0x00]), chunkBytes)).toBe(true);
  });
});
