// Tensors and value declarations of an ONNX model: element types, typed arrays from and to
// TensorProto. Pure. Promises that a tensor made here has little-endian raw data, as ONNX requires.
import { create } from '@bufbuild/protobuf';
import { TensorProto_DataLocation, TensorProtoSchema, ValueInfoProtoSchema } from './onnx_pb.js';
import type { TensorProto, ValueInfoProto } from './onnx_pb.js';

/** TensorProto.DataType, by the names that ONNX Runtime and numpy use. */
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

export type OnnxData =
  | Float32Array
  | Float64Array
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Int32Array
  | BigInt64Array;

export function elementTypeName(type: number): string {
  return Object.entries(ElementType).find(([, code]) => code === type)?.[0] ?? `type ${type}`;
}

export function dimsOf(tensor: TensorProto): number[] {
  return tensor.dims.map(Number);
}

function fromRaw(type: number, raw: Uint8Array): OnnxData | undefined {
  const own = Uint8Array.from(raw).buffer; // a copy, so that the offset is aligned
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
 * The tensor's elements, row-major, in its own type (float16 as its 16-bit patterns). Undefined for
 * strings, external data and element types that ElementType does not list.
 */
export function tensorData(tensor: TensorProto): OnnxData | undefined {
  const { dataType, rawData, int32Data } = tensor;
  if (tensor.dataLocation !== TensorProto_DataLocation.DEFAULT) return undefined;
  if (rawData.length > 0) return fromRaw(dataType, rawData);
  switch (dataType) {
    case ElementType.float32:
      return Float32Array.from(tensor.floatData);
    case ElementType.float64:
      return Float64Array.from(tensor.doubleData);
    case ElementType.uint8:
    case ElementType.bool:
      return Uint8Array.from(int32Data);
    case ElementType.int8:
      return Int8Array.from(int32Data);
    case ElementType.uint16:
    case ElementType.float16:
      return Uint16Array.from(int32Data);
    case ElementType.int16:
      return Int16Array.from(int32Data);
    case ElementType.int32:
      return Int32Array.from(int32Data);
    case ElementType.int64:
      return BigInt64Array.from(tensor.int64Data);
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

/** A named tensor that holds a copy of `data` as raw bytes. */
export function makeTensor(name: string, dims: readonly number[], data: OnnxData): TensorProto {
  const { buffer, byteOffset, byteLength } = data;
  const rawData = Uint8Array.from(new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength));
  return create(TensorProtoSchema, {
    name,
    dims: dims.map(BigInt),
    dataType: typeOf(data),
    rawData,
  });
}

/**
 * A value of a known element type. `dims` are sizes, or names of symbolic sizes; leave them out
 * when they are unknown.
 */
export function makeValue(
  name: string,
  elemType: number,
  dims?: readonly (number | string)[],
): ValueInfoProto {
  const dim = dims?.map((size) => ({
    value:
      typeof size === 'number'
        ? ({ case: 'dimValue', value: BigInt(size) } as const)
        : ({ case: 'dimParam', value: size } as const),
  }));
  const value = { elemType, ...(dim === undefined ? {} : { shape: { dim } }) };
  return create(ValueInfoProtoSchema, {
    name,
    type: { value: { case: 'tensorType', value } },
  });
}
