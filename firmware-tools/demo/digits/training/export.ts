// Writes a trained Network as an ONNX model: opset 13, one node per layer, input 'image' float32
// [N,1,size,size] with values 0..1, output 'logits' float32 [N,classes]. The same parameters give
// the same bytes.
import { encodeModel } from '../../../model/onnx/model-file.js';
import { makeNode } from '../../../model/onnx/nodes.js';
import type { NodeProto, TensorProto } from '../../../model/onnx/onnx_pb.js';
import { ElementType, makeTensor, makeValue } from '../../../model/onnx/tensors.js';
import type { Network, Parameter } from './network.js';

export function exportNetwork(network: Network, graphName: string): Uint8Array {
  const { size, classes } = network.architecture;
  const nodes: NodeProto[] = [];
  const initializer: TensorProto[] = [];
  const keep = (p: Parameter): string => {
    initializer.push(makeTensor(p.name, p.shape, Float32Array.from(p.value)));
    return p.name;
  };
  let from = 'image';
  for (const block of network.blocks) {
    const { name } = block;
    nodes.push(
      makeNode('Conv', name, [from, keep(block.weight), keep(block.bias)], [`${name}.sum`], {
        kernel_shape: [3, 3],
        pads: [1, 1, 1, 1],
        strides: [1, 1],
      }),
      makeNode('Relu', `${name}.relu`, [`${name}.sum`], [`${name}.active`]),
      makeNode('MaxPool', `${name}.pool`, [`${name}.active`], [`${name}.pooled`], {
        kernel_shape: [2, 2],
        strides: [2, 2],
      }),
    );
    from = `${name}.pooled`;
  }
  const { dense } = network;
  nodes.push(
    makeNode('Flatten', 'flatten', [from], ['features'], { axis: 1 }),
    makeNode('Gemm', dense.name, ['features', keep(dense.weight), keep(dense.bias)], ['logits'], {
      transB: 1,
    }),
  );
  return encodeModel({
    irVersion: 7n,
    producerName: 'linnet',
    opsetImport: [{ domain: '', version: 13n }],
    graph: {
      name: graphName,
      node: nodes,
      initializer,
      input: [makeValue('image', ElementType.float32, ['N', 1, size, size])],
      output: [makeValue('logits', ElementType.float32, ['N', classes])],
    },
  });
}
