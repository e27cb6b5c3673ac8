// Writes the plan into the graph as QuantizeLinear/DequantizeLinear pairs (QDQ). A value that an
// int8 node writes keeps its name behind the pair, so its readers do not change; a float value that
// int8 nodes read gets a pair beside it, and only they read that. Weights become int8 constants
// behind a DequantizeLinear, biases int32 with scale input x weight. Names that are added collide
// with none of the model's (names.ts). Node order stays topological. Pure but for changing the
// graph that it is given.
import assert from 'node:assert';
import { makeNode } from '../onnx/nodes.js';
import type { GraphProto, NodeProto, TensorProto } from '../onnx/onnx_pb.js';
import { dimsOf, makeTensor, tensorData, type OnnxData } from '../onnx/tensors.js';
import {
  S8_REDUCED,
  S8_SYMMETRIC,
  U8,
  channelLayout,
  quantizeBias,
  quantizeConstant,
  quantizeWeights,
  scaleAndZero,
} from './arithmetic.js';
import type { ScaleZero } from './arithmetic.js';
import type { Range } from './calibrate.js';
import { FreshNames } from './names.js';
import { outputsOf } from './quantize-plan.js';
import type { Plan, ScaledValue, WeightedNode } from './quantize-plan.js';
import { settleInitializers } from './prepare.js';

function rangeOf(value: ScaledValue, range: Range): Range {
  // All zero during calibration: the default scale of 1 would reach beyond the Clip that this value
  // stands for.
  const { clip } = value;
  if (range.min < 0 || range.max > 0 || !clip || !Number.isFinite(clip.max)) return range;
  return { min: Math.max(clip.min, -clip.max), max: clip.max };
}

/** The scale and zero point of a value, and the constants that hold them. */
interface Code extends ScaleZero {
  readonly scaleName: string;
  readonly zeroPointName: string;
}

interface RewriterOptions {
  readonly graph: GraphProto;
  readonly plan: Plan;
  readonly ranges: ReadonlyMap<string, Range>;
  readonly reduceRange: boolean;
}

class Rewriter {
  readonly #graph: GraphProto;
  readonly #plan: Plan;
  readonly #reduceRange: boolean;
  readonly #names: FreshNames;
  readonly #nodes: NodeProto[] = [];
  readonly #constants: TensorProto[] = [];
  /** By the value that has the scale. */
  readonly #codes = new Map<string, Code>();
  readonly #original: ReadonlyMap<string, TensorProto>;
  /** What int8 nodes read in place of a float value or of a float constant. */
  readonly #decodedNames = new Map<string, string>();

  constructor({ graph, plan, ranges, reduceRange }: RewriterOptions) {
    this.#graph = graph;
    this.#plan = plan;
    this.#reduceRange = reduceRange;
    this.#names = new FreshNames(graph);
    this.#original = new Map(graph.initializer.map((tensor) => [tensor.name, tensor]));
    for (const value of plan.values.values()) {
      if (value.scaleOf !== value.name) continue;
      const range = rangeOf(value, ranges.get(value.name)!);
      const code = {
        ...scaleAndZero(range.min, range.max, U8, false),
        scaleName: this.#names.of(`${value.name}_scale`),
        zeroPointName: this.#names.of(`${value.name}_zero_point`),
      };
      this.#codes.set(value.name, code);
      this.#constants.push(
        makeTensor(code.scaleName, [], Float32Array.of(code.scale)),
        makeTensor(code.zeroPointName, [], Uint8Array.of(code.zeroPoint)),
      );
    }
  }

  /** from -> Q -> DQ -> to, with the scale of `value`. */
  #pair({ name, scaleOf }: ScaledValue, from: string, to: string): void {
    const { scaleName, zeroPointName } = this.#codes.get(scaleOf)!;
    const codes = this.#names.of(`${name}_QuantizeLinear_Output`);
    const quantize = this.#names.of(`${name}_QuantizeLinear`);
    const dequantize = this.#names.of(`${name}_DequantizeLinear`);
    this.#nodes.push(
      makeNode('QuantizeLinear', quantize, [from, scaleName, zeroPointName], [codes]),
      makeNode('DequantizeLinear', dequantize, [codes, scaleName, zeroPointName], [to]),
    );
  }

  /**
   * A constant in integer codes behind a DequantizeLinear, one scale for all or one along `axis`;
   * returns the name of the result.
   */
  #decoded(
    own: string,
    codes: TensorProto,
    scales: Float32Array,
    zeroPoints: OnnxData,
    axis: number | undefined,
  ): string {
    const shape = axis === undefined ? [] : [scales.length];
    const output = this.#names.of(`${own}_DequantizeLinear_Output`);
    codes.name = this.#names.of(`${own}_quantized`);
    const scale = makeTensor(this.#names.of(`${own}_scale`), shape, scales);
    const zeroPoint = makeTensor(this.#names.of(`${own}_zero_point`), shape, zeroPoints);
    this.#constants.push(codes, scale, zeroPoint);
    this.#nodes.push(
      makeNode(
        'DequantizeLinear',
        this.#names.of(`${own}_DequantizeLinear`),
        [codes.name, scale.name, zeroPoint.name],
        [output],
        axis === undefined ? {} : { axis },
      ),
    );
    return output;
  }

  #pairBeside(name: string): void {
    const value = this.#plan.values.get(name);
    if (value === undefined || value.madeInt8) return;
    const decoded = this.#names.of(`${name}_DequantizeLinear_Output`);
    this.#decodedNames.set(name, decoded);
    this.#pair(value, name, decoded);
  }

  /** What an int8 node reads in place of `name`. */
  #source(name: string): string {
    const value = this.#plan.values.get(name);
    return value !== undefined && !value.madeInt8 ? this.#decodedNames.get(name)! : name;
  }

  #weights(choice: WeightedNode): void {
    const { node, weight, axis, bias } = choice;
    const dims = dimsOf(weight);
    const data = tensorData(weight) as Float32Array;
    const layout = channelLayout(dims, axis);
    const { scaleOf } = this.#plan.values.get(choice.input)!;
    const inputScale = this.#codes.get(scaleOf)!.scale;
    let biasData = bias ? (tensorData(bias) as Float32Array) : undefined;
    const outputs = outputsOf(node, weight);
    if (biasData?.length === 1 && outputs > 1)
      biasData = new Float32Array(outputs).fill(biasData[0]!);
    const range = this.#reduceRange ? S8_REDUCED : S8_SYMMETRIC;
    const { values, scales } = quantizeWeights(data, layout, range, biasData, inputScale);
    // Named by the node as well: two nodes may share weights and yet need scales of their own.
    const own = `${weight.name}.${node.name}`;
    const zeroPoints = new Int8Array(scales.length);
    const codes = makeTensor('', dims, values);
    node.input[1] = this.#decoded(own, codes, scales, zeroPoints, axis);
    if (biasData) this.#bias(choice, biasData, inputScale, scales);
  }

  #bias(
    { node, bias, axis }: WeightedNode,
    data: Float32Array,
    inputScale: number,
    weightScales: Float32Array,
  ): void {
    const own = `${bias!.name}.${node.name}.bias`;
    const { values, scales } = quantizeBias(data, inputScale, weightScales);
    const channelAxis = axis === undefined ? undefined : 0;
    const codes = makeTensor('', [values.length], values);
    node.input[2] = this.#decoded(own, codes, scales, new Int32Array(scales.length), channelAxis);
  }

  /**
   * A float constant beside int8 values: u8 like them, because the int8 kernels want one type on
   * both sides.
   */
  #constantPair(name: string): string {
    const known = this.#decodedNames.get(name);
    if (known !== undefined) return known;
    const tensor = this.#original.get(name)!;
    const { values, code } = quantizeConstant(tensorData(tensor) as Float32Array);
    const codes = makeTensor('', dimsOf(tensor), values);
    const scales = Float32Array.of(code.scale);
    const zeroPoints = Uint8Array.of(code.zeroPoint);
    const output = this.#decoded(name, codes, scales, zeroPoints, undefined);
    this.#decodedNames.set(name, output);
    return output;
  }

  #chosenNode(node: NodeProto): void {
    const choice = this.#plan.chosen.get(node)!;
    if (choice.kind === 'weighted') this.#weights(choice);
    const joined = choice.kind === 'joined';
    node.input = node.input.map((name) =>
      joined && this.#original.has(name) ? this.#constantPair(name) : this.#source(name),
    );
    this.#nodes.push(node);
    const fold = [...this.#plan.folded].find(([, producer]) => producer === node)?.[0];
    for (const [index, output] of node.output.entries()) {
      const value = this.#plan.values.get(fold ? fold.output[0]! : output);
      if (!value) continue;
      assert(value.madeInt8, `${value.name} is written by the int8 node ${node.name}`);
      const written = this.#names.of(`${value.name}_QuantizeLinear_Input`);
      node.output[index] = written;
      this.#pair(value, written, value.name);
    }
  }

  run(): void {
    for (const { name } of this.#graph.input) this.#pairBeside(name);
    for (const node of this.#graph.node) {
      if (this.#plan.folded.has(node)) continue;
      if (this.#plan.chosen.has(node)) {
        this.#chosenNode(node);
      } else {
        this.#nodes.push(node);
        for (const output of node.output) this.#pairBeside(output);
      }
    }
    this.#graph.node = this.#nodes;
    this.#graph.initializer.push(...this.#constants);
    settleInitializers(this.#graph);
  }
}

/** Changes `graph` in place. `ranges` holds every value of the plan that has a scale of its own. */
export function writeQdq(options: RewriterOptions): void {
  new Rewriter(options).run();
}
