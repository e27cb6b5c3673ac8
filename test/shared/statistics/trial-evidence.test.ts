// Policy and evidence on the wire: every limit of their schemas from both sides; and answers that
// are counted.
import { describe, expect, it } from 'vitest';
import { complaints } from '../../../shared/base/decode.js';
import { limits } from '../../../shared/base/limits.js';
import {
  addAnswer,
  CONFIDENCE_BINS,
  emptyAnswers,
  FUSE_BINS,
  TrialEvidence,
  TrialPolicy,
} from '../../../shared/statistics/trial-evidence.js';
import { defaultTrialPolicy } from '../../../shared/statistics/default-trial-policy.js';
import { trialEvidence } from '../../support/trial-evidence.js';

const DAY_SECONDS = 86_400;

describe('a policy', () => {
  it.each<[keyof TrialPolicy, number, number]>([
    ['minSeconds', 0, 30 * DAY_SECONDS],
    ['maxSeconds', 1, 60 * DAY_SECONDS],
    ['minPairs', 0, 10_000_000],
    ['differenceLimitPermille', 1, 1000],
    ['acceptedDifferencePermille', 1, 1000],
    ['slowdownLimitPermille', 1000, 100_000],
    ['classShiftLimitPermille', 1, 100_000],
  ])('has_%s_from_%d_to_%d', (name, least, most) => {
    const wrong = (value: number): number =>
      complaints(TrialPolicy, { ...defaultTrialPolicy, [name]: value }).length;
    expect([least, most].map(wrong)).toEqual([0, 0]);
    for (const value of [least - 1, most + 1, least + 0.5]) expect(wrong(value)).toBeGreaterThan(0);
  });

  it('has_no_other_fields_and_all_but_the_accepted_difference', () => {
    expect(complaints(TrialPolicy, { ...defaultTrialPolicy, other: 1 })).not.toEqual([]);
    for (const name of Object.keys(defaultTrialPolicy)) {
      const { [name as keyof TrialPolicy]: _, ...others } = defaultTrialPolicy;
      expect(complaints(TrialPolicy, others), name).not.toEqual([]);
    }
  });
});

describe('evidence', () => {
  const [one] = trialEvidence({ pairs: 1 }).comparisons;
  const many = <T>(count: number, item: T): T[] => new Array<T>(count).fill(item);
  const answers = (over: object = {}) => ({ ...emptyAnswers(3), ...over });
  const ratios = (count: number) => ({
    latency: { ...trialEvidence().latency, ratios: many(count, [0, 1]) },
  });
  const ratio = (power: number, count: number) => ({
    latency: { ...trialEvidence().latency, ratios: [[power, count]] },
  });
  const compared = (over: object) => ({ comparisons: [{ ...one!, ...over }] });
  const errors = (oldPermille: unknown) => ({
    errors: { ...trialEvidence().errors, oldPermille },
  });
  const fuse = (bins: number, scenes = 0) => ({ fuse: { pairs: many(bins, 0), scenes } });
  const MOST = limits.trialComparisonsMaxCount;

  it.each<[string, object, object]>([
    ['seconds', { seconds: 0 }, { seconds: -0.1 }],
    ['served', { served: 0 }, { served: -1 }],
    ['look', { look: null }, { look: { served: 1 } }],
    ['look', { look: { served: 1, failed: 0 } }, { look: { served: 1, failed: -1 } }],
    ['blockSeconds', { blockSeconds: 0.125 }, { blockSeconds: 0 }],
    ['blockSeconds', { blockSeconds: null }, { blockSeconds: -1 }],
    ['comparisons', { comparisons: many(MOST, one) }, { comparisons: many(MOST + 1, one) }],
    ['output', compared({ output: 'x'.repeat(200) }), compared({ output: 'x'.repeat(201) })],
    ['declared', compared({ declaredPermille: null }), compared({ declaredPermille: 0 })],
    ['declared', compared({ declaredPermille: 1000 }), compared({ declaredPermille: 1001 })],
    ['rehearsed', compared({}), compared({ rehearsed: { pairs: 0 } })],
    ['a_comparison', compared({}), compared({ more: 1 })],
    ['fuse', fuse(FUSE_BINS), fuse(FUSE_BINS - 1)],
    ['fuse', fuse(FUSE_BINS, 5), fuse(FUSE_BINS + 1)],
    ['old_errors', errors(0), errors(-1)],
    ['old_errors', errors(1000), errors(1001)],
    ['old_errors', errors(null), errors(0.5)],
    ['ratio', ratio(-100, 1), ratio(-101, 1)],
    ['ratio', ratio(100, 1), ratio(101, 1)],
    ['ratio', ratio(0, 1), ratio(0, 0)],
    ['ratios', ratios(201), ratios(202)],
    ['classes', { new: answers({ classes: many(1000, 0) }) }, { new: answers({ classes: [-1] }) }],
    ['classes', { old: null }, { old: answers({ classes: many(1001, 0) }) }],
    ['confidence', { old: answers() }, { old: answers({ confidence: many(19, 0) }) }],
    ['confidence', { old: answers() }, { old: answers({ confidence: many(21, 0) }) }],
    ['its_sum', { old: answers({ confidenceSum: 0.5 }) }, { old: answers({ confidenceSum: -1 }) }],
    ['answers', { old: answers() }, { old: answers({ more: 1 }) }],
    ['all', {}, { more: 1 }],
  ])('has_%s_within_limits', (_, good, bad) => {
    expect(complaints(TrialEvidence, { ...trialEvidence(), ...good })).toEqual([]);
    expect(complaints(TrialEvidence, { ...trialEvidence(), ...bad })).not.toEqual([]);
  });

  it.each(['class', 'scores', 'vector', 'value', 'boxes', 'sequence', 'none'])(
    'compares_outputs_of_kind_%s_and_of_no_unknown_one',
    (kind) => {
      expect(complaints(TrialEvidence, { ...trialEvidence(), ...compared({ kind }) })).toEqual([]);
      const unknown = { ...trialEvidence(), ...compared({ kind: `${kind}s` }) };
      expect(complaints(TrialEvidence, unknown)).not.toEqual([]);
    },
  );
});

describe('an answer', () => {
  it.each([
    [0, 0],
    [0.0499, 0],
    [0.05, 1],
    [0.5, 10],
    [0.999, 19],
    [1, 19],
    [1.5, 19],
    [-0.5, 0],
  ])('with_confidence_%d_is_in_bin_%d', (confidence, bin) => {
    const answers = emptyAnswers(2);
    addAnswer(answers, 1, confidence);
    addAnswer(answers, 1, confidence);
    expect(answers).toEqual({
      classes: [0, 2],
      confidence: new Array<number>(CONFIDENCE_BINS).fill(0).with(bin, 2),
      confidenceSum: 2 * Math.min(1, Math.max(0, confidence)),
    });
  });

  it.each([
    [2, 0.5],
    [-1, 0.5],
    [0, Number.NaN],
    [0, Number.POSITIVE_INFINITY],
  ])('of_label_%d_with_confidence_%d_is_none', (index, confidence) => {
    const answers = emptyAnswers(2);
    addAnswer(answers, index, confidence);
    expect(answers).toEqual(emptyAnswers(2));
  });

  it('histogram_without_answers_has_all_its_bins', () => {
    expect(emptyAnswers(3)).toEqual({
      classes: [0, 0, 0],
      confidence: new Array<number>(20).fill(0),
      confidenceSum: 0,
    });
  });
});
