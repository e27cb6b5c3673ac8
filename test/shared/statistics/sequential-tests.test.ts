// The statistics of sequential-tests.ts against exact values, published tables and seeded
// simulation.
import { describe, expect, it } from 'vitest';
import {
  chanceText,
  chanceOfReaching,
  classShift,
  logMean,
  logRatio,
  meanMargin,
  percent,
} from '../../../shared/statistics/sequential-tests.js';
import { seeded } from '../../support/random.js';

describe('e-processes', () => {
  it('two_failures_of_two_at_2_against_10_percent_are_25', () => {
    expect(Math.exp(logRatio({ hits: 2, count: 2 }, 0.02, 0.1))).toBeCloseTo(25, 9);
  });

  it('an_alternative_is_weighed_without_overflow', () => {
    expect(
      logMean([
        { weight: 0.5, log: 2000 },
        { weight: 0.5, log: -2000 },
      ]),
    ).toBeCloseTo(2000 + Math.log(0.5), 9);
  });

  it('the_exact_chance_agrees_with_simulation_and_keeps_villes_bound', () => {
    const random = seeded(7);
    const runs = 20_000;
    let reached = 0;
    for (let run = 0; run < runs; run++) {
      let hits = 0;
      for (let count = 1; count <= 60; count++) {
        if (random() < 0.02) hits++;
        if (logRatio({ hits, count }, 0.02, 0.1) >= Math.log(20) - 1e-9) {
          reached++;
          break;
        }
      }
    }
    const exact = chanceOfReaching(20, 60, 0.02, 0.1);
    expect(reached / runs).toBeCloseTo(exact, 2);
    expect(exact).toBeLessThanOrEqual(0.05);
    expect(chanceOfReaching(20, 2, 0.02, 0.1)).toBeCloseTo(0.0004, 12);
    expect(chanceOfReaching(20, 60, 0.02, 0.1, 0.5)).toBeGreaterThan(0.999);
  });
});

describe('shifts and margins', () => {
  it('psi_of_equal_samples_stays_below_what_chance_does', () => {
    const random = seeded(99);
    const draw = (n: number) => {
      const counts = new Array<number>(10).fill(0);
      for (let i = 0; i < n; i++) counts[Math.floor(random() * 10)]! += 1;
      return counts;
    };
    let above = 0;
    for (let run = 0; run < 2000; run++) {
      const found = classShift(draw(200), draw(200), 0.05)!;
      if (found.psi > found.chance) above++;
    }
    expect(above / 2000).toBeLessThan(0.07);
    expect(above / 2000).toBeGreaterThan(0.02);
    // Notes 3.10: the calibrated 1 % threshold at 10 bins and n = m = 100 is 0.433.
    expect(classShift(draw(100), draw(100), 0.01)!.chance).toBeCloseTo(0.433, 2);
  });

  it('psi_has_its_exact_value', () => {
    // Shares with half a count a bin: 30.5/41, 10.5/41 against 10.5/41, 30.5/41.
    const found = classShift([30, 10], [10, 30], 0.05)!;
    expect(found.psi).toBeCloseTo(2 * (20 / 41) * Math.log(30.5 / 10.5), 12);
    expect(found.chance).toBeCloseTo((1 / 40 + 1 / 40) * 3.841458821, 8);
    // A bin that is empty in both, or absent in one, changes nothing.
    expect(classShift([30, 10, 0], [10, 30], 0.05)).toEqual(found);
    expect(classShift([10, 30], [10, 30], 0.05)!.psi).toBe(0);
  });

  it('a_single_class_or_an_empty_side_has_no_shift_and_not_nan', () => {
    expect(classShift([40], [60], 0.01)).toBeNull();
    expect(classShift([0, 40], [0, 60], 0.01)).toBeNull();
    expect(classShift([0, 0], [5, 0], 0.01)).toBeNull();
    expect(classShift([5, 0], [0, 0], 0.01)).toBeNull();
    expect(classShift([], [], 0.01)).toBeNull();
    expect(classShift([0, 40], [60, 0], 0.01)!.psi).toBeGreaterThan(5);
  });

  it('the_margin_of_a_mean_has_its_exact_value', () => {
    const rho2 = (-2 * Math.log(0.05) + Math.log(-2 * Math.log(0.05)) + 1) / 100;
    const exact = Math.sqrt(
      ((2 * (400 * rho2 + 1)) / (400 * 400 * rho2)) * Math.log(Math.sqrt(400 * rho2 + 1) / 0.05),
    );
    expect(meanMargin(0.5, 400, 0.05)).toBeCloseTo(0.5 * exact, 12);
    expect(meanMargin(0.5, 400, 0.05)).toBeCloseTo(0.0784665, 6);
    expect(meanMargin(0.5, 400, 0.05, 400)).not.toBeCloseTo(0.5 * exact, 4);
  });

  it('a_mean_stays_inside_its_margin_at_every_count_at_once', () => {
    const random = seeded(5);
    let outside = 0;
    for (let run = 0; run < 1000; run++) {
      let sum = 0;
      for (let count = 1; count <= 1000; count++) {
        sum += random() - 0.5;
        if (count >= 30 && Math.abs(sum / count) > meanMargin(Math.sqrt(1 / 12), count, 0.05)) {
          outside++;
          break;
        }
      }
    }
    expect(outside / 1000).toBeLessThan(0.05 + 3 * Math.sqrt((0.05 * 0.95) / 1000));
  });
});

it('numbers_read_as_a_person_would_write_them', () => {
  expect([0, 0.02, 0.041, 0.1, 0.41, 0.0004, 1].map(percent)).toEqual([
    '0 %',
    '2 %',
    '4.1 %',
    '10 %',
    '41 %',
    '0.04 %',
    '100 %',
  ]);
  expect([Math.log(100), Math.log(259), Math.log(2.5e6), 4000, 0].map(chanceText)).toEqual([
    '1 in 100',
    '1 in 200',
    '1 in 2,000,000',
    '1 in 1,000,000,000',
    '1 in 1',
  ]);
});
