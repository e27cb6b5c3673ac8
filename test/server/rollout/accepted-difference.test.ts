// A release differs more in the field than it declares: its devices go back, the rollout is held,
// and a person accepts the number that the field showed, or drops the release.
import { describe, expect, it } from 'vitest';
import { policyComplaints } from '../../../shared/protocol/policy-complaints.js';
import { policyOf, SimFleet } from '../../sim/fleet.js';
import { by } from '../../support/audit-actions.js';
import { assignmentOf, firstWith, isWith, oneWave, onBad } from '../../support/rollout-fleets.js';

const trial = { ...policyOf().trial, differenceCapPermille: 500, maxSeconds: 300 };

async function held() {
  const fleet = new SimFleet({ nature: onBad('differing') });
  const id = await fleet.begin('1.2.0', oneWave({ trial }));
  await fleet.until(() => fleet.row(id).state === 'held');
  const accept = (permille: number, command: 'resume' | 'abort' = 'resume') =>
    fleet.operators.command(id, command, by('ann'), { acceptDifferencePermille: permille });
  return { fleet, id, accept };
}

describe('a rollout whose devices differ more than the release declares', () => {
  it('is_held_with_the_numbers_and_says_how_they_are_accepted', async () => {
    const { fleet, id } = await held();
    expect(fleet.versions()).toBe('1.0.0 1.0.0 1.0.0 1.0.0 1.0.0 1.0.0');
    const reasons = fleet.row(id).reasons.join('\n');
    expect(reasons).toMatch(/1 device answers more differently than the release declares/);
    expect(reasons).toMatch(/differ by 15 %.*the limit is 10 %/);
    expect(reasons).toMatch(/resume --accept-difference PERCENT/);
  });

  it('completes_on_all_devices_when_a_person_accepts_what_the_field_shows', async () => {
    const { fleet, id, accept } = await held();
    const at = firstWith(fleet, id, 'differs');
    const before = assignmentOf(fleet, at)!.assignmentId;
    const view = await accept(400);
    expect(view.reasons.join('\n')).toMatch(/accepted: 40 %/);
    expect(fleet.member(id, at)).toMatchObject({ state: 'waiting', failed: false });
    await fleet.until(() => fleet.row(id).state === 'completed');
    expect(fleet.versions()).toBe('1.2.0 1.2.0 1.2.0 1.2.0 1.2.0 1.2.0');
    expect(assignmentOf(fleet, at)!.assignmentId).toBeGreaterThan(before);
    expect(assignmentOf(fleet, at)!.trial.acceptedDifferencePermille).toBe(400);
  });

  it('gives_devices_that_are_in_their_trial_the_accepted_limit_under_the_same_id', async () => {
    const fleet = new SimFleet({ nature: onBad('differing') });
    const id = await fleet.begin('1.2.0', oneWave({ trial, startWindow: 3, kindWindow: 3 }));
    await fleet.until(isWith(fleet, id, 'trial', 3));
    const slow = firstWith(fleet, id, 'trial');
    fleet.devices[slow]!.silent = true;
    await fleet.until(() => fleet.row(id).state === 'held');
    const before = assignmentOf(fleet, slow)!;
    await fleet.operators.command(id, 'resume', by('ann'), { acceptDifferencePermille: 400 });
    await fleet.conductor.pass();
    const after = assignmentOf(fleet, slow)!;
    expect(after.assignmentId).toBe(before.assignmentId);
    expect(after.trial).toEqual({ ...before.trial, acceptedDifferencePermille: 400 });
  });

  it('refuses_to_accept_more_than_the_cap_or_without_a_device_that_differs', async () => {
    const { fleet, id, accept } = await held();
    await expect(accept(600)).rejects.toThrow(/60 % is above its cap of 50 %/);
    await expect(accept(200, 'abort')).rejects.toThrow(/accepted with resume/);
    expect(fleet.row(id).state).toBe('held');
    const other = new SimFleet();
    const fine = await other.begin('1.1.0');
    await other.operators.command(fine, 'pause', by('ann'));
    const asked = { acceptDifferencePermille: 200 };
    await expect(other.operators.command(fine, 'resume', by('ann'), asked)).rejects.toThrow(
      /when devices went back for it/,
    );
  });

  it('is_not_accepted_before_the_field_has_shown_it', () => {
    const policy = policyOf({ trial: { ...trial, acceptedDifferencePermille: 400 } });
    expect(policyComplaints(policy).join()).toMatch(/resume --accept-difference sets it/);
  });
});
