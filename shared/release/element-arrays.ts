// The typed array that holds the elements of each Open Inference Protocol datatype. A file of its
// own because model processes import it: the schema library behind model-manifest.ts would cost
// each of them 20 MB of memory.
import type { Datatype } from './model-manifest.js';

export const ELEMENT_ARRAYS = {
  BOOL: Uint8Array,
  UINT8: Uint8Array,
  INT8: Int8Array,
  UINT16: Uint16Array,
  INT16: Int16Array,
  INT32: Int32Array,
  INT64: BigInt64Array,
  FP32: Float32Array,
  FP64: Float64Array,
} as const satisfies Record<Datatype, unknown>;
