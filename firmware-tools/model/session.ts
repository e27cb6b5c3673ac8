// The only importer of onnxruntime-node in firmware-tools: opens a model in this process, runs it,
// releases it. Promises: ONNX Runtime's own telemetry is off before its first line runs, one
// thread, no spinning, and every refusal is a Fault with the file's name: model_not_onnx (it does
// not load), model_unsupported (inputs or outputs that are not tensors), data_mismatch (feeds that
// the model does not take). Devices never use this: there a model runs in a process of its own
// (agent/inference/model-process).
import {
  DATATYPE_OF,
  loadOnnxRuntime,
  type OnnxRuntime,
  type Ort,
} from '../../shared/platform/onnx-runtime.js';
import { Fault } from '../../shared/base/fault-codes.js';
import type { Answer } from '../../shared/release/answer-differences.js';

export type TensorData =
  | Float32Array
  | Float64Array
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

/**
 * `type` is ONNX Runtime's name (float32, uint8, int64, bool, ...); a shape's string entries are
 * symbolic sizes.
 */
export interface TensorMeta {
  name: string;
  type: string;
  shape: (number | string)[];
}

export interface TensorValue {
  data: TensorData;
  dims: number[];
}

export type Feeds = Record<string, TensorValue>;
export type Answers = Record<string, TensorValue & { type: string }>;

/** One output as answers are compared; undefined where the model does not give it. */
export function answerOf(answers: Answers, output: string): Answer | undefined {
  const found = Object.hasOwn(answers, output) ? answers[output] : undefined;
  const datatype = found === undefined ? undefined : DATATYPE_OF[found.type];
  if (found === undefined || datatype === undefined) return undefined;
  return { datatype, shape: found.dims, elements: found.data };
}

export interface OpenOptions {
  /** Names the model in refusals; the path, when one is opened. */
  what?: string;
  optimization?: 'disabled' | 'basic' | 'extended' | 'all';
  /** ONNX Runtime writes the graph that it would run to this file. */
  optimizedTo?: string;
}

export interface Session {
  readonly inputs: TensorMeta[];
  readonly outputs: TensorMeta[];
  /** Runs once; blocks this thread while it computes. The answers' arrays are the caller's. */
  run(feeds: Feeds): Promise<Answers>;
  release(): Promise<void>;
}

/**
 * Of the runtime that prepares graphs here: another version may fold constants differently, so
 * lineage names it.
 */
export function runtimeVersion(): string {
  return `onnxruntime ${loadOnnxRuntime().env.versions.node ?? 'unknown'}`;
}

function metaOf(
  list: readonly Ort.InferenceSession.ValueMetadata[],
  side: 'input' | 'output',
  what: string,
): TensorMeta[] {
  return list.map((m) => {
    if (!m.isTensor)
      throw new Fault(
        'model_unsupported',
        `${what}: '${m.name}' is a sequence or a map, and only tensors are served; from ` +
          'scikit-learn, convert with the option zipmap: False (it leaves ZipMap out)',
      );
    // ONNX Runtime's JavaScript API keeps answers in a plain object and would lose this one.
    if (side === 'output' && m.name === '__proto__')
      throw new Fault(
        'model_unsupported',
        `${what}: an output is named '__proto__', which JavaScript reserves; rename it`,
      );
    return { name: m.name, type: m.type, shape: [...m.shape] };
  });
}

function toTensor(
  ort: OnnxRuntime,
  meta: TensorMeta,
  value: TensorValue,
  what: string,
): Ort.Tensor {
  try {
    return new ort.Tensor(meta.type as 'float32', value.data as Float32Array, value.dims);
  } catch (cause) {
    const given =
      `${value.data.constructor.name}(${value.data.length}) as ` + `[${value.dims.join(', ')}]`;
    throw new Fault(
      'data_mismatch',
      `${what}: input '${meta.name}' takes ${meta.type}, got ${given}`,
      { cause },
    );
  }
}

/**
 * Opens a model from its bytes or its path. Fault model_not_onnx when ONNX Runtime cannot load it.
 */
export async function openModel(
  model: Uint8Array | string,
  options: OpenOptions = {},
): Promise<Session> {
  const what = options.what ?? (typeof model === 'string' ? model : 'model');
  const ort = loadOnnxRuntime();
  const settings: Ort.InferenceSession.SessionOptions = {
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    logSeverityLevel: 3,
    graphOptimizationLevel: options.optimization ?? 'all',
    extra: { session: { intra_op: { allow_spinning: '0' }, inter_op: { allow_spinning: '0' } } },
    ...(options.optimizedTo === undefined ? {} : { optimizedModelFilePath: options.optimizedTo }),
  };
  let session: Ort.InferenceSession;
  try {
    session =
      typeof model === 'string'
        ? await ort.InferenceSession.create(model, settings)
        : await ort.InferenceSession.create(model, settings);
  } catch (cause) {
    throw new Fault(
      'model_not_onnx',
      `${what}: ONNX Runtime cannot load it: ${(cause as Error).message}`,
      { cause },
    );
  }
  const inputs = metaOf(session.inputMetadata, 'input', what);
  const outputs = metaOf(session.outputMetadata, 'output', what);
  return {
    inputs,
    outputs,
    async run(feeds) {
      const unknown = Object.keys(feeds).filter((name) => !inputs.some((m) => m.name === name));
      const missing = inputs.filter((m) => feeds[m.name] === undefined).map((m) => m.name);
      if (unknown.length > 0 || missing.length > 0) {
        const takes = inputs.map((m) => `'${m.name}' ${m.type}[${m.shape.join(', ')}]`).join(', ');
        const got = Object.keys(feeds)
          .map((name) => `'${name}'`)
          .join(', ');
        throw new Fault('data_mismatch', `${what} takes ${takes}; got ${got || 'nothing'}`);
      }
      const tensors = Object.fromEntries(
        inputs.map((meta) => [meta.name, toTensor(ort, meta, feeds[meta.name]!, what)]),
      );
      let answers: Ort.InferenceSession.OnnxValueMapType;
      try {
        answers = await session.run(tensors);
      } catch (cause) {
        const detail = `${what}: it does not run on these inputs: ${(cause as Error).message}`;
        throw new Fault('data_mismatch', detail, { cause });
      }
      return Object.fromEntries(
        Object.entries(answers).map(([name, { data, dims, type }]) => [
          name,
          { data: data as TensorData, dims: [...dims], type },
        ]),
      );
    },
    release: () => session.release(),
  };
}
