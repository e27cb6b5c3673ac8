// Differences of two answers under a tolerance, from both sides of it.
import { describe, expect, it } from 'vitest';
import { worstOf } from '../../../../agent/inference/model/compare.js';
import { tensorOf } from '../../../../agent/inference/model/tensor.js';
import { fp32 } from '../../../support/inference-releases.js';

it('differences_follow_the_tolerance_of_the_manifest_element_by_element', () => {
  const golden = [fp32('y', [2], [10, 0])];
  const tolerance = { absolute: 0.1, relative: 0.01 };
  expect(worstOf([fp32('y', [2], [10.19, 0.09])], golden, tolerance)).toMatchObject({
    within: true,
  });
  expect(worstOf([fp32('y', [2], [10, 0.11])], golden, tolerance)).toMatchObject({
    within: false,
    reasons: expect.stringContaining('element 1') as string,
  });
  expect(worstOf([fp32('y', [2], [NaN, 0])], golden, tolerance)).toMatchObject({
    within: false,
    worst: Infinity,
  });
  expect(worstOf([fp32('y', [1, 2], [10, 0])], golden, tolerance).reasons).toMatch(
    /FP32\[1,2\], expected FP32\[2\]/,
  );
});

const y = (...values: number[]) => fp32('y', [values.length], values);

describe('tolerance', () => {
  it.each([
    [{ absolute: 0.5, relative: 0 }, 10.5, 0.5, true],
    [{ absolute: 0.5, relative: 0 }, 9.5, 0.5, true],
    [{ absolute: 0.5, relative: 0 }, 10.75, 0.75, false],
    [{ absolute: 0.5, relative: 0 }, 9.25, 0.75, false],
    [{ absolute: 0, relative: 0.125 }, 11.25, 1.25, true],
    [{ absolute: 0, relative: 0.125 }, 11.5, 1.5, false],
    [{ absolute: 0.5, relative: 0.125 }, 11.75, 1.75, true],
    [{ absolute: 0.5, relative: 0.125 }, 12, 2, false],
    [{ absolute: 0, relative: 0 }, 10, 0, true],
  ])('%j_against_10_with_%d', (tolerance, value, worst, within) => {
    expect(worstOf([y(value)], [y(10)], tolerance)).toMatchObject({ worst, within });
    expect(worstOf([y(-value)], [y(-10)], tolerance)).toMatchObject({ worst, within });
  });
});

describe('the worst difference', () => {
  const exact = { absolute: 0, relative: 0 };

  it('is_the_largest_of_all_elements_and_the_first_outside_is_named', () => {
    expect(worstOf([y(1, 2.5, 6)], [y(1, 2, 3)], exact)).toEqual({
      within: false,
      worst: 3,
      reasons: 'output y element 1 is 2.5, golden 2',
    });
  });

  it('covers_all_outputs_and_names_the_first_that_differs', () => {
    const got = [y(1), fp32('z', [1], [9]), fp32('w', [1], [100])];
    const golden = [y(1), fp32('z', [1], [8]), fp32('w', [1], [1])];
    expect(worstOf(got, golden, exact)).toEqual({
      within: false,
      worst: 99,
      reasons: 'output z element 0 is 9, golden 8',
    });
  });

  it('outputs_are_matched_by_name', () => {
    const golden = [y(1), fp32('z', [1], [2])];
    expect(worstOf([fp32('z', [1], [2]), y(1)], golden, exact)).toEqual({
      within: true,
      worst: 0,
      reasons: '',
    });
  });

  it.each([
    ['nan', [y(NaN)], [y(1)]],
    ['nan_in_the_golden_answer', [y(1)], [y(NaN)]],
    ['infinity', [y(Infinity)], [y(1)]],
  ])('%s_is_never_within', (_, got, golden) => {
    expect(worstOf(got, golden, { absolute: 1e9, relative: 1 })).toMatchObject({
      within: false,
      worst: Infinity,
    });
  });

  it.each([
    ['an_output_too_few', [], [y(1)], '0 outputs, expected 1'],
    ['an_output_too_many', [y(1), y(1)], [y(1)], '2 outputs, expected 1'],
    ['another_name', [fp32('z', [1], [1])], [y(1)], 'no output y'],
    ['another_shape', [fp32('y', [1, 1], [1])], [y(1)], 'output y is FP32[1,1], expected FP32[1]'],
    [
      'another_datatype',
      [tensorOf('y', 'INT32', [1], Int32Array.of(1))],
      [y(1)],
      'output y is INT32[1], expected FP32[1]',
    ],
  ])('%s_cannot_be_compared', (_, got, golden, reasons) => {
    expect(worstOf(got, golden, { absolute: 1, relative: 1 })).toEqual({
      within: false,
      worst: Infinity,
      reasons,
    });
  });

  it('integers_of_64_bits_are_compared', () => {
    const of = (value: bigint) => [tensorOf('y', 'INT64', [1], BigInt64Array.of(value))];
    expect(worstOf(of(7n), of(5n), exact)).toEqual({
      within: false,
      worst: 2,
      reasons: 'output y element 0 is 7, golden 5',
    });
  });
});
