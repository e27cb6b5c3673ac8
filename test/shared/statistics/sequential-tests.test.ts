// The statistics of shared/evidence.ts against exact values, published tables and seeded
// simulation.
import { describe, expect, it } from 'vitest';
import {
  chanceText,
  chanceOfReaching,
  chiSquareUpper,
  classShift,
  logEvidenceAbove,
  logEvidenceBelow,
  logMean,
  logRatio,
  meanMargin,
  normalUpper,
  percent,
  upperBound,
} from '../../../shared/statistics/sequential-tests.js';

/** mulberry32: small, seeded, good enough for simulations. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

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

  // Ville's bound, looked at after every one of 2000 observations, at the worst null (the share is
  // the limit itself).
  const sides = [
    ['above', logEvidenceAbove],
    ['below', logEvidenceBelow],
  ] as const;
  it.each(sides)('a_share_at_the_limit_is_rarely_called_%s', (_, logE) => {
    const random = seeded(20260101);
    const runs = 2000;
    let alarms = 0;
    for (let run = 0; run < runs; run++) {
      let hits = 0;
      for (let count = 1; count <= 2000; count++) {
        if (random() < 0.1) hits++;
        if (logE({ hits, count }, 0.1) >= Math.log(20)) {
          alarms++;
          break;
        }
      }
    }
    expect(alarms / runs).toBeLessThan(0.05 + 3 * Math.sqrt((0.05 * 0.95) / runs));
    expect(alarms).toBeGreaterThan(0); // The test could fail: it does fire now and then.
  });

  it.each([0.98, 0.985, 0.99, 0.991, 0.995, 0.999, 1])(
    'a_limit_near_certainty_never_makes_good_observations_bad_%d',
    (limit) => {
      for (const hits of [0, 500, 900])
        expect(logEvidenceAbove({ hits, count: 1000 }, limit)).toBeLessThanOrEqual(0);
    },
  );

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

describe('quantiles and confidence bounds', () => {
  it.each([
    [0.5, 0],
    [0.1, 1.2815515655],
    [0.025, 1.9599639845],
    [0.01, 2.326347874],
    [1e-4, 3.7190164855],
    [0.999, -3.0902323062],
  ])('the_normal_tail_of_%d', (alpha, z) => expect(normalUpper(alpha)).toBeCloseTo(z, 6));

  // Upper quantiles of chi-square from the NIST/SEMATECH handbook and exact forms (2 degrees: -2 ln
  // alpha).
  it.each([
    [0.05, 1, 3.841, 0.08],
    [0.001, 1, 10.828, 0.08],
    [0.05, 2, 5.991, 0.05],
    [1e-4, 2, -2 * Math.log(1e-4), 0.05],
    [0.05, 3, 7.815, 0.04],
    [0.001, 3, 16.266, 0.04],
    [1e-4, 3, 21.108, 0.04],
    [0.01, 10, 23.209, 0.012],
    [0.001, 10, 29.588, 0.012],
    [0.1, 30, 40.256, 0.012],
    [0.001, 100, 149.449, 0.012],
  ])('the_chi_square_tail_of_%d_at_%s_degrees', (alpha, degrees, exact, error) => {
    expect(Math.abs(chiSquareUpper(alpha, degrees) / exact - 1)).toBeLessThan(error);
  });

  it('clopper_pearson_matches_its_closed_forms', () => {
    expect(upperBound({ hits: 0, count: 10 }, 0.05)).toBeCloseTo(1 - 0.05 ** (1 / 10), 7);
    expect(upperBound({ hits: 1, count: 20 }, 0.05)).toBeCloseTo(0.2161, 4);
    expect(upperBound({ hits: 3, count: 3 }, 0.05)).toBe(1);
    expect(upperBound({ hits: 0, count: 0 }, 0.05)).toBe(1);
    expect(upperBound({ hits: 100, count: 10_000 }, 0.05)).toBeLessThan(0.0119);
  });

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
    expect(classShift([0, 0], [5, 0], 0.01)).toBeNull();
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
