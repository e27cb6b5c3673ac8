// The betting engine: exact small values, rounding on the safe side, intervals, and pooling by
// rounds.
import { describe, expect, it } from 'vitest';
import { complaints } from '../../../shared/base/decode.js';
import { limits } from '../../../shared/base/limits.js';
import {
  addBlock,
  advanceRounds,
  betFactors,
  blocksOf,
  BlockTally,
  emptyTally,
  logEvidenceAbove,
  logEvidenceBelow,
  logRoundsAbove,
  logRoundsBelow,
  meanInterval,
  meanOf,
  PooledRounds,
} from '../../../shared/statistics/betting.js';
import { seeded } from '../../support/random.js';

const tallyOf = (...means: readonly number[]): BlockTally => means.reduce(addBlock, emptyTally());
const repeated = (mean: number, count: number): BlockTally =>
  tallyOf(...new Array<number>(count).fill(mean));
const mean = (values: readonly number[]) =>
  values.reduce((sum, value) => sum + value, 0) / values.length;
const BETS = [0.99, 0.9, 0.8, 0.65, 0.5, 0.35, 0.2, 0.1, 0.04, 0.015];

describe('a tally', () => {
  it('is_a_sorted_histogram_of_thousandths', () => {
    const tally = tallyOf(0.5, 0, 0.02, 0.5, 0, 1);
    expect(tally.counts).toEqual([
      [0, 2],
      [20, 1],
      [500, 2],
      [1000, 1],
    ]);
    expect(tally.first).toEqual([500, 0, 20, 500, 0, 1000]);
    expect(blocksOf(tally)).toBe(6);
    expect(complaints(BlockTally, tally)).toEqual([]);
  });

  it('rounds_up_in_steps_of_1_to_100_and_of_5_above', () => {
    const values = [0.0001, 0.001, 0.0011, 0.0995, 0.1, 0.1001, 0.105, 0.9951, 0.1 + 0.2];
    expect(tallyOf(...values).first).toEqual([1, 1, 2, 100, 100, 105, 105, 1000, 300]);
  });

  it('clamps_what_is_no_share', () => {
    expect(tallyOf(-0.5, 1.5).first).toEqual([0, 1000]);
  });

  it('with_every_value_there_is_stays_within_its_schema', () => {
    let tally = emptyTally();
    for (let i = 0; i <= 2000; i++) tally = addBlock(tally, i / 2000);
    expect(tally.counts.length).toBe(281);
    expect(complaints(BlockTally, tally)).toEqual([]);
    expect(JSON.stringify(tally.counts).length).toBeLessThan(4096);
    expect(tally.first.length).toBe(limits.trialRoundsMaxCount);
    expect(complaints(BlockTally, { ...tally, counts: [...tally.counts, [7, 1]] })).not.toEqual([]);
  });

  it.each([
    [{ counts: [[1000, 1_000_000_000]], first: [0, 1000] }, true],
    [{ counts: [[1001, 1]], first: [] }, false],
    [{ counts: [[-1, 1]], first: [] }, false],
    [{ counts: [[0.5, 1]], first: [] }, false],
    [{ counts: [[1, 0]], first: [] }, false],
    [{ counts: [[1, 1_000_000_001]], first: [] }, false],
    [{ counts: [[1]], first: [] }, false],
    [{ counts: [], first: [-1] }, false],
    [{ counts: [], first: new Array<number>(limits.trialRoundsMaxCount).fill(0) }, true],
    [{ counts: [], first: new Array<number>(limits.trialRoundsMaxCount + 1).fill(0) }, false],
    [{ counts: [], first: [], more: 1 }, false],
  ])('on_the_wire_%j_is_one_%s', (tally, good) => {
    expect(complaints(BlockTally, tally).length === 0).toBe(good);
  });

  it('estimates_its_mean_by_the_middle_of_each_step', () => {
    expect(meanOf(repeated(0, 5))).toBe(0);
    expect(meanOf(tallyOf(0, 0.05))).toBeCloseTo(0.0495 / 2, 12);
    expect(meanOf(repeated(0.5, 7))).toBeCloseTo(0.4975, 12);
    expect(meanOf(emptyTally())).toBe(0);
  });
});

describe('evidence', () => {
  it('is_the_mean_over_ten_bets_of_the_products', () => {
    const tally = tallyOf(0, 0, 1, 0.05);
    // What is stored as 50 may be as low as 49; 1000 may be 995.
    const above = BETS.map((g) =>
      [0, 0, 0.995, 0.049].reduce((product, x) => product * (1 + (g / 0.1) * (x - 0.1)), 1),
    );
    const below = BETS.map((g) =>
      [0, 0, 1, 0.05].reduce((product, x) => product * (1 + (g / 0.9) * (0.1 - x)), 1),
    );
    expect(Math.exp(logEvidenceAbove(tally, 0.1))).toBeCloseTo(mean(above), 9);
    expect(Math.exp(logEvidenceBelow(tally, 0.1))).toBeCloseTo(mean(below), 9);
  });

  it('does_not_depend_on_the_order', () => {
    const [one, other] = [tallyOf(0, 1, 0.2, 0, 1), tallyOf(1, 1, 0, 0, 0.2)];
    expect(logEvidenceAbove(one, 0.1)).toBe(logEvidenceAbove(other, 0.1));
    expect(one.counts).toEqual(other.counts);
  });

  it('without_observations_is_none', () => {
    expect(logEvidenceAbove(emptyTally(), 0.1)).toBeCloseTo(0, 12);
    expect(logEvidenceBelow(emptyTally(), 0.1)).toBeCloseTo(0, 12);
  });

  it('rounding_never_makes_any', () => {
    // Values a hair above the limit are stored above it; a thousand of them are no evidence.
    expect(logEvidenceAbove(repeated(0.2999, 1000), 0.3)).toBeLessThanOrEqual(0);
    expect(logEvidenceBelow(repeated(0.2999, 1000), 0.2999)).toBeLessThanOrEqual(0);
    expect(logEvidenceAbove(repeated(0.0004, 1000), 0.0005)).toBeLessThanOrEqual(0);
  });

  it('at_the_ends_of_the_scale', () => {
    expect(logEvidenceBelow(repeated(1, 3), 1)).toBe(Infinity);
    expect(logEvidenceAbove(repeated(1, 3), 1)).toBe(0);
    expect(logEvidenceAbove(repeated(1, 3), 0)).toBe(Infinity);
    expect(logEvidenceAbove(repeated(0, 3), 0)).toBe(0);
    expect(logEvidenceAbove(tallyOf(0, 1), 0)).toBe(Infinity);
    expect(logEvidenceBelow(repeated(0, 3), 0)).toBe(0);
    expect(logEvidenceBelow(repeated(1, 3), 0)).toBe(0);
  });

  it('equal_answers_are_evidence_of_less_than_10_percent_after_60_blocks', () => {
    expect(logEvidenceBelow(repeated(0, 58), 0.1)).toBeLessThan(Math.log(100));
    expect(logEvidenceBelow(repeated(0, 62), 0.1)).toBeGreaterThan(Math.log(100));
  });
});

const wrong = (random: () => number, share: number): number => (random() < share ? 1 : 0);

describe('the interval of a mean', () => {
  it('holds_the_estimate_and_narrows', () => {
    const random = seeded(11);
    let tally = emptyTally();
    const widths: number[] = [];
    for (const count of [50, 400, 2400]) {
      while (blocksOf(tally) < count) tally = addBlock(tally, wrong(random, 0.25));
      const { low, high } = meanInterval(tally, 0.05);
      expect(low).toBeLessThan(0.25);
      expect(high).toBeGreaterThan(0.25);
      widths.push(high - low);
    }
    expect(widths[1]).toBeLessThan(0.6 * (widths[0] ?? 0));
    expect(widths[2]).toBeLessThan(0.1);
  });

  it('ends_are_where_the_evidence_reaches_its_goal', () => {
    const tally = tallyOf(...new Array<number>(60).fill(0), ...new Array<number>(20).fill(1));
    const { low, high } = meanInterval(tally, 0.05);
    const goal = Math.log(40);
    expect(logEvidenceAbove(tally, low)).toBeGreaterThanOrEqual(goal);
    expect(logEvidenceAbove(tally, low + 2e-4)).toBeLessThan(goal);
    expect(logEvidenceBelow(tally, high)).toBeGreaterThanOrEqual(goal);
    expect(logEvidenceBelow(tally, high - 2e-4)).toBeLessThan(goal);
  });

  it('is_everything_without_blocks', () => {
    expect(meanInterval(emptyTally(), 0.05)).toEqual({ low: 0, high: 1 });
    expect(meanInterval(repeated(0, 100), 0.05).low).toBe(0);
    expect(meanInterval(repeated(1, 100), 0.05).high).toBe(1);
  });
});

describe('pooling by rounds', () => {
  const device = (site: string, first: readonly number[], heard = true) => ({ site, heard, first });

  it('a_round_is_the_mean_over_a_sites_devices_then_over_sites', () => {
    const rounds = advanceRounds(
      [],
      [device('a', [0]), device('a', [1000]), device('a', [500]), device('b', [100])],
    );
    expect(rounds).toHaveLength(1);
    expect(rounds[0]?.[1]).toBeCloseTo((0.5 + 0.1) / 2, 12);
    expect(rounds[0]?.[0]).toBeCloseTo(((0 + 0.995 + 0.495) / 3 + 0.099) / 2, 12);
  });

  it('a_round_waits_for_every_device_that_is_heard', () => {
    expect(advanceRounds([], [device('a', [0, 0]), device('b', [])])).toEqual([]);
    const rounds = advanceRounds([], [device('a', [0, 0]), device('b', [1000], false)]);
    expect(rounds.map(([, high]) => high)).toEqual([0.5, 0]);
    expect(advanceRounds([], [])).toEqual([]);
    expect(advanceRounds([], [device('a', [], false)])).toEqual([]);
  });

  it('a_round_that_was_counted_never_changes', () => {
    const before = advanceRounds([], [device('a', [0]), device('b', [], false)]);
    const after = advanceRounds(before, [device('a', [0, 0]), device('b', [1000, 1000])]);
    expect(after[0]).toEqual([0, 0]);
    expect(after[1]?.[1]).toBe(0.5);
  });

  it('rounds_are_bounded', () => {
    const first = new Array<number>(limits.trialRoundsMaxCount + 1).fill(0);
    const rounds = advanceRounds([], [device('a', first)]);
    expect(rounds).toHaveLength(limits.trialRoundsMaxCount);
    expect(advanceRounds(rounds, [device('a', first)])).toHaveLength(limits.trialRoundsMaxCount);
  });

  it.each([
    [[[0, 1]], true],
    [[[-0.1, 1]], false],
    [[[1.1, 1]], false],
    [[[0, -0.1]], false],
    [[[0, 1.1]], false],
    [[[0]], false],
    [new Array(limits.trialRoundsMaxCount).fill([0, 0]), true],
    [new Array(limits.trialRoundsMaxCount + 1).fill([0, 0]), false],
  ])('rounds_%j_are_stored_%s', (rounds, good) => {
    expect(complaints(PooledRounds, rounds).length === 0).toBe(good);
  });

  it('what_is_0_everywhere_is_evidence_below_the_limit', () => {
    const rounds = advanceRounds([], [device('a', new Array<number>(64).fill(0))]);
    expect(logRoundsBelow(rounds, 0.1)).toBeGreaterThan(Math.log(100));
    expect(logRoundsAbove(rounds, 0.1)).toBeLessThan(0);
    expect([logRoundsAbove(rounds, 1), logRoundsBelow(rounds, 1)]).toEqual([0, Infinity]);
  });
});

it('factors_of_one_observation_are_fair_at_the_limit', () => {
  expect(betFactors(0.1, 0.1)).toEqual(BETS.map(() => 1));
  betFactors(0.3, 0.1).forEach((factor, i) => expect(factor).toBeCloseTo(1 + 2 * BETS[i]!, 12));
  betFactors(1, 0.1).forEach((won, i) => {
    expect(0.1 * won + 0.9 * (betFactors(0, 0.1)[i] ?? 0)).toBeCloseTo(1, 12);
  });
});
