// Tensors and the protocol's JSON form of them: exact limits of every datatype, from both sides.
import { describe, expect, it } from 'vitest';
import {
  byteLengthOf,
  describe as describeTensor,
  elementBytes,
  elementCount,
  elementsOf,
  fromJson,
  fromProbe,
  isDatatype,
  tensorOf,
  toJsonText,
} from '../../../../agent/inference/model/tensor.js';
import { ELEMENT_BYTES, type Datatype } from '../../../../shared/release/model-manifest.js';
import { refusalOf } from '../../../support/inference-engines.js';
import { fp32 } from '../../../support/inference-releases.js';

it('element_sizes_are_those_that_manifests_are_checked_with', () => {
  for (const [datatype, bytes] of Object.entries(ELEMENT_BYTES))
    expect(elementBytes(datatype as Datatype)).toBe(bytes);
});

it('misaligned_bytes_are_read_correctly', () => {
  const bytes = new Uint8Array(new ArrayBuffer(13));
  new DataView(bytes.buffer).setFloat32(1, 2.5, true);
  new DataView(bytes.buffer).setFloat32(5, -1, true);
  expect([...elementsOf({ datatype: 'FP32', data: bytes.subarray(1, 9) })]).toEqual([2.5, -1]);
  const buffer = Buffer.from(bytes.buffer, 1, 8); // Buffer.slice would not copy
  expect([...elementsOf({ datatype: 'FP32', data: buffer })]).toEqual([2.5, -1]);
});

it('json_data_may_be_flat_or_nested', () => {
  expect([...elementsOf(fromJson('x', 'INT32', [2, 2], [1, 2, 3, 4]))]).toEqual([1, 2, 3, 4]);
  expect([...elementsOf(fromJson('x', 'INT32', [2, 1, 2], [[[1, 2]], [[3, 4]]]))]).toEqual([
    1, 2, 3, 4,
  ]);
  expect(toJsonText(fromJson('x', 'BOOL', [2], [true, false]))).toBe('[true,false]');
  expect(toJsonText(tensorOf('x', 'INT64', [1], BigInt64Array.of(9_007_199_254_740_993n)))).toBe(
    '[9007199254740993]',
  );
});

it('json_that_a_tensor_cannot_carry_exactly_is_refused', () => {
  for (const [datatype, value] of [
    ['UINT8', 256],
    ['UINT8', -1],
    ['INT32', 1.5],
    ['INT64', 2 ** 53],
    ['FP32', '1'],
    ['FP32', null],
    ['BOOL', 2],
  ] as const) {
    expect(refusalOf(() => fromJson('x', datatype, [1], [value]))).toMatchObject({
      code: 'request_tensor',
      detail: expect.stringContaining('tensor x') as string,
    });
  }
  expect(refusalOf(() => fromJson('x', 'FP32', [2, 2], [[1, 2], [3]])).code).toBe('request_tensor');
  // As many elements as the shape needs, and still no rows of it.
  for (const uneven of [
    [[1, 2, 3], [4]],
    [[1, 2, 3, 4], []],
    [[1, 2], 3],
  ])
    expect(refusalOf(() => fromJson('x', 'FP32', [2, 2], uneven)).detail).toBe(
      'tensor x: nested data does not have shape [2,2] at axis 1',
    );
  expect(refusalOf(() => fromJson('x', 'FP32', [2, 2], [1, 2, 3])).code).toBe('request_tensor');
  expect(refusalOf(() => fromJson('x', 'FP32', [2, 2], [1, 2, 3])).detail).toMatch(/3 elements.*4/);
  expect(refusalOf(() => fromJson('x', 'FP32', [2], undefined)).code).toBe('request_tensor');
});

const read = (datatype: Datatype, value: unknown): number | bigint | undefined =>
  elementsOf(fromJson('x', datatype, [1], [value]))[0];
const refusal = (datatype: Datatype, value: unknown): string => {
  const fault = refusalOf(() => fromJson('x', datatype, [1], [value]));
  expect(fault.code).toBe('request_tensor');
  return fault.detail;
};

describe('integers in JSON', () => {
  const hint = ' (send larger values as binary data: JSON would round them)';

  it.each<[Datatype, number, number, string]>([
    ['UINT8', 0, 255, ''],
    ['INT8', -128, 127, ''],
    ['UINT16', 0, 65_535, ''],
    ['INT16', -32_768, 32_767, ''],
    ['INT32', -2_147_483_648, 2_147_483_647, ''],
    ['INT64', Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER, hint],
  ])('limits_of_%s_are_%d_and_%d', (datatype, min, max, more) => {
    for (const value of [min, max, 0, 1, 127]) expect(Number(read(datatype, value))).toBe(value);
    for (const value of [min - 1, max + 1, 0.5, '1', true, null]) {
      expect(refusal(datatype, value)).toBe(
        `tensor x: element 0 is ${JSON.stringify(value)}, ` +
          `${datatype} takes integers from ${min} to ${max}${more}`,
      );
    }
  });
});

describe('BOOL in JSON', () => {
  it.each([
    [true, 1],
    [false, 0],
    [1, 1],
    [0, 0],
  ])('%j_is_%s', (value, element) => {
    expect(read('BOOL', value)).toBe(element);
  });

  it.each([[2], [-1], [0.5], ['true'], [null]])('%j_is_refused', (value) => {
    expect(refusal('BOOL', value)).toBe(
      `tensor x: element 0 is ${JSON.stringify(value)}, BOOL takes true or false`,
    );
  });
});

describe.each<Datatype>(['FP32', 'FP64'])('%s in JSON', (datatype) => {
  it('numbers_are_taken_and_anything_else_is_refused', () => {
    for (const value of [0, -1.5, 1e30]) expect(read(datatype, value)).toBeCloseTo(value, -25);
    for (const value of ['1', true, null]) {
      expect(refusal(datatype, value)).toBe(
        `tensor x: element 0 is ${JSON.stringify(value)}, ${datatype} takes numbers`,
      );
    }
  });
});

describe('messages', () => {
  it.each([
    [[1], 'an array'],
    [{ a: 1 }, 'an object'],
    ['a'.repeat(38), `"${'a'.repeat(38)}"`],
    ['a'.repeat(39), `"${'a'.repeat(39)}...`],
  ])('wrong_element_is_shown_briefly_%j', (value, shown) => {
    expect(refusal('FP32', value)).toBe(`tensor x: element 0 is ${shown}, FP32 takes numbers`);
  });

  it('second_element_is_named_by_its_position', () => {
    expect(refusalOf(() => fromJson('x', 'UINT8', [3], [1, 2, -1])).detail).toMatch(
      /^tensor x: element 2 is -1/,
    );
  });

  it.each([
    [undefined, 'none'],
    [null, 'object'],
    ['text', 'string'],
    [{}, 'object'],
    [1, 'number'],
  ])('data_that_is_no_array_is_refused_%j', (data, given) => {
    expect(refusalOf(() => fromJson('x', 'FP32', [1], data)).detail).toBe(
      `tensor x: data must be an array, got ${given}`,
    );
  });
});

describe('nested JSON', () => {
  it('three_levels_are_read_in_row_major_order', () => {
    const tensor = fromJson(
      'x',
      'INT32',
      [2, 2, 2],
      [
        [
          [1, 2],
          [3, 4],
        ],
        [
          [5, 6],
          [7, 8],
        ],
      ],
    );
    expect([...elementsOf(tensor)]).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(tensor).toMatchObject({ name: 'x', datatype: 'INT32', shape: [2, 2, 2] });
  });

  it.each<[string, unknown, number]>([
    ['too_few_rows', [[1, 2]], 0],
    [
      'too_many_rows',
      [
        [1, 2],
        [3, 4],
        [5, 6],
      ],
      0,
    ],
    ['a_short_row', [[1, 2], [3]], 1],
    [
      'a_long_row',
      [
        [1, 2],
        [3, 4, 5],
      ],
      1,
    ],
    ['a_number_for_a_row', [[1, 2], 3], 1],
  ])('nested_data_with_%s_is_refused', (_, data, axis) => {
    const fault = refusalOf(() => fromJson('x', 'FP32', [2, 2], data));
    expect(fault.code).toBe('request_tensor');
    expect(fault.detail).toBe(`tensor x: nested data does not have shape [2,2] at axis ${axis}`);
  });

  it('data_nested_deeper_than_the_shape_is_refused', () => {
    expect(refusalOf(() => fromJson('x', 'FP32', [1, 1], [[[1]]])).detail).toBe(
      'tensor x: element 0 is an array, FP32 takes numbers',
    );
  });

  it.each([
    [[1, 2, 3], 3],
    [[1, 2, 3, 4, 5], 5],
    [[], 0],
  ])('flat_data_of_another_length_is_refused_%j', (data, count) => {
    expect(refusalOf(() => fromJson('x', 'FP32', [2, 2], data)).detail).toBe(
      `tensor x: data has ${count} elements, shape [2,2] needs 4`,
    );
  });
});

describe('JSON text', () => {
  it.each<[Datatype, unknown[], string]>([
    ['BOOL', [true, false], '[true,false]'],
    ['UINT8', [0, 255], '[0,255]'],
    ['INT8', [-128, 127], '[-128,127]'],
    ['UINT16', [65_535], '[65535]'],
    ['INT16', [-32_768], '[-32768]'],
    ['INT32', [-2_147_483_648], '[-2147483648]'],
    ['INT64', [Number.MIN_SAFE_INTEGER], '[-9007199254740991]'],
    ['FP32', [0.5, -2], '[0.5,-2]'],
    ['FP64', [1e300], '[1e+300]'],
  ])('%s_is_written_as_it_is_read', (datatype, values, text) => {
    const tensor = fromJson('x', datatype, [values.length], values);
    expect(toJsonText(tensor)).toBe(text);
    expect(JSON.parse(text)).toEqual(values);
  });
});

describe('sizes', () => {
  it.each([
    [[], 1],
    [[3], 3],
    [[2, 3, 4], 24],
    [[2, 0], 0],
  ])('shape_%j_has_%s_elements', (shape, count) => {
    expect(elementCount(shape)).toBe(count);
    expect(byteLengthOf('FP64', shape)).toBe(8 * count);
    expect(byteLengthOf('INT16', shape)).toBe(2 * count);
  });

  it('datatypes_are_those_of_the_protocol_that_are_supported', () => {
    for (const name of Object.keys(ELEMENT_BYTES)) expect(isDatatype(name)).toBe(true);
    for (const name of ['FP16', 'BF16', 'BYTES', 'UINT32', 'UINT64', 'fp32', '', 'toString'])
      expect(isDatatype(name)).toBe(false);
  });

  it('tensor_is_described_by_datatype_and_shape', () => {
    expect(describeTensor(fp32('x', [1, 2], [1, 2]))).toBe('FP32[1,2]');
    expect(describeTensor(fp32('x', [], [1]))).toBe('FP32[]');
  });
});

describe('tensors of a probes file', () => {
  const base64 = (bytes: number): string => Buffer.alloc(bytes, 1).toString('base64');

  it('bytes_that_fill_the_shape_are_taken', () => {
    const probe = { name: 'x', datatype: 'INT16' as const, shape: [2], data: base64(4) };
    expect(fromProbe(probe, 'probe p0')).toEqual({
      name: 'x',
      datatype: 'INT16',
      shape: [2],
      data: Uint8Array.of(1, 1, 1, 1),
    });
  });

  it.each([3, 5, 0, 8])('%s_bytes_for_a_shape_of_4_are_refused', (bytes) => {
    const probe = { name: 'x', datatype: 'INT16' as const, shape: [2], data: base64(bytes) };
    expect(refusalOf(() => fromProbe(probe, 'probe p0'))).toMatchObject({
      code: 'manifest_undecodable',
      detail: `probe p0: tensor x INT16[2] has ${bytes} bytes, its shape needs 4`,
    });
  });

  it('unknown_datatype_is_refused', () => {
    const probe = { name: 'x', datatype: 'FP16' as Datatype, shape: [2], data: base64(4) };
    expect(refusalOf(() => fromProbe(probe, 'probe p0'))).toMatchObject({
      code: 'manifest_undecodable',
      detail: 'probe p0: tensor x has datatype FP16',
    });
  });
});
