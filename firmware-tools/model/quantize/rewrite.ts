// Writes the plan into the graph as QuantizeLinear/DequantizeLinear pairs (QDQ). A value that an
// int8 node makes keeps its name behind the pair, so nobody who reads it changes; a float value
// that int8 nodes read gets a pair beside it, and only they read that. Weights become int8
// constants behind a DequantizeLinear, biases int32 with scale input x weight. Node order stays
// topological. Pure but for changing the graph that it is given.
import assert from 'node:assert';
import { dimsOf, makeNode, makeTensor, tensorData } from '../onnx.js';
import type { GraphProto, NodeProto, OnnxData, TensorProto } from '../onnx.js';
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
import { outputsOf } from './quantize-plan.js';
import type { Plan, ScaledValue, WeightedNode } from './quantize-plan.js';
import { settleInitializers } from './prepare.js';

function rangeOf(value: ScaledValue, range: Range): Range {
  // Nothing moved during calibration: the default scale of 1 would reach beyond the Clip that this
  // value stands for.
  const { clip } = value;
  if (range.min < 0 || range.max > 0 || !clip || !Number.isFinite(clip.max)) return range;
  return { min: Math.max(clip.min, -clip.max), max: clip.max };
}

class Rewriter {
  private readonly nodes: NodeProto[] = [];
  private readonly constants: TensorProto[] = [];
  private readonly codes = new Map<string, ScaleZero>();
  private readonly original: Map<string, TensorProto>;
  private readonly constantPairs = new Map<string, string>();

  constructor(
    private readonly graph: GraphProto,
    private readonly plan: Plan,
    ranges: Map<string, Range>,
    private readonly reduceRange: boolean,
  ) {
    this.original = new Map((graph.initializer ?? []).map((t) => [t.name ?? '', t]));
    for (const value of plan.values.values()) {
      if (value.scaleOf !== value.name) continue;
      const range = rangeOf(value, ranges.get(value.name)!);
      const code = scaleAndZero(range.min, range.max, U8, false);
      this.codes.set(value.name, code);
      this.constants.push(
        makeTensor(`${value.name}_scale`, [], Float32Array.of(code.scale)),
        makeTensor(`${value.name}_zero_point`, [], Uint8Array.of(code.zeroPoint)),
      );
    }
  }

  /** from -> Q -> DQ -> to, with the scale of `value`. */
  private pair(value: ScaledValue, from: string, to: string): void {
    const { name, scaleOf } = value;
    const code = [`${scaleOf}_scale`, `${scaleOf}_zero_point`];
    this.nodes.push(
      makeNode(
        'QuantizeLinear',
        `${name}_QuantizeLinear`,
        [from, ...code],
        [`${name}_QuantizeLinear_Output`],
      ),
      makeNode(
        'DequantizeLinear',
        `${name}_DequantizeLinear`,
        [`${name}_QuantizeLinear_Output`, ...code],
        [to],
      ),
    );
  }

  /**
   * A constant in integer codes behind a DequantizeLinear, one scale for all or one along `axis`;
   * returns its name.
   */
  private decoded(
    own: string,
    codes: TensorProto,
    scales: Float32Array,
    zeroPoints: OnnxData,
    axis: number | undefined,
  ): string {
    const shape = axis === undefined ? [] : [scales.length];
    const parts = ['_quantized', '_scale', '_zero_point'].map((part) => own + part);
    const output = `${own}_DequantizeLinear_Output`;
    codes.name = parts[0]!;
    this.constants.push(
      codes,
      makeTensor(parts[1]!, shape, scales),
      makeTensor(parts[2]!, shape, zeroPoints),
    );
    this.nodes.push(
      makeNode(
        'DequantizeLinear',
        `${own}_DequantizeLinear`,
        parts,
        [output],
        axis === undefined ? {} : { axis },
      ),
    );
    return output;
  }

  private pairBeside(name: string): void {
    const value = this.plan.values.get(name);
    if (value && !value.madeInt8) this.pair(value, name, `${name}_DequantizeLinear_Output`);
  }

  /** What an int8 node reads in place of `name`. */
  private source(name: string): string {
    const value = this.plan.values.get(name);
    return value && !value.madeInt8 ? `${name}_DequantizeLinear_Output` : name;
  }

  private weights(choice: WeightedNode): void {
    const { node, weight, axis, bias } = choice;
    const dims = dimsOf(weight);
    const data = tensorData(weight) as Float32Array;
    const layout = channelLayout(dims, axis);
    const { scaleOf } = this.plan.values.get(choice.input)!;
    const inputScale = this.codes.get(scaleOf)!.scale;
    let biasData = bias ? (tensorData(bias) as Float32Array) : undefined;
    const outputs = outputsOf(node, weight);
    if (biasData?.length === 1 && outputs > 1)
      biasData = new Float32Array(outputs).fill(biasData[0]!);
    const range = this.reduceRange ? S8_REDUCED : S8_SYMMETRIC;
    const { values, scales } = quantizeWeights(data, layout, range, biasData, inputScale);
    // Named by the node as well: two nodes may share weights and yet need scales of their own.
    const own = `${weight.name}.${node.name}`;
    node.input![1] = this.decoded(
      own,
      makeTensor('', dims, values),
      scales,
      new Int8Array(scales.length),
      axis,
    );
    if (biasData) this.bias(choice, biasData, inputScale, scales);
  }

  private bias(
    { node, bias, axis }: WeightedNode,
    data: Float32Array,
    inputScale: number,
    weightScales: Float32Array,
  ): void {
    const own = `${bias!.name}.${node.name}.bias`;
    const { values, scales } = quantizeBias(data, inputScale, weightScales);
    const channelAxis = axis === undefined ? undefined : 0;
    const codes = makeTensor('', [values.length], values);
    node.input![2] = this.decoded(own, codes, scales, new Int32Array(scales.length), channelAxis);
  }

  /**
   * A float constant beside int8 values: u8 like them, because the int8 kernels want one type on
   * both sides.
   */
  private constantPair(name: string): string {
    const known = this.constantPairs.get(name);
    if (known !== undefined) return known;
    const tensor = this.original.get(name)!;
    const { values, code } = quantizeConstant(tensorData(tensor) as Float32Array);
    const codes = makeTensor('', dimsOf(tensor), values);
    const output = this.decoded(
      name,
      codes,
      Float32Array.of(code.scale),
      Uint8Array.of(code.zeroPoint),
      undefined,
    );
    this.constantPairs.set(name, output);
    return output;
  }

  private chosenNode(node: NodeProto): void {
    const choice = this.plan.chosen.get(node)!;
    if (choice.kind === 'weighted') this.weights(choice);
    const joined = choice.kind === 'joined';
    node.input = node.input!.map((name) =>
      joined && this.original.has(name) ? this.constantPair(name) : this.source(name),
    );
    this.nodes.push(node);
    const fold = [...this.plan.folded].find(([, producer]) => producer === node)?.[0];
    for (const [index, output] of (node.output ?? []).entries()) {
      const value = this.plan.values.get(fold ? fold.output![0]! : output);
      if (!value) continue;
      assert(value.madeInt8, `${value.name} is written by the int8 node ${node.name}`);
      node.output![index] = `${value.name}_QuantizeLinear_Input`;
      this.pair(value, `${value.name}_QuantizeLinear_Input`, value.name);
    }
  }

  run(): void {
    for (const input of this.graph.input ?? []) this.pairBeside(input.name ?? '');
    for (const node of this.graph.node ?? []) {
      if (this.plan.folded.has(node)) continue;
      if (this.plan.chosen.has(node)) {
        this.chosenNode(node);
      } else {
        this.nodes.push(node);
        for (const output of node.output ?? []) this.pairBeside(output);
      }
    }
    this.graph.node = this.nodes;
    this.graph.initializer = [...(this.graph.initializer ?? []), ...this.constants];
    settleInitializers(this.graph);
  }
}

/** Changes `graph` in place. `ranges` holds every value of the plan that has a scale of its own. */
export function writeQdq(
  graph: GraphProto,
  plan: Plan,
  ranges: Map<string, Range>,
  options: { reduceRange: boolean },
): void {
  new Rewriter(graph, plan, ranges, options.reduceRange).run();
}
