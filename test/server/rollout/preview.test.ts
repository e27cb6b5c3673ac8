// What a rollout says before it exists: waves, windows, chances, lengths and warnings, in exact
// numbers.
import { describe, expect, it } from 'vitest';
import { boundariesOf } from '../../../server/rollout/halt.js';
import { newerThan, previewOf, promiseText } from '../../../server/rollout/preview.js';
import { placeInWaves } from '../../../server/rollout/waves.js';
import type { EligibleDevice, RolloutRow } from '../../../server/interfaces.js';
import { RolloutPreview } from '../../../shared/protocol/operator-api.js';
import { complaints } from '../../../shared/base/decode.js';
import { chanceOfHalting } from '../../../shared/statistics/halt-boundary.js';
import { deviceId, policyOf, releaseOf } from '../../sim/fleet.js';
import { facts, member, reports, rollout, T0, update } from '../../support/rollout-rows.js';

const devicesOf = (
  many: number,
  change: (n: number) => Partial<EligibleDevice> = () => ({}),
): EligibleDevice[] =>
  Array.from({ length: many }, (_, n) => ({
    id: deviceId(n),
    name: `d${n}`,
    group: n < 5 ? 'canary' : 'fleet',
    hardware: 'pi4',
    site: `site-${n % 4}`,
    lastSeenAt: T0,
    ...change(n),
  }));
const oneWave = policyOf({ waves: policyOf().waves.slice(2) });
const preview = (
  devices: readonly EligibleDevice[],
  change: Partial<RolloutRow> = {},
  options = { rolloutsPerYear: 12, now: T0 },
): RolloutPreview => {
  const row = rollout(change);
  return previewOf(row, placeInWaves(row.id, devices, row.policy.waves), options);
};

describe('waves', () => {
  it('each_says_its_devices_kinds_sites_and_groups', () => {
    const devices = devicesOf(100, (n) => (n === 99 ? { hardware: 'jetson' } : {}));
    const found = preview(devices);
    expect(complaints(RolloutPreview, found)).toEqual([]);
    expect(found).toMatchObject({ devices: 100, startWindow: 3, rolloutsPerYear: 12 });
    expect(found.waves).toMatchObject([
      { name: 'canary', devices: 5, hardware: { pi4: 5 }, sites: 4, groups: { canary: 5 } },
      { name: 'half', devices: 45, hardware: { pi4: 44, jetson: 1 }, groups: { fleet: 45 } },
      { name: 'all', devices: 50, hardware: { pi4: 50 }, sites: 4, groups: { fleet: 50 } },
    ]);
    expect([...found.waves[0]!.names].sort()).toEqual(['d0', 'd1', 'd2', 'd3', 'd4']);
    expect(found.waves[1]!.names).toHaveLength(45);
    expect(preview(devicesOf(300)).waves[1]!.names).toHaveLength(100);
    expect(preview(devicesOf(29)).startWindow).toBe(1);
  });
});

describe('promises', () => {
  it('are_stated_at_a_quarter_half_and_the_whole_of_acceptable_and_at_10_20_50_percent', () => {
    const { promises } = preview(devicesOf(1000), { policy: oneWave });
    expect(promises.map(({ failureRate }) => failureRate)).toEqual([
      0.005, 0.01, 0.02, 0.1, 0.2, 0.5,
    ]);
    const [quarter, half, whole, ten, twenty, fifty] = promises;
    expect(whole!.halt).toBeGreaterThan(0.045);
    expect(whole!.halt).toBeLessThanOrEqual(0.05);
    expect(half!.halt).toBeLessThan(0.01);
    expect(quarter!.halt).toBeLessThan(half!.halt);
    // A release that is twice as good as it must be calls a person with at most 5 %.
    expect(half!.hold).toBeGreaterThan(0.045);
    expect(half!.hold).toBeLessThanOrEqual(0.05);
    expect(whole!.haltsPerYear).toBeCloseTo(12 * whole!.halt, 12);
    for (const bad of [ten, twenty, fifty]) expect(bad!.halt).toBeGreaterThan(0.999);
    expect(fifty!.expectedTakes).toBeLessThan(5);
    expect(twenty!.expectedTakes).toBeLessThan(15);
    expect(ten!.expectedTakes).toBeLessThan(60);
  });

  it('of_a_single_device_are_those_of_its_own_trial', () => {
    const { promises } = preview(devicesOf(1), { policy: oneWave });
    expect(promises.map(({ halt }) => halt)).toEqual(
      promises.map(({ failureRate }) => expect.closeTo(failureRate, 12) as number),
    );
  });

  it('the_chance_of_a_halt_includes_the_tests_of_the_kinds', () => {
    const devices = devicesOf(100, (n) => ({ hardware: n % 2 === 0 ? 'pi4' : 'jetson' }));
    const policy = oneWave;
    const { halt } = boundariesOf(
      new Map([
        ['pi4', 50],
        ['jetson', 50],
      ]),
      policy,
    );
    const sum = [halt.pooled, ...halt.kinds.values()].reduce(
      (all, one) => all + chanceOfHalting(one, 0.02),
      0,
    );
    expect(preview(devices, { policy }).promises[2]!.halt).toBeCloseTo(sum, 9);
  });

  it('the_sentence_of_a_draft_says_the_chance_and_its_bound', () => {
    const members = Array.from({ length: 100 }, (_, n) => member(n));
    expect(promiseText(members, policyOf())).toBe(
      'a release that fails on 2 % of devices is halted in this rollout of 100 with chance 5 % ' +
        '(exact; at most 5 %)',
    );
    expect(promiseText(members.slice(0, 6), policyOf())).toContain('of 6 with chance 0.6 %');
  });
});

describe('lengths', () => {
  const lengths = (many: number, hardware: (n: number) => string): number =>
    preview(
      devicesOf(many, (n) => ({ hardware: hardware(n) })),
      { policy: oneWave },
    ).trialLengths;
  const kindOf = (n: number): string => `kind${n % 3}`;

  it('the_window_doubles_with_each_trial', () => {
    // Three kinds, one device of each: 3, 3, 6, 12, 24, 48, 4.
    expect([1, 2, 29].map((many) => lengths(many, () => 'pi4'))).toEqual([1, 2, 6]);
    expect([30, 48, 49, 96, 97].map((many) => lengths(many, kindOf))).toEqual([5, 5, 6, 6, 7]);
  });

  it('a_kind_begins_with_one_device', () => {
    // 1, 1, 2, 4, 8, 16, 32, 36.
    expect(lengths(100, () => 'pi4')).toBe(8);
  });
});

describe('warnings', () => {
  it('name_devices_that_are_not_heard_to_the_millisecond', () => {
    const at = (lastSeenAt: number | null): string[] =>
      preview(
        devicesOf(30, (n) => ({ lastSeenAt: n < 3 ? lastSeenAt : T0 })),
        { policy: oneWave },
      ).warnings;
    expect(at(T0 - 30_000)).toEqual([]);
    const warning = '3 of 30 devices are not heard now: they take it later';
    expect(at(T0 - 30_001)).toEqual([warning]);
    expect(at(null)).toEqual([warning]);
  });

  it('say_that_a_hand_picked_wave_proves_only_itself_and_which_kinds_it_misses', () => {
    const devices = devicesOf(100, (n) => (n >= 98 ? { hardware: `k${n}` } : {}));
    expect(preview(devices).warnings).toEqual([
      'wave canary is hand-picked: it proves only itself, and the window starts again',
      expect.stringMatching(/^wave 1 has no (k98, k99|k99, k98)$/),
    ]);
    expect(preview(devices, { policy: oneWave }).warnings).toEqual([]);
  });

  it('say_that_only_some_groups_take_part', () => {
    const change = { policy: oneWave, selector: { groups: ['fleet', 'labs'] } };
    expect(preview(devicesOf(30), change).warnings).toEqual([
      'only these devices take part: groups fleet, labs',
    ]);
  });
});

describe('devices that run something newer', () => {
  const places = placeInWaves('ro-1', devicesOf(12), oneWave.waves);
  const running = (version: (n: number) => string | null) =>
    reports(
      ...places.map((_, n) => {
        const found = version(n);
        const ref = found === null ? null : releaseOf(found);
        return facts({ update: update({ running: ref }) }, n);
      }),
    );
  const refused = (version: (n: number) => string | null) =>
    newerThan('1.1.0', places, running(version));

  it('are_named_and_older_equal_and_unknown_ones_are_not', () => {
    expect(refused(() => '1.0.0')).toBeNull();
    expect(refused(() => '1.1.0')).toBeNull();
    expect(refused(() => null)).toBeNull();
    expect(newerThan('1.1.0', places, new Map())).toBeNull();
    expect(refused((n) => (n === 7 ? '1.1.1' : '1.1.0'))).toBe(
      '1 device runs a newer release and would refuse 1.1.0: d7 (1.1.1); ' +
        'to go back, undo the rollout that brought it',
    );
    // By version, not by text.
    expect(refused((n) => (n === 7 ? '1.10.0' : '1.1.0'))).toContain('d7 (1.10.0)');
  });

  it('are_named_up_to_ten', () => {
    const text = refused((n) => (n < 10 ? '2.0.0' : '1.0.0')) ?? '';
    expect(text.match(/\(2\.0\.0\)/g)).toHaveLength(10);
    expect(text).not.toContain('more');
    expect(refused(() => '2.0.0')).toContain(' and 2 more; ');
  });
});
