// The exact boundary of the halt test against closed forms and a naive computation.
import { describe, expect, it } from 'vitest';
import {
  chanceOfHalting,
  expectedTakes,
  failuresToHalt,
  haltBoundary,
  haltLogRatio,
  holdBoundary,
  medianTakes,
  type HaltBoundary,
  type HaltPlan,
} from '../../../shared/statistics/halt-boundary.js';

const usual = { acceptable: 0.02, alarming: 0.1, alpha: 0.05 };
const planned = (takes: number): HaltBoundary => haltBoundary({ ...usual, takes });

/** All outcomes of a small plan, one by one. */
function naive(boundary: HaltBoundary, share: number) {
  let [chance, mean] = [0, 0];
  const haltedBy = new Array<number>(boundary.takes + 1).fill(0);
  for (let outcome = 0; outcome < 2 ** boundary.takes; outcome++) {
    let [failures, probability, haltedAt] = [0, 1, boundary.takes + 1];
    for (let take = 0; take < boundary.takes; take++) {
      const failed = ((outcome >> take) & 1) === 1;
      probability *= failed ? share : 1 - share;
      failures += failed ? 1 : 0;
      if (failures >= failuresToHalt(boundary, take + 1)) haltedAt = Math.min(haltedAt, take + 1);
    }
    if (haltedAt <= boundary.takes) chance += probability;
    mean += probability * Math.min(haltedAt, boundary.takes);
    for (let take = haltedAt; take <= boundary.takes; take++) haltedBy[take]! += probability;
  }
  const half = haltedBy.findIndex((halted) => halted >= 0.5);
  return { chance, mean, median: half === -1 ? boundary.takes : half };
}

/** The largest chance within alpha of all values that the test can take, by trying each. */
function naiveBest(plan: HaltPlan): number {
  const leastFailures = 1 - (1 - plan.acceptable) ** plan.takes <= plan.alpha + 1e-9 ? 1 : 2;
  const ville = Math.log(1 / plan.alpha);
  const chances = Array.from({ length: plan.takes }, (_, take) => take + 1)
    .flatMap((takes) =>
      Array.from({ length: takes + 1 }, (_, failures) => haltLogRatio(plan, failures, takes)),
    )
    .filter((level) => level < ville)
    .concat(ville)
    .map((level) => naive({ ...plan, leastFailures, level, chance: 0 }, plan.acceptable).chance);
  return Math.max(...chances.filter((chance) => chance <= plan.alpha + 1e-9));
}

describe('how many failures halt', () => {
  it.each([1, 2])('a_fleet_of_%d_halts_on_its_first_failure', (takes) => {
    const boundary = planned(takes);
    for (let take = 1; take <= takes; take++) expect(failuresToHalt(boundary, take)).toBe(1);
    expect(boundary.chance).toBeCloseTo(1 - 0.98 ** takes, 12);
  });

  it.each([3, 5, 20, 100, 1000])('a_fleet_of_%d_halts_on_two', (takes) => {
    expect(failuresToHalt(planned(takes), 2)).toBe(2);
  });

  it('a_stricter_alpha_leaves_a_fleet_of_one_without_a_halt', () => {
    const boundary = haltBoundary({ ...usual, alpha: 0.01, takes: 1 });
    expect(failuresToHalt(boundary, 1)).toBe(2);
    expect(boundary.chance).toBe(0);
  });

  it('exactly_alpha_is_allowed', () => {
    expect(haltBoundary({ ...usual, acceptable: 0.05, takes: 1 }).leastFailures).toBe(1);
    expect(haltBoundary({ ...usual, acceptable: 0.0501, takes: 1 }).leastFailures).toBe(2);
  });

  it('more_takes_without_failure_need_more_failures', () => {
    const boundary = planned(1000);
    const needed = [10, 50, 100, 500, 1000].map((takes) => failuresToHalt(boundary, takes));
    expect(needed).toEqual([2, 4, 7, 27, 52]);
  });

  it('the_ratio_of_two_failures_of_two_at_2_against_10_percent_is_25', () => {
    expect(Math.exp(haltLogRatio({ ...usual, takes: 9 }, 2, 2))).toBeCloseTo(25, 9);
    expect(Math.exp(haltLogRatio({ ...usual, takes: 9 }, 0, 1))).toBeCloseTo(0.9 / 0.98, 9);
  });

  it('an_alarming_share_of_all_is_an_alternative_of_99_percent', () => {
    expect(Math.exp(haltLogRatio({ ...usual, alarming: 1, takes: 9 }, 0, 1))).toBeCloseTo(
      0.01 / 0.98,
      9,
    );
    // Nearer to all than that where the acceptable share is: half of the way.
    const near = { ...usual, acceptable: 0.99, alarming: 1, takes: 9 };
    expect(Math.exp(haltLogRatio(near, 0, 1))).toBeCloseTo(0.005 / 0.01, 9);
  });

  it.each([
    [{ acceptable: 0 }, 'acceptable < alarming'],
    [{ alarming: 0.02 }, 'acceptable < alarming'],
    [{ alarming: 1.01 }, 'acceptable < alarming'],
    [{ takes: 0 }, 'a plan has takes'],
    [{ takes: 2.5 }, 'a plan has takes'],
    [{ takes: -1 }, 'a plan has takes'],
    [{ alpha: 0 }, 'alpha is in'],
    [{ alpha: 1 }, 'alpha is in'],
  ])('a_plan_with_%j_is_a_bug_of_the_caller', (change, message) => {
    expect(() => haltBoundary({ ...usual, takes: 5, ...change })).toThrow(message);
  });
});

describe('the exact chance', () => {
  it.each([1, 2, 3, 5, 8, 12])('of_%d_takes_is_the_sum_over_all_outcomes', (takes) => {
    const boundary = planned(takes);
    for (const share of [0.005, 0.02, 0.1, 0.5, 1]) {
      const exact = naive(boundary, share);
      expect(chanceOfHalting(boundary, share)).toBeCloseTo(exact.chance, 12);
      expect(expectedTakes(boundary, share)).toBeCloseTo(exact.mean, 9);
      expect(medianTakes(boundary, share)).toBe(exact.median);
    }
    expect(boundary.chance).toBe(chanceOfHalting(boundary, 0.02));
  });

  it.each([1, 2, 3, 4, 5, 7])('of_%d_takes_is_the_largest_that_alpha_allows', (takes) => {
    for (const [acceptable, alarming] of [
      [0.02, 0.1],
      [0.1, 0.3],
      [0.3, 0.9],
    ] as const)
      for (const alpha of [0.01, 0.05, 0.2]) {
        const plan = { takes, acceptable, alarming, alpha };
        const boundary = haltBoundary(plan);
        expect(boundary.chance, JSON.stringify(plan)).toBeCloseTo(naiveBest(plan), 9);
        expect(boundary.level).toBeLessThanOrEqual(Math.log(1 / alpha));
      }
  });

  // The boundary is the smallest: the next lower value of the ratio would exceed alpha.
  it.each([50, 200, 1000])('just_below_the_level_of_%d_takes_alpha_is_exceeded', (takes) => {
    const boundary = planned(takes);
    expect(chanceOfHalting(boundary, 0.02)).toBeLessThanOrEqual(0.05);
    const lower = { ...boundary, level: boundary.level - 0.03 };
    expect(chanceOfHalting(lower, 0.02)).toBeGreaterThan(0.05);
  });

  it('is_near_alpha_for_large_plans', () => {
    expect(planned(1000).chance).toBeGreaterThan(0.049);
    expect(planned(100_000).chance).toBeGreaterThan(0.049);
  });
});

describe('the hold level', () => {
  it.each([3, 20, 100, 1000])('calls_at_half_the_acceptable_share_in_5_percent_%d', (takes) => {
    const hold = holdBoundary({ ...usual, takes });
    expect(chanceOfHalting(hold, 0.01)).toBeLessThanOrEqual(0.05);
    expect(hold.chance).toBe(chanceOfHalting(hold, 0.01));
    expect(hold.level).toBeLessThanOrEqual(planned(takes).level);
  });

  it('holds_a_fleet_of_five_on_its_first_failure_and_one_of_six_on_two', () => {
    expect(failuresToHalt(holdBoundary({ ...usual, takes: 5 }), 5)).toBe(1);
    expect(failuresToHalt(holdBoundary({ ...usual, takes: 6 }), 6)).toBe(2);
  });
});

describe('how many devices take a bad release', () => {
  it.each([
    [0.5, 4.0, 3],
    [0.2, 12.1, 9],
    [0.1, 36.4, 25],
  ])('of_a_thousand_when_%d_fail', (share, mean, median) => {
    expect(expectedTakes(planned(1000), share)).toBeCloseTo(mean, 1);
    expect(medianTakes(planned(1000), share)).toBe(median);
  });

  it('all_of_them_when_none_fails', () => {
    expect(expectedTakes(planned(10_000), 0)).toBe(10_000);
    expect(medianTakes(planned(10_000), 0)).toBe(10_000);
    expect(chanceOfHalting(planned(10_000), 0)).toBe(0);
    expect(expectedTakes(planned(1), 0.02)).toBe(1);
  });

  it('two_when_all_fail', () => {
    expect(expectedTakes(planned(1000), 1)).toBe(2);
    expect(medianTakes(planned(1000), 1)).toBe(2);
    expect(chanceOfHalting(planned(1000), 1)).toBe(1);
  });
});
