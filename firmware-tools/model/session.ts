// The release desk's only importer of onnxruntime-node: opens a model in this process, runs it,
// lets it go. Promises: ONNX Runtime's own telemetry is off before its first line runs, one thread,
// no spinning, and every refusal is Fault model_not_onnx with the file's name (model_tensors_differ
// for feeds that the model does not take). Devices never use this: there a model runs in a process
// of its own (agent/runtime/host-child).
import { createRequire } from 'node:module';
import type * as Ort from 'onnxruntime-node';
import { Fault } from '../../shared/base/fault-codes.js';

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

type Runtime = typeof Ort;
let runtime: Runtime | undefined;

function loadRuntime(): Runtime {
  if (runtime === undefined) {
    // from 1.29 on it would write into the home folder of whoever runs this
    process.env['ORT_DISABLE_TELEMETRY'] = '1';
    runtime = createRequire(import.meta.url)('onnxruntime-node') as Runtime;
  }
  return runtime;
}

/**
 * Of the runtime that prepares graphs here: another version may fold constants differently, so
 * lineage names it.
 */
export function runtimeVersion(): string {
  return `onnxruntime ${loadRuntime().env.versions.node ?? 'unknown'}`;
}

function metaOf(list: readonly Ort.InferenceSession.ValueMetadata[], what: string): TensorMeta[] {
  return list.map((m) => {
    if (!m.isTensor)
      throw new Fault(
        'model_not_onnx',
        `${what}: '${m.name}' is not a tensor; only tensors are served`,
      );
    return { name: m.name, type: m.type, shape: [...m.shape] };
  });
}

function toTensor(ort: Runtime, meta: TensorMeta, value: TensorValue, what: string): Ort.Tensor {
  try {
    return new ort.Tensor(meta.type as 'float32', value.data as Float32Array, value.dims);
  } catch (cause) {
    const given = `${value.data.constructor.name}(${value.data.length}) as [${value.dims.join(', ')}]`;
    throw new Fault(
      'model_tensors_differ',
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
  const ort = loadRuntime();
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
  const inputs = metaOf(session.inputMetadata, what);
  const outputs = metaOf(session.outputMetadata, what);
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
        throw new Fault('model_tensors_differ', `${what} takes ${takes}; got ${got || 'nothing'}`);
      }
      const tensors = Object.fromEntries(
        inputs.map((meta) => [meta.name, toTensor(ort, meta, feeds[meta.name]!, what)]),
      );
      let answers: Ort.InferenceSession.OnnxValueMapType;
      try {
        answers = await session.run(tensors);
      } catch (cause) {
        const reasons = `${what}: it does not run on these inputs: ${(cause as Error).message}`;
        throw new Fault('model_tensors_differ', reasons, { cause });
      }
      return Object.fromEntries(
        Object.entries(answers).map(([name, value]) => {
          const tensor = value as Ort.Tensor;
          return [
            name,
            { data: tensor.data as TensorData, dims: [...tensor.dims], type: tensor.type },
          ];
        }),
      );
    },
    release: () => session.release(),
  };
}
