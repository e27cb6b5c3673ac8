// The single tests of a trial: each can call a release bad, with the arithmetic in its reason.
// Several tests share the policy's chance of a false alarm in equal parts. All but crashes and the
// fuse are betting processes on means of blocks of time (betting.ts), so neighbouring inputs that
// are alike count once.
import { counted } from '../base/counted.js';
import { limits } from '../base/limits.js';
import type { FaultCode } from '../base/fault-codes.js';
import {
  blocksOf,
  logEvidenceAbove,
  logEvidenceBelow,
  meanInterval,
  meanOf,
  type BlockTally,
} from './betting.js';
import { classShift, meanMargin } from './answer-shifts.js';
import { chanceText, limitPercent, percent } from './share-text.js';
import {
  CONFIDENCE_BINS,
  FUSE_BINS,
  RATIO_STEP,
  type Answers,
  type ComparisonEvidence,
  type TrialEvidence,
  type TrialPolicy,
} from './trial-evidence.js';

/** A difference between the releases in numbers, for the person who decides. */
export interface FieldDifference {
  readonly output: string;
  readonly mean: number;
  /** 95 % confidence, valid at every look. */
  readonly low: number;
  readonly high: number;
  readonly limit: number;
  readonly cap: number;
}

export interface Finding {
  /** `differs`: more than declared, but not beyond what the operator allows. */
  readonly kind: 'fail' | 'differs';
  readonly code: FaultCode;
  readonly reason: string;
  readonly difference: FieldDifference | null;
}

/** Errors (2), latency (3), shift of classes, and confidence. */
const OTHER_TESTS = 7;
/** Fewer answers or blocks of time than this make no histogram. */
const HISTOGRAM_LEAST = 30;
/** Null of requests that one release failed: the new one on at most half of them, with a margin. */
const ONLY_ONE_SHARE = 0.55;
/** One in so many: nearly all scenes differ by chance. */
const FUSE_ODDS = 1000;
/** Evidence that a difference is beyond the cap, once it is certainly beyond the limit: 1 in 20. */
const BEYOND_CAP_LOG = Math.log(20);

const failed = (code: FaultCode, reason: string): Finding => ({
  kind: 'fail',
  code,
  reason,
  difference: null,
});

/** log(tests / alpha): each test then errs with chance at most alpha / tests (Ville). */
function goalOf({ comparisons }: TrialEvidence, policy: TrialPolicy): number {
  return Math.log(((OTHER_TESTS + comparisons.length) * 1000) / policy.falseAlarmPermille);
}

export function limitsOf(
  { declaredPermille }: ComparisonEvidence,
  policy: TrialPolicy,
): { limit: number; cap: number } {
  const cap = policy.differenceCapPermille;
  const declared = declaredPermille ?? policy.differenceLimitPermille;
  const limit = Math.min(cap, Math.max(declared, policy.acceptedDifferencePermille ?? 0));
  return { limit: limit / 1000, cap: cap / 1000 };
}

/** Blocks count only where a block length is known and there are enough of them (R9). */
const enoughBlocks = ({ blockSeconds }: TrialEvidence, tally: BlockTally): boolean =>
  blockSeconds !== null && blocksOf(tally) >= limits.trialBlocksMinCount;

export function crashes({ modelFaults }: TrialEvidence): Finding | null {
  const limit = limits.trialFaultsMaxCount;
  if (modelFaults < limit) return null;
  return failed(
    'trial_crashes',
    `the new model's process crashed, hung or did not start ${counted(modelFaults, 'time')}; ` +
      `the limit is ${limit}`,
  );
}

/**
 * Claims no chance of error: of many pairs, more than half of what is not accepted as different is
 * beyond the cap, in many scenes; or nearly all pairs are, in so few scenes that a release at its
 * limit does that in less than 1 of FUSE_ODDS. It finds a hopeless release where the inputs change
 * too slowly for a test.
 */
export function fuse(evidence: TrialEvidence, policy: TrialPolicy): Finding | null {
  const { fuse, seconds, comparisons } = evidence;
  const rehearsed = comparisons.every(isRehearsedOnly);
  const pairs = total(fuse.pairs);
  if (seconds < limits.trialFuseAfterSeconds || pairs < limits.trialFusePairsMinCount) return null;
  const cap = policy.differenceCapPermille / 1000;
  const accepted = Math.max(...comparisons.map((one) => limitsOf(one, policy).limit));
  const share = total(fuse.pairs.filter((_, bin) => bin / (FUSE_BINS - 1) > cap)) / pairs;
  const hopelessScenes = Math.max(
    limits.trialFuseHopelessScenesMinCount,
    Math.log(FUSE_ODDS) / -Math.log(accepted),
  );
  const blown =
    (share > (1 + accepted) / 2 && fuse.scenes >= limits.trialFuseScenesMinCount) ||
    (share > limits.trialFuseHopelessMinRatio && fuse.scenes >= hopelessScenes);
  if (!blown) return null;
  return failed(
    'trial_disagreement',
    `${percent(share)} of ${rehearsed ? `${pairs} of its own recent` : `the last ${pairs} live`} ` +
      `inputs (${fuse.scenes} scenes) differ by more than ${limitPercent(cap)}`,
  );
}

export function errors(evidence: TrialEvidence, policy: TrialPolicy): Finding | null {
  const goal = goalOf(evidence, policy);
  const { onlyOne, share } = evidence.errors;
  const logOnlyOne = logEvidenceAbove(onlyOne, ONLY_ONE_SHARE);
  if (logOnlyOne >= goal)
    return failed(
      'trial_errors',
      `of the requests that one release failed, the new one failed ${percent(meanOf(onlyOne))}` +
        ` (${blocksOf(onlyOne)} blocks of time); ${asBad(ONLY_ONE_SHARE, logOnlyOne)}`,
    );
  // Where both run and nothing is known of the time before, requests that fail by themselves must
  // not count against the new one.
  if (evidence.comparable && evidence.errors.oldPermille === null) return null;
  const limit = errorLimit(evidence, policy);
  const logShare = logEvidenceAbove(share, limit);
  if (logShare < goal) return null;
  return failed(
    'trial_errors',
    `the new model failed ${percent(meanOf(share))} of live requests ` +
      `(${blocksOf(share)} blocks of time); ${asBad(limit, logShare)}`,
  );
}

/** The policy's, or what the old release failed on this device where that was more. */
export function errorLimit({ errors: { oldPermille } }: TrialEvidence, policy: TrialPolicy) {
  return Math.max(policy.errorLimitPermille, oldPermille ?? 0) / 1000;
}

export function differences(evidence: TrialEvidence, policy: TrialPolicy): Finding | null {
  if (!evidence.comparable) return null;
  const found = evidence.comparisons
    .map((comparison) => difference(comparison, evidence, policy))
    .filter((finding) => finding !== null);
  return found.find(({ kind }) => kind === 'fail') ?? found[0] ?? null;
}

/**
 * Beyond the cap: failed. Beyond the limit only: it differs more than declared. When it is
 * certainly beyond the limit and seems to be beyond the cap too, the test waits a while for
 * certainty.
 */
function difference(
  comparison: ComparisonEvidence,
  evidence: TrialEvidence,
  policy: TrialPolicy,
): Finding | null {
  const { blocks, output } = comparison;
  if (!enoughBlocks(evidence, blocks)) return null;
  const goal = goalOf(evidence, policy);
  const { limit, cap } = limitsOf(comparison, policy);
  const logLimit = logEvidenceAbove(blocks, limit);
  const logCap = logEvidenceAbove(blocks, cap);
  // Evidence above the cap is never more than above the limit, which is at most the cap.
  if (logLimit < goal) return null;
  const mean = meanOf(blocks);
  const interval = meanInterval(blocks, 0.05);
  const numbers = { output, mean, ...interval, limit, cap };
  const seen =
    `answers of ${output} differ by ${percent(mean)} on ${inputsText(comparison, '')} ` +
    `(${percent(interval.low)} to ${percent(interval.high)}, ${blocksOf(blocks)} blocks of time)`;
  if (logCap >= Math.min(goal, BEYOND_CAP_LOG))
    return {
      kind: 'fail',
      code: 'trial_disagreement',
      reason: `${seen}; ${asBad(limit, logLimit)}; more than ${limitPercent(cap)} has failed`,
      difference: numbers,
    };
  if (mean > cap && logLimit < 2 * goal && evidence.seconds < policy.maxSeconds) return null;
  return {
    kind: 'differs',
    code: 'trial_differs',
    reason:
      `${seen}; ${asBad(limit, logLimit)}; ` +
      `up to ${limitPercent(cap)} is for a person to decide`,
    difference: numbers,
  };
}

const isRehearsedOnly = ({ pairs, rehearsed }: ComparisonEvidence): boolean =>
  pairs > 0 && rehearsed.pairs === pairs;

/** Which inputs were compared; `live` is the number of live ones, as text. */
export function inputsText(comparison: ComparisonEvidence, live: string): string {
  const { rehearsed } = comparison;
  if (isRehearsedOnly(comparison)) return `${rehearsed.pairs} of its own recent inputs`;
  const liveInputs = `${live} live inputs`.trim();
  return rehearsed.pairs === 0
    ? liveInputs
    : `${liveInputs} and ${rehearsed.pairs} of its own recent ones`;
}

/** Blocks of time since the swap. */
export const liveBlocksOf = ({ blocks, rehearsed }: ComparisonEvidence): number =>
  blocksOf(blocks) - rehearsed.blocks;

/** Slower than the contract allows: failed. Slower than the old one only: for a person. */
export function latency(evidence: TrialEvidence, policy: TrialPolicy): Finding | null {
  const goal = goalOf(evidence, policy);
  const { ratios, onlyOneSlow, slow } = evidence.latency;
  const logOnlyOne = logEvidenceAbove(onlyOneSlow, ONLY_ONE_SHARE);
  if (enoughBlocks(evidence, onlyOneSlow) && logOnlyOne >= goal)
    return failed(
      'trial_slow',
      'of the requests on which one release was slower than the contract and than the old ' +
        `release's slowest, it was the new one on ${percent(meanOf(onlyOneSlow))} ` +
        `(${blocksOf(onlyOneSlow)} blocks of time); ${asBad(ONLY_ONE_SHARE, logOnlyOne)}`,
    );
  const allowed = limits.trialSlowRequestsMaxPermille / 1000;
  const logSlow = logEvidenceAbove(slow, allowed);
  // Without the old release beside it, the device itself may be what is slow.
  if (enoughBlocks(evidence, slow) && logSlow >= goal)
    return {
      kind: 'differs',
      code: 'trial_slow',
      reason:
        `${percent(meanOf(slow))} of requests were slower than the contract and than the old ` +
        `release's slowest (${blocksOf(slow)} blocks of time); ${asBad(allowed, logSlow)}`,
      difference: null,
    };
  const limit = policy.slowdownLimitPermille / 1000;
  const count = ratios.reduce((sum, [, blocks]) => sum + blocks, 0);
  const slower = ratios
    .filter(([power]) => RATIO_STEP ** power >= limit)
    .reduce((sum, [, blocks]) => sum + blocks, 0);
  const tally = halves(slower, count);
  const logSlower = logEvidenceAbove(tally, 0.5);
  if (!enoughBlocks(evidence, tally) || logSlower < goal) return null;
  return {
    kind: 'differs',
    code: 'trial_slow',
    reason:
      `in ${slower} of ${count} blocks of time the new model took more than ` +
      `${limitPercent(limit)} of the old one's time; ${asBad(0.5, logSlower)}`,
    difference: null,
  };
}

const halves = (hits: number, count: number): BlockTally => ({
  counts: [
    [0, count - hits],
    [1000, hits],
  ],
  first: [],
});

/**
 * Looking again and again is paid for by an alarm chance that shrinks with each doubling of the
 * count (1/2, 1/6, 1/12, ... of the whole); within a doubling the statistic moves little. The
 * answers of one block are taken as one.
 */
export function shift(evidence: TrialEvidence, policy: TrialPolicy): Finding | null {
  const answers = liveAnswers(evidence);
  if (answers === null) return null;
  const { count, before, now } = answers;
  const doubling = Math.floor(Math.log2(count / HISTOGRAM_LEAST)) + 1;
  const alpha = Math.exp(-goalOf(evidence, policy)) / (doubling * (doubling + 1));
  const found = classShift(scaled(before, count), scaled(now, count), alpha);
  const limit = policy.classShiftLimitPermille / 1000;
  if (found === null || found.psi <= Math.max(limit, found.chance)) return null;
  return failed(
    'trial_drift',
    `predicted classes moved: population stability index ${found.psi.toFixed(2)} over ` +
      `${total(now.classes)} live inputs; the limit is ${limit}, chance alone stays ` +
      `below ${found.chance.toFixed(2)}`,
  );
}

export function confidenceDrop(evidence: TrialEvidence, policy: TrialPolicy): Finding | null {
  const answers = liveAnswers(evidence);
  if (answers === null) return null;
  const { count } = answers;
  const before = confidenceOf(answers.before);
  const now = confidenceOf(answers.now);
  // The sum of both deviations limits that of the paired difference, whatever their correlation
  // (Cauchy-Schwarz).
  const alpha = Math.exp(-goalOf(evidence, policy));
  const margin = meanMargin(before.deviation + now.deviation, count, alpha);
  const drop = before.mean - now.mean;
  const limit = policy.confidenceDropLimitPermille / 1000;
  if (drop - margin <= limit) return null;
  return failed(
    'trial_drift',
    `mean confidence fell from ${before.mean.toFixed(2)} to ${now.mean.toFixed(2)} over ` +
      `${total(answers.now.classes)} live inputs: by at least ${(drop - margin).toFixed(2)}; ` +
      `the limit is ${limit}`,
  );
}

/**
 * Answers of both releases, and how many count: the live ones that both gave, but no more than
 * there are blocks of time. Null where they are too few, or in no blocks.
 */
function liveAnswers({
  old: before,
  new: now,
  comparable,
  blockSeconds,
  comparisons,
}: TrialEvidence): { count: number; before: Answers; now: Answers } | null {
  if (!comparable || blockSeconds === null || before === null || now === null) return null;
  const blocks = Math.max(...comparisons.map(liveBlocksOf));
  const count = Math.min(total(before.classes), total(now.classes), blocks);
  return count < HISTOGRAM_LEAST ? null : { count, before, now };
}

/** Counts with the same shares that add up to `count`. */
function scaled({ classes }: Answers, count: number): number[] {
  const sum = total(classes);
  return classes.map((each) => (each * count) / sum);
}

/**
 * Mean, and standard deviation from the histogram's bin centres plus half a bin for what the bins
 * hide.
 */
function confidenceOf(answers: Answers): { mean: number; deviation: number } {
  const count = Math.max(1, total(answers.confidence));
  const width = 1 / CONFIDENCE_BINS;
  const moment = (power: number) =>
    total(answers.confidence.map((n, bin) => n * ((bin + 0.5) * width) ** power)) / count;
  const variance = Math.max(0, moment(2) - moment(1) ** 2);
  return { mean: answers.confidenceSum / count, deviation: Math.sqrt(variance) + width / 2 };
}

/** Whether a comparison is certainly below its limit. */
export function certainlyBelow(
  comparison: ComparisonEvidence,
  evidence: TrialEvidence,
  policy: TrialPolicy,
): { readonly below: boolean; readonly odds: string } {
  const { limit } = limitsOf(comparison, policy);
  const logE = logEvidenceBelow(comparison.blocks, limit);
  const goal = Math.log((evidence.comparisons.length * 1000) / policy.falsePassPermille);
  const below = enoughBlocks(evidence, comparison.blocks) && logE >= goal;
  return { below, odds: Number.isFinite(logE) ? chanceText(logE) : 'none' };
}

function asBad(limit: number, logE: number): string {
  return (
    `the limit is ${limitPercent(limit)}; a release at the limit would look this bad with chance ` +
    `< ${chanceText(logE)}`
  );
}

const total = (counts: readonly number[]): number => counts.reduce((sum, count) => sum + count, 0);
