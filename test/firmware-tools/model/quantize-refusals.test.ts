// What the quantizer refuses, and that its message names the part and the reason.
import { create } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { inspect } from '../../../firmware-tools/model/inspect.js';
import { makeNode } from '../../../firmware-tools/model/onnx/nodes.js';
import {
  AttributeProto_AttributeType,
  AttributeProtoSchema,
  TensorProtoSchema,
  TensorProto_DataLocation,
  type TensorProto,
} from '../../../firmware-tools/model/onnx/onnx_pb.js';
import { ElementType, makeTensor } from '../../../firmware-tools/model/onnx/tensors.js';
import { quantize } from '../../../firmware-tools/model/quantize/quantize.js';
import { build, conv, feedsFor, weights } from '../../support/quantizable-models.js';

describe('what cannot be quantized', () => {
  const dims = [1, 4, 8, 8];
  const refusal = async (model: Uint8Array, feeds = feedsFor(dims, 2)): Promise<string> =>
    quantize(model, feeds, { what: 'some.onnx' }).then(
      () => 'accepted',
      (error: unknown) => (error as Error).message,
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
