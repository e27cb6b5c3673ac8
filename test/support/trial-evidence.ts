// Evidence of a trial for tests that are not about how it is gathered: one compared output, one
// pair a block, independent inputs, nothing slow and nothing failed unless said.
import { addBlock, emptyTally, type BlockTally } from '../../shared/statistics/betting.js';
import { FUSE_BINS } from '../../shared/statistics/trial-evidence.js';
import type { TrialEvidence } from '../../shared/statistics/trial-verdict.js';

/** Blocks of which `hits` are 1 and the others 0, spread evenly. */
export function blocks(count: number, hits = 0): BlockTally {
  let tally = emptyTally();
  for (let i = 0; i < count; i++)
    tally = addBlock(
      tally,
      Math.floor(((i + 1) * hits) / count) > Math.floor((i * hits) / count) ? 1 : 0,
    );
  return tally;
}

export interface EvidenceOptions extends Partial<TrialEvidence> {
  readonly pairs?: number;
  /** Of the pairs. */
  readonly differing?: number;
  readonly declaredPermille?: number | null;
}

export function trialEvidence(options: EvidenceOptions = {}): TrialEvidence {
  const { pairs = 0, differing = 0, declaredPermille = null, ...over } = options;
  const served = over.served ?? pairs;
  const failed = over.failed ?? 0;
  return {
    seconds: 20,
    served,
    failed,
    look: served + failed >= 100 ? { served, failed } : null,
    modelFaults: 0,
    replaces: true,
    comparable: true,
    blockSeconds: 1,
    comparisons: [
      {
        output: 'logits',
        kind: 'class',
        declaredPermille,
        pairs,
        blocks: blocks(pairs, differing),
        rehearsed: { pairs: 0, blocks: 0 },
      },
    ],
    fuse: { pairs: new Array<number>(FUSE_BINS).fill(0), scenes: 0 },
    errors: { onlyOne: emptyTally(), share: emptyTally(), oldPermille: null },
    latency: { ratios: [], onlyOneSlow: emptyTally(), slow: emptyTally() },
    new: null,
    old: null,
    ...over,
  };
}

/** Of a rehearsal: one pair a block, all of them from before the swap. */
export function rehearsedEvidence(pairs: number, differing: number): TrialEvidence {
  const evidence = trialEvidence({ pairs, differing, served: 0, seconds: 3600 });
  const rehearsed = { pairs, blocks: pairs };
  return {
    ...evidence,
    comparisons: evidence.comparisons.map((comparison) => ({ ...comparison, rehearsed })),
  };
}
