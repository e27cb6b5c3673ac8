// IPC frames: whole however the stream is split, and invalid frames refused.
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  BlockingFrames,
  decodeControl,
  decodeTensors,
  encodeControl,
  encodeTensors,
  FrameDecoder,
  FrameError,
  FrameKind,
  idOf,
  kindOf,
  type Frame,
} from '../../../../agent/inference/model-process/ipc-frames.js';
import { tensorOf, type Tensor } from '../../../../agent/inference/model/tensor.js';
import { limits } from '../../../../shared/base/limits.js';
import type { Datatype } from '../../../../shared/release/model-manifest.js';
import { fp32 } from '../../../support/inference-releases.js';
import { tempFolder } from '../../../support/temp-folders.js';

const MAX = 1024 * 1024;

const tensors: Tensor[] = [
  fp32('x', [1, 3], [1, 2, 3]),
  { name: 'flag', datatype: 'BOOL', shape: [5], data: Uint8Array.of(1, 0, 1, 0, 1) },
  tensorOf(
    'big',
    'INT64',
    [30_000],
    BigInt64Array.from({ length: 30_000 }, (_, i) => BigInt(i) << 33n),
  ),
  fp32('scalar', [], [7]),
];
const names = tensors.map(({ name }) => ({ name }));
/** Made inside a test, so that a frame that cannot be encoded fails one. */
const encoded = (): Buffer =>
  Buffer.concat([
    encodeControl({ ask: 'memory', text: 'é' }),
    ...encodeTensors(FrameKind.run, 77, tensors, MAX),
    ...encodeTensors(FrameKind.answer, 78, tensors.slice(0, 2), MAX),
  ]);

const check = (frames: Frame[]) => {
  expect(frames.map(kindOf)).toEqual([FrameKind.control, FrameKind.run, FrameKind.answer]);
  const [control, run, answer] = frames as [Frame, Frame, Frame];
  expect(decodeControl(control)).toEqual({ ask: 'memory', text: 'é' });
  expect([idOf(run), idOf(answer)]).toEqual([77, 78]);
  const got = decodeTensors(run, names);
  for (const [i, tensor] of tensors.entries()) {
    expect(got[i]).toMatchObject({
      name: tensor.name,
      datatype: tensor.datatype,
      shape: tensor.shape,
    });
    expect(Buffer.compare(got[i]?.data as Uint8Array, tensor.data)).toBe(0);
  }
  expect(decodeTensors(answer, names.slice(0, 2))[1]?.data).toEqual(
    Buffer.from(tensors[1]?.data as Uint8Array),
  );
};

it('frames_come_out_whole_however_the_stream_is_split', () => {
  const stream = encoded();
  for (const size of [1, 2, 3, 7, 8, 9, 40, 41, 4096, 65_536, stream.length]) {
    const frames: Frame[] = [];
    const decoder = new FrameDecoder(MAX, (frame) =>
      frames.push({ header: Buffer.from(frame.header), body: Buffer.from(frame.body) }),
    );
    for (let at = 0; at < stream.length; at += size)
      decoder.push(Buffer.from(stream.subarray(at, at + size)));
    check(frames);
  }
});

it('blocking_reads_give_frames_with_aligned_bodies', () => {
  const path = join(tempFolder(), 'stream');
  writeFileSync(path, encoded());
  const fd = openSync(path, 'r');
  // Positionless reads of a file advance like those of a socket.
  const reader = new BlockingFrames(fd, MAX);
  const frames: Frame[] = [];
  for (let frame = reader.next(); frame !== null; frame = reader.next()) {
    if (kindOf(frame) !== FrameKind.control) expect(frame.body.byteOffset % 8).toBe(0);
    frames.push({ header: Buffer.from(frame.header), body: Buffer.from(frame.body) });
  }
  closeSync(fd);
  check(frames);
});

it('frame_announced_beyond_the_limit_is_refused_before_anything_is_allocated', () => {
  const lie = Buffer.alloc(8);
  lie.writeUInt32LE(8, 0);
  lie.writeUInt32LE(0xffff_fff0, 4);
  expect(() => new FrameDecoder(MAX, () => {}).push(lie)).toThrow(FrameError);
  expect(() =>
    encodeTensors(FrameKind.run, 1, [fp32('x', [MAX], new Float32Array(MAX))], MAX),
  ).toThrow(FrameError);
});

it('table_that_points_outside_the_body_is_refused', () => {
  const [bytes] = encodeTensors(FrameKind.run, 1, [fp32('x', [2], [1, 2])], MAX) as [Buffer];
  bytes.writeUInt32LE(4000, 8 + 8 + 4);
  new FrameDecoder(MAX, (frame) =>
    expect(() => decodeTensors(frame, [{ name: 'x' }])).toThrow(FrameError),
  ).push(bytes);
});

/** The bytes of a run frame with one tensor, for a test to damage. */
const oneTensor = (tensor: Tensor = fp32('x', [2], [1, 2])): Buffer =>
  Buffer.concat(encodeTensors(FrameKind.run, 1, [tensor], MAX));

function decodeOne(bytes: Buffer, maxBytes = MAX): Frame {
  const frames: Frame[] = [];
  new FrameDecoder(maxBytes, (frame) => frames.push(frame)).push(bytes);
  expect(frames).toHaveLength(1);
  return frames[0] as Frame;
}

function prefix(headerBytes: number, bodyBytes: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt32LE(headerBytes, 0);
  bytes.writeUInt32LE(bodyBytes, 4);
  return bytes;
}

describe('layout', () => {
  it('run_frame_has_the_documented_bytes', () => {
    const tensor: Tensor = {
      name: 'x',
      datatype: 'INT16',
      shape: [3, 1],
      data: Uint8Array.of(1, 2, 3, 4, 5, 6),
    };
    const bytes = Buffer.concat(encodeTensors(FrameKind.answer, 0x01020304, [tensor], MAX));
    const expected = [
      [24, 0, 0, 0, 8, 0, 0, 0], // header and body length
      [2, 1, 0, 0, 4, 3, 2, 1], // kind, count, id
      [4, 2, 0, 0, 6, 0, 0, 0], // datatype, rank, bytes
      [3, 0, 0, 0, 1, 0, 0, 0], // dimensions
      [1, 2, 3, 4, 5, 6],
    ].flat();
    expect(bytes).toHaveLength(40);
    expect([...bytes.subarray(0, 38)]).toEqual(expected);
  });

  it.each<[Datatype, number]>([
    ['BOOL', 0],
    ['UINT8', 1],
    ['INT8', 2],
    ['UINT16', 3],
    ['INT16', 4],
    ['INT32', 5],
    ['INT64', 6],
    ['FP32', 7],
    ['FP64', 8],
  ])('datatype_%s_has_code_%s', (datatype, code) => {
    const bytes = oneTensor({ name: 'x', datatype, shape: [1], data: new Uint8Array(8) });
    expect(bytes[16]).toBe(code);
    expect(decodeTensors(decodeOne(bytes), [{ name: 'x' }])[0]?.datatype).toBe(datatype);
  });

  it.each([65_536, 65_537, 65_543])('large_tensor_of_%s_bytes_is_not_copied', (length) => {
    const data = new Uint8Array(length).fill(7);
    const tensors: Tensor[] = [
      { name: 'a', datatype: 'UINT8', shape: [length], data },
      { name: 'b', datatype: 'UINT8', shape: [1], data: Uint8Array.of(9) },
    ];
    const pieces = encodeTensors(FrameKind.run, 1, tensors, MAX);
    expect(pieces[1]).toBe(data);
    const bytes = Buffer.concat(pieces);
    expect(bytes.length % 8).toBe(0);
    const got = decodeTensors(decodeOne(bytes), [{ name: 'a' }, { name: 'b' }]);
    expect(Buffer.compare(got[0]?.data as Uint8Array, data)).toBe(0);
    expect([...(got[1]?.data as Uint8Array)]).toEqual([9]);
  });

  it('frame_is_one_piece_up_to_its_limit', () => {
    expect(encodeTensors(FrameKind.run, 1, [fp32('x', [2], [1, 2])], MAX)).toHaveLength(1);
    const frameOf = (bytes: number): Uint8Array[] => {
      const data = new Uint8Array(bytes - 32);
      const tensor: Tensor = { name: 'x', datatype: 'UINT8', shape: [data.length], data };
      return encodeTensors(FrameKind.run, 1, [tensor], MAX);
    };
    const [whole, ...rest] = frameOf(limits.hostFrameJoinedMaxBytes);
    expect(whole).toHaveLength(limits.hostFrameJoinedMaxBytes);
    expect(rest).toEqual([]);
    // A tensor that ends at a multiple of 8 needs no padding.
    expect(frameOf(limits.hostFrameJoinedMaxBytes + 8)).toHaveLength(2);
  });
});

describe('limits', () => {
  it('frame_of_exactly_the_limit_is_sent_and_received_and_one_byte_less_refuses_it', () => {
    const bytes = oneTensor();
    const tensor = fp32('x', [2], [1, 2]);
    expect(encodeTensors(FrameKind.run, 1, [tensor], bytes.length)).toHaveLength(1);
    expect(() => encodeTensors(FrameKind.run, 1, [tensor], bytes.length - 1)).toThrow(
      expect.objectContaining({
        name: 'FrameError',
        message: `a frame of ${bytes.length} bytes is longer than the limit of ${bytes.length - 1}`,
      }),
    );
    decodeOne(bytes, bytes.length);
    expect(() => decodeOne(bytes, bytes.length - 1)).toThrow(FrameError);
  });

  it.each([
    ['no header', 0, 8, MAX],
    ['a header beyond its limit', limits.hostFrameHeaderMaxBytes + 1, 0, 1024 * MAX],
    ['a body beyond the limit', 8, MAX - 15, MAX],
  ])('announcement_of_%s_is_refused', (_, header, body, maxBytes) => {
    const bytes = prefix(header, body);
    expect(() => new FrameDecoder(maxBytes, () => {}).push(bytes)).toThrow(
      `a frame announces ${header} + ${body} bytes, the limit is ${maxBytes}`,
    );
  });

  it.each([
    ['the smallest header', 1, 0, MAX],
    ['a header of its limit', limits.hostFrameHeaderMaxBytes, 0, 1024 * MAX],
    ['a frame of the limit', 8, MAX - 16, MAX],
  ])('announcement_of_%s_is_accepted', (_, header, body, maxBytes) => {
    expect(() => new FrameDecoder(maxBytes, () => {}).push(prefix(header, body))).not.toThrow();
  });
});

describe('tables', () => {
  it.each([0, 2])('frame_with_one_tensor_where_%s_are_expected_is_refused', (count) => {
    const names = Array.from({ length: count }, () => ({ name: 'x' }));
    expect(() => decodeTensors(decodeOne(oneTensor()), names)).toThrow(
      new FrameError(`a frame carries 1 tensors, expected ${count}`),
    );
  });

  const damaged = (damage: (bytes: Buffer) => void): (() => unknown) => {
    const bytes = oneTensor();
    damage(bytes);
    return () => decodeTensors(decodeOne(bytes), [{ name: 'x' }]);
  };

  it.each<[string, (bytes: Buffer) => void, string]>([
    ['an_unknown_datatype', (bytes) => bytes.writeUInt8(9, 16), 'does not fit its body'],
    ['more_dimensions_than_the_header_holds', (bytes) => bytes.writeUInt8(3, 17), 'does not fit'],
    ['one_byte_more_than_the_body', (bytes) => bytes.writeUInt32LE(9, 20), 'does not fit'],
  ])('table_with_%s_is_refused', (_, damage, message) => {
    expect(damaged(damage)).toThrow(FrameError);
    expect(damaged(damage)).toThrow(message);
  });

  it('table_that_ends_before_its_entry_is_refused', () => {
    const header = Buffer.alloc(8);
    header[0] = FrameKind.run;
    header[1] = 1;
    const frame: Frame = { header, body: Buffer.alloc(0) };
    expect(() => decodeTensors(frame, [{ name: 'x' }])).toThrow(
      "a frame's tensor table is cut short",
    );
  });

  it('second_tensor_must_fit_behind_the_padding_of_the_first', () => {
    const tensors = ['a', 'b'].map((name): Tensor => ({
      name,
      datatype: 'UINT8',
      shape: [3],
      data: Uint8Array.of(1, 2, 3),
    }));
    const bytes = Buffer.concat(encodeTensors(FrameKind.run, 1, tensors, MAX));
    const frame = decodeOne(bytes);
    const names = [{ name: 'a' }, { name: 'b' }];
    expect(decodeTensors(frame, names).map(({ data }) => [...data])).toEqual([
      [1, 2, 3],
      [1, 2, 3],
    ]);
    const short: Frame = { header: frame.header, body: frame.body.subarray(0, 10) };
    expect(() => decodeTensors(short, names)).toThrow(FrameError);
    const whole: Frame = { header: frame.header, body: frame.body.subarray(0, 11) };
    expect(decodeTensors(whole, names)).toHaveLength(2);
  });
});

it('stream_that_ends_inside_a_frame_is_the_end', () => {
  const bytes = oneTensor();
  for (const length of [0, 7, 8, bytes.length - 1]) {
    const path = join(tempFolder(), 'stream');
    writeFileSync(path, bytes.subarray(0, length));
    const fd = openSync(path, 'r');
    expect(new BlockingFrames(fd, MAX).next()).toBeNull();
    closeSync(fd);
  }
});
