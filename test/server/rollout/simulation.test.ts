// The short part of `npm run sim:rollouts`: how rollouts decide over whole fleets in virtual time.
// Each test prints the seed of a run that breaks its rule.
import { describe, expect, it } from 'vitest';
import { chanceOfHalting, medianTakes } from '../../../shared/statistics/halt-boundary.js';
import { haltTest, strataPlan } from '../../../shared/statistics/halt-test.js';
import { RolloutSimulation, type SimulatedFleet } from '../../sim/rollout-simulation.js';
import { median } from '../../sim/rollout-tables.js';
import { seeded } from '../../support/random.js';
import { orEach } from '../../support/whole.js';

const run = (fleet: Omit<SimulatedFleet, 'seed'>, seed: number) =>
  new RolloutSimulation({ ...fleet, seed }).run();
const SEEDS = orEach(
  3,
  Array.from({ length: 12 }, (_, index) => index + 1),
);

describe('a perfect release', () => {
  it.each([10, 20, 30])('completes_with_%s_percent_of_the_fleet_switched_off', async (off) => {
    for (const seed of SEEDS.slice(0, 3)) {
      const fleet = { devices: 60, failureRate: () => 0, isOn: (n: number) => n % 100 >= off };
      const ending = await run(fleet, seed);
      const reached = 60 - Math.min(60, off);
      expect(ending, `seed ${seed}`).toMatchObject({ state: 'completed', confirmed: reached });
    }
  });

  it('completes_while_devices_fall_silent_for_a_while', async () => {
    for (const seed of SEEDS.slice(0, 3)) {
      const site = (n: number): string => `s${n % 10}`;
      const fleet = { devices: 60, failureRate: () => 0, silenceRate: 0.05, site };
      expect((await run(fleet, seed)).state, `seed ${seed}`).toBe('completed');
    }
  });

  it('never_has_more_than_one_window_undecided', async () => {
    for (const devices of [5, 29, 30, 120]) {
      const ending = await run({ devices, failureRate: () => 0 }, devices);
      expect(ending.mostBeyondWindow, `${devices} devices`).toBeLessThanOrEqual(0);
      expect(ending.state).toBe('completed');
    }
  });
});

describe('a bad release', () => {
  it.each([
    [0.5, 5],
    [0.2, 20],
  ])('that_fails_on_a_share_of_%s_touches_few_devices', async (rate, most) => {
    const takes: number[] = [];
    for (const seed of SEEDS) {
      const isOn = (n: number): boolean => n % 10 !== 0;
      const ending = await run({ devices: 200, failureRate: () => rate, isOn }, seed);
      expect(['reverted', 'held'], `seed ${seed}`).toContain(ending.state);
      takes.push(ending.takes);
    }
    expect(median(takes)).toBeLessThanOrEqual(most);
  });

  it('exposes_no_more_than_the_window_when_all_shops_open_at_once', async () => {
    const hour = 60 * 60_000;
    const isOn = (_n: number, ms: number): boolean => ms < hour || ms >= 8 * hour;
    for (const seed of SEEDS.slice(0, 4)) {
      const ending = await run({ devices: 200, failureRate: () => 0.5, isOn }, seed);
      expect(ending.mostBeyondWindow, `seed ${seed}`).toBeLessThanOrEqual(0);
      expect(ending.takes, `seed ${seed}`).toBeLessThan(40);
    }
  });

  it('that_cuts_devices_off_is_held_and_never_reverted', async () => {
    for (const seed of SEEDS.slice(0, 4)) {
      const ending = await run({ devices: 60, failureRate: () => 0, cutsOff: 1 }, seed);
      expect(ending, `seed ${seed}`).toMatchObject({ state: 'held', takes: 1 });
    }
  });
});

describe('two kinds of hardware at the acceptable rate', () => {
  it('halt_at_most_at_the_exact_bound_with_the_window_of_each_kind', () => {
    const plan = strataPlan({
      acceptable: 0.02,
      alarming: 0.1,
      alpha: 0.05,
      kinds: new Map([
        ['pi4', 180],
        ['jetson', 20],
      ]),
    });
    const random = seeded(7);
    const RUNS = 2000;
    let halted = 0;
    for (let run = 0; run < RUNS; run++) {
      const takes = Array.from({ length: 200 }, (_, n) => ({
        kind: n % 10 === 0 ? 'jetson' : 'pi4',
        failed: random() < 0.02,
      }));
      if (haltTest(takes, plan).halt) halted++;
    }
    // 5 % and three standard deviations of 2,000 runs.
    expect(halted / RUNS).toBeLessThan(0.05 + 3 * Math.sqrt((0.05 * 0.95) / RUNS));
    expect(chanceOfHalting(plan.pooled, 0.02)).toBeLessThanOrEqual(0.04);
    expect(medianTakes(plan.pooled, 0.5)).toBeLessThanOrEqual(4);
  });
});
