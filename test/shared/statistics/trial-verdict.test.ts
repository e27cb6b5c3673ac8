// judgeTrial over simulated live traffic: two classifiers answer the same inputs, the evidence
// grows, and the verdict is asked for again and again, as the device does.
import { describe, expect, it } from 'vitest';
import { complaints } from '../../../shared/base/decode.js';
import {
  CONFIDENCE_BINS,
  defaultTrialPolicy,
  emptyAnswers,
  judgeTrial,
  TrialEvidence,
  type Answers,
  type TrialPolicy,
  type TrialVerdict,
} from '../../../shared/statistics/trial-verdict.js';
import { seeded } from '../../support/random.js';

const CLASSES = 10;
const policy: TrialPolicy = defaultTrialPolicy;

interface Answer {
  readonly label: number;
  readonly confidence: number;
}
type Model = (truth: number, random: () => number) => Answer;

const sure = (random: () => number) => 0.85 + random() * 0.15;
const good: Model = (truth, random) => ({ label: truth, confidence: sure(random) });
const differing =
  (share: number): Model =>
  (truth, random) => ({
    label: random() < share ? (truth + 1 + Math.floor(random() * (CLASSES - 1))) % CLASSES : truth,
    confidence: sure(random),
  });

function note(answers: Answers, { label, confidence }: Answer): void {
  answers.classes[label]! += 1;
  answers.confidence[Math.min(CONFIDENCE_BINS - 1, Math.floor(confidence * CONFIDENCE_BINS))]! += 1;
  answers.confidenceSum += confidence;
}

interface Ended {
  readonly end: TrialEvidence;
  readonly verdict: TrialVerdict;
}
/**
 * Live traffic of `perSecond` inputs; the verdict is asked for once a second until there is one, or
 * until `seconds`.
 */
function trial(seed: number, old: Model, fresh: Model, seconds: number, perSecond = 5): Ended {
  const random = seeded(seed);
  const end: TrialEvidence = {
    seconds: 0,
    served: 0,
    failed: 0,
    modelFaults: 0,
    pairs: 0,
    disagreed: 0,
    new: emptyAnswers(CLASSES),
    old: emptyAnswers(CLASSES),
    replaces: true,
    comparable: true,
  };
  let verdict = judgeTrial(end, policy);
  while (verdict.verdict === 'measuring' && end.seconds < seconds) {
    end.seconds += 1;
    for (let i = 0; i < perSecond; i++) {
      const truth = Math.floor(random() * CLASSES);
      const before = old(truth, random);
      const now = fresh(truth, random);
      note(end.old!, before);
      note(end.new!, now);
      end.served += 1;
      end.pairs += 1;
      if (before.label !== now.label) end.disagreed += 1;
    }
    verdict = judgeTrial(end, policy);
  }
  return { end, verdict };
}

const quiet = (over: Partial<TrialEvidence> = {}): TrialEvidence => ({
  seconds: 20,
  served: 0,
  failed: 0,
  modelFaults: 0,
  pairs: 0,
  disagreed: 0,
  new: null,
  old: null,
  replaces: false,
  comparable: false,
  ...over,
});

describe('a model that is compared', () => {
  it('a_better_model_that_disagrees_on_4_percent_passes_within_a_few_hundred_pairs', () => {
    const pairs = Array.from({ length: 200 }, (_, seed) => {
      const { end, verdict } = trial(seed, good, differing(0.04), 3600);
      return { verdict: verdict.verdict, pairs: end.pairs };
    });
    const passed = pairs
      .filter((run) => run.verdict === 'pass')
      .map((run) => run.pairs)
      .sort((a, b) => a - b);
    expect(passed.length).toBe(200);
    expect(passed[100]).toBeLessThan(300);
    expect(passed[190]).toBeLessThan(600);
  });

  it('labels_swapped_on_40_percent_fail_within_a_few_dozen_pairs', () => {
    const swapped: Model = (truth, random) => ({
      label: truth < 4 ? (truth + 1) % 4 : truth,
      confidence: sure(random),
    });
    for (let seed = 0; seed < 50; seed++) {
      const { end, verdict } = trial(seed, good, swapped, 3600);
      expect(verdict).toMatchObject({ verdict: 'fail', code: 'trial_disagreement' });
      expect(end.pairs).toBeLessThan(100);
    }
  });

  it('a_model_that_disagrees_on_30_percent_fails_within_a_few_dozen_pairs', () => {
    const pairs = Array.from({ length: 100 }, (_, seed) => {
      const { end, verdict } = trial(seed, good, differing(0.3), 3600);
      expect(verdict).toMatchObject({ verdict: 'fail', code: 'trial_disagreement' });
      return end.pairs;
    }).sort((a, b) => a - b);
    expect(pairs[50]).toBeLessThan(70);
  });

  it('histograms_that_are_equal_do_not_hide_disagreement', () => {
    const rotated: Model = (truth, random) => ({
      label: (truth + 1) % CLASSES,
      confidence: sure(random),
    });
    const { verdict } = trial(3, good, rotated, 3600);
    expect(verdict).toMatchObject({ verdict: 'fail', code: 'trial_disagreement' });
  });

  it('a_confidence_that_collapses_fails_although_every_label_agrees', () => {
    const unsure: Model = (truth, random) => ({ label: truth, confidence: 0.3 + random() * 0.3 });
    for (let seed = 0; seed < 20; seed++) {
      const { verdict } = trial(seed, good, unsure, 3600);
      expect(verdict).toMatchObject({ verdict: 'fail', code: 'trial_drift' });
      expect(verdict.reasons[0]).toMatch(
        /mean confidence fell from 0\.9\d to 0\.4\d over \d+ live inputs/,
      );
    }
  });

  it('predicted_classes_that_move_fail_where_disagreement_is_allowed', () => {
    const confidence = [...new Array<number>(CONFIDENCE_BINS - 1).fill(0), 400];
    const answers = (classes: number[]): Answers => ({ classes, confidence, confidenceSum: 390 });
    const moved = quiet({
      replaces: true,
      comparable: true,
      seconds: 5,
      served: 400,
      pairs: 400,
      disagreed: 100,
      old: answers([200, 200, 0]),
      new: answers([200, 100, 100]),
    });
    const verdict = judgeTrial(moved, { ...policy, disagreementLimitPermille: 300 });
    expect(verdict).toMatchObject({ verdict: 'fail', code: 'trial_drift' });
  });

  it('a_model_at_the_limit_is_rarely_called_bad_however_often_one_looks', () => {
    let failed = 0;
    for (let seed = 0; seed < 400; seed++) {
      const { verdict } = trial(seed + 10_000, good, differing(0.1), 300);
      if (verdict.verdict === 'fail') failed++;
    }
    expect(failed).toBeLessThanOrEqual(4 + 3 * 2); // 1 % of 400, plus three standard deviations.
  });

  // The hardest null for drift: two unrelated samples of the same distributions, with disagreement
  // allowed.
  it('drift_is_rarely_seen_where_there_is_none', () => {
    let alarms = 0;
    const open: TrialPolicy = {
      ...policy,
      disagreementLimitPermille: 1000,
      classShiftLimitPermille: 1,
      confidenceDropLimitPermille: 1,
      falseAlarmPermille: 50,
    };
    for (let seed = 0; seed < 500; seed++) {
      const random = seeded(seed);
      const evidence = quiet({
        comparable: true,
        new: emptyAnswers(CLASSES),
        old: emptyAnswers(CLASSES),
      });
      for (let count = 1; count <= 1000; count++) {
        for (const side of [evidence.old!, evidence.new!]) {
          note(side, { label: Math.floor(random() * CLASSES), confidence: random() });
        }
        if (count % 5 === 0 && judgeTrial(evidence, open).code === 'trial_drift') {
          alarms++;
          break;
        }
      }
    }
    expect(alarms / 500).toBeLessThanOrEqual(0.05);
  });

  it('no_traffic_fails_for_lack_of_evidence_at_the_end_and_not_before', () => {
    const idle = quiet({ comparable: true, seconds: policy.maxSeconds - 1 });
    expect(judgeTrial(idle, policy).verdict).toBe('measuring');
    const verdict = judgeTrial({ ...idle, seconds: policy.maxSeconds }, policy);
    expect(verdict).toMatchObject({ verdict: 'unproven', code: null });
    expect(verdict.reasons.at(-1)).toContain('100 of 100 live inputs answered by both models');
  });

  it('agreement_is_not_enough_before_the_minimum_time_and_pairs', () => {
    expect(
      judgeTrial(quiet({ comparable: true, seconds: 9, served: 500, pairs: 500 }), policy).verdict,
    ).toBe('measuring');
    expect(
      judgeTrial(quiet({ comparable: true, seconds: 10, served: 500, pairs: 99 }), policy).verdict,
    ).toBe('measuring');
    expect(
      judgeTrial(quiet({ comparable: true, seconds: 10, served: 500, pairs: 500 }), policy).verdict,
    ).toBe('pass');
  });

  it('pairs_enough_but_too_many_disagreeing_is_not_a_pass', () => {
    const verdict = judgeTrial(
      quiet({ comparable: true, served: 200, pairs: 200, disagreed: 20 }),
      policy,
    );
    expect(verdict.verdict).toBe('measuring');
    expect(verdict.reasons.at(-1)).toBe(
      'still missing: evidence that they disagree on less than 10 %',
    );
  });

  it('evidence_that_contradicts_itself_is_read_as_the_worse', () => {
    expect(
      judgeTrial(quiet({ comparable: true, pairs: 10, disagreed: 1000 }), policy).verdict,
    ).toBe('fail');
  });

  it('a_policy_that_asks_for_no_pairs_waits_for_none', () => {
    expect(judgeTrial(quiet({ comparable: true }), { ...policy, minPairs: 0 }).verdict).toBe(
      'pass',
    );
  });

  it('the_words_are_the_arithmetic', () => {
    const verdict = judgeTrial(
      quiet({ comparable: true, served: 100, pairs: 100, disagreed: 41 }),
      policy,
    );
    expect(verdict.reasons).toEqual([
      'old and new model disagree on 41 of 100 live inputs (41 %); the limit is 10 %; ' +
        'a release at the limit would look this bad with chance < 1 in 1,000,000,000: not accepted',
    ]);
  });
});

describe('crashes, failed requests, first installs', () => {
  it('three_crashes_fail_at_once', () => {
    expect(judgeTrial(quiet({ modelFaults: 2, seconds: 1 }), policy).verdict).toBe('measuring');
    expect(judgeTrial(quiet({ modelFaults: 3, seconds: 1 }), policy)).toMatchObject({
      verdict: 'fail',
      code: 'trial_crashes',
    });
  });

  it('requests_that_all_fail_are_enough_after_a_handful', () => {
    const first = [1, 2, 3, 4, 5, 6].find(
      (failed) => judgeTrial(quiet({ failed }), policy).code === 'trial_errors',
    );
    expect(first).toBeGreaterThan(1);
    expect(first).toBeLessThanOrEqual(4);
  });

  it('one_failed_request_of_thousands_passes_and_one_of_twenty_waits', () => {
    expect(judgeTrial(quiet({ served: 5000, failed: 1 }), policy).verdict).toBe('pass');
    expect(judgeTrial(quiet({ served: 19, failed: 1 }), policy).verdict).toBe('measuring');
  });

  it('a_first_install_passes_on_time_and_one_answer', () => {
    expect(judgeTrial(quiet({ served: 1, seconds: 9 }), policy).verdict).toBe('measuring');
    expect(judgeTrial(quiet({ served: 1, seconds: 10 }), policy).verdict).toBe('pass');
  });

  it('a_first_install_that_nobody_asks_passes_at_the_end_and_says_so', () => {
    expect(judgeTrial(quiet({ seconds: policy.maxSeconds - 1 }), policy).verdict).toBe('measuring');
    const verdict = judgeTrial(quiet({ seconds: policy.maxSeconds }), policy);
    expect(verdict.verdict).toBe('pass');
    expect(verdict.reasons.join('\n')).toContain('there is nothing to go back to');
  });

  it('the_evidence_of_these_tests_is_what_the_wire_carries', () => {
    expect(complaints(TrialEvidence, trial(1, good, differing(0.04), 30).end)).toEqual([]);
  });
});
