// What of two releases is compared, and with which limits: the trial and the rehearsal compare in
// the same way. What can be compared is shared/release/comparisons.ts's, how two answers differ
// model/differences.ts's.
import { comparable, declaredPermille } from '../../../shared/release/comparisons.js';
import type { LabelMap } from '../../../shared/release/answer-differences.js';
import type { Release } from '../../../shared/release/manifest.js';
import type { Comparison } from '../../../shared/release/model-manifest.js';
import type { ComparisonEvidence } from '../../../shared/statistics/trial-evidence.js';
import { difference } from '../model/differences.js';
import type { Tensor } from '../model/tensor.js';

export class ComparedOutputs {
  /** Null unless both have the same labels. */
  readonly labelOf: LabelMap;
  /** Empty where nothing can be compared. */
  readonly comparisons: readonly Comparison[];
  /** The comparisons with the limits that the new release declares for the old one. */
  readonly declared: readonly Pick<ComparisonEvidence, 'output' | 'kind' | 'declaredPermille'>[];

  constructor(current: Release, old: Release) {
    const { comparisons, labelOf } = comparable(current.manifest, old.manifest);
    this.labelOf = labelOf;
    this.comparisons = comparisons;
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
