// What a trial gathers, event by event, against numbers counted by hand.
import { describe, expect, it } from 'vitest';
import { limits } from '../../../shared/base/limits.js';
import { addBlock, emptyTally, type BlockTally } from '../../../shared/statistics/betting.js';
import { FUSE_BINS, type TrialEvidence } from '../../../shared/statistics/trial-evidence.js';
import {
  TrialTally,
  type ComparedRequest,
  type TrialTallyOptions,
} from '../../../shared/statistics/trial-tally.js';

const LOGITS = { output: 'logits', kind: 'class', declaredPermille: null } as const;
const BOXES = { output: 'boxes', kind: 'boxes', declaredPermille: 40 } as const;

/** Blocks of one second, one output, slow beyond 100 ms. */
const OPTIONS: TrialTallyOptions = {
  startedAt: 0,
  meter: { add: () => false, chooseSeconds: () => 1 },
  comparisons: [LOGITS],
  oldErrorPermille: null,
  slowMs: 100,
};
/** With steps of the fuse of one second. */
const tallyWith = (over: Partial<TrialTallyOptions> = {}): TrialTally =>
  new TrialTally({ ...OPTIONS, fuseSeconds: 60, ...over });

const same: ComparedRequest = {
  newFailed: false,
  oldFailed: false,
  differences: [0],
  newMs: 10,
  oldMs: 10,
};
const evidenceOf = (tally: TrialTally, now = 10): TrialEvidence =>
  tally.evidence(now, { replaces: true, comparable: true, new: null, old: null });
const ended = (tally: TrialTally, now?: number): TrialEvidence => {
  tally.end();
  return evidenceOf(tally, now);
};
const blocksOf = (...means: readonly number[]): BlockTally => means.reduce(addBlock, emptyTally());
const seen = (seconds: number, ...summary: number[]) => ({ seconds, score: null, summary });

it('a_trial_without_events_is_its_options_and_zeros', () => {
  const more = { replaces: false, comparable: true, new: null, old: null };
  const tally = tallyWith({ startedAt: 3, oldErrorPermille: 7, comparisons: [LOGITS, BOXES] });
  const nothing = { pairs: 0, blocks: emptyTally(), rehearsed: { pairs: 0, blocks: 0 } };
  expect(tally.evidence(10, more)).toEqual({
    seconds: 7,
    served: 0,
    failed: 0,
    look: null,
    modelFaults: 0,
    blockSeconds: 1,
    comparisons: [
      { ...LOGITS, ...nothing },
      { ...BOXES, ...nothing },
    ],
    fuse: { pairs: new Array<number>(FUSE_BINS).fill(0), scenes: 0 },
    errors: { onlyOne: emptyTally(), share: emptyTally(), oldPermille: 7 },
    latency: { ratios: [], onlyOneSlow: emptyTally(), slow: emptyTally() },
    ...more,
  });
});

describe('requests', () => {
  it('are_looked_at_at_one_two_four_hundred_and_never_between', () => {
    const tally = tallyWith();
    const looks = new Map<number, TrialEvidence['look']>();
    for (let count = 1; count <= 450; count++) {
      if (count % 50 === 0) tally.failed();
      else tally.served(0);
      const { look } = evidenceOf(tally);
      if (look !== looks.get(looks.size - 1)) looks.set(looks.size, look);
    }
    expect([...looks.values()]).toEqual([
      null,
      { served: 98, failed: 2 },
      { served: 196, failed: 4 },
      { served: 392, failed: 8 },
    ]);
    expect(evidenceOf(tally)).toMatchObject({ served: 441, failed: 9, modelFaults: 0 });
  });

  it('that_crash_the_model_are_counted_apart', () => {
    const tally = tallyWith();
    tally.fault();
    tally.fault();
    expect(evidenceOf(tally)).toMatchObject({ served: 0, failed: 0, modelFaults: 2 });
  });

  it('of_a_release_alone_have_their_share_of_failed_and_of_slow_ones', () => {
    const tally = tallyWith();
    for (const ms of [100, 100.1, null, 5]) tally.alone(0, ms);
    expect(ended(tally)).toMatchObject({
      errors: { share: blocksOf(1 / 4), onlyOne: emptyTally() },
      latency: { slow: blocksOf(1 / 3), onlyOneSlow: emptyTally() },
    });
  });
});

describe('what both releases were given', () => {
  it.each([
    [{}, { onlyOne: [], share: [0], pairs: 1, difference: [0], failed: 5 }],
    [{ differences: [0.3] }, { onlyOne: [], share: [0], pairs: 1, difference: [0.3], failed: 5 }],
    [
      { newFailed: true, differences: [] },
      { onlyOne: [1], share: [1], pairs: 1, difference: [1], failed: 5 },
    ],
    [
      { oldFailed: true, differences: [] },
      { onlyOne: [0], share: [0], pairs: 0, difference: [], failed: 5 },
    ],
    [
      { oldFailed: true, differences: [1] },
      { onlyOne: [0], share: [0], pairs: 0, difference: [], failed: 5 },
    ],
    [
      { newFailed: true, oldFailed: true, differences: [] },
      { onlyOne: [], share: [], pairs: 0, difference: [], failed: 4 },
    ],
    [{ differences: [] }, { onlyOne: [], share: [0], pairs: 0, difference: [], failed: 5 }],
  ])('is_counted_by_who_failed_%j', (over, counted) => {
    const tally = tallyWith();
    for (let i = 0; i < 5; i++) tally.failed();
    tally.compared(0, { ...same, ...over });
    const { errors, comparisons, failed, fuse } = ended(tally);
    expect(errors.onlyOne).toEqual(blocksOf(...counted.onlyOne));
    expect(errors.share).toEqual(blocksOf(...counted.share));
    expect(comparisons[0]).toMatchObject({
      pairs: counted.pairs,
      blocks: blocksOf(...counted.difference),
    });
    expect(failed).toBe(counted.failed);
    expect(fuse.pairs.reduce((sum, count) => sum + count)).toBe(counted.pairs);
  });

  it('and_both_fail_leaves_the_count_no_more_often_than_it_was_counted', () => {
    const tally = tallyWith();
    tally.compared(0, { ...same, newFailed: true, oldFailed: true });
    tally.failed();
    expect(evidenceOf(tally).failed).toBe(1);
  });

  it('has_a_difference_for_each_output_and_a_missing_one_is_the_largest', () => {
    const tally = tallyWith({ comparisons: [LOGITS, BOXES] });
    tally.compared(0, { ...same, differences: [0.1, 0.4] });
    tally.compared(0, { ...same, differences: [0.2] });
    const { comparisons, fuse } = ended(tally);
    expect(comparisons).toMatchObject([
      { pairs: 2, blocks: blocksOf((0.1 + 0.2) / 2) },
      { pairs: 2, blocks: blocksOf((0.4 + 1) / 2) },
    ]);
    expect([fuse.pairs[8], fuse.pairs[20]]).toEqual([1, 1]);
  });

  it('without_an_output_to_compare_counts_for_errors_only', () => {
    const tally = tallyWith({ comparisons: [] });
    tally.compared(0, { ...same, newFailed: true });
    const { comparisons, errors, fuse } = ended(tally);
    expect(comparisons).toEqual([]);
    expect(errors.onlyOne).toEqual(blocksOf(1));
    expect(fuse.pairs).toEqual(new Array<number>(FUSE_BINS).fill(0));
  });

  it.each([
    [0, 0],
    [0.0499, 0],
    [0.05, 1],
    // A hair below a step is the step.
    [1 - 0.9, 2],
    [0.999, 19],
    [1, 20],
    [1.7, 20],
  ])('that_differs_by_%d_is_in_step_%d_of_the_fuse', (difference, bin) => {
    const tally = tallyWith();
    tally.compared(0, { ...same, differences: [difference] });
    const { pairs } = evidenceOf(tally).fuse;
    expect(pairs.indexOf(1)).toBe(bin);
    expect(pairs).toHaveLength(FUSE_BINS);
  });

  it.each([
    [100.1, 100, [1]],
    [100, 100.1, [0]],
    [101, 102, []],
    [99, 98, []],
    [null, 101, []],
    [101, null, []],
  ])('and_took_%s_and_%s_ms_is_slow_with_one_only', (newMs, oldMs, means) => {
    const tally = tallyWith();
    tally.compared(0, { ...same, newMs, oldMs });
    expect(ended(tally).latency).toMatchObject({
      onlyOneSlow: blocksOf(...means),
      slow: emptyTally(),
    });
  });
});

describe('a block', () => {
  it('counts_when_the_next_one_begins', () => {
    const tally = tallyWith();
    tally.compared(0.1, { ...same, differences: [0] });
    tally.compared(0.9, { ...same, differences: [1] });
    expect(evidenceOf(tally).comparisons[0]?.blocks).toEqual(emptyTally());
    tally.served(1);
    expect(evidenceOf(tally).comparisons[0]?.blocks).toEqual(blocksOf(0.5));
    // A block without a value is none.
    tally.served(2);
    tally.alone(3, null);
    tally.alone(4, 1);
    expect(evidenceOf(tally).errors.share).toEqual(blocksOf(0, 1));
    expect(ended(tally)).toMatchObject({
      errors: { share: blocksOf(0, 1, 0) },
      comparisons: [{ blocks: blocksOf(0.5) }],
    });
  });

  it('is_not_closed_by_an_event_of_the_past', () => {
    const tally = tallyWith();
    tally.alone(5, null);
    tally.alone(3, 1);
    tally.alone(5.5, 1);
    tally.alone(5.7, 1);
    expect(evidenceOf(tally).errors.share).toEqual(emptyTally());
    expect(ended(tally).errors.share).toEqual(blocksOf(1 / 4));
  });

  it('needs_a_length', () => {
    const tally = tallyWith({ meter: { add: () => true, chooseSeconds: () => null } });
    tally.alone(0, null);
    tally.input(seen(1));
    tally.alone(9, null);
    expect(tally.wantsTiming(9)).toBe(false);
    expect(ended(tally)).toMatchObject({ blockSeconds: null, errors: { share: emptyTally() } });
  });

  it('has_the_length_that_the_meter_finds_first_and_nothing_from_before', () => {
    const meter = { isOver: false, seconds: null as number | null, asked: 0 };
    const tally = tallyWith({
      meter: {
        add: () => meter.isOver,
        chooseSeconds: () => (meter.asked++, meter.seconds),
      },
    });
    tally.alone(0, null);
    meter.seconds = 2;
    tally.input(seen(1));
    // The meter is asked again only after a block of its own.
    expect([evidenceOf(tally).blockSeconds, meter.asked]).toEqual([null, 1]);
    meter.isOver = true;
    tally.input(seen(2));
    expect([evidenceOf(tally).blockSeconds, meter.asked]).toEqual([2, 2]);
    meter.seconds = 4;
    tally.alone(3, 1);
    tally.input(seen(3));
    expect([evidenceOf(tally).blockSeconds, meter.asked]).toEqual([2, 2]);
    tally.alone(3.9, null);
    tally.alone(4, null);
    expect(evidenceOf(tally).errors.share).toEqual(blocksOf(0.5));
    expect(ended(tally).errors.share).toEqual(blocksOf(0.5, 1));
  });
});

describe('timing', () => {
  it('is_wanted_once_a_block', () => {
    const tally = tallyWith();
    expect(tally.wantsTiming(0)).toBe(true);
    tally.timed(0, 10, 10);
    expect(tally.wantsTiming(0.9)).toBe(false);
    tally.timed(0.9, 20, 10);
    expect(tally.wantsTiming(1)).toBe(true);
    tally.timed(1, 10, 20);
    [10, 12, 11].forEach((ms, i) => tally.timed(2 + i, ms, 10));
    // 1.05 to the power of -15 is 0.481, of -14 0.505; 1.1 is between powers 1 and 2, 1.2 between
    // 3 and 4.
    expect(evidenceOf(tally).latency.ratios).toEqual([
      [-15, 1],
      [0, 2],
      [1, 1],
      [3, 1],
    ]);
  });

  it.each([
    [1.05 ** 3, 1, 3],
    [1.05 ** 3 * 1.001, 1, 3],
    [1.05 ** 3 * 0.999, 1, 2],
    [1, 1.05 ** 2, -2],
    [1e9, 1, 100],
    [1, 1e9, -100],
  ])('of_%d_against_%d_is_power_%d', (newMs, oldMs, power) => {
    const tally = tallyWith();
    tally.timed(0, newMs, oldMs);
    expect(evidenceOf(tally).latency.ratios).toEqual([[power, 1]]);
  });

  it('that_is_no_number_is_left_out', () => {
    const tally = tallyWith();
    tally.timed(0, 1, 0);
    tally.timed(1, 0, 0);
    expect(evidenceOf(tally).latency.ratios).toEqual([]);
  });
});

describe('the fuse', () => {
  it.each([
    ['equal', [3, 4], [3, 4], 1],
    ['5_percent_off', [100, 0], [105, 0], 1],
    ['more_than_5_percent_off', [100, 0], [105.1, 0], 2],
    ['less_in_all', [3, 4], [3, 3.7], 2],
    ['nothing_after_nothing', [0, 0], [0, 0], 1],
    ['something_after_nothing', [0, 0], [0.001, 0], 2],
    ['cut_short', [3, 4], [3], 2],
    ['cut_short_by_a_zero', [3, 0], [3], 1],
    ['longer', [3], [3, 4], 1],
  ])('sees_another_scene_in_a_summary_that_is_%s', (_, first, second, scenes) => {
    const tally = tallyWith();
    tally.input(seen(0, ...first));
    tally.input(seen(0.5, ...second));
    expect(evidenceOf(tally).fuse.scenes).toBe(scenes);
  });

  it('compares_a_summary_with_that_of_the_scene', () => {
    const tally = tallyWith();
    [100, 104, 108, 104, 103].forEach((value, i) => tally.input(seen(i, value)));
    // 108 is 8 % from 100; the others are near the scene that they are in.
    expect(evidenceOf(tally).fuse.scenes).toBe(2);
  });

  it('looks_back_for_its_time', () => {
    const tally = tallyWith();
    for (const at of [0, 0.5, 1]) {
      tally.input(seen(at, at + 1));
      tally.compared(at, same);
    }
    const at = (now: number) => {
      const { pairs, scenes } = evidenceOf(tally, now).fuse;
      return [pairs[0], scenes];
    };
    expect([at(1), at(59.9), at(60), at(61)]).toEqual([
      [3, 3],
      [3, 3],
      [1, 1],
      [0, 0],
    ]);
    // What it looked back on is kept while something new comes.
    tally.compared(60.5, same);
    expect(at(60.5)).toEqual([2, 1]);
  });

  it('looks_back_for_the_time_of_all_trials_unless_told', () => {
    const tally = new TrialTally(OPTIONS);
    tally.compared(0, same);
    expect(evidenceOf(tally, limits.trialFuseSeconds - 1).fuse.pairs[0]).toBe(1);
    expect(evidenceOf(tally, limits.trialFuseSeconds).fuse.pairs[0]).toBe(0);
  });
});

it('comparisons_go_on_from_what_the_rehearsal_found', () => {
  const rehearsed = [{ output: 'boxes', pairs: 30, blocks: blocksOf(0, 0, 1) }];
  const tally = tallyWith({ comparisons: [LOGITS, BOXES], rehearsed });
  tally.compared(0, { ...same, differences: [0, 0.5] });
  expect(ended(tally).comparisons).toEqual([
    { ...LOGITS, pairs: 1, blocks: blocksOf(0), rehearsed: { pairs: 0, blocks: 0 } },
    { ...BOXES, pairs: 31, blocks: blocksOf(0, 0, 1, 0.5), rehearsed: { pairs: 30, blocks: 3 } },
  ]);
});
