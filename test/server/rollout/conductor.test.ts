// Whole rollouts over a fleet in memory: real plan, real conductor, devices that obey or misbehave,
// a store that breaks.
import { describe, expect, it } from 'vitest';
import { complaints } from '../../../shared/base/decode.js';
import { by } from '../../support/audit-actions.js';
import { RolloutDetail } from '../../../shared/protocol/operator-api.js';
import { Fault } from '../../../shared/base/fault-codes.js';
import { Conductor } from '../../../server/rollout/conductor.js';
import {
  COMPONENT,
  deviceId,
  MemoryRolloutStore,
  policyOf,
  releaseOf,
  seeded,
  SimFleet,
  type Nature,
} from '../../sim/fleet.js';

const BAD = releaseOf('1.2.0').digest;
type Natures = (n: number, release: { digest: string }) => Nature;
const badRelease =
  (nature: Nature): Natures =>
  (_, release) =>
    release.digest === BAD ? nature : 'good';
const assignment = (fleet: SimFleet, n: number) => fleet.store.assignments.get(deviceId(n));

describe('a rollout', () => {
  it('a_good_release_reaches_everyone_wave_by_wave', async () => {
    const fleet = new SimFleet();
    const id = await fleet.begin('1.1.0');
    await fleet.until(() => fleet.row(id).wave === 1);
    expect(fleet.versions().split(' ').slice(0, 2)).toEqual(['1.1.0', '1.1.0']);
    await fleet.until(() => fleet.row(id).state === 'completed');
    expect(fleet.states(id)).toBe('confirmed confirmed confirmed confirmed confirmed confirmed');
    expect(fleet.versions()).toBe('1.1.0 1.1.0 1.1.0 1.1.0 1.1.0 1.1.0');
    expect(fleet.hints).toHaveLength(6);
    const view = await fleet.operators.view(id);
    expect(complaints(RolloutDetail, view)).toEqual([]);
    expect(view.history.map((entry) => `${entry.state} ${entry.wave}`)).toEqual([
      'draft 0',
      'rolling 0',
      'rolling 1',
      'rolling 2',
      'completed 2',
    ]);
    expect(view.next).toEqual([]);
  });

  it('a_bad_release_is_halted_by_its_canaries_and_the_fleet_never_sees_it', async () => {
    const fleet = new SimFleet({ nature: badRelease('bad') });
    const id = await fleet.begin('1.2.0');
    await fleet.until(() => fleet.row(id).state === 'reverted');
    expect(fleet.states(id)).toBe('reverted reverted waiting waiting waiting waiting');
    expect(fleet.versions()).toBe('1.0.0 1.0.0 1.0.0 1.0.0 1.0.0 1.0.0');
    expect([2, 3, 4, 5].map((n) => assignment(fleet, n))).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
    const back = { release: releaseOf('1.0.0'), rollback: true, assignmentId: 2 };
    expect([0, 1].map((n) => assignment(fleet, n))).toMatchObject([back, back]);
    const { reasons } = fleet.row(id);
    expect(reasons[0]).toBe(
      '2 of 2 canary devices failed; acceptable is 2 %; e-value 25.0 >= 20.0 = 1/alpha: halted',
    );
    expect(reasons.join('\n')).toMatch(
      /d0: trial_disagreement|d0: rolled_back by the device, trial_disagreement/,
    );
    expect(reasons.at(-1)).toBe('2 of 2 touched devices are back on what they ran before');
    expect(fleet.member(id, 0).reasons).toMatch(
      /^runs 1\.0\.0 again; failed before: .*answers of logits differ by \d+ % on live inputs/,
    );
  });

  it('device_claims_confirmed_but_evidence_fails', async () => {
    const fleet = new SimFleet({ nature: badRelease('liar') });
    const id = await fleet.begin('1.2.0');
    await fleet.until(() => fleet.row(id).state === 'reverted');
    expect(fleet.states(id)).toBe('reverted reverted waiting waiting waiting waiting');
    expect(fleet.versions()).toBe('1.0.0 1.0.0 1.0.0 1.0.0 1.0.0 1.0.0');
  });

  it('canary_silent_is_not_healthy', async () => {
    const fleet = new SimFleet({ nature: badRelease('dead') });
    const id = await fleet.begin('1.2.0');
    await fleet.until(() => fleet.row(id).state === 'reverted');
    expect(fleet.row(id).reasons[0]).toContain('2 of 2 canary devices failed');
    expect(fleet.states(id)).toBe('lost lost waiting waiting waiting waiting');
  });

  it('lost_device_keeps_its_rollback_assignment', async () => {
    const fleet = new SimFleet({ nature: badRelease('dead') });
    const id = await fleet.begin('1.2.0');
    await fleet.until(() => fleet.row(id).state === 'reverted');
    expect(fleet.row(id).reasons.at(-1)).toMatch(
      new RegExp(
        '^0 of 2 touched devices are back on what they ran before; ' +
          'lost, with their rollback still assigned: (d0, d1|d1, d0)$',
      ),
    );
    expect(assignment(fleet, 0)).toMatchObject({ release: releaseOf('1.0.0'), rollback: true });
    fleet.devices[0]!.silent = false;
    await fleet.seconds(3);
    expect(fleet.devices[0]!.running).toEqual(releaseOf('1.0.0'));
    expect(fleet.devices[0]!.state).toBe('idle');
  });

  it('a_first_install_that_fails_is_withdrawn', async () => {
    const fleet = new SimFleet({ running: null, nature: () => 'crashing' });
    const id = await fleet.begin('1.1.0');
    await fleet.until(() => fleet.row(id).state === 'reverted');
    expect(fleet.versions()).toBe('- - - - - -');
    expect(assignment(fleet, 0)).toMatchObject({ release: null, rollback: false });
    expect(fleet.member(id, 0).reasons).toContain('assignment withdrawn; runs nothing, as before');
  });

  it('a_first_install_that_is_aborted_after_it_was_confirmed_stops_serving', async () => {
    const fleet = new SimFleet({ running: null });
    const waves = policyOf().waves.map((wave) => ({ ...wave, approval: true }));
    const id = await fleet.begin('1.1.0', policyOf({ waves }));
    await fleet.until(() => fleet.row(id).healthySince !== null);
    expect(fleet.versions()).toBe('1.1.0 1.1.0 - - - -');
    await fleet.operators.command(id, 'abort', by('ann'));
    await fleet.conductor.pass();
    // At rest on the release, and heard of since: that is not yet back.
    fleet.clock.advance(1000);
    for (const device of fleet.devices) device.report(fleet.clock.now());
    await fleet.conductor.pass();
    expect(fleet.states(id)).toBe('reverting reverting waiting waiting waiting waiting');
    await fleet.until(() => fleet.row(id).state === 'reverted');
    expect(fleet.versions()).toBe('- - - - - -');
  });

  it('devices_that_run_the_release_already_need_no_assignment', async () => {
    const fleet = new SimFleet({ running: '1.1.0' });
    const id = await fleet.begin('1.1.0');
    await fleet.until(() => fleet.row(id).state === 'completed');
    expect(fleet.store.assignments.size).toBe(0);
    expect(fleet.member(id, 0)).toMatchObject({
      state: 'confirmed',
      reasons: 'ran this release already',
      assignmentId: null,
    });
  });

  it('a_device_with_another_open_assignment_is_assigned_whatever_it_reported_last', async () => {
    const fleet = new SimFleet({ canaries: 1, fleet: 1 });
    const waves = policyOf().waves.map((wave) => ({ ...wave, approval: true }));
    const first = await fleet.begin('1.1.0', policyOf({ waves }));
    await fleet.until(() => fleet.row(first).healthySince !== null);
    fleet.devices[0]!.silent = true; // It runs 1.1.0 and does not learn of the rollback.
    await fleet.operators.command(first, 'abort', by('ann'));
    await fleet.until(() => fleet.row(first).state === 'reverted');
    expect(assignment(fleet, 0)).toMatchObject({ release: releaseOf('1.0.0'), rollback: true });
    const second = await fleet.begin('1.1.0');
    await fleet.conductor.pass();
    expect(assignment(fleet, 0)).toMatchObject({ release: releaseOf('1.1.0'), rollback: false });
    expect(fleet.member(second, 0)).toMatchObject({
      state: 'assigned',
      previous: releaseOf('1.0.0'),
      mayRun: true,
    });
    fleet.devices[0]!.silent = false;
    await fleet.until(() => fleet.row(second).state === 'completed');
    expect(fleet.member(second, 0).reasons).toBe('ran this release already');
    expect(fleet.versions()).toBe('1.1.0 1.1.0');
  });

  it('a_device_silent_for_a_month_is_not_taken_for_one_that_runs_the_release', async () => {
    const fleet = new SimFleet({ running: '1.1.0' });
    fleet.clock.advance(30 * 86_400_000);
    for (const device of fleet.devices.slice(1)) device.report(fleet.clock.now());
    fleet.devices[0]!.silent = true;
    const id = await fleet.begin('1.1.0');
    await fleet.until(() => fleet.member(id, 0).failed);
    expect(fleet.member(id, 0).reasons).toContain('silence counts as a failure');
    expect(fleet.member(id, 1)).toMatchObject({ state: 'confirmed', assignmentId: null });
  });

  it('what_a_device_reports_to_run_is_restored_only_when_it_was_published', async () => {
    const fleet = new SimFleet({ running: '9.9.9', nature: () => 'crashing' });
    const id = await fleet.begin('1.1.0');
    await fleet.until(() => fleet.row(id).state === 'reverting');
    await fleet.conductor.pass();
    expect(assignment(fleet, 0)).toMatchObject({ release: null });
  });
});

describe('a revoked device', () => {
  const soaking = policyOf({
    waves: policyOf().waves.map((wave) => ({ ...wave, soakSeconds: 300 })),
  });

  it('is_neither_assigned_nor_judged_and_delays_nobody', async () => {
    const fleet = new SimFleet();
    const id = await fleet.begin('1.1.0', soaking);
    await fleet.until(() => fleet.row(id).healthySince !== null);
    const late = [2, 3, 4, 5].find((n) => fleet.member(id, n).wave === 2)!;
    fleet.revoke(0);
    fleet.revoke(late);
    await fleet.until(() => fleet.row(id).state === 'completed');
    const states = fleet.states(id).split(' ');
    expect([states[0], states[late]]).toEqual(['lost', 'lost']);
    expect(states.filter((state) => state === 'confirmed')).toHaveLength(4);
    expect(fleet.member(id, 0)).toMatchObject({
      failed: false,
      reasons: expect.stringMatching(/^revoked: /) as string,
    });
    expect(assignment(fleet, late)).toBeUndefined();
  });

  it('is_lost_at_once_when_its_rollout_reverts_and_gets_no_assignment', async () => {
    const fleet = new SimFleet();
    const id = await fleet.begin('1.1.0', soaking);
    await fleet.until(() => fleet.row(id).healthySince !== null);
    await fleet.operators.command(id, 'abort', by('ann'));
    fleet.revoke(0);
    await fleet.conductor.pass();
    expect(fleet.member(id, 0)).toMatchObject({
      state: 'lost',
      reasons: 'lost: revoked, so no assignment reaches it',
    });
    expect(assignment(fleet, 0)).toMatchObject({ assignmentId: 1 });
    fleet.devices[1]!.silent = true; // Ordered back before it was revoked.
    await fleet.conductor.pass();
    fleet.revoke(1);
    await fleet.conductor.pass();
    expect(fleet.row(id).reasons.at(-1)).toMatch(
      /^0 of 2 touched devices are back .*; lost, because they were revoked: (d0, d1|d1, d0)$/,
    );
  });

  it('a_wave_of_revoked_devices_does_not_pass_by_their_silence', async () => {
    const fleet = new SimFleet();
    const id = await fleet.begin('1.1.0');
    fleet.revoke(0);
    fleet.revoke(1);
    await fleet.until(() => fleet.row(id).state === 'held');
    expect(fleet.row(id)).toMatchObject({ wave: 0 });
    expect(fleet.row(id).reasons.join()).toContain(
      'every device of this wave was revoked: there is no evidence',
    );
    await fleet.operators.command(id, 'resume', by('ann'));
    await fleet.until(() => fleet.row(id).state === 'completed');
  });
});

describe('an operator', () => {
  const oneBad: Natures = (n, release) => (release.digest === BAD && n === 0 ? 'crashing' : 'good');

  it('one_failed_of_many_is_inconclusive_and_resume_goes_past_it', async () => {
    const fleet = new SimFleet({ canaries: 5, fleet: 5, nature: oneBad });
    const id = await fleet.begin('1.2.0');
    await fleet.until(() => fleet.row(id).state === 'held');
    const reasons = fleet.row(id).reasons.join('\n');
    expect(reasons).toMatch(
      /^1 of 5 canary devices failed.*not halted\n.*shown neither bad nor good; failed: d0\nd0: /,
    );
    expect(reasons).toContain('resume accepts these failures and continues with the next wave');
    const held = await fleet.operators.view(id);
    expect(held.next).toEqual([
      `linnet rollout resume ${id}  # accept the failures of this wave and continue`,
      `linnet rollout abort ${id}  # roll every touched device back`,
    ]);
    const assignments = fleet.store.assignments.size;
    await fleet.seconds(20);
    expect(fleet.row(id).state).toBe('held');
    expect(fleet.store.assignments.size).toBe(assignments);
    await fleet.operators.command(id, 'resume', by('ann'), 'd0 has a broken card');
    await fleet.until(() => fleet.row(id).state === 'completed');
    expect(
      fleet
        .states(id)
        .split(' ')
        .filter((state) => state === 'confirmed'),
    ).toHaveLength(9);
    expect(fleet.member(id, 0).state).toBe('failed');
  });

  it('resume_accepts_what_was_seen_and_a_second_failure_asks_again', async () => {
    const bad = new Set([0]);
    const nature: Natures = (n, release) =>
      release.digest === BAD && bad.has(n) ? 'crashing' : 'good';
    const fleet = new SimFleet({ canaries: 5, fleet: 40, nature });
    const id = await fleet.begin('1.2.0');
    await fleet.until(() => fleet.row(id).state === 'held');
    const next = [...fleet.store.memberRows.get(id)!.values()].find((member) => member.wave === 1)!;
    bad.add(Number.parseInt(next.device.slice(4), 16));
    await fleet.operators.command(id, 'resume', by('ann'));
    await fleet.until(() => fleet.row(id).state === 'held');
    expect(fleet.row(id).wave).toBe(1);
  });

  it('resume_after_a_pause_approves_nothing', async () => {
    const fleet = new SimFleet({ canaries: 5, nature: oneBad });
    const id = await fleet.begin('1.2.0');
    await fleet.until(() => fleet.member(id, 0).failed);
    await fleet.operators.command(id, 'pause', by('ann'));
    const open = fleet.states(id).includes('trial');
    await fleet.operators.command(id, 'resume', by('ann'));
    expect(open).toBe(true);
    expect(fleet.row(id).approved).toBe(false);
    await fleet.until(() => fleet.row(id).state === 'held');
    expect(fleet.row(id).reasons.join('\n')).toContain('shown neither bad nor good');
  });

  it('an_approval_after_a_pause_accepts_no_failure', async () => {
    const fleet = new SimFleet({ canaries: 5, nature: oneBad });
    const waves = policyOf().waves.map((wave) => ({ ...wave, approval: true }));
    const id = await fleet.begin('1.2.0', policyOf({ waves }));
    await fleet.until(() => fleet.member(id, 0).failed);
    await fleet.operators.command(id, 'pause', by('ann'));
    await fleet.operators.command(id, 'resume', by('ann'));
    await fleet.operators.command(id, 'approve', by('ann'));
    await fleet.until(() => fleet.row(id).state === 'held');
    expect(fleet.row(id)).toMatchObject({ wave: 0, answeredAt: null });
    await fleet.operators.command(id, 'resume', by('ann'));
    await fleet.until(() => fleet.row(id).wave === 1);
  });

  it('a_canary_that_falls_back_after_its_wave_was_left_is_not_missed', async () => {
    const fleet = new SimFleet({ canaries: 5, fleet: 20 });
    const waves = policyOf().waves.map((wave) => ({
      ...wave,
      soakSeconds: wave.name === 'half' ? 1000 : 0,
    }));
    const id = await fleet.begin('1.1.0', policyOf({ waves }));
    await fleet.until(() => fleet.row(id).wave === 1 && fleet.row(id).healthySince !== null);
    fleet.devices[1]!.silent = true; // Silence is not bad news any more.
    await fleet.seconds(100);
    expect(fleet.row(id)).toMatchObject({ state: 'rolling', wave: 1 });
    fleet.devices[0]!.running = releaseOf('1.0.0');
    await fleet.until(() => fleet.row(id).state === 'held');
    expect(fleet.member(id, 0)).toMatchObject({
      failed: true,
      reasons: 'was confirmed, but now runs 1.0.0',
    });
    expect(fleet.member(id, 1).state).toBe('confirmed');
  });

  it('without_auto_revert_a_halt_waits_for_a_person', async () => {
    const fleet = new SimFleet({ nature: badRelease('bad') });
    const id = await fleet.begin('1.2.0', policyOf({ autoRevert: false }));
    await fleet.until(() => fleet.row(id).state === 'held');
    expect(fleet.row(id).reasons[0]).toContain('e-value 25.0 >= 20.0');
    await fleet.operators.command(id, 'resume', by('ann'), 'known');
    await fleet.until(() => fleet.row(id).wave === 1 && fleet.row(id).state === 'held');
    await fleet.operators.command(id, 'abort', by('ann'));
    await fleet.until(() => fleet.row(id).state === 'reverted');
    expect(fleet.versions()).toBe('1.0.0 1.0.0 1.0.0 1.0.0 1.0.0 1.0.0');
  });

  it('approval_wave_waits', async () => {
    const fleet = new SimFleet();
    const waves = policyOf().waves.map((wave, index) => ({ ...wave, approval: index === 0 }));
    const id = await fleet.begin('1.1.0', policyOf({ waves }));
    await fleet.until(() => fleet.row(id).healthySince !== null);
    await fleet.seconds(100);
    expect(fleet.row(id)).toMatchObject({ state: 'rolling', wave: 0 });
    const view = await fleet.operators.view(id);
    expect(view.reasons).toContain("wave canary needs an operator's approval before the next step");
    expect(view.next[0]).toBe(
      `linnet rollout approve ${id}  # ` +
        'let it go beyond this wave once it is healthy and has soaked',
    );
    await fleet.operators.command(id, 'approve', by('ann'));
    await fleet.until(() => fleet.row(id).state === 'completed');
  });

  it('an_approval_and_a_soak_are_for_one_wave', async () => {
    const fleet = new SimFleet();
    const waves = policyOf().waves.map((wave) => ({ ...wave, approval: true, soakSeconds: 20 }));
    const id = await fleet.begin('1.1.0', policyOf({ waves }));
    await fleet.operators.command(id, 'approve', by('ann'));
    await expect(fleet.operators.command(id, 'approve', by('ann'))).rejects.toThrow(
      'wave 1 is approved already',
    );
    await fleet.until(() => fleet.row(id).wave === 1);
    expect(fleet.row(id)).toMatchObject({ approved: false, healthySince: null });
    await fleet.seconds(100);
    expect(fleet.row(id)).toMatchObject({ state: 'rolling', wave: 1 });
  });

  it('soak_counts_from_health', async () => {
    const fleet = new SimFleet();
    const waves = policyOf().waves.map((wave, index) => ({
      ...wave,
      soakSeconds: index === 0 ? 60 : 0,
    }));
    const id = await fleet.begin('1.1.0', policyOf({ waves }));
    await fleet.until(() => fleet.row(id).healthySince !== null);
    const healthy = fleet.row(id).healthySince!;
    expect(healthy).toBeGreaterThan(fleet.row(id).since);
    await fleet.until(() => fleet.row(id).wave === 1);
    expect(fleet.clock.now() - healthy).toBe(60_000);
  });

  it('a_canary_that_falls_silent_while_it_soaks_holds_the_wave', async () => {
    const fleet = new SimFleet();
    const waves = policyOf().waves.map((wave, index) => ({
      ...wave,
      soakSeconds: index === 0 ? 300 : 0,
    }));
    const id = await fleet.begin('1.1.0', policyOf({ waves }));
    await fleet.until(() => fleet.row(id).healthySince !== null);
    fleet.devices[0]!.silent = true;
    await fleet.until(() => fleet.row(id).state === 'held');
    expect(fleet.row(id)).toMatchObject({ wave: 0, healthySince: null });
    expect(fleet.member(id, 0).reasons).toContain('silent for 31 s');
  });

  it('abort_reverts_every_touched_device', async () => {
    const fleet = new SimFleet();
    const waves = policyOf().waves.map((wave) => ({
      ...wave,
      soakSeconds: wave.name === 'half' ? 10_000 : 0,
    }));
    const id = await fleet.begin('1.1.0', policyOf({ waves }));
    const confirmed = () =>
      fleet
        .states(id)
        .split(' ')
        .filter((state) => state === 'confirmed').length;
    await fleet.until(() => fleet.row(id).wave === 1 && confirmed() === 3);
    await fleet.operators.command(id, 'abort', by('ann'), 'changed my mind');
    expect(fleet.row(id).reasons).toEqual(['aborted by ann: changed my mind']);
    await fleet.until(() => fleet.row(id).state === 'reverted');
    expect(fleet.states(id).split(' ').sort().join(' ')).toBe(
      'reverted reverted reverted waiting waiting waiting',
    );
    expect(fleet.versions()).toBe('1.0.0 1.0.0 1.0.0 1.0.0 1.0.0 1.0.0');
    expect([0, 1, 2, 3, 4, 5].filter((n) => assignment(fleet, n) !== undefined)).toHaveLength(3);
  });

  it('abort_leaves_alone_a_device_that_ran_the_release_before', async () => {
    const fleet = new SimFleet({ canaries: 3 });
    fleet.devices[0]!.running = releaseOf('1.1.0');
    fleet.devices[0]!.report(fleet.clock.now());
    const id = await fleet.begin('1.1.0');
    await fleet.until(() => fleet.row(id).wave === 1);
    await fleet.operators.command(id, 'abort', by('ann'));
    await fleet.until(() => fleet.row(id).state === 'reverted');
    expect(fleet.member(id, 0)).toMatchObject({ state: 'confirmed', assignmentId: null });
    expect(assignment(fleet, 0)).toBeUndefined();
    expect(fleet.versions().split(' ').slice(0, 3)).toEqual(['1.1.0', '1.0.0', '1.0.0']);
  });

  it('a_paused_rollout_assigns_nothing_and_continues_where_it_was', async () => {
    const fleet = new SimFleet();
    const id = await fleet.begin('1.1.0');
    await fleet.until(() => fleet.states(id).includes('trial'));
    await fleet.operators.command(id, 'pause', by('ann'));
    await fleet.seconds(60);
    expect(fleet.row(id)).toMatchObject({ state: 'held', wave: 0 });
    expect(fleet.store.assignments.size).toBe(2);
    expect(fleet.states(id)).toBe('confirmed confirmed waiting waiting waiting waiting');
    await fleet.operators.command(id, 'resume', by('ann'));
    await fleet.until(() => fleet.row(id).state === 'completed');
  });

  it('impossible_commands_say_the_state_and_what_is_possible', async () => {
    const fleet = new SimFleet();
    const id = await fleet.begin('1.1.0');
    await expect(fleet.operators.command(id, 'resume', by('ann'))).rejects.toThrow(
      `conflict: rollout ${id} is rolling, which does not take resume; ` +
        'possible: approve, pause, abort',
    );
    await expect(fleet.operators.command('ro-none', 'start', by('ann'))).rejects.toMatchObject({
      code: 'not_found',
    });
    const second = await fleet.operators.create(
      { component: COMPONENT, version: '1.2.0', policy: policyOf() },
      by('bob'),
    );
    await expect(fleet.operators.command(second.id, 'start', by('bob'))).rejects.toThrow(
      /rollout ro-.* of digits 1\.1\.0 is rolling: a component can have one active rollout/,
    );
    expect((await fleet.operators.command(second.id, 'drop', by('bob'))).state).toBe('dropped');
    expect(await fleet.operators.page({ limit: 10, after: null })).toHaveLength(2);
    expect(await fleet.operators.page({ limit: 1, after: null })).toHaveLength(1);
  });

  it('a_rollout_that_cannot_work_is_refused_when_it_is_made', async () => {
    const fleet = new SimFleet({ canaries: 0 });
    const make = (version: string, policy = policyOf(), groups = ['fleet', 'canary']) =>
      fleet.operators.create({ component: COMPONENT, version, policy, groups }, by('ann'));
    await expect(make('3.0.0')).rejects.toMatchObject({ code: 'not_found' });
    await expect(make('1.1.0')).rejects.toThrow('wave canary: no device of group canary');
    const upside = policyOf({ alarmingFailurePermille: 5 });
    await expect(make('1.1.0', upside)).rejects.toThrow('alarmingFailurePermille must be above');
    const all = policyOf({ waves: policyOf().waves.slice(2) });
    await expect(make('1.1.0', all, ['nobody'])).rejects.toThrow('no enrolled device');
  });
});

describe('a conductor', () => {
  /** Commits that lose their race, throw before writing, or throw after (the answer was lost). */
  function breaking(store: MemoryRolloutStore, seed: number): void {
    const random = seeded(seed);
    store.trouble = (wrote) => {
      if (random() < 0.25) throw new Error(wrote ? 'the answer was lost' : 'the store is away');
    };
  }

  const scenarios: [string, string, Natures][] = [
    ['good', '1.1.0', () => 'good'],
    ['bad', '1.2.0', badRelease('bad')],
    ['lying', '1.2.0', badRelease('liar')],
    [
      'half dead',
      '1.2.0',
      (n, release) => (release.digest !== BAD ? 'good' : n % 2 === 0 ? 'dead' : 'bad'),
    ],
  ];

  const outcome = (fleet: SimFleet, id: string) => ({
    state: fleet.row(id).state,
    members: fleet.states(id),
    versions: fleet.versions(),
    assignments: fleet.devices.map(
      (device) => fleet.store.assignments.get(device.id)?.assignmentId ?? 0,
    ),
  });

  it.each(scenarios)(
    'a_store_that_fails_at_random_settles_to_the_same_result_%s',
    async (_, version, nature) => {
      const calm = new SimFleet({ nature });
      const first = await calm.begin(version);
      const ended = (fleet: SimFleet, id: string) => () =>
        ['completed', 'reverted'].includes(fleet.row(id).state);
      await calm.until(ended(calm, first));
      for (let seed = 1; seed <= 15; seed++) {
        const fleet = new SimFleet({ nature });
        const conductors = [fleet.newConductor(), fleet.newConductor()];
        const id = await fleet.begin(version);
        breaking(fleet.store, seed);
        await fleet.until(ended(fleet, id), conductors);
        expect(outcome(fleet, id), `seed ${seed}`).toEqual(outcome(calm, first));
      }
    },
  );

  it('two_conductors_on_one_store_the_older_revision_loses', async () => {
    const fleet = new SimFleet();
    const id = await fleet.begin('1.1.0');
    const [a, b] = [fleet.newConductor(), fleet.newConductor()];
    const stale = { rollout: fleet.row(id), members: [], assignments: [] };
    await Promise.all([a.pass(), b.pass()]);
    expect(fleet.store.assignments.size).toBe(2);
    expect([0, 1].map((n) => assignment(fleet, n)?.assignmentId)).toEqual([1, 1]);
    expect(fleet.hints).toHaveLength(2); // The one that lost hints nobody.
    expect(await fleet.store.commit(stale, fleet.clock.now())).toBe(false);
    // And both at once, all the way.
    for (let second = 0; second < 300 && fleet.row(id).state !== 'completed'; second++) {
      await Promise.all([a.pass(), b.pass()]);
      fleet.clock.advance(1000);
      for (const device of fleet.devices) device.tick(fleet.clock.now());
    }
    expect(fleet.row(id).state).toBe('completed');
    expect(fleet.devices.map((_, n) => assignment(fleet, n)?.assignmentId)).toEqual([
      1, 1, 1, 1, 1, 1,
    ]);
  });

  it('two_starts_of_one_component_at_once_only_one_wins', async () => {
    const fleet = new SimFleet();
    const make = (version: string) =>
      fleet.operators.create({ component: COMPONENT, version, policy: policyOf() }, by('ann'));
    const views = await Promise.all(['1.1.0', '1.2.0'].map(make));
    const starts = await Promise.allSettled(
      views.map((view) => fleet.operators.command(view.id, 'start', by('ann'))),
    );
    expect(starts.map((start) => start.status).sort()).toEqual(['fulfilled', 'rejected']);
    const lost = starts.find((start) => start.status === 'rejected');
    expect(lost?.reason).toBeInstanceOf(Fault);
    expect(lost?.reason).toMatchObject({ code: 'conflict' });
  });

  it('server_that_was_away_blames_no_device', async () => {
    const waves = policyOf().waves.map((wave, index) => ({
      ...wave,
      soakSeconds: index === 0 ? 7200 : 0,
    }));
    const states = async (back: (fleet: SimFleet) => Conductor): Promise<string> => {
      const fleet = new SimFleet();
      const id = await fleet.begin('1.1.0', policyOf({ waves }));
      await fleet.until(() => fleet.row(id).healthySince !== null);
      fleet.clock.advance(36_000_000); // Longer than the soak: of which nothing was heard.
      await back(fleet).pass();
      expect(fleet.row(id)).toMatchObject({ state: 'rolling', wave: 0 });
      return fleet.states(id);
    };
    const soaking = 'confirmed confirmed waiting waiting waiting waiting';
    expect(await states((fleet) => fleet.newConductor())).toBe(soaking); // Restarted.
    // Suspended, or its clock was set.
    expect(await states((fleet) => fleet.conductor)).toBe(soaking);
  });

  it('a_server_without_its_broker_hears_nobody_and_blames_nobody', async () => {
    const waves = policyOf().waves.map((wave, index) => ({
      ...wave,
      soakSeconds: index === 0 ? 7200 : 0,
    }));
    const fleet = new SimFleet();
    const id = await fleet.begin('1.1.0', policyOf({ waves }));
    await fleet.until(() => fleet.row(id).healthySince !== null);
    for (const device of fleet.devices) device.silent = true;
    fleet.reception.disconnected();
    await fleet.seconds(300);
    expect(fleet.states(id)).toBe('confirmed confirmed waiting waiting waiting waiting');
    fleet.reception.connected();
    await fleet.seconds(30);
    expect(fleet.row(id).state).toBe('rolling');
    await fleet.until(() => fleet.row(id).state === 'reverted'); // Those who stay silent now are.
  });

  it('a_server_that_died_before_its_hints_hints_again', async () => {
    const fleet = new SimFleet();
    const id = await fleet.begin('1.1.0');
    await fleet.until(() => fleet.store.assignments.size === 2);
    fleet.hints.length = 0;
    const reborn = fleet.newConductor();
    await reborn.pass();
    await reborn.pass();
    expect(fleet.hints.sort()).toEqual([deviceId(0), deviceId(1)]);
    expect(fleet.row(id).state).toBe('rolling');
  });

  it('it_works_by_itself_once_started_and_stops_when_told', async () => {
    const fleet = new SimFleet();
    const id = await fleet.begin('1.1.0');
    const conductor: Conductor = fleet.conductor;
    conductor.start();
    conductor.wake();
    conductor.wake();
    expect(fleet.clock.timers).toBe(1);
    for (let turn = 0; turn < 600 && fleet.row(id).state !== 'completed'; turn++) {
      fleet.clock.advance(500);
      for (let n = 0; n < 400 && fleet.clock.timers === 0; n++)
        await new Promise((resolve) => setImmediate(resolve));
      if (turn % 2 === 0) for (const device of fleet.devices) device.tick(fleet.clock.now());
    }
    expect(fleet.row(id).state).toBe('completed');
    await conductor.stop();
    expect(fleet.clock.timers).toBe(0);
    conductor.wake();
    expect(fleet.clock.timers).toBe(0);
  });
});
