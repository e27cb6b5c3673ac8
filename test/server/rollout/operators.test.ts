// What operators do with rollouts, over a fleet in memory: resume, approve, pause, abort, undo, and
// what is refused.
import { describe, expect, it } from 'vitest';
import { by } from '../../support/audit-actions.js';
import { COMPONENT, deviceId, policyOf, releaseOf, SimFleet } from '../../sim/fleet.js';
import {
  approvedWaves,
  assignmentOf,
  isProven,
  isWith,
  membersOf,
  onBad,
  oneWave,
  soaking,
} from '../../support/rollout-fleets.js';

const firstIsBad = onBad('crashing', (n) => n === 0);
/** Of five planned devices the first failure holds, the second one halts. */
const small = { canaries: 2, fleet: 3 };

describe('resume', () => {
  it('one_failed_of_five_holds_and_resume_goes_past_it', async () => {
    const fleet = new SimFleet({ ...small, nature: firstIsBad });
    const id = await fleet.begin('1.2.0');
    await fleet.until(() => fleet.row(id).state === 'held');
    const reasons = fleet.row(id).reasons.join('\n');
    expect(reasons).toMatch(
      /^1 of \d devices that took it failed.*not halted.*so a person decides\nd0: /,
    );
    expect(reasons).toContain('resume accepts this and continues');
    const held = await fleet.operators.view(id);
    expect(held.next).toEqual([
      `linnet rollout resume ${id}  # accept what held it and continue`,
      `linnet rollout abort ${id}  # roll every touched device back`,
    ]);
    const assignments = fleet.store.assignments.size;
    await fleet.seconds(20);
    expect(fleet.row(id).state).toBe('held');
    expect(fleet.store.assignments.size).toBe(assignments);
    await fleet.operators.command(id, 'resume', by('ann'), { reason: 'd0 has a broken card' });
    expect(fleet.row(id).reasons).toEqual([
      'resumed by ann: d0 has a broken card',
      expect.stringMatching(/^accepted: 1 of \d devices that took it failed/),
    ]);
    await fleet.until(() => fleet.row(id).state === 'completed');
    expect(isWith(fleet, id, 'confirmed', 4)()).toBe(true);
    expect(fleet.member(id, 0).state).toBe('failed');
  });

  it('one_failed_of_ten_is_carried_and_named', async () => {
    const fleet = new SimFleet({ canaries: 5, fleet: 5, nature: firstIsBad });
    const id = await fleet.begin('1.2.0');
    await fleet.until(() => fleet.row(id).state === 'completed');
    expect(fleet.member(id, 0)).toMatchObject({ state: 'failed', failed: true });
    const { reasons } = await fleet.operators.view(id);
    expect(reasons.join('\n')).toMatch(/1 of 10 devices that took it failed; .*: not halted/);
  });

  it('resume_does_not_reset_the_test', async () => {
    const fleet = new SimFleet({ ...small, nature: onBad('crashing') });
    const id = await fleet.begin('1.2.0');
    await fleet.until(() => fleet.row(id).state === 'held');
    await fleet.operators.command(id, 'resume', by('ann'));
    await fleet.until(() => fleet.row(id).state === 'reverted');
    expect(fleet.row(id).reasons[0]).toMatch(/^2 of 2 devices that took it failed/);
    expect(fleet.versions()).toBe('1.0.0 1.0.0 1.0.0 1.0.0 1.0.0');
  });

  it('a_new_rollout_of_a_halted_release_halts_at_once', async () => {
    const fleet = new SimFleet({ nature: onBad('crashing') });
    const first = await fleet.begin('1.2.0');
    await fleet.until(() => fleet.row(first).state === 'reverted');
    const second = await fleet.begin('1.2.0');
    await fleet.conductor.pass();
    expect(fleet.row(second).state).toBe('reverted');
    expect(fleet.states(second)).toBe('waiting waiting waiting waiting waiting waiting');
  });

  it('resume_accepts_what_was_seen_and_a_later_failure_asks_again', async () => {
    // Of 100 planned, the 2nd failure halts up to the 11th take and holds up to the 33rd; the 3rd
    // halts up to the 31st and holds up to the 53rd.
    const badAt = [11, 12, 39];
    const takes = () => fleet.store.takeRows.get(releaseOf('1.2.0').digest) ?? [];
    const fleet: SimFleet = new SimFleet({
      canaries: 0,
      fleet: 100,
      nature: (n, release) =>
        release.digest === releaseOf('1.2.0').digest &&
        badAt.includes(takes().findIndex((one) => one.device === deviceId(n)))
          ? 'crashing'
          : 'good',
    });
    const id = await fleet.begin('1.2.0', oneWave());
    await fleet.until(() => fleet.row(id).state === 'held');
    expect(membersOf(fleet, id).filter(({ failed }) => failed)).toHaveLength(2);
    await fleet.operators.command(id, 'resume', by('ann'));
    await fleet.seconds(2);
    expect(fleet.row(id).state).toBe('rolling');
    await fleet.until(() => fleet.row(id).state === 'held');
    expect(membersOf(fleet, id).filter(({ failed }) => failed)).toHaveLength(3);
    await fleet.operators.command(id, 'resume', by('ann'));
    await fleet.until(() => fleet.row(id).state === 'completed');
  });

  it('resume_after_a_pause_approves_nothing', async () => {
    const fleet = new SimFleet({ ...small, nature: firstIsBad });
    const id = await fleet.begin('1.2.0');
    await fleet.until(isWith(fleet, id, 'trial', 1));
    await fleet.operators.command(id, 'pause', by('ann'));
    await fleet.operators.command(id, 'resume', by('ann'));
    expect(fleet.row(id)).toMatchObject({ approved: false, answeredAt: null });
    await fleet.until(() => fleet.row(id).state === 'held');
    expect(fleet.row(id).reasons.join('\n')).toContain('so a person decides');
  });

  it('a_failure_during_a_pause_holds_after_it', async () => {
    const fleet = new SimFleet({ ...small, nature: onBad('crashing') });
    const id = await fleet.begin('1.2.0');
    await fleet.until(isWith(fleet, id, 'trial', 1));
    await fleet.operators.command(id, 'pause', by('ann'));
    await fleet.until(isWith(fleet, id, 'failed', 1));
    expect(fleet.row(id)).toMatchObject({ state: 'held', asked: false });
    await fleet.operators.command(id, 'resume', by('ann'));
    await fleet.conductor.pass();
    expect(fleet.row(id)).toMatchObject({ state: 'held', asked: true });
  });

  it('an_approval_after_a_pause_accepts_no_failure', async () => {
    const fleet = new SimFleet({ ...small, nature: firstIsBad });
    const id = await fleet.begin('1.2.0', approvedWaves);
    await fleet.until(isWith(fleet, id, 'trial', 1));
    await fleet.operators.command(id, 'pause', by('ann'));
    await fleet.until(() => fleet.member(id, 0).failed || fleet.member(id, 1).proven);
    await fleet.operators.command(id, 'resume', by('ann'));
    await fleet.operators.command(id, 'approve', by('ann'));
    await fleet.until(() => fleet.row(id).state === 'held');
    expect(fleet.row(id)).toMatchObject({ wave: 0, answeredAt: null });
    await fleet.operators.command(id, 'resume', by('ann'));
    await fleet.until(() => fleet.row(id).wave === 1);
  });
});

describe('a failure after a wave was left', () => {
  it('a_canary_that_falls_back_is_not_missed_and_one_that_falls_silent_is_no_news', async () => {
    const fleet = new SimFleet(small);
    const waves = policyOf().waves.map((wave) => ({
      ...wave,
      soakSeconds: wave.name === 'half' ? 1000 : 0,
    }));
    const id = await fleet.begin('1.1.0', policyOf({ waves }));
    await fleet.until(() => fleet.row(id).wave === 1 && fleet.states(id).includes('confirmed w'));
    fleet.devices[1]!.silent = true;
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
});

describe('without auto revert', () => {
  it('a_halt_waits_for_a_person', async () => {
    const fleet = new SimFleet({ nature: onBad('bad') });
    const id = await fleet.begin('1.2.0', policyOf({ autoRevert: false }));
    await fleet.until(() => fleet.row(id).state === 'held');
    expect(fleet.row(id).reasons[0]).toMatch(/^2 of 2 devices that took it failed.*: halted$/);
    expect((await fleet.operators.view(id)).next[0]).toBe(
      `linnet rollout resume ${id}  # continue in spite of these failures`,
    );
    await fleet.operators.command(id, 'resume', by('ann'), { reason: 'known' });
    await fleet.until(() => fleet.row(id).wave === 1 && fleet.row(id).state === 'held');
    await fleet.operators.command(id, 'abort', by('ann'));
    await fleet.until(() => fleet.row(id).state === 'reverted');
    expect(fleet.versions()).toBe('1.0.0 1.0.0 1.0.0 1.0.0 1.0.0 1.0.0');
  });

  it('with_it_a_held_rollout_says_that_resuming_would_roll_back', async () => {
    const fleet = new SimFleet({ nature: onBad('crashing') });
    const id = await fleet.begin('1.2.0');
    await fleet.until(isWith(fleet, id, 'trial', 1));
    await fleet.until(isWith(fleet, id, 'failed', 1));
    await fleet.until(isWith(fleet, id, 'trial', 1));
    await fleet.operators.command(id, 'pause', by('ann'));
    await fleet.until(isWith(fleet, id, 'failed', 2));
    expect((await fleet.operators.view(id)).next[0]).toBe(
      `linnet rollout resume ${id}  # ` +
        'the halt test has fired: every touched device would be rolled back at once',
    );
    await fleet.operators.command(id, 'resume', by('ann'));
    await fleet.until(() => fleet.row(id).state === 'reverted');
  });
});

describe('approval and soak', () => {
  it('approval_wave_waits', async () => {
    const fleet = new SimFleet();
    const waves = policyOf().waves.map((wave, index) => ({ ...wave, approval: index === 0 }));
    const id = await fleet.begin('1.1.0', policyOf({ waves }));
    await fleet.until(isProven(fleet, id, 2));
    await fleet.seconds(100);
    expect(fleet.row(id)).toMatchObject({ state: 'rolling', wave: 0 });
    const view = await fleet.operators.view(id);
    expect(view.reasons).toContain("wave canary needs an operator's approval before the next step");
    expect(view.next[0]).toBe(
      `linnet rollout approve ${id}  # allow the step beyond this wave once it is proven`,
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
    expect(fleet.row(id)).toMatchObject({ approved: false });
    expect(membersOf(fleet, id).filter(({ wave, proven }) => wave === 1 && proven)).toEqual([]);
    await fleet.seconds(100);
    expect(fleet.row(id)).toMatchObject({ state: 'rolling', wave: 1 });
  });

  it('soak_counts_from_the_confirmation_of_each_device', async () => {
    const fleet = new SimFleet({ canaries: 1 });
    const id = await fleet.begin('1.1.0', soaking(60));
    await fleet.until(isWith(fleet, id, 'confirmed', 1));
    const { since, proven } = fleet.member(id, 0);
    expect(proven).toBe(false);
    expect(since).toBe(fleet.clock.now());
    await fleet.until(() => fleet.row(id).wave === 1);
    expect(fleet.clock.now() - since).toBe(60_000);
  });

  it('a_canary_that_falls_silent_while_it_soaks_holds_the_wave', async () => {
    const fleet = new SimFleet({ canaries: 1 });
    const id = await fleet.begin('1.1.0', soaking(300));
    await fleet.until(isWith(fleet, id, 'confirmed', 1));
    fleet.devices[0]!.silent = true;
    await fleet.until(() => fleet.row(id).state === 'held');
    expect(fleet.row(id)).toMatchObject({ wave: 0, asked: true });
    expect(fleet.member(id, 0)).toMatchObject({ state: 'silent', failed: false, proven: false });
    fleet.devices[0]!.silent = false;
    await fleet.until(isWith(fleet, id, 'confirmed', 1));
    const back = fleet.member(id, 0).since;
    await fleet.operators.command(id, 'resume', by('ann'));
    await fleet.until(() => fleet.row(id).wave === 1);
    expect(fleet.clock.now() - back).toBe(300_000);
  });
});

describe('abort and pause', () => {
  it('abort_reverts_every_touched_device', async () => {
    const fleet = new SimFleet();
    const waves = policyOf().waves.map((wave) => ({
      ...wave,
      soakSeconds: wave.name === 'half' ? 10_000 : 0,
    }));
    const id = await fleet.begin('1.1.0', policyOf({ waves }));
    await fleet.until(() => fleet.row(id).wave === 1 && isWith(fleet, id, 'confirmed', 3)());
    await fleet.operators.command(id, 'abort', by('ann'), { reason: 'changed my mind' });
    expect(fleet.row(id).reasons).toEqual(['aborted by ann: changed my mind']);
    await fleet.until(() => fleet.row(id).state === 'reverted');
    expect(fleet.states(id).split(' ').sort().join(' ')).toBe(
      'reverted reverted reverted waiting waiting waiting',
    );
    expect(fleet.versions()).toBe('1.0.0 1.0.0 1.0.0 1.0.0 1.0.0 1.0.0');
    expect([0, 1, 2, 3, 4, 5].filter((n) => assignmentOf(fleet, n) !== undefined)).toHaveLength(3);
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
    expect(assignmentOf(fleet, 0)).toBeUndefined();
    expect(fleet.versions().split(' ').slice(0, 3)).toEqual(['1.1.0', '1.0.0', '1.0.0']);
  });

  it('a_paused_rollout_lets_no_device_take_it_and_continues_where_it_was', async () => {
    const fleet = new SimFleet();
    const id = await fleet.begin('1.1.0');
    await fleet.until(isWith(fleet, id, 'trial', 1));
    await fleet.operators.command(id, 'pause', by('ann'));
    await fleet.seconds(60);
    expect(fleet.row(id)).toMatchObject({ state: 'held', wave: 0 });
    expect(fleet.store.assignments.size).toBe(1);
    expect(isWith(fleet, id, 'confirmed', 1)()).toBe(true);
    expect((await fleet.operators.view(id)).next[0]).toBe(
      `linnet rollout resume ${id}  # continue`,
    );
    await fleet.operators.command(id, 'resume', by('ann'));
    await fleet.until(() => fleet.row(id).state === 'completed');
  });
});

describe('what is refused', () => {
  it('impossible_commands_say_the_state_and_what_is_possible', async () => {
    const fleet = new SimFleet();
    const id = await fleet.begin('1.1.0');
    await expect(fleet.operators.command(id, 'resume', by('ann'))).rejects.toThrow(
      `conflict: rollout ${id} is rolling, which does not take resume; ` +
        'possible: approve, pause, abort',
    );
    await expect(fleet.operators.command(id, 'undo', by('ann'))).rejects.toThrow(
      'which does not take undo',
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
    await expect(fleet.operators.command(second.id, 'abort', by('bob'))).rejects.toThrow(
      'is dropped, which does not take abort; it takes no commands any more',
    );
    expect(await fleet.operators.page({ limit: 10, after: null }, {})).toHaveLength(2);
    expect(await fleet.operators.page({ limit: 1, after: null }, {})).toHaveLength(1);
  });

  it('a_rollout_that_cannot_work_is_refused_when_it_is_made', async () => {
    const fleet = new SimFleet({ canaries: 0 });
    const make = (version: string, policy = policyOf(), groups = ['fleet', 'canary']) =>
      fleet.operators.create(
        { component: COMPONENT, version, policy, selector: { groups } },
        by('ann'),
      );
    await expect(make('3.0.0')).rejects.toMatchObject({ code: 'not_found' });
    await expect(make('1.1.0')).rejects.toThrow('wave canary: no device of group canary');
    const upside = policyOf({ alarmingFailurePermille: 5 });
    await expect(make('1.1.0', upside)).rejects.toThrow('alarmingFailurePermille must be above');
    await expect(make('1.1.0', oneWave(), ['nobody'])).rejects.toThrow('no enrolled device');
  });

  it('an_undo_waits_for_the_rollout_that_is_active', async () => {
    const fleet = new SimFleet();
    const first = await fleet.begin('1.1.0');
    await fleet.until(() => fleet.row(first).state === 'completed');
    const second = await fleet.begin('1.2.0');
    await expect(fleet.operators.command(first, 'undo', by('ann'))).rejects.toThrow(
      `rollout ${second} of digits 1.2.0 is rolling`,
    );
    expect(fleet.row(first)).toMatchObject({ state: 'completed', undo: false });
  });

  it('an_undo_of_a_rollout_that_a_later_one_has_replaced', async () => {
    const fleet = new SimFleet();
    const first = await fleet.begin('1.1.0');
    await fleet.until(() => fleet.row(first).state === 'completed');
    const second = await fleet.begin('1.2.0');
    await fleet.until(() => fleet.row(second).state === 'completed');
    await expect(fleet.operators.command(first, 'undo', by('ann'))).rejects.toThrow(
      `rollout ${second} of digits 1.2.0 came after it: undo that first`,
    );
    await fleet.operators.command(second, 'undo', by('ann'));
    await fleet.until(() => fleet.row(second).state === 'reverted');
    await fleet.operators.command(first, 'undo', by('ann'));
    await fleet.until(() => fleet.row(first).state === 'reverted');
    expect(fleet.versions()).toBe('1.0.0 1.0.0 1.0.0 1.0.0 1.0.0 1.0.0');
  });
});
