// The way back step by step: who gets what it ran before, who is back, who is lost, and how an undo
// goes through the window.
import { describe, expect, test } from 'vitest';
import { plan } from '../../../server/rollout/plan.js';
import type { Plan, Situation } from '../../../server/rollout/situation.js';
import type { DeviceFacts, MemberRow } from '../../../server/interfaces.js';
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

const [V0, V1] = [releaseOf('1.0.0'), releaseOf('1.1.0')];
const onV1 = update();

function step(change: Partial<Situation>): Plan {
  return plan(situation(change)) ?? expect.fail('a step');
}

describe('rolling back', () => {
  const reverting = rollout({ state: 'reverting' });
  const back = (one: MemberRow, report: DeviceFacts | null, now = T0 + 1000): MemberRow | null =>
    plan(
      situation({
        rollout: reverting,
        members: [one],
        facts: report === null ? new Map() : reports(report),
        now,
      }),
    )?.members[0] ?? null;

  test('every_touched_device_is_assigned_what_it_ran_before', () => {
    const members = [
      member(0),
      member(1, { state: 'trial' }),
      member(2, { state: 'confirmed', previous: null }),
      member(3, { state: 'failed', failed: true, reasons: 'trial_crashes: 3 times' }),
      waiting(4),
      ...(['unproven', 'silent', 'differs', 'excused'] as const).map((state, n) =>
        member(5 + n, { state }),
      ),
    ];
    const next = step({ rollout: reverting, members });
    const of = (n: number) => next.assignments.find((one) => one.device === member(n).device);
    expect(next.assignments).toHaveLength(8);
    for (const n of [0, 1, 3, 5, 6, 7, 8])
      expect(of(n)).toMatchObject({ release: V0, rollback: true });
    expect(of(2)).toMatchObject({ release: null, rollback: false });
    expect(next.members.map(({ state }) => state)).toEqual(Array(8).fill('reverting'));
    expect(next.members.find(({ name }) => name === 'd3')?.reasons).toBe(
      'assigned 1.0.0 again; failed before: trial_crashes: 3 times',
    );
  });

  test('device_is_back_only_when_idle_on_the_previous_release_under_the_rollback', () => {
    const one = member(0, { state: 'reverting', assignmentId: 3 });
    const isBack = (change: Parameters<typeof update>[0]): boolean =>
      back(one, facts({ update: update({ running: V0, assignmentId: 3, ...change }) }))?.state ===
      'reverted';
    expect(isBack({})).toBe(true);
    expect(isBack({ assignmentId: 2 })).toBe(false);
    expect(isBack({ running: V1 })).toBe(false);
    expect(isBack({ running: null })).toBe(false);
    expect(isBack({ state: 'swapped' })).toBe(false);
    expect(isBack({ state: 'stranded' })).toBe(false);
    expect(back(one, null)).toBeNull();
  });

  test('withdrawn_first_install_is_back_once_heard_since_and_off_the_release', () => {
    const one = member(0, { state: 'reverting', previous: null, assignedAt: T0 });
    const isBack = (lastSeenAt: number, change: Parameters<typeof update>[0]): boolean =>
      back(one, facts({ lastSeenAt, update: update({ running: null, ...change }) }))?.state ===
      'reverted';
    expect(isBack(T0 + 1, {})).toBe(true);
    expect(isBack(T0 + 1, { state: 'stranded' })).toBe(true);
    expect(isBack(T0, {})).toBe(false);
    expect(isBack(T0 + 1, { running: V1 })).toBe(false);
    expect(isBack(T0 + 1, { state: 'swapped' })).toBe(false);
  });

  test('silent_device_is_lost_and_one_that_returns_is_reverted', () => {
    const one = member(0, { state: 'reverting', assignmentId: 3 });
    const late = T0 + 31_000;
    expect(back(one, facts(), late - 1)).toBeNull();
    const lost = back(one, facts(), late);
    expect(lost).toMatchObject({ state: 'lost', since: late });
    const there = facts({ update: update({ running: V0, assignmentId: 3 }), lastSeenAt: late });
    expect(back(lost ?? one, there, late + 1000)).toMatchObject({
      state: 'reverted',
      reasons: 'runs 1.0.0 again',
    });
    // Heard, but not back yet: it stays lost.
    expect(back(lost ?? one, facts({ lastSeenAt: late }), late + 1000)).not.toMatchObject({
      state: 'reverted',
    });
  });

  test('device_that_talks_but_does_not_roll_back_is_lost_at_the_deadline', () => {
    const one = member(0, { state: 'reverting', assignmentId: 3 });
    const deadline = T0 + policyOf().deviceDeadlineSeconds * 1000;
    const talking = (now: number) => back(one, facts({ update: onV1, lastSeenAt: now }), now);
    expect(talking(deadline + 999)).toBeNull();
    expect(talking(deadline + 1000)?.reasons).toContain('not back within 120 s');
  });

  test('rollback_ends_when_no_device_is_under_way_and_names_the_lost', () => {
    const members = [
      member(0, { state: 'reverted' }),
      member(1, { state: 'lost' }),
      member(2, { state: 'lost' }),
    ];
    const next = step({
      rollout: rollout({ state: 'reverting', reasons: ['halted'] }),
      members,
      facts: reports(facts({ status: 'revoked' }, 2)),
    });
    expect(next.rollout).toMatchObject({ state: 'reverted' });
    expect(next.rollout.reasons).toEqual([
      'halted',
      '1 of 3 touched devices are back on what they ran before; ' +
        'lost, with their rollback still assigned: d1; lost, because they were revoked: d2',
    ]);
    expect(
      plan(
        situation({ rollout: reverting, members: [...members, member(3, { state: 'reverting' })] }),
      ),
    ).toBeNull();
  });

  describe('undo', () => {
    const undone = rollout({ state: 'reverting', undo: true });
    const talking = (count: number): Situation['facts'] =>
      reports(...Array.from({ length: count }, (_, n) => facts({ update: onV1 }, n)));
    const confirmed = (n: number): MemberRow => member(n, { state: 'confirmed', proven: true });
    const many = (count: number): MemberRow[] =>
      Array.from({ length: count }, (_, n) => confirmed(n));
    const names = (change: Partial<Situation>): string[] =>
      plan(situation({ rollout: undone, ...change }))?.members.map(({ name }) => name) ?? [];

    test('begins_with_the_start_window_or_one_device_of_a_small_fleet', () => {
      expect(names({ members: many(30), facts: talking(30) })).toEqual(['d0', 'd1', 'd2']);
      expect(names({ members: many(29), facts: talking(29) })).toEqual(['d0']);
    });

    test('as_many_are_under_way_as_are_back', () => {
      const at = (back: number, under: number): string[] =>
        names({
          members: many(30).map((one, n) =>
            n < back
              ? { ...one, state: 'reverted' as const }
              : n < back + under
                ? { ...one, state: 'reverting' as const, assignmentId: 3 }
                : one,
          ),
          facts: talking(30),
        });
      expect(at(0, 3)).toEqual([]);
      expect(at(1, 2)).toEqual(['d3']);
      expect(at(3, 0)).toEqual(['d3', 'd4', 'd5']);
      expect(at(5, 4)).toEqual(['d9']);
      expect(at(5, 0)).toEqual(['d5', 'd6', 'd7', 'd8', 'd9']);
    });

    test('devices_that_are_not_heard_get_their_assignment_at_once_for_their_return', () => {
      const found = names({ members: many(30), facts: talking(28) });
      expect(found).toEqual(['d28', 'd29', 'd0', 'd1', 'd2']);
    });

    test('a_halt_sends_all_back_at_once', () => {
      const halted = rollout({ state: 'reverting' });
      expect(names({ members: many(30), facts: talking(30), rollout: halted })).toHaveLength(30);
    });
  });
});
