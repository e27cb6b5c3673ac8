// Which device is in which wave, and what is wrong with a policy.
import { describe, expect, it } from 'vitest';
import { emptyWaves, placeInWaves } from '../../../server/rollout/waves.js';
import { sha256 } from '../../../shared/base/bytes.js';
import { policyComplaints } from '../../../shared/protocol/policy-complaints.js';
import type { EligibleDevice, RolloutRow } from '../../../server/interfaces.js';
import { deviceId, policyOf } from '../../sim/fleet.js';

const policy = policyOf();
type Waves = RolloutRow['policy']['waves'];
const wave = (change: Partial<Waves[number]>): Waves[number] => ({
  name: 'w',
  soakSeconds: 0,
  approval: false,
  ...change,
});
const device = (n: number, change: Partial<EligibleDevice> = {}): EligibleDevice => ({
  id: deviceId(n),
  name: `d${n}`,
  group: n < 2 ? 'canary' : 'fleet',
  hardware: 'pi4',
  site: 'fleet',
  lastSeenAt: null,
  ...change,
});
const devicesOf = (
  many: number,
  change: (n: number) => Partial<EligibleDevice> = () => ({}),
): EligibleDevice[] => Array.from({ length: many }, (_, n) => device(n, change(n)));
const sizes = (devices: readonly EligibleDevice[], waves: Waves): number[] => {
  const places = placeInWaves('ro-1', devices, waves);
  return waves.map((_, index) => places.filter((place) => place.wave === index).length);
};
const everyone = [wave({ name: 'all', percent: 100 })];

describe('sizes', () => {
  it('percent_waves_count_earlier_waves_and_round_up', () => {
    expect(sizes(devicesOf(10), policy.waves)).toEqual([2, 3, 5]);
    expect(sizes(devicesOf(5), policy.waves)).toEqual([2, 1, 2]);
    const percents = [wave({ percent: 1 }), wave({ percent: 34 })];
    expect(sizes(devicesOf(100), percents)).toEqual([1, 33]);
    expect(sizes(devicesOf(101), percents)).toEqual([2, 33]);
  });

  it('count_waves_count_earlier_waves_too', () => {
    const counts = [wave({ count: 3 }), wave({ count: 3 }), wave({ count: 7 })];
    expect(sizes(devicesOf(10), counts)).toEqual([3, 0, 4]);
    expect(sizes(devicesOf(5), counts)).toEqual([3, 0, 2]);
    expect(sizes(devicesOf(10), [wave({ group: 'canary' }), wave({ count: 1 })])).toEqual([2, 0]);
  });

  it('a_group_wave_takes_the_whole_group_that_is_left', () => {
    const groups = devicesOf(10, (n) => ({ group: n % 2 === 0 ? 'even' : 'odd' }));
    expect(sizes(groups, [wave({ count: 10 }), wave({ group: 'odd' })])).toEqual([10, 0]);
    expect(sizes(groups, [wave({ group: 'odd' }), wave({ percent: 60 })])).toEqual([5, 1]);
    // Devices that no wave takes stay out.
    expect(placeInWaves('ro-1', groups, [wave({ group: 'odd' })])).toHaveLength(5);
  });
});

describe('the order', () => {
  const order = (id: string, devices: readonly EligibleDevice[], waves = everyone): string[] =>
    placeInWaves(id, devices, waves).map((place) => place.device.name);

  it('the_sequence_is_the_same_each_time_and_another_in_another_rollout', () => {
    const devices = devicesOf(10);
    expect(order('ro-1', devices)).toEqual(order('ro-1', devices));
    expect(order('ro-1', [...devices].reverse())).toEqual(order('ro-1', devices));
    expect(order('ro-1', devices)).not.toEqual(order('ro-2', devices));
    const places = placeInWaves('ro-1', devices, policy.waves);
    expect(places.map(({ wave: index }) => index)).toEqual([0, 0, 1, 1, 1, 2, 2, 2, 2, 2]);
    expect(places.map(({ rank }) => rank)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it('wave_1_covers_every_kind_of_hardware', () => {
    const kinds = ['pi4', 'jetson', 'nano', 'orin'];
    // 1,000 devices, 3 of the rarest kind.
    const devices = devicesOf(1000, (n) => ({
      hardware: n < 3 ? 'orin' : n < 20 ? 'nano' : n < 200 ? 'jetson' : 'pi4',
    }));
    for (const id of ['ro-1', 'ro-2', 'ro-3', 'ro-4']) {
      const first = placeInWaves(id, devices, [wave({ count: 4 }), wave({ percent: 100 })]);
      expect(
        first
          .filter((place) => place.wave === 0)
          .map((place) => place.device.hardware)
          .sort(),
      ).toEqual([...kinds].sort());
    }
  });

  it('after_the_first_of_each_kind_the_draw_follows_the_sizes_of_kinds_and_sites', () => {
    const devices = devicesOf(200, (n) => ({
      hardware: n % 4 === 0 ? 'jetson' : 'pi4',
      site: `site-${n % 5}`,
    }));
    const first = placeInWaves('ro-1', devices, [wave({ count: 42 }), wave({ percent: 100 })])
      .filter((place) => place.wave === 0)
      .map((place) => place.device);
    const count = (fits: (one: EligibleDevice) => boolean) => first.filter(fits).length;
    // A quarter is jetson, a fifth each site: within one device of the share.
    expect(Math.abs(count(({ hardware }) => hardware === 'jetson') - 10.5)).toBeLessThanOrEqual(1);
    for (const site of [0, 1, 2, 3, 4])
      expect(Math.abs(count((one) => one.site === `site-${site}`) - 8.4)).toBeLessThanOrEqual(2);
  });

  it('is_the_one_that_the_document_describes', () => {
    // Two kinds of hardware: six devices at two sites, four and two of them, and two at one site.
    const devices = devicesOf(8, (n) => ({
      hardware: n < 6 ? 'pi4' : 'jetson',
      site: n < 4 ? 'north' : 'south',
    }));
    const ranked = [...devices].sort((one, other) =>
      sha256(`ro-1\n${one.id}`) < sha256(`ro-1\n${other.id}`) ? -1 : 1,
    );
    const at = (hardware: string, site: string) =>
      ranked.filter((one) => one.hardware === hardware && one.site === site);
    /** Item i of n stands at (i + 1/2) / n; of two at one place the list that began first leads. */
    const spread = (lists: EligibleDevice[][]): EligibleDevice[] => {
      const rows = lists.flatMap((list) =>
        list.map((item, i) => ({ item, place: (2 * i + 1) / (2 * list.length) })),
      );
      const places = [...new Set(rows.map(({ place }) => place))].sort((a, b) => a - b);
      return places.flatMap((place) =>
        rows.filter((row) => row.place === place).map(({ item }) => item),
      );
    };
    const byRank = (lists: EligibleDevice[][]) =>
      lists.sort(([one], [other]) => ranked.indexOf(one!) - ranked.indexOf(other!));
    const kinds = byRank([
      spread(byRank([at('pi4', 'north'), at('pi4', 'south')])),
      at('jetson', 'south'),
    ]);
    const expected = [
      ...kinds.map(([first]) => first!),
      ...spread(kinds.map(([, ...others]) => others)),
    ];
    expect(order('ro-1', devices)).toEqual(expected.map(({ name }) => name));
  });

  it('within_a_site_the_order_is_not_that_of_the_names', () => {
    const names = order('ro-1', devicesOf(50));
    expect(names).not.toEqual(devicesOf(50).map(({ name }) => name));
    expect([...names].sort()).toEqual(
      devicesOf(50)
        .map(({ name }) => name)
        .sort(),
    );
  });
});

describe('complaints', () => {
  it('every_mistake_of_a_policy_is_named_at_once', () => {
    const bad = policyOf({
      alarmingFailurePermille: 20,
      deviceDeadlineSeconds: 3,
      trial: { ...policy.trial, maxSeconds: 2 },
      waves: [wave({ percent: 50 }), wave({ percent: 20 }), wave({})],
    });
    expect(policyComplaints(bad)).toEqual([
      'alarmingFailurePermille must be above acceptableFailurePermille',
      'trial.maxSeconds must not be below trial.minSeconds',
      'deviceDeadlineSeconds must be longer than trial.minSeconds',
      'wave 2 (w): percent counts earlier waves too, so it cannot be below 50',
      'wave 3 (w) must have one of group, percent and count',
    ]);
    expect(policyComplaints(policy)).toEqual([]);
  });

  it('every_bound_of_a_policy_holds_on_its_good_side', () => {
    const { minSeconds } = policy.trial;
    const good = policyOf({
      acceptableFailurePermille: 20,
      alarmingFailurePermille: 21,
      deviceDeadlineSeconds: minSeconds + 1,
      trial: { ...policy.trial, maxSeconds: minSeconds },
      waves: [
        wave({ percent: 50 }),
        wave({ percent: 50 }),
        wave({ count: 5 }),
        wave({ count: 5 }),
        wave({ group: 'canary' }),
      ],
    });
    expect(policyComplaints(good)).toEqual([]);
    expect(policyComplaints({ ...good, deviceDeadlineSeconds: minSeconds })).toHaveLength(1);
  });

  it('a_wave_has_exactly_one_audience_and_counts_do_not_fall', () => {
    const complaints = (...waves: Waves): string[] => policyComplaints(policyOf({ waves }));
    expect(complaints(wave({ percent: 10, count: 3 }))).toEqual([
      'wave 1 (w) must have one of group, percent and count',
    ]);
    expect(complaints(wave({ group: 'canary', count: 3 }))).toHaveLength(1);
    expect(complaints(wave({ count: 5 }), wave({ count: 4 }))).toEqual([
      'wave 2 (w): count includes earlier waves: at least 5',
    ]);
  });

  it('a_group_wave_without_devices_is_named_and_an_empty_percent_wave_is_not', () => {
    const waves = [
      wave({ name: 'labs', group: 'labs' }),
      wave({ name: 'first', group: 'canary' }),
      wave({ percent: 1 }),
      wave({ count: 1 }),
      wave({ percent: 100 }),
    ];
    expect(emptyWaves(placeInWaves('ro-1', devicesOf(3), waves), waves)).toEqual([
      'wave labs: no device of group labs that is not in an earlier wave can take this release',
    ]);
  });
});
