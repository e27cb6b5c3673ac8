// The quantizer: its arithmetic against hand-worked cases, the digit models, small graphs for every
// operator that it changes, and what it refuses.
import { create } from '@bufbuild/protobuf';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { digitModelPath, loadDigits } from '../../../firmware-tools/demo/digits/data.js';
import { inspect } from '../../../firmware-tools/model/inspect.js';
import { compare } from '../../../firmware-tools/model/measure.js';
import { decodeModel } from '../../../firmware-tools/model/onnx/model-file.js';
import { makeAttribute, makeNode } from '../../../firmware-tools/model/onnx/nodes.js';
import {
  AttributeProto_AttributeType,
  AttributeProtoSchema,
  TensorProtoSchema,
  TensorProto_DataLocation,
  type NodeProto,
  type TensorProto,
} from '../../../firmware-tools/model/onnx/onnx_pb.js';
import { ElementType, makeTensor, makeValue } from '../../../firmware-tools/model/onnx/tensors.js';
import { quantize } from '../../../firmware-tools/model/quantize/quantize.js';
import {
  S8_REDUCED,
  S8_SYMMETRIC,
  U8,
  channelLayout,
  quantizeBias,
  quantizeValue,
  quantizeWeights,
  roundHalfEven,
  scaleAndZero,
} from '../../../firmware-tools/model/quantize/arithmetic.js';
import type { Feeds } from '../../../firmware-tools/model/session.js';
import { Seeded } from '../../../firmware-tools/demo/digits/seeded-random.js';
import { onnxModel } from '../../support/onnx-models.js';

const digits = loadDigits();
const digitFeeds = (images: Float32Array[]): Feeds[] =>
  images.map((image) => ({ image: { data: image, dims: [1, 1, 28, 28] } }));
const quiet = { now: () => 0, latencyRuns: 1 };

describe('arithmetic, as compute_scale_zp does it', () => {
  it.each([
    // rmin, rmax, range, symmetric, scale, zero point: worked by hand
    [0, 255, U8, false, 1, 0],
    [-1, 1, U8, false, Math.fround(2 / 255), 128], // 127.5 rounds to the even 128
    [-126.5, 128.5, U8, false, 1, 126], // 126.5 rounds to the even 126
    [-0.5, 2, U8, false, Math.fround(2.5 / 255), 51],
    [0.5, 6, U8, false, Math.fround(6 / 255), 0], // zero is always inside
    [-3, -1, U8, false, Math.fround(3 / 255), 255],
    [0, 0, U8, false, 1, 0], // too small for a float32 scale
    [0, 1e-40, U8, false, 1, 0],
    [-2, 1, S8_SYMMETRIC, true, Math.fround(4 / 254), 0],
    [-1, 1, S8_REDUCED, true, 0.015625, 0],
  ])('range_%d_%d', (rmin, rmax, range, symmetric, scale, zeroPoint) => {
    expect(scaleAndZero(rmin, rmax, range, symmetric)).toEqual({ scale, zeroPoint });
  });

  it('rounds_half_to_even_and_clips', () => {
    const rounded = [0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 2.4999, -2.5001]
      .map(roundHalfEven)
      .map((x) => x + 0);
    expect(rounded).toEqual([0, 2, 2, 0, -2, -2, 2, -3]);
    const code = { scale: 0.5, zeroPoint: 10 };
    expect([0, 0.25, 0.75, -100, 1000].map((x) => quantizeValue(x, code, U8))).toEqual([
      10, 10, 12, 0, 255,
    ]);
  });

  it('gives_each_channel_of_a_weight_its_own_scale_along_any_axis', () => {
    const weights = Float32Array.of(1, -2, 0.5, 0.25, 8, -8);
    const rows = quantizeWeights(weights, channelLayout([3, 2], 0), S8_SYMMETRIC);
    expect([...rows.scales]).toEqual([4 / 254, 1 / 254, 16 / 254].map(Math.fround));
    // 63.5 is a tie and goes to the even 64
    expect([...rows.values]).toEqual([64, -127, 127, 64, 127, -127]);
    const columns = quantizeWeights(weights, channelLayout([3, 2], 1), S8_SYMMETRIC);
    expect([...columns.scales]).toEqual([16 / 254, 16 / 254].map(Math.fround));
  });

  it('raises_a_weight_scale_rather_than_let_an_int32_bias_overflow', () => {
    const bias = Float32Array.of(1000);
    const weights = Float32Array.of(1e-9, -1e-9);
    const { scales } = quantizeWeights(weights, channelLayout([1, 2], 0), S8_SYMMETRIC, bias, 0.01);
    const { values, scales: biasScales } = quantizeBias(bias, 0.01, scales);
    expect(Math.abs(values[0]! * biasScales[0]! - 1000)).toBeLessThan(0.001);
    expect(values[0]!).toBeLessThan(2 ** 31 - 1);
  });
});

describe('the digit model', () => {
  it('loses_at_most_a_point_of_accuracy_and_shrinks_below_40_percent', async () => {
    for (const version of ['1.0.0', '1.1.0'] as const) {
      const fp32 = new Uint8Array(readFileSync(digitModelPath(version)));
      const { bytes, report } = await quantize(fp32, digitFeeds(digits.train.images.slice(0, 200)));
      const found = await compare(fp32, bytes, digitFeeds(digits.test.images), {
        ...quiet,
        labels: digits.test.labels,
      });
      expect(found.int8Accuracy!).toBeGreaterThanOrEqual(found.fp32Accuracy! - 0.01);
      expect(found.agreement).toBeGreaterThan(0.99);
      expect(found.int8Bytes / found.fp32Bytes).toBeLessThan(0.4);
      expect(report.fusedOps).toEqual({
        Flatten: 1,
        MaxPool: 2,
        QGemm: 1,
        QLinearConv: 2,
        QuantizeLinear: 1,
      });
    }
  });

  it('the_same_model_and_inputs_give_the_same_bytes_and_other_inputs_others', async () => {
    const fp32 = new Uint8Array(readFileSync(digitModelPath('1.1.0')));
    const feeds = digitFeeds(digits.train.images.slice(0, 30));
    const [once, twice] = [await quantize(fp32, feeds), await quantize(fp32, feeds)];
    const other = await quantize(fp32, feeds.slice(0, 3));
    expect(Buffer.from(once.bytes).equals(Buffer.from(twice.bytes))).toBe(true);
    expect(twice.settings).toEqual(once.settings);
    expect(other.settings.calibrationSha256).not.toBe(once.settings.calibrationSha256);
    expect(Buffer.from(other.bytes).equals(Buffer.from(once.bytes))).toBe(false);
    expect(JSON.parse(JSON.stringify(once.settings))).toEqual(once.settings);
  });

  it('keeps_its_tensors_and_says_that_it_is_quantized', async () => {
    const fp32 = new Uint8Array(readFileSync(digitModelPath('1.1.0')));
    const { bytes } = await quantize(fp32, digitFeeds(digits.train.images.slice(0, 5)));
    const [before, after] = [await inspect(fp32), await inspect(bytes)];
    expect([before.quantized, after.quantized]).toEqual([false, true]);
    expect(after.inputs).toEqual(before.inputs);
    expect(after.outputs).toEqual(before.outputs);
    const channels = 8 + 16 + 10; // as many float biases before as int8 zero points after
    expect(after.parametersByType['int8']).toBe(
      before.parametersByType['float32']! - channels + channels,
    );
    expect(after.parametersByType['int32']).toBe(2 * channels);
  });
});

const random = new Seeded(3);
const weights = (name: string, dims: number[]): TensorProto =>
  makeTensor(
    name,
    dims,
    Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => random.normal() * 0.3),
  );

/** A model x -> y. `listed`: its constants stand among its inputs too, as old exporters do it. */
function build(
  nodes: NodeProto[],
  initializer: TensorProto[],
  opset: number,
  dims: number[],
  listed = false,
): Uint8Array {
  const constants = listed
    ? initializer.map((t) => makeValue(t.name, t.dataType, t.dims.map(Number)))
    : [];
  return onnxModel({
    nodes,
    initializers: initializer,
    inputs: [makeValue('x', ElementType.float32, dims), ...constants],
    outputs: [makeValue('y', ElementType.float32)],
    opset,
    irVersion: opset < 9 ? 4 : 7,
  });
}

function feedsFor(dims: number[], count: number): Feeds[] {
  const length = dims.reduce((a, b) => a * b, 1);
  return Array.from({ length: count }, () => ({
    x: { data: Float32Array.from({ length }, () => random.normal()), dims },
  }));
}

const conv = (
  name: string,
  from: string,
  to: string,
  more: Record<string, number> = {},
): NodeProto =>
  makeNode('Conv', name, [from, `${name}.w`, `${name}.b`], [to], {
    kernel_shape: [3, 3],
    pads: [1, 1, 1, 1],
    ...more,
  });

/** [4, 16] x 16 inputs to 4 outputs, with a bias of the given shape. */
function gemm(transB: number, bias: number[]): Uint8Array {
  const nodes = [makeNode('Gemm', 'g', ['x', 'gw', 'gb'], ['y'], { transB })];
  return build(
    nodes,
    [weights('gw', transB === 0 ? [16, 4] : [4, 16]), weights('gb', bias)],
    13,
    [4, 16],
  );
}

/** `ends = [2^63 - 1]`, as exporters write "to the end". */
const int64Max = makeAttribute('ends', []);
int64Max.ints = [2n ** 63n - 1n];

describe('other graphs', () => {
  it('adds_concats_and_pools_are_joined_moves_share_scales_the_tail_stays_float', async () => {
    const dims = [1, 4, 8, 8];
    const nodes = [
      conv('a', 'x', 'a1'),
      makeNode('Relu', 'ra', ['a1'], ['a2']),
      conv('b', 'a2', 'b1', { group: 4 }),
      makeNode('Add', 'add', ['a2', 'b1'], ['s1']),
      makeNode('Relu', 'rs', ['s1'], ['s2']),
      makeNode('Mul', 'mul', ['s2', 'half'], ['s3']),
      makeNode('MaxPool', 'max', ['s3'], ['m'], { kernel_shape: [2, 2], strides: [2, 2] }),
      makeNode('AveragePool', 'mean', ['s2'], ['v'], { kernel_shape: [2, 2], strides: [2, 2] }),
      makeNode('Concat', 'cat', ['m', 'v'], ['c'], { axis: 1 }),
      makeNode('Conv', 'd', ['c', 'd.w'], ['d1'], { kernel_shape: [1, 1] }),
      makeNode('GlobalAveragePool', 'gap', ['d1'], ['g']),
      makeNode('Flatten', 'flat', ['g'], ['f']),
      makeNode('Gemm', 'fc', ['f', 'fc.w', 'fc.b'], ['z']),
      makeNode('Softmax', 'soft', ['z'], ['y'], { axis: -1 }),
    ];
    const initializer = [
      weights('a.w', [4, 4, 3, 3]),
      weights('a.b', [4]),
      weights('b.w', [4, 1, 3, 3]),
      weights('b.b', [4]),
      weights('d.w', [6, 8, 1, 1]),
      makeTensor('half', [1, 4, 1, 1], Float32Array.of(0.5, 1, 0.25, 2)),
      weights('fc.w', [6, 5]),
      weights('fc.b', [5]),
    ];
    const model = build(nodes, initializer, 13, dims);
    const { bytes, report } = await quantize(model, feedsFor(dims, 40));
    expect(report.unfusedNodes).toEqual([]);
    expect(report.floatNodes).toEqual([]);
    expect(report.foldedNodes).toBe(2);
    expect(report.quantizedNodes.map((n) => n.node).sort()).toEqual([
      'a',
      'add',
      'b',
      'cat',
      'd',
      'fc',
      'flat',
      'gap',
      'max',
      'mean',
      'mul',
    ]);
    for (const op of [
      'QLinearAdd',
      'QLinearMul',
      'QLinearConcat',
      'QLinearAveragePool',
      'QLinearGlobalAveragePool',
      'QGemm',
    ]) {
      expect(report.fusedOps[op], op).toBe(1);
    }
    const found = await compare(model, bytes, feedsFor(dims, 40), quiet);
    expect(found.maxAbsDiff).toBeLessThan(0.03); // of probabilities
    expect(found.minCosine).toBeGreaterThan(0.999);
  });

  it('matmul_of_any_rank_gemm_both_ways_shared_weights_and_weights_listed_as_inputs', async () => {
    const dims = [2, 3, 8];
    const nodes = [
      makeNode('MatMul', 'm1', ['x', 'w'], ['t1']),
      makeNode('MatMul', 'm2', ['t1', 'w'], ['t2']),
      makeNode('Reshape', 'flat', ['t2', 'shape'], ['t3']),
      makeNode('Gemm', 'g', ['t3', 'gw', 'gb'], ['y'], { transB: 1 }),
    ];
    const shape = makeTensor('shape', [2], BigInt64Array.of(6n, 8n));
    const initializer = [weights('w', [8, 8]), shape, weights('gw', [3, 8]), weights('gb', [1])];
    const model = build(nodes, initializer, 13, dims, true);
    const { bytes, report } = await quantize(model, feedsFor(dims, 40));
    expect(report.unfusedNodes).toEqual([]);
    expect(report.quantizedNodes.map((n) => n.node).sort()).toEqual(['flat', 'g', 'm1', 'm2']);
    const found = await compare(model, bytes, feedsFor(dims, 20), quiet);
    expect(found.minCosine).toBeGreaterThan(0.995);
  });

  it.each([true, false])(
    'a_gemm_bias_gets_one_value_for_each_output_per_channel_%s',
    async (perChannel) => {
      for (const transB of [0, 1]) {
        for (const bias of [[], [1], [4], [1, 1], [1, 4]]) {
          const model = gemm(transB, bias);
          const { bytes, report } = await quantize(model, feedsFor([4, 16], 10), { perChannel });
          expect(report.quantizedNodes).toEqual([{ node: 'g', op: 'Gemm' }]);
          const found = await compare(model, bytes, feedsFor([4, 16], 10), quiet);
          expect(found.minCosine).toBeGreaterThan(0.99);
        }
      }
    },
  );

  it.each([[[4, 1]], [[4, 4]]])('a_gemm_with_a_bias_of_%j_stays_float', async (bias) => {
    const nodes = [
      makeNode('MatMul', 'm', ['x', 'mw'], ['t']),
      makeNode('Gemm', 'g', ['t', 'gw', 'gb'], ['y'], { transB: 1 }),
    ];
    const model = build(
      nodes,
      [weights('mw', [16, 16]), weights('gw', [4, 16]), weights('gb', bias)],
      13,
      [4, 16],
    );
    const { bytes, report } = await quantize(model, feedsFor([4, 16], 10));
    expect(report.floatNodes).toEqual([
      {
        node: 'g',
        op: 'Gemm',
        why: `its bias is [${bias.join(', ')}], not one value for each of 4 outputs`,
      },
    ]);
    expect((await compare(model, bytes, feedsFor([4, 16], 10), quiet)).minCosine).toBeGreaterThan(
      0.99,
    );
  });

  it('reads_a_value_twice_a_float_branch_sees_it_before_it_is_quantized', async () => {
    const dims = [1, 4, 6, 6];
    const nodes = [
      makeNode('Tanh', 'tanh', ['x'], ['t']),
      conv('a', 't', 'c'),
      makeNode('Clip', 'six', ['c', 'zero', 'top'], ['k']),
      makeNode('Sigmoid', 's', ['t'], ['u']),
      makeNode('Sub', 'sub', ['k', 'u'], ['y']),
    ];
    const initializer = [
      weights('a.w', [4, 4, 3, 3]),
      weights('a.b', [4]),
      makeTensor('zero', [], Float32Array.of(0)),
      makeTensor('top', [], Float32Array.of(0.7)),
    ];
    const model = build(nodes, initializer, 13, dims);
    const { bytes, report } = await quantize(model, feedsFor(dims, 20));
    expect(report.foldedNodes).toBe(1);
    const after = new Map(
      decodeModel(bytes, 'int8').graph.node.map((node) => [node.name, node.input]),
    );
    expect(after.get('s')).toEqual(['t']);
    expect(after.get('a')![0]).toBe('t_DequantizeLinear_Output');
    const found = await compare(model, bytes, feedsFor(dims, 20), quiet);
    expect(found.minCosine).toBeGreaterThan(0.995);
  });

  it.each([9, 10, 11, 12])(
    'brings_operator_set_%d_to_13_without_changing_the_answers',
    async (opset) => {
      const dims = [1, 4, 8, 8];
      const int64s = (name: string, ...values: bigint[]): TensorProto =>
        makeTensor(name, [values.length], BigInt64Array.from(values));
      const scales = makeTensor('scales', [4], Float32Array.of(1, 1, 2, 2));
      const nodes = [
        conv('a', 'x', 'a1'),
        opset < 11
          ? makeNode('Clip', 'clip', ['a1'], ['a2'], { min: { float: -0.5 }, max: { float: 1.5 } })
          : makeNode('Clip', 'clip', ['a1', 'low', 'high'], ['a2']),
        opset < 10
          ? makeNode('Slice', 'slice', ['a2'], ['a3'], {
              starts: [1, 0],
              ends: [7, 6],
              axes: [2, 3],
            })
          : makeNode('Slice', 'slice', ['a2', 'starts', 'ends', 'axes'], ['a3']),
        opset < 11
          ? makeNode('Pad', 'pad', ['a3'], ['a4'], {
              pads: [0, 0, 1, 1, 0, 0, 1, 1],
              mode: 'constant',
            })
          : makeNode('Pad', 'pad', ['a3', 'pads'], ['a4']),
        opset < 10
          ? makeNode('Upsample', 'up', ['a4', 'scales'], ['a5'], { mode: 'nearest' })
          : makeNode(
              'Resize',
              'up',
              opset < 11 ? ['a4', 'scales'] : ['a4', 'roi', 'scales'],
              ['a5'],
              { mode: 'nearest' },
            ),
        makeNode('Split', 'split', ['a5'], ['p', 'q'], { axis: 1, split: [1, 3] }),
        makeNode('ReduceSum', 'sum', ['q'], ['r'], { axes: [1], keepdims: 1 }),
        makeNode('Squeeze', 'squeeze', ['p'], ['p1'], { axes: [1] }),
        makeNode('Unsqueeze', 'unsqueeze', ['p1'], ['p2'], { axes: [1] }),
        makeNode('Sub', 'sub', ['r', 'p2'], ['z']),
        makeNode('Dropout', 'drop', ['z'], ['z1'], opset < 12 ? { ratio: { float: 0.5 } } : {}),
        makeNode('Softmax', 'soft', ['z1'], ['y'], { axis: 2 }),
      ];
      const used = new Set(nodes.flatMap((node) => node.input));
      const initializer = [
        weights('a.w', [4, 4, 3, 3]),
        weights('a.b', [4]),
        scales,
        makeTensor('roi', [0], new Float32Array(0)),
        makeTensor('low', [], Float32Array.of(-0.5)),
        makeTensor('high', [], Float32Array.of(1.5)),
        int64s('starts', 1n, 0n),
        int64s('ends', 7n, 6n),
        int64s('axes', 2n, 3n),
        int64s('pads', 0n, 0n, 1n, 1n, 0n, 0n, 1n, 1n),
      ].filter((tensor) => used.has(tensor.name));
      const model = build(nodes, initializer, opset, dims);
      // refuses by itself when preparing changes an output
      const { bytes, report } = await quantize(model, feedsFor(dims, 10));
      expect([report.opsetBefore, report.opsetAfter]).toEqual([opset, 13]);
      expect(report.fusedOps['QLinearConv']).toBe(1);
      const found = await compare(model, bytes, feedsFor(dims, 5), quiet);
      expect(found.minCosine).toBeGreaterThan(0.97);
    },
  );
});

it('an_end_of_int64_max_in_a_slice_of_operator_set_9_still_means_up_to_the_end', async () => {
  const slice = makeNode('Slice', 'slice', ['x'], ['s'], { starts: [1], axes: [1] });
  slice.attribute.push(int64Max);
  const model = build(
    [slice, makeNode('MatMul', 'm', ['s', 'w'], ['y'])],
    [weights('w', [15, 4])],
    9,
    [2, 16],
  );
  const { bytes, report } = await quantize(model, feedsFor([2, 16], 10));
  expect(report.opsetBefore).toBe(9);
  expect((await compare(model, bytes, feedsFor([2, 16], 10), quiet)).minCosine).toBeGreaterThan(
    0.99,
  );
});

describe('what cannot be quantized', () => {
  const dims = [1, 4, 8, 8];
  const refusal = async (model: Uint8Array, feeds = feedsFor(dims, 2)): Promise<string> =>
    quantize(model, feeds, { what: 'some.onnx' }).then(
      () => 'accepted',
      (error: Error) => error.message,
    );

  it('names_the_conv_whose_weight_is_computed', async () => {
    const nodes = [
      makeNode('Tanh', 'bend', ['x'], ['w']),
      makeNode('Conv', 'odd-conv', ['x', 'w'], ['y'], {}),
    ];
    expect(await refusal(build(nodes, [], 13, dims))).toMatch(
      /^model_unquantizable: some\.onnx: .*'odd-conv' \(Conv\): its weight 'w' is computed, not constant/,
    );
  });

  it('says_that_there_is_nothing_to_quantize', async () => {
    expect(await refusal(build([makeNode('Tanh', 't', ['x'], ['y'])], [], 13, dims))).toMatch(
      /model_unquantizable: .*no Conv, Gemm or MatMul/,
    );
  });

  it('names_the_tensor_that_is_stored_outside_the_file_wherever_it_is', async () => {
    const outside = (name: string): TensorProto =>
      create(TensorProtoSchema, {
        name,
        dims: [1n],
        dataType: ElementType.float32,
        dataLocation: TensorProto_DataLocation.EXTERNAL,
        externalData: [{ key: 'location', value: 'weights.bin' }],
      });
    const constant = makeNode('Constant', 'k', [], ['c']);
    constant.attribute = [
      create(AttributeProtoSchema, {
        name: 'value',
        type: AttributeProto_AttributeType.TENSOR,
        t: outside('in-constant'),
      }),
    ];
    const branch = makeNode('If', 'if', ['flag'], ['y']);
    branch.attribute = [
      create(AttributeProtoSchema, {
        name: 'then_branch',
        type: AttributeProto_AttributeType.GRAPH,
        g: { name: 'then', initializer: [outside('in-branch')] },
      }),
    ];
    const models: [string, Uint8Array][] = [
      [
        'in-graph',
        build([makeNode('Add', 'add', ['x', 'in-graph'], ['y'])], [outside('in-graph')], 13, dims),
      ],
      ['in-constant', build([constant, makeNode('Add', 'add', ['x', 'c'], ['y'])], [], 13, dims)],
      ['in-branch', build([branch], [], 13, dims)],
    ];
    for (const [name, model] of models) {
      const reasons = new RegExp(
        `model_not_onnx: some\\.onnx: tensor '${name}' is stored outside the file, ` +
          `in weights\\.bin; save`,
      );
      expect(await refusal(model)).toMatch(reasons);
      await expect(inspect(model, 'some.onnx')).rejects.toThrow(reasons);
    }
  });

  it('names_a_float16_weights_type', async () => {
    const half = makeTensor('h', [4, 4, 1, 1], new Uint16Array(16).fill(0x3c00));
    half.dataType = ElementType.float16;
    const nodes = [
      makeNode('Cast', 'in', ['x'], ['x16'], { to: ElementType.float16 }),
      makeNode('Conv', 'half-conv', ['x16', 'h'], ['y16']),
      makeNode('Cast', 'out', ['y16'], ['y'], { to: ElementType.float32 }),
    ];
    expect(await refusal(build(nodes, [half], 13, dims))).toMatch(
      /model_unquantizable: .*'half-conv' \(Conv\): its weight '.*' is /,
    );
  });

  it('refuses_an_operator_set_that_it_does_not_know', async () => {
    const model = build(
      [conv('a', 'x', 'y')],
      [weights('a.w', [4, 4, 3, 3]), weights('a.b', [4])],
      8,
      dims,
      true,
    );
    expect(await refusal(model)).toMatch(/model_unquantizable: .*operator set 8; 9 to 22/);
  });

  it('names_the_first_node_of_a_model_that_is_quantized_already', async () => {
    const model = build(
      [conv('a', 'x', 'y')],
      [weights('a.w', [4, 4, 3, 3]), weights('a.b', [4])],
      13,
      dims,
    );
    const { bytes } = await quantize(model, feedsFor(dims, 2));
    expect(await refusal(bytes)).toMatch(
      /model_unquantizable: .*quantized already: node 'x_QuantizeLinear' \(QuantizeLinear\)/,
    );
  });

  it('refuses_calibration_data_that_is_missing_nan_or_of_another_shape', async () => {
    const model = build(
      [conv('a', 'x', 'y')],
      [weights('a.w', [4, 4, 3, 3]), weights('a.b', [4])],
      13,
      dims,
    );
    expect(await refusal(model, [])).toMatch(/data_undecodable: .*no calibration inputs/);
    const [spoilt] = feedsFor(dims, 1);
    spoilt!['x']!.data[7] = Number.NaN;
    expect(await refusal(model, [...feedsFor(dims, 1), spoilt!])).toMatch(
      /data_undecodable: calibration input 2: 'x' holds NaN/,
    );
    expect(await refusal(model, feedsFor([1, 4, 8, 9], 1))).toMatch(/data_mismatch: some\.onnx/);
  });

  it('leaves_an_excluded_node_float_and_says_so', async () => {
    const nodes = [conv('a', 'x', 'm'), conv('b', 'm', 'y')];
    const initializer = ['a', 'b'].flatMap((name) => [
      weights(`${name}.w`, [4, 4, 3, 3]),
      weights(`${name}.b`, [4]),
    ]);
    const model = build(nodes, initializer, 13, dims);
    const { report } = await quantize(model, feedsFor(dims, 3), { exclude: ['b'] });
    expect(report.floatNodes).toEqual([{ node: 'b', op: 'Conv', why: 'it is excluded by name' }]);
    expect(report.fusedOps['QLinearConv']).toBe(1);
  });
});
