// The situations of the field that the server answers, over a fleet in memory: who counts, silence,
// failures and the window. What a completed rollout does is in standing-releases.test.ts.
import { describe, expect, it } from 'vitest';
import { limits } from '../../../shared/base/limits.js';
import { by } from '../../support/audit-actions.js';
import {
  COMPONENT,
  deviceId,
  policyOf,
  releaseOf,
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
  switchOff,
  takes,
  undecided,
} from '../../support/rollout-fleets.js';

const [V1, V2] = [releaseOf('1.1.0'), releaseOf('1.2.0')];

describe('devices that are off', () => {
  it('50_devices_5_unplugged_a_perfect_release_completes_and_reverts_nobody', async () => {
    const fleet = new SimFleet({ canaries: 2, fleet: 48 });
    const off = [10, 20, 30, 40, 45];
    switchOff(fleet, off);
    const id = await fleet.begin('1.1.0');
    await fleet.until(() => fleet.row(id).state !== 'rolling');
    expect(fleet.row(id).state).toBe('completed');
    expect(isWith(fleet, id, 'confirmed', 45)()).toBe(true);
    expect(off.map((n) => fleet.member(id, n).state)).toEqual(off.map(() => 'waiting'));
    expect(fleet.row(id).reasons.at(-1)).toMatch(/^5 more take it when they ask: /);
    expect(membersOf(fleet, id).some(({ failed }) => failed)).toBe(false);
    expect(
      fleet
        .versions()
        .split(' ')
        .filter((one) => one === '1.0.0'),
    ).toHaveLength(5);
    // Switched on, they follow.
    for (const n of off) fleet.devices[n]!.silent = false;
    await fleet.until(isWith(fleet, id, 'confirmed', 50));
    expect(fleet.row(id).state).toBe('completed');
    expect(new Set(fleet.versions().split(' '))).toEqual(new Set(['1.1.0']));
  });

  it('all_shops_off_at_night_nobody_asks_and_nothing_is_assigned', async () => {
    const fleet = new SimFleet();
    switchOff(fleet, [0, 1, 2, 3, 4, 5]);
    const id = await fleet.begin('1.1.0');
    await fleet.seconds(600);
    expect(fleet.row(id)).toMatchObject({ state: 'rolling', wave: 0 });
    expect(fleet.store.assignments.size).toBe(0);
    expect(fleet.hints).toEqual([]);
    const { reasons } = await fleet.operators.view(id);
    expect(reasons).toContain('2 not reached (oldest heard 4200 s ago): d1, d0');
  });

  it('shops_that_open_at_8_with_everything_off_expose_no_more_than_the_window', async () => {
    const fleet = new SimFleet({
      canaries: 0,
      fleet: 200,
      nature: onBad('bad'),
      hardware: (n) => (n % 2 === 0 ? 'pi4' : 'jetson'),
    });
    const all = fleet.devices.map((_, n) => n);
    switchOff(fleet, all);
    const id = await fleet.begin('1.2.0', oneWave());
    await fleet.seconds(60);
    expect(takes(fleet, V2.digest)).toEqual([]);
    for (const device of fleet.devices) device.silent = false; // 8:00.
    let most = 0;
    await fleet.until(() => {
      most = Math.max(most, undecided(fleet, id));
      return fleet.row(id).state === 'reverted';
    });
    expect(most).toBe(2); // One of each kind.
    expect(takes(fleet, V2.digest)).toHaveLength(2);
    expect(new Set(fleet.versions().split(' '))).toEqual(new Set(['1.0.0']));
  });

  it('a_take_that_was_never_answered_is_withdrawn_after_10_minutes_and_another_takes_the_place', async () => {
    // The third device that takes it loses its network at that moment.
    const fleet: SimFleet = new SimFleet({
      canaries: 0,
      fleet: 6,
      nature: (n) => (takes(fleet, V1.digest).indexOf(deviceId(n)) === 2 ? 'dead' : 'good'),
    });
    const id = await fleet.begin('1.1.0', oneWave());
    await fleet.until(() => fleet.devices.some(({ silent }) => silent));
    const lost = fleet.devices.findIndex(({ silent }) => silent);
    const { assignedAt } = fleet.member(id, lost);
    // The others fill the rest of the window; its own place stays taken.
    await fleet.until(isWith(fleet, id, 'confirmed', 5));
    expect(fleet.member(id, lost).state).not.toBe('waiting');
    expect(undecided(fleet, id)).toBe(1);
    await fleet.until(isWith(fleet, id, 'waiting', 1));
    expect(fleet.clock.now() - (assignedAt ?? 0)).toBe(limits.takeWaitMs + 1000);
    expect(undecided(fleet, id)).toBe(0);
    expect(assignmentOf(fleet, lost)).toMatchObject({
      release: releaseOf('1.0.0'),
      rollback: true,
    });
    expect(takes(fleet, V1.digest)).not.toContain(deviceId(lost));
    expect(fleet.member(id, lost).failed).toBe(false);
  });

  it('a_lost_first_device_holds_and_after_resume_and_10_minutes_another_takes_its_place', async () => {
    const fleet: SimFleet = new SimFleet({
      canaries: 0,
      fleet: 6,
      nature: (n) => (takes(fleet, V1.digest).indexOf(deviceId(n)) === 0 ? 'dead' : 'good'),
    });
    const id = await fleet.begin('1.1.0', oneWave());
    await fleet.until(() => fleet.row(id).state === 'held');
    await fleet.operators.command(id, 'resume', by('ann'));
    await fleet.seconds(300);
    expect([fleet.row(id).state, takes(fleet, V1.digest).length]).toEqual(['rolling', 1]);
    const [lost] = takes(fleet, V1.digest);
    fleet.devices.find(({ id: device }) => device === lost)!.silent = true;
    await fleet.until(() => takes(fleet, V1.digest).some((device) => device !== lost));
    expect(undecided(fleet, id)).toBe(1);
  });
});

describe('silence', () => {
  it('the_router_of_the_canarys_site_dies_holds_names_the_site_and_reverts_nothing', async () => {
    const fleet = new SimFleet({ canaries: 1, fleet: 5 });
    const id = await fleet.begin('1.1.0');
    await fleet.until(isWith(fleet, id, 'trial', 1));
    for (const device of fleet.devices) device.silent = device.spot.site === 'site-0';
    await fleet.until(() => fleet.row(id).state === 'held');
    expect(fleet.row(id).reasons[0]).toContain('are silent: d0 (site site-0)');
    expect(fleet.states(id)).toBe('silent waiting waiting waiting waiting waiting');
    expect(membersOf(fleet, id).some(({ failed }) => failed)).toBe(false);
    expect(assignmentOf(fleet, 0)).toMatchObject({ release: V1, assignmentId: 1 });
    // The router is back: the device goes on where it was, and a person resumes.
    for (const device of fleet.devices) device.silent = false;
    await fleet.until(isWith(fleet, id, 'confirmed', 1));
    await fleet.operators.command(id, 'resume', by('ann'));
    await fleet.until(() => fleet.row(id).state === 'completed');
  });

  it('a_silent_device_keeps_its_place_of_the_window', async () => {
    const fleet = new SimFleet({ canaries: 0, fleet: 6 });
    const id = await fleet.begin('1.1.0', oneWave());
    await fleet.until(isWith(fleet, id, 'trial', 1));
    fleet.devices.find(({ state }) => state === 'swapped')!.silent = true;
    await fleet.until(isWith(fleet, id, 'silent', 1));
    await fleet.operators.command(id, 'resume', by('ann'));
    await fleet.seconds(900);
    // It began its trial: the take stands, however long it is silent.
    expect(fleet.row(id).state).toBe('rolling');
    expect(isWith(fleet, id, 'silent', 1)()).toBe(true);
    expect(takes(fleet, V1.digest)).toHaveLength(1);
  });

  it('a_release_that_cuts_devices_off_holds_within_one_window_and_fails_nobody', async () => {
    // The first eight are good; then every device that takes it loses its network in its trial.
    const fleet = new SimFleet({ canaries: 0, fleet: 60 });
    const id = await fleet.begin('1.1.0', oneWave());
    const cutOff = (): void => {
      for (const device of fleet.devices)
        if (device.state === 'swapped' && takes(fleet, V1.digest).indexOf(device.id) >= 8)
          device.silent = true;
    };
    await fleet.until(() => {
      cutOff();
      return fleet.row(id).state === 'held';
    });
    expect(fleet.row(id)).toMatchObject({ state: 'held', asked: true });
    expect(fleet.row(id).reasons[0]).toMatch(/silent/);
    expect(membersOf(fleet, id).some(({ failed }) => failed)).toBe(false);
    expect(takes(fleet, V1.digest).length).toBeLessThanOrEqual(16);
  });
});

describe('failures', () => {
  it('a_wave_of_1000_halts_after_2_failures_in_a_row', async () => {
    const fleet = new SimFleet({ canaries: 0, fleet: 1000, nature: onBad('crashing') });
    const id = await fleet.begin('1.2.0', oneWave());
    await fleet.until(() => fleet.row(id).state === 'reverted');
    expect(takes(fleet, V2.digest)).toHaveLength(2);
    expect(fleet.row(id).reasons[0]).toMatch(
      /^2 of 2 devices that took it failed; .* of 1000 planned, .*: halted$/,
    );
  });

  it('fleet_of_3_the_first_failure_holds', async () => {
    const fleet = new SimFleet({ canaries: 0, fleet: 3, nature: onBad('crashing') });
    const id = await fleet.begin('1.2.0', oneWave());
    await fleet.until(() => fleet.row(id).state !== 'rolling');
    expect(fleet.row(id)).toMatchObject({ state: 'held', asked: true });
    expect(takes(fleet, V2.digest)).toHaveLength(1);
    expect(isWith(fleet, id, 'failed', 1)()).toBe(true);
    await fleet.operators.command(id, 'abort', by('ann'));
    await fleet.until(() => fleet.row(id).state === 'reverted');
    expect(fleet.versions()).toBe('1.0.0 1.0.0 1.0.0');
  });

  it('fleet_of_3_the_first_silence_holds', async () => {
    const fleet = new SimFleet({ canaries: 0, fleet: 3, nature: onBad('dead') });
    const id = await fleet.begin('1.2.0', oneWave());
    await fleet.until(() => fleet.row(id).state !== 'rolling');
    expect(fleet.row(id)).toMatchObject({ state: 'held', asked: true });
    expect(takes(fleet, V2.digest)).toHaveLength(1);
  });

  it('fleet_of_1_the_devices_own_trial_decides', async () => {
    const end = async (nature: Nature): Promise<[string, string, string]> => {
      const fleet = new SimFleet({ canaries: 0, fleet: 1, nature: onBad(nature) });
      const id = await fleet.begin('1.2.0', oneWave());
      await fleet.until(() => ['completed', 'reverted', 'held'].includes(fleet.row(id).state));
      return [fleet.row(id).state, fleet.states(id), fleet.versions()];
    };
    expect(await end('good')).toEqual(['completed', 'confirmed', '1.2.0']);
    expect(await end('crashing')).toEqual(['reverted', 'reverted', '1.0.0']);
    expect(await end('dead')).toEqual(['held', 'silent', '1.0.0']);
  });

  it('the_same_trouble_on_many_devices_holds', async () => {
    const fleet = new SimFleet({ canaries: 0, fleet: 40 });
    const id = await fleet.begin('1.1.0', oneWave());
    // From the fifth device on, disks are full: they cannot download it, and say so.
    for (const device of fleet.devices) {
      const tick = device.tick.bind(device);
      device.tick = async (now) => {
        const at = takes(fleet, V1.digest).indexOf(device.id);
        if (at < 4) return tick(now);
        const facts = fleet.store.reports.get(device.id)!;
        const assignmentId = fleet.store.assignments.get(device.id)?.assignmentId ?? 0;
        const trouble = { code: 'disk_full', detail: '3 MiB free', since: now };
        const update = { ...facts.update!, state: 'assigned' as const, assignmentId, trouble };
        fleet.store.reports.set(device.id, { ...facts, lastSeenAt: now, update });
      };
    }
    await fleet.until(() => fleet.row(id).state === 'held');
    expect(fleet.row(id).asked).toBe(true);
    expect(fleet.row(id).reasons.slice(0, 2)).toEqual([
      expect.stringMatching(/^4 of 8 devices that took it cannot begin, with disk_full: /),
      'disk_full: 3 MiB free',
    ]);
    expect(membersOf(fleet, id).some(({ failed }) => failed)).toBe(false);
  });
});

describe('the window', () => {
  it('grows_with_what_is_proven_and_is_never_exceeded', async () => {
    const fleet = new SimFleet({ canaries: 0, fleet: 100 });
    const id = await fleet.begin('1.1.0', oneWave());
    let most = 0;
    await fleet.until(() => {
      const proven = membersOf(fleet, id).filter((one) => one.proven).length;
      const open = undecided(fleet, id);
      expect(open).toBeLessThanOrEqual(Math.max(1, proven));
      most = Math.max(most, open);
      return fleet.row(id).state === 'completed';
    });
    expect(most).toBeGreaterThan(20);
  });

  it('a_hand_picked_group_proves_only_itself', async () => {
    const fleet = new SimFleet({ canaries: 20, fleet: 40 });
    const waves = [policyOf().waves[0]!, policyOf().waves[2]!];
    const id = await fleet.begin('1.1.0', policyOf({ waves }));
    let inGroup = 0;
    await fleet.until(() => {
      inGroup = Math.max(inGroup, undecided(fleet, id));
      return fleet.row(id).wave === 1;
    });
    expect(isProven(fleet, id, 20)()).toBe(true);
    expect(inGroup).toBeGreaterThan(4);
    // 20 are proven, and outside the group the window starts again with one of the kind.
    expect((await fleet.operators.view(id)).reasons).toContain(
      'window: 0 devices have it undecided, at most 3 may',
    );
    await fleet.until(isProven(fleet, id, 21));
    expect(takes(fleet, V1.digest)).toHaveLength(21);
    await fleet.until(() => fleet.row(id).state === 'completed');
  });

  it('wave_1_covers_every_kind_of_hardware', async () => {
    const fleet = new SimFleet({
      canaries: 0,
      fleet: 100,
      hardware: (n) => (n === 77 ? 'jetson' : 'pi4'),
    });
    const waves = [
      { name: 'first', count: 2, soakSeconds: 0, approval: false },
      { name: 'all', percent: 100, soakSeconds: 0, approval: false },
    ];
    const policy = policyOf({ waves });
    const preview = await fleet.operators.preview({
      component: COMPONENT,
      version: '1.1.0',
      policy,
    });
    expect(preview.waves[0]).toMatchObject({ devices: 2, hardware: { jetson: 1, pi4: 1 } });
    const id = await fleet.begin('1.1.0', policy);
    await fleet.until(() => fleet.row(id).wave === 1);
    expect(takes(fleet, V1.digest)).toContain(deviceId(77));
    expect(fleet.member(id, 77).proven).toBe(true);
  });
});
