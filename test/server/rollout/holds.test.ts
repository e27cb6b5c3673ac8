// What holds a rollout for a person, each from both sides of its bound, and that nobody is asked
// twice about the same thing.
import { describe, expect, it } from 'vitest';
import type { MemberRow, RolloutRow } from '../../../server/interfaces.js';
import { addSlot, emptySilence } from '../../../shared/statistics/silence-test.js';
import { releaseOf } from '../../sim/fleet.js';
import {
  answered,
  facts,
  fleetOf,
  good,
  member,
  planned,
  reports,
  rollout,
  rowAfter,
  T0,
  update,
  waiting,
} from '../../support/rollout-rows.js';

const CHOICE = 'resume accepts this and continues; abort rolls every touched device back';

describe('failures at the hold level', () => {
  it('fleet_of_3_the_first_failure_holds_and_a_fleet_of_6_goes_on', () => {
    const state = (size: number): RolloutRow => rowAfter(planned(fleetOf([true]), size));
    expect([3, 4, 5].map((size) => state(size).state)).toEqual(['held', 'held', 'held']);
    expect(state(6).state).toBe('rolling');
    const { reasons, asked } = state(3);
    expect(asked).toBe(true);
    expect(reasons).toEqual([
      expect.stringMatching(
        /: not halted; 1 of the first 1 failed: twice the failures .* so a person decides$/,
      ),
      'd0: trial_crashes: 3 times',
      CHOICE,
    ]);
  });

  it('between_the_hold_and_the_halt_level_a_person_decides', () => {
    // Of 100 planned, two failures halt up to the 11th device, and hold up to the 33rd.
    const state = (many: number): string =>
      rowAfter(planned(fleetOf([...good(many), true, true]), 100)).state;
    expect([9, 10, 31].map(state)).toEqual(['reverting', 'held', 'held']);
    expect(rowAfter(planned(fleetOf([true, ...good(31), true]), 100)).state).toBe('held');
    expect(rowAfter(planned(fleetOf([true, ...good(32), true]), 100)).state).toBe('rolling');
  });

  it('what_a_person_accepted_is_not_asked_again_but_a_later_failure_is', () => {
    const members = planned(fleetOf([true]), 3);
    const state = (answeredAt: number): string =>
      rowAfter(members, { rollout: answered({ answeredAt }) }).state;
    expect(state(T0)).toBe('rolling');
    expect(state(T0 - 1)).toBe('held');
  });
});

describe('answers that differ', () => {
  const differing = (since: number): MemberRow[] => [
    ...fleetOf(good(3)),
    member(3, { state: 'differs', since, reasons: 'declared 15 %, here 25 %' }),
  ];

  it('hold_and_fail_nobody', () => {
    const held = rowAfter(differing(T0));
    expect(held).toMatchObject({ state: 'held', asked: true });
    expect(held.reasons).toEqual([
      '1 device answers more differently than the release declares, and went back',
      'd3: declared 15 %, here 25 %',
      'resume --accept-difference PERCENT accepts that much, and these devices take it again',
      CHOICE,
    ]);
    expect(rowAfter(differing(T0), { rollout: answered({ answeredAt: T0 }) }).state).toBe(
      'rolling',
    );
    expect(rowAfter(differing(T0 + 1), { rollout: answered({ answeredAt: T0 }) }).state).toBe(
      'held',
    );
  });
});

describe('the same trouble on many devices', () => {
  const stuck = (count: number, takes: number, change: Partial<MemberRow> = {}): RolloutRow => {
    const members = fleetOf(good(takes), (n) =>
      n < count ? { state: 'taken', proven: false, since: T0, ...change } : {},
    );
    const trouble = { code: 'disk_full', detail: '3 MiB free', since: T0 };
    const v0 = releaseOf('1.0.0');
    const report = facts({ update: update({ running: v0, state: 'assigned', trouble }) });
    const there = members.map(({ rank, device }) =>
      rank < count
        ? { ...report, id: device, name: `d${rank}` }
        : facts({ update: update() }, rank),
    );
    // What the report says is written down already.
    const written = members.map((one) =>
      one.state === 'taken'
        ? { ...one, reasons: 'has its assignment; disk_full: 3 MiB free' }
        : one,
    );
    return rowAfter(written, { facts: reports(...there) });
  };

  it('holds_from_three_devices_and_more_than_a_fifth_of_all_takes', () => {
    expect(stuck(2, 4).state).toBe('rolling');
    expect(stuck(3, 14).state).toBe('held');
    expect(stuck(3, 15).state).toBe('rolling');
    expect(stuck(4, 19).state).toBe('held');
    expect(stuck(3, 14).reasons).toEqual([
      '3 of 14 devices that took it cannot begin, with disk_full: d0, d1, d2',
      'disk_full: 3 MiB free',
      CHOICE,
    ]);
  });

  it('counts_devices_that_gave_up_before_the_start_and_no_others', () => {
    expect(stuck(3, 14, { state: 'excused' }).state).toBe('held');
    for (const state of ['unproven', 'silent', 'confirmed'] as const)
      expect(stuck(3, 14, { state, proven: state === 'confirmed' }).state).not.toBe('held');
  });
});

describe('a window full of silent devices', () => {
  const silent = (n: number, change: Partial<MemberRow> = {}): MemberRow =>
    member(n, {
      state: 'silent',
      site: 'shop-7',
      reasons: 'not heard for 31 s; last: on trial',
      ...change,
    });
  const quiet = { facts: new Map(), now: T0 + 31_000 };
  const slot = { state: emptySilence(), slotAt: T0 + 31_000, eventAt: null };

  it('holds_names_the_site_and_reverts_nothing', () => {
    const held = rowAfter([silent(0), silent(1), waiting(2, { wave: 1 })], {
      ...quiet,
      rollout: rollout({ silence: slot }),
    });
    expect(held).toMatchObject({ state: 'held', asked: true });
    expect(held.reasons).toEqual([
      'all that have it undecided are silent: d0, d1 (site shop-7); ' +
        'silence is neither failure nor health',
      CHOICE,
    ]);
  });

  it('does_not_hold_while_something_may_still_come', () => {
    const row = rollout({ silence: slot });
    const now = quiet.now;
    const heard = (n: number) => facts({ lastSeenAt: now, update: update({ running: null }) }, n);
    const state = (members: readonly MemberRow[], ...talking: number[]): string =>
      rowAfter(members, { now, rollout: row, facts: reports(...talking.map(heard)) }).state;
    expect(state([silent(0), silent(1)])).toBe('held');
    // One on trial, one that soaks.
    const busy = update({ state: 'swapped' });
    const trialOn = facts({ lastSeenAt: now, update: busy }, 1);
    expect(
      rowAfter([silent(0), member(1, { state: 'trial' })], {
        now,
        rollout: row,
        facts: reports(trialOn),
      }).state,
    ).toBe('rolling');
    // A device that may take it: the window of 30 devices has room for one of another kind.
    const others = Array.from({ length: 29 }, (_, n) => waiting(n + 1, { hardware: 'jetson' }));
    expect(state([silent(0), ...others], 5)).toBe('rolling');
    expect(state([silent(0), ...others])).toBe('held');
    const same = others.map((one) => ({ ...one, hardware: 'pi4' }));
    expect(state([silent(0), ...same], 5)).toBe('held');
    // The wave is proven without them.
    const proven = fleetOf(good(3)).map((one) => ({ ...one, rank: one.rank + 10 }));
    expect(state([silent(20), ...proven])).not.toBe('held');
  });

  it('is_asked_once_for_each_silence', () => {
    const state = (answeredAt: number): string =>
      rowAfter([silent(0)], { ...quiet, rollout: rollout({ silence: slot, answeredAt }) }).state;
    expect(state(T0)).toBe('rolling');
    expect(state(T0 - 1)).toBe('held');
  });
});

describe('the silence test', () => {
  /** `events` touched devices of 10 go silent, of 30 controls none. */
  const after = (events: number) =>
    addSlot(emptySilence(), [
      { touched: { atRisk: 10, events }, control: { atRisk: 30, events: 0 } },
    ]);
  const row = (events: number, change: Partial<RolloutRow> = {}, eventAt = T0): RolloutRow =>
    rollout({ silence: { state: after(events), slotAt: T0 + 900, eventAt }, ...change });
  const members = [...fleetOf(good(1)), member(1, { state: 'trial' })];
  const there = reports(
    facts({ update: update() }, 0),
    facts({ update: update({ state: 'swapped' }) }, 1),
  );
  const state = (one: RolloutRow): RolloutRow => rowAfter(members, { rollout: one, facts: there });

  it('holds_at_an_e_value_of_20_and_says_the_counts', () => {
    expect(state(row(2)).state).toBe('rolling');
    const held = state(row(4));
    expect(held).toMatchObject({ state: 'held', asked: true });
    expect(held.reasons[0]).toMatch(
      /^devices that took it go silent .* sites: 4 against 0 in 1 slots; e-value \d+\.\d >= 20$/,
    );
  });

  it('holds_again_after_an_answer_only_when_another_touched_device_goes_silent', () => {
    expect(state(row(4, { answeredAt: T0 })).state).toBe('rolling');
    expect(state(row(4, { answeredAt: T0 - 1 })).state).toBe('held');
    // A later slot without an event of a touched device is no news.
    const silence = { state: after(4), slotAt: T0 + 999, eventAt: null };
    expect(state(rollout({ silence, answeredAt: T0 })).state).toBe('rolling');
  });
});
