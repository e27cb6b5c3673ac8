// Shifts and margins against exact values and published tables.
import { describe, expect, it } from 'vitest';
import { classShift, meanMargin } from '../../../shared/statistics/answer-shifts.js';

describe('shifts and margins', () => {
  it('psi_has_its_exact_value', () => {
    // Shares with half a count a bin: 30.5/41, 10.5/41 against 10.5/41, 30.5/41.
    const found = classShift([30, 10], [10, 30], 0.05)!;
    expect(found.psi).toBeCloseTo(2 * (20 / 41) * Math.log(30.5 / 10.5), 12);
    expect(found.chance).toBeCloseTo((1 / 40 + 1 / 40) * 3.841458821, 8);
    // A bin that is empty in both, or absent in one, changes nothing.
    expect(classShift([30, 10, 0], [10, 30], 0.05)).toEqual(found);
    expect(classShift([8], [3, 5], 0.05)).toEqual(classShift([8, 0], [3, 5], 0.05));
    expect(classShift([3, 5], [8], 0.05)).toEqual(classShift([3, 5], [8, 0], 0.05));
    expect(classShift([10, 30], [10, 30], 0.05)!.psi).toBe(0);
  });

  it('a_single_class_or_an_empty_side_has_no_shift_and_not_nan', () => {
    expect(classShift([40], [60], 0.01)).toBeNull();
    expect(classShift([0, 40], [0, 60], 0.01)).toBeNull();
    expect(classShift([0, 0], [5, 0], 0.01)).toBeNull();
    expect(classShift([5, 0], [0, 0], 0.01)).toBeNull();
    expect(classShift([0, 0], [5, 3], 0.01)).toBeNull();
    expect(classShift([5, 3], [0, 0], 0.01)).toBeNull();
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
});
