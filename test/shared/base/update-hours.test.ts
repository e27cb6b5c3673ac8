// The device's update hours: over midnight, in another zone, over a change of its offset; and what
// the update machine does outside them.
import { describe, expect, it, vi } from 'vitest';
import { agentSettings } from '../../../agent/config.js';
import { UpdateWindows } from '../../../shared/base/update-hours.js';
import type { UpdateBody } from '../../../shared/protocol/telemetry.js';
import { bootDevice, settle, type BootOptions } from '../../sim/device.js';
import { SimDisk } from '../../sim/disk.js';
import { seeded } from '../../support/random.js';
import { assignmentFor, simRelease } from '../../sim/release.js';

const iso = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString());
const opening = (windows: string[], at: string, zone = 'UTC'): string | null =>
  iso(new UpdateWindows(windows, zone).opensAt(Date.parse(at)));

describe('windows', () => {
  it('without_windows_it_is_always_open', () => {
    expect(opening([], '2026-11-02T12:00:00Z')).toBeNull();
  });

  it('without_windows_the_tables_of_time_zones_stay_unread', () => {
    let made = 0;
    const construct = (target: typeof Intl.DateTimeFormat, args: unknown[]): object => {
      made += 1;
      return Reflect.construct(target, args) as object;
    };
    vi.stubGlobal('Intl', {
      ...Intl,
      DateTimeFormat: new Proxy(Intl.DateTimeFormat, { construct }),
    });
    try {
      expect(opening([], '1970-01-01T00:00:00Z', 'Europe/Berlin')).toBeNull();
      expect(made).toBe(0);
      expect(opening(['01:00-02:00'], '1970-01-01T00:00:00Z', 'Europe/Berlin')).toBeNull();
      expect(made).toBe(1);
    } finally {
      vi.unstubAllGlobals();
    }
  });

  it('window_over_midnight_is_open_on_both_sides', () => {
    const night = ['22:00-05:00'];
    for (const at of ['22:00:00', '23:59:59', '00:00:00', '04:59:59'])
      expect(opening(night, `2026-11-02T${at}Z`), at).toBeNull();
    expect(opening(night, '2026-11-02T05:00:00Z')).toBe('2026-11-02T22:00:00.000Z');
    expect(opening(night, '2026-11-02T21:59:59Z')).toBe('2026-11-02T22:00:00.000Z');
  });

  it('next_of_several_windows_counts', () => {
    const two = ['12:00-13:00', '02:00-03:00'];
    expect(opening(two, '2026-11-02T12:30:00Z')).toBeNull();
    expect(opening(two, '2026-11-02T13:00:00Z')).toBe('2026-11-03T02:00:00.000Z');
    expect(opening(two, '2026-11-02T04:00:00Z')).toBe('2026-11-02T12:00:00.000Z');
  });

  it('hours_are_those_of_the_zone_also_in_the_night_in_which_its_offset_changes', () => {
    const early = ['06:00-07:00'];
    expect(opening(early, '2026-07-01T04:30:00Z', 'Europe/Berlin')).toBeNull();
    expect(opening(early, '2026-11-02T04:30:00Z', 'Europe/Berlin')).toBe(
      '2026-11-02T05:00:00.000Z',
    );
    // 2026-03-29: from 02:00 to 03:00; 2026-10-25: from 03:00 to 02:00.
    expect(opening(early, '2026-03-28T23:30:00Z', 'Europe/Berlin')).toBe(
      '2026-03-29T04:00:00.000Z',
    );
    expect(opening(early, '2026-10-24T22:30:00Z', 'Europe/Berlin')).toBe(
      '2026-10-25T05:00:00.000Z',
    );
  });

  it('wrong_windows_and_zones_are_named_with_all_other_mistakes', () => {
    const settings =
      (lines: string): (() => unknown) =>
      () =>
        agentSettings(
          'name = "a"\nhardware = "sim"\ncomponents = ["digits"]\ndata_dir = "d"\n' +
            '[server]\nurl = "http://h"\n[trust]\nimage_root = "i"\ndirector_root = "d"\n' +
            `[update]\n${lines}`,
          {},
        );
    expect(settings('windows = ["22:00-05:00"]\nzone = "Europe/Berlin"')).not.toThrow();
    expect(settings('windows = ["25:00-05:00"]')).toThrow(/update/);
    expect(settings('windows = ["05:00-05:00"]')).toThrow(/begins when it ends/);
    expect(settings('zone = "Mars/Olympus"')).toThrow(/not a time zone/);
  });
});

describe('an assignment outside the update hours', () => {
  const v1 = simRelease('1.0.0');
  const v2 = simRelease('1.1.0');
  const opensAt = Date.UTC(2026, 10, 2, 22);

  const working = async () => {
    const options: BootOptions = { opensAt: null };
    const device = await bootDevice(new SimDisk(seeded(1)), [v1, v2], options);
    await settle(device, assignmentFor(v1, 1));
    return { options, device };
  };

  it('new_release_is_not_begun_and_the_heartbeat_says_until_when', async () => {
    const { options, device } = await working();
    options.opensAt = opensAt;
    await settle(device, assignmentFor(v2, 2), 20);
    expect(device.driver.record).toMatchObject({ state: 'idle', assignmentId: 1 });
    const told = (): UpdateBody =>
      device.reports.filter(({ kind }) => kind === 'update').at(-1)?.body as UpdateBody;
    expect(told().trouble).toMatchObject({
      code: 'deferred',
      detail: 'digits 1.1.0: deferred until 2026-11-02T22:00:00.000Z',
    });
    options.opensAt = null;
    await settle(device, assignmentFor(v2, 2));
    expect(device.driver.record.outcome).toMatchObject({ result: 'confirmed', assignmentId: 2 });
    expect(told().trouble).toBeNull();
  });

  it('update_that_was_begun_goes_on_and_the_way_back_does_not_wait', async () => {
    const { options, device } = await working();
    device.driver.assign(assignmentFor(v2, 2));
    await device.driver.tick();
    expect(device.driver.record.state).toBe('assigned');
    options.opensAt = opensAt;
    await settle(device, assignmentFor(v2, 2));
    expect(device.driver.record.outcome).toMatchObject({ result: 'confirmed', assignmentId: 2 });
    await settle(device, assignmentFor(v1, 3, { rollback: true }));
    expect(device.driver.record.outcome).toMatchObject({ result: 'reverted', assignmentId: 3 });
  });
});
