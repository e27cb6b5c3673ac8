// When devices may take a release: hours of a zone, and so many in any hour.
import { describe, expect, it } from 'vitest';
import { lastTake, paused, rateRoom, recentTakes } from '../../../server/rollout/pace.js';
import { HOUR_MS, MINUTE_MS } from '../../../shared/base/units.js';
import { COMPONENT, policyOf, SimFleet } from '../../sim/fleet.js';
import { by } from '../../support/audit-actions.js';
import { member, waiting } from '../../support/rollout-rows.js';

const T = Date.UTC(2026, 0, 1, 12);

describe('hours', () => {
  const policy = policyOf({ hours: { windows: ['22:00-05:00'], zone: 'Europe/Berlin' } });

  it('no_device_takes_it_outside_of_them_and_the_reason_names_when', () => {
    expect(paused(policy, null, T)).toEqual({
      until: Date.UTC(2026, 0, 1, 21),
      reason: 'no device may take it until 22:00 Europe/Berlin (hours 22:00-05:00)',
    });
    expect(paused(policy, null, Date.UTC(2026, 0, 1, 21))).toBeNull();
    expect(paused(policy, null, Date.UTC(2026, 0, 2, 3, 59))).toBeNull();
    expect(paused(policy, null, Date.UTC(2026, 0, 2, 4))).not.toBeNull();
    expect(paused(policyOf(), null, T)).toBeNull();
  });
});

describe('rate', () => {
  const policy = policyOf({ takesPerHour: 2 });
  const at = (n: number, minutes: number) => member(n, { assignedAt: T - minutes * MINUTE_MS });

  it('no_more_than_so_many_take_it_in_any_hour', () => {
    const members = [at(0, 70), at(1, 50), at(2, 10), waiting(3)];
    const last = lastTake(members, 2);
    expect(last).toBe(T - 50 * MINUTE_MS);
    expect(paused(policy, last, T)).toMatchObject({ until: T + 10 * MINUTE_MS });
    expect(paused(policy, last, T)?.reason).toBe(
      'no device may take it until 2026-01-01T12:10:00.000Z: ' +
        '2 took it within an hour, as many as the policy allows',
    );
    expect(paused(policy, last, T + 10 * MINUTE_MS)).toBeNull();
    expect(rateRoom(policy, recentTakes(members, T))).toBe(0);
    expect(rateRoom(policy, recentTakes(members, T + 10 * MINUTE_MS))).toBe(1);
    expect(rateRoom(policyOf(), recentTakes(members, T))).toBe(Number.POSITIVE_INFINITY);
  });

  it('one_that_did_not_answer_its_assignment_took_nothing', () => {
    expect(lastTake([waiting(0, { assignedAt: T }), at(1, 5)], 2)).toBeNull();
    expect(lastTake([at(1, 5)], undefined)).toBeNull();
  });
});

describe('a fleet', () => {
  const waves = [{ name: 'all', percent: 100, soakSeconds: 0, approval: false }];

  it('waits_for_the_hours_without_a_hold_and_then_takes_it', async () => {
    // It starts at midnight UTC.
    const fleet = new SimFleet({ canaries: 0, fleet: 3 });
    const hours = { windows: ['00:05-00:30'], zone: 'UTC' };
    const id = await fleet.begin('1.1.0', policyOf({ waves, hours, startWindow: 3 }));
    await fleet.seconds(295);
    expect(fleet.states(id)).toBe('waiting waiting waiting');
    const view = await fleet.operators.view(id);
    expect(view).toMatchObject({ state: 'rolling' });
    expect(view.reasons).toContain('no device may take it until 00:05 UTC (hours 00:05-00:30)');
    expect(fleet.hints).toEqual([]);
    await fleet.until(() => fleet.row(id).state === 'completed');
    expect(fleet.versions()).toBe('1.1.0 1.1.0 1.1.0');
    expect((await fleet.operators.view(id)).reasons.join()).not.toContain('until');
  });

  it('takes_it_no_faster_than_the_rate_and_does_not_end_before', async () => {
    const fleet = new SimFleet({ canaries: 0, fleet: 3 });
    const policy = policyOf({ waves, takesPerHour: 2, startWindow: 3, kindWindow: 3 });
    const id = await fleet.begin('1.1.0', policy);
    await fleet.seconds(200);
    expect(fleet.states(id).split(' ').sort()).toEqual(['confirmed', 'confirmed', 'waiting']);
    expect((await fleet.operators.view(id)).reasons.join('\n')).toMatch(
      /no device may take it until .*: 2 took it within an hour/,
    );
    fleet.clock.advance(HOUR_MS - 210_000);
    for (const device of fleet.devices) device.report(fleet.clock.now());
    await fleet.seconds(5);
    expect(fleet.states(id)).toContain('waiting');
    await fleet.until(() => fleet.row(id).state === 'completed');
    expect(fleet.versions()).toBe('1.1.0 1.1.0 1.1.0');
  });

  it('is_held_at_its_deadline_and_resumed_goes_on_without_one', async () => {
    const fleet = new SimFleet({ canaries: 0, fleet: 3 });
    fleet.devices[2]!.silent = true;
    const wait = [{ ...waves[0]!, minProven: 3 }];
    const deadline = new Date(fleet.clock.now() + 100_000).toISOString();
    const id = await fleet.begin('1.1.0', policyOf({ waves: wait, deadline }));
    await fleet.until(() => fleet.row(id).state === 'held');
    expect(fleet.row(id).since).toBeGreaterThanOrEqual(Date.parse(deadline));
    expect(fleet.row(id).reasons[0]).toBe(
      `not completed by its deadline ${deadline}: 2 of 3 devices proven`,
    );
    await fleet.operators.command(id, 'resume', by('ann'));
    await fleet.seconds(60);
    expect(fleet.row(id).state).toBe('rolling');
    fleet.devices[2]!.silent = false;
    await fleet.until(() => fleet.row(id).state === 'completed');
  });

  it('only_devices_with_the_labels_take_part_and_of_late_ones_too', async () => {
    const fleet = new SimFleet({ canaries: 0, fleet: 4 });
    const north = (n: number) =>
      fleet.store.labels.set(fleet.devices[n]!.id, { region: 'north', tier: 'gold' });
    north(0);
    north(1);
    const selector = { labels: { region: 'north' } };
    const request = { component: COMPONENT, version: '1.1.0', policy: policyOf({ waves }) };
    const { id } = await fleet.operators.create({ ...request, selector }, by('ann'));
    await fleet.operators.command(id, 'start', by('ann'));
    await fleet.until(() => fleet.row(id).state === 'completed');
    await fleet.seconds(20);
    expect(fleet.versions()).toBe('1.1.0 1.1.0 1.0.0 1.0.0');
    north(3);
    await fleet.seconds(60);
    expect(fleet.versions()).toBe('1.1.0 1.1.0 1.0.0 1.1.0');
    await expect(
      fleet.operators.create({ ...request, selector: { labels: { region: 'x' } } }, by('ann')),
    ).rejects.toThrow('matches label region=x');
  });
});
