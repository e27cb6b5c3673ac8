// A tensor as it travels: name, Open Inference Protocol datatype, shape, and the raw little-endian
// row-major bytes. Nothing here knows a model; what a model takes is guard.ts. Every machine that
// ONNX Runtime ships for is little-endian, so a typed array over the bytes is the tensor. JSON
// follows the protocol: `data` flat or nested, BOOL as true/false; what JSON numbers cannot carry
// exactly (integers beyond 2^53, fractions in integer tensors) is refused instead of rounded.
import assert from 'node:assert/strict';
import { Fault } from '../../../shared/base/fault-codes.js';
// Types only: the model process imports this file, and must not pay 20 MB for the schema library
// behind manifest.ts.
import type { Datatype, ProbeTensor } from '../../../shared/release/model-manifest.js';

export interface Tensor {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

export type TypedData =
  | Float32Array
  | Float64Array
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Int32Array
  | BigInt64Array;

const CONSTRUCTOR = {
  BOOL: Uint8Array,
  UINT8: Uint8Array,
  INT8: Int8Array,
  UINT16: Uint16Array,
  INT16: Int16Array,
  INT32: Int32Array,
  INT64: BigInt64Array,
  FP32: Float32Array,
  FP64: Float64Array,
} as const;

const INTEGER_RANGE: Readonly<Partial<Record<Datatype, readonly [number, number]>>> = {
  UINT8: [0, 255],
  INT8: [-128, 127],
  UINT16: [0, 65_535],
  INT16: [-32_768, 32_767],
  INT32: [-(2 ** 31), 2 ** 31 - 1],
  INT64: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
};

export function isDatatype(text: string): text is Datatype {
  return Object.hasOwn(CONSTRUCTOR, text);
}

/** Equal to ELEMENT_BYTES of shared/manifest.ts (a test compares them). */
export function elementBytes(datatype: Datatype): number {
  return CONSTRUCTOR[datatype].BYTES_PER_ELEMENT;
}

/** Product of the sizes; 1 for a scalar. Not bounded: callers compare it with what they hold. */
export function elementCount(shape: readonly number[]): number {
  let count = 1;
  for (const size of shape) count *= size;
  return count;
}

export function byteLengthOf(datatype: Datatype, shape: readonly number[]): number {
  return elementCount(shape) * elementBytes(datatype);
}

/** `FP32[1,28,28]`, for messages. */
export function describe(tensor: { datatype: string; shape: readonly number[] }): string {
  return `${tensor.datatype}[${tensor.shape.join(',')}]`;
}

/**
 * The elements as a typed array over the same memory; over a copy only where the bytes are
 * misaligned for their type.
 */
export function elementsOf(tensor: Pick<Tensor, 'datatype' | 'data'>): TypedData {
  const { datatype, data } = tensor;
  const size = elementBytes(datatype);
  assert(data.byteLength % size === 0, `${datatype} tensor of ${data.byteLength} bytes`);
  const aligned = data.byteOffset % size === 0 ? data : new Uint8Array(data);
  return new CONSTRUCTOR[datatype](
    aligned.buffer as ArrayBuffer,
    aligned.byteOffset,
    aligned.byteLength / size,
  );
}

/** A tensor from typed data; shares its memory. */
export function tensorOf(
  name: string,
  datatype: Datatype,
  shape: readonly number[],
  elements: TypedData,
): Tensor {
  return {
    name,
    datatype,
    shape,
    data: new Uint8Array(elements.buffer, elements.byteOffset, elements.byteLength),
  };
}

/** A probe's tensor. Fault `manifest_undecodable` when its bytes are not its shape's. */
export function fromProbe(probe: ProbeTensor, what: string): Tensor {
  if (!isDatatype(probe.datatype))
    throw new Fault(
      'manifest_undecodable',
      `${what}: tensor ${probe.name} has datatype ${String(probe.datatype)}`,
    );
  const data = new Uint8Array(Buffer.from(probe.data, 'base64'));
  const expected = byteLengthOf(probe.datatype, probe.shape);
  if (data.byteLength !== expected) {
    throw new Fault(
      'manifest_undecodable',
      `${what}: tensor ${probe.name} ${describe(probe)} has ${data.byteLength} bytes, its shape means ${expected}`,
    );
  }
  return { name: probe.name, datatype: probe.datatype, shape: probe.shape, data };
}

/**
 * A tensor from the protocol's JSON `data`, flat or nested to `shape`. Fault `request_tensor` for a
 * wrong count, nesting or type of element; NaN and infinity cannot stand in JSON, and what
 * overflows FP32 is left to the guard.
 */
export function fromJson(
  name: string,
  datatype: Datatype,
  shape: readonly number[],
  json: unknown,
): Tensor {
  if (!Array.isArray(json))
    throw new Fault(
      'request_tensor',
      `tensor ${name}: data must be an array, got ${json === undefined ? 'none' : typeof json}`,
    );
  const count = elementCount(shape);
  const flat = Array.isArray(json[0]) ? flatten(name, json, shape) : json;
  if (flat.length !== count) {
    throw new Fault(
      'request_tensor',
      `tensor ${name}: data has ${flat.length} elements, shape [${shape.join(',')}] means ${count}`,
    );
  }
  return tensorOf(name, datatype, shape, fill(name, datatype, flat));
}

function flatten(name: string, json: readonly unknown[], shape: readonly number[]): unknown[] {
  let level: readonly unknown[] = json;
  let expected = 1;
  for (const [depth, size] of shape.entries()) {
    expected *= size;
    if (level.length !== expected)
      throw new Fault(
        'request_tensor',
        `tensor ${name}: nested data does not have shape [${shape.join(',')}] at axis ${depth}`,
      );
    if (depth === shape.length - 1) break;
    const next: unknown[] = [];
    for (const row of level) {
      if (!Array.isArray(row) || row.length !== shape[depth + 1]) {
        throw new Fault(
          'request_tensor',
          `tensor ${name}: nested data does not have shape [${shape.join(',')}] at axis ${depth + 1}`,
        );
      }
      for (const value of row) next.push(value);
    }
    level = next;
  }
  return level as unknown[];
}

function fill(name: string, datatype: Datatype, flat: readonly unknown[]): TypedData {
  if (datatype === 'INT64') {
    const big = new BigInt64Array(flat.length);
    for (let i = 0; i < flat.length; i += 1) big[i] = BigInt(integer(name, datatype, flat[i], i));
    return big;
  }
  const elements = new CONSTRUCTOR[datatype](flat.length);
  for (let i = 0; i < flat.length; i += 1) elements[i] = element(name, datatype, flat[i], i);
  return elements;
}

function element(name: string, datatype: Datatype, value: unknown, at: number): number {
  if (datatype === 'BOOL') {
    if (typeof value === 'boolean') return value ? 1 : 0;
    if (value === 0 || value === 1) return value;
    throw new Fault(
      'request_tensor',
      `tensor ${name}: element ${at} is ${short(value)}, BOOL takes true or false`,
    );
  }
  if (datatype !== 'FP32' && datatype !== 'FP64') return integer(name, datatype, value, at);
  if (typeof value !== 'number')
    throw new Fault(
      'request_tensor',
      `tensor ${name}: element ${at} is ${short(value)}, ${datatype} takes numbers`,
    );
  return value;
}

function integer(name: string, datatype: Datatype, value: unknown, at: number): number {
  const [min, max] = INTEGER_RANGE[datatype] ?? [0, 0];
  if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max)
    return value;
  const hint =
    datatype === 'INT64' ? ' (send larger ones as binary data: JSON would round them)' : '';
  throw new Fault(
    'request_tensor',
    `tensor ${name}: element ${at} is ${short(value)}, ${datatype} takes integers from ${min} to ${max}${hint}`,
  );
}

function short(value: unknown): string {
  return (JSON.stringify(value) ?? String(value)).slice(0, 40);
}

/**
 * The protocol's JSON text of the elements, flat. INT64 is written in full digits. Elements must be
 * finite.
 */
export function toJsonText(tensor: Tensor): string {
  const elements = elementsOf(tensor);
  if (tensor.datatype !== 'BOOL') return `[${elements.join(',')}]`;
  return `[${Array.from(elements as Uint8Array, (value) => (value === 0 ? 'false' : 'true')).join(',')}]`;
}
