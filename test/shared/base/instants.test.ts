// Times that exist, and those that Date.parse would move to another day.
import { expect, it } from 'vitest';
import { instantOf } from '../../../shared/base/instants.js';

it.each([
  ['2026-02-28T23:00:00Z', Date.UTC(2026, 1, 28, 23)],
  ['2024-02-29T01:00:00+02:00', Date.UTC(2024, 1, 28, 23)],
  ['2026-02-30T00:00:00Z', Number.NaN],
  ['2026-04-31T00:00:00Z', Number.NaN],
  ['2026-13-01T00:00:00Z', Number.NaN],
  ['2026-03-01T25:00:00Z', Number.NaN],
])('a_time_is_one_only_where_its_day_exists_%s', (text, at) => {
  expect(instantOf(text)).toBe(at);
});
