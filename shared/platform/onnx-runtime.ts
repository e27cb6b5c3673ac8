// Loads ONNX Runtime, and maps its datatypes. The only place that loads it: the vendor's telemetry
// is switched off before its first line runs (from 1.29 on it is on by default and writes into the
// home folder; newer releases read the second variable). Import it only where models run: the
// library maps about 40 MB.
import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type * as Ort from 'onnxruntime-node';
import type { Datatype } from '../release/model-manifest.js';

export type OnnxRuntime = typeof Ort;
export type { Ort };

let runtime: OnnxRuntime | undefined;

export function loadOnnxRuntime(): OnnxRuntime {
  process.env['ORT_DISABLE_TELEMETRY'] = '1';
  process.env['ORT_TELEMETRY_DISABLED'] = '1';
  runtime ??= createRequire(import.meta.url)('onnxruntime-node') as OnnxRuntime;
  return runtime;
}

/** What of it is not installed for this platform; empty when it is. Loads nothing. */
export function missingOnnxRuntime(): string[] {
  let folder: string;
  try {
    folder = dirname(createRequire(import.meta.url).resolve('onnxruntime-node/package.json'));
  } catch {
    return ['the package onnxruntime-node']; // Whatever keeps it from being found.
  }
  const platform = join(process.platform, process.arch, 'onnxruntime_binding.node');
  const binaries = join(folder, 'bin');
  const versions = existsSync(binaries) ? readdirSync(binaries) : [];
  return versions.some((version) => existsSync(join(binaries, version, platform)))
    ? []
    : [join(binaries, '*', platform)];
}

/** A program (of `node -e`) that loads it as above and does nothing with it. */
export function onnxLoader(): string {
  const path = createRequire(import.meta.url).resolve('onnxruntime-node');
  const off = 'process.env.ORT_DISABLE_TELEMETRY = process.env.ORT_TELEMETRY_DISABLED = "1"';
  return `${off}; require(${JSON.stringify(path)});`;
}

/** ONNX Runtime's name of each datatype of the Open Inference Protocol that Linnet serves. */
export const ORT_TYPE: Readonly<Record<Datatype, Ort.Tensor.Type>> = {
  BOOL: 'bool',
  UINT8: 'uint8',
  INT8: 'int8',
  UINT16: 'uint16',
  INT16: 'int16',
  INT32: 'int32',
  INT64: 'int64',
  FP32: 'float32',
  FP64: 'float64',
};

/** The reverse; undefined for a type that Linnet does not serve. */
export const DATATYPE_OF: Readonly<Record<string, Datatype | undefined>> = Object.fromEntries(
  Object.entries(ORT_TYPE).map(([datatype, type]) => [type, datatype]),
) as Record<string, Datatype>;
