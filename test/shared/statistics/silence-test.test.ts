// The silence test: exact factors, and what says nothing.
import { describe, expect, it } from 'vitest';
import {
  addSlot,
  emptySilence,
  silenceReading,
  type SiteSlot,
} from '../../../shared/statistics/silence-test.js';

const site = (touched: [number, number], control: [number, number]): SiteSlot => ({
  touched: { atRisk: touched[0], events: touched[1] },
  control: { atRisk: control[0], events: control[1] },
});
const after = (...slots: readonly SiteSlot[][]) => slots.reduce(addSlot, emptySilence());

describe('one slot', () => {
  it('one_event_is_touched_with_odds_theta_times_higher', () => {
    // 2 touched, 3 control, one event: chance 2t / (2t + 3) against 2/5.
    const touched = after([site([2, 1], [3, 0])]);
    const control = after([site([2, 0], [3, 1])]);
    [2, 5, 20].forEach((theta, i) => {
      expect(Math.exp(touched.logProducts[i] ?? 0)).toBeCloseTo((5 * theta) / (2 * theta + 3), 12);
      expect(Math.exp(control.logProducts[i] ?? 0)).toBeCloseTo(5 / (2 * theta + 3), 12);
    });
    expect(touched).toMatchObject({ slots: 1, touchedEvents: 1, controlEvents: 0 });
    expect(control).toMatchObject({ slots: 1, touchedEvents: 0, controlEvents: 1 });
  });

  it('two_events_of_two_and_two_follow_the_hypergeometric', () => {
    // h(0, 1, 2) = 1/6, 4/6, 1/6.
    const { logProducts } = after([site([2, 2], [2, 0])]);
    [2, 5, 20].forEach((theta, i) => {
      const mean = 1 / 6 + (4 / 6) * theta + (1 / 6) * theta ** 2;
      expect(Math.exp(logProducts[i] ?? 0)).toBeCloseTo(theta ** 2 / mean, 9);
    });
  });

  it('more_events_than_control_devices_leave_at_least_some_for_the_touched', () => {
    // 4 touched, 2 control, 3 events: h(1, 2, 3) = 4/20, 12/20, 4/20.
    const { logProducts } = after([site([4, 2], [2, 1])]);
    [2, 5, 20].forEach((theta, i) => {
      const mean = (4 * theta + 12 * theta ** 2 + 4 * theta ** 3) / 20;
      expect(Math.exp(logProducts[i] ?? 0)).toBeCloseTo(theta ** 2 / mean, 9);
    });
  });

  it('the_value_is_the_mean_over_three_thetas_of_products_over_sites', () => {
    const slot = [site([2, 1], [3, 0]), site([2, 1], [3, 0])];
    const expected = [2, 5, 20].map((t) => ((5 * t) / (2 * t + 3)) ** 2);
    const { logE } = silenceReading(after(slot));
    expect(Math.exp(logE)).toBeCloseTo(expected.reduce((a, b) => a + b) / 3, 9);
    expect(silenceReading(after([slot[0]!], [slot[1]!])).logE).toBeCloseTo(logE, 12);
  });

  it('an_outage_of_a_whole_site_says_nothing', () => {
    const { logProducts, slots } = after([site([2, 2], [3, 3])]);
    logProducts.forEach((log) => expect(log).toBeCloseTo(0, 12));
    expect(slots).toBe(1);
  });

  it('a_slot_without_events_or_without_control_says_nothing', () => {
    for (const slot of [
      [site([5, 0], [5, 0])],
      [site([9, 9], [0, 0])],
      [site([0, 0], [9, 9])],
      [site([9, 9], [0, 0]), site([3, 1], [0, 0])],
      [site([0, 0], [0, 0])],
      [],
    ])
      after(slot).logProducts.forEach((log) => expect(log).toBeCloseTo(0, 12));
  });

  it('sites_with_one_side_only_are_compared_as_units', () => {
    // Two touched sites of which one has events, three control sites without.
    const units = after([
      site([9, 4], [0, 0]),
      site([1, 0], [0, 0]),
      ...[1, 2, 3].map((count) => site([0, 0], [count, 0])),
    ]);
    expect(units.logProducts).toEqual(after([site([2, 1], [3, 0])]).logProducts);
    expect(units).toMatchObject({ touchedEvents: 1, controlEvents: 0 });
  });

  it('a_device_with_two_events_in_a_slot_is_a_bug_of_the_caller', () => {
    expect(() => after([site([1, 2], [3, 0])])).toThrow('one event');
    expect(() => after([site([2, 1], [3, 4])])).toThrow('one event');
  });

  it('a_hundred_thousand_devices_do_not_overflow', () => {
    const state = after([site([50_000, 20_000], [50_000, 5_000])]);
    expect(state.logProducts.every(Number.isFinite)).toBe(true);
    expect(silenceReading(state).hold).toBe(true);
  });
});

describe('holding', () => {
  it('starts_at_a_value_of_20', () => {
    const one = site([1, 1], [39, 0]);
    expect(silenceReading(emptySilence())).toEqual({ logE: 0, hold: false });
    // One touched of 40 goes silent alone: (1.95 + 4.55 + 13.56) / 3 = 6.7.
    const mean = [2, 5, 20].reduce((sum, t) => sum + (40 * t) / (t + 39) / 3, 0);
    expect(Math.exp(silenceReading(after([one])).logE)).toBeCloseTo(mean, 9);
    expect(silenceReading(after([one])).hold).toBe(false);
    expect(silenceReading(after([one], [one])).hold).toBe(true);
    const never = Number.NEGATIVE_INFINITY;
    const exact = { ...emptySilence(), logProducts: [Math.log(60), never, never] };
    expect(silenceReading(exact).logE).toBeCloseTo(Math.log(20), 12);
  });

  it('state_survives_json', () => {
    const state = after([site([3, 1], [7, 2])]);
    expect(JSON.parse(JSON.stringify(state))).toEqual(state);
  });
});
