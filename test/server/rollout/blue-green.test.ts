// Strategy `blue-green`: all devices prepare the release, and one go lets all of them swap.
import { describe, expect, it } from 'vitest';
import type { RolloutPolicy } from '../../../shared/protocol/operator-api.js';
import { policyComplaints } from '../../../shared/protocol/policy-complaints.js';
import { COMPONENT, policyOf, SimFleet } from '../../sim/fleet.js';
import { by } from '../../support/audit-actions.js';
import {
  assignmentOf,
  isWith,
  membersOf,
  onBad,
  refuses,
  switchOff,
} from '../../support/rollout-fleets.js';

const blueGreen = (goes: 'ask' | 'auto', change: Partial<RolloutPolicy> = {}): RolloutPolicy =>
  policyOf({ strategy: 'blue-green', blueGreen: { go: goes }, startWindow: 3, ...change });

const ALL = '1.0.0 1.0.0 1.0.0 1.0.0 1.0.0 1.0.0';
const NEW = ALL.replaceAll('1.0.0', '1.1.0');

async function begun(version = '1.1.0', policy = blueGreen('ask')) {
  const fleet = new SimFleet({ nature: onBad('bad') });
  return { fleet, id: await fleet.begin(version, policy) };
}

describe('a blue-green rollout', () => {
  it('asks_for_the_go_when_every_device_holds_the_release_and_none_serves_it', async () => {
    const { fleet, id } = await begun();
    await fleet.until(() => fleet.row(id).state === 'held');
    expect(fleet.states(id)).toBe('ready ready ready ready ready ready');
    expect(fleet.versions()).toBe(ALL);
    expect(fleet.row(id).reasons.join('; ')).toMatch(
      /6 of 6 devices hold 1\.1\.0 and are ready; resume gives the go: all of them swap/,
    );
  });

  it('swaps_every_device_under_the_assignment_that_it_has_when_a_person_gives_the_go', async () => {
    const { fleet, id } = await begun();
    await fleet.until(() => fleet.row(id).state === 'held');
    const before = membersOf(fleet, id).map(({ assignmentId }) => assignmentId);
    fleet.hints.length = 0;
    await fleet.operators.command(id, 'resume', by('ann'));
    await fleet.conductor.pass();
    expect(fleet.hints).toHaveLength(6);
    expect(assignmentOf(fleet, 5)).toMatchObject({ activation: 'swap', assignmentId: before[5] });
    expect(fleet.row(id).reasons.join('; ')).toMatch(/the go was given/);
    await fleet.until(() => fleet.row(id).state === 'completed');
    expect(fleet.versions()).toBe(NEW);
    expect(membersOf(fleet, id).map(({ assignmentId }) => assignmentId)).toEqual(before);
    expect(fleet.states(id)).toBe('confirmed confirmed confirmed confirmed confirmed confirmed');
  });

  it('gives_the_go_by_itself_where_the_policy_says_so', async () => {
    const { fleet, id } = await begun('1.1.0', blueGreen('auto'));
    await fleet.until(() => fleet.row(id).state === 'completed');
    expect(fleet.versions()).toBe(NEW);
    const said = fleet.store.histories.get(id)!.flatMap(({ reasons }) => reasons);
    expect(said).toContain('the go was given');
  });

  it('aborted_before_the_go_has_served_no_request_anywhere', async () => {
    const { fleet, id } = await begun();
    await fleet.until(() => fleet.row(id).state === 'held');
    await fleet.operators.command(id, 'abort', by('ann'));
    await fleet.until(() => fleet.row(id).state === 'reverted');
    expect(fleet.versions()).toBe(ALL);
    expect(fleet.devices.every(({ trial, state }) => trial === null && state === 'idle')).toBe(
      true,
    );
  });

  it('of_a_bad_release_halts_after_the_go_and_every_device_is_back', async () => {
    const { fleet, id } = await begun('1.2.0', blueGreen('auto'));
    await fleet.until(() => fleet.row(id).state === 'reverted');
    expect(fleet.versions()).toBe(ALL);
    expect(fleet.row(id).reasons.join('; ')).toMatch(/devices that took it failed/);
    expect(fleet.events.map(({ code }) => code)).toEqual(['release_halted']);
  });

  it('waits_for_no_device_that_is_off_and_takes_it_in_later', async () => {
    const { fleet, id } = await begun('1.1.0', blueGreen('auto', { waves: oneWave }));
    switchOff(fleet, [5]);
    await fleet.until(() => fleet.row(id).state === 'completed');
    expect(fleet.versions()).toBe(NEW.replace(/1\.1\.0$/, '1.0.0'));
    fleet.devices[5]!.silent = false;
    await fleet.until(isWith(fleet, id, 'confirmed', 6));
    expect(assignmentOf(fleet, 5)).toMatchObject({ activation: 'swap' });
  });

  it('lets_a_ready_device_that_was_off_at_the_go_swap_when_it_returns', async () => {
    const { fleet, id } = await begun();
    await fleet.until(() => fleet.row(id).state === 'held');
    fleet.devices[4]!.silent = true;
    await fleet.seconds(60);
    expect(fleet.member(id, 4).state).toBe('ready');
    await fleet.operators.command(id, 'resume', by('ann'));
    await fleet.until(isWith(fleet, id, 'silent', 1));
    fleet.devices[4]!.silent = false;
    await fleet.until(isWith(fleet, id, 'confirmed', 6));
    expect(fleet.versions()).toBe(NEW);
  });

  it('whose_last_wave_cannot_be_ready_gives_the_go_to_the_others_when_resumed', async () => {
    const fleet = new SimFleet({ canaries: 0, fleet: 3 });
    const waves = [{ name: 'all', percent: 100, soakSeconds: 0, approval: false, minProven: 2 }];
    for (const n of [0, 1]) refuses(fleet, n, 'disk_full');
    const id = await fleet.begin('1.1.0', blueGreen('ask', { waves }));
    await fleet.until(() => fleet.row(id).state === 'held');
    expect(fleet.row(id).reasons.join()).toMatch(/resume gives the go to those that are ready/);
    expect(fleet.versions()).toBe('1.0.0 1.0.0 1.0.0');
    await fleet.operators.command(id, 'resume', by('ann'));
    await fleet.until(() => fleet.versions() === '1.0.0 1.0.0 1.1.0');
    expect(fleet.row(id).goAt).not.toBeNull();
  });

  it('prepares_no_more_devices_at_once_than_the_window_allows', async () => {
    const { fleet, id } = await begun();
    for (let second = 0; second < 30; second++) {
      expect(membersOf(fleet, id).filter(({ state }) => state === 'taken').length).toBeLessThan(4);
      await fleet.seconds(1);
    }
  });

  it('says_in_its_preview_that_the_window_does_not_limit_who_serves_it', async () => {
    const fleet = new SimFleet();
    const request = { component: COMPONENT, version: '1.1.0', policy: blueGreen('ask') };
    const { warnings } = await fleet.operators.preview(request);
    expect(warnings.join('; ')).toMatch(/swap at once when a person gives the go/);
  });

  it('needs_its_table_and_no_other_strategy_has_it', () => {
    const complaint = 'strategy blue-green and the table blueGreen need each other';
    expect(policyComplaints(policyOf({ strategy: 'blue-green' }))).toEqual([complaint]);
    expect(policyComplaints(policyOf({ blueGreen: { go: 'ask' } }))).toEqual([complaint]);
    expect(policyComplaints(blueGreen('ask'))).toEqual([]);
  });

  it('counts_a_device_that_cannot_prepare_it_and_goes_on_without_it', async () => {
    const { fleet, id } = await begun();
    refuses(fleet, 2, 'probe_differs');
    await fleet.until(isWith(fleet, id, 'failed', 1));
    expect(fleet.member(id, 2).reasons).toMatch(/probe_differs/);
  });
});

const oneWave = [{ name: 'all', percent: 100, soakSeconds: 0, approval: false }];
