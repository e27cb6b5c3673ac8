// Checks a request's tensors against the inputs that a release's manifest declares: names,
// datatypes, shapes, byte sizes, finite values, declared range. Pure. ONNX Runtime answers NaN
// inputs with finite numbers, so a broken sensor is noticed only here. A refusal names the tensor,
// the value given and the value expected.
import { Fault } from '../../../shared/base/fault-codes.js';
import type { TensorSpec } from '../../../shared/release/model-manifest.js';
import { byteLengthOf, describe, elementsOf, type Tensor } from './tensor.js';

/**
 * The tensors in the manifest's order. Faults: `request_tensor` (names, datatype, shape, size),
 * `request_too_large`, `request_value` (NaN, infinity, out of range).
 */
export function guard(
  specs: readonly TensorSpec[],
  tensors: readonly Tensor[],
  maxBytes: number,
): readonly Tensor[] {
  const ordered = inOrder(specs, tensors);
  let total = 0;
  for (let i = 0; i < specs.length; i += 1) {
    const spec = specs[i] as TensorSpec;
    const tensor = ordered[i] as Tensor;
    total += checkLayout(spec, tensor, maxBytes);
    if (total > maxBytes)
      throw new Fault(
        'request_too_large',
        `the request's tensors have more than ${maxBytes} bytes together, which is the limit`,
      );
    checkValues(spec, tensor);
  }
  return ordered;
}

function inOrder(specs: readonly TensorSpec[], tensors: readonly Tensor[]): readonly Tensor[] {
  // The usual case, exactly the inputs in order, allocates nothing.
  if (specs.length === tensors.length && specs.every((spec, i) => tensors[i]?.name === spec.name))
    return tensors;
  const takes = specs.map((spec) => spec.name).join(', ');
  const byName = new Map<string, Tensor>();
  for (const tensor of tensors) {
    if (byName.has(tensor.name))
      throw new Fault(
        'request_tensor',
        `tensor ${tensor.name} is given twice; the model takes ${takes}`,
      );
    byName.set(tensor.name, tensor);
  }
  for (const name of byName.keys()) {
    if (!specs.some((spec) => spec.name === name))
      throw new Fault('request_tensor', `unknown tensor ${name}; the model takes ${takes}`);
  }
  return specs.map((spec) => {
    const tensor = byName.get(spec.name);
    if (tensor === undefined)
      throw new Fault(
        'request_tensor',
        `tensor ${spec.name} ${describe(spec)} is missing; ` +
          `the request has ${[...byName.keys()].join(', ') || 'none'}`,
      );
    return tensor;
  });
}

function checkLayout(spec: TensorSpec, tensor: Tensor, maxBytes: number): number {
  if (tensor.datatype !== spec.datatype) {
    throw new Fault(
      'request_tensor',
      `tensor ${spec.name} is ${describe(tensor)}, the model takes ${describe(spec)}`,
    );
  }
  const { shape } = tensor;
  let fits = shape.length === spec.shape.length;
  for (let i = 0; fits && i < shape.length; i += 1) {
    const size = shape[i] as number;
    fits = Number.isInteger(size) && size >= 1 && (spec.shape[i] === -1 || spec.shape[i] === size);
  }
  if (!fits)
    throw new Fault(
      'request_tensor',
      `tensor ${spec.name} has shape [${shape.join(',')}], ` +
        `the model takes [${spec.shape.join(',')}] (-1: any size from 1)`,
    );
  const bytes = byteLengthOf(spec.datatype, shape);
  if (bytes > maxBytes)
    throw new Fault(
      'request_too_large',
      `tensor ${spec.name} ${describe(tensor)} needs ${bytes} bytes, the limit is ${maxBytes}`,
    );
  if (tensor.data.byteLength !== bytes) {
    throw new Fault(
      'request_tensor',
      `tensor ${spec.name} has ${tensor.data.byteLength} bytes, ${describe(tensor)} needs ${bytes}`,
    );
  }
  return bytes;
}

function checkValues(spec: TensorSpec, tensor: Tensor): void {
  const { datatype, range } = spec;
  if (datatype === 'BOOL') {
    const bad = tensor.data.findIndex((value) => value > 1);
    if (bad >= 0)
      throw new Fault(
        'request_value',
        `tensor ${spec.name}: element ${bad} is ${tensor.data[bad]}, BOOL is 0 or 1`,
      );
    return;
  }
  if (datatype !== 'FP32' && datatype !== 'FP64') {
    if (range !== undefined) checkIntegers(spec, tensor, range.min, range.max);
    return;
  }
  const elements = elementsOf(tensor) as Float32Array | Float64Array;
  const bad = firstOutside(
    elements,
    range?.min ?? -Number.MAX_VALUE,
    range?.max ?? Number.MAX_VALUE,
  );
  if (bad < 0) return;
  const expected =
    range === undefined ? 'a finite number' : `a number from ${range.min} to ${range.max}`;
  throw new Fault(
    'request_value',
    `tensor ${spec.name}: element ${bad} is ${elements[bad]}, expected ${expected}`,
  );
}

/** NaN fails both comparisons, infinity fails one: a single predictable branch per element. */
function firstOutside(elements: Float32Array | Float64Array, min: number, max: number): number {
  for (let i = 0; i < elements.length; i += 1) {
    const value = elements[i] as number;
    if (!(value >= min && value <= max)) return i;
  }
  return -1;
}

function checkIntegers(spec: TensorSpec, tensor: Tensor, min: number, max: number): void {
  const elements = elementsOf(tensor);
  for (let i = 0; i < elements.length; i += 1) {
    const value = elements[i] as number | bigint;
    if (value < min || value > max)
      throw new Fault(
        'request_value',
        `tensor ${spec.name}: element ${i} is ${value}, expected ${min} to ${max}`,
      );
  }
}

/**
 * Fault `model_run_failed` for a model's answer that holds NaN or infinity; null for a good one.
 */
export function nonFiniteAnswer(outputs: readonly Tensor[]): Fault | null {
  for (const output of outputs) {
    const at = firstNonFinite(output);
    if (at < 0) continue;
    return new Fault(
      'model_run_failed',
      `the model answered NaN or infinity (output ${output.name}, element ${at}); ` +
        'the answer is withheld',
    );
  }
  return null;
}

/** Index of the first NaN or infinity of a floating-point tensor, or -1. */
function firstNonFinite(tensor: Tensor): number {
  if (tensor.datatype !== 'FP32' && tensor.datatype !== 'FP64') return -1;
  return firstOutside(
    elementsOf(tensor) as Float32Array | Float64Array,
    -Number.MAX_VALUE,
    Number.MAX_VALUE,
  );
}

/** Refuses outputs that the model does not have, before it runs. Fault `request_tensor`. */
export function checkOutputs(
  specs: readonly TensorSpec[],
  requested: readonly { readonly name: string }[],
): void {
  for (const { name } of requested) {
    if (!specs.some((output) => output.name === name))
      throw new Fault(
        'request_tensor',
        `unknown output ${name}; the model has ${specs.map((output) => output.name).join(', ')}`,
      );
  }
}
