// The watch without an end: exact first values, mean time between false alarms, and how soon a
// change is found.
import { expect, it } from 'vitest';
import {
  alarmThreshold,
  detectorValue,
  emptyDetector,
  observeStep,
} from '../../../shared/statistics/condition-detector.js';
import { betFactors } from '../../../shared/statistics/betting.js';
import { seeded } from '../../support/random.js';

/** Steps until the alarm, at most `most`. */
function stepsToAlarm(threshold: number, draw: (step: number) => number, most: number): number {
  let state = emptyDetector();
  for (let step = 1; step <= most; step++) {
    state = observeStep(state, draw(step), 0.05);
    if (detectorValue(state) >= threshold) return step;
  }
  return most;
}

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

it('false_alarms_are_at_least_the_threshold_apart_on_average', () => {
  const random = seeded(90);
  const steps = Array.from({ length: 200 }, () =>
    stepsToAlarm(500, () => (random() < 0.05 ? 1 : 0), 20_000),
  );
  expect(steps.reduce((a, b) => a + b) / steps.length).toBeGreaterThan(500);
  expect(Math.min(...steps)).toBeLessThan(20_000);
});

it('a_change_after_a_long_quiet_time_is_found_soon', () => {
  const random = seeded(91);
  const delays = Array.from({ length: 100 }, () => {
    const at = stepsToAlarm(
      540_000,
      (step) => (random() < (step > 2000 ? 0.5 : 0.02) ? 1 : 0),
      5000,
    );
    return at - 2000;
  });
  expect(delays.every((delay) => delay > 0 && delay < 100)).toBe(true);
});

it('sums_never_overflow', () => {
  let state = emptyDetector();
  for (let step = 0; step < 10_000; step++) state = observeStep(state, 1, 0.01);
  expect(detectorValue(state)).toBe(1e15);
});
