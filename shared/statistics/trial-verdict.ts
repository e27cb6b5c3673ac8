// The judgement of a trial: is the release that a device has just begun to serve as good as the one
// it replaced? A pure function of evidence and policy, used by the device (to confirm or go back,
// even offline) and by the server (which judges the same evidence again instead of believing the
// device). Its reasons carry the arithmetic. The single tests are trial-tests.ts's; gathering the
// evidence is trial-tally.ts's.
import type { FaultCode } from '../base/fault-codes.js';
import { limits } from '../base/limits.js';
import { blocksOf, meanOf } from './betting.js';
import { limitPercent, percent } from './share-text.js';
import {
  certainlyBelow,
  confidenceDrop,
  crashes,
  differences,
  errorLimit,
  errors,
  fuse,
  inputsText,
  latency,
  limitsOf,
  liveBlocksOf,
  shift,
  type FieldDifference,
} from './trial-tests.js';
import type { ComparisonEvidence, TrialEvidence, TrialPolicy } from './trial-evidence.js';

export {
  addAnswer,
  Answers,
  CONFIDENCE_BINS,
  emptyAnswers,
  TrialEvidence,
  TrialPolicy,
} from './trial-evidence.js';
export { defaultTrialPolicy } from './default-trial-policy.js';

export interface TrialVerdict {
  /**
   * `pass`: the device is confirmed. `fail`: it goes back, and has failed.
   * `differs_more_than_declared`: it goes back and has not failed; a person decides about the
   * release. `unproven`: it keeps the release and goes on comparing; nothing bad was seen, and not
   * enough. `measuring`: not yet known.
   */
  readonly verdict: 'pass' | 'fail' | 'differs_more_than_declared' | 'unproven' | 'measuring';
  /** With `fail`, `differs_more_than_declared` and `unproven`: why, as a fault code. */
  readonly code: FaultCode | null;
  /** The arithmetic, one sentence a line, for an operator. */
  readonly reasons: string[];
  /** What was measured, where the answers differ more than declared. */
  readonly difference: FieldDifference | null;
}

/**
 * The verdict on a trial from its cumulative evidence; to be asked as often as one likes. `fail` as
 * soon as the evidence is certain; `pass` when minSeconds, minPairs and the first look at failed
 * requests are reached, their share is not above its limit, and every compared output differs
 * certainly less than its limit. With `minPairs: 0` the policy asks for no comparison: what is seen
 * of it can still fail the release but is not waited for. Where nothing is replaced (a first
 * install) minSeconds and one answered request are enough; nothing served until maxSeconds passes
 * too, and the reasons say so.
 */
export function judgeTrial(evidence: TrialEvidence, policy: TrialPolicy): TrialVerdict {
  const bad =
    crashes(evidence) ??
    fuse(evidence, policy) ??
    errors(evidence, policy) ??
    differences(evidence, policy) ??
    latency(evidence, policy) ??
    shift(evidence, policy) ??
    confidenceDrop(evidence, policy);
  if (bad !== null)
    return {
      verdict: bad.kind === 'fail' ? 'fail' : 'differs_more_than_declared',
      code: bad.code,
      reasons: [`${bad.reason}: not accepted`],
      difference: bad.difference,
    };

  const { missing, reasons } = evidence.comparable
    ? comparedSoFar(evidence, policy)
    : aloneSoFar(evidence, policy);
  const verdict = { code: null, difference: null };
  if (missing.length === 0)
    return { ...verdict, verdict: 'pass', reasons: [...reasons, 'accepted'] };
  const still = `still missing: ${missing.join('; ')}`;
  if (evidence.seconds < policy.maxSeconds)
    return { ...verdict, verdict: 'measuring', reasons: [...reasons, still] };
  const end =
    `after ${seconds(evidence)} s of at most ${policy.maxSeconds} s ${still}: ` +
    'kept, not accepted yet';
  return { ...verdict, verdict: 'unproven', code: 'trial_unproven', reasons: [...reasons, end] };
}

/**
 * What a rehearsal says against a release: its evidence is of the device's own inputs from before
 * the swap, and says nothing about errors, latency or crashes. No more inputs come, so nothing is
 * waited for. `pass`: nothing was proven against it, which proves nothing for it.
 */
export function judgeRehearsal(
  given: TrialEvidence,
  policy: TrialPolicy,
): Pick<TrialVerdict, 'code' | 'reasons'> & { verdict: RehearsalVerdict } {
  const seconds = Math.max(policy.maxSeconds, limits.trialFuseAfterSeconds);
  const evidence = { ...given, seconds };
  const bad = differences(evidence, policy) ?? fuse(evidence, policy);
  if (bad === null) {
    const few = evidence.comparisons.some(
      ({ blocks }) => blocksOf(blocks) < limits.trialBlocksMinCount,
    );
    const seen = evidence.comparisons.map((comparison) => seenText(comparison, policy));
    const end = 'no verdict: the inputs change too slowly, or they are too few';
    return { verdict: 'pass', code: null, reasons: few ? [...seen, end] : seen };
  }
  const reasons = [`${bad.reason}: not accepted; it has answered no live request`];
  return bad.kind === 'fail'
    ? { verdict: 'fail', code: 'rehearsal_differs', reasons }
    : { verdict: 'differs_more_than_declared', code: bad.code, reasons };
}

export type RehearsalVerdict = Extract<
  TrialVerdict['verdict'],
  'pass' | 'fail' | 'differs_more_than_declared'
>;

function seenText(comparison: ComparisonEvidence, policy: TrialPolicy): string {
  const { output, pairs, rehearsed, blocks } = comparison;
  const { limit } = limitsOf(comparison, policy);
  return (
    `answers of ${output} differ by ${percent(meanOf(blocks))} on ` +
    `${inputsText(comparison, String(pairs - rehearsed.pairs))} in ${blocksOf(blocks)} blocks ` +
    `of time; the limit is ${limitPercent(limit)}`
  );
}

interface SoFar {
  /** What a pass still waits for. */
  readonly missing: string[];
  readonly reasons: string[];
}

function comparedSoFar(evidence: TrialEvidence, policy: TrialPolicy): SoFar {
  const { missing, reasons } = requests(evidence, policy);
  const slowly = evidence.blockSeconds === null && policy.minPairs > 0;
  if (slowly)
    missing.push('inputs that change fast enough (or enough of them) for a trial of this length');
  for (const comparison of evidence.comparisons) {
    const { output, pairs, rehearsed } = comparison;
    const { limit } = limitsOf(comparison, policy);
    const { below, odds } = certainlyBelow(comparison, evidence, policy);
    reasons.push(
      seenText(comparison, policy) +
        (below ? `; at the limit they would agree so well with chance < ${odds}` : ''),
    );
    if (pairs < policy.minPairs)
      missing.push(
        `${policy.minPairs - pairs} of ${policy.minPairs} live inputs answered by both models`,
      );
    else if (policy.minPairs > 0 && !below && !slowly)
      missing.push(
        `certainty that answers of ${output} differ by less than ${limitPercent(limit)}`,
      );
    // Where traffic does not give them in time, the rehearsal is enough.
    const live = liveBlocksOf(comparison);
    const inTime = evidence.seconds < policy.maxSeconds && policy.minPairs > 0;
    if (rehearsed.blocks > 0 && live < limits.trialBlocksMinCount && inTime)
      missing.push(
        `${limits.trialBlocksMinCount - live} of ${limits.trialBlocksMinCount} blocks of time ` +
          'with live inputs',
      );
  }
  if (policy.minPairs > 0 && evidence.look === null) missing.push('100 requests');
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
        `nothing was asked of it in ${seconds(evidence)} s; it is kept because there is nothing ` +
          'to go back to',
      );
  }
  return { missing, reasons };
}

/**
 * The share of failed requests is looked at after 100, 200, 400 ... requests only: looking at each
 * would stop in the favourable direction. Before the first look it is what there is.
 */
function requests(evidence: TrialEvidence, policy: TrialPolicy): SoFar {
  const { served, failed } = evidence.look ?? evidence;
  const limit = errorLimit(evidence, policy);
  const missing: string[] = [];
  if (evidence.seconds < policy.minSeconds)
    missing.push(`${policy.minSeconds - seconds(evidence)} of ${policy.minSeconds} s`);
  if (failed > limit * (served + failed))
    missing.push(`a share of failed requests that is not above ${limitPercent(limit)}`);
  return {
    missing,
    reasons: [
      `served ${evidence.served} live requests, failed ${evidence.failed} ` +
        `(limit ${limitPercent(limit)})`,
    ],
  };
}

const seconds = (evidence: TrialEvidence): number => Math.floor(evidence.seconds);
