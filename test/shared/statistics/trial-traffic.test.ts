// The verdict under simulated live traffic, gathered by the device's own code. A short part of the
// table that `npm run sim:trials` prints: no verdict is an allowed answer, a wrong one is not.
import { describe, expect, it } from 'vitest';
import { trialUnderTraffic, type TrafficOptions } from '../../sim/trial-traffic.js';
import { isWhole } from '../../support/whole.js';

const RUNS = isWhole ? 10 : 4;

function verdicts(options: Omit<TrafficOptions, 'seed'>, runs = RUNS): string[] {
  return Array.from(
    { length: runs },
    (_, i) => trialUnderTraffic({ seed: 1000 + 7 * i, ...options }).verdict.verdict,
  );
}
const all = (verdict: string, runs = RUNS): string[] => new Array<string>(runs).fill(verdict);

describe('an_identical_model', () => {
  it.each([5, 60])('with_%d_requests_an_hour_is_unproven', (perHour) => {
    expect(verdicts({ perHour, badInputs: 0.05 })).toEqual(all('unproven'));
  });

  it.each([600, 3600, 10_000])('with_%d_requests_an_hour_passes', (perHour) => {
    expect(verdicts({ perHour })).toEqual(all('pass'));
    expect(verdicts({ perHour, badInputs: 0.05 })).toEqual(all('pass'));
  });

  it.each<Omit<TrafficOptions, 'seed'>>([
    { perHour: 600, flaky: 0.02 },
    { perHour: 3600, flaky: 0.05 },
    { perHour: 10_000, flaky: 0.05 },
    { perHour: 600, framesPerScene: 20 },
    { perHour: 3600, framesPerScene: 5 },
    { perHour: 10_000, framesPerScene: 100 },
    { perHour: 10_000, sceneSeconds: 120 },
  ])('is_never_sent_back_%j', (options) => {
    for (const verdict of verdicts(options)) expect(['pass', 'unproven']).toContain(verdict);
  });
});

describe('a_release_at_its_limit', () => {
  it.each<Omit<TrafficOptions, 'seed' | 'perHour'>>([
    {},
    { framesPerScene: 5 },
    { framesPerScene: 100 },
    { sceneSeconds: 30 },
    { sceneSeconds: 120 },
  ])('is_neither_passed_nor_sent_back_%j', (options) => {
    expect(verdicts({ perHour: 3600, differing: 0.1, ...options })).toEqual(all('unproven'));
  });
});

describe('a_20_percent_wrong_model', () => {
  it.each<Omit<TrafficOptions, 'seed'>>([
    { perHour: 5 },
    { perHour: 600 },
    { perHour: 3600, framesPerScene: 20 },
    { perHour: 10_000, framesPerScene: 5 },
    { perHour: 10_000, framesPerScene: 100 },
    { perHour: 10_000, sceneSeconds: 60 },
  ])('never_passes_%j', (options) => {
    expect(verdicts({ differing: 0.2, ...options })).not.toContain('pass');
  });

  it('is_sent_back_where_inputs_are_independent', () => {
    const found = verdicts({ perHour: 3600, differing: 0.2 });
    expect(found.every((verdict) => ['fail', 'differs_more_than_declared'].includes(verdict))).toBe(
      true,
    );
  });
});

it('a_model_that_is_always_wrong_is_found_in_scenes_of_two_minutes', () => {
  expect(verdicts({ perHour: 3600, differing: 1, sceneSeconds: 120 }, 5)).toEqual(all('fail', 5));
});

describe('an_honest_improvement', () => {
  it.each([
    [0.15, 195],
    [0.3, 345],
  ])('that_changes_%d_passes_when_declared_and_allowed', (differing, declaredPermille) => {
    const policy = { differenceCapPermille: 400 };
    expect(verdicts({ perHour: 10_000, differing, declaredPermille, policy })).toEqual(all('pass'));
  });

  it('that_changes_15_percent_and_does_not_say_so_is_for_a_person', () => {
    expect(verdicts({ perHour: 10_000, differing: 0.15 })).toEqual(
      all('differs_more_than_declared'),
    );
  });

  it('that_changes_30_percent_beyond_the_cap_fails', () => {
    expect(verdicts({ perHour: 10_000, differing: 0.3, declaredPermille: 345 })).toEqual(
      all('fail'),
    );
  });
});

it('a_release_that_fails_a_twentieth_of_its_requests_is_found', () => {
  expect(verdicts({ perHour: 3600, newFails: 0.05 })).toEqual(all('fail'));
});

it('a_release_twice_as_slow_is_for_a_person_and_one_a_tenth_slower_passes', () => {
  expect(verdicts({ perHour: 3600, slowdown: 2 })).toEqual(all('differs_more_than_declared'));
  expect(verdicts({ perHour: 3600, slowdown: 1.1 })).toEqual(all('pass'));
});
