// The verdict of rehearsals after simulated traffic, with the device's own code: a release within
// its limit is not refused, a wrong one is, and where the inputs change too slowly there may be no
// verdict (which passes it on to its trial).
import { describe, expect, it } from 'vitest';
import { rehearsalAfterTraffic } from '../../sim/rehearsal-traffic.js';
import { isWhole } from '../../support/whole.js';

type Options = Omit<Parameters<typeof rehearsalAfterTraffic>[0], 'seed'>;

/** In each of them a verdict is expected, not on average. */
const RUNS = isWhole ? 10 : 4;
const verdicts = (options: Options): string[] =>
  Array.from(
    { length: RUNS },
    (_, i) => rehearsalAfterTraffic({ ...options, seed: 500 + 13 * i }).verdict,
  );
const all = (verdict: string): string[] => new Array<string>(RUNS).fill(verdict);

const TRAFFIC: Options[] = [
  { perHour: 10, hours: 24 },
  { perHour: 60, hours: 3 },
  { perHour: 1200, hours: 1 },
  { perHour: 1200, hours: 5, framesPerScene: 10 },
  { perHour: 1200, hours: 8, framesPerScene: 40 },
  { perHour: 1200, hours: 6, sceneSeconds: 60 },
];

describe('a_release_that_differs', () => {
  it.each(TRAFFIC)('nowhere_is_not_refused_after_%j', (traffic) => {
    expect(verdicts(traffic)).toEqual(all('pass'));
  });

  it.each(TRAFFIC)('as_much_as_its_limit_is_not_refused_after_%j', (traffic) => {
    expect(verdicts({ ...traffic, differing: 0.1 })).toEqual(all('pass'));
    const policy = { differenceCapPermille: 400 };
    const declared = { differing: 0.345, declaredPermille: 345, policy };
    expect(verdicts({ ...traffic, ...declared })).toEqual(all('pass'));
  });

  it.each(TRAFFIC)('on_half_of_the_inputs_is_refused_after_%j', (traffic) => {
    expect(verdicts({ ...traffic, differing: 0.52 })).toEqual(all('fail'));
  });

  it('is_not_judged_on_few_inputs_or_few_scenes', () => {
    expect(verdicts({ perHour: 10, hours: 1, differing: 1 })).toEqual(all('pass'));
    const slow = { perHour: 1200, hours: 1, sceneSeconds: 600 };
    expect(verdicts({ ...slow, differing: 0.1 })).toEqual(all('pass'));
  });
});
