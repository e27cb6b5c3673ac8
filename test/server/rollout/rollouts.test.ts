// Whole rollouts over a fleet in memory: real plan, real taking, real conductor, devices that obey
// or misbehave. What operators do is in operators.test.ts, a store that breaks in
// conductor.test.ts, and the situations of the field in situations.test.ts.
import { describe, expect, it } from 'vitest';
import { complaints } from '../../../shared/base/decode.js';
import { RolloutDetail } from '../../../shared/protocol/operator-api.js';
import { by } from '../../support/audit-actions.js';
import { releaseOf, SimFleet } from '../../sim/fleet.js';
import {
  approvedWaves,
  assignmentOf,
  isProven,
  isWith,
  onBad,
  soaking,
} from '../../support/rollout-fleets.js';

describe('a rollout', () => {
  it('a_good_release_reaches_everyone_wave_by_wave', async () => {
    const fleet = new SimFleet();
    const id = await fleet.begin('1.1.0');
    await fleet.until(() => fleet.row(id).wave === 1);
    expect(fleet.versions().split(' ').slice(0, 2)).toEqual(['1.1.0', '1.1.0']);
    await fleet.until(() => fleet.row(id).state === 'completed');
    expect(fleet.states(id)).toBe('confirmed confirmed confirmed confirmed confirmed confirmed');
    expect(fleet.versions()).toBe('1.1.0 1.1.0 1.1.0 1.1.0 1.1.0 1.1.0');
    expect(fleet.store.takeRows.get(releaseOf('1.1.0').digest)).toHaveLength(6);
    const view = await fleet.operators.view(id);
    expect(complaints(RolloutDetail, view)).toEqual([]);
    expect(view.history.map((entry) => `${entry.state} ${entry.wave}`)).toEqual([
      'draft 0',
      'rolling 0',
      'rolling 1',
      'rolling 2',
      'completed 2',
    ]);
    expect(view.next).toEqual([
      `linnet rollout undo ${id}  # ` +
        'roll every device back to what it ran before, through the window',
    ]);
  });

  it('devices_are_told_to_ask_when_there_is_room_and_not_again_at_once', async () => {
    const fleet = new SimFleet();
    const id = await fleet.begin('1.1.0');
    await fleet.conductor.pass();
    await fleet.conductor.pass();
    const [first] = [...fleet.store.memberRows.get(id)!.values()];
    expect(fleet.hints).toEqual([first?.device]);
    fleet.clock.advance(30_000);
    for (const device of fleet.devices) device.report(fleet.clock.now());
    await fleet.conductor.pass();
    expect(fleet.hints).toEqual([first?.device, first?.device]);
    expect(fleet.store.assignments.size).toBe(0);
  });

  it('a_bad_release_is_halted_by_its_canaries_and_the_fleet_never_sees_it', async () => {
    const fleet = new SimFleet({ nature: onBad('bad') });
    const id = await fleet.begin('1.2.0');
    await fleet.until(() => fleet.row(id).state === 'reverted');
    expect(fleet.states(id)).toBe('reverted reverted waiting waiting waiting waiting');
    expect(fleet.versions()).toBe('1.0.0 1.0.0 1.0.0 1.0.0 1.0.0 1.0.0');
    expect([2, 3, 4, 5].map((n) => assignmentOf(fleet, n))).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
    const back = { release: releaseOf('1.0.0'), rollback: true, assignmentId: 2 };
    expect([0, 1].map((n) => assignmentOf(fleet, n))).toMatchObject([back, back]);
    const { reasons } = fleet.row(id);
    expect(reasons[0]).toBe(
      '2 of 2 devices that took it failed; acceptable is 2 %; 2 failures halt so far ' +
        '(exact: of 6 planned, an acceptable release is halted with chance 0.6 %): halted',
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
    const fleet = new SimFleet({ nature: onBad('liar') });
    const id = await fleet.begin('1.2.0');
    await fleet.until(() => fleet.row(id).state === 'reverted');
    expect(fleet.states(id)).toBe('reverted reverted waiting waiting waiting waiting');
    expect(fleet.versions()).toBe('1.0.0 1.0.0 1.0.0 1.0.0 1.0.0 1.0.0');
  });

  it('canary_silent_is_neither_healthy_nor_failed', async () => {
    const fleet = new SimFleet({ canaries: 1, nature: onBad('dead') });
    const id = await fleet.begin('1.2.0');
    await fleet.until(() => fleet.row(id).state === 'held');
    expect(fleet.row(id)).toMatchObject({ wave: 0, asked: true });
    expect(fleet.row(id).reasons[0]).toBe(
      'all that have it undecided are silent: d0 (site site-0); ' +
        'silence is neither failure nor health',
    );
    expect(fleet.states(id)).toBe('silent waiting waiting waiting waiting');
    expect(fleet.member(id, 0).failed).toBe(false);
  });

  it('lost_device_keeps_its_rollback_assignment', async () => {
    const fleet = new SimFleet({ canaries: 1, nature: onBad('dead') });
    const id = await fleet.begin('1.2.0');
    await fleet.until(() => fleet.row(id).state === 'held');
    await fleet.operators.command(id, 'abort', by('ann'));
    await fleet.until(() => fleet.row(id).state === 'reverted');
    expect(fleet.row(id).reasons.at(-1)).toBe(
      '0 of 1 touched devices are back on what they ran before; ' +
        'lost, with their rollback still assigned: d0',
    );
    expect(assignmentOf(fleet, 0)).toMatchObject({ release: releaseOf('1.0.0'), rollback: true });
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
    expect(assignmentOf(fleet, 0)).toMatchObject({ release: null, rollback: false });
    expect(fleet.member(id, 0).reasons).toContain('assignment withdrawn; runs nothing, as before');
  });

  it('a_first_install_that_is_aborted_after_it_was_confirmed_stops_serving', async () => {
    const fleet = new SimFleet({ running: null });
    const id = await fleet.begin('1.1.0', approvedWaves);
    await fleet.until(isProven(fleet, id, 2));
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
    expect(fleet.store.takeRows.get(releaseOf('1.1.0').digest) ?? []).toEqual([]);
    expect(fleet.member(id, 0)).toMatchObject({
      state: 'confirmed',
      reasons: 'ran this release already',
      assignmentId: null,
    });
  });

  it('a_device_with_another_open_assignment_takes_it_whatever_it_reported_last', async () => {
    const fleet = new SimFleet({ canaries: 1, fleet: 1 });
    const first = await fleet.begin('1.1.0', approvedWaves);
    await fleet.until(isProven(fleet, first, 1));
    fleet.devices[0]!.silent = true; // It runs 1.1.0 and does not learn of the rollback.
    await fleet.operators.command(first, 'abort', by('ann'));
    await fleet.until(() => fleet.row(first).state === 'reverted');
    expect(assignmentOf(fleet, 0)).toMatchObject({ release: releaseOf('1.0.0'), rollback: true });
    const second = await fleet.begin('1.1.0');
    fleet.devices[0]!.report(fleet.clock.now()); // Its last word arrives late: still on 1.1.0.
    await fleet.conductor.pass();
    expect(fleet.member(second, 0).state).toBe('waiting');
    await fleet.operators.contact(fleet.devices[0]!.id);
    expect(assignmentOf(fleet, 0)).toMatchObject({ release: releaseOf('1.1.0'), rollback: false });
    expect(fleet.member(second, 0)).toMatchObject({
      state: 'taken',
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
    await fleet.until(() => fleet.row(id).state === 'completed');
    expect(fleet.member(id, 0)).toMatchObject({ state: 'waiting', assignmentId: null });
    expect(fleet.member(id, 1)).toMatchObject({ state: 'confirmed', assignmentId: null });
    expect(fleet.row(id).reasons).toEqual([
      expect.stringMatching(/^wave all: \d of \d devices proven/),
      '1 not reached (oldest heard 30 d ago): d0',
      '1 more take it when they ask: d0',
    ]);
  });

  it('what_a_device_reports_to_run_is_restored_only_when_it_was_published', async () => {
    const fleet = new SimFleet({ running: '0.9.0', nature: () => 'crashing' });
    const id = await fleet.begin('1.1.0');
    await fleet.until(() => fleet.row(id).state === 'reverting');
    await fleet.conductor.pass();
    expect(assignmentOf(fleet, 0)).toMatchObject({ release: null });
  });
});

describe('a revoked device', () => {
  it('is_neither_assigned_nor_judged_and_delays_nobody', async () => {
    const fleet = new SimFleet();
    const id = await fleet.begin('1.1.0', soaking(300));
    await fleet.until(isWith(fleet, id, 'confirmed', 2));
    const late = [2, 3, 4, 5].find((n) => fleet.member(id, n).wave === 2)!;
    fleet.revoke(0);
    fleet.revoke(late);
    await fleet.until(() => fleet.row(id).state === 'completed', undefined, 3000);
    const states = fleet.states(id).split(' ');
    expect([states[0], states[late]]).toEqual(['excused', 'excused']);
    expect(states.filter((state) => state === 'confirmed')).toHaveLength(4);
    expect(fleet.member(id, 0)).toMatchObject({
      failed: false,
      silence: null,
      reasons: expect.stringMatching(/^revoked: /) as string,
    });
    expect(assignmentOf(fleet, late)).toBeUndefined();
  });

  it('is_lost_at_once_when_its_rollout_reverts_and_gets_no_assignment', async () => {
    const fleet = new SimFleet();
    const id = await fleet.begin('1.1.0', soaking(300));
    await fleet.until(isWith(fleet, id, 'confirmed', 2));
    await fleet.operators.command(id, 'abort', by('ann'));
    fleet.revoke(0);
    await fleet.conductor.pass();
    expect(fleet.member(id, 0)).toMatchObject({
      state: 'lost',
      reasons: 'lost: revoked, so no assignment reaches it',
    });
    expect(assignmentOf(fleet, 0)).toMatchObject({ assignmentId: 1 });
    fleet.devices[1]!.silent = true; // Assigned back before it was revoked.
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
    expect(fleet.row(id)).toMatchObject({ wave: 0, asked: true });
    expect(fleet.row(id).reasons[0]).toBe(
      'wave canary cannot be proven: 0 of 2 devices are, 1 are needed',
    );
    await fleet.operators.command(id, 'resume', by('ann'));
    await fleet.until(() => fleet.row(id).state === 'completed');
  });
});
