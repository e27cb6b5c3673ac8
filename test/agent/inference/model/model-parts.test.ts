// The pure parts of the runtime: frames however they are split, tensors and JSON, guard, classes,
// differences.
import { closeSync, openSync, writeFileSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { classify } from '../../../../agent/inference/model/classify.js';
import { worstOf } from '../../../../agent/inference/model/compare.js';
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
import { firstNonFinite, guard } from '../../../../agent/inference/model/guard.js';
import {
  elementBytes,
  elementsOf,
  fromJson,
  tensorOf,
  toJsonText,
  type Tensor,
} from '../../../../agent/inference/model/tensor.js';
import { Fault } from '../../../../shared/base/fault-codes.js';
import {
  ELEMENT_BYTES,
  type Datatype,
  type TensorSpec,
} from '../../../../shared/release/model-manifest.js';
import { fp32 } from '../../../support/inference-releases.js';

const MAX = 1024 * 1024;

function faultOf(work: () => unknown): Fault {
  try {
    work();
  } catch (error) {
    if (error instanceof Fault) return error;
    throw error;
  }
  throw new Error('no fault');
}

describe('frames', () => {
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
  const stream = Buffer.concat([
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

  it('come out whole however the stream is split', () => {
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

  it('come out of blocking reads too, with bodies that need no copy to be read as numbers', () => {
    const path = join(mkdtempSync(join(tmpdir(), 'linnet-frames-')), 'stream');
    writeFileSync(path, stream);
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

  it('announced beyond the bound are refused before anything is allocated', () => {
    const lie = Buffer.alloc(8);
    lie.writeUInt32LE(8, 0);
    lie.writeUInt32LE(0xffff_fff0, 4);
    expect(() => new FrameDecoder(MAX, () => {}).push(lie)).toThrow(FrameError);
    expect(() =>
      encodeTensors(FrameKind.run, 1, [fp32('x', [MAX], new Float32Array(MAX))], MAX),
    ).toThrow(FrameError);
  });

  it('whose table points outside the body are refused', () => {
    const [bytes] = encodeTensors(FrameKind.run, 1, [fp32('x', [2], [1, 2])], MAX) as [Buffer];
    bytes.writeUInt32LE(4000, 8 + 8 + 4);
    new FrameDecoder(MAX, (frame) =>
      expect(() => decodeTensors(frame, [{ name: 'x' }])).toThrow(FrameError),
    ).push(bytes);
  });
});

describe('tensors', () => {
  it('have the element sizes that manifests are checked with', () => {
    for (const [datatype, bytes] of Object.entries(ELEMENT_BYTES))
      expect(elementBytes(datatype as Datatype)).toBe(bytes);
  });

  it('are read where they stand, and by a copy when misaligned', () => {
    const bytes = new Uint8Array(new ArrayBuffer(13));
    new DataView(bytes.buffer).setFloat32(1, 2.5, true);
    new DataView(bytes.buffer).setFloat32(5, -1, true);
    expect([...elementsOf({ datatype: 'FP32', data: bytes.subarray(1, 9) })]).toEqual([2.5, -1]);
    const buffer = Buffer.from(bytes.buffer, 1, 8); // Buffer.slice would not copy
    expect([...elementsOf({ datatype: 'FP32', data: buffer })]).toEqual([2.5, -1]);
  });

  it('take JSON data flat or nested, and give it back', () => {
    expect([...elementsOf(fromJson('x', 'INT32', [2, 2], [1, 2, 3, 4]))]).toEqual([1, 2, 3, 4]);
    expect([...elementsOf(fromJson('x', 'INT32', [2, 1, 2], [[[1, 2]], [[3, 4]]]))]).toEqual([
      1, 2, 3, 4,
    ]);
    expect(toJsonText(fromJson('x', 'BOOL', [2], [true, false]))).toBe('[true,false]');
    expect(toJsonText(tensorOf('x', 'INT64', [1], BigInt64Array.of(9_007_199_254_740_993n)))).toBe(
      '[9007199254740993]',
    );
  });

  it('refuse JSON that they cannot carry exactly', () => {
    for (const [datatype, value] of [
      ['UINT8', 256],
      ['UINT8', -1],
      ['INT32', 1.5],
      ['INT64', 2 ** 53],
      ['FP32', '1'],
      ['FP32', null],
      ['BOOL', 2],
    ] as const) {
      expect(faultOf(() => fromJson('x', datatype, [1], [value]))).toMatchObject({
        code: 'request_tensor',
        detail: expect.stringContaining('tensor x') as string,
      });
    }
    expect(faultOf(() => fromJson('x', 'FP32', [2, 2], [[1, 2], [3]])).code).toBe('request_tensor');
    expect(faultOf(() => fromJson('x', 'FP32', [2, 2], [1, 2, 3])).detail).toMatch(/3 elements.*4/);
    expect(faultOf(() => fromJson('x', 'FP32', [2], undefined)).code).toBe('request_tensor');
  });
});

describe('the guard', () => {
  const specs: TensorSpec[] = [
    { name: 'x', datatype: 'FP32', shape: [-1, 2] },
    { name: 'n', datatype: 'INT32', shape: [1], range: { min: 0, max: 9 } },
  ];
  const x = fp32('x', [1, 2], [1, 2]);
  const n = tensorOf('n', 'INT32', [1], Int32Array.of(3));

  it('puts tensors into the order of the manifest', () => {
    expect(guard(specs, [n, x], MAX).map(({ name }) => name)).toEqual(['x', 'n']);
  });

  it.each([
    ['missing', [x], 'request_tensor', /tensor n INT32\[1\] is missing/],
    ['unknown', [x, n, fp32('y', [1], [1])], 'request_tensor', /unknown tensor y/],
    ['twice', [x, x, n], 'request_tensor', /x is given twice/],
    [
      'datatype',
      [tensorOf('x', 'FP64', [1, 2], Float64Array.of(1, 2)), n],
      'request_tensor',
      /FP64\[1,2\], the model takes FP32/,
    ],
    [
      'rank',
      [fp32('x', [2], [1, 2]), n],
      'request_tensor',
      /shape \[2\], the model takes \[-1,2\]/,
    ],
    ['size of a fixed axis', [fp32('x', [1, 3], [1, 2, 3]), n], 'request_tensor', /\[1,3\]/],
    ['an empty axis', [fp32('x', [0, 2], []), n], 'request_tensor', /\[0,2\]/],
    ['a negative axis', [fp32('x', [-1, 2], []), n], 'request_tensor', /\[-1,2\]/],
    ['bytes', [{ ...x, data: x.data.subarray(0, 4) }, n], 'request_tensor', /4 bytes.*means 8/],
    ['a huge shape', [{ ...x, shape: [2 ** 31, 2] }, n], 'request_too_large', /bound/],
    ['NaN', [fp32('x', [1, 2], [1, NaN]), n], 'request_value', /element 1 is NaN/],
    ['infinity', [fp32('x', [1, 2], [-Infinity, 1]), n], 'request_value', /element 0 is -Infinity/],
    [
      'out of range',
      [x, tensorOf('n', 'INT32', [1], Int32Array.of(10))],
      'request_value',
      /is 10, expected 0 to 9/,
    ],
  ] as const)('refuses: %s', (_, tensors, code, reasons) => {
    const fault = faultOf(() => guard(specs, tensors, MAX));
    expect(fault.code).toBe(code);
    expect(fault.detail).toMatch(reasons);
  });

  it('finds what a model must not answer', () => {
    expect(firstNonFinite(fp32('y', [3], [1, 2, NaN]))).toBe(2);
    expect(firstNonFinite(fp32('y', [3], [1, 2, 3]))).toBe(-1);
  });
});

describe('classes', () => {
  const classifier = { output: 'y', scale: 'logits', labels: ['a', 'b', 'c'] } as const;
  it('come with a softmax that does not overflow, one a row', () => {
    const rows = classify({ ...classifier, labels: [...classifier.labels] }, [
      fp32('y', [2, 3], [1000, 999, 0, 0, 0, 0]),
    ]);
    expect(rows?.map(({ index }) => index)).toEqual([0, 0]);
    expect(rows?.[0]?.confidence).toBeCloseTo(1 / (1 + Math.exp(-1)), 6);
    expect(rows?.[1]?.confidence).toBeCloseTo(1 / 3, 6);
  });

  it('are none for an answer that is not finite or has another width', () => {
    const labels = [...classifier.labels];
    expect(classify({ ...classifier, labels }, [fp32('y', [1, 3], [1, NaN, 2])])).toBeNull();
    expect(classify({ ...classifier, labels }, [fp32('y', [1, 2], [1, 2])])).toBeNull();
    expect(
      classify({ ...classifier, scale: 'probabilities', labels }, [
        fp32('y', [1, 3], [0.1, 0.7, 0.2]),
      ])?.[0],
    ).toMatchObject({
      index: 1,
    });
  });
});

describe('differences', () => {
  it('follow the tolerance of the manifest element by element', () => {
    const golden = [fp32('y', [2], [10, 0])];
    const tolerance = { absolute: 0.1, relative: 0.01 };
    expect(worstOf([fp32('y', [2], [10.19, 0.09])], golden, tolerance)).toMatchObject({
      within: true,
    });
    expect(worstOf([fp32('y', [2], [10, 0.11])], golden, tolerance)).toMatchObject({
      within: false,
      reasons: expect.stringContaining('element 1') as string,
    });
    expect(worstOf([fp32('y', [2], [NaN, 0])], golden, tolerance)).toMatchObject({
      within: false,
      worst: Infinity,
    });
    expect(worstOf([fp32('y', [1, 2], [10, 0])], golden, tolerance).reasons).toMatch(
      /FP32\[1,2\], expected FP32\[2\]/,
    );
  });
});
