// What an ONNX file holds: tensors, operators, parameters, size and digest. ONNX Runtime opens it
// too, so that a file it cannot load is refused here and not on a device.
import { sha256 } from '../../shared/base/bytes.js';
import { decodeModel, opsetOf } from './onnx/model-file.js';
import { allNodes } from './onnx/nodes.js';
import { dimsOf, elementTypeName } from './onnx/tensors.js';
import { isQuantizedOp } from './quantize/prepare.js';
import { openModel, type TensorMeta } from './session.js';

export interface Inspection {
  inputs: TensorMeta[];
  outputs: TensorMeta[];
  opset: number;
  irVersion: number;
  producer: string;
  /** Nodes by operator, subgraphs included, in alphabetical order. */
  ops: Record<string, number>;
  /** Numbers held in constants. */
  parameters: number;
  /** Constants by element type, in numbers held. */
  parametersByType: Record<string, number>;
  bytes: number;
  quantized: boolean;
  sha256: string;
}

/**
 * What an ONNX file holds. Fault model_not_onnx: it is not an ONNX model, or ONNX Runtime cannot
 * load it.
 */
export async function inspect(bytes: Uint8Array, what = 'model'): Promise<Inspection> {
  const model = decodeModel(bytes, what);
  const session = await openModel(bytes, { what });
  await session.release();
  const ops: Record<string, number> = {};
  const constants = [...model.graph.initializer];
  for (const { opType, attribute } of allNodes(model.graph)) {
    ops[opType] = (ops[opType] ?? 0) + 1;
    if (opType === 'Constant') constants.push(...attribute.flatMap(({ t }) => t ?? []));
  }
  const parametersByType: Record<string, number> = {};
  for (const tensor of constants) {
    const type = elementTypeName(tensor.dataType);
    parametersByType[type] =
      (parametersByType[type] ?? 0) + dimsOf(tensor).reduce((a, b) => a * b, 1);
  }
  return {
    inputs: session.inputs,
    outputs: session.outputs,
    opset: opsetOf(model),
    irVersion: Number(model.irVersion),
    producer: [model.producerName, model.producerVersion].filter(Boolean).join(' '),
    ops: Object.fromEntries(Object.entries(ops).sort(([a], [b]) => (a < b ? -1 : 1))),
    parameters: Object.values(parametersByType).reduce((a, b) => a + b, 0),
    parametersByType,
    bytes: bytes.byteLength,
    quantized: Object.keys(ops).some(isQuantizedOp),
    sha256: sha256(bytes),
  };
}
