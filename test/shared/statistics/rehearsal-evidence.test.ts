// The evidence of a rehearsal, from pairs of answers on inputs of the past.
import { describe, expect, it } from 'vitest';
import { addBlock, emptyTally } from '../../../shared/statistics/betting.js';
import { FUSE_BINS } from '../../../shared/statistics/trial-evidence.js';
import {
  rehearsalEvidence,
  type RehearsedPair,
} from '../../../shared/statistics/rehearsal-evidence.js';

const COMPARISON = { output: 'logits', kind: 'class', declaredPermille: 30 } as const;
const pair = (seconds: number, difference: number | null, look = seconds): RehearsedPair => ({
  seconds,
  summary: [look],
  differences: difference === null ? null : [difference],
});
const blocksOf = (...means: readonly number[]) => means.reduce(addBlock, emptyTally());
const fuseOf = (pairs: Readonly<Record<number, number>>) =>
  Array.from({ length: FUSE_BINS }, (_, bin) => pairs[bin] ?? 0);

describe('the evidence of a rehearsal', () => {
  it('is_that_of_a_trial_over_the_time_in_which_the_inputs_came', () => {
    // Blocks of 10 s: one with 0 and 0.5, one without an answer of the new release.
    const pairs = [pair(1095, null), pair(1000, 0), pair(1004, 0.5)];
    expect(rehearsalEvidence(pairs, [COMPARISON], 10)).toEqual({
      seconds: 95,
      served: 0,
      failed: 0,
      look: null,
      modelFaults: 0,
      replaces: true,
      comparable: true,
      blockSeconds: 10,
      comparisons: [
        {
          ...COMPARISON,
          pairs: 3,
          blocks: blocksOf(0.25, 1),
          rehearsed: { pairs: 3, blocks: 2 },
        },
      ],
      fuse: { pairs: fuseOf({ 0: 1, 10: 1, 20: 1 }), scenes: 2 },
      errors: { onlyOne: blocksOf(1), share: blocksOf(0, 1), oldPermille: null },
      latency: { ratios: [], onlyOneSlow: emptyTally(), slow: emptyTally() },
      new: null,
      old: null,
    });
    expect(pairs.map(({ seconds }) => seconds)).toEqual([1095, 1000, 1004]);
  });

  it('without_a_known_block_length_is_the_fuse_only', () => {
    const { comparisons, blockSeconds, fuse } = rehearsalEvidence(
      [pair(0, 1), pair(86_400, 1)],
      [COMPARISON],
      null,
    );
    expect(blockSeconds).toBeNull();
    expect(comparisons[0]).toMatchObject({
      pairs: 2,
      blocks: emptyTally(),
      rehearsed: { pairs: 2, blocks: 0 },
    });
    expect(fuse).toEqual({ pairs: fuseOf({ 20: 2 }), scenes: 2 });
  });

  it.each([[[]], [[pair(0, 1)]], [[pair(7, 1), pair(7, 1)]]])('of_a_moment_%j', (pairs) => {
    const { seconds, fuse, comparisons } = rehearsalEvidence(pairs, [COMPARISON], 1);
    expect(seconds).toBe(0);
    expect(fuse.pairs).toEqual(fuseOf({ 20: pairs.length }));
    expect(comparisons[0]?.rehearsed).toEqual({
      pairs: pairs.length,
      blocks: Math.min(1, pairs.length),
    });
  });
});
