// The single tests of a trial on exact evidence: what each finds, word for word, with its numbers
// from formulas of its own, and what leaves it without a finding. Over 400 lines because each
// test of a trial stands beside the others.
import { describe, expect, it } from 'vitest';
import { limits } from '../../../shared/base/limits.js';
import {
  emptyTally,
  logEvidenceAbove,
  logEvidenceBelow,
  meanInterval,
  meanOf,
} from '../../../shared/statistics/betting.js';
import { chiSquareUpper } from '../../../shared/statistics/distributions.js';
import { chanceText, percent } from '../../../shared/statistics/share-text.js';
import {
  certainlyBelow,
  confidenceDrop,
  crashes,
  differences,
  errors,
  fuse,
  inputsText,
  latency,
  limitsOf,
  shift,
} from '../../../shared/statistics/trial-tests.js';
import {
  CONFIDENCE_BINS,
  FUSE_BINS,
  type Answers,
  type ComparisonEvidence,
  type TrialEvidence,
} from '../../../shared/statistics/trial-evidence.js';
import { defaultTrialPolicy as policy } from '../../../shared/statistics/default-trial-policy.js';
import { blocks, trialEvidence, type EvidenceOptions } from '../../support/trial-evidence.js';

const evidence = (options: EvidenceOptions = {}): TrialEvidence => trialEvidence(options);
const comparison = (over: Partial<ComparisonEvidence> = {}): ComparisonEvidence => ({
  output: 'logits',
  kind: 'class',
  declaredPermille: null,
  pairs: 100,
  blocks: blocks(100),
  rehearsed: { pairs: 0, blocks: 0 },
  ...over,
});
const rehearsedOnly = { rehearsed: { pairs: 100, blocks: 100 } };
const asBad = (limit: number, logE: number): string =>
  `the limit is ${percent(limit)}; a release at the limit would look this bad with chance ` +
  `< ${chanceText(logE)}`;

describe('crashes', () => {
  it('are_found_at_three', () => {
    expect(crashes(evidence({ modelFaults: 2 }))).toBeNull();
    expect(crashes(evidence({ modelFaults: 3 }))).toEqual({
      kind: 'fail',
      code: 'trial_crashes',
      reason:
        "the new model's process crashed, hung or did not start 3 times; the limit is " +
        `${limits.trialFaultsMaxCount}`,
      difference: null,
    });
  });
});

describe('limits', () => {
  it.each([
    [{}, null, 0.1],
    [{}, 40, 0.04],
    [{}, 195, 0.195],
    [{}, 400, 0.2],
    [{ acceptedDifferencePermille: 150 }, null, 0.15],
    [{ acceptedDifferencePermille: 150 }, 195, 0.195],
    [{ acceptedDifferencePermille: 900 }, null, 0.2],
  ])('of_policy_%j_and_a_declared_%s_are_%d_within_the_cap', (over, declaredPermille, limit) => {
    const found = limitsOf(comparison({ declaredPermille }), { ...policy, ...over });
    expect(found).toEqual({ limit, cap: 0.2 });
  });
});

describe('the fuse', () => {
  const blown = (comparisons: ComparisonEvidence[], beyond = 90, scenes = 20) => {
    const pairs = new Array<number>(FUSE_BINS)
      .fill(0)
      .with(0, 100 - beyond)
      .with(20, beyond);
    return fuse(evidence({ seconds: 300, comparisons, fuse: { pairs, scenes } }), policy);
  };

  it('says_which_inputs_differ_and_by_how_much', () => {
    expect(blown([comparison()])).toEqual({
      kind: 'fail',
      code: 'trial_disagreement',
      reason: '90 % of the last 100 live inputs (20 scenes) differ by more than 20 %',
      difference: null,
    });
    expect(blown([comparison(rehearsedOnly)])?.reason).toBe(
      '90 % of 100 of its own recent inputs (20 scenes) differ by more than 20 %',
    );
    expect(blown([comparison(rehearsedOnly), comparison()])?.reason).toContain('the last 100 live');
  });

  it('takes_the_widest_limit_of_all_outputs', () => {
    // Half of the way from 20 % to all is 60 %, from 4 % 52 %.
    const both = [comparison({ declaredPermille: 40 }), comparison({ declaredPermille: 200 })];
    expect(blown(both, 60)).toBeNull();
    expect(blown(both, 61)).not.toBeNull();
    expect(blown(both.slice(0, 1), 60)).not.toBeNull();
  });
});

describe('failed requests', () => {
  const failing = (over: Partial<TrialEvidence['errors']>, more: EvidenceOptions = {}) =>
    errors(
      evidence({
        errors: { onlyOne: emptyTally(), share: emptyTally(), oldPermille: 10, ...over },
        ...more,
      }),
      policy,
    );

  it('of_one_release_only_are_told_with_their_odds', () => {
    const onlyOne = blocks(40, 38);
    expect(failing({ onlyOne })).toEqual({
      kind: 'fail',
      code: 'trial_errors',
      reason:
        `of the requests that one release failed, the new one failed ${percent(meanOf(onlyOne))} ` +
        `(40 blocks of time); ${asBad(0.55, logEvidenceAbove(onlyOne, 0.55))}`,
      difference: null,
    });
  });

  it('of_all_are_told_with_their_odds_and_their_limit', () => {
    const share = blocks(400, 40);
    const reason = (limit: number): string =>
      `the new model failed ${percent(meanOf(share))} of live requests (400 blocks of time); ` +
      asBad(limit, logEvidenceAbove(share, limit));
    expect(failing({ share })).toEqual({
      kind: 'fail',
      code: 'trial_errors',
      reason: reason(0.01),
      difference: null,
    });
    expect(failing({ share, oldPermille: 30 })?.reason).toBe(reason(0.03));
    expect(failing({ share, oldPermille: null })).toBeNull();
    expect(failing({ share, oldPermille: null }, { comparable: false })?.reason).toBe(reason(0.01));
  });
});

describe('answers that differ', () => {
  const found = (comparisons: ComparisonEvidence[], over: EvidenceOptions = {}) =>
    differences(evidence({ comparisons, ...over }), policy);
  const fails = comparison({ output: 'boxes', pairs: 200, blocks: blocks(200, 80) });
  const differs = comparison({ pairs: 800, blocks: blocks(800, 128) });

  it('beyond_the_cap_have_failed_and_beyond_the_limit_are_for_a_person', () => {
    const numbers = ({ output, blocks: tally }: ComparisonEvidence) => ({
      output,
      mean: meanOf(tally),
      ...meanInterval(tally, 0.05),
      limit: 0.1,
      cap: 0.2,
    });
    const seen = (one: ComparisonEvidence): string => {
      const { mean, low, high } = numbers(one);
      return (
        `answers of ${one.output} differ by ${percent(mean)} on live inputs ` +
        `(${percent(low)} to ${percent(high)}, ${one.pairs} blocks of time); ` +
        asBad(0.1, logEvidenceAbove(one.blocks, 0.1))
      );
    };
    expect(found([fails])).toEqual({
      kind: 'fail',
      code: 'trial_disagreement',
      reason: `${seen(fails)}; more than 20 % has failed`,
      difference: numbers(fails),
    });
    expect(found([differs])).toEqual({
      kind: 'differs',
      code: 'trial_differs',
      reason: `${seen(differs)}; up to 20 % is for a person to decide`,
      difference: numbers(differs),
    });
  });

  it('of_several_outputs_a_failure_comes_first', () => {
    expect(found([differs, fails])?.kind).toBe('fail');
    expect(found([comparison(), differs])?.kind).toBe('differs');
    expect(found([comparison()])).toBeNull();
    expect(found([fails], { comparable: false })).toBeNull();
  });

  it('wait_for_certainty_beyond_the_cap_only_until_it_is_unlikely', () => {
    // 21 % of 400: twice as certain beyond 10 % as it must be, and still not beyond the cap.
    const tally = blocks(400, 84);
    const goal = Math.log((8 * 1000) / policy.falseAlarmPermille);
    expect(logEvidenceAbove(tally, 0.1)).toBeGreaterThan(2 * goal);
    expect(found([comparison({ pairs: 400, blocks: tally })])?.kind).toBe('differs');
    const less = blocks(250, 53);
    expect(logEvidenceAbove(less, 0.1)).toBeGreaterThan(goal);
    expect(logEvidenceAbove(less, 0.1)).toBeLessThan(2 * goal);
    expect(found([comparison({ pairs: 250, blocks: less })])).toBeNull();
  });

  it.each([
    [0, 0, '0 of 100 live inputs'],
    [7, 0, '7 of 100 live inputs'],
    [7, 7, '7 of its own recent inputs'],
    [9, 7, '9 of 100 live inputs and 7 of its own recent ones'],
  ])('on_%d_pairs_of_which_%d_are_rehearsed_say_so', (pairs, rehearsed, text) => {
    const one = comparison({ pairs, rehearsed: { pairs: rehearsed, blocks: rehearsed } });
    expect(inputsText(one, `${pairs} of 100`)).toBe(text);
  });
});

describe('latency', () => {
  const slow = (over: Partial<TrialEvidence['latency']>, change: Partial<typeof policy> = {}) =>
    latency(
      evidence({
        latency: { ratios: [], onlyOneSlow: emptyTally(), slow: emptyTally(), ...over },
      }),
      { ...policy, ...change },
    );

  it('beyond_the_contract_of_the_new_release_only_has_failed', () => {
    const onlyOneSlow = blocks(60, 55);
    expect(slow({ onlyOneSlow })).toEqual({
      kind: 'fail',
      code: 'trial_slow',
      reason:
        'of the requests on which one release was slower than the contract and than the old ' +
        `release's slowest, it was the new one on ${percent(meanOf(onlyOneSlow))} ` +
        `(60 blocks of time); ${asBad(0.55, logEvidenceAbove(onlyOneSlow, 0.55))}`,
      difference: null,
    });
  });

  it('beyond_the_contract_without_an_old_release_is_for_a_person', () => {
    const tally = blocks(200, 40);
    const allowed = limits.trialSlowRequestsMaxPermille / 1000;
    expect(slow({ slow: tally })).toEqual({
      kind: 'differs',
      code: 'trial_slow',
      reason:
        `${percent(meanOf(tally))} of requests were slower than the contract and than the old ` +
        `release's slowest (200 blocks of time); ` +
        asBad(allowed, logEvidenceAbove(tally, allowed)),
      difference: null,
    });
  });

  it('above_that_of_the_old_release_is_for_a_person', () => {
    const ratios: [number, number][] = [
      [-2, 7],
      [1, 60],
    ];
    expect(slow({ ratios }, { slowdownLimitPermille: 1050 })).toEqual({
      kind: 'differs',
      code: 'trial_slow',
      reason:
        "in 60 of 67 blocks of time the new model took more than 105 % of the old one's time; " +
        asBad(0.5, logEvidenceAbove(blocks(67, 60), 0.5)),
      difference: null,
    });
    expect(slow({ ratios }, { slowdownLimitPermille: 1051 })).toBeNull();
  });
});

describe('predicted classes', () => {
  const answers = (...classes: number[]): Answers => ({
    classes,
    confidence: new Array<number>(CONFIDENCE_BINS).fill(0),
    confidenceSum: 0,
  });
  const moved = (count: number, over: EvidenceOptions = {}) =>
    shift(
      evidence({
        comparisons: [comparison({ pairs: count, blocks: blocks(count) })],
        old: answers(2 * count, 0, 0),
        new: answers(0, count, count),
        ...over,
      }),
      policy,
    );

  it.each([
    [30, 1],
    [59, 1],
    [60, 2],
    [119, 2],
    [120, 3],
    [400, 4],
  ])('of_%d_blocks_are_judged_at_the_chance_of_doubling_%d', (count, doubling) => {
    const alpha = policy.falseAlarmPermille / 1000 / 8 / (doubling * (doubling + 1));
    // Half a count in each of three bins.
    const share = (n: number): number => (n + 0.5) / (count + 1.5);
    const pairs = [
      [count, 0],
      [0, count / 2],
      [0, count / 2],
    ] as const;
    const psi = pairs.reduce(
      (sum, [a, b]) => sum + (share(b) - share(a)) * Math.log(share(b) / share(a)),
      0,
    );
    const chance = (2 / count) * chiSquareUpper(alpha, 2);
    expect(moved(count)).toEqual({
      kind: 'fail',
      code: 'trial_drift',
      reason:
        `predicted classes moved: population stability index ${psi.toFixed(2)} over ` +
        `${2 * count} live inputs; the limit is 0.25, chance alone stays below ` +
        chance.toFixed(2),
      difference: null,
    });
  });

  it.each<[string, EvidenceOptions]>([
    ['are_few', { old: answers(29, 0, 0) }],
    ['are_few_of_the_new_release', { new: answers(0, 20, 9) }],
    ['came_in_few_blocks', { comparisons: [comparison({ blocks: blocks(29) })] }],
    ['were_rehearsed', { comparisons: [comparison({ ...rehearsedOnly, blocks: blocks(120) })] }],
    ['are_of_no_output', { comparisons: [] }],
    ['are_in_no_blocks', { blockSeconds: null }],
    ['cannot_be_compared', { comparable: false }],
    ['are_unknown_of_the_old_release', { old: null }],
    ['are_unknown_of_the_new_release', { new: null }],
  ])('that_%s_say_nothing', (_, over) => {
    expect(moved(100)).not.toBeNull();
    expect(moved(100, over)).toBeNull();
    expect(collapsed(over)).toBeNull();
  });

  it('within_the_limit_or_within_chance_say_nothing', () => {
    const near = { old: answers(500, 500), new: answers(400, 600) };
    expect(moved(1000, near)).toBeNull();
    const few = { old: answers(20, 20), new: answers(10, 30) };
    expect(moved(40, few)).toBeNull();
  });
});

/** Answers with this many confidences in each of some bins; their sum is that of the middles. */
const confident = (bins: Readonly<Record<number, number>>): Answers => {
  const confidence = Array.from({ length: CONFIDENCE_BINS }, (_, bin) => bins[bin] ?? 0);
  const confidenceSum = confidence.reduce((sum, n, bin) => sum + (n * (bin + 0.5)) / 20, 0);
  return { classes: [confidence.reduce((a, b) => a + b)], confidence, confidenceSum };
};
const collapsed = (over: EvidenceOptions = {}) =>
  confidenceDrop(
    evidence({
      comparisons: [comparison({ pairs: 400, blocks: blocks(400) })],
      old: confident({ 15: 200, 19: 200 }),
      new: confident({ 3: 100, 9: 300 }),
      ...over,
    }),
    policy,
  );

describe('confidences', () => {
  it('that_collapse_are_told_with_the_least_that_they_fell_by', () => {
    // Standard deviations of the bin middles, and half a bin for what the bins hide.
    const before = 0.1 + 0.025;
    const now = Math.sqrt(0.25 * 0.75) * 0.3 + 0.025;
    const alpha = policy.falseAlarmPermille / 1000 / 8;
    const rho2 = (-2 * Math.log(alpha) + Math.log(-2 * Math.log(alpha)) + 1) / 100;
    const v = 400 * rho2 + 1;
    const margin =
      (before + now) * Math.sqrt(((2 * v) / (400 ** 2 * rho2)) * Math.log(Math.sqrt(v) / alpha));
    const drop = 0.875 - 0.4;
    expect(collapsed()).toEqual({
      kind: 'fail',
      code: 'trial_drift',
      reason:
        'mean confidence fell from 0.88 to 0.40 over 400 live inputs: by at least ' +
        `${(drop - margin).toFixed(2)}; the limit is 0.1`,
      difference: null,
    });
  });

  it('that_fell_by_more_than_the_limit_but_not_certainly_are_no_finding', () => {
    const down = { new: confident({ 12: 200, 17: 200 }) };
    // From 0.875 to 0.75: by 0.125, give or take 0.06.
    expect(collapsed(down)).toBeNull();
  });
});

describe('certainty of a pass', () => {
  it('has_its_odds_and_needs_enough_blocks', () => {
    const below = (tally: ComparisonEvidence['blocks'], over: EvidenceOptions = {}) => {
      const one = comparison({ blocks: tally });
      return certainlyBelow(one, evidence({ comparisons: [one], ...over }), policy);
    };
    const odds = (count: number): string => chanceText(logEvidenceBelow(blocks(count), 0.1));
    expect(below(blocks(62))).toEqual({ below: true, odds: odds(62) });
    expect(below(blocks(58))).toEqual({ below: false, odds: odds(58) });
    expect(below(blocks(62), { blockSeconds: null }).below).toBe(false);
  });

  it('shares_its_chance_among_the_outputs_and_has_no_odds_at_a_limit_of_all', () => {
    const one = comparison({ blocks: blocks(62) });
    const both = evidence({ comparisons: [one, one] });
    expect(certainlyBelow(one, both, policy).below).toBe(false);
    const all = comparison({ declaredPermille: 1000, blocks: blocks(20, 20) });
    const open = { ...policy, differenceCapPermille: 1000 };
    expect(certainlyBelow(all, evidence({ comparisons: [all] }), open)).toEqual({
      below: true,
      odds: 'none',
    });
  });
});
