// Shares and chances as text, at each change of their digits.
import { expect, it } from 'vitest';
import {
  chanceText,
  limitPercent,
  percent,
  percentBeside,
} from '../../../shared/statistics/share-text.js';

it('numbers_read_as_a_person_would_write_them', () => {
  expect(
    [0, 0.02, 0.041, 0.0994, 0.0995, 0.1, 0.123, 0.41, 0.0004, 0.00094, 0.00095, 1].map(percent),
  ).toEqual([
    '0 %',
    '2 %',
    '4.1 %',
    '9.9 %',
    '10 %',
    '10 %',
    '12 %',
    '41 %',
    '0.04 %',
    '0.09 %',
    '0.1 %',
    '100 %',
  ]);
  const chances = [100, 259, 1000, 0.5, 1.5, 99.9, 2.5e6].map(Math.log);
  expect([...chances, 4000, 0].map(chanceText)).toEqual([
    '1 in 100',
    '1 in 200',
    '1 in 1,000',
    '1 in 1',
    '1 in 1',
    '1 in 90',
    '1 in 2,000,000',
    '1 in 1,000,000,000',
    '1 in 1',
  ]);
});

it('limits_in_permille_are_exact', () => {
  expect([0.501, 0.5, 0.125, 0.001, 0.999].map(limitPercent)).toEqual([
    '50.1 %',
    '50 %',
    '12.5 %',
    '0.1 %',
    '99.9 %',
  ]);
});

it('share_that_misses_its_limit_by_little_does_not_read_as_the_limit', () => {
  expect(percentBeside(0.9, 0.8996)).toBe('89.96 %');
  expect(percentBeside(0.9, 0.89999999)).toBe('89.999999 %');
  expect(percentBeside(0.9, 0.9)).toBe('90 %');
  expect(percentBeside(0.9, 0.8123)).toBe('81 %');
  expect(percentBeside(0.05, 0.0504)).toBe('5.04 %');
});
