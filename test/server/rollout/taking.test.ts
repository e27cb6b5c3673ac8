// May a device that asks take the release now, and who is told to ask: every condition from both
// sides.
import { describe, expect, test } from 'vitest';
import { take, toAsk, type Contact } from '../../../server/rollout/taking.js';
import { countsOf } from '../../../server/rollout/window.js';
import type { DeviceFacts, MemberRow } from '../../../server/interfaces.js';
import { MEMBER_STATES, ROLLOUT_STATES } from '../../../shared/protocol/states.js';
import { policyOf, releaseOf } from '../../sim/fleet.js';
import {
  facts,
  member,
  reports,
  rollout,
  situation,
  T0,
  update,
  waiting,
} from '../../support/rollout-rows.js';

const [V0, V1, V2] = [releaseOf('1.0.0'), releaseOf('1.1.0'), releaseOf('1.2.0')];
const [onV0, onV1] = [update({ running: V0, previous: null }), update()];

function contact(change: Partial<Contact> = {}): Contact {
  return {
    rollout: rollout(),
    member: waiting(0),
    facts: facts({ update: onV0 }),
    counts: countsOf([waiting(0)]),
    published: new Set([V0.digest, V1.digest]),
    lastTake: null,
    isUndecidedElsewhere: false,
    now: T0 + 1000,
    receptionSince: 0,
    ...change,
  };
}
const takes = (change: Partial<Contact>): boolean => take(contact(change)) !== null;

describe('a device that asks', () => {
  test('takes_the_release_with_what_it_runs_as_previous', () => {
    const step = take(contact());
    expect(step).toMatchObject({
      takes: [waiting(0).device],
      members: [
        {
          state: 'taken',
          previous: V0,
          mayRun: false,
          since: T0 + 1000,
          reasons: 'took 1.1.0 in place of 1.0.0',
        },
      ],
    });
    expect(step?.assignments).toEqual([
      {
        device: waiting(0).device,
        component: 'digits',
        release: V1,
        rollback: false,
        activation: 'swap',
        rollout: 'ro-1',
        trial: policyOf().trial,
      },
    ]);
  });

  test('takes_it_in_a_rolling_rollout_of_an_open_wave_or_as_a_standing_release', () => {
    for (const state of ROLLOUT_STATES)
      expect([state, takes({ rollout: rollout({ state }) })]).toEqual([
        state,
        state === 'rolling' || state === 'completed',
      ]);
    // A standing release that alarmed is given to nobody.
    expect(takes({ rollout: rollout({ state: 'completed', asked: true }) })).toBe(false);
    const inWave = (wave: number, state: 'rolling' | 'completed' = 'rolling'): boolean =>
      takes({ member: waiting(0, { wave }), rollout: rollout({ wave: 1, state }) });
    expect([0, 1, 2].map((wave) => inWave(wave))).toEqual([true, true, false]);
    expect(inWave(2, 'completed')).toBe(true);
  });

  test('takes_it_only_while_it_waits', () => {
    for (const state of MEMBER_STATES)
      expect([state, takes({ member: waiting(0, { state }) })]).toEqual([
        state,
        state === 'waiting',
      ]);
  });

  test('takes_nothing_while_another_take_of_it_is_undecided', () => {
    expect(takes({ isUndecidedElsewhere: true })).toBe(false);
    expect(takes({ isUndecidedElsewhere: false })).toBe(true);
  });

  test('takes_nothing_when_it_runs_the_release_already', () => {
    expect(takes({ facts: facts({ update: onV1 }) })).toBe(false);
    const old = facts({ update: onV1, lastSeenAt: T0 - 3_600_000 });
    expect(takes({ facts: old })).toBe(true);
  });

  test('takes_nothing_while_the_window_is_full', () => {
    const counts = (state: MemberRow['state']) => countsOf([waiting(0), member(1, { state })]);
    expect(takes({ counts: counts('trial') })).toBe(false);
    expect(takes({ counts: counts('silent') })).toBe(false);
    expect(takes({ counts: counts('failed') })).toBe(true);
    // 30 devices of two kinds: three in all, one of each kind.
    const many = Array.from({ length: 29 }, (_, n) => waiting(n + 1));
    const kind = (hardware: string, ...open: string[]): boolean =>
      takes({
        member: waiting(0, { hardware }),
        counts: countsOf([
          ...many,
          ...open.map((one, n) => member(50 + n, { state: 'taken', hardware: one })),
        ]),
      });
    expect(kind('pi4', 'jetson')).toBe(true);
    expect(kind('pi4', 'pi4')).toBe(false);
    expect(kind('pi4', 'jetson', 'nano')).toBe(true);
    expect(kind('pi4', 'jetson', 'nano', 'other')).toBe(false);
  });

  test('may_run_is_true_only_when_the_device_or_an_older_assignment_named_the_release', () => {
    const old = T0 - 3_600_000;
    const mayRun = (report: DeviceFacts | undefined): boolean | undefined =>
      take(contact({ facts: report }))?.members[0]?.mayRun;
    expect(mayRun(undefined)).toBe(false);
    expect(mayRun(facts({ update: onV0 }))).toBe(false);
    expect(mayRun(facts({ standing: { release: V0, rollback: false } }))).toBe(false);
    expect(mayRun(facts({ standing: { release: null, rollback: false } }))).toBe(false);
    expect(mayRun(facts({ update: onV1, lastSeenAt: old }))).toBe(true);
    expect(mayRun(facts({ update: onV0, standing: { release: V1, rollback: false } }))).toBe(true);
  });

  test('only_a_published_release_becomes_the_previous_one', () => {
    const previous = (report: DeviceFacts, published = [V0.digest]): MemberRow['previous'] =>
      take(contact({ facts: report, published: new Set(published) }))?.members[0]?.previous ?? null;
    expect(previous(facts({ update: onV0 }))).toEqual(V0);
    expect(previous(facts({ update: onV0 }), [])).toBeNull();
    expect(take(contact({ published: new Set() }))?.members[0]?.reasons).toBe(
      'took 1.1.0; no previous release is known',
    );
    // A rollback that is under way comes first; a standing forward assignment says nothing.
    const onV2 = update({ running: V2, previous: null });
    const all = [V0.digest, V1.digest, V2.digest];
    const standing = (rollback: boolean) =>
      facts({ update: onV2, standing: { release: V0, rollback } });
    expect(previous(standing(true), all)).toEqual(V0);
    expect(previous(standing(false), all)).toEqual(V2);
    // What stood before, where the release itself runs; never the release itself.
    const ran = facts({ update: onV1, lastSeenAt: T0 - 3_600_000 });
    expect(previous(ran, all)).toEqual(V0);
    expect(previous(facts({ update: update({ running: null }) }), all)).toEqual(V0);
    expect(previous(facts({ update: null }), all)).toBeNull();
  });
});

describe('who is told to ask', () => {
  const heard = (many: number, lastSeenAt: number | null = T0) =>
    reports(...Array.from({ length: many }, (_, n) => facts({ update: onV0, lastSeenAt }, n)));
  const members = (many: number): MemberRow[] =>
    Array.from({ length: many }, (_, n) => waiting(n, { site: `site-${n}` }));
  const asked = (change: Parameters<typeof situation>[0]): number[] =>
    toAsk(situation(change)).map((id) => Number.parseInt(id.slice(4), 16));

  test('the_first_of_the_order_that_are_heard_as_many_as_there_is_room', () => {
    const kinds = members(30).map((one, n) => ({ ...one, hardware: n < 2 ? 'pi4' : `kind${n}` }));
    expect(asked({ members: kinds, facts: heard(30) })).toEqual([0, 2, 3]);
    const some = new Map([...heard(30)].filter(([, { name }]) => name !== 'd0'));
    expect(asked({ members: kinds, facts: some })).toEqual([1, 2, 3]);
    expect(asked({ members: members(30), facts: heard(30) })).toEqual([0]);
    expect(asked({ members: members(29), facts: heard(29) })).toEqual([0]);
    expect(asked({ members: [], facts: heard(0) })).toEqual([]);
  });

  test('a_kind_gets_as_many_as_it_has_proven', () => {
    const proven = [30, 31, 32, 33].map((n) =>
      member(n, { state: 'confirmed', proven: true, wave: 0 }),
    );
    expect(asked({ members: [...members(30), ...proven], facts: heard(30) })).toEqual([0, 1, 2, 3]);
    const open = member(40, { state: 'trial' });
    expect(asked({ members: [...members(30), ...proven, open], facts: heard(30) })).toEqual([
      0, 1, 2,
    ]);
  });

  test('nobody_who_is_not_heard_or_whose_wave_is_not_open', () => {
    const now = T0 + 30_000;
    expect(asked({ members: members(1), facts: heard(1), now })).toEqual([0]);
    expect(asked({ members: members(1), facts: heard(1), now: now + 1 })).toEqual([]);
    expect(asked({ members: members(1), facts: heard(1, null) })).toEqual([]);
    expect(asked({ members: [waiting(0, { wave: 1 })], facts: heard(1) })).toEqual([]);
    const later = rollout({ wave: 1 });
    expect(asked({ members: [waiting(0, { wave: 1 })], facts: heard(1), rollout: later })).toEqual([
      0,
    ]);
  });

  test('only_while_the_rollout_gives_the_release_out', () => {
    for (const state of ROLLOUT_STATES) {
      const row = rollout({ state });
      const found = asked({ members: [waiting(0, { wave: 0 })], facts: heard(1), rollout: row });
      expect([state, found.length]).toEqual([
        state,
        state === 'rolling' || state === 'completed' ? 1 : 0,
      ]);
    }
    const alarmed = rollout({ state: 'completed', asked: true });
    expect(asked({ members: [waiting(0)], facts: heard(1), rollout: alarmed })).toEqual([]);
    const completed = rollout({ state: 'completed' });
    expect(
      asked({ members: [waiting(0, { wave: 2 })], facts: heard(1), rollout: completed }),
    ).toEqual([0]);
  });
});
