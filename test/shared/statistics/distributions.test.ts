// Quantiles against exact forms and published values.
import { describe, expect, it } from 'vitest';
import { chiSquareUpper, upperBound } from '../../../shared/statistics/distributions.js';

describe('chi_square', () => {
  // At 2 degrees the quantile is -2 ln alpha.
  it.each([0.5, 0.05, 1e-3, 1e-5, 1e-8])('at_2_degrees_is_exact_for_a_tail_of_%d', (alpha) => {
    expect(chiSquareUpper(alpha, 2) / (-2 * Math.log(alpha))).toBeCloseTo(1, 7);
  });

  // NIST/SEMATECH e-Handbook, table of critical values; more digits from R's qchisq.
  it.each([
    [0.05, 1, 3.841458821],
    [0.001, 1, 10.827566171],
    [0.05, 3, 7.814727903],
    [1e-4, 3, 21.107513469],
    [0.01, 10, 23.209251159],
    [0.1, 30, 40.256023738],
    [0.001, 100, 149.449252988],
  ])('tail_of_%d_at_%d_degrees', (alpha, degrees, exact) => {
    expect(chiSquareUpper(alpha, degrees)).toBeCloseTo(exact, 6);
  });
});

describe('the_upper_bound_of_a_share', () => {
  it.each([
    [10, 0.05],
    [100, 0.001],
    [100_000, 0.05],
  ])('without_a_hit_of_%d_has_a_closed_form', (count, alpha) => {
    const exact = -Math.expm1(Math.log(alpha) / count);
    expect(upperBound({ hits: 0, count }, alpha) / exact).toBeCloseTo(1, 7);
  });

  // The first is in Clopper and Pearson's tables, all were computed with @stdlib's beta quantile.
  it.each([
    [1, 20, 0.05, 0.2161062],
    [15, 100, 0.05, 0.221537],
    [300, 2000, 0.05, 0.163763],
    [100, 10_000, 0.05, 0.011797],
  ])('%d_of_%d', (hits, count, alpha, exact) => {
    expect(upperBound({ hits, count }, alpha)).toBeCloseTo(exact, 5);
  });

  it('is_1_where_all_hit_or_nothing_was_observed', () => {
    expect(upperBound({ hits: 3, count: 3 }, 0.05)).toBe(1);
    expect(upperBound({ hits: 4, count: 3 }, 0.05)).toBe(1);
    expect(upperBound({ hits: 0, count: 0 }, 0.05)).toBe(1);
    expect(upperBound({ hits: 2, count: 3 }, 0.05)).toBeLessThan(1);
  });
});
