// Acceptance sets on the side of people: building and signing one from .npy files, and running one
// on a release before it is published. On devices agent/inference/model/acceptance.ts runs it.
import { dirname, resolve } from 'node:path';
import { parse as parseToml } from 'smol-toml';
import { Type, type Static } from 'typebox';
import { utf8 } from '../../shared/base/bytes.js';
import { decode } from '../../shared/base/decode.js';
import { Fault, isFault, reason } from '../../shared/base/fault-codes.js';
import { limits } from '../../shared/base/limits.js';
import { ORT_TYPE } from '../../shared/platform/onnx-runtime.js';
import {
  ACCEPTANCE_PAYLOAD_TYPE,
  acceptanceVerdict,
  AcceptanceSet,
  elementsOfProbe,
  sampleScore,
  type AcceptanceSample,
  type SampleAnswer,
} from '../../shared/release/acceptance-set.js';
import { Component } from '../../shared/release/manifest-head.js';
import {
  Comparison,
  type Datatype,
  type ModelManifest,
  type ProbeTensor,
} from '../../shared/release/model-manifest.js';
import { signEnvelope } from '../../shared/trust/envelope.js';
import type { Signer } from '../../shared/trust/signer.js';
import { readInputFile } from '../model/input-data/input-file.js';
import { readNpy, type NpyArray, type NpyDtype } from '../model/input-data/npy.js';
import { decodeModel } from '../model/onnx/model-file.js';
import { answerOf, openModel } from '../model/session.js';

const strict = { additionalProperties: false } as const;
const Files = Type.Record(
  Type.String({ minLength: 1, maxLength: limits.nameMaxChars }),
  Type.String({ minLength: 1, maxLength: limits.filePathMaxChars }),
);
const Spec = Type.Object(
  {
    component: Component,
    least: Type.Number({ exclusiveMinimum: 0, maximum: 1 }),
    inputs: Files,
    /** The samples have a first axis of 1 (default). */
    batch_axis: Type.Optional(Type.Boolean()),
    labels: Type.Optional(Type.String({ minLength: 1, maxLength: limits.filePathMaxChars })),
    names: Type.Optional(Type.Array(Type.String({ maxLength: limits.labelMaxChars }))),
    outputs: Type.Optional(Files),
    comparisons: Type.Optional(Type.Array(Comparison)),
  },
  strict,
);

/** A signed set, as a file. Faults: config_invalid, those of readNpy, manifest_undecodable. */
export async function buildAcceptanceSet(
  file: string,
  key: Signer,
): Promise<{ set: AcceptanceSet; bytes: Uint8Array }> {
  const what = `acceptance spec ${file}`;
  let value: unknown;
  try {
    value = parseToml(Buffer.from(readInputFile(file)).toString('utf8'));
  } catch (error) {
    if (isFault(error)) throw error;
    throw new Fault('config_invalid', `${what}: ${reason(error)}`, { cause: error });
  }
  const spec = decode(Spec, value, what, 'config_invalid');
  const set = decode(AcceptanceSet, setOf(spec, dirname(resolve(file))), what, 'config_invalid');
  const payload = utf8(JSON.stringify(set));
  const envelope = await signEnvelope(ACCEPTANCE_PAYLOAD_TYPE, payload, [key]);
  const bytes = utf8(`${JSON.stringify(envelope)}\n`);
  if (bytes.length > limits.acceptanceSetMaxBytes)
    throw new Fault(
      'config_invalid',
      `${what}: the signed set is ${bytes.length} bytes, the limit is ` +
        `${limits.acceptanceSetMaxBytes}: take fewer samples`,
    );
  return { set, bytes };
}

function setOf(spec: Static<typeof Spec>, folder: string): unknown {
  const { component, least, batch_axis: batchAxis = true } = spec;
  const read = (files: Record<string, string>) =>
    Object.entries(files).map(([name, path]) => ({ name, array: readNpy(resolve(folder, path)) }));
  const inputs = read(spec.inputs);
  const head = { format: 'linnet.acceptance/1', component, least };
  const tensors = (arrays: typeof inputs, at: number): ProbeTensor[] =>
    arrays.map(({ name, array }) => tensorAt(name, array, at, batchAxis));
  if (spec.labels !== undefined && spec.outputs === undefined) {
    const labels = readNpy(resolve(folder, spec.labels));
    const count = countOf([...inputs, { name: 'labels', array: labels }]);
    const named = (at: number): string | undefined => spec.names?.[Number(labels.data[at])];
    const samples = Array.from({ length: count }, (_, at) => ({
      inputs: tensors(inputs, at),
      label: named(at),
    }));
    if (samples.some(({ label }) => label === undefined))
      throw new Fault('config_invalid', 'names has no entry for one of the labels');
    return { ...head, metric: 'accuracy', samples };
  }
  if (spec.outputs === undefined || spec.labels !== undefined)
    throw new Fault('config_invalid', 'an acceptance set has either labels or outputs');
  const outputs = read(spec.outputs);
  const count = countOf([...inputs, ...outputs]);
  const samples = Array.from({ length: count }, (_, at) => ({
    inputs: tensors(inputs, at),
    outputs: tensors(outputs, at),
  }));
  return { ...head, metric: 'agreement', comparisons: spec.comparisons ?? [], samples };
}

function countOf(arrays: readonly { name: string; array: NpyArray }[]): number {
  const [count, ...others] = new Set(arrays.map(({ array }) => array.shape[0] ?? 0));
  if (count === undefined || count === 0 || others.length > 0)
    throw new Fault(
      'config_invalid',
      `${arrays.map(({ name }) => name).join(', ')} must have as many samples each, at least one`,
    );
  return count;
}

const DATATYPE: Readonly<Record<NpyDtype, Datatype>> = {
  f4: 'FP32',
  u1: 'UINT8',
  i4: 'INT32',
  i8: 'INT64',
};

function tensorAt(name: string, array: NpyArray, at: number, batchAxis: boolean): ProbeTensor {
  const sample = array.shape.slice(1);
  const length = sample.reduce((product, size) => product * size, 1);
  const part = array.data.slice(at * length, (at + 1) * length);
  const bytes = Buffer.from(part.buffer, part.byteOffset, part.byteLength);
  return {
    name,
    datatype: DATATYPE[array.dtype],
    shape: batchAxis ? [1, ...sample] : sample,
    data: bytes.toString('base64'),
  };
}

/**
 * Runs a verified set on a release's model. Faults: acceptance_failed, with the numbers; those of
 * openModel.
 */
export async function requireAccepted(
  set: AcceptanceSet,
  manifest: ModelManifest,
  model: Uint8Array,
): Promise<string> {
  const what = `${manifest.component} ${manifest.version}`;
  decodeModel(model, what);
  const session = await openModel(model, { what });
  try {
    const scores: number[] = [];
    for (const sample of set.samples)
      scores.push(sampleScore(set, sample, manifest, await answerTo(sample)));
    const { passed, text } = acceptanceVerdict(set, scores);
    if (!passed) throw new Fault('acceptance_failed', `${what}: ${text}`);
    return text;
  } finally {
    await session.release();
  }

  async function answerTo({ inputs }: AcceptanceSample): Promise<SampleAnswer> {
    try {
      const feeds = Object.fromEntries(
        inputs.map((input) => [
          input.name,
          { data: elementsOfProbe(input), dims: input.shape, type: ORT_TYPE[input.datatype] },
        ]),
      );
      const answers = await session.run(feeds);
      return (output) => answerOf(answers, output);
    } catch (error) {
      if (isFault(error, 'data_mismatch')) return null;
      throw error;
    }
  }
}
