// What of two releases can be compared: the inputs are the same, and so are the labels, or neither
// has any; of the outputs, those that both have with the same datatype. The trial and the rehearsal
// compare in the same way. How two answers differ is model/differences.ts's.
import { comparisonsOf, declaredPermille } from '../../../shared/release/comparisons.js';
import type { Release } from '../../../shared/release/manifest.js';
import type { Comparison } from '../../../shared/release/model-manifest.js';
import type { ComparisonEvidence } from '../../../shared/statistics/trial-evidence.js';
import { difference, type LabelMap } from '../model/differences.js';
import type { Tensor } from '../model/tensor.js';

export class ComparedOutputs {
  /** Null unless both have the same labels. */
  readonly labelOf: LabelMap;
  /** Empty where nothing can be compared. */
  readonly comparisons: readonly Comparison[];
  /** The comparisons with the limits that the new release declares for the old one. */
  readonly declared: readonly Pick<ComparisonEvidence, 'output' | 'kind' | 'declaredPermille'>[];

  constructor(current: Release, old: Release) {
    this.labelOf = sharedLabels(current, old);
    this.comparisons = comparable(current, old, this.labelOf);
    this.declared = this.comparisons.map(({ output, kind }) => ({
      output,
      kind,
      declaredPermille: declaredPermille(current.manifest, old, output),
    }));
  }

  /** One difference in [0, 1] for each comparison. */
  differences(fresh: readonly Tensor[], old: readonly Tensor[]): number[] {
    return this.comparisons.map((one) => difference(one, fresh, old, this.labelOf));
  }
}

function comparable(current: Release, old: Release, labelOf: LabelMap): Comparison[] {
  const classless = current.manifest.classifier === null && old.manifest.classifier === null;
  if (!sameInputs(current, old) || (labelOf === null && !classless)) return [];
  const both = (name: string): boolean => {
    const of = ({ manifest }: Release) => manifest.outputs.find((output) => output.name === name);
    return of(current)?.datatype === of(old)?.datatype;
  };
  return comparisonsOf(current.manifest).filter(({ output }) => both(output));
}

function sharedLabels(current: Release, old: Release): number[] | null {
  const [a, b] = [current.manifest.classifier, old.manifest.classifier];
  if (a === null || b === null || a.labels.length !== b.labels.length || !sameInputs(current, old))
    return null;
  const indexes = b.labels.map((label) => a.labels.indexOf(label));
  return indexes.includes(-1) || new Set(indexes).size !== indexes.length ? null : indexes;
}

function sameInputs(current: Release, old: Release): boolean {
  const inputs = ({ manifest }: Release) =>
    manifest.inputs
      .map(({ name, datatype, shape }) => `${name} ${datatype} ${shape.length}`)
      .sort()
      .join();
  return inputs(current) === inputs(old);
}
