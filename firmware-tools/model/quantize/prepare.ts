// Makes a graph ready for quantization: operator set 13, initializers that no input overrides,
// batch normalisations folded and constants computed by ONNX Runtime's own 'basic' optimisation,
// every node named, constants in one fixed order. Promises that the outputs stay what they were
// (the caller compares them on a calibration input) and that the same file gives the same graph. A
// model that is quantized already is refused.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Fault } from '../../../shared/base/fault-codes.js';
import { asFault } from '../../release/keys/key-files.js';
import { decodeModel, encodeModel, requireRewritable, type Model } from '../onnx/model-file.js';
import { allNodes } from '../onnx/nodes.js';
import type { GraphProto } from '../onnx/onnx_pb.js';
import { ElementType } from '../onnx/tensors.js';
import { openModel } from '../session.js';
import { bringToOpset13 } from './opset.js';
import { isWeightedOp } from './quantize-plan.js';

const IR_OF_OPSET_13 = 7n;
const QUANTIZED_OPS = new RegExp(
  `^(${[
    'QuantizeLinear',
    'DequantizeLinear',
    String.raw`DynamicQuantize\w+`,
    String.raw`QLinear\w+`,
    'QGemm',
    'ConvInteger',
    String.raw`MatMulInteger\w*`,
    'MatMulNBits',
  ].join('|')})$`,
);

function scratchFolder(): string {
  try {
    return mkdtempSync(join(tmpdir(), 'linnet-optimize-'));
  } catch (error) {
    throw asFault(error, tmpdir());
  }
}

/** The graph that ONNX Runtime runs for `bytes` at an optimisation level, decoded. */
export async function optimizedGraph(
  bytes: Uint8Array,
  optimization: 'basic' | 'extended',
  what: string,
): Promise<Model> {
  const folder = scratchFolder();
  try {
    const file = join(folder, 'optimized.onnx');
    const session = await openModel(bytes, { what, optimization, optimizedTo: file });
    await session.release();
    return decodeModel(readFileSync(file), what);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export function isQuantizedOp(opType: string): boolean {
  return QUANTIZED_OPS.test(opType);
}

/** Gives every node a name of its own; names that are there and unique stay. */
function nameNodes(graph: GraphProto): void {
  const given = new Set(graph.node.map(({ name }) => name));
  const taken = new Set<string>();
  for (const [index, node] of graph.node.entries()) {
    let name = node.name;
    if (name === '' || taken.has(name)) {
      name = `${node.name || node.opType}_${index}`;
      while (taken.has(name) || given.has(name)) name += `_${index}`;
    }
    taken.add(name);
    node.name = name;
  }
}

/**
 * Keeps the constants that a node still reads, sorted by name (ONNX Runtime writes them in no fixed
 * order).
 */
export function settleInitializers(graph: GraphProto): void {
  const read = new Set(graph.output.map(({ name }) => name));
  for (const node of allNodes(graph)) for (const name of node.input) read.add(name);
  graph.initializer = graph.initializer
    .filter(({ name }) => read.has(name))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/**
 * Drops operator sets that no node uses: ONNX Runtime imports all it knows into every graph that it
 * writes.
 */
function settleOpsets(model: Model): void {
  const domainOf = (domain: string): string => (domain === 'ai.onnx' ? '' : domain);
  const used = new Set(['', ...[...allNodes(model.graph)].map(({ domain }) => domainOf(domain))]);
  model.opsetImport = model.opsetImport.filter(({ domain }) => used.has(domainOf(domain)));
}

/**
 * ONNX Runtime rewrites float16 graphs with casts and names of its own; said here, the message
 * names a node that the user knows.
 */
function refuseFloat16({ graph }: Model, what: string): void {
  const halves = new Set(
    graph.initializer
      .filter(({ dataType }) => dataType === ElementType.float16)
      .map(({ name }) => name),
  );
  for (const node of graph.node) {
    const weight = isWeightedOp(node.opType)
      ? node.input.find((name) => halves.has(name))
      : undefined;
    if (weight === undefined) continue;
    const name = node.name || (node.output[0] ?? '');
    throw new Fault(
      'model_unquantizable',
      `${what}: node '${name}' (${node.opType}): its weight '${weight}' is float16; ` +
        'quantize the float32 model instead',
    );
  }
}

/** `model.graph` is ready to be planned; `opset` is the operator set that the file came with. */
export async function prepare(
  fp32: Uint8Array,
  what: string,
): Promise<{ model: Model; opset: number }> {
  const model = decodeModel(fp32, what);
  requireRewritable(model, fp32, what);
  for (const node of allNodes(model.graph)) {
    if (!isQuantizedOp(node.opType)) continue;
    const name = node.name || (node.output[0] ?? '');
    throw new Fault(
      'model_unquantizable',
      `${what}: it is quantized already: node '${name}' (${node.opType}); start from ` +
        'the fp32 model',
    );
  }
  refuseFloat16(model, what);
  const constants = new Set(model.graph.initializer.map(({ name }) => name));
  model.graph.input = model.graph.input.filter(({ name }) => !constants.has(name));
  const opset = bringToOpset13(model, what);
  if (model.irVersion < IR_OF_OPSET_13) model.irVersion = IR_OF_OPSET_13;
  const ready = await optimizedGraph(encodeModel(model), 'basic', `${what} (at operator set 13)`);
  nameNodes(ready.graph);
  settleInitializers(ready.graph);
  settleOpsets(ready);
  ready.graph.valueInfo = [];
  return { model: ready, opset };
}
