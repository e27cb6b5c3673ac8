// How long signed metadata is valid, and from when it is renewed.
import { expect, it } from 'vitest';
import { renewalDue, targetsWarningMs, validityMs } from '../../../shared/trust/validity.js';

it('metadata_is_valid_for_these_days', () => {
  const days = (ms: number): number => ms / (24 * 3600 * 1000);
  expect(
    Object.fromEntries(Object.entries(validityMs).map(([name, ms]) => [name, days(ms)])),
  ).toEqual({ root: 1825, imageTargets: 365, imageSnapshot: 7, imageTimestamp: 1, director: 1 });
  expect(days(targetsWarningMs)).toBe(30);
});

it('renewal_is_due_from_half_of_the_life_on', () => {
  expect(renewalDue(1049, 1100, 100)).toBe(false);
  expect(renewalDue(1050, 1100, 100)).toBe(true);
  expect(renewalDue(2000, 1100, 100)).toBe(true);
});
