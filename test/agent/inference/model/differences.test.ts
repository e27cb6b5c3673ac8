// Differences of two answers: exact values for each kind, sizes that differ, and elements that are
// no numbers.
import { describe, expect, it } from 'vitest';
import { difference } from '../../../../agent/inference/model/differences.js';
import { tensorOf, type Tensor } from '../../../../agent/inference/model/tensor.js';
import type { Comparison } from '../../../../shared/release/model-manifest.js';

const y = (shape: number[], ...values: number[]): Tensor =>
  tensorOf('y', 'FP32', shape, Float32Array.from(values));
const ids = (...values: number[]): Tensor =>
  tensorOf('y', 'INT64', [values.length], BigInt64Array.from(values.map(BigInt)));
const of = (kind: Comparison['kind'], fresh: Tensor, old: Tensor, more: Partial<Comparison> = {}) =>
  difference({ output: 'y', kind, ...more }, [fresh], [old], null);

describe('class', () => {
  it('is_the_share_of_rows_with_another_best_class', () => {
    expect(of('class', y([2, 2], 1, 0, 0, 1), y([2, 2], 3, 0, 5, 1))).toBe(0.5);
    expect(of('class', y([1, 2], 1, 1), y([1, 2], 1, 0))).toBe(0);
    expect(of('class', y([2, 2], 1, 0, 0, 1), y([1, 2], 1, 0))).toBe(1);
    expect(of('class', y([1, 2], NaN, 0), y([1, 2], 1, 0))).toBe(1);
  });

  it('compares_labels_not_indexes', () => {
    const compare = (labelOf: number[]) =>
      difference({ output: 'y', kind: 'class' }, [y([3], 0, 0, 1)], [y([3], 1, 0, 0)], labelOf);
    expect(compare([2, 1, 0])).toBe(0);
    expect(compare([0, 1, 2])).toBe(1);
  });
});

describe('vector', () => {
  it('is_one_minus_the_cosine_whatever_the_length', () => {
    expect(of('vector', y([2], 1, 1), y([2], 5, 5))).toBeCloseTo(0, 12);
    expect(of('vector', y([2], 1, 1), y([2], 1, 0))).toBeCloseTo(1 - Math.SQRT1_2, 7);
    expect(of('vector', y([2], 1, 0), y([2], -1, 0))).toBe(1);
    expect(of('vector', y([2], 0, 0), y([2], 0, 0))).toBe(0);
    expect(of('vector', y([2], 0, 0), y([2], 1, 0))).toBe(1);
    expect(of('vector', y([3], 1, 0, 0), y([2], 1, 0))).toBe(1);
    expect(of('vector', y([2, 2], 1, 0, 1, 0), y([2, 2], 1, 0, 0, 1))).toBe(0.5);
  });
});

describe('value_and_scores', () => {
  it('are_the_distance_over_the_size', () => {
    expect(of('value', y([], 102), y([], 100))).toBeCloseTo(2 / 102, 6);
    expect(of('scores', y([2], 0.5, 0.25), y([2], 0.5, 0.5))).toBeCloseTo(0.25, 12);
    expect(of('value', y([1], 5), y([1], -5))).toBe(1);
    expect(of('value', y([2], 0, 0), y([2], 0, 0))).toBe(0);
    expect(of('value', y([2], 0, 0), y([1], 0))).toBe(1);
    expect(of('value', y([1], Infinity), y([1], 1))).toBe(1);
  });

  it('elements_near_zero_weigh_nothing', () => {
    expect(of('value', y([2], 1, 2e-6), y([2], 1, 1e-6))).toBeLessThan(1e-5);
  });

  it('with_a_scale_are_in_units_of_it', () => {
    expect(of('value', y([2], 10, 100), y([2], 12, 0), { scale: 10 })).toBeCloseTo(0.6, 12);
  });
});

describe('boxes', () => {
  const one = [0, 0, 10, 10, 0.9, 1];
  const far = [50, 50, 60, 60, 0.9, 1];
  const boxes = (...rows: number[][]): Tensor => y([1, rows.length, 6], ...rows.flat());

  it('are_one_minus_f1_of_matched_boxes', () => {
    expect(of('boxes', boxes(one, far), boxes(far, one))).toBe(0);
    expect(of('boxes', boxes(one), boxes(one, far))).toBeCloseTo(1 - 2 / 3, 12);
    expect(of('boxes', boxes(one), boxes(far))).toBe(1);
    expect(of('boxes', boxes(), boxes())).toBe(0);
    expect(of('boxes', boxes(one), boxes())).toBe(1);
    // One box cannot match two.
    expect(of('boxes', boxes(one, one), boxes(one))).toBeCloseTo(1 - 2 / 3, 12);
  });

  it('match_by_half_of_their_union_and_by_class', () => {
    expect(of('boxes', boxes(one), boxes([0, 0, 10, 5, 0.9, 1]))).toBe(0);
    expect(of('boxes', boxes(one), boxes([0, 0, 10, 4.9, 0.9, 1]))).toBe(1);
    expect(of('boxes', boxes(one), boxes([0, 0, 10, 10, 0.9, 2]))).toBe(1);
  });

  it('below_the_least_score_are_none', () => {
    expect(of('boxes', boxes(one), boxes(one, [50, 50, 60, 60, 0.49, 1]))).toBe(0);
    expect(
      of('boxes', boxes(one), boxes(one, [50, 50, 60, 60, 0.49, 1]), { leastScore: 0.4 }),
    ).toBeCloseTo(1 - 2 / 3, 12);
  });

  it('with_fewer_than_four_columns_or_nan_differ', () => {
    expect(of('boxes', y([1, 3], 1, 2, 3), y([1, 3], 1, 2, 3))).toBe(1);
    expect(of('boxes', y([1, 4], NaN, 2, 3, 4), y([1, 4], 1, 2, 3, 4))).toBe(1);
  });
});

describe('sequence', () => {
  it('is_the_edit_distance_over_the_longer_length', () => {
    expect(of('sequence', ids(1, 2, 3, 4), ids(1, 2, 3, 4))).toBe(0);
    expect(of('sequence', ids(1, 2, 3, 4), ids(1, 3, 4))).toBe(0.25);
    expect(of('sequence', ids(1, 2), ids(3, 4, 5, 6))).toBe(1);
    expect(of('sequence', ids(), ids())).toBe(0);
  });

  it('of_scores_is_read_step_by_step_with_repeats_taken_once', () => {
    const steps = (...best: number[]) =>
      y([1, best.length, 3], ...best.flatMap((i) => [0, 1, 2].map((j) => (i === j ? 1 : 0))));
    expect(of('sequence', steps(0, 0, 1, 2), steps(0, 1, 1, 2, 2))).toBe(0);
    expect(of('sequence', steps(0, 1), steps(0, 2))).toBe(0.5);
  });
});

it('an_output_that_is_missing_on_one_side_differs', () => {
  const comparison: Comparison = { output: 'z', kind: 'value' };
  expect(difference(comparison, [y([1], 1)], [y([1], 1)], null)).toBe(1);
  expect(of('none', y([1], 1), y([1], 2))).toBe(0);
});
