// A completed rollout over a fleet in memory: what devices that come later take, when it alarms,
// and how it is undone; and that a rollout of an older version is refused.
import { describe, expect, it } from 'vitest';
import { by } from '../../support/audit-actions.js';
import {
  COMPONENT,
  deviceId,
  policyOf,
  releaseOf,
  SimDevice,
  SimFleet,
  type Nature,
} from '../../sim/fleet.js';
import {
  assignmentOf,
  isProven,
  isWith,
  membersOf,
  onBad,
  oneWave,
  soaking,
  switchOff,
  takes,
  undecided,
} from '../../support/rollout-fleets.js';

const [V0, V1, V2] = [releaseOf('1.0.0'), releaseOf('1.1.0'), releaseOf('1.2.0')];

describe('a standing release', () => {
  /** A device that enrols now, with what it has run since its manufacture. */
  function enrol(fleet: SimFleet, nature: Nature, group = 'fleet'): number {
    const n = fleet.devices.length;
    const spot = {
      id: deviceId(n),
      name: `d${n}`,
      group,
      hardware: 'pi4',
      site: 'site-9',
      lastSeenAt: fleet.clock.now(),
    };
    fleet.store.devices.set(spot.id, spot);
    const device = new SimDevice(
      spot.id,
      spot,
      V0,
      fleet.store,
      () => nature,
      (id) => fleet.operators.contact(id),
    );
    fleet.devices.push(device);
    device.report(fleet.clock.now());
    return n;
  }

  it('a_device_that_enrols_after_completion_takes_it_through_its_own_trial', async () => {
    const fleet = new SimFleet();
    const id = await fleet.begin('1.1.0');
    await fleet.until(() => fleet.row(id).state === 'completed');
    const late = enrol(fleet, 'good');
    await fleet.seconds(1);
    expect(fleet.member(id, late)).toMatchObject({ state: 'taken', previous: V0, wave: 2 });
    await fleet.until(isWith(fleet, id, 'trial', 1));
    await fleet.until(isWith(fleet, id, 'confirmed', 7));
    expect(fleet.devices[late]!.running).toEqual(V1);
    expect(takes(fleet, V1.digest)).toHaveLength(7);
    expect(fleet.row(id).state).toBe('completed');
  });

  it('a_late_device_on_trial_does_not_keep_the_next_rollout_from_starting', async () => {
    const fleet = new SimFleet();
    const id = await fleet.begin('1.1.0');
    await fleet.until(() => fleet.row(id).state === 'completed');
    const late = enrol(fleet, 'good');
    await fleet.until(isWith(fleet, id, 'trial', 1));
    const next = await fleet.begin('1.2.0');
    expect(fleet.row(next).state).toBe('rolling');
    await fleet.until(() => fleet.row(next).state === 'completed');
    await fleet.until(() => fleet.devices[late]!.running?.version === '1.2.0');
  });

  it('a_late_device_that_fails_it_goes_back_by_itself_and_is_not_asked_again', async () => {
    const fleet = new SimFleet();
    const id = await fleet.begin('1.1.0');
    await fleet.until(() => fleet.row(id).state === 'completed');
    const late = enrol(fleet, 'crashing');
    await fleet.until(isWith(fleet, id, 'failed', 1));
    await fleet.seconds(60);
    expect(fleet.devices[late]!.running).toEqual(V0);
    expect(fleet.member(id, late)).toMatchObject({ state: 'failed', failed: true });
    expect(assignmentOf(fleet, late)?.assignmentId).toBe(1);
    expect(fleet.row(id).state).toBe('completed');
    expect(
      fleet
        .versions()
        .split(' ')
        .filter((one) => one === '1.1.0'),
    ).toHaveLength(6);
  });

  it('alarms_when_late_devices_fail_it_and_no_further_device_takes_it', async () => {
    const fleet = new SimFleet();
    const id = await fleet.begin('1.1.0');
    await fleet.until(() => fleet.row(id).state === 'completed');
    for (const failures of [1, 2]) {
      expect(fleet.row(id).asked).toBe(false);
      enrol(fleet, 'crashing');
      await fleet.until(isWith(fleet, id, 'failed', failures));
    }
    expect(fleet.row(id)).toMatchObject({ state: 'completed', asked: true });
    expect(fleet.row(id).reasons.slice(-4)).toEqual([
      expect.stringMatching(/^2 of 8 devices that took it failed; .*: halted$/),
      expect.stringMatching(/^d6: /),
      expect.stringMatching(/^d7: /),
      'no further device takes it; undo rolls it back on those that have it',
    ]);
    expect(fleet.events).toEqual([
      {
        source: { kind: 'server' },
        code: 'release_alarm',
        detail: expect.stringMatching(/^rollout \S+ of digits 1\.1\.0 \(\w+\): 2 of 8 /) as string,
      },
    ]);
    const late = enrol(fleet, 'good');
    await fleet.seconds(60);
    expect(assignmentOf(fleet, late)).toBeUndefined();
    expect(fleet.versions().split(' ').slice(0, 6)).toEqual(Array(6).fill('1.1.0'));
    await fleet.operators.command(id, 'undo', by('ann'));
    await fleet.until(() => fleet.row(id).state === 'reverted');
    expect(new Set(fleet.versions().split(' '))).toEqual(new Set(['1.0.0']));
  });

  it.each([
    ['the_release_that_stood_before_where_the_floor_allows_it', '1.0.0', '1.0.0'],
    ['nothing_where_no_floor_is_signed', null, '-'],
  ])('undone_leaves_a_device_that_came_with_nothing_%s', async (_, floor, runs) => {
    const fleet = new SimFleet({ running: null });
    fleet.floor = floor;
    const first = await fleet.begin('1.0.0');
    await fleet.until(() => fleet.row(first).state === 'completed');
    const id = await fleet.begin('1.1.0');
    await fleet.until(() => fleet.row(id).state === 'completed');
    const late = enrol(fleet, 'good');
    const device = fleet.devices[late]!;
    device.running = null;
    device.report(fleet.clock.now());
    await fleet.until(isWith(fleet, id, 'confirmed', 7));
    expect(fleet.member(id, late).previous).toBeNull();
    await fleet.operators.command(id, 'undo', by('ann'));
    await fleet.until(() => fleet.row(id).state === 'reverted');
    expect(fleet.versions().split(' ')[late]).toBe(runs);
    expect(fleet.member(id, late).state).toBe('reverted');
  });

  it('does_not_alarm_about_failures_that_a_person_accepted_on_the_way', async () => {
    const fleet = new SimFleet({ nature: onBad('crashing', (n) => n < 2) });
    const id = await fleet.begin('1.2.0', policyOf({ autoRevert: false }));
    await fleet.until(() => fleet.row(id).state === 'held');
    await fleet.operators.command(id, 'resume', by('ann'), { reason: 'both have a broken card' });
    await fleet.until(() => fleet.row(id).state === 'completed');
    const late = enrol(fleet, 'good');
    await fleet.seconds(60);
    expect(fleet.row(id).asked).toBe(false);
    expect(fleet.devices[late]!.running).toEqual(V2);
  });

  it('comes_again_to_a_device_whose_copy_was_damaged_and_fails_nobody', async () => {
    const fleet = new SimFleet();
    const id = await fleet.begin('1.1.0');
    await fleet.until(() => fleet.row(id).state === 'completed');
    const device = fleet.devices[3]!;
    [device.running, device.previous] = [V0, null];
    device.outcome = {
      result: 'reverted',
      code: 'file_digest',
      detail: 'slot a',
      release: V1,
      assignmentId: assignmentOf(fleet, 3)?.assignmentId ?? 0,
    };
    device.report(fleet.clock.now());
    await fleet.until(() => assignmentOf(fleet, 3)?.assignmentId === 2);
    await fleet.until(isWith(fleet, id, 'confirmed', 6));
    expect(device.running).toEqual(V1);
    expect(membersOf(fleet, id).some(({ failed }) => failed)).toBe(false);
    expect(takes(fleet, V1.digest)).toHaveLength(6);
  });

  it('alarms_when_confirmed_devices_fall_back_after_its_completion', async () => {
    const fleet = new SimFleet();
    const id = await fleet.begin('1.1.0');
    await fleet.until(() => fleet.row(id).state === 'completed');
    for (const n of [1, 2]) fleet.devices[n]!.running = V0;
    await fleet.seconds(5);
    expect(isWith(fleet, id, 'failed', 2)()).toBe(true);
    expect(fleet.row(id)).toMatchObject({ state: 'completed', asked: true });
  });

  it('is_only_the_last_completed_one_and_none_while_another_is_under_way', async () => {
    const fleet = new SimFleet();
    const first = await fleet.begin('1.1.0');
    await fleet.until(() => fleet.row(first).state === 'completed');
    const second = await fleet.begin('1.2.0');
    const late = enrol(fleet, 'good');
    await fleet.seconds(3);
    expect(assignmentOf(fleet, late)).toBeUndefined();
    await fleet.until(() => fleet.row(second).state === 'completed');
    await fleet.until(() => fleet.devices[late]!.running?.version === '1.2.0');
    expect(assignmentOf(fleet, late)?.assignmentId).toBe(1);
    expect(fleet.store.memberRows.get(first)?.get(deviceId(late))).toBeUndefined();
  });

  it('is_for_its_own_groups_only', async () => {
    const fleet = new SimFleet();
    const { id } = await fleet.operators.create(
      {
        component: COMPONENT,
        version: '1.1.0',
        policy: oneWave(),
        selector: { groups: ['fleet'] },
      },
      by('ann'),
    );
    await fleet.operators.command(id, 'start', by('ann'));
    await fleet.until(() => fleet.row(id).state === 'completed');
    const other = enrol(fleet, 'good', 'labs');
    const own = enrol(fleet, 'good', 'fleet');
    await fleet.until(() => fleet.devices[own]!.running?.version === '1.1.0');
    expect(assignmentOf(fleet, other)).toBeUndefined();
  });

  it('late_devices_keep_to_the_window', async () => {
    const fleet = new SimFleet({ canaries: 1, fleet: 1 });
    const id = await fleet.begin('1.1.0', soaking(60));
    await fleet.until(() => fleet.row(id).state === 'completed');
    for (let count = 0; count < 6; count++) enrol(fleet, 'good');
    await fleet.until(() => {
      expect(undecided(fleet, id)).toBeLessThanOrEqual(
        Math.max(1, membersOf(fleet, id).filter((one) => one.proven).length),
      );
      return isProven(fleet, id, 8)();
    });
  });
});

describe('an older version', () => {
  it('a_rollout_of_an_older_version_is_refused_at_creation_with_names', async () => {
    const fleet = new SimFleet({ running: '1.2.0' });
    fleet.devices[1]!.running = V0;
    fleet.devices[1]!.report(fleet.clock.now());
    const request = { component: COMPONENT, version: '1.1.0', policy: policyOf() };
    const refusal =
      /^conflict: 5 devices run a newer release and would refuse 1\.1\.0: .*d\d \(1\.2\.0\).*undo/;
    await expect(fleet.operators.create(request, by('ann'))).rejects.toThrow(refusal);
    await expect(fleet.operators.preview(request)).rejects.toThrow(refusal);
    expect(fleet.store.rows.size).toBe(0);
  });
});

describe('undo', () => {
  it('goes_through_the_window_and_every_device_is_back', async () => {
    const fleet = new SimFleet({ canaries: 0, fleet: 60 });
    const id = await fleet.begin('1.1.0', oneWave());
    await fleet.until(() => fleet.row(id).state === 'completed');
    await fleet.operators.command(id, 'undo', by('ann'), { reason: 'drift in the field' });
    expect(fleet.row(id)).toMatchObject({ state: 'reverting', undo: true });
    expect(fleet.row(id).reasons).toEqual(['undone by ann: drift in the field']);
    const sizes: number[] = [];
    await fleet.until(() => {
      const reverting = membersOf(fleet, id).filter(({ state }) => state === 'reverting').length;
      const back = membersOf(fleet, id).filter(({ state }) => state === 'reverted').length;
      expect(reverting).toBeLessThanOrEqual(Math.max(3, back));
      sizes.push(reverting);
      return fleet.row(id).state === 'reverted';
    });
    expect(sizes[0]).toBe(3);
    expect(Math.max(...sizes)).toBeGreaterThan(10);
    expect(new Set(fleet.versions().split(' '))).toEqual(new Set(['1.0.0']));
    expect(fleet.row(id).reasons.at(-1)).toBe(
      '60 of 60 touched devices are back on what they ran before',
    );
  });

  it('a_device_that_is_off_goes_back_when_it_returns', async () => {
    const fleet = new SimFleet();
    const id = await fleet.begin('1.1.0');
    await fleet.until(() => fleet.row(id).state === 'completed');
    fleet.devices[3]!.silent = true;
    await fleet.seconds(60);
    await fleet.operators.command(id, 'undo', by('ann'));
    await fleet.until(() => fleet.row(id).state === 'reverted');
    expect(fleet.row(id).reasons.at(-1)).toContain('with their rollback still assigned: d3');
    fleet.devices[3]!.silent = false;
    await fleet.seconds(3);
    expect(fleet.versions()).toBe('1.0.0 1.0.0 1.0.0 1.0.0 1.0.0 1.0.0');
  });

  it('an_undone_release_is_no_standing_release_any_more', async () => {
    const fleet = new SimFleet();
    switchOff(fleet, [4]);
    const id = await fleet.begin('1.1.0');
    await fleet.until(() => fleet.row(id).state === 'completed');
    await fleet.operators.command(id, 'undo', by('ann'));
    await fleet.until(() => fleet.row(id).state === 'reverted');
    fleet.devices[4]!.silent = false;
    await fleet.seconds(60);
    expect(assignmentOf(fleet, 4)).toBeUndefined();
    expect(fleet.versions()).toBe('1.0.0 1.0.0 1.0.0 1.0.0 1.0.0 1.0.0');
  });
});
