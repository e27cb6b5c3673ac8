// How a release's answers are compared with another's: what its manifest declares for each output,
// else a kind derived from the labels, the output's name, datatype and shape. A derived kind is a
// guess that is never harsh: it looks at how far apart the answers are, not at whether they are
// equal, because two releases never answer equally.
import { limits } from '../base/limits.js';
import { declaredLimit } from '../statistics/trial-evidence.js';
import type { LabelMap } from './answer-differences.js';
import type { Comparison, ModelManifest, TensorSpec } from './model-manifest.js';
import type { Release } from './manifest.js';

/** What two releases must have in common to be compared. */
type Described = Pick<ModelManifest, 'inputs' | 'outputs' | 'classifier' | 'comparisons'>;

/**
 * What can be compared: the inputs are the same, and so are the labels, or neither has any; of the
 * outputs, those that both have with the same datatype. `labelOf` is null unless both have the same
 * labels.
 */
export function comparable(
  current: Described,
  old: Described,
): { comparisons: Comparison[]; labelOf: LabelMap } {
  const labelOf = sharedLabels(current, old);
  const classless = current.classifier === null && old.classifier === null;
  if (!sameInputs(current, old) || (labelOf === null && !classless))
    return { comparisons: [], labelOf };
  const both = (name: string): boolean => {
    const of = ({ outputs }: Described) => outputs.find((output) => output.name === name);
    return of(current)?.datatype === of(old)?.datatype;
  };
  return { comparisons: comparisonsOf(current).filter(({ output }) => both(output)), labelOf };
}

function sharedLabels(current: Described, old: Described): LabelMap {
  const [a, b] = [current.classifier, old.classifier];
  if (a === null || b === null || a.labels.length !== b.labels.length || !sameInputs(current, old))
    return null;
  const indexes = b.labels.map((label) => a.labels.indexOf(label));
  return indexes.includes(-1) || new Set(indexes).size !== indexes.length ? null : indexes;
}

function sameInputs(current: Described, old: Described): boolean {
  const described = ({ inputs }: Described) =>
    inputs
      .map(({ name, datatype, shape }) => `${name} ${datatype} ${shape.length}`)
      .sort()
      .join();
  return described(current) === described(old);
}

/** The comparisons of a manifest, without `none`; at most as many as a trial takes. */
export function comparisonsOf(
  manifest: Pick<ModelManifest, 'comparisons' | 'classifier' | 'outputs'>,
): Comparison[] {
  return manifest.outputs
    .map(
      (output) =>
        manifest.comparisons?.find((declared) => declared.output === output.name) ?? {
          output: output.name,
          kind: derivedKind(output, manifest.classifier?.output ?? null),
        },
    )
    .filter(({ kind }) => kind !== 'none')
    .slice(0, limits.trialComparisonsMaxCount);
}

/** Longest last axis of an output of detected boxes: corners, score, class and a little more. */
const BOX_FIELDS_MOST = 7;
/** Shortest last axis of an output that is taken as a vector. */
const VECTOR_LEAST = 16;

function derivedKind(output: TensorSpec, classified: string | null): Comparison['kind'] {
  const { name, datatype, shape } = output;
  const last = shape.at(-1) ?? 1;
  if (name === classified) return 'class';
  if (datatype !== 'FP32' && datatype !== 'FP64') return 'sequence';
  if (/box|bbox|detection/i.test(name) && last >= 4 && last <= BOX_FIELDS_MOST) return 'boxes';
  if (/embed|feature|vector|hidden|logit/i.test(name)) return 'vector';
  if (/prob|score|softmax|sigmoid|conf|mask|heat/i.test(name)) return 'scores';
  return shape.length <= 2 && last >= VECTOR_LEAST ? 'vector' : 'value';
}

/**
 * The limits that a release declares for an older one, by output, in thousandths: null where it
 * declares none at all, and no limit but the operator's cap where it declares only other bases.
 */
export function declaredPermille(
  { expectedDifferences = [] }: Pick<ModelManifest, 'expectedDifferences'>,
  old: Pick<Release, 'digest'>,
  output: string,
): number | null {
  if (expectedDifferences.length === 0) return null;
  const measured = expectedDifferences
    .find(({ base }) => base === old.digest)
    ?.outputs.find((one) => one.output === output);
  return measured === undefined ? 1000 : declaredLimit(measured);
}
