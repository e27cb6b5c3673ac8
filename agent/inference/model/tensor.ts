// A tensor: name, Open Inference Protocol datatype, shape, and the raw little-endian row-major
// bytes. Nothing here knows a model; guard.ts checks a tensor against a model's inputs. Every
// platform of ONNX Runtime is little-endian, so a typed array over the bytes gives the elements.
// JSON follows the protocol: `data` is flat or nested, BOOL is true or false. Numbers that JSON
// cannot carry exactly (integers beyond 2^53, fractions in integer tensors) are refused, never
// rounded.
import assert from 'node:assert/strict';
import { Fault } from '../../../shared/base/fault-codes.js';
import { limits } from '../../../shared/base/limits.js';
import { ELEMENT_ARRAYS } from '../../../shared/release/element-arrays.js';
// Types only: the model process imports this file, and the schema library behind manifest.ts would
// cost it 20 MB of memory.
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

const INTEGER_RANGE: Readonly<Partial<Record<Datatype, readonly [number, number]>>> = {
  UINT8: [0, 255],
  INT8: [-128, 127],
  UINT16: [0, 65_535],
  INT16: [-32_768, 32_767],
  INT32: [-(2 ** 31), 2 ** 31 - 1],
  INT64: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
};

export function isDatatype(text: string): text is Datatype {
  return Object.hasOwn(ELEMENT_ARRAYS, text);
}

/** Equal to ELEMENT_BYTES of shared/release/manifest.ts; a test compares them. */
export function elementBytes(datatype: Datatype): number {
  return ELEMENT_ARRAYS[datatype].BYTES_PER_ELEMENT;
}

/**
 * Product of the sizes; 1 for a scalar. Not limited: callers compare it with the bytes they have.
 */
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
 * The elements as a typed array over the same memory. Bytes that are misaligned for their type are
 * copied first.
 */
export function elementsOf(tensor: Pick<Tensor, 'datatype' | 'data'>): TypedData {
  const { datatype, data } = tensor;
  const size = elementBytes(datatype);
  assert(data.byteLength % size === 0, `${datatype} tensor of ${data.byteLength} bytes`);
  const aligned = data.byteOffset % size === 0 ? data : new Uint8Array(data);
  return new ELEMENT_ARRAYS[datatype](
    aligned.buffer as ArrayBuffer,
    aligned.byteOffset,
    aligned.byteLength / size,
  );
}

/** A tensor over the memory of typed data. */
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

/** A tensor of a probes file. Fault `manifest_undecodable` when its bytes do not fill its shape. */
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
      `${what}: tensor ${probe.name} ${describe(probe)} has ${data.byteLength} bytes, ` +
        `its shape needs ${expected}`,
    );
  }
  return { name: probe.name, datatype: probe.datatype, shape: probe.shape, data };
}

/**
 * A tensor from the protocol's JSON `data`, flat or nested like `shape`. Fault `request_tensor` for
 * a wrong count, nesting or element type. JSON cannot express NaN and infinity; the guard refuses
 * numbers that overflow FP32.
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
      `tensor ${name}: data has ${flat.length} elements, shape [${shape.join(',')}] needs ${count}`,
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
          `tensor ${name}: nested data does not have shape ` +
            `[${shape.join(',')}] at axis ${depth + 1}`,
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
  const elements = new ELEMENT_ARRAYS[datatype](flat.length);
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
    datatype === 'INT64' ? ' (send larger values as binary data: JSON would round them)' : '';
  throw new Fault(
    'request_tensor',
    `tensor ${name}: element ${at} is ${short(value)}, ` +
      `${datatype} takes integers from ${min} to ${max}${hint}`,
  );
}

/** An element for a message. Arrays and objects are named, not printed: they may be large. */
function short(value: unknown): string {
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'object' && value !== null) return 'an object';
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value);
  const shown = limits.elementShownMaxChars;
  return text.length <= shown ? text : `${text.slice(0, shown)}...`;
}

/**
 * The elements as the protocol's flat JSON text. INT64 is written with all its digits. Elements
 * must be finite.
 */
export function toJsonText(tensor: Tensor): string {
  const elements = elementsOf(tensor);
  if (tensor.datatype !== 'BOOL') return `[${elements.join(',')}]`;
  const booleans = Array.from(elements as Uint8Array, (value) => (value === 0 ? 'false' : 'true'));
  return `[${booleans.join(',')}]`;
}
