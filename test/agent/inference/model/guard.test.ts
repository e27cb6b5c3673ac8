// The guard: every check refused with several wrong inputs, every limit from both sides.
import { describe, expect, it } from 'vitest';
import { checkOutputs, guard, nonFiniteAnswer } from '../../../../agent/inference/model/guard.js';
import { tensorOf, type Tensor } from '../../../../agent/inference/model/tensor.js';
import type { TensorSpec } from '../../../../shared/release/model-manifest.js';
import { refusalOf } from '../../../support/inference-engines.js';
import { fp32 } from '../../../support/inference-releases.js';

const MAX = 1024 * 1024;
const specs: TensorSpec[] = [
  { name: 'x', datatype: 'FP32', shape: [-1, 2] },
  { name: 'n', datatype: 'INT32', shape: [1], range: { min: 0, max: 9 } },
];
const x = fp32('x', [1, 2], [1, 2]);
const n = tensorOf('n', 'INT32', [1], Int32Array.of(3));

it('tensors_are_put_into_the_order_of_the_manifest', () => {
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
  ['rank', [fp32('x', [2], [1, 2]), n], 'request_tensor', /shape \[2\], the model takes \[-1,2\]/],
  ['size of a fixed axis', [fp32('x', [1, 3], [1, 2, 3]), n], 'request_tensor', /\[1,3\]/],
  ['an empty axis', [fp32('x', [0, 2], []), n], 'request_tensor', /\[0,2\]/],
  ['a negative axis', [fp32('x', [-1, 2], []), n], 'request_tensor', /\[-1,2\]/],
  ['bytes', [{ ...x, data: x.data.subarray(0, 4) }, n], 'request_tensor', /4 bytes.*needs 8/],
  ['a huge shape', [{ ...x, shape: [2 ** 31, 2] }, n], 'request_too_large', /limit/],
  ['NaN', [fp32('x', [1, 2], [1, NaN]), n], 'request_value', /element 1 is NaN/],
  ['infinity', [fp32('x', [1, 2], [-Infinity, 1]), n], 'request_value', /element 0 is -Infinity/],
  [
    'out of range',
    [x, tensorOf('n', 'INT32', [1], Int32Array.of(10))],
    'request_value',
    /is 10, expected 0 to 9/,
  ],
] as const)('tensor_that_does_not_fit_is_refused_%s', (_, tensors, code, reasons) => {
  const fault = refusalOf(() => guard(specs, tensors, MAX));
  expect(fault.code).toBe(code);
  expect(fault.detail).toMatch(reasons);
});

const refusal = (specs: readonly TensorSpec[], tensors: readonly Tensor[], maxBytes = MAX) => {
  const { code, detail } = refusalOf(() => guard(specs, tensors, maxBytes));
  return `${code}: ${detail}`;
};

describe('names', () => {
  it('tensors_in_order_are_returned_as_they_are', () => {
    const tensors = [x, n];
    expect(guard(specs, tensors, MAX)).toBe(tensors);
  });

  it.each<[string, Tensor[], string]>([
    ['nothing', [], 'tensor x FP32[-1,2] is missing; the request has none'],
    ['one_of_two', [n], 'tensor x FP32[-1,2] is missing; the request has n'],
    ['one_too_many', [x, n, fp32('z', [1], [1])], 'unknown tensor z; the model takes x, n'],
    ['another_name', [x, { ...n, name: 'm' }], 'unknown tensor m; the model takes x, n'],
    ['one_twice', [n, n], 'tensor n is given twice; the model takes x, n'],
  ])('request_with_%s_is_refused', (_, tensors, detail) => {
    expect(refusal(specs, tensors)).toBe(`request_tensor: ${detail}`);
  });
});

describe('shapes', () => {
  const open: TensorSpec[] = [{ name: 'x', datatype: 'FP32', shape: [-1, 2] }];
  const shaped = (shape: number[], count: number): Tensor[] => [
    { name: 'x', datatype: 'FP32', shape, data: new Uint8Array(count * 4) },
  ];

  it.each([1, 2, 1000])('open_axis_takes_size_%s', (size) => {
    expect(guard(open, shaped([size, 2], size * 2), MAX)).toHaveLength(1);
  });

  it.each([
    [[0, 2], 0],
    [[-1, 2], 2],
    [[1.5, 2], 3],
    [[1, 1], 1],
    [[1, 3], 3],
    [[2], 2],
    [[1, 2, 1], 2],
    [[], 1],
  ])('shape_%j_is_refused', (shape, count) => {
    expect(refusal(open, shaped(shape, count))).toBe(
      `request_tensor: tensor x has shape [${shape.join(',')}], ` +
        'the model takes [-1,2] (-1: any size from 1)',
    );
  });

  it('scalar_is_taken_where_the_model_takes_one', () => {
    const scalar: TensorSpec[] = [{ name: 'x', datatype: 'FP32', shape: [] }];
    expect(guard(scalar, shaped([], 1), MAX)).toHaveLength(1);
    expect(refusal(scalar, shaped([1], 1))).toMatch(/has shape \[1\], the model takes \[\]/);
  });

  it.each([4, 12, 0, 7, 9])('%s_bytes_for_8_are_refused', (bytes) => {
    const tensor = { ...x, data: new Uint8Array(bytes) };
    expect(refusal(open, [tensor])).toBe(
      `request_tensor: tensor x has ${bytes} bytes, FP32[1,2] needs 8`,
    );
  });
});

describe('sizes', () => {
  const two: TensorSpec[] = ['a', 'b'].map((name) => ({ name, datatype: 'UINT8', shape: [-1] }));
  const bytes = (...lengths: number[]): Tensor[] =>
    lengths.map((length, i) => ({
      name: ['a', 'b'][i] as string,
      datatype: 'UINT8',
      shape: [length],
      data: new Uint8Array(length),
    }));

  it('one_tensor_beyond_the_limit_is_refused_and_one_of_the_limit_is_taken', () => {
    const one = two.slice(0, 1);
    expect(guard(one, bytes(100), 100)).toHaveLength(1);
    expect(refusal(one, bytes(101), 100)).toBe(
      'request_too_large: tensor a UINT8[101] needs 101 bytes, the limit is 100',
    );
  });

  it('tensors_beyond_the_limit_together_are_refused', () => {
    expect(guard(two, bytes(60, 40), 100)).toHaveLength(2);
    expect(refusal(two, bytes(60, 41), 100)).toBe(
      "request_too_large: the request's tensors have more than 100 bytes together, " +
        'which is the limit',
    );
  });
});

describe('values', () => {
  const spec = (datatype: TensorSpec['datatype'], range?: TensorSpec['range']): TensorSpec[] => [
    { name: 'v', datatype, shape: [2], ...(range === undefined ? {} : { range }) },
  ];
  const floats32 = (...values: number[]): Tensor[] => [fp32('v', [2], values)];
  const floats64 = (...values: number[]): Tensor[] => [
    tensorOf('v', 'FP64', [2], Float64Array.from(values)),
  ];

  it.each([
    ['FP32', floats32],
    ['FP64', floats64],
  ] as const)('%s_takes_finite_numbers_only', (datatype, make) => {
    const largest = datatype === 'FP32' ? 3.4028234663852886e38 : Number.MAX_VALUE;
    expect(guard(spec(datatype), make(-largest, largest), MAX)).toHaveLength(1);
    for (const [i, bad] of [NaN, Infinity, -Infinity].entries()) {
      const at = i % 2;
      expect(refusal(spec(datatype), at === 0 ? make(bad, 1) : make(1, bad))).toBe(
        `request_value: tensor v: element ${at} is ${bad}, expected a finite number`,
      );
    }
  });

  it.each([
    ['FP32', floats32],
    ['FP64', floats64],
  ] as const)('range_of_%s_includes_both_ends', (datatype, make) => {
    const range = { min: -1, max: 2 };
    expect(guard(spec(datatype, range), make(-1, 2), MAX)).toHaveLength(1);
    for (const bad of [-1.5, 2.5, NaN, Infinity, -Infinity]) {
      expect(refusal(spec(datatype, range), make(0, bad))).toBe(
        `request_value: tensor v: element 1 is ${bad}, expected a number from -1 to 2`,
      );
    }
  });

  it.each<[string, TensorSpec['datatype'], (values: number[]) => Tensor]>([
    ['INT32', 'INT32', (values) => tensorOf('v', 'INT32', [2], Int32Array.from(values))],
    ['INT8', 'INT8', (values) => tensorOf('v', 'INT8', [2], Int8Array.from(values))],
    [
      'INT64',
      'INT64',
      (values) => tensorOf('v', 'INT64', [2], BigInt64Array.from(values.map(BigInt))),
    ],
  ])('range_of_%s_includes_both_ends_and_is_optional', (_, datatype, make) => {
    const range = { min: -3, max: 5 };
    expect(guard(spec(datatype, range), [make([-3, 5])], MAX)).toHaveLength(1);
    expect(guard(spec(datatype), [make([-100, 100])], MAX)).toHaveLength(1);
    for (const bad of [-4, 6]) {
      expect(refusal(spec(datatype, range), [make([0, bad])])).toBe(
        `request_value: tensor v: element 1 is ${bad}, expected -3 to 5`,
      );
    }
  });

  it.each([2, 255])('byte_%s_is_no_bool', (bad) => {
    const bool = (...values: number[]): Tensor[] => [
      { name: 'v', datatype: 'BOOL', shape: [2], data: Uint8Array.from(values) },
    ];
    expect(guard(spec('BOOL'), bool(0, 1), MAX)).toHaveLength(1);
    expect(refusal(spec('BOOL'), bool(bad, 1))).toContain(`element 0 is ${bad},`);
    expect(refusal(spec('BOOL'), bool(1, bad))).toBe(
      `request_value: tensor v: element 1 is ${bad}, BOOL is 0 or 1`,
    );
  });
});

describe('answers of a model', () => {
  it.each([
    [[1, 2, NaN], 2],
    [[1, Infinity, 3], 1],
    [[-Infinity, 2, 3], 0],
  ])('answer_with_%j_is_withheld', (values, at) => {
    expect(nonFiniteAnswer([fp32('a', [1], [1]), fp32('y', [3], values)])).toMatchObject({
      code: 'model_run_failed',
      detail:
        `the model answered NaN or infinity (output y, element ${at}); ` + 'the answer is withheld',
    });
    const double = tensorOf('z', 'FP64', [3], Float64Array.from(values));
    expect(nonFiniteAnswer([double])?.detail).toContain(`(output z, element ${at})`);
  });

  it('finite_answer_is_good_and_integers_always_are', () => {
    expect(nonFiniteAnswer([fp32('y', [3], [1, 2, 3])])).toBeNull();
    const integers = tensorOf('y', 'INT32', [1], Int32Array.of(-1));
    expect(nonFiniteAnswer([integers])).toBeNull();
    // These bytes are NaN as FP32.
    const bytes = tensorOf('y', 'INT32', [1], Int32Array.of(0x7fc00000));
    expect(nonFiniteAnswer([bytes])).toBeNull();
    expect(nonFiniteAnswer([])).toBeNull();
  });
});

it('outputs_that_the_model_lacks_are_refused_by_name', () => {
  const outputs: TensorSpec[] = ['y', 'z'].map((name) => ({ name, datatype: 'FP32', shape: [1] }));
  expect(() => {
    checkOutputs(outputs, [{ name: 'z' }, { name: 'y' }]);
  }).not.toThrow();
  for (const names of [['w'], ['y', 'w'], ['w', 'y']]) {
    expect(
      refusalOf(() =>
        checkOutputs(
          outputs,
          names.map((name) => ({ name })),
        ),
      ),
    ).toMatchObject({
      code: 'request_tensor',
      detail: 'unknown output w; the model has y, z',
    });
  }
});
