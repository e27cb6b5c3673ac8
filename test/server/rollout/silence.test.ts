// The slots of the silence test: when one ends, who is at risk in it, and who went silent.
import { describe, expect, test } from 'vitest';
import { endSlot } from '../../../server/rollout/silence.js';
import type { Situation } from '../../../server/rollout/situation.js';
import type { DeviceFacts, MemberRow } from '../../../server/interfaces.js';
import { emptySilence, type SilenceState } from '../../../shared/statistics/silence-test.js';
import {
  facts,
  member,
  reports,
  rollout,
  situation,
  T0,
  waiting,
} from '../../support/rollout-rows.js';

/** policyOf: a device is silent after 30 s. */
const SLOT = 30_000;
const DAY = 86_400_000;
const NOW = T0 + 10 * SLOT;
const TAKE = [{ device: member(0).device, hardware: 'pi4', failed: false }];
const begun = rollout({ silence: { state: emptySilence(), slotAt: NOW - SLOT, eventAt: T0 } });

const ended = (change: Partial<Situation>): SilenceState | undefined =>
  endSlot(situation({ rollout: begun, takes: TAKE, now: NOW, ...change }))?.rollout.silence?.state;

/** Events among those at risk, of one slot of a site with both sides. */
const counted = (members: readonly MemberRow[], all: readonly DeviceFacts[]) => {
  const state = ended({ members, facts: reports(...all) });
  return { touched: state?.touchedEvents, control: state?.controlEvents };
};
const heardAt = (n: number, lastSeenAt: number | null, change: Partial<DeviceFacts> = {}) =>
  facts({ lastSeenAt, ...change }, n);

describe('a slot', () => {
  test('the_first_begins_with_the_first_take', () => {
    const fresh = rollout();
    expect(endSlot(situation({ rollout: fresh, takes: [], now: NOW }))).toBeNull();
    const step = endSlot(situation({ rollout: fresh, takes: TAKE, now: NOW }));
    expect(step?.rollout.silence).toMatchObject({
      state: emptySilence(),
      slotAt: NOW,
      eventAt: null,
    });
    expect(step).toMatchObject({ members: [], assignments: [] });
  });

  test('ends_exactly_after_the_silence_deadline', () => {
    const at = (now: number) => endSlot(situation({ rollout: begun, takes: TAKE, now }));
    expect(at(NOW - 1)).toBeNull();
    expect(at(NOW)?.rollout.silence).toMatchObject({ slotAt: NOW, state: { slots: 1 } });
  });

  test('in_which_a_touched_device_went_silent_is_remembered', () => {
    const members = [member(0), waiting(1)];
    const eventAt = (touched: number, control: number): number | null | undefined =>
      endSlot(
        situation({
          rollout: begun,
          takes: TAKE,
          now: NOW,
          members,
          facts: reports(facts({ lastSeenAt: touched }, 0), facts({ lastSeenAt: control }, 1)),
        }),
      )?.rollout.silence?.eventAt;
    expect(eventAt(NOW - SLOT, NOW)).toBe(NOW);
    expect(eventAt(NOW, NOW - SLOT)).toBe(T0);
    expect(eventAt(NOW, NOW)).toBe(T0);
  });

  test('in_which_the_server_could_not_hear_says_nothing', () => {
    const slots = (receptionSince: number) => ended({ receptionSince })?.slots;
    expect(slots(NOW - 2 * SLOT)).toBe(1);
    expect(slots(NOW - 2 * SLOT + 1)).toBe(0);
  });
});

describe('in a slot', () => {
  const touched = member(0);
  const control = waiting(1);
  const alive = heardAt(1, NOW);

  test('a_touched_device_and_a_control_are_counted_alike', () => {
    const quiet = NOW - SLOT;
    expect(counted([touched, control], [heardAt(0, quiet), alive])).toEqual({
      touched: 1,
      control: 0,
    });
    expect(counted([touched, control], [heardAt(0, NOW), heardAt(1, quiet)])).toEqual({
      touched: 0,
      control: 1,
    });
  });

  test('silent_for_the_deadline_to_the_millisecond_is_an_event', () => {
    const events = (at: number) => counted([touched, control], [heardAt(0, at), alive]).touched;
    expect(events(NOW - SLOT + 1)).toBe(0);
    expect(events(NOW - SLOT)).toBe(1);
    // At risk only if it was heard in the slot before: an event is counted once.
    expect(events(NOW - 2 * SLOT + 1)).toBe(1);
    expect(events(NOW - 2 * SLOT)).toBe(0);
  });

  test('never_heard_and_revoked_devices_are_not_at_risk', () => {
    const quiet = NOW - SLOT;
    const events = (report: DeviceFacts) => counted([touched, control], [report, alive]).touched;
    expect(events(heardAt(0, null))).toBe(0);
    expect(events(heardAt(0, quiet, { status: 'revoked' }))).toBe(0);
    expect(events(heardAt(0, quiet))).toBe(1);
  });

  test('touched_ends_a_day_after_the_take', () => {
    const events = (assignedAt: number) =>
      counted(
        [{ ...touched, state: 'confirmed', assignedAt }, control],
        [heardAt(0, NOW - SLOT), alive],
      ).touched;
    expect(events(NOW - DAY + 1)).toBe(1);
    expect(events(NOW - DAY)).toBe(0);
  });

  test('devices_of_two_sites_are_not_compared_one_by_one', () => {
    // Each site has one side only: the sites are the units, and both go silent or none.
    const elsewhere = waiting(1, { site: 'other' });
    const both = ended({
      members: [touched, elsewhere],
      facts: reports(heardAt(0, NOW - SLOT), heardAt(1, NOW - SLOT)),
    });
    expect(both).toMatchObject({ touchedEvents: 1, controlEvents: 1 });
    expect(both?.logProducts).toEqual([0, 0, 0].map((zero) => expect.closeTo(zero, 9) as number));
  });

  test('an_outage_of_a_whole_site_says_nothing_and_a_touched_device_alone_does', () => {
    const site = [touched, control, waiting(2), waiting(3)];
    const outage = ended({
      members: site,
      facts: reports(...site.map((_, n) => heardAt(n, NOW - SLOT))),
    });
    for (const value of outage?.logProducts ?? [1]) expect(value).toBeCloseTo(0, 9);
    const alone = ended({
      members: site,
      facts: reports(heardAt(0, NOW - SLOT), ...[1, 2, 3].map((n) => heardAt(n, NOW))),
    });
    // theta / (theta / 4 + 3 / 4)
    const expected = [2, 5, 20].map((theta) => Math.log(theta / ((theta + 3) / 4)));
    alone?.logProducts.forEach((value, at) => expect(value).toBeCloseTo(expected[at] ?? 0, 9));
  });
});
