// The halt test over devices in the order of taking, with alpha split over kinds of hardware.
import { describe, expect, it } from 'vitest';
import { haltTest, holdTest, strataPlan, type Take } from '../../../shared/statistics/halt-test.js';
import { haltBoundary, holdBoundary } from '../../../shared/statistics/halt-boundary.js';

const usual = { acceptable: 0.02, alarming: 0.1, alpha: 0.05 };
const planOf = (kinds: Readonly<Record<string, number>>) =>
  strataPlan({ ...usual, kinds: new Map(Object.entries(kinds)) });
const good = (count: number, kind = 'a'): Take[] =>
  Array.from({ length: count }, () => ({ kind, failed: false }));
const bad = (count: number, kind = 'a'): Take[] =>
  good(count, kind).map((take) => ({ ...take, failed: true }));

describe('one kind of hardware', () => {
  it('has_one_test_with_all_of_alpha', () => {
    const plan = planOf({ a: 100, b: 0 });
    expect(plan.pooled).toEqual(haltBoundary({ ...usual, takes: 100 }));
    expect(plan.kinds.size).toBe(0);
  });

  it('one_failure_never_halts_and_two_early_ones_do', () => {
    const plan = planOf({ a: 100 });
    const one = haltTest([...bad(1), ...good(5)], plan);
    expect(one.halt).toBe(false);
    expect(one.decisive.prefix).toMatchObject({ takes: 1, failures: 1, failuresToHalt: 2 });
    const two = haltTest([...bad(1), ...good(5), ...bad(1), ...good(3)], plan);
    expect(two.halt).toBe(true);
    expect(two.decisive).toMatchObject({ kind: null, takes: 10, failures: 2 });
    expect(two.decisive.prefix).toMatchObject({ takes: 7, failures: 2, failuresToHalt: 2 });
    expect(Math.exp(two.decisive.prefix.logRatio)).toBeCloseTo(25 * (0.9 / 0.98) ** 5, 9);
  });

  it('the_same_failures_later_do_not_halt', () => {
    const result = haltTest([...good(40), ...bad(2), ...good(3)], planOf({ a: 100 }));
    expect(result.halt).toBe(false);
    expect(result.decisive.prefix).toMatchObject({ takes: 42, failures: 2, failuresToHalt: 4 });
    expect(result.decisive).toMatchObject({ takes: 45, failures: 2 });
  });

  it('without_a_failure_the_reading_is_about_all_takes', () => {
    const { prefix } = haltTest(good(40), planOf({ a: 100 })).decisive;
    expect(prefix).toMatchObject({ takes: 40, failures: 0, failuresToHalt: 4 });
  });

  it('the_worst_prefix_is_told_of_a_test_that_does_not_halt', () => {
    const takes = [...good(30), ...bad(2), ...good(60), ...bad(1), ...good(5)];
    const { prefix } = haltTest(takes, planOf({ a: 100 })).decisive;
    expect(prefix).toMatchObject({ takes: 32, failures: 2, failuresToHalt: 4 });
    // The last of three failures comes soon after the others: then all three are the worst.
    const close = [...good(60), ...bad(2), ...good(5), ...bad(1), ...good(5)];
    expect(haltTest(close, planOf({ a: 100 })).decisive.prefix).toMatchObject({
      takes: 68,
      failures: 3,
    });
  });

  it('a_halt_stays_one_when_good_devices_follow', () => {
    const plan = planOf({ a: 200 });
    const first = [...bad(2), ...good(1)];
    expect(haltTest(first, plan).halt).toBe(true);
    expect(haltTest([...first, ...good(190)], plan).halt).toBe(true);
  });

  it('takes_beyond_the_planned_number_belong_to_no_test', () => {
    const plan = planOf({ a: 3 });
    const result = haltTest([...good(3), ...bad(9)], plan);
    expect(result.halt).toBe(false);
    expect(result.decisive).toMatchObject({ takes: 3, failures: 0 });
  });

  it('before_the_first_take_there_is_nothing_to_halt', () => {
    const { halt, decisive } = haltTest([], planOf({ a: 3 }));
    expect(halt).toBe(false);
    expect(decisive.prefix).toMatchObject({ takes: 0, failures: 0, logRatio: 0 });
  });
});

describe('several kinds of hardware', () => {
  it('share_a_fifth_of_alpha', () => {
    const plan = planOf({ a: 92, b: 8 });
    expect(plan.pooled.alpha).toBeCloseTo(0.04, 12);
    expect(plan.pooled.level).toBe(haltBoundary({ ...usual, takes: 100, alpha: 0.04 }).level);
    expect([...plan.kinds.keys()]).toEqual(['a', 'b']);
    const own = plan.kinds.get('b');
    expect(own).toMatchObject({ takes: 8 });
    expect(own?.alpha).toBeCloseTo(0.005, 12);
  });

  it('a_kind_of_eight_halts_on_its_own_failures', () => {
    const plan = planOf({ a: 992, b: 8 });
    const takes = [...good(300), ...bad(2, 'b')];
    const result = haltTest(takes, plan);
    expect(result.halt).toBe(true);
    expect(result.decisive).toMatchObject({ kind: 'b', takes: 2, failures: 2 });
    expect(result.readings.map(({ kind, halt }) => [kind, halt])).toEqual([
      [null, false],
      ['a', false],
      ['b', true],
    ]);
  });

  it('a_kind_that_was_not_planned_counts_in_the_pooled_test_only', () => {
    const result = haltTest(bad(2, 'c'), planOf({ a: 50, b: 50 }));
    expect(result.decisive).toMatchObject({ kind: null, halt: true });
    expect(result.readings.slice(1).map(({ takes }) => takes)).toEqual([0, 0]);
  });
});

it('a_hold_comes_before_a_halt', () => {
  const takes = [...good(10), ...bad(1), ...good(20), ...bad(1)];
  expect(haltTest(takes, planOf({ a: 1000 })).halt).toBe(false);
  const hold = holdTest(takes, holdBoundary({ ...usual, takes: 1000 }));
  expect(hold).toMatchObject({ halt: true, prefix: { takes: 32, failures: 2 } });
});
