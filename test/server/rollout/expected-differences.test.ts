// A release that declares more than a policy accepts is drafted only when somebody takes that.
import { describe, expect, it } from 'vitest';
import type { TrialPolicy } from '../../../shared/statistics/trial-verdict.js';
import { by } from '../../support/audit-actions.js';
import { COMPONENT, policyOf, releaseOf, SimFleet } from '../../sim/fleet.js';
import { refused } from '../../support/metadata-device.js';

const FIFTEEN = 'answers of logits differ from 1.0.0 by 15 % (n 500; limit 21 %)';

/** A fleet that runs 1.0.0; release 1.1.0 was measured against `base`. */
function fleetWith(base = '1.0.0', mean = 0.15, limitPermille = 210): SimFleet {
  const fleet = new SimFleet();
  const { digest } = releaseOf(base);
  fleet.store.releases.set('1.1.0', {
    ref: releaseOf('1.1.0'),
    hardware: ['pi4'],
    declared: [{ base: digest, version: base, output: 'logits', mean, count: 500, limitPermille }],
  });
  return fleet;
}

const request = (trial: Partial<TrialPolicy> = {}, acceptDifference?: boolean) => ({
  component: COMPONENT,
  version: '1.1.0',
  policy: policyOf({ trial: { ...policyOf().trial, ...trial } }),
  ...(acceptDifference === undefined ? {} : { acceptDifference }),
});

describe('a_rollout_beyond_the_policy', () => {
  it('is_refused_with_the_numbers_and_drafts_nothing', async () => {
    const fleet = fleetWith();
    for (const said of [undefined, false]) {
      const creating = fleet.operators.create(request({}, said), by('ann'));
      const { detail } = await refused(creating, 'difference_not_accepted');
      expect(detail).toBe(`${FIFTEEN}; the policy's limit is 10 %`);
    }
    expect(fleet.store.rows.size).toBe(0);
  });

  it('is_drafted_with_the_acceptance_which_is_kept', async () => {
    const fleet = fleetWith();
    const { id, reasons } = await fleet.operators.create(request({}, true), by('ann'));
    expect(reasons).toContain(FIFTEEN);
    expect(reasons.at(-1)).toBe(`ann accepts: ${FIFTEEN}; the policy's limit is 10 %`);
    expect(fleet.row(id).policy.trial.differenceCapPermille).toBe(200);
  });

  it('says_so_when_the_number_is_beyond_the_cap_too', async () => {
    const creating = fleetWith('1.0.0', 0.3, 366).operators.create(request(), by('ann'));
    const { detail } = await refused(creating, 'difference_not_accepted');
    expect(detail).toContain('(n 500; limit 36.6 %), beyond the cap of 20 %: devices will fail it');
  });

  it('is_shown_by_the_preview_which_refuses_nothing', async () => {
    const { warnings } = await fleetWith().operators.preview(request());
    expect(warnings.slice(0, 2)).toEqual([
      FIFTEEN,
      `to be accepted (--accept-difference): ${FIFTEEN}; the policy's limit is 10 %`,
    ]);
  });
});

describe('a_rollout_within_the_policy', () => {
  it('needs_no_acceptance_and_says_the_number', async () => {
    const fleet = fleetWith('1.0.0', 0.042, 91);
    const { reasons } = await fleet.operators.create(request(), by('ann'));
    const said = 'answers of logits differ from 1.0.0 by 4.2 % (n 500; limit 9.1 %)';
    expect(reasons.at(-1)).toBe(said);
    expect((await fleet.operators.preview(request())).warnings[0]).toBe(said);
  });

  it('a_policy_with_a_higher_limit_accepts_it_by_itself', async () => {
    const { reasons } = await fleetWith().operators.create(
      request({ differenceLimitPermille: 210, differenceCapPermille: 300 }),
      by('ann'),
    );
    expect(reasons.at(-1)).toBe(FIFTEEN);
  });

  it('a_release_that_declares_nothing_is_drafted_as_ever', async () => {
    const { reasons } = await new SimFleet().operators.create(request(), by('ann'));
    expect(reasons).toHaveLength(2);
  });
});

it('devices_on_a_base_that_was_not_measured_have_the_cap_as_limit_which_somebody_takes', async () => {
  const fleet = fleetWith('1.2.0', 0.01, 40);
  const { detail } = await refused(
    fleet.operators.create(request(), by('ann')),
    'difference_not_accepted',
  );
  expect(detail).toBe(
    "6 devices run 1.0.0, from which it was not measured (limit 20 %, the policy's cap); " +
      "the policy's limit is 10 %",
  );
  await fleet.operators.create(request({}, true), by('ann'));
  await fleet.operators.create(request({ differenceCapPermille: 100 }), by('ann'));
});
