// The evidence of a rehearsal: pairs of answers on inputs of the past, put into blocks of the time
// in which the inputs came, like those of a trial. Pure.
import { blocksOf } from './betting.js';
import type { InputSignature } from './block-length.js';
import type { ComparisonEvidence, TrialEvidence } from './trial-evidence.js';
import { TrialTally } from './trial-tally.js';

export interface RehearsedPair {
  readonly seconds: number;
  /** Coarse summary of the input (block-length.ts). */
  readonly summary: InputSignature['summary'];
  /** One for each comparison, in [0, 1]; null where only the new release gives no answer. */
  readonly differences: readonly number[] | null;
}

/** `blockSeconds`: of the device's live inputs; null where it is not known. */
export function rehearsalEvidence(
  pairs: readonly RehearsedPair[],
  comparisons: readonly Pick<ComparisonEvidence, 'output' | 'kind' | 'declaredPermille'>[],
  blockSeconds: number | null,
): TrialEvidence {
  const inOrder = pairs.toSorted((one, other) => one.seconds - other.seconds);
  const startedAt = inOrder[0]?.seconds ?? 0;
  const endedAt = inOrder.at(-1)?.seconds ?? 0;
  const tally = new TrialTally({
    startedAt,
    meter: { add: () => false, chooseSeconds: () => blockSeconds },
    comparisons,
    oldErrorPermille: null,
    slowMs: 0,
    // The fuse looks at all of them.
    fuseSeconds: 2 * Math.max(1, endedAt - startedAt),
  });
  for (const { seconds, summary, differences } of inOrder) {
    tally.input({ seconds, score: null, summary });
    tally.compared(seconds, {
      newFailed: differences === null,
      oldFailed: false,
      differences: differences ?? [],
      newMs: null,
      oldMs: null,
    });
  }
  tally.end();
  const more = { replaces: true, comparable: true, new: null, old: null };
  const measured = tally.evidence(endedAt, more);
  return {
    ...measured,
    comparisons: measured.comparisons.map((one) => ({
      ...one,
      rehearsed: { pairs: one.pairs, blocks: blocksOf(one.blocks) },
    })),
  };
}
