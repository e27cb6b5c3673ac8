// What a trial is judged by: the policy of the operator, and the evidence that a device gathers
// about a release since it began to serve. Both travel over the wire. The policy has whole numbers
// only, because director metadata is canonical JSON, which has no fractions.
import { Type, type Static } from 'typebox';
import { limits } from '../base/limits.js';
import { BlockTally } from './betting.js';
import { upperBound } from './distributions.js';

const strict = { additionalProperties: false } as const;
const Count = Type.Integer({ minimum: 0 });
const Permille = Type.Integer({ minimum: 1, maximum: 1000 });

export const TrialPolicy = Type.Object(
  {
    /** A trial lasts at least this long ... */
    minSeconds: Type.Integer({ minimum: 0, maximum: 30 * 86_400 }),
    /** ... and is called unproven after this long without another verdict. */
    maxSeconds: Type.Integer({ minimum: 1, maximum: 60 * 86_400 }),
    /** Live inputs that both releases must have answered before a device can pass; 0: none. */
    minPairs: Type.Integer({ minimum: 0, maximum: 10_000_000 }),
    /** Mean difference of the answers that is accepted where the release declares none. */
    differenceLimitPermille: Permille,
    /** The mean difference that a person accepted while the rollout was held; none: left out. */
    acceptedDifferencePermille: Type.Optional(Permille),
    /** Above this a release has failed, whatever it declares. */
    differenceCapPermille: Permille,
    /** Chance that a release within its limits fails or is sent back on one device, in all. */
    falseAlarmPermille: Permille,
    /** Chance that a release at a limit passes. */
    falsePassPermille: Permille,
    /** Share of live requests that the release may fail, where the old one failed fewer. */
    errorLimitPermille: Permille,
    /** Latency against the old release's, in thousandths, that is accepted without a person. */
    slowdownLimitPermille: Type.Integer({ minimum: 1000, maximum: 100_000 }),
    /**
     * Population stability index of predicted classes, old against new, in thousandths, above which
     * (and above chance) it is drift.
     */
    classShiftLimitPermille: Type.Integer({ minimum: 1, maximum: 100_000 }),
    /** How far the mean confidence may fall below the old model's, in thousandths. */
    confidenceDropLimitPermille: Permille,
  },
  strict,
);
export type TrialPolicy = Static<typeof TrialPolicy>;

/**
 * Confidence histogram: CONFIDENCE_BINS equal bins over [0, 1]. Class histogram: one count a label.
 */
export const CONFIDENCE_BINS = 20;
export const Answers = Type.Object(
  {
    classes: Type.Array(Count, { maxItems: limits.labelsMaxCount }),
    confidence: Type.Array(Count, { minItems: CONFIDENCE_BINS, maxItems: CONFIDENCE_BINS }),
    confidenceSum: Type.Number({ minimum: 0 }),
  },
  strict,
);
export type Answers = Static<typeof Answers>;

export const emptyAnswers = (classes: number): Answers => ({
  classes: new Array<number>(classes).fill(0),
  confidence: new Array<number>(CONFIDENCE_BINS).fill(0),
  confidenceSum: 0,
});

/**
 * Counts one answer. An index outside the labels, or a confidence that is no number, is not an
 * answer and is left out.
 */
export function addAnswer(answers: Answers, index: number, confidence: number): void {
  const before = answers.classes[index];
  if (before === undefined || !Number.isFinite(confidence)) return;
  const share = Math.min(1, Math.max(0, confidence));
  const bin = Math.min(CONFIDENCE_BINS - 1, Math.floor(share * CONFIDENCE_BINS));
  answers.classes[index] = before + 1;
  answers.confidence[bin] = (answers.confidence[bin] ?? 0) + 1;
  answers.confidenceSum += share;
}

/** How two answers of one output are compared; each kind gives a difference in [0, 1]. */
export const ComparisonKind = Type.Enum([
  'class',
  'scores',
  'vector',
  'value',
  'boxes',
  'sequence',
  'none',
]);
export type ComparisonKind = Static<typeof ComparisonKind>;

/** One output, compared on live inputs that both releases were given. */
const ComparisonEvidence = Type.Object(
  {
    output: Type.String({ maxLength: 200 }),
    kind: ComparisonKind,
    /**
     * The limit that the release declares for the release that it replaces (declaredLimit); null
     * where it declares none.
     */
    declaredPermille: Type.Union([Type.Null(), Permille]),
    pairs: Count,
    /** Mean differences of blocks of time. */
    blocks: BlockTally,
    /** How much of both is from the rehearsal: inputs from before the swap. */
    rehearsed: Type.Object({ pairs: Count, blocks: Count }, strict),
  },
  strict,
);
export type ComparisonEvidence = Static<typeof ComparisonEvidence>;

/**
 * The limit that a release declares: the upper 95 % bound of the mean difference that its makers
 * measured on `count` inputs (`sum` of the differences), plus a margin, in thousandths.
 */
export function declaredLimit({ sum, count }: { sum: number; count: number }): number {
  const bound = upperBound({ hits: Math.ceil(sum - 1e-9), count }, 0.05);
  return Math.min(1000, Math.ceil(1000 * bound) + limits.trialDeclaredMarginPermille);
}

/** The fuse's histogram: pairs by their largest difference, in FUSE_BINS steps of 1/20. */
export const FUSE_BINS = 21;

/** Steps of 5 %, up to 130 times slower or faster. */
export const RATIO_STEP = 1.05;
export const RATIO_POWER_MOST = 100;

/** What a device knows of a trial so far. All counts are since the swap. */
export const TrialEvidence = Type.Object(
  {
    seconds: Type.Number({ minimum: 0 }),
    /** Requests that it answered, and that it failed. What both releases fail is in neither. */
    served: Count,
    failed: Count,
    /** Both counts when their sum was last 100, 200, 400 ...; null before. */
    look: Type.Union([Type.Null(), Type.Object({ served: Count, failed: Count }, strict)]),
    /** Crashes, hangs and failed starts of the new model's process. */
    modelFaults: Count,
    /** There is a release that this one replaces and that could serve again. */
    replaces: Type.Boolean(),
    /** Both answer the same inputs, so that their answers can be compared. */
    comparable: Type.Boolean(),
    /** Length of a block of time; null while the inputs change too slowly, or too few came. */
    blockSeconds: Type.Union([Type.Null(), Type.Number({ exclusiveMinimum: 0 })]),
    comparisons: Type.Array(ComparisonEvidence, { maxItems: limits.trialComparisonsMaxCount }),
    /** Of the last trialFuseSeconds: pairs by difference, and how often the input changed. */
    fuse: Type.Object(
      {
        pairs: Type.Array(Count, { minItems: FUSE_BINS, maxItems: FUSE_BINS }),
        scenes: Count,
      },
      strict,
    ),
    errors: Type.Object(
      {
        /** Requests that exactly one release failed: the share on which it was the new one. */
        onlyOne: BlockTally,
        /** Share of requests that the new release failed; of those that both ran where both run. */
        share: BlockTally,
        /** Upper bound of the old release's share of failed requests before the swap, if known. */
        oldPermille: Type.Union([Type.Null(), Type.Integer({ minimum: 0, maximum: 1000 })]),
      },
      strict,
    ),
    latency: Type.Object(
      {
        /**
         * Blocks by the time of the new over that of the old release on one input of the block:
         * [power of RATIO_STEP, how many].
         */
        ratios: Type.Array(
          Type.Tuple([
            Type.Integer({ minimum: -RATIO_POWER_MOST, maximum: RATIO_POWER_MOST }),
            Type.Integer({ minimum: 1 }),
          ]),
          { maxItems: 2 * RATIO_POWER_MOST + 1 },
        ),
        /**
         * Requests on which exactly one release was slower than the contract and than the old
         * release's p99 before the swap: the share on which it was the new one.
         */
        onlyOneSlow: BlockTally,
        /** Share of requests that were so slow, where no old release runs beside the new one. */
        slow: BlockTally,
      },
      strict,
    ),
    /**
     * New and old model's answers on the same shadowed inputs (both null when the release declares
     * no classifier or there is no old release).
     */
    new: Type.Union([Type.Null(), Answers]),
    old: Type.Union([Type.Null(), Answers]),
  },
  strict,
);
export type TrialEvidence = Static<typeof TrialEvidence>;
