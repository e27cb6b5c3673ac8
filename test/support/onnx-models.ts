// Small ONNX models for tests, from nodes and tensor declarations.
import { encodeModel } from '../../firmware-tools/model/onnx/model-file.js';
import type {
  NodeProto,
  TensorProto,
  ValueInfoProto,
} from '../../firmware-tools/model/onnx/onnx_pb.js';

export interface OnnxModelParts {
  readonly nodes: NodeProto[];
  readonly inputs: ValueInfoProto[];
  readonly outputs: ValueInfoProto[];
  readonly initializers?: TensorProto[];
  /** Version of the default operator set; 13 when left out. */
  readonly opset?: number;
  /** 7 when left out. */
  readonly irVersion?: number;
}

/** The bytes of an ONNX file. */
export function onnxModel(parts: OnnxModelParts): Uint8Array {
  const { nodes, inputs, outputs, initializers = [], opset = 13, irVersion = 7 } = parts;
  return encodeModel({
    irVersion: BigInt(irVersion),
    producerName: 'test',
    opsetImport: [{ domain: '', version: BigInt(opset) }],
    graph: { name: 'test', node: nodes, initializer: initializers, input: inputs, output: outputs },
  });
}
