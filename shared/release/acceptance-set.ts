// Acceptance sets: labelled inputs of a component that belong to somebody else than the makers of
// its releases. A release whose golden answers are its own can be wrong and consistent; on an
// acceptance set it must give the answers of others. A set is one DSSE envelope, signed by an
// acceptance key of the image root, and named by digest in the image targets. Pure.
import { Type, type Static } from 'typebox';
import { argmaxOf, answerDifference, type Answer } from './answer-differences.js';
import { decode, parseJson } from '../base/decode.js';
import { Fault } from '../base/fault-codes.js';
import { limits } from '../base/limits.js';
import { limitPercent, percentBeside } from '../statistics/share-text.js';
import { openEnvelope } from '../trust/envelope.js';
import type { KeyRing } from '../trust/key-ring.js';
import { Component, strict } from './manifest-head.js';
import { ELEMENT_ARRAYS } from './element-arrays.js';
import { Comparison, ELEMENT_BYTES, ProbeTensor, type ModelManifest } from './model-manifest.js';

export const ACCEPTANCE_PAYLOAD_TYPE = 'application/vnd.linnet.acceptance+json';

const Tensors = Type.Array(ProbeTensor, {
  minItems: 1,
  maxItems: limits.modelTensorsMaxCount,
});
const samples = { minItems: 1, maxItems: limits.acceptanceSamplesMaxCount } as const;
const head = {
  format: Type.Literal('linnet.acceptance/1'),
  component: Component,
  /** What the metric must reach. */
  least: Type.Number({ exclusiveMinimum: 0, maximum: 1 }),
};

export const AcceptanceSet = Type.Union([
  Type.Object(
    {
      ...head,
      /** Share of inputs to which the classifier gives the right label. */
      metric: Type.Literal('accuracy'),
      samples: Type.Array(
        Type.Object(
          { inputs: Tensors, label: Type.String({ maxLength: limits.labelMaxChars }) },
          strict,
        ),
        samples,
      ),
    },
    strict,
  ),
  Type.Object(
    {
      ...head,
      /** 1 less the mean difference from the right outputs, over inputs and comparisons. */
      metric: Type.Literal('agreement'),
      comparisons: Type.Array(Comparison, { minItems: 1, maxItems: limits.modelTensorsMaxCount }),
      samples: Type.Array(Type.Object({ inputs: Tensors, outputs: Tensors }, strict), samples),
    },
    strict,
  ),
]);
export type AcceptanceSet = Static<typeof AcceptanceSet>;
export type AcceptanceSample = AcceptanceSet['samples'][number];

/**
 * Size, then signatures, then schema. Faults: manifest_undecodable (size, schema, tensors that do
 * not fill their shape), signature_invalid.
 */
export function openAcceptanceSet(bytes: Uint8Array, ring: KeyRing): AcceptanceSet {
  const most = limits.acceptanceSetMaxBytes;
  if (bytes.length > most)
    throw new Fault(
      'manifest_undecodable',
      `the acceptance set is ${bytes.length} bytes, the limit is ${most}`,
    );
  const payload = openEnvelope(bytes, ACCEPTANCE_PAYLOAD_TYPE, ring);
  const what = 'acceptance set';
  const value = parseJson(payload, what, 'manifest_undecodable');
  const set = decode(AcceptanceSet, value, what, 'manifest_undecodable');
  set.samples.forEach((sample, i) => {
    const outputs = 'outputs' in sample ? sample.outputs : [];
    for (const tensor of [...sample.inputs, ...outputs]) requireFilled(tensor, i);
  });
  return set;
}

function requireFilled({ name, datatype, shape, data }: ProbeTensor, at: number): void {
  const bytes = Buffer.from(data, 'base64').length;
  const due = shape.reduce((product, size) => product * size, ELEMENT_BYTES[datatype]);
  if (bytes !== due)
    throw new Fault(
      'manifest_undecodable',
      `sample ${at} of the acceptance set: ${name} has ${bytes} bytes, its shape needs ${due}`,
    );
}

/** What a release answered to a sample, by output; null where it gave no answer. */
export type SampleAnswer = ((output: string) => Answer | undefined) | null;

/** How near a release is to the right answer of one sample: 1 right, 0 wrong or none. */
export function sampleScore(
  set: AcceptanceSet,
  sample: AcceptanceSample,
  manifest: Pick<ModelManifest, 'classifier'>,
  answer: SampleAnswer,
): number {
  if (answer === null) return 0;
  if ('label' in sample) {
    const { classifier } = manifest;
    const found = classifier === null ? undefined : answer(classifier.output);
    const index = found === undefined ? null : argmaxOf(found);
    return index !== null && classifier?.labels[index] === sample.label ? 1 : 0;
  }
  if (set.metric !== 'agreement') return 0;
  const differences = set.comparisons.map((comparison) => {
    const right = sample.outputs.find(({ name }) => name === comparison.output);
    return answerDifference(comparison, answer(comparison.output), rightAnswer(right), null);
  });
  return 1 - differences.reduce((sum, one) => sum + one, 0) / differences.length;
}

/** The elements of a tensor of the set, in a buffer of their own. */
export function elementsOfProbe({ datatype, data }: ProbeTensor) {
  return new ELEMENT_ARRAYS[datatype](new Uint8Array(Buffer.from(data, 'base64')).buffer);
}

function rightAnswer(tensor: ProbeTensor | undefined): Answer | undefined {
  if (tensor === undefined) return undefined;
  const { datatype, shape } = tensor;
  return { datatype, shape, elements: elementsOfProbe(tensor) };
}

/** One sentence with the numbers; `passed` is what counts. */
export function acceptanceVerdict(
  { metric, least, samples }: AcceptanceSet,
  scores: readonly number[],
): { readonly passed: boolean; readonly text: string } {
  const reached = scores.reduce((sum, one) => sum + one, 0) / samples.length;
  return {
    passed: reached >= least,
    text:
      `${metric} on the acceptance set is ${percentBeside(least, reached)} ` +
      `(${samples.length} inputs; at least ${limitPercent(least)})`,
  };
}
