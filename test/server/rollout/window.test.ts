// How many devices may have a release undecided at once: exact sizes on both sides of each bound.
import { describe, expect, test } from 'vitest';
import {
  countsOf,
  room,
  roomInAll,
  startWindow,
  windowOf,
} from '../../../server/rollout/window.js';
import { UNDECIDED } from '../../../server/rollout/verdict.js';
import type { MemberCount } from '../../../server/interfaces.js';
import { MEMBER_STATES } from '../../../shared/protocol/states.js';
import { policyOf } from '../../sim/fleet.js';
import { member, rollout, waiting } from '../../support/rollout-rows.js';

const count = (many: number, change: Partial<MemberCount> = {}): MemberCount => ({
  wave: 1,
  hardware: 'pi4',
  state: 'waiting',
  proven: false,
  count: many,
  ...change,
});
const proven = (many: number, change: Partial<MemberCount> = {}): MemberCount =>
  count(many, { state: 'confirmed', proven: true, ...change });
const open = (many: number, change: Partial<MemberCount> = {}): MemberCount =>
  count(many, { state: 'trial', ...change });
/** Waves 1 and 2 are drawn by the server; wave 0 is the group `canary`. */
const drawn = rollout({ wave: 1 });

test('rollouts_of_fewer_than_thirty_devices_begin_with_one', () => {
  const policy = policyOf();
  expect([1, 29, 30, 10_000].map((devices) => startWindow(policy, devices))).toEqual([1, 1, 3, 3]);
  expect(startWindow(policyOf({ startWindow: 7 }), 30)).toBe(7);
  expect(windowOf(drawn, [count(29)], null).size).toBe(1);
  expect(windowOf(drawn, [count(28), proven(1), open(1)], null).size).toBe(3);
});

test('window_is_as_large_as_the_devices_that_are_proven', () => {
  const size = (many: number): number => windowOf(drawn, [count(100), proven(many)], null).size;
  expect([0, 2, 3, 4, 50].map(size)).toEqual([3, 3, 3, 4, 50]);
});

test('confirmed_devices_that_still_soak_do_not_widen_it', () => {
  const counts = [count(100), proven(4), count(10, { state: 'confirmed' })];
  expect(windowOf(drawn, counts, null).size).toBe(4);
});

test('every_undecided_state_holds_a_place_and_no_other', () => {
  for (const state of MEMBER_STATES) {
    if (state === 'confirmed') continue;
    const { open: held } = windowOf(drawn, [count(2, { state })], null);
    expect([state, held]).toEqual([state, UNDECIDED.includes(state) ? 2 : 0]);
  }
  expect([...UNDECIDED].sort()).toEqual(['silent', 'taken', 'trial', 'unproven']);
  expect(windowOf(drawn, [proven(2)], null).open).toBe(0);
});

test('room_is_what_is_left_and_never_negative', () => {
  const left = (many: number): number => roomInAll(drawn, [count(100), proven(4), open(many)]);
  expect([0, 3, 4, 5].map(left)).toEqual([4, 1, 0, 0]);
});

describe('kinds of hardware', () => {
  const [pi4, jetson] = [{ hardware: 'pi4' }, { hardware: 'jetson' }];

  test('each_kind_begins_with_one_device', () => {
    const counts = [count(90, pi4), count(10, jetson)];
    expect([room(drawn, counts, 'pi4'), room(drawn, counts, 'jetson')]).toEqual([1, 1]);
    expect(room(drawn, [...counts, open(1, pi4)], 'pi4')).toBe(0);
    expect(room(drawn, [...counts, open(1, pi4)], 'jetson')).toBe(1);
  });

  test('a_kind_grows_with_its_own_proven_devices_only', () => {
    const counts = [count(90, pi4), count(10, jetson), proven(5, pi4)];
    expect(windowOf(drawn, counts, 'pi4')).toEqual({ open: 0, size: 5 });
    expect(windowOf(drawn, counts, 'jetson')).toEqual({ open: 0, size: 1 });
    expect([room(drawn, counts, 'pi4'), room(drawn, counts, 'jetson')]).toEqual([5, 1]);
  });

  test('all_kinds_together_have_no_more_than_the_whole_window', () => {
    const counts = [count(90, pi4), count(10, jetson), proven(5, pi4), open(5, pi4)];
    expect(room(drawn, counts, 'jetson')).toBe(0);
    expect(room(drawn, [count(90, pi4), count(10, jetson), open(3, pi4)], 'jetson')).toBe(0);
    expect(room(drawn, [count(90, pi4), count(10, jetson), open(2, pi4)], 'jetson')).toBe(1);
  });

  test('an_unknown_kind_has_the_first_place_of_its_own', () => {
    expect(room(drawn, [count(100)], 'nano')).toBe(1);
  });
});

describe('a hand-picked group', () => {
  const canary = { wave: 0 };

  test('proves_only_itself_and_outside_it_the_window_starts_again', () => {
    const counts = [count(100), proven(20, canary)];
    expect(windowOf(rollout({ wave: 0 }), counts, null).size).toBe(20);
    expect(windowOf(rollout({ wave: 1 }), counts, null).size).toBe(3);
    expect(windowOf(rollout({ wave: 1 }), counts, 'pi4').size).toBe(1);
  });

  test('waves_that_the_server_draws_prove_for_each_other', () => {
    const counts = [count(100), proven(20, canary), proven(5, { wave: 1 })];
    expect(windowOf(rollout({ wave: 2 }), counts, null).size).toBe(5);
  });

  test('a_later_group_is_not_proven_by_the_devices_before_it', () => {
    const waves = [
      { name: 'some', count: 20, soakSeconds: 0, approval: false },
      { name: 'labs', group: 'labs', soakSeconds: 0, approval: false },
    ];
    const policy = policyOf({ waves });
    const counts = [count(100), proven(20, { wave: 0 }), proven(4, { wave: 1 })];
    expect(windowOf(rollout({ policy, wave: 0 }), counts, null).size).toBe(20);
    expect(windowOf(rollout({ policy, wave: 1 }), counts, null).size).toBe(4);
  });

  test('its_undecided_devices_hold_places_of_the_whole', () => {
    expect(windowOf(rollout({ wave: 1 }), [count(100), open(2, canary)], null).open).toBe(2);
  });
});

test('members_are_counted_as_the_store_counts_them', () => {
  const counts = countsOf([
    waiting(0),
    member(1, { state: 'confirmed', proven: true, hardware: 'jetson', wave: 2 }),
  ]);
  expect(counts).toEqual([
    { wave: 0, hardware: 'pi4', state: 'waiting', proven: false, count: 1 },
    { wave: 2, hardware: 'jetson', state: 'confirmed', proven: true, count: 1 },
  ]);
});

// Without this, a release that breaks after a day is on hundreds of devices before any has soaked.
test('devices_that_still_soak_hold_their_places', () => {
  const counts = [count(100), count(3, { state: 'confirmed' })];
  expect(roomInAll(drawn, counts)).toBe(0);
  expect(room(drawn, [count(100), count(1, { state: 'confirmed' })], 'pi4')).toBe(0);
});
