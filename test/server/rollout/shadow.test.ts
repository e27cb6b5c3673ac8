// Strategy `shadow`: devices compare the release with what they serve, and the end is a report.
import { describe, expect, it } from 'vitest';
import { report } from '../../../server/rollout/shadow.js';
import type { RolloutPolicy } from '../../../shared/protocol/operator-api.js';
import { policyComplaints } from '../../../shared/protocol/policy-complaints.js';
import { COMPONENT, policyOf, releaseOf, SimFleet } from '../../sim/fleet.js';
import { by } from '../../support/audit-actions.js';
import {
  assignmentOf,
  firstWith,
  isWith,
  membersOf,
  onBad,
  refuses,
  switchOff,
} from '../../support/rollout-fleets.js';
import { member, rollout, situation } from '../../support/rollout-rows.js';

const shadow = (change: Partial<RolloutPolicy> = {}): RolloutPolicy =>
  policyOf({ strategy: 'shadow', startWindow: 3, ...change });

const ALL = '1.0.0 1.0.0 1.0.0 1.0.0 1.0.0 1.0.0';

async function ended(version: string, fleet = new SimFleet({ nature: onBad('bad') })) {
  const id = await fleet.begin(version, shadow());
  const served = new Set<string>();
  await fleet.until(() => {
    served.add(fleet.versions());
    return fleet.row(id).state === 'reported';
  });
  return { fleet, id, served };
}

describe('a shadow rollout', () => {
  it('of_a_good_release_ends_with_its_report_and_no_device_ever_served_it', async () => {
    const { fleet, id, served } = await ended('1.1.0');
    expect([...served]).toEqual([ALL]);
    expect(fleet.states(id)).toBe('shadowed shadowed shadowed shadowed shadowed shadowed');
    const reasons = fleet.row(id).reasons.join('\n');
    expect(reasons).toMatch(/6 of 6 devices compared 1\.1\.0 with what they serve/);
    expect(reasons).toMatch(/6 would be confirmed/);
  });

  it('of_a_wrong_release_says_so_with_the_arithmetic_and_halts_nothing', async () => {
    const { fleet, id, served } = await ended('1.2.0');
    expect([...served]).toEqual([ALL]);
    expect(fleet.row(id).reasons.join('\n')).toMatch(/6 would roll it back: .*differ/);
    const { shadow: seen, arms } = await fleet.operators.view(id);
    expect(arms).toBeNull();
    expect(seen).toMatchObject({
      devices: 6,
      compared: 6,
      verdicts: [{ verdict: 'fail', devices: 6 }],
      outputs: [{ output: 'logits', devices: 6, limit: 0.1, cap: 0.2 }],
    });
    expect(seen!.outputs[0]!.mean).toBeGreaterThan(0.2);
    expect(seen!.outputs[0]!.worst).toBeGreaterThanOrEqual(seen!.outputs[0]!.mean);
    expect(membersOf(fleet, id).every(({ failed }) => !failed)).toBe(true);
  });

  it('assigns_each_device_what_it_serves_as_soon_as_its_comparison_is_over', async () => {
    const fleet = new SimFleet();
    const id = await fleet.begin('1.1.0', shadow());
    await fleet.until(isWith(fleet, id, 'shadowed', 1));
    const at = firstWith(fleet, id, 'shadowed');
    expect(assignmentOf(fleet, at)).toMatchObject({
      release: releaseOf('1.0.0'),
      rollback: true,
      activation: 'swap',
    });
  });

  it('is_no_standing_release_and_no_take_of_a_later_rollout', async () => {
    const { fleet, id } = await ended('1.1.0');
    await fleet.seconds(20);
    expect(fleet.versions()).toBe(ALL);
    expect(fleet.store.takeRows.get(releaseOf('1.1.0').digest)).toBeUndefined();
    expect(fleet.store.takeRows.get(id)).toHaveLength(6);
    const real = await fleet.begin('1.1.0');
    await fleet.until(() => fleet.row(real).state === 'completed');
    expect(fleet.versions()).toBe(ALL.replaceAll('1.0.0', '1.1.0'));
  });

  it('that_devices_cannot_probe_is_halted', async () => {
    const fleet = new SimFleet({ canaries: 0, fleet: 6 });
    const waves = [{ name: 'all', percent: 100, soakSeconds: 0, approval: false }];
    fleet.devices.forEach((_, n) => refuses(fleet, n, 'host_crash'));
    const id = await fleet.begin('1.1.0', shadow({ waves }));
    await fleet.until(() => fleet.row(id).state === 'reverted');
    expect(fleet.row(id).reasons.join('; ')).toMatch(/host_crash/);
    expect(fleet.versions()).toBe(ALL);
  });

  it('excuses_a_device_on_which_nothing_serves', async () => {
    const fleet = new SimFleet({ running: null });
    fleet.devices.forEach((_, n) => refuses(fleet, n, 'shadow_needs_serving'));
    const id = await fleet.begin('1.1.0', shadow());
    await fleet.until(isWith(fleet, id, 'excused', 1));
    const at = firstWith(fleet, id, 'excused');
    expect(fleet.member(id, at).failed).toBe(false);
    expect(assignmentOf(fleet, at)?.release).toBeNull();
  });

  it('whose_last_wave_cannot_be_compared_is_reported_and_not_completed_when_resumed', async () => {
    const fleet = new SimFleet({ canaries: 0, fleet: 3 });
    fleet.devices.forEach((_, n) => refuses(fleet, n, 'shadow_needs_serving'));
    const waves = [{ name: 'all', percent: 100, soakSeconds: 0, approval: false }];
    const id = await fleet.begin('1.1.0', shadow({ waves }));
    await fleet.until(() => fleet.row(id).state === 'held');
    expect(fleet.row(id).reasons.join()).toMatch(/cannot be proven/);
    await fleet.operators.command(id, 'resume', by('ann'));
    await fleet.until(() => fleet.row(id).state === 'reported');
  });

  it('aborted_leaves_every_device_on_what_it_serves', async () => {
    const fleet = new SimFleet();
    const id = await fleet.begin('1.1.0', shadow());
    await fleet.until(isWith(fleet, id, 'trial', 1));
    await fleet.operators.command(id, 'abort', by('ann'));
    await fleet.until(() => fleet.row(id).state === 'reverted');
    await fleet.seconds(10);
    expect(fleet.versions()).toBe(ALL);
  });

  it('leaves_no_device_with_its_assignment_when_it_ends_without_some', async () => {
    const fleet = new SimFleet({ canaries: 0, fleet: 6 });
    const waves = [{ name: 'all', percent: 100, soakSeconds: 0, approval: false, minProven: 4 }];
    const id = await fleet.begin('1.1.0', shadow({ waves }));
    await fleet.until(isWith(fleet, id, 'shadowed', 2));
    await fleet.until(isWith(fleet, id, 'trial', 2));
    switchOff(fleet, [firstWith(fleet, id, 'trial')]);
    await fleet.until(() => fleet.row(id).state === 'reported');
    const held = [...fleet.store.assignments.values()].filter((one) => one.activation === 'shadow');
    expect(held).toEqual([]);
    expect(membersOf(fleet, id).some(({ state }) => state === 'silent')).toBe(false);
  });

  it('needs_live_inputs_to_compare', () => {
    const trial = { ...policyOf().trial, minPairs: 0 };
    expect(policyComplaints(shadow({ trial }))).toEqual([
      'strategy shadow compares: trial.minPairs must be above 0',
    ]);
  });

  it('says_in_its_preview_that_no_device_serves_it', async () => {
    const request = { component: COMPONENT, version: '1.1.0', policy: shadow() };
    const { warnings } = await new SimFleet().operators.preview(request);
    expect(warnings.join('; ')).toMatch(/no device serves it/);
  });

  it('with_many_undecided_devices_excuses_a_thousand_at_a_time_and_then_reports', () => {
    const policy = shadow();
    let members = Array.from({ length: 2500 }, (_, n) => member(n, { state: 'trial' }));
    const sizes: number[] = [];
    for (;;) {
      const step = report(situation({ rollout: rollout({ policy }), members }), []);
      sizes.push(step.members.length);
      const excused = new Map(step.members.map((one) => [one.device, one]));
      members = members.map((one) => excused.get(one.device) ?? one);
      if (step.rollout.state === 'reported') break;
    }
    expect(sizes).toEqual([1000, 1000, 500]);
    expect(members.every(({ state }) => state === 'excused')).toBe(true);
  });
});
