// The judgement of a trial: is the release that a device has just begun to serve as good as the one
// it replaced? A pure function of evidence and policy, used by the device (to confirm or roll back,
// even offline) and by the server (which judges the same evidence again instead of believing the
// device). Its reasons carry the arithmetic. The statistics are in sequential-tests.ts; gathering
// the evidence is the agent's. Inputs are taken as independent of each other.
import { Type, type Static } from 'typebox';
import { limits } from '../base/limits.js';
import {
  chanceText,
  classShift,
  logEvidenceAbove,
  logEvidenceBelow,
  meanMargin,
  percent,
  type Tally,
} from './sequential-tests.js';
import type { FaultCode } from '../base/fault-codes.js';

const strict = { additionalProperties: false } as const;
const Count = Type.Integer({ minimum: 0 });
const Permille = Type.Integer({ minimum: 1, maximum: 1000 });

/**
 * Whole numbers only: the policy travels inside director metadata, whose canonical JSON has no
 * fractions.
 */
export const TrialPolicy = Type.Object(
  {
    /** A trial lasts at least this long ... */
    minSeconds: Type.Integer({ minimum: 0, maximum: 30 * 86_400 }),
    /** ... and fails for lack of evidence after this long without a verdict. */
    maxSeconds: Type.Integer({ minimum: 1, maximum: 60 * 86_400 }),
    /**
     * Live inputs on which both models must have answered before a device can be called healthy.
     */
    minPairs: Type.Integer({ minimum: 0, maximum: 10_000_000 }),
    /** Share of live inputs on which the new model may name another class than the old one. */
    disagreementLimitPermille: Permille,
    /** Chance that a release at the limit is called bad on one device, over any number of looks. */
    falseAlarmPermille: Permille,
    /** Live requests that the new model may fail, as a share. */
    errorLimitPermille: Permille,
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

export const defaultTrialPolicy: TrialPolicy = {
  minSeconds: 10,
  maxSeconds: 3600,
  minPairs: 100,
  disagreementLimitPermille: 100,
  falseAlarmPermille: 10,
  errorLimitPermille: 10,
  classShiftLimitPermille: 250,
  confidenceDropLimitPermille: 100,
};

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

/**
 * What a device knows of a trial so far. All counts are since the swap; `old` is null at a first
 * install.
 */
export const TrialEvidence = Type.Object(
  {
    seconds: Type.Number({ minimum: 0 }),
    served: Count,
    failed: Count,
    /** Crashes, hangs and failed starts of the new model's process. */
    modelFaults: Count,
    pairs: Count,
    disagreed: Count,
    /**
     * New and old model's answers on the same shadowed inputs (both null when the release declares
     * no classifier or there is no old release).
     */
    new: Type.Union([Type.Null(), Answers]),
    old: Type.Union([Type.Null(), Answers]),
    /** There is a release that this one replaces and that could serve again. */
    replaces: Type.Boolean(),
    /**
     * Both answer the same inputs with the same labels (or tensors), so that their answers can be
     * compared.
     */
    comparable: Type.Boolean(),
  },
  strict,
);
export type TrialEvidence = Static<typeof TrialEvidence>;

export interface TrialVerdict {
  readonly verdict: 'pass' | 'fail' | 'measuring';
  /** With `fail`: why, as a fault code. */
  readonly code: FaultCode | null;
  /** The arithmetic, one sentence a line, for an operator. */
  readonly reasons: string[];
}

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

/**
 * Crashes are counted, not estimated; four tests can call a release bad, and share the policy's
 * false alarm between them.
 */
const TESTS = 4;
/** Fewer answers than this make no histogram. */
const HISTOGRAM_MIN = 30;

interface Finding {
  readonly code: FaultCode;
  readonly reasons: string;
}

/**
 * The verdict on a trial from its cumulative evidence; to be asked as often as one likes. `fail` as
 * soon as the evidence shows it, or at maxSeconds; `pass` when minSeconds and minPairs are
 * reached, the share of failed requests is not above its limit, and disagreement is shown to be
 * below its limit. With `minPairs: 0` the policy asks for no comparison: what is seen of it can
 * still fail the release but is not waited for. A release that answers other labels or tensors than
 * the one it replaces cannot be compared: only `minPairs: 0` lets it pass. Where nothing is
 * replaced (a first install) minSeconds and one answered request are enough; nothing served until
 * maxSeconds passes too, and is said.
 */
export function judgeTrial(evidence: TrialEvidence, policy: TrialPolicy): TrialVerdict {
  const bad =
    crashes(evidence) ??
    errors(evidence, policy) ??
    disagreement(evidence, policy) ??
    shift(evidence, policy) ??
    confidenceDrop(evidence, policy);
  if (bad !== null)
    return { verdict: 'fail', code: bad.code, reasons: [`${bad.reasons}: not accepted`] };

  const { missing, reasons } = evidence.comparable
    ? comparedSoFar(evidence, policy)
    : aloneSoFar(evidence, policy);
  if (missing.length === 0)
    return { verdict: 'pass', code: null, reasons: [...reasons, 'accepted'] };
  if (evidence.seconds >= policy.maxSeconds) {
    const end =
      `after ${seconds(evidence)} s of at most ${policy.maxSeconds} s still missing: ` +
      `${missing.join('; ')}: not accepted`;
    return { verdict: 'fail', code: 'trial_unproven', reasons: [...reasons, end] };
  }
  return {
    verdict: 'measuring',
    code: null,
    reasons: [...reasons, `still missing: ${missing.join('; ')}`],
  };
}

function crashes({ modelFaults }: TrialEvidence): Finding | null {
  const limit = limits.trialFaultsMaxCount;
  if (modelFaults < limit) return null;
  return {
    code: 'trial_crashes',
    reasons:
      `the new model's process crashed, hung or did not start ${modelFaults} times; the ` +
      `limit is ${limit}`,
  };
}

function errors(evidence: TrialEvidence, policy: TrialPolicy): Finding | null {
  const tally = errorsOf(evidence);
  const limit = policy.errorLimitPermille / 1000;
  const logE = logEvidenceAbove(tally, limit);
  if (!reaches(logE, policy, TESTS)) return null;
  const reasons = `the new model failed on ${share(tally, 'live requests')}; ${asBad(limit, logE)}`;
  return { code: 'trial_errors', reasons };
}

function disagreement(evidence: TrialEvidence, policy: TrialPolicy): Finding | null {
  if (!evidence.comparable) return null;
  const tally = pairsOf(evidence);
  const limit = policy.disagreementLimitPermille / 1000;
  const logE = logEvidenceAbove(tally, limit);
  if (!reaches(logE, policy, TESTS)) return null;
  return {
    code: 'trial_disagreement',
    reasons: `old and new model disagree on ${share(tally, 'live inputs')}; ${asBad(limit, logE)}`,
  };
}

/**
 * Looking again and again is paid for by an alarm chance that shrinks with each doubling of the
 * count (1/2, 1/6, 1/12, ... of the whole); within a doubling the statistic moves little.
 * test/trial.test.ts checks the sum by simulation.
 */
function shift(evidence: TrialEvidence, policy: TrialPolicy): Finding | null {
  if (!evidence.comparable || evidence.old === null || evidence.new === null) return null;
  const count = Math.min(total(evidence.old.classes), total(evidence.new.classes));
  if (count < HISTOGRAM_MIN) return null;
  const doubling = Math.floor(Math.log2(count / HISTOGRAM_MIN)) + 1;
  const alpha = policy.falseAlarmPermille / 1000 / TESTS / (doubling * (doubling + 1));
  const found = classShift(evidence.old.classes, evidence.new.classes, alpha);
  const limit = policy.classShiftLimitPermille / 1000;
  if (found === null || found.psi <= Math.max(limit, found.chance)) return null;
  return {
    code: 'trial_drift',
    reasons:
      `predicted classes moved: population stability index ${found.psi.toFixed(2)} over ` +
      `${count} live inputs; ` +
      `the limit is ${limit}, chance alone stays below ${found.chance.toFixed(2)}`,
  };
}

function confidenceDrop(evidence: TrialEvidence, policy: TrialPolicy): Finding | null {
  if (!evidence.comparable || evidence.old === null || evidence.new === null) return null;
  const before = confidenceOf(evidence.old);
  const now = confidenceOf(evidence.new);
  const count = Math.min(before.count, now.count);
  if (count < HISTOGRAM_MIN) return null;
  // The sum of both deviations is an upper limit of that of the paired difference, whatever their
  // correlation (Cauchy-Schwarz).
  const margin = meanMargin(
    before.deviation + now.deviation,
    count,
    policy.falseAlarmPermille / 1000 / TESTS,
  );
  const drop = before.mean - now.mean;
  const limit = policy.confidenceDropLimitPermille / 1000;
  if (drop - margin <= limit) return null;
  return {
    code: 'trial_drift',
    reasons:
      `mean confidence fell from ${before.mean.toFixed(2)} to ${now.mean.toFixed(2)} over ` +
      `${count} live inputs: ` +
      `by at least ${(drop - margin).toFixed(2)}; the limit is ${limit}`,
  };
}

interface SoFar {
  /** What a pass still waits for. */
  readonly missing: string[];
  readonly reasons: string[];
}

function comparedSoFar(evidence: TrialEvidence, policy: TrialPolicy): SoFar {
  const { missing, reasons } = requests(evidence, policy);
  const tally = pairsOf(evidence);
  const limit = policy.disagreementLimitPermille / 1000;
  const logE = logEvidenceBelow(tally, limit);
  const shown = reaches(logE, policy, 1);
  const odds =
    shown && Number.isFinite(logE)
      ? `; a release at the limit would look this good with chance < ${chanceText(logE)}`
      : '';
  reasons.push(
    `old and new model disagree on ${share(tally, 'live inputs')}; the limit is ` +
      `${percent(limit)}${odds}`,
  );
  if (tally.count < policy.minPairs) {
    missing.push(
      `${policy.minPairs - tally.count} of ${policy.minPairs} live inputs answered by both models`,
    );
  } else if (policy.minPairs > 0 && !shown)
    missing.push(`evidence that they disagree on less than ${percent(limit)}`);
  return { missing, reasons };
}

function aloneSoFar(evidence: TrialEvidence, policy: TrialPolicy): SoFar {
  const { missing, reasons } = requests(evidence, policy);
  if (evidence.replaces && policy.minPairs > 0) {
    missing.push(
      'a comparison: it takes other inputs or names other labels than the release it replaces ' +
        '(minPairs 0 waits for none)',
    );
  }
  const why = evidence.replaces
    ? 'the release it replaces cannot be compared with it'
    : 'there is no release to compare with';
  reasons.push(`${why}: judged on crashes, failed requests and time alone`);
  if (evidence.served === 0 && !evidence.replaces) {
    if (evidence.seconds < policy.maxSeconds)
      missing.push(`an answered request (or ${policy.maxSeconds} s without any)`);
    else
      reasons.push(
        `nothing was asked of it in ${seconds(evidence)} s; it is kept because there is ` +
          'nothing to go back to',
      );
  }
  return { missing, reasons };
}

function requests(evidence: TrialEvidence, policy: TrialPolicy): SoFar {
  const tally = errorsOf(evidence);
  const limit = policy.errorLimitPermille / 1000;
  const missing: string[] = [];
  if (evidence.seconds < policy.minSeconds) {
    missing.push(`${policy.minSeconds - seconds(evidence)} of ${policy.minSeconds} s`);
  }
  if (tally.hits > limit * tally.count)
    missing.push(`a share of failed requests that is not above ${percent(limit)}`);
  return {
    missing,
    reasons: [
      `served ${evidence.served} live requests, failed ${evidence.failed} (limit ${percent(limit)})`,
    ],
  };
}

/** Evidence comes over a wire: more hits than observations count as all of them. */
function pairsOf({ pairs, disagreed }: TrialEvidence): Tally {
  return { hits: Math.min(disagreed, pairs), count: pairs };
}

function errorsOf({ served, failed }: TrialEvidence): Tally {
  return { hits: failed, count: served + failed };
}

/**
 * Ville: at log(tests / alpha), each of `tests` tests errs with chance <= alpha / tests over any
 * number of looks.
 */
function reaches(logE: number, policy: TrialPolicy, tests: number): boolean {
  return logE >= Math.log((tests * 1000) / policy.falseAlarmPermille);
}

/**
 * Mean, and standard deviation from the histogram's bin centres plus half a bin for what the bins
 * hide.
 */
function confidenceOf(answers: Answers): { count: number; mean: number; deviation: number } {
  const count = total(answers.confidence);
  if (count === 0) return { count, mean: 0, deviation: 0 };
  const width = 1 / CONFIDENCE_BINS;
  const moment = (power: number) =>
    total(answers.confidence.map((n, bin) => n * ((bin + 0.5) * width) ** power)) / count;
  const variance = Math.max(0, moment(2) - moment(1) ** 2);
  return { count, mean: answers.confidenceSum / count, deviation: Math.sqrt(variance) + width / 2 };
}

function asBad(limit: number, logE: number): string {
  return (
    `the limit is ${percent(limit)}; a release at the limit would look this bad with ` +
    `chance < ${chanceText(logE)}`
  );
}

function share({ hits, count }: Tally, of: string): string {
  return count === 0 ? `0 of 0 ${of}` : `${hits} of ${count} ${of} (${percent(hits / count)})`;
}

const total = (counts: readonly number[]): number => counts.reduce((sum, count) => sum + count, 0);
const seconds = (evidence: TrialEvidence): number => Math.floor(evidence.seconds);
