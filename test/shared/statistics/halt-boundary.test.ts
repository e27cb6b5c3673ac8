// The exact boundary of the halt test against closed forms, a naive computation and seeded
// simulation.
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
} from '../../../shared/statistics/halt-boundary.js';
import { atMost, seeded } from '../../support/random.js';

const usual = { acceptable: 0.02, alarming: 0.1, alpha: 0.05 };
const planned = (takes: number): HaltBoundary => haltBoundary({ ...usual, takes });

/** All outcomes of a small plan, one by one. */
function naiveChance(boundary: HaltBoundary, share: number): number {
  let chance = 0;
  for (let outcome = 0; outcome < 2 ** boundary.takes; outcome++) {
    let [failures, probability, halted] = [0, 1, false];
    for (let take = 0; take < boundary.takes; take++) {
      const failed = ((outcome >> take) & 1) === 1;
      probability *= failed ? share : 1 - share;
      failures += failed ? 1 : 0;
      if (failures >= failuresToHalt(boundary, take + 1)) halted = true;
    }
    if (halted) chance += probability;
  }
  return chance;
}

/** Takes until the halt (or the end), of one run; `halted` says which. */
function simulate(boundary: HaltBoundary, share: number, random: () => number) {
  let failures = 0;
  for (let take = 1; take <= boundary.takes; take++) {
    if (random() < share) failures++;
    if (failures >= failuresToHalt(boundary, take)) return { takes: take, halted: true };
  }
  return { takes: boundary.takes, halted: false };
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
    expect(() => haltBoundary({ ...usual, alarming: 0.02, takes: 5 })).toThrow('acceptable');
  });
});

describe('the exact chance', () => {
  it.each([1, 2, 3, 5, 8, 12])('of_%d_takes_is_the_sum_over_all_outcomes', (takes) => {
    const boundary = planned(takes);
    for (const share of [0.005, 0.02, 0.1, 0.5, 1])
      expect(chanceOfHalting(boundary, share)).toBeCloseTo(naiveChance(boundary, share), 12);
    expect(boundary.chance).toBe(chanceOfHalting(boundary, 0.02));
  });

  it.each([1, 2, 3, 4, 5, 7, 10, 20, 50, 100, 333, 1000, 5000, 10_000, 100_000])(
    'of_a_false_halt_is_at_most_alpha_for_%d_takes',
    (takes) => {
      for (const acceptable of [0.005, 0.02, 0.1]) {
        const boundary = haltBoundary({ takes, acceptable, alarming: 3 * acceptable, alpha: 0.05 });
        expect(boundary.chance).toBeLessThanOrEqual(0.05);
        expect(boundary.level).toBeLessThanOrEqual(Math.log(20));
      }
    },
  );

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

  it('is_fast_for_ten_thousand_takes_and_usable_for_a_hundred_thousand', () => {
    const start = performance.now();
    planned(10_000);
    planned(100_000);
    expect(performance.now() - start).toBeLessThan(600);
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

  it.each([
    [5, 0.2],
    [100, 0.02],
    [100, 0.1],
    [1000, 0.2],
    [2000, 0.04],
  ])('agrees_with_simulation_for_%d_takes_at_%d', (takes, share) => {
    const boundary = planned(takes);
    const random = seeded(20_261_126);
    const runs = Array.from({ length: 4000 }, () => simulate(boundary, share, random));
    const mean = runs.reduce((sum, run) => sum + run.takes, 0) / runs.length;
    const square = runs.reduce((sum, run) => sum + (run.takes - mean) ** 2, 0) / runs.length;
    expect(Math.abs(mean - expectedTakes(boundary, share))).toBeLessThanOrEqual(
      3.5 * Math.sqrt(square / runs.length),
    );
    const halted = runs.filter((run) => run.halted).length / runs.length;
    const chance = chanceOfHalting(boundary, share);
    expect(halted).toBeLessThanOrEqual(atMost(chance, runs.length));
    expect(chance).toBeLessThanOrEqual(atMost(halted, runs.length));
    const middle = runs.map((run) => run.takes).sort((a, b) => a - b)[2000] ?? 0;
    expect(Math.abs(middle / medianTakes(boundary, share) - 1)).toBeLessThan(0.15);
  });
});
