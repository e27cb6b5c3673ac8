// ONNX files as typed objects: a thin layer over the protobuf classes of npm `onnx-proto` (ONNX
// 1.10, IR 8; newer fields are not kept). Decodes at the door (a file that is no ONNX model is
// Fault model_not_onnx), turns tensors into typed arrays and back, and answers who makes and who
// reads a value, subgraphs included. It does not check operators: ONNX Runtime does that
// (session.ts).
import onnxProto from 'onnx-proto';
import { Fault } from '../../shared/base/fault-codes.js';

const { onnx } = onnxProto;

export type ModelProto = onnxProto.onnx.IModelProto;
export type GraphProto = onnxProto.onnx.IGraphProto;
export type NodeProto = onnxProto.onnx.INodeProto;
export type TensorProto = onnxProto.onnx.ITensorProto;
export type AttributeProto = onnxProto.onnx.IAttributeProto;
export type ValueInfoProto = onnxProto.onnx.IValueInfoProto;

/** TensorProto.DataType, the ones met here. */
export const ElementType = {
  float32: 1,
  uint8: 2,
  int8: 3,
  uint16: 4,
  int16: 5,
  int32: 6,
  int64: 7,
  string: 8,
  bool: 9,
  float16: 10,
  float64: 11,
} as const;
const AttributeType = { float: 1, int: 2, string: 3, floats: 6, ints: 7 } as const;

export type OnnxData =
  | Float32Array
  | Float64Array
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Int32Array
  | BigInt64Array;

/** protobuf's 64-bit integers arrive as Long or number. Dimensions and attributes fit a double. */
export function toNumber(value: unknown): number {
  return typeof value === 'number' ? value : Number(String(value ?? 0));
}

export function elementTypeName(type: number | null | undefined): string {
  return (
    Object.entries(ElementType).find(([, code]) => code === type)?.[0] ??
    `type ${type ?? 'unknown'}`
  );
}

const EXTERNAL = 1; // TensorProto.DataLocation

/**
 * Every constant of a graph: initializers, sparse ones, and tensors in attributes, subgraphs
 * included.
 */
function* allTensors(graph: GraphProto): Generator<TensorProto> {
  yield* graph.initializer ?? [];
  for (const sparse of graph.sparseInitializer ?? []) yield* partsOf(sparse);
  for (const node of graph.node ?? []) {
    for (const attribute of node.attribute ?? []) {
      if (attribute.t) yield attribute.t;
      yield* attribute.tensors ?? [];
      for (const sparse of [attribute.sparseTensor, ...(attribute.sparseTensors ?? [])])
        if (sparse) yield* partsOf(sparse);
    }
    for (const inner of subgraphsOf(node)) yield* allTensors(inner);
  }
}

function partsOf(sparse: onnxProto.onnx.ISparseTensorProto): TensorProto[] {
  return [sparse.values, sparse.indices].filter(
    (tensor) => tensor !== null && tensor !== undefined,
  );
}

/**
 * A release is one model file: weights that lie beside it would be missing on the device, and no
 * digest would cover them. ONNX Runtime reads them from wherever the file says, so it does not
 * notice.
 */
function refuseExternalData(model: { graph: GraphProto }, what: string): void {
  for (const tensor of allTensors(model.graph)) {
    if (toNumber(tensor.dataLocation) !== EXTERNAL) continue;
    const place =
      tensor.externalData?.find((entry) => entry.key === 'location')?.value ?? 'another file';
    throw new Fault(
      'model_not_onnx',
      `${what}: tensor '${tensor.name || '(unnamed)'}' is stored outside the file, in ${place}; save the model in one file ` +
        '(onnx.save_model(onnx.load(path), out, save_as_external_data=False))',
    );
  }
}

/**
 * Decodes a model; `what` names the file in the refusal. Only the outermost structure and that it
 * is one file are checked.
 */
export function decodeModel(bytes: Uint8Array, what: string): ModelProto & { graph: GraphProto } {
  let model: ModelProto;
  try {
    model = onnx.ModelProto.decode(bytes);
  } catch (cause) {
    throw new Fault(
      'model_not_onnx',
      `${what}: it is not an ONNX file (its bytes are no protobuf of a model)`,
      { cause },
    );
  }
  const { graph, opsetImport } = model;
  if (!graph || !graph.output?.length || !opsetImport?.length) {
    throw new Fault(
      'model_not_onnx',
      `${what}: it is not an ONNX file (no graph with outputs, or no operator set)`,
    );
  }
  refuseExternalData({ graph }, what);
  return Object.assign(model, { graph });
}

/** Serialises; the same object gives the same bytes. */
export function encodeModel(model: ModelProto): Uint8Array {
  return Uint8Array.from(onnx.ModelProto.encode(onnx.ModelProto.create(model)).finish());
}

/** Version of the default operator set, 0 when the model imports none. */
export function opsetOf(model: ModelProto): number {
  const main = model.opsetImport?.find((o) => (o.domain ?? '') === '' || o.domain === 'ai.onnx');
  return main ? toNumber(main.version) : 0;
}

export function dimsOf(tensor: TensorProto): number[] {
  return (tensor.dims ?? []).map(toNumber);
}

function fromRaw(type: number, raw: Uint8Array): OnnxData | undefined {
  const own = Uint8Array.from(raw).buffer;
  switch (type) {
    case ElementType.float32:
      return new Float32Array(own);
    case ElementType.float64:
      return new Float64Array(own);
    case ElementType.uint8:
    case ElementType.bool:
      return new Uint8Array(own);
    case ElementType.int8:
      return new Int8Array(own);
    case ElementType.uint16:
    case ElementType.float16:
      return new Uint16Array(own);
    case ElementType.int16:
      return new Int16Array(own);
    case ElementType.int32:
      return new Int32Array(own);
    case ElementType.int64:
      return new BigInt64Array(own);
    default:
      return undefined;
  }
}

/**
 * The tensor's elements, row-major, in its own type; undefined for strings, external data and types
 * not listed above.
 */
export function tensorData(tensor: TensorProto): OnnxData | undefined {
  const type = tensor.dataType ?? 0;
  if (toNumber(tensor.dataLocation) !== 0) return undefined;
  if (tensor.rawData?.length) return fromRaw(type, tensor.rawData);
  const ints = tensor.int32Data ?? [];
  switch (type) {
    case ElementType.float32:
      return Float32Array.from(tensor.floatData ?? []);
    case ElementType.float64:
      return Float64Array.from(tensor.doubleData ?? []);
    case ElementType.uint8:
    case ElementType.bool:
      return Uint8Array.from(ints);
    case ElementType.int8:
      return Int8Array.from(ints);
    case ElementType.uint16:
    case ElementType.float16:
      return Uint16Array.from(ints);
    case ElementType.int16:
      return Int16Array.from(ints);
    case ElementType.int32:
      return Int32Array.from(ints);
    case ElementType.int64:
      return BigInt64Array.from((tensor.int64Data ?? []).map((v) => BigInt(String(v))));
    default:
      return undefined;
  }
}

function typeOf(data: OnnxData): number {
  if (data instanceof Float32Array) return ElementType.float32;
  if (data instanceof Float64Array) return ElementType.float64;
  if (data instanceof Int8Array) return ElementType.int8;
  if (data instanceof Uint16Array) return ElementType.uint16;
  if (data instanceof Int16Array) return ElementType.int16;
  if (data instanceof Int32Array) return ElementType.int32;
  if (data instanceof BigInt64Array) return ElementType.int64;
  return ElementType.uint8;
}

/** A named tensor holding `data` as little-endian raw bytes. */
export function makeTensor(name: string, dims: number[], data: OnnxData): TensorProto {
  const raw = Uint8Array.from(
    new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength),
  );
  return onnx.TensorProto.create({ name, dims, dataType: typeOf(data), rawData: raw });
}

export type AttributeValue = number | string | number[] | { float: number };

/** Numbers are written as int, arrays as ints, `{ float }` as float. */
export function makeAttribute(name: string, value: AttributeValue): AttributeProto {
  if (typeof value === 'number')
    return onnx.AttributeProto.create({ name, type: AttributeType.int, i: value });
  if (typeof value === 'string')
    return onnx.AttributeProto.create({ name, type: AttributeType.string, s: Buffer.from(value) });
  if (Array.isArray(value))
    return onnx.AttributeProto.create({ name, type: AttributeType.ints, ints: value });
  return onnx.AttributeProto.create({ name, type: AttributeType.float, f: value.float });
}

export function makeNode(
  opType: string,
  name: string,
  input: string[],
  output: string[],
  attributes: Record<string, AttributeValue> = {},
): NodeProto {
  const attribute = Object.entries(attributes).map(([key, value]) => makeAttribute(key, value));
  return onnx.NodeProto.create({ opType, name, input, output, attribute });
}

/**
 * A value of a known element type; dims are sizes, or names of symbolic sizes. Leave dims out when
 * they are not known.
 */
export function makeValue(
  name: string,
  elemType: number,
  dims?: (number | string)[],
): ValueInfoProto {
  const dim = dims?.map((d) => (typeof d === 'number' ? { dimValue: d } : { dimParam: d }));
  return onnx.ValueInfoProto.create({
    name,
    type: { tensorType: { elemType, ...(dim ? { shape: { dim } } : {}) } },
  });
}

export function attributeOf(node: NodeProto, name: string): AttributeProto | undefined {
  return node.attribute?.find((a) => a.name === name);
}

export function intAttribute(node: NodeProto, name: string, otherwise: number): number {
  const found = attributeOf(node, name);
  return found ? toNumber(found.i) : otherwise;
}

export function floatAttribute(node: NodeProto, name: string, otherwise: number): number {
  const found = attributeOf(node, name);
  return found ? (found.f ?? 0) : otherwise;
}

/** Whole: a slice's end is often INT64_MAX, which no double holds. */
export function bigIntsAttribute(node: NodeProto, name: string): bigint[] | undefined {
  return attributeOf(node, name)?.ints?.map((value) => BigInt(String(value)));
}

export function intsAttribute(node: NodeProto, name: string): number[] | undefined {
  return attributeOf(node, name)?.ints?.map(toNumber);
}

export function stringAttribute(node: NodeProto, name: string, otherwise: string): string {
  const found = attributeOf(node, name)?.s;
  return found ? Buffer.from(found).toString('utf8') : otherwise;
}

export function subgraphsOf(node: NodeProto): GraphProto[] {
  return (node.attribute ?? []).flatMap((a) => [...(a.g ? [a.g] : []), ...(a.graphs ?? [])]);
}

/** Every node of a graph, with those of its subgraphs. */
export function* allNodes(graph: GraphProto): Generator<NodeProto> {
  for (const node of graph.node ?? []) {
    yield node;
    for (const inner of subgraphsOf(node)) yield* allNodes(inner);
  }
}

/**
 * Who makes and who reads each value of a graph. A subgraph's readings count for the node that
 * holds it.
 */
export class Wiring {
  readonly producer = new Map<string, NodeProto>();
  readonly consumers = new Map<string, NodeProto[]>();
  readonly initializers = new Map<string, TensorProto>();
  readonly inputs: Set<string>;
  readonly outputs: Set<string>;

  constructor(graph: GraphProto) {
    for (const tensor of graph.initializer ?? []) this.initializers.set(tensor.name ?? '', tensor);
    this.inputs = new Set((graph.input ?? []).map((v) => v.name ?? ''));
    this.outputs = new Set((graph.output ?? []).map((v) => v.name ?? ''));
    for (const node of graph.node ?? []) {
      for (const name of node.output ?? []) if (name !== '') this.producer.set(name, node);
      const read = new Set((node.input ?? []).filter((name) => name !== ''));
      for (const inner of subgraphsOf(node)) {
        for (const deep of allNodes(inner)) for (const name of deep.input ?? []) read.add(name);
        for (const out of inner.output ?? []) read.add(out.name ?? '');
      }
      for (const name of read)
        this.consumers.set(name, [...(this.consumers.get(name) ?? []), node]);
    }
  }

  readers(value: string): NodeProto[] {
    return this.consumers.get(value) ?? [];
  }
}
