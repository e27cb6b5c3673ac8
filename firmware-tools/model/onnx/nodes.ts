// Nodes and attributes of an ONNX graph, and which node writes and reads each value, subgraphs
// included. Pure. It does not check operators: ONNX Runtime does that (session.ts).
import { create } from '@bufbuild/protobuf';
import {
  AttributeProto_AttributeType as AttributeType,
  AttributeProtoSchema,
  NodeProtoSchema,
} from './onnx_pb.js';
import type {
  AttributeProto,
  GraphProto,
  NodeProto,
  SparseTensorProto,
  TensorProto,
} from './onnx_pb.js';

export type AttributeValue = number | string | readonly number[] | { float: number };

/** Numbers are written as int, arrays as ints, `{ float }` as float. */
export function makeAttribute(name: string, value: AttributeValue): AttributeProto {
  if (typeof value === 'number')
    return create(AttributeProtoSchema, { name, type: AttributeType.INT, i: BigInt(value) });
  if (typeof value === 'string') {
    const s = new Uint8Array(Buffer.from(value));
    return create(AttributeProtoSchema, { name, type: AttributeType.STRING, s });
  }
  if ('float' in value)
    return create(AttributeProtoSchema, { name, type: AttributeType.FLOAT, f: value.float });
  return create(AttributeProtoSchema, {
    name,
    type: AttributeType.INTS,
    ints: value.map(BigInt),
  });
}

export function makeNode(
  opType: string,
  name: string,
  input: readonly string[],
  output: readonly string[],
  attributes: Readonly<Record<string, AttributeValue>> = {},
): NodeProto {
  return create(NodeProtoSchema, {
    opType,
    name,
    input: [...input],
    output: [...output],
    attribute: Object.entries(attributes).map(([key, value]) => makeAttribute(key, value)),
  });
}

export function attributeOf(node: NodeProto, name: string): AttributeProto | undefined {
  return node.attribute.find((attribute) => attribute.name === name);
}

export function intAttribute(node: NodeProto, name: string, otherwise: number): number {
  const found = attributeOf(node, name);
  return found === undefined ? otherwise : Number(found.i);
}

export function floatAttribute(node: NodeProto, name: string, otherwise: number): number {
  return attributeOf(node, name)?.f ?? otherwise;
}

/** As bigint: the end of a slice is often INT64_MAX, which a double cannot hold. */
export function intsAttribute(node: NodeProto, name: string): bigint[] | undefined {
  return attributeOf(node, name)?.ints;
}

export function stringAttribute(node: NodeProto, name: string, otherwise: string): string {
  const found = attributeOf(node, name)?.s;
  return found === undefined ? otherwise : Buffer.from(found).toString('utf8');
}

export function subgraphsOf(node: NodeProto): GraphProto[] {
  return node.attribute.flatMap(({ g, graphs }) => (g === undefined ? graphs : [g, ...graphs]));
}

/** Every node of a graph, with those of its subgraphs. */
export function* allNodes(graph: GraphProto): Generator<NodeProto> {
  for (const node of graph.node) {
    yield node;
    for (const inner of subgraphsOf(node)) yield* allNodes(inner);
  }
}

/** Every name that a value of the graph has, subgraphs included. */
export function* allValueNames(graph: GraphProto): Generator<string> {
  for (const { name } of [...graph.input, ...graph.output, ...graph.valueInfo]) yield name;
  for (const { name } of graph.initializer) yield name;
  for (const { values } of graph.sparseInitializer) if (values) yield values.name;
  for (const node of graph.node) {
    yield* node.input;
    yield* node.output;
    for (const inner of subgraphsOf(node)) yield* allValueNames(inner);
  }
}

/**
 * Every constant of a graph: initializers, sparse ones, and tensors in attributes, subgraphs
 * included.
 */
export function* allTensors(graph: GraphProto): Generator<TensorProto> {
  yield* graph.initializer;
  for (const sparse of graph.sparseInitializer) yield* partsOf(sparse);
  for (const node of graph.node) {
    for (const { t, tensors, sparseTensor, sparseTensors } of node.attribute) {
      if (t !== undefined) yield t;
      yield* tensors;
      for (const sparse of sparseTensor === undefined
        ? sparseTensors
        : [sparseTensor, ...sparseTensors])
        yield* partsOf(sparse);
    }
    for (const inner of subgraphsOf(node)) yield* allTensors(inner);
  }
}

function partsOf({ values, indices }: SparseTensorProto): TensorProto[] {
  return [values, indices].filter((tensor) => tensor !== undefined);
}

/**
 * Which node writes and which nodes read each value of a graph. A node that holds a subgraph counts
 * as a reader of what the subgraph reads.
 */
export class Wiring {
  readonly producer = new Map<string, NodeProto>();
  readonly consumers = new Map<string, NodeProto[]>();
  readonly initializers: ReadonlyMap<string, TensorProto>;
  readonly inputs: ReadonlySet<string>;
  readonly outputs: ReadonlySet<string>;

  constructor(graph: GraphProto) {
    this.initializers = new Map(graph.initializer.map((tensor) => [tensor.name, tensor]));
    this.inputs = new Set(graph.input.map(({ name }) => name));
    this.outputs = new Set(graph.output.map(({ name }) => name));
    for (const node of graph.node) {
      for (const name of node.output) if (name !== '') this.producer.set(name, node);
      const read = new Set(node.input.filter((name) => name !== ''));
      for (const inner of subgraphsOf(node)) {
        for (const deep of allNodes(inner)) for (const name of deep.input) read.add(name);
        for (const { name } of inner.output) read.add(name);
      }
      for (const name of read)
        this.consumers.set(name, [...(this.consumers.get(name) ?? []), node]);
    }
  }

  readers(value: string): NodeProto[] {
    return this.consumers.get(value) ?? [];
  }
}
