// Brings a graph of operator set 9..12 to 13, the first that can quantize per channel: operators
// whose attributes became inputs, and those whose meaning changed, subgraphs included. Every other
// standard operator means the same in 13. Source: ONNX Changelog.md, operator sets 10 to 13. The
// caller checks outputs against the original model's.
import { Fault } from '../../../shared/base/fault-codes.js';
import {
  attributeOf,
  bigIntsAttribute,
  floatAttribute,
  intAttribute,
  makeAttribute,
  makeNode,
  makeTensor,
  opsetOf,
  stringAttribute,
  subgraphsOf,
} from '../onnx.js';
import type { GraphProto, ModelProto, NodeProto, OnnxData, TensorProto } from '../onnx.js';

export const OPSET_MIN = 9;
export const OPSET_QDQ = 13;
/** Operator sets above were not read by whoever wrote this; they are refused instead of guessed. */
export const OPSET_MAX = 22;

class Bump {
  private count = 0;
  readonly constants: TensorProto[] = [];

  constructor(private readonly from: number) {}

  private constant(data: OnnxData, dims: number[]): string {
    const name = `opset13.constant.${this.count++}`;
    this.constants.push(makeTensor(name, dims, data));
    return name;
  }

  private int64s(values: (number | bigint)[]): string {
    return this.constant(BigInt64Array.from(values, BigInt), [values.length]);
  }

  graph(graph: GraphProto): void {
    graph.node = (graph.node ?? []).flatMap((node) => {
      for (const inner of subgraphsOf(node)) this.graph(inner);
      return (node.domain ?? '') === '' || node.domain === 'ai.onnx' ? this.node(node) : [node];
    });
  }

  private drop(node: NodeProto, ...names: string[]): void {
    node.attribute = (node.attribute ?? []).filter((a) => !names.includes(a.name ?? ''));
  }

  private node(node: NodeProto): NodeProto[] {
    const input = (node.input ??= []);
    switch (node.opType) {
      case 'Slice':
        if (this.from < 10) this.slice(node, input);
        break;
      case 'Clip':
        if (this.from < 11) this.clip(node, input);
        break;
      case 'Pad':
        if (this.from < 11) this.pad(node, input);
        break;
      case 'TopK':
        if (this.from < 10) {
          input.push(this.int64s([intAttribute(node, 'k', 1)]));
          this.drop(node, 'k');
        }
        break;
      case 'Upsample':
        this.upsample(node, input);
        break;
      case 'Resize':
        if (this.from < 11) this.upsample(node, input);
        break;
      case 'Scatter':
        node.opType = 'ScatterElements';
        break;
      case 'Dropout':
        if (this.from < 12) this.drop(node, 'ratio');
        break;
      case 'Squeeze':
      case 'Unsqueeze':
      case 'ReduceSum':
        this.axesToInput(node, input, 'axes');
        break;
      case 'Split':
        this.axesToInput(node, input, 'split');
        break;
      case 'Softmax':
      case 'LogSoftmax':
      case 'Hardmax':
        return this.softmax(node);
      default:
        break;
    }
    return [node];
  }

  private axesToInput(node: NodeProto, input: string[], attribute: string): void {
    const values = bigIntsAttribute(node, attribute);
    if (values) input.push(this.int64s(values));
    this.drop(node, attribute);
  }

  private slice(node: NodeProto, input: string[]): void {
    const starts = bigIntsAttribute(node, 'starts') ?? [];
    input.push(this.int64s(starts), this.int64s(bigIntsAttribute(node, 'ends') ?? []));
    input.push(this.int64s(bigIntsAttribute(node, 'axes') ?? starts.map((_, i) => i)));
    this.drop(node, 'starts', 'ends', 'axes');
  }

  private clip(node: NodeProto, input: string[]): void {
    for (const bound of ['min', 'max']) {
      const given = attributeOf(node, bound);
      input.push(given ? this.constant(Float32Array.of(given.f ?? 0), []) : '');
    }
    this.drop(node, 'min', 'max');
  }

  private pad(node: NodeProto, input: string[]): void {
    input.push(this.int64s(bigIntsAttribute(node, 'pads') ?? []));
    const filled = stringAttribute(node, 'mode', 'constant') === 'constant';
    if (filled) input.push(this.constant(Float32Array.of(floatAttribute(node, 'value', 0)), []));
    this.drop(node, 'pads', 'value');
  }

  // Upsample and Resize of 10 place pixels as Resize of 11 does with 'asymmetric' coordinates,
  // rounding down.
  private upsample(node: NodeProto, input: string[]): void {
    const floats = attributeOf(node, 'scales')?.floats;
    const scales = floats ? this.constant(Float32Array.from(floats), [floats.length]) : input[1]!;
    node.opType = 'Resize';
    node.input = [input[0]!, '', scales];
    this.drop(node, 'scales');
    const mode = stringAttribute(node, 'mode', 'nearest') === 'nearest' ? 'nearest' : 'linear';
    this.drop(node, 'mode');
    node.attribute = [
      ...(node.attribute ?? []),
      makeAttribute('mode', mode),
      makeAttribute('coordinate_transformation_mode', 'asymmetric'),
      makeAttribute('nearest_mode', 'floor'),
    ];
  }

  // Before 13 these flattened everything from `axis` on into one row; 13 works along one axis only.
  // The detour through Flatten and Reshape is right for every rank, which the file does not always
  // tell.
  private softmax(node: NodeProto): NodeProto[] {
    const axis = intAttribute(node, 'axis', 1);
    this.drop(node, 'axis');
    node.attribute = [...(node.attribute ?? []), makeAttribute('axis', -1)];
    if (axis === -1) return [node];
    const from = node.input![0]!;
    const to = node.output![0]!;
    const own = (part: string): string => `${to}.opset13.${part}`;
    node.input = [own('flat')];
    node.output = [own('soft')];
    return [
      makeNode('Shape', own('Shape'), [from], [own('shape')]),
      makeNode('Flatten', own('Flatten'), [from], [own('flat')], { axis }),
      node,
      makeNode('Reshape', own('Reshape'), [own('soft'), own('shape')], [to]),
    ];
  }
}

/**
 * Changes `model` in place; returns the operator set it had. Fault model_unquantizable for one that
 * it cannot bring to 13.
 */
export function bringToOpset13(model: ModelProto & { graph: GraphProto }, what: string): number {
  const from = opsetOf(model);
  if (from < OPSET_MIN || from > OPSET_MAX) {
    const known = `${OPSET_MIN} to ${OPSET_MAX} can be quantized`;
    throw new Fault('model_unquantizable', `${what}: it uses ONNX operator set ${from}; ${known}`);
  }
  if (from >= OPSET_QDQ) return from;
  const bump = new Bump(from);
  bump.graph(model.graph);
  model.graph.initializer = [...(model.graph.initializer ?? []), ...bump.constants];
  for (const set of model.opsetImport ?? [])
    if ((set.domain ?? '') === '' || set.domain === 'ai.onnx') set.version = OPSET_QDQ;
  return from;
}
