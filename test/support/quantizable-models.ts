// Small graphs with random weights, for tests of the quantizer.
import { makeNode } from '../../firmware-tools/model/onnx/nodes.js';
import { type NodeProto, type TensorProto } from '../../firmware-tools/model/onnx/onnx_pb.js';
import { ElementType, makeTensor, makeValue } from '../../firmware-tools/model/onnx/tensors.js';
import type { Feeds } from '../../firmware-tools/model/session.js';
import { Seeded } from '../../firmware-tools/demo/digits/seeded-random.js';
import { onnxModel } from './onnx-models.js';

const random = new Seeded(3);
export const weights = (name: string, dims: number[]): TensorProto =>
  makeTensor(
    name,
    dims,
    Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => random.normal() * 0.3),
  );

/** A model x -> y. `listed`: its constants stand among its inputs too, as old exporters do it. */
export function build(
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

export function feedsFor(dims: number[], count: number): Feeds[] {
  const length = dims.reduce((a, b) => a * b, 1);
  return Array.from({ length: count }, () => ({
    x: { data: Float32Array.from({ length }, () => random.normal()), dims },
  }));
}

export const conv = (
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
