// Brings a graph of operator set 9..12 to 13, the first that can quantize per channel: operators
// whose attributes became inputs, and those whose meaning changed, subgraphs included. Every other
// standard operator means the same in 13. Source: ONNX Changelog.md, operator sets 10 to 13. The
// caller checks outputs against the original model's.
import { Fault } from '../../../shared/base/fault-codes.js';
import { opsetOf, type Model } from '../onnx/model-file.js';
import {
  attributeOf,
  floatAttribute,
  intAttribute,
  intsAttribute,
  makeAttribute,
  makeNode,
  stringAttribute,
  subgraphsOf,
} from '../onnx/nodes.js';
import type { GraphProto, NodeProto, TensorProto } from '../onnx/onnx_pb.js';
import { makeTensor, type OnnxData } from '../onnx/tensors.js';
import { FreshNames } from './names.js';

const OPSET_MIN = 9;
const OPSET_QDQ = 13;
/** Changes of later operator sets have not been checked against this quantizer: refused. */
const OPSET_MAX = 22;

class Bump {
  readonly constants: TensorProto[] = [];
  readonly #from: number;
  readonly #names: FreshNames;

  constructor(from: number, names: FreshNames) {
    this.#from = from;
    this.#names = names;
  }

  #constant(data: OnnxData, dims: number[]): string {
    const name = this.#names.of('opset13.constant');
    this.constants.push(makeTensor(name, dims, data));
    return name;
  }

  #int64s(values: (number | bigint)[]): string {
    return this.#constant(BigInt64Array.from(values, BigInt), [values.length]);
  }

  graph(graph: GraphProto): void {
    graph.node = graph.node.flatMap((node) => {
      for (const inner of subgraphsOf(node)) this.graph(inner);
      return node.domain === '' || node.domain === 'ai.onnx' ? this.#node(node) : [node];
    });
  }

  #drop(node: NodeProto, ...names: string[]): void {
    node.attribute = node.attribute.filter((a) => !names.includes(a.name));
  }

  #node(node: NodeProto): NodeProto[] {
    const { input } = node;
    switch (node.opType) {
      case 'Slice':
        if (this.#from < 10) this.#slice(node, input);
        break;
      case 'Clip':
        if (this.#from < 11) this.#clip(node, input);
        break;
      case 'Pad':
        if (this.#from < 11) this.#pad(node, input);
        break;
      case 'TopK':
        if (this.#from < 10) {
          input.push(this.#int64s([intAttribute(node, 'k', 1)]));
          this.#drop(node, 'k');
        }
        break;
      case 'Upsample':
        this.#upsample(node, input);
        break;
      case 'Resize':
        if (this.#from < 11) this.#upsample(node, input);
        break;
      case 'Scatter':
        node.opType = 'ScatterElements';
        break;
      case 'Dropout':
        if (this.#from < 12) this.#drop(node, 'ratio');
        break;
      case 'Squeeze':
      case 'Unsqueeze':
      case 'ReduceSum':
        this.#axesToInput(node, input, 'axes');
        break;
      case 'Split':
        this.#axesToInput(node, input, 'split');
        break;
      case 'Softmax':
      case 'LogSoftmax':
      case 'Hardmax':
        return this.#softmax(node);
      default:
        break;
    }
    return [node];
  }

  #axesToInput(node: NodeProto, input: string[], attribute: string): void {
    const values = intsAttribute(node, attribute);
    if (values) input.push(this.#int64s(values));
    this.#drop(node, attribute);
  }

  #slice(node: NodeProto, input: string[]): void {
    const starts = intsAttribute(node, 'starts') ?? [];
    input.push(this.#int64s(starts), this.#int64s(intsAttribute(node, 'ends') ?? []));
    input.push(this.#int64s(intsAttribute(node, 'axes') ?? starts.map((_, i) => i)));
    this.#drop(node, 'starts', 'ends', 'axes');
  }

  #clip(node: NodeProto, input: string[]): void {
    for (const limit of ['min', 'max']) {
      const given = attributeOf(node, limit);
      input.push(given ? this.#constant(Float32Array.of(given.f), []) : '');
    }
    this.#drop(node, 'min', 'max');
  }

  #pad(node: NodeProto, input: string[]): void {
    input.push(this.#int64s(intsAttribute(node, 'pads') ?? []));
    const filled = stringAttribute(node, 'mode', 'constant') === 'constant';
    if (filled) input.push(this.#constant(Float32Array.of(floatAttribute(node, 'value', 0)), []));
    this.#drop(node, 'pads', 'value');
  }

  // Upsample and Resize of 10 place pixels as Resize of 11 does with 'asymmetric' coordinates,
  // rounding down.
  #upsample(node: NodeProto, input: string[]): void {
    const floats = attributeOf(node, 'scales')?.floats;
    const scales = floats ? this.#constant(Float32Array.from(floats), [floats.length]) : input[1]!;
    node.opType = 'Resize';
    node.input = [input[0]!, '', scales];
    this.#drop(node, 'scales');
    const mode = stringAttribute(node, 'mode', 'nearest') === 'nearest' ? 'nearest' : 'linear';
    this.#drop(node, 'mode');
    node.attribute = [
      ...node.attribute,
      makeAttribute('mode', mode),
      makeAttribute('coordinate_transformation_mode', 'asymmetric'),
      makeAttribute('nearest_mode', 'floor'),
    ];
  }

  // Before 13 these flattened everything from `axis` on into one row; 13 works along one axis only.
  // Flatten and Reshape around it are right for every rank, which the file does not always declare.
  #softmax(node: NodeProto): NodeProto[] {
    const axis = intAttribute(node, 'axis', 1);
    this.#drop(node, 'axis');
    node.attribute = [...node.attribute, makeAttribute('axis', -1)];
    if (axis === -1) return [node];
    const from = node.input[0]!;
    const to = node.output[0]!;
    const own = (part: string): string => this.#names.of(`${to}.opset13.${part}`);
    const [flat, soft, shape] = [own('flat'), own('soft'), own('shape')];
    node.input = [flat];
    node.output = [soft];
    return [
      makeNode('Shape', own('Shape'), [from], [shape]),
      makeNode('Flatten', own('Flatten'), [from], [flat], { axis }),
      node,
      makeNode('Reshape', own('Reshape'), [soft, shape], [to]),
    ];
  }
}

/**
 * Changes `model` in place; returns the operator set it had. Fault model_unquantizable for one that
 * it cannot bring to 13.
 */
export function bringToOpset13(model: Model, what: string): number {
  const from = opsetOf(model);
  if (from < OPSET_MIN || from > OPSET_MAX) {
    const known = `${OPSET_MIN} to ${OPSET_MAX} can be quantized`;
    throw new Fault('model_unquantizable', `${what}: it uses ONNX operator set ${from}; ${known}`);
  }
  if (from >= OPSET_QDQ) return from;
  const [ownFunction] = model.functions;
  if (ownFunction !== undefined)
    throw new Fault(
      'model_unquantizable',
      `${what}: it defines the function '${ownFunction.name}' in operator set ${from}, and only ` +
        `the graph can be brought to set ${OPSET_QDQ}: export it with set ${OPSET_QDQ} or later`,
    );
  const bump = new Bump(from, new FreshNames(model.graph));
  bump.graph(model.graph);
  model.graph.initializer.push(...bump.constants);
  for (const set of model.opsetImport)
    if (set.domain === '' || set.domain === 'ai.onnx') set.version = BigInt(OPSET_QDQ);
  return from;
}
