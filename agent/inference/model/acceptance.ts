// Runs a verified acceptance set on a candidate, in the process that probes it. An input that the
// release refuses or fails is one that it answers wrong.
import { isFault } from '../../../shared/base/fault-codes.js';
import {
  acceptanceVerdict,
  elementsOfProbe,
  sampleScore,
  type AcceptanceSample,
  type AcceptanceSet,
  type SampleAnswer,
} from '../../../shared/release/acceptance-set.js';
import type { ModelManifest } from '../../../shared/release/model-manifest.js';
import type { Host } from '../model-process/host.js';
import { guard } from './guard.js';
import { elementsOf, tensorOf } from './tensor.js';

export async function runAcceptance(
  host: Pick<Host, 'run'>,
  set: AcceptanceSet,
  manifest: ModelManifest,
  maxBytes: number,
): Promise<ReturnType<typeof acceptanceVerdict>> {
  const scores: number[] = [];
  for (const sample of set.samples)
    scores.push(sampleScore(set, sample, manifest, await answerTo(sample)));
  return acceptanceVerdict(set, scores);

  async function answerTo({ inputs }: AcceptanceSample): Promise<SampleAnswer> {
    try {
      const tensors = inputs.map((input) =>
        tensorOf(input.name, input.datatype, input.shape, elementsOfProbe(input)),
      );
      const outputs = await host.run(guard(manifest.inputs, tensors, maxBytes));
      return (name) => {
        const found = outputs.find((output) => output.name === name);
        return found === undefined ? undefined : { ...found, elements: elementsOf(found) };
      };
    } catch (error) {
      if (isFault(error) && error.kind === 'refused') return null;
      throw error;
    }
  }
}
