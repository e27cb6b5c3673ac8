// Silence in a trial: once or twice it is silence; twice with a restart in between, the release is
// the cause. A device that returns is watched for the least time of a trial again.
import { describe, expect, it, test } from 'vitest';
import { changeOf } from '../../../server/rollout/forward.js';
import type { DeviceFacts, MemberRow } from '../../../server/interfaces.js';
import { policyOf, SimFleet } from '../../sim/fleet.js';
import { evidence, facts, member, rollout, T0, trial, update } from '../../support/rollout-rows.js';

const LATE = T0 + 31_000;
const onTrial = update({ state: 'swapped' });
const first = { instance: 'i1', modelFaults: 0 };
const changed = (one: MemberRow, report: DeviceFacts, now = LATE): MemberRow | null =>
  changeOf(one, report, { rollout: rollout(), published: new Set(), now, receptionSince: 0 });
const report = (change: Partial<DeviceFacts> = {}, modelFaults = 0): DeviceFacts =>
  facts({
    update: onTrial,
    trial: trial({ ...evidence(0, 10), modelFaults }),
    ...change,
  });

describe('silence in a trial', () => {
  test('first_one_is_remembered_with_who_was_silent', () => {
    const seen = changed(member(0, { state: 'trial' }), report());
    expect(seen).toMatchObject({ state: 'silent', failed: false, silence: first });
  });

  test('second_one_without_a_restart_stays_silence', () => {
    const seen = changed(member(0, { state: 'trial', silence: first }), report());
    expect(seen).toMatchObject({ state: 'silent', failed: false, silence: first });
  });

  test('second_one_after_the_agent_or_the_model_process_restarted_has_failed', () => {
    const again = member(0, { state: 'trial', silence: first });
    for (const one of [report({ instance: 'i2' }), report({}, 1)]) {
      const seen = changed(again, one);
      expect(seen).toMatchObject({ state: 'failed', failed: true });
      expect(seen?.reasons).toMatch(/^flapping: silent for the second time in one trial/);
    }
  });

  test('before_the_release_started_or_after_its_confirmation_it_is_not_counted', () => {
    for (const state of ['taken', 'confirmed'] as const) {
      const one = member(0, { state });
      expect(changed(one, facts())).toMatchObject({ state: 'silent', silence: null });
    }
  });

  test('one_that_lasts_is_not_a_second_one', () => {
    const one = member(0, { state: 'silent', silence: first });
    expect(changed(one, report({ instance: 'i2' }))).toBeNull();
  });
});

describe('a device that returns', () => {
  /** A fleet of one, with a trial of 20 s at least. */
  async function oneDevice(): Promise<{ fleet: SimFleet; id: string }> {
    const waves = [{ name: 'all', percent: 100, soakSeconds: 0, approval: false }];
    const fleet = new SimFleet({ canaries: 0, fleet: 1 });
    const policy = policyOf({ waves });
    const id = await fleet.begin('1.1.0', {
      ...policy,
      trial: { ...policy.trial, minSeconds: 20 },
    });
    return { fleet, id };
  }

  it('is_confirmed_only_when_heard_for_the_least_time_of_a_trial_again', async () => {
    const { fleet, id } = await oneDevice();
    await fleet.until(() => fleet.states(id) === 'trial');
    fleet.devices[0]!.silent = true;
    await fleet.until(() => fleet.states(id) === 'silent');
    fleet.devices[0]!.silent = false;
    await fleet.until(() => fleet.states(id) === 'trial');
    const back = fleet.clock.now();
    await fleet.until(() => fleet.states(id) === 'confirmed');
    expect(fleet.clock.now() - back).toBeGreaterThanOrEqual(19_000);
  });

  it('twice_from_a_reboot_fails_and_halts_a_fleet_of_one', async () => {
    const { fleet, id } = await oneDevice();
    const device = fleet.devices[0]!;
    for (const instance of ['i2', 'i3']) {
      await fleet.until(() => fleet.states(id) === 'trial');
      device.silent = true;
      await fleet.until(() => fleet.states(id) !== 'trial');
      device.silent = false;
      device.instance = instance;
    }
    expect(fleet.member(id, 0).failed).toBe(true);
    await fleet.until(() => fleet.row(id).state === 'reverting');
    expect(fleet.member(id, 0).reasons).toContain('flapping');
    // Its first silence held the rollout, and the failure came while a person was asked.
    const { history } = await fleet.operators.view(id);
    expect(history.map(({ state }) => state)).toEqual(['draft', 'rolling', 'held', 'reverting']);
  });
});
