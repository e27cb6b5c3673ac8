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
  World,
  type Nature,
} from '../../sim/fleet.js';

const BAD = releaseOf('1.2.0').digest;
type Natures = (n: number, release: { digest: string }) => Nature;
const badRelease =
  (nature: Nature): Natures =>
  (_, release) =>
    release.digest === BAD ? nature : 'good';
const assignment = (world: World, n: number) => world.store.assignments.get(deviceId(n));

describe('a rollout', () => {
  it('a_good_release_reaches_everyone_wave_by_wave', async () => {
    const world = new World();
    const id = await world.begin('1.1.0');
    await world.until(() => world.row(id).wave === 1);
    expect(world.versions().split(' ').slice(0, 2)).toEqual(['1.1.0', '1.1.0']);
    await world.until(() => world.row(id).state === 'completed');
    expect(world.states(id)).toBe('confirmed confirmed confirmed confirmed confirmed confirmed');
    expect(world.versions()).toBe('1.1.0 1.1.0 1.1.0 1.1.0 1.1.0 1.1.0');
    expect(world.hints).toHaveLength(6);
    const view = await world.operators.view(id);
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
    const world = new World({ nature: badRelease('bad') });
    const id = await world.begin('1.2.0');
    await world.until(() => world.row(id).state === 'reverted');
    expect(world.states(id)).toBe('reverted reverted waiting waiting waiting waiting');
    expect(world.versions()).toBe('1.0.0 1.0.0 1.0.0 1.0.0 1.0.0 1.0.0');
    expect([2, 3, 4, 5].map((n) => assignment(world, n))).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
    const back = { release: releaseOf('1.0.0'), rollback: true, assignmentId: 2 };
    expect([0, 1].map((n) => assignment(world, n))).toMatchObject([back, back]);
    const { reasons } = world.row(id);
    expect(reasons[0]).toBe(
      '2 of 2 canary devices failed; acceptable is 2 %; e-value 25.0 >= 20.0 = 1/alpha: halted',
    );
    expect(reasons.join('\n')).toMatch(
      /d0: trial_disagreement|d0: rolled_back by the device, trial_disagreement/,
    );
    expect(reasons.at(-1)).toBe('2 of 2 touched devices are back on what they ran before');
    expect(world.member(id, 0).reasons).toMatch(
      /^runs 1\.0\.0 again; failed before: .*old and new model disagree on \d+ of \d+/,
    );
  });

  it('device_claims_confirmed_but_evidence_fails', async () => {
    const world = new World({ nature: badRelease('liar') });
    const id = await world.begin('1.2.0');
    await world.until(() => world.row(id).state === 'reverted');
    expect(world.states(id)).toBe('reverted reverted waiting waiting waiting waiting');
    expect(world.versions()).toBe('1.0.0 1.0.0 1.0.0 1.0.0 1.0.0 1.0.0');
  });

  it('canary_silent_is_not_healthy', async () => {
    const world = new World({ nature: badRelease('dead') });
    const id = await world.begin('1.2.0');
    await world.until(() => world.row(id).state === 'reverted');
    expect(world.row(id).reasons[0]).toContain('2 of 2 canary devices failed');
    expect(world.states(id)).toBe('lost lost waiting waiting waiting waiting');
  });

  it('lost_device_keeps_its_revert_order', async () => {
    const world = new World({ nature: badRelease('dead') });
    const id = await world.begin('1.2.0');
    await world.until(() => world.row(id).state === 'reverted');
    expect(world.row(id).reasons.at(-1)).toMatch(
      new RegExp(
        '^0 of 2 touched devices are back on what they ran before; ' +
          'lost, with the order to go back waiting for them: (d0, d1|d1, d0)$',
      ),
    );
    expect(assignment(world, 0)).toMatchObject({ release: releaseOf('1.0.0'), rollback: true });
    world.devices[0]!.silent = false;
    await world.seconds(3);
    expect(world.devices[0]!.running).toEqual(releaseOf('1.0.0'));
    expect(world.devices[0]!.state).toBe('idle');
  });

  it('a_first_install_that_fails_is_withdrawn', async () => {
    const world = new World({ running: null, nature: () => 'crashing' });
    const id = await world.begin('1.1.0');
    await world.until(() => world.row(id).state === 'reverted');
    expect(world.versions()).toBe('- - - - - -');
    expect(assignment(world, 0)).toMatchObject({ release: null, rollback: false });
    expect(world.member(id, 0).reasons).toContain('order withdrawn; runs nothing, as before');
  });

  it('a_first_install_that_is_aborted_after_it_was_confirmed_stops_serving', async () => {
    const world = new World({ running: null });
    const waves = policyOf().waves.map((wave) => ({ ...wave, approval: true }));
    const id = await world.begin('1.1.0', policyOf({ waves }));
    await world.until(() => world.row(id).healthySince !== null);
    expect(world.versions()).toBe('1.1.0 1.1.0 - - - -');
    await world.operators.command(id, 'abort', by('ann'));
    await world.conductor.pass();
    // At rest on the release, and heard of since: that is not yet back.
    world.clock.advance(1000);
    for (const device of world.devices) device.report(world.clock.now());
    await world.conductor.pass();
    expect(world.states(id)).toBe('reverting reverting waiting waiting waiting waiting');
    await world.until(() => world.row(id).state === 'reverted');
    expect(world.versions()).toBe('- - - - - -');
  });

  it('devices_that_run_the_release_already_need_no_order', async () => {
    const world = new World({ running: '1.1.0' });
    const id = await world.begin('1.1.0');
    await world.until(() => world.row(id).state === 'completed');
    expect(world.store.assignments.size).toBe(0);
    expect(world.member(id, 0)).toMatchObject({
      state: 'confirmed',
      reasons: 'ran this release already',
      assignmentId: null,
    });
  });

  it('a_device_that_has_yet_to_obey_another_order_is_ordered_whatever_it_said_last', async () => {
    const world = new World({ canaries: 1, fleet: 1 });
    const waves = policyOf().waves.map((wave) => ({ ...wave, approval: true }));
    const first = await world.begin('1.1.0', policyOf({ waves }));
    await world.until(() => world.row(first).healthySince !== null);
    world.devices[0]!.silent = true; // It runs 1.1.0 and does not hear that it shall go back.
    await world.operators.command(first, 'abort', by('ann'));
    await world.until(() => world.row(first).state === 'reverted');
    expect(assignment(world, 0)).toMatchObject({ release: releaseOf('1.0.0'), rollback: true });
    const second = await world.begin('1.1.0');
    await world.conductor.pass();
    expect(assignment(world, 0)).toMatchObject({ release: releaseOf('1.1.0'), rollback: false });
    expect(world.member(second, 0)).toMatchObject({
      state: 'assigned',
      previous: releaseOf('1.0.0'),
      mayRun: true,
    });
    world.devices[0]!.silent = false;
    await world.until(() => world.row(second).state === 'completed');
    expect(world.member(second, 0).reasons).toBe('ran this release already');
    expect(world.versions()).toBe('1.1.0 1.1.0');
  });

  it('a_device_that_was_silent_for_a_month_is_not_taken_for_one_that_runs_the_release', async () => {
    const world = new World({ running: '1.1.0' });
    world.clock.advance(30 * 86_400_000);
    for (const device of world.devices.slice(1)) device.report(world.clock.now());
    world.devices[0]!.silent = true;
    const id = await world.begin('1.1.0');
    await world.until(() => world.member(id, 0).failed);
    expect(world.member(id, 0).reasons).toContain('silence counts as a failure');
    expect(world.member(id, 1)).toMatchObject({ state: 'confirmed', assignmentId: null });
  });

  it('what_a_device_claims_to_run_is_only_ordered_back_when_it_was_published', async () => {
    const world = new World({ running: '9.9.9', nature: () => 'crashing' });
    const id = await world.begin('1.1.0');
    await world.until(() => world.row(id).state === 'reverting');
    await world.conductor.pass();
    expect(assignment(world, 0)).toMatchObject({ release: null });
  });
});

describe('a revoked device', () => {
  const soaking = policyOf({
    waves: policyOf().waves.map((wave) => ({ ...wave, soakSeconds: 300 })),
  });

  it('is_neither_ordered_nor_judged_and_holds_up_nobody', async () => {
    const world = new World();
    const id = await world.begin('1.1.0', soaking);
    await world.until(() => world.row(id).healthySince !== null);
    const late = [2, 3, 4, 5].find((n) => world.member(id, n).wave === 2)!;
    world.revoke(0);
    world.revoke(late);
    await world.until(() => world.row(id).state === 'completed');
    const states = world.states(id).split(' ');
    expect([states[0], states[late]]).toEqual(['lost', 'lost']);
    expect(states.filter((state) => state === 'confirmed')).toHaveLength(4);
    expect(world.member(id, 0)).toMatchObject({
      failed: false,
      reasons: expect.stringMatching(/^revoked: /) as string,
    });
    expect(assignment(world, late)).toBeUndefined();
  });

  it('is_lost_at_once_when_its_rollout_goes_back_and_gets_no_order', async () => {
    const world = new World();
    const id = await world.begin('1.1.0', soaking);
    await world.until(() => world.row(id).healthySince !== null);
    await world.operators.command(id, 'abort', by('ann'));
    world.revoke(0);
    await world.conductor.pass();
    expect(world.member(id, 0)).toMatchObject({
      state: 'lost',
      reasons: 'lost: revoked, so no order reaches it',
    });
    expect(assignment(world, 0)).toMatchObject({ assignmentId: 1 });
    world.devices[1]!.silent = true; // Ordered back before it was revoked.
    await world.conductor.pass();
    world.revoke(1);
    await world.conductor.pass();
    expect(world.row(id).reasons.at(-1)).toMatch(
      /^0 of 2 touched devices are back .*; lost, because they were revoked: (d0, d1|d1, d0)$/,
    );
  });

  it('a_wave_of_revoked_devices_does_not_pass_by_their_silence', async () => {
    const world = new World();
    const id = await world.begin('1.1.0');
    world.revoke(0);
    world.revoke(1);
    await world.until(() => world.row(id).state === 'held');
    expect(world.row(id)).toMatchObject({ wave: 0 });
    expect(world.row(id).reasons.join()).toContain(
      'every device of this wave was revoked: nothing was proven',
    );
    await world.operators.command(id, 'resume', by('ann'));
    await world.until(() => world.row(id).state === 'completed');
  });
});

describe('a person', () => {
  const oneBad: Natures = (n, release) => (release.digest === BAD && n === 0 ? 'crashing' : 'good');

  it('one_failed_of_many_is_inconclusive_and_resume_goes_past_it', async () => {
    const world = new World({ canaries: 5, fleet: 5, nature: oneBad });
    const id = await world.begin('1.2.0');
    await world.until(() => world.row(id).state === 'held');
    const reasons = world.row(id).reasons.join('\n');
    expect(reasons).toMatch(
      /^1 of 5 canary devices failed.*not halted\n.*neither proven bad nor proven good; failed: d0\nd0: /,
    );
    expect(reasons).toContain('resume accepts these failures and goes on to the next wave');
    const held = await world.operators.view(id);
    expect(held.next).toEqual([
      `linnet rollout resume ${id}  # accept the failures of this wave and go on`,
      `linnet rollout abort ${id}  # take every touched device back`,
    ]);
    const assignments = world.store.assignments.size;
    await world.seconds(20);
    expect(world.row(id).state).toBe('held');
    expect(world.store.assignments.size).toBe(assignments);
    await world.operators.command(id, 'resume', by('ann'), 'd0 has a broken card');
    await world.until(() => world.row(id).state === 'completed');
    expect(
      world
        .states(id)
        .split(' ')
        .filter((state) => state === 'confirmed'),
    ).toHaveLength(9);
    expect(world.member(id, 0).state).toBe('failed');
  });

  it('resume_accepts_what_was_seen_and_a_second_failure_asks_again', async () => {
    const bad = new Set([0]);
    const nature: Natures = (n, release) =>
      release.digest === BAD && bad.has(n) ? 'crashing' : 'good';
    const world = new World({ canaries: 5, fleet: 40, nature });
    const id = await world.begin('1.2.0');
    await world.until(() => world.row(id).state === 'held');
    const next = [...world.store.memberRows.get(id)!.values()].find((member) => member.wave === 1)!;
    bad.add(Number.parseInt(next.device.slice(4), 16));
    await world.operators.command(id, 'resume', by('ann'));
    await world.until(() => world.row(id).state === 'held');
    expect(world.row(id).wave).toBe(1);
  });

  it('resume_after_a_pause_approves_nothing', async () => {
    const world = new World({ canaries: 5, nature: oneBad });
    const id = await world.begin('1.2.0');
    await world.until(() => world.member(id, 0).failed);
    await world.operators.command(id, 'pause', by('ann'));
    const open = world.states(id).includes('trial');
    await world.operators.command(id, 'resume', by('ann'));
    expect(open).toBe(true);
    expect(world.row(id).approved).toBe(false);
    await world.until(() => world.row(id).state === 'held');
    expect(world.row(id).reasons.join('\n')).toContain('neither proven bad');
  });

  it('an_approval_after_a_pause_accepts_no_failure', async () => {
    const world = new World({ canaries: 5, nature: oneBad });
    const waves = policyOf().waves.map((wave) => ({ ...wave, approval: true }));
    const id = await world.begin('1.2.0', policyOf({ waves }));
    await world.until(() => world.member(id, 0).failed);
    await world.operators.command(id, 'pause', by('ann'));
    await world.operators.command(id, 'resume', by('ann'));
    await world.operators.command(id, 'approve', by('ann'));
    await world.until(() => world.row(id).state === 'held');
    expect(world.row(id)).toMatchObject({ wave: 0, answeredAt: null });
    await world.operators.command(id, 'resume', by('ann'));
    await world.until(() => world.row(id).wave === 1);
  });

  it('a_canary_that_falls_back_after_its_wave_was_left_is_not_missed', async () => {
    const world = new World({ canaries: 5, fleet: 20 });
    const waves = policyOf().waves.map((wave) => ({
      ...wave,
      soakSeconds: wave.name === 'half' ? 1000 : 0,
    }));
    const id = await world.begin('1.1.0', policyOf({ waves }));
    await world.until(() => world.row(id).wave === 1 && world.row(id).healthySince !== null);
    world.devices[1]!.silent = true; // Silence is not bad news any more.
    await world.seconds(100);
    expect(world.row(id)).toMatchObject({ state: 'rolling', wave: 1 });
    world.devices[0]!.running = releaseOf('1.0.0');
    await world.until(() => world.row(id).state === 'held');
    expect(world.member(id, 0)).toMatchObject({
      failed: true,
      reasons: 'was confirmed, but now runs 1.0.0',
    });
    expect(world.member(id, 1).state).toBe('confirmed');
  });

  it('without_auto_revert_a_halt_waits_for_a_person', async () => {
    const world = new World({ nature: badRelease('bad') });
    const id = await world.begin('1.2.0', policyOf({ autoRevert: false }));
    await world.until(() => world.row(id).state === 'held');
    expect(world.row(id).reasons[0]).toContain('e-value 25.0 >= 20.0');
    await world.operators.command(id, 'resume', by('ann'), 'known');
    await world.until(() => world.row(id).wave === 1 && world.row(id).state === 'held');
    await world.operators.command(id, 'abort', by('ann'));
    await world.until(() => world.row(id).state === 'reverted');
    expect(world.versions()).toBe('1.0.0 1.0.0 1.0.0 1.0.0 1.0.0 1.0.0');
  });

  it('approval_wave_waits', async () => {
    const world = new World();
    const waves = policyOf().waves.map((wave, index) => ({ ...wave, approval: index === 0 }));
    const id = await world.begin('1.1.0', policyOf({ waves }));
    await world.until(() => world.row(id).healthySince !== null);
    await world.seconds(100);
    expect(world.row(id)).toMatchObject({ state: 'rolling', wave: 0 });
    const view = await world.operators.view(id);
    expect(view.reasons).toContain("wave canary asks for a person's approval before the next step");
    expect(view.next[0]).toBe(
      `linnet rollout approve ${id}  # let it go beyond this wave once it is healthy and has soaked`,
    );
    await world.operators.command(id, 'approve', by('ann'));
    await world.until(() => world.row(id).state === 'completed');
  });

  it('an_approval_and_a_soak_are_for_one_wave', async () => {
    const world = new World();
    const waves = policyOf().waves.map((wave) => ({ ...wave, approval: true, soakSeconds: 20 }));
    const id = await world.begin('1.1.0', policyOf({ waves }));
    await world.operators.command(id, 'approve', by('ann'));
    await expect(world.operators.command(id, 'approve', by('ann'))).rejects.toThrow(
      'wave 1 is approved already',
    );
    await world.until(() => world.row(id).wave === 1);
    expect(world.row(id)).toMatchObject({ approved: false, healthySince: null });
    await world.seconds(100);
    expect(world.row(id)).toMatchObject({ state: 'rolling', wave: 1 });
  });

  it('soak_counts_from_health', async () => {
    const world = new World();
    const waves = policyOf().waves.map((wave, index) => ({
      ...wave,
      soakSeconds: index === 0 ? 60 : 0,
    }));
    const id = await world.begin('1.1.0', policyOf({ waves }));
    await world.until(() => world.row(id).healthySince !== null);
    const healthy = world.row(id).healthySince!;
    expect(healthy).toBeGreaterThan(world.row(id).since);
    await world.until(() => world.row(id).wave === 1);
    expect(world.clock.now() - healthy).toBe(60_000);
  });

  it('a_canary_that_falls_silent_while_it_soaks_holds_the_wave', async () => {
    const world = new World();
    const waves = policyOf().waves.map((wave, index) => ({
      ...wave,
      soakSeconds: index === 0 ? 300 : 0,
    }));
    const id = await world.begin('1.1.0', policyOf({ waves }));
    await world.until(() => world.row(id).healthySince !== null);
    world.devices[0]!.silent = true;
    await world.until(() => world.row(id).state === 'held');
    expect(world.row(id)).toMatchObject({ wave: 0, healthySince: null });
    expect(world.member(id, 0).reasons).toContain('silent for 31 s');
  });

  it('abort_reverts_every_touched_device', async () => {
    const world = new World();
    const waves = policyOf().waves.map((wave) => ({
      ...wave,
      soakSeconds: wave.name === 'half' ? 10_000 : 0,
    }));
    const id = await world.begin('1.1.0', policyOf({ waves }));
    const confirmed = () =>
      world
        .states(id)
        .split(' ')
        .filter((state) => state === 'confirmed').length;
    await world.until(() => world.row(id).wave === 1 && confirmed() === 3);
    await world.operators.command(id, 'abort', by('ann'), 'changed my mind');
    expect(world.row(id).reasons).toEqual(['aborted by ann: changed my mind']);
    await world.until(() => world.row(id).state === 'reverted');
    expect(world.states(id).split(' ').sort().join(' ')).toBe(
      'reverted reverted reverted waiting waiting waiting',
    );
    expect(world.versions()).toBe('1.0.0 1.0.0 1.0.0 1.0.0 1.0.0 1.0.0');
    expect([0, 1, 2, 3, 4, 5].filter((n) => assignment(world, n) !== undefined)).toHaveLength(3);
  });

  it('abort_leaves_alone_a_device_that_ran_the_release_before', async () => {
    const world = new World({ canaries: 3 });
    world.devices[0]!.running = releaseOf('1.1.0');
    world.devices[0]!.report(world.clock.now());
    const id = await world.begin('1.1.0');
    await world.until(() => world.row(id).wave === 1);
    await world.operators.command(id, 'abort', by('ann'));
    await world.until(() => world.row(id).state === 'reverted');
    expect(world.member(id, 0)).toMatchObject({ state: 'confirmed', assignmentId: null });
    expect(assignment(world, 0)).toBeUndefined();
    expect(world.versions().split(' ').slice(0, 3)).toEqual(['1.1.0', '1.0.0', '1.0.0']);
  });

  it('a_paused_rollout_gives_no_orders_and_goes_on_where_it_was', async () => {
    const world = new World();
    const id = await world.begin('1.1.0');
    await world.until(() => world.states(id).includes('trial'));
    await world.operators.command(id, 'pause', by('ann'));
    await world.seconds(60);
    expect(world.row(id)).toMatchObject({ state: 'held', wave: 0 });
    expect(world.store.assignments.size).toBe(2);
    expect(world.states(id)).toBe('confirmed confirmed waiting waiting waiting waiting');
    await world.operators.command(id, 'resume', by('ann'));
    await world.until(() => world.row(id).state === 'completed');
  });

  it('impossible_commands_say_the_state_and_what_is_possible', async () => {
    const world = new World();
    const id = await world.begin('1.1.0');
    await expect(world.operators.command(id, 'resume', by('ann'))).rejects.toThrow(
      `conflict: rollout ${id} is rolling, which does not take resume; possible: approve, pause, abort`,
    );
    await expect(world.operators.command('ro-none', 'start', by('ann'))).rejects.toMatchObject({
      code: 'not_found',
    });
    const second = await world.operators.create(
      { component: COMPONENT, version: '1.2.0', policy: policyOf() },
      by('bob'),
    );
    await expect(world.operators.command(second.id, 'start', by('bob'))).rejects.toThrow(
      /rollout ro-.* of digits 1\.1\.0 is rolling: a component can have one active rollout/,
    );
    expect((await world.operators.command(second.id, 'drop', by('bob'))).state).toBe('dropped');
    expect(await world.operators.page({ limit: 10, after: null })).toHaveLength(2);
    expect(await world.operators.page({ limit: 1, after: null })).toHaveLength(1);
  });

  it('a_rollout_that_cannot_work_is_refused_when_it_is_made', async () => {
    const world = new World({ canaries: 0 });
    const make = (version: string, policy = policyOf(), groups = ['fleet', 'canary']) =>
      world.operators.create({ component: COMPONENT, version, policy, groups }, by('ann'));
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

  const outcome = (world: World, id: string) => ({
    state: world.row(id).state,
    members: world.states(id),
    versions: world.versions(),
    assignments: world.devices.map(
      (device) => world.store.assignments.get(device.id)?.assignmentId ?? 0,
    ),
  });

  it.each(scenarios)(
    'a_store_that_fails_at_random_settles_to_the_same_result_%s',
    async (_, version, nature) => {
      const calm = new World({ nature });
      const first = await calm.begin(version);
      const ended = (world: World, id: string) => () =>
        ['completed', 'reverted'].includes(world.row(id).state);
      await calm.until(ended(calm, first));
      for (let seed = 1; seed <= 15; seed++) {
        const world = new World({ nature });
        const conductors = [world.newConductor(), world.newConductor()];
        const id = await world.begin(version);
        breaking(world.store, seed);
        await world.until(ended(world, id), conductors);
        expect(outcome(world, id), `seed ${seed}`).toEqual(outcome(calm, first));
      }
    },
  );

  it('two_conductors_on_one_store_the_older_generation_loses', async () => {
    const world = new World();
    const id = await world.begin('1.1.0');
    const [a, b] = [world.newConductor(), world.newConductor()];
    const stale = { rollout: world.row(id), members: [], assignments: [] };
    await Promise.all([a.pass(), b.pass()]);
    expect(world.store.assignments.size).toBe(2);
    expect([0, 1].map((n) => assignment(world, n)?.assignmentId)).toEqual([1, 1]);
    expect(world.hints).toHaveLength(2); // The one that lost hints nobody.
    expect(await world.store.commit(stale, world.clock.now())).toBe(false);
    // And both at once, all the way.
    for (let second = 0; second < 300 && world.row(id).state !== 'completed'; second++) {
      await Promise.all([a.pass(), b.pass()]);
      world.clock.advance(1000);
      for (const device of world.devices) device.tick(world.clock.now());
    }
    expect(world.row(id).state).toBe('completed');
    expect(world.devices.map((_, n) => assignment(world, n)?.assignmentId)).toEqual([
      1, 1, 1, 1, 1, 1,
    ]);
  });

  it('two_starts_of_one_component_at_once_only_one_wins', async () => {
    const world = new World();
    const make = (version: string) =>
      world.operators.create({ component: COMPONENT, version, policy: policyOf() }, by('ann'));
    const views = await Promise.all(['1.1.0', '1.2.0'].map(make));
    const starts = await Promise.allSettled(
      views.map((view) => world.operators.command(view.id, 'start', by('ann'))),
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
    const states = async (back: (world: World) => Conductor): Promise<string> => {
      const world = new World();
      const id = await world.begin('1.1.0', policyOf({ waves }));
      await world.until(() => world.row(id).healthySince !== null);
      world.clock.advance(36_000_000); // Longer than the soak: of which nothing was heard.
      await back(world).pass();
      expect(world.row(id)).toMatchObject({ state: 'rolling', wave: 0 });
      return world.states(id);
    };
    const soaking = 'confirmed confirmed waiting waiting waiting waiting';
    expect(await states((world) => world.newConductor())).toBe(soaking); // Restarted.
    // Suspended, or its clock was set.
    expect(await states((world) => world.conductor)).toBe(soaking);
  });

  it('a_server_without_its_broker_hears_nobody_and_blames_nobody', async () => {
    const waves = policyOf().waves.map((wave, index) => ({
      ...wave,
      soakSeconds: index === 0 ? 7200 : 0,
    }));
    const world = new World();
    const id = await world.begin('1.1.0', policyOf({ waves }));
    await world.until(() => world.row(id).healthySince !== null);
    for (const device of world.devices) device.silent = true;
    world.reception.disconnected();
    await world.seconds(300);
    expect(world.states(id)).toBe('confirmed confirmed waiting waiting waiting waiting');
    world.reception.connected();
    await world.seconds(30);
    expect(world.row(id).state).toBe('rolling');
    await world.until(() => world.row(id).state === 'reverted'); // Those who stay silent now are.
  });

  it('a_server_that_died_before_its_hints_hints_again', async () => {
    const world = new World();
    const id = await world.begin('1.1.0');
    await world.until(() => world.store.assignments.size === 2);
    world.hints.length = 0;
    const reborn = world.newConductor();
    await reborn.pass();
    await reborn.pass();
    expect(world.hints.sort()).toEqual([deviceId(0), deviceId(1)]);
    expect(world.row(id).state).toBe('rolling');
  });

  it('it_works_by_itself_once_started_and_stops_when_told', async () => {
    const world = new World();
    const id = await world.begin('1.1.0');
    const conductor: Conductor = world.conductor;
    conductor.start();
    conductor.wake();
    conductor.wake();
    expect(world.clock.timers).toBe(1);
    for (let turn = 0; turn < 600 && world.row(id).state !== 'completed'; turn++) {
      world.clock.advance(500);
      for (let n = 0; n < 400 && world.clock.timers === 0; n++)
        await new Promise((resolve) => setImmediate(resolve));
      if (turn % 2 === 0) for (const device of world.devices) device.tick(world.clock.now());
    }
    expect(world.row(id).state).toBe('completed');
    await conductor.stop();
    expect(world.clock.timers).toBe(0);
    conductor.wake();
    expect(world.clock.timers).toBe(0);
  });
});
