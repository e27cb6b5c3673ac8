// The sketch of quantiles: bins against their formula, quantiles against the values themselves.
import { describe, expect, it } from 'vitest';
import { complaints } from '../../../shared/base/decode.js';
import { QuantileSketch, Sketch } from '../../../shared/statistics/quantile-sketch.js';

/** A bin ends where the next value could be off by more than 2 %. */
const GAMMA = 1.02 / 0.98;
const sketchOf = (...values: readonly number[]): QuantileSketch => {
  const sketch = new QuantileSketch();
  for (const value of values) sketch.add(value);
  return sketch;
};

describe('bins', () => {
  it.each([
    [1, 0],
    [1.0001, 1],
    [GAMMA ** 3 * 0.999, 3],
    [GAMMA ** 3 * 1.001, 4],
    [100, 116],
    [0.01, -115],
    [1e-300, -350],
    [0, -350],
    [-7, -350],
    [1e300, 520],
  ])('of_%d_is_%d', (value, bin) => {
    expect(sketchOf(value).toSketch()).toEqual({ count: 1, bins: [[bin, 1]] });
  });

  it('are_sorted_and_hold_how_often', () => {
    const sketch = sketchOf(100, 1, 100);
    sketch.add(0.01, 5);
    expect(sketch.count).toBe(8);
    expect(sketch.toSketch()).toEqual({
      count: 8,
      bins: [
        [-115, 5],
        [0, 1],
        [116, 2],
      ],
    });
  });

  it('at_both_ends_fit_the_wire_form_and_none_beyond_does', () => {
    expect(complaints(Sketch, sketchOf(0, 1e300).toSketch())).toEqual([]);
    for (const bin of [-351, 521])
      expect(complaints(Sketch, { count: 1, bins: [[bin, 1]] })).not.toEqual([]);
    const every = Array.from({ length: 871 }, (_, i) => [i - 350, 1]);
    expect(complaints(Sketch, { count: 871, bins: every })).toEqual([]);
    expect(complaints(Sketch, { count: 872, bins: [...every, [0, 1]] })).not.toEqual([]);
    for (const wrong of [
      { count: -1, bins: [] },
      { count: 0, bins: [[0, 0]] },
      { count: 0, bins: [], sum: 1 },
    ])
      expect(complaints(Sketch, wrong)).not.toEqual([]);
  });
});

describe('a quantile', () => {
  it.each([0, 0.01, 0.25, 0.5, 0.9, 0.99, 1])('%d_is_within_2_percent', (q) => {
    const values = Array.from({ length: 1000 }, (_, i) => (i + 1) ** 2);
    const exact = values[Math.min(999, Math.floor(q * 1000))] ?? 0;
    const found = sketchOf(...values).quantile(q) ?? 0;
    expect(Math.abs(found / exact - 1)).toBeLessThanOrEqual(0.02 + 1e-9);
  });

  it('is_the_middle_of_its_bin', () => {
    expect(sketchOf(100).quantile(0.5)).toBeCloseTo((2 * GAMMA ** 116) / (GAMMA + 1), 9);
    // Of four values, the quantile 0.5 is the third.
    const sketch = sketchOf(1, 1, 100, 100);
    expect([0, 0.49, 0.5, 1].map((q) => (sketch.quantile(q) ?? 0) > 50)).toEqual([
      false,
      false,
      true,
      true,
    ]);
  });

  it('of_nothing_is_null', () => {
    expect(new QuantileSketch().quantile(0.5)).toBeNull();
    const sketch = sketchOf(1, 2);
    sketch.clear();
    expect(sketch.quantile(0.5)).toBeNull();
    expect(sketch.toSketch()).toEqual({ count: 0, bins: [] });
  });
});

it('sketches_of_devices_merge_into_that_of_all_values', () => {
  const fleet = sketchOf(1, 100);
  fleet.merge(sketchOf(100, 0.01, 100).toSketch());
  expect(fleet.toSketch()).toEqual(sketchOf(1, 100, 100, 0.01, 100).toSketch());
  expect(fleet.count).toBe(5);
});
