// When a device polls again, by what the server said.
import { expect, it } from 'vitest';
import { PollPace } from '../../../agent/update/poll-pace.js';

const paceOf = (fraction: number): PollPace =>
  new PollPace({
    everyMs: 60_000,
    random: { bytes: () => new Uint8Array(0), fraction: () => fraction },
  });

it('regular_polls_are_spread_by_20_percent', () => {
  expect([0, 0.5, 0.999].map((fraction) => Math.round(paceOf(fraction).waitMs(null)))).toEqual([
    54_000, 60_000, 65_988,
  ]);
});

it('server_that_is_behind_is_asked_no_earlier_than_it_said_and_later_each_time', () => {
  const pace = paceOf(0);
  const waits = [2_000, 2_000, 2_000].map((ms) => pace.waitMs(ms));
  expect(waits).toEqual([2_000, 4_000, 8_000]);
  pace.waitMs(null);
  expect(pace.waitMs(2_000)).toBe(2_000);
});

it('refusals_without_end_are_no_further_apart_than_regular_polls', () => {
  const pace = paceOf(0.999);
  const waits = Array.from({ length: 10 }, () => pace.waitMs(2_000));
  expect(Math.max(...waits)).toBeLessThanOrEqual(60_000);
  expect(pace.waitMs(999_999_000)).toBeLessThanOrEqual(60_000);
});
