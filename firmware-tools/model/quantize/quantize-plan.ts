// Chooses what becomes int8, before any number is known: which nodes, which values carry a scale,
// which share one, which Relu/Clip are merged into their producer. Pure: a graph in, a plan out.
// Three kinds of node are chosen:
//   weighted  Conv, Gemm, MatMul with constant float32 weights: where int8 saves time
//   joined    operators with an int8 kernel of their own (Add, Mul, Concat, pools): only between
//             values that are int8 anyway
//   direct    operators that only move values (MaxPool, Reshape, ...): their result shares its
//             source's scale
// A joined or direct node is chosen only when an int8 node reads its result, so a float tail stays
// float; so does the result of a last Gemm or MatMul. Everything else stays float, and the plan
// says why for each Conv, Gemm and MatMul. Source: onnxruntime quantize_static (qdq_quantizer.py);
// it differs where said: quantize_static also quantizes values that no int8 node makes or reads,
// and graph outputs.
import {
  Wiring,
  allNodes,
  floatAttribute,
  intAttribute,
  stringAttribute,
  subgraphsOf,
} from '../onnx/nodes.js';
import type { GraphProto, NodeProto, TensorProto } from '../onnx/onnx_pb.js';
import { JOINED_OPS } from './joined-ops.js';
import { ElementType, dimsOf, elementTypeName, tensorData } from '../onnx/tensors.js';

const WEIGHTED_OPS = ['Conv', 'Gemm', 'MatMul'] as const;
const DIRECT_OPS = [
  'MaxPool',
  'Reshape',
  'Flatten',
  'Transpose',
  'Squeeze',
  'Unsqueeze',
  'Slice',
  'Gather',
  'Split',
  'Resize',
] as const;

/** Whether nodes of this operator have weights, which quantization is about. */
export function isWeightedOp(op: string): boolean {
  return (WEIGHTED_OPS as readonly string[]).includes(op);
}

/** Whether nodes of this operator may become int8 at all. */
export function isCandidate(op: string): boolean {
  return [...WEIGHTED_OPS, ...JOINED_OPS, ...DIRECT_OPS].some((known) => known === op);
}

export interface WeightedNode {
  kind: 'weighted';
  node: NodeProto;
  input: string;
  weight: TensorProto;
  /** Channel axis of the weights; undefined: one scale for all. */
  axis: number | undefined;
  bias: TensorProto | undefined;
}

type ChosenNode = WeightedNode | { kind: 'joined' | 'direct'; node: NodeProto };

/**
 * A value with a scale. `madeInt8`: an int8 node writes it; otherwise it is float and only its int8
 * readers see codes.
 */
export interface ScaledValue {
  name: string;
  madeInt8: boolean;
  /** The value whose scale this one shares; itself when it has its own. */
  scaleOf: string;
  /**
   * Range of the Clip that was merged into its producer, for a value that calibration never saw
   * move.
   */
  clip?: { min: number; max: number };
}

export interface FloatNode {
  node: string;
  op: string;
  why: string;
}

export interface Plan {
  chosen: Map<NodeProto, ChosenNode>;
  values: Map<string, ScaledValue>;
  /** Relu/Clip nodes that are merged: their producer writes their output. */
  folded: Map<NodeProto, NodeProto>;
  /** Conv, Gemm and MatMul nodes that stay float. */
  floats: FloatNode[];
}

export interface PlanOptions {
  /** Operator types that may be joined. */
  joined: readonly string[];
  /** Names of nodes to leave float. */
  exclude: readonly string[];
  perChannel: boolean;
}

function isFloat(tensor: TensorProto | undefined): tensor is TensorProto {
  return tensor?.dataType === ElementType.float32 && tensorData(tensor) !== undefined;
}

/**
 * Axis of the outputs in the weights, whether or not each output gets a scale of its own; undefined
 * for a MatMul of another rank than 2.
 */
function outputAxis(node: NodeProto, weight: TensorProto): number | undefined {
  if (node.opType === 'Conv') return 0;
  if (node.opType === 'Gemm') return intAttribute(node, 'transB', 0) !== 0 ? 0 : 1;
  return dimsOf(weight).length === 2 ? 1 : undefined;
}

/** How many outputs (channels) a weighted node has. */
export function outputsOf(node: NodeProto, weight: TensorProto): number {
  return dimsOf(weight).at(outputAxis(node, weight) ?? -1) ?? 1;
}

/**
 * A Gemm's bias of any shape that broadcasts to [M, N] is legal; an int8 Gemm adds one value for
 * each output only.
 */
function gemmBiasProblem(bias: TensorProto, outputs: number): string | undefined {
  const dims = dimsOf(bias);
  const leading = dims.slice(0, -1);
  const last = dims.at(-1) ?? 1;
  if (dims.length <= 2 && leading.every((size) => size === 1) && (last === 1 || last === outputs))
    return undefined;
  return `its bias is [${dims.join(', ')}], not one value for each of ${outputs} outputs`;
}

class Planner {
  readonly wiring: Wiring;
  readonly plan: Plan = { chosen: new Map(), values: new Map(), folded: new Map(), floats: [] };

  readonly #graph: GraphProto;
  readonly #options: PlanOptions;

  constructor(graph: GraphProto, options: PlanOptions) {
    this.#graph = graph;
    this.#options = options;
    this.wiring = new Wiring(graph);
  }

  #weightProblem(name: string, role: string): string | undefined {
    const tensor = this.wiring.initializers.get(name);
    if (!tensor) return `its ${role} '${name}' is computed, not constant`;
    const type = elementTypeName(tensor.dataType);
    if (type !== 'float32') return `its ${role} '${name}' is ${type}, not float32`;
    return isFloat(tensor) ? undefined : `its ${role} '${name}' is stored outside the file`;
  }

  /** Either the weighted node, or why it must stay float. */
  #weighted(node: NodeProto): WeightedNode | string {
    const [input = '', weightName = '', biasName = ''] = node.input;
    const op = node.opType;
    if (op === 'MatMul' && this.wiring.initializers.has(input))
      return `its weights '${input}' are on the left, not on the right`;
    const problem = this.#weightProblem(weightName, 'weight');
    if (problem) return problem;
    if (this.wiring.initializers.has(input)) return 'its input is constant';
    const biasProblem = biasName === '' ? undefined : this.#weightProblem(biasName, 'bias');
    if (biasProblem) return biasProblem;
    const weight = this.wiring.initializers.get(weightName)!;
    const bias = biasName === '' ? undefined : this.wiring.initializers.get(biasName)!;
    if (op === 'Gemm') {
      if (intAttribute(node, 'transA', 0) !== 0) return 'it transposes its input (transA)';
      const beta = bias ? floatAttribute(node, 'beta', 1) : 1;
      if (floatAttribute(node, 'alpha', 1) !== 1 || beta !== 1) return 'its alpha or beta is not 1';
      const shapeProblem = bias && gemmBiasProblem(bias, outputsOf(node, weight));
      if (shapeProblem) return shapeProblem;
    }
    const axis = this.#options.perChannel ? outputAxis(node, weight) : undefined;
    return { kind: 'weighted', node, input, weight, axis, bias };
  }

  /**
   * Range of a Relu or of a Clip that an unsigned code can stand for (zero inside it);
   * undefined otherwise.
   */
  #foldableRange(node: NodeProto): { min: number; max: number } | undefined {
    if (node.opType === 'Relu') return { min: 0, max: Infinity };
    if (node.opType !== 'Clip') return undefined;
    const limit = (name: string | undefined, otherwise: number): number | undefined => {
      if (!name) return otherwise;
      const tensor = this.wiring.initializers.get(name);
      return isFloat(tensor) ? Number(tensorData(tensor)![0]) : undefined;
    };
    const min = limit(node.input[1], -Infinity);
    const max = limit(node.input[2], Infinity);
    return min !== undefined && max !== undefined && min <= 0 && max >= 0
      ? { min, max }
      : undefined;
  }

  /** Marks what an int8 node writes; a Relu or Clip that alone reads it is merged. */
  #written(node: NodeProto): void {
    const output = node.output[0]!;
    const readers = this.wiring.readers(output);
    const only = readers.length === 1 && !this.wiring.outputs.has(output) ? readers[0]! : undefined;
    const clip = only && this.#foldableRange(only);
    if (only && clip) {
      this.plan.folded.set(only, node);
      const name = only.output[0]!;
      this.plan.values.set(name, { name, madeInt8: true, scaleOf: name, clip });
    } else {
      this.plan.values.set(output, { name: output, madeInt8: true, scaleOf: output });
    }
  }

  #chooseWeighted(): void {
    for (const node of this.#graph.node) {
      for (const inner of subgraphsOf(node)) {
        for (const deep of allNodes(inner)) {
          if (!isWeightedOp(deep.opType)) continue;
          const why = `it is inside a branch of '${node.name}' (${node.opType})`;
          this.plan.floats.push({
            node: deep.name || (deep.output[0] ?? ''),
            op: deep.opType,
            why,
          });
        }
      }
      if (!isWeightedOp(node.opType)) continue;
      const found = this.#options.exclude.includes(node.name)
        ? 'it is excluded by name'
        : this.#weighted(node);
      if (typeof found === 'string')
        this.plan.floats.push({ node: node.name, op: node.opType, why: found });
      else this.plan.chosen.set(node, found);
    }
    for (const choice of this.plan.chosen.values()) {
      if (choice.kind !== 'weighted') continue;
      this.#written(choice.node);
    }
    for (const choice of this.plan.chosen.values()) {
      if (choice.kind !== 'weighted' || this.plan.values.has(choice.input)) continue;
      this.plan.values.set(choice.input, {
        name: choice.input,
        madeInt8: false,
        scaleOf: choice.input,
      });
    }
  }

  #canJoin(node: NodeProto): boolean {
    if (!this.#options.joined.includes(node.opType) || this.#options.exclude.includes(node.name))
      return false;
    const inputs = node.input;
    const constants = inputs.filter((name) => this.wiring.initializers.has(name));
    const others = inputs.filter((name) => !this.wiring.initializers.has(name));
    if (node.opType === 'AveragePool' && intAttribute(node, 'ceil_mode', 0) !== 0) return false;
    return (
      others.length > 0 &&
      others.every((name) => this.plan.values.has(name)) &&
      constants.every((name) => isFloat(this.wiring.initializers.get(name)))
    );
  }

  #canPass(node: NodeProto): boolean {
    if (
      !(DIRECT_OPS as readonly string[]).includes(node.opType) ||
      this.#options.exclude.includes(node.name)
    )
      return false;
    if (node.opType === 'Resize' && stringAttribute(node, 'mode', 'nearest') !== 'nearest')
      return false;
    if (node.opType === 'MaxPool' && node.output.length > 1) return false;
    return this.plan.values.has(node.input[0] ?? '');
  }

  /**
   * In graph order, so that a chain of joined and direct nodes is followed from its int8 source.
   */
  #spread(): void {
    for (const node of this.#graph.node) {
      if (this.plan.folded.has(node) || this.plan.chosen.has(node)) continue;
      if (this.#canJoin(node)) {
        this.plan.chosen.set(node, { kind: 'joined', node });
        this.#written(node);
      } else if (this.#canPass(node)) {
        this.plan.chosen.set(node, { kind: 'direct', node });
        const { scaleOf } = this.plan.values.get(node.input[0]!)!;
        for (const name of node.output)
          this.plan.values.set(name, { name, madeInt8: true, scaleOf });
      }
    }
  }

  #effectiveOutputs(node: NodeProto): string[] {
    const fold = [...this.plan.folded].find(([, producer]) => producer === node)?.[0];
    return (fold ?? node).output;
  }

  #hasInt8Reader(names: string[]): boolean {
    return names.some((name) =>
      this.wiring.readers(name).some((reader) => {
        const choice = this.plan.chosen.get(reader);
        return choice !== undefined && (choice.kind !== 'weighted' || choice.input === name);
      }),
    );
  }

  /**
   * From the end back: an int8 result that no int8 node reads goes back to float; a Conv's cannot.
   */
  #freeTail(): void {
    for (const node of [...this.#graph.node].reverse()) {
      const choice = this.plan.chosen.get(node);
      if (!choice || node.opType === 'Conv') continue;
      const outputs = this.#effectiveOutputs(node);
      if (this.#hasInt8Reader(outputs)) continue;
      for (const name of outputs) this.plan.values.delete(name);
      for (const [fold, producer] of this.plan.folded)
        if (producer === node) this.plan.folded.delete(fold);
      if (choice.kind !== 'weighted') this.plan.chosen.delete(node);
    }
  }

  /**
   * A value whose int8 writer went back to float, but which an int8 node still reads, and sources
   * that are gone.
   */
  #settleValues(): void {
    for (const [name, value] of this.plan.values) {
      const producer = this.wiring.producer.get(name);
      const writer = producer && (this.plan.folded.get(producer) ?? producer);
      if (value.madeInt8 && (!writer || !this.plan.chosen.has(writer))) value.madeInt8 = false;
      if (!this.plan.values.has(value.scaleOf)) value.scaleOf = name;
    }
  }

  make(): Plan {
    this.#chooseWeighted();
    this.#spread();
    this.#freeTail();
    this.#settleValues();
    return this.plan;
  }
}

/**
 * The graph must be prepared (prepare.ts): operator set >= 13, unique node names, nodes in
 * topological order.
 */
export function planQuantization(graph: GraphProto, options: PlanOptions): Plan {
  return new Planner(graph, options).make();
}
