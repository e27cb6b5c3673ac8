// The watch without an end: its exact values.
import { expect, it } from 'vitest';
import {
  alarmThreshold,
  detectorValue,
  emptyDetector,
  observeStep,
} from '../../../shared/statistics/condition-detector.js';
import { betFactors } from '../../../shared/statistics/betting.js';

it('starts_at_zero_and_adds_each_step_as_a_possible_change', () => {
  expect(detectorValue(emptyDetector())).toBe(0);
  const factors = betFactors(1, 0.05);
  const mean = (values: readonly number[]) => values.reduce((a, b) => a + b) / values.length;
  const one = observeStep(emptyDetector(), 1, 0.05);
  expect(detectorValue(one)).toBeCloseTo(mean(factors), 9);
  const two = observeStep(one, 1, 0.05);
  expect(detectorValue(two)).toBeCloseTo(mean(factors.map((f) => f * (1 + f))), 6);
  // What is exactly at the limit counts steps.
  expect(detectorValue(observeStep(observeStep(emptyDetector(), 0.05, 0.05), 0.05, 0.05))).toBe(2);
});

it('a_value_outside_the_scale_is_clamped', () => {
  expect(observeStep(emptyDetector(), 7, 0.05)).toEqual(observeStep(emptyDetector(), 1, 0.05));
  expect(observeStep(emptyDetector(), -7, 0.05)).toEqual(observeStep(emptyDetector(), 0, 0.05));
});

it('the_threshold_is_streams_times_steps_between_alarms', () => {
  expect(alarmThreshold({ streams: 6000, daysBetweenAlarms: 90, stepsPerDay: 1 })).toBe(540_000);
  expect(alarmThreshold({ streams: 1, daysBetweenAlarms: 90, stepsPerDay: 24 })).toBe(2160);
});

it('sums_never_overflow', () => {
  let state = emptyDetector();
  for (let step = 0; step < 10_000; step++) state = observeStep(state, 1, 0.01);
  expect(detectorValue(state)).toBe(1e15);
});
