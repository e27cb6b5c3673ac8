// Golden probes: the model is opened and run here, when the bundle is built, on the spec's inputs,
// and its answers are recorded with them. A device runs the same probes before it serves the
// release, so a model that computes something else there (another instruction set, another runtime)
// is found before any request. Also: tensor declarations, read from the model itself.
import { DATATYPE_OF } from '../../../shared/platform/onnx-runtime.js';
import { limits } from '../../../shared/base/limits.js';
import { Fault } from '../../../shared/base/fault-codes.js';
import type {
  Classifier,
  Datatype,
  Probes,
  ProbeTensor,
  TensorSpec,
} from '../../../shared/release/model-manifest.js';
import { readNpy, type NpyArray, type NpyDtype } from '../../model/input-data/npy.js';
import type { Session, TensorData, TensorMeta, TensorValue } from '../../model/session.js';

/** What a .npy file of a type may feed. */
const FEEDS: Readonly<Record<NpyDtype, readonly Datatype[]>> = {
  f4: ['FP32'],
  u1: ['UINT8', 'BOOL'],
  i4: ['INT32'],
  i8: ['INT64'],
};

/**
 * A tensor of the model as a release declares it; symbolic sizes are -1. Fault model_unsupported
 * for types that no release may have.
 */
export function tensorSpec(
  meta: TensorMeta,
  range: { min: number; max: number } | undefined,
  model: string,
): TensorSpec {
  const datatype = DATATYPE_OF[meta.type];
  if (datatype === undefined)
    throw new Fault(
      'model_unsupported',
      `${model}: tensor '${meta.name}' is ${meta.type}; tensors of a release may be ` +
        `${Object.keys(DATATYPE_OF).join(', ')}: cast it inside the model`,
    );
  const shape = meta.shape.map((size) => (typeof size === 'number' && size >= 0 ? size : -1));
  return { name: meta.name, datatype, shape, ...(range === undefined ? {} : { range }) };
}

/**
 * The arrays of a table of the spec by input name; its `inputs` is one path for a model of one
 * input, or a path by name. Faults: config_invalid, those of readNpy.
 */
export function readSpecInputs(
  session: Session,
  table: 'probes' | 'evaluation',
  paths: string | Readonly<Record<string, string>>,
  at: (path: string) => string,
): Record<string, NpyArray> {
  const names = session.inputs.map((input) => input.name);
  if (typeof paths === 'string') {
    const [only] = names;
    if (only === undefined || names.length !== 1) {
      throw new Fault(
        'config_invalid',
        `the model takes ${names.join(', ')}: [${table}] inputs must name a .npy file for each`,
      );
    }
    return { [only]: readNpy(at(paths)) };
  }
  const given = Object.keys(paths);
  const wrong = [
    ...given.filter((name) => !names.includes(name)).map((name) => `no input '${name}'`),
    ...names.filter((name) => !given.includes(name)).map((name) => `no file for '${name}'`),
  ];
  if (wrong.length > 0)
    throw new Fault(
      'config_invalid',
      `[${table}] inputs: ${wrong.join('; ')} (the model takes ${names.join(', ')})`,
    );
  return Object.fromEntries(Object.entries(paths).map(([name, path]) => [name, readNpy(at(path))]));
}

/**
 * Runs every probe alone and records its answers. Faults: data_mismatch (inputs that the model does
 * not take), model_unsupported (it answers NaN or infinity), model_tensors_differ (an output is
 * missing).
 */
export async function recordGoldens(
  session: Session,
  inputs: Readonly<Record<string, NpyArray>>,
): Promise<Probes> {
  const counts = new Set(Object.values(inputs).map((array) => array.shape[0] ?? 0));
  const [count] = counts;
  if (count === undefined || counts.size !== 1)
    throw new Fault(
      'data_mismatch',
      'the probe files differ in their first axis, which counts the probes',
    );
  if (count < 1 || count > limits.probesMaxCount)
    throw new Fault(
      'data_mismatch',
      `${count} probes are given; a release has 1 to ${limits.probesMaxCount}`,
    );
  const probes: Probes['probes'] = [];
  for (let index = 0; index < count; index++) {
    const feeds = Object.fromEntries(
      session.inputs.map((meta) => [meta.name, probeInput(meta, inputs[meta.name], index)]),
    );
    const answers = await session.run(feeds);
    probes.push({
      id: `probe-${String(index).padStart(2, '0')}`,
      inputs: session.inputs.map((meta) => probeTensor(meta.name, meta.type, feeds[meta.name])),
      outputs: session.outputs.map((meta) => {
        const answer = answers[meta.name];
        if (answer !== undefined) requireFinite(answer.data, meta.name, index);
        return probeTensor(meta.name, meta.type, answer);
      }),
    });
  }
  return { format: 'linnet.probes/1', probes };
}

/** Slice `index` of the array's first axis, with a batch axis of 1 where the model has one. */
function probeInput(meta: TensorMeta, array: NpyArray | undefined, index: number): TensorValue {
  if (array === undefined)
    throw new Fault('data_mismatch', `no data is given for input '${meta.name}'`);
  const datatype = DATATYPE_OF[meta.type];
  if (datatype === undefined || !FEEDS[array.dtype].includes(datatype)) {
    throw new Fault(
      'data_mismatch',
      `input '${meta.name}' takes ${meta.type}, its .npy file holds ${array.dtype}`,
    );
  }
  const rest = array.shape.slice(1);
  const dims = meta.shape.length === array.shape.length ? [1, ...rest] : rest;
  const fits =
    dims.length === meta.shape.length &&
    meta.shape.every((size, axis) => typeof size !== 'number' || size < 0 || size === dims[axis]);
  if (!fits) {
    throw new Fault(
      'data_mismatch',
      `input '${meta.name}' takes [${meta.shape.join(', ')}]; its .npy file ` +
        `[${array.shape.join(', ')}] makes probes of [${dims.join(', ')}]`,
    );
  }
  const length = rest.reduce((product, size) => product * size, 1);
  return { data: array.data.slice(index * length, (index + 1) * length), dims };
}

function probeTensor(name: string, type: string, value: TensorValue | undefined): ProbeTensor {
  const datatype = DATATYPE_OF[type];
  if (value === undefined || datatype === undefined)
    throw new Fault('model_tensors_differ', `the model did not answer with its output '${name}'`);
  const { buffer, byteOffset, byteLength } = value.data;
  return {
    name,
    datatype,
    shape: value.dims,
    data: Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength).toString('base64'),
  };
}

/**
 * The classifier's output has one class for each label along its last axis: by the model's
 * declaration where it fixes the size, and by its answers. Otherwise a device would count classes
 * under wrong names. Fault config_invalid.
 */
export function requireLabelEach(
  classifier: Classifier | undefined,
  session: Session,
  { probes }: Probes,
): void {
  if (classifier === undefined) return;
  const { output, labels } = classifier;
  const declared = session.outputs.find((meta) => meta.name === output)?.shape.at(-1);
  const answered = probes.map((probe) =>
    probe.outputs.find((tensor) => tensor.name === output)?.shape.at(-1),
  );
  const wrong = [declared, ...answered].find(
    (size) => typeof size === 'number' && size >= 0 && size !== labels.length,
  );
  if (wrong === undefined) return;
  throw new Fault(
    'config_invalid',
    `[classifier] has ${labels.length} labels, the model's output '${output}' has ${wrong} classes`,
  );
}

/** NaN never equals itself: no device could meet such a golden answer. */
function requireFinite(data: TensorData, name: string, index: number): void {
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) return;
  if (data.every((value) => Number.isFinite(value))) return;
  throw new Fault(
    'model_unsupported',
    `the model answers probe ${index} with NaN or infinity in '${name}', which no device could ` +
      'match: fix the model or the probe',
  );
}
