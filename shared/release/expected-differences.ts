// What a release says about how far its answers differ from older releases: the makers measured it
// when they built the release, and signed it into the manifest. As numbers, and as a sentence that
// every command prints alike.
import { limitPercent, percentBeside } from '../statistics/share-text.js';
import { declaredLimit } from '../statistics/trial-evidence.js';
import type { ModelManifest } from './model-manifest.js';

export interface DeclaredDifference {
  /** Digest and version of the older release. */
  readonly base: string;
  readonly version: string;
  readonly output: string;
  /** Mean difference over `count` inputs. */
  readonly mean: number;
  readonly count: number;
  /** Up to here a trial accepts it, where the policy's cap is not lower. */
  readonly limitPermille: number;
}

export function declaredDifferences({
  expectedDifferences = [],
}: Pick<ModelManifest, 'expectedDifferences'>): DeclaredDifference[] {
  return expectedDifferences.flatMap(({ base, version, outputs }) =>
    outputs.map(({ output, sum, count }) => ({
      base,
      version,
      output,
      mean: sum / count,
      count,
      limitPermille: declaredLimit({ sum, count }),
    })),
  );
}

export function differenceText(declared: DeclaredDifference): string {
  const { output, version, mean, count, limitPermille } = declared;
  const limit = limitPermille / 1000;
  return (
    `answers of ${output} differ from ${version} by ${percentBeside(limit, mean)} ` +
    `(n ${count}; limit ${limitPercent(limit)})`
  );
}
