// The plan step by step: one situation, one step, and every condition of a step from both sides.
// Whole rollouts are in conductor.test.ts.
import { describe, expect, test } from 'vitest';
import { plan, type Plan, type Situation } from '../../../server/rollout/plan.js';
import type { DeviceFacts, MemberRow } from '../../../server/interfaces.js';
import { policyOf, releaseOf } from '../../sim/fleet.js';
import { evidence, facts, member, rollout, T0, trial, update } from '../../support/rollout-rows.js';

const [V0, V1] = [releaseOf('1.0.0'), releaseOf('1.1.0')];

function situation(change: Partial<Situation> = {}): Situation {
  return {
    rollout: rollout(),
    members: [member(0)],
    facts: new Map(),
    published: new Set([V0.digest, V1.digest]),
    now: T0 + 1000,
    receptionSince: 0,
    ...change,
  };
}

const reports = (...all: DeviceFacts[]): Situation['facts'] =>
  new Map(all.map((one) => [one.id, one]));

function step(change: Partial<Situation>): Plan {
  return plan(situation(change)) ?? expect.fail('a step');
}

const waiting = member(0, {
  state: 'waiting',
  previous: null,
  assignmentId: null,
  assignedAt: null,
});
const [onV0, onV1] = [update({ running: V0, previous: null }), update()];

describe('assigning a wave', () => {
  const assigned = (report: DeviceFacts | null, change: Partial<Situation> = {}): Plan =>
    step({ members: [waiting], facts: report === null ? new Map() : reports(report), ...change });

  test('waiting_device_is_assigned_with_what_it_runs_as_previous', () => {
    const { members, assignments } = assigned(facts({ update: onV0 }));
    expect(assignments).toEqual([
      {
        device: waiting.device,
        component: 'digits',
        release: V1,
        rollback: false,
        rollout: 'ro-1',
        trial: policyOf().trial,
      },
    ]);
    expect(members).toMatchObject([
      { state: 'assigned', previous: V0, mayRun: false, since: T0 + 1000 },
    ]);
  });

  test('may_run_is_true_only_when_the_device_or_an_older_assignment_named_the_release', () => {
    const old = T0 - 3_600_000;
    const mayRun = (report: DeviceFacts | null): boolean | undefined =>
      assigned(report).members[0]?.mayRun;
    expect(mayRun(null)).toBe(false);
    expect(mayRun(facts({ update: onV0 }))).toBe(false);
    expect(mayRun(facts({ standing: { release: V0, rollback: false } }))).toBe(false);
    expect(mayRun(facts({ standing: { release: null, rollback: false } }))).toBe(false);
    expect(mayRun(facts({ update: onV1, lastSeenAt: old }))).toBe(true);
    expect(mayRun(facts({ update: onV0, standing: { release: V1, rollback: false } }))).toBe(true);
  });

  test('device_that_certainly_runs_the_release_needs_no_assignment', () => {
    const silent = policyOf().silentAfterSeconds * 1000;
    const now = T0 + silent;
    const isConfirmed = (change: Partial<DeviceFacts>, at = now): boolean => {
      const { members, assignments } = assigned(facts({ update: onV1, ...change }), { now: at });
      expect(assignments.length).toBe(members[0]?.state === 'confirmed' ? 0 : 1);
      return members[0]?.state === 'confirmed';
    };
    expect(isConfirmed({})).toBe(true);
    expect(isConfirmed({ standing: { release: V1, rollback: false } })).toBe(true);
    expect(isConfirmed({ update: update({ updatingTo: V1 }) })).toBe(true);
    // Not when the report is old, about a trial, or overtaken by another assignment.
    expect(isConfirmed({}, now + 1)).toBe(false);
    expect(isConfirmed({ lastSeenAt: null })).toBe(false);
    expect(isConfirmed({ update: update({ state: 'swapped' }) })).toBe(false);
    expect(isConfirmed({ update: onV0 })).toBe(false);
    expect(isConfirmed({ update: update({ updatingTo: V0 }) })).toBe(false);
    expect(isConfirmed({ standing: { release: V0, rollback: true } })).toBe(false);
    expect(isConfirmed({ standing: { release: null, rollback: false } })).toBe(false);
  });

  test('only_a_published_release_becomes_the_previous_one', () => {
    const previous = (report: DeviceFacts, published = [V0.digest]): MemberRow['previous'] =>
      assigned(report, { published: new Set(published) }).members[0]?.previous ?? null;
    expect(previous(facts({ update: onV0 }))).toEqual(V0);
    expect(previous(facts({ update: onV0 }), [])).toBeNull();
    // A rollback that is under way comes first; a standing forward assignment says nothing.
    const onV2 = update({ running: releaseOf('1.2.0'), previous: null });
    const all = [V0.digest, releaseOf('1.2.0').digest];
    expect(
      previous(facts({ update: onV2, standing: { release: V0, rollback: true } }), all),
    ).toEqual(V0);
    expect(
      previous(facts({ update: onV2, standing: { release: V0, rollback: false } }), all),
    ).toEqual(releaseOf('1.2.0'));
  });

  test('devices_of_a_later_wave_wait', () => {
    expect(
      plan(situation({ members: [{ ...waiting, wave: 1 }, member(1, { state: 'trial' })] })),
    ).toBeNull();
  });
});

describe('watching a wave', () => {
  const seen = (one: MemberRow, report: DeviceFacts): string =>
    plan(situation({ members: [one], facts: reports(report) }))?.members[0]?.state ?? one.state;
  const passing = trial(evidence(4));

  test('bare_report_of_health_is_not_believed', () => {
    expect(seen(member(0), facts({ update: onV1 }))).toBe('trial');
    expect(seen(member(0, { mayRun: true }), facts({ update: onV1 }))).toBe('confirmed');
  });

  test('device_on_trial_is_not_confirmed_before_it_ends_the_trial', () => {
    const swapped = update({ state: 'swapped' });
    expect(seen(member(0), facts({ update: swapped, trial: passing }))).toBe('trial');
    expect(seen(member(0, { mayRun: true }), facts({ update: swapped }))).toBe('trial');
    expect(seen(member(0), facts({ update: onV1, trial: passing }))).toBe('confirmed');
  });

  test('passing_evidence_without_the_end_of_the_trial_confirms_nothing', () => {
    expect(seen(member(0), facts({ trial: passing }))).toBe('trial');
    expect(seen(member(0), facts({ update: onV0, trial: passing }))).toBe('trial');
  });

  test('revoked_device_leaves_the_rollout_in_every_forward_state', () => {
    for (const state of ['waiting', 'assigned', 'trial', 'confirmed'] as const)
      expect(seen(member(0, { state }), facts({ status: 'revoked' }))).toBe('lost');
    for (const state of ['failed', 'lost', 'reverted'] as const)
      expect(seen(member(0, { state, failed: true }), facts({ status: 'revoked' }))).toBe(state);
  });
});

describe('halting and advancing', () => {
  const failed = (n: number, change: Partial<MemberRow> = {}): MemberRow =>
    member(n, { state: 'failed', failed: true, ...change });
  const confirmed = (n: number, change: Partial<MemberRow> = {}): MemberRow =>
    member(n, { state: 'confirmed', ...change });
  const heard = (count: number): Situation['facts'] =>
    reports(...Array.from({ length: count }, (_, n) => facts({ update: onV1 }, n)));

  test('halt_reverts_with_auto_revert_and_asks_an_operator_without', () => {
    const members = [failed(0), failed(1)];
    const next = (autoRevert: boolean, answeredAt: number | null = null) =>
      step({
        members,
        rollout: rollout({
          policy: policyOf({ autoRevert }),
          answeredAt,
          healthySince: answeredAt,
        }),
      }).rollout;
    expect(next(true)).toMatchObject({ state: 'reverting', since: T0 + 1000 });
    expect(next(false)).toMatchObject({ state: 'held' });
    expect(next(false).reasons.join('\n')).toContain('autoRevert is off');
    // Accepted failures halt only with autoRevert.
    expect(next(true, T0).state).toBe('reverting');
    expect(next(false, T0).state).toBe('rolling');
  });

  test('healthy_wave_first_notes_the_time_and_then_advances', () => {
    const members = [confirmed(0)];
    const first = step({ members, facts: heard(1) }).rollout;
    expect(first).toMatchObject({ wave: 0, state: 'rolling', healthySince: T0 + 1000 });
    const second = step({ members, facts: heard(1), rollout: first }).rollout;
    expect(second).toMatchObject({ wave: 1, healthySince: null, answeredAt: T0 + 1000 });
  });

  test('wave_that_is_no_longer_healthy_starts_its_soak_again', () => {
    const members = [confirmed(0), member(1)];
    const before = rollout({ healthySince: T0 });
    expect(step({ members, facts: heard(1), rollout: before }).rollout.healthySince).toBeNull();
  });

  test('soak_ends_exactly_at_its_seconds_and_counts_only_reception', () => {
    const waves = policyOf().waves.map((wave) => ({ ...wave, soakSeconds: 20 }));
    const row = rollout({ policy: policyOf({ waves }), healthySince: T0 });
    const soaked = (now: number, receptionSince = 0): boolean =>
      plan(
        situation({ members: [confirmed(0)], facts: heard(1), rollout: row, now, receptionSince }),
      ) !== null;
    expect(soaked(T0 + 19_999)).toBe(false);
    expect(soaked(T0 + 20_000)).toBe(true);
    expect(soaked(T0 + 20_000, T0 + 1)).toBe(false);
    expect(soaked(T0 + 20_001, T0 + 1)).toBe(true);
  });

  test('approval_is_needed_only_where_the_wave_asks_for_it', () => {
    for (const [approval, approved, advances] of [
      [false, false, true],
      [false, true, true],
      [true, true, true],
      [true, false, false],
    ] as const) {
      const waves = policyOf().waves.map((wave) => ({ ...wave, approval }));
      const row = rollout({ policy: policyOf({ waves }), approved, healthySince: T0 });
      const next = plan(situation({ members: [confirmed(0)], facts: heard(1), rollout: row }));
      expect(next !== null, `approval ${approval}, approved ${approved}`).toBe(advances);
    }
  });

  test('last_wave_completes_and_an_inconclusive_one_is_held', () => {
    const last = rollout({ wave: 2, healthySince: T0 });
    expect(step({ members: [confirmed(0)], facts: heard(1), rollout: last }).rollout.state).toBe(
      'completed',
    );
    const members = [failed(0), confirmed(1), confirmed(2)];
    const held = step({ members, facts: heard(3) }).rollout;
    expect(held.state).toBe('held');
    expect(held.reasons.join('\n')).toContain('resume accepts these failures');
  });
});

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
    const untouched = member(4, { state: 'waiting', assignmentId: null, assignedAt: null });
    const members = [
      member(0),
      member(1, { state: 'trial' }),
      member(2, { state: 'confirmed', previous: null }),
      member(3, { state: 'failed', failed: true, reasons: 'silent for 31 s' }),
      untouched,
    ];
    const next = step({ rollout: reverting, members });
    const of = (n: number) => next.assignments.find((one) => one.device === member(n).device);
    expect(next.assignments).toHaveLength(4);
    for (const n of [0, 1, 3]) expect(of(n)).toMatchObject({ release: V0, rollback: true });
    expect(of(2)).toMatchObject({ release: null, rollback: false });
    expect(next.members.map(({ state }) => state)).toEqual(Array(4).fill('reverting'));
    expect(next.members.find(({ name }) => name === 'd3')?.reasons).toBe(
      'assigned 1.0.0 again; failed before: silent for 31 s',
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
    expect(back(lost ?? one, facts({ lastSeenAt: late }), late + 1000)).toBeNull();
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
});

test('states_that_are_not_active_plan_nothing', () => {
  for (const state of ['draft', 'completed', 'reverted', 'dropped'] as const)
    expect(plan(situation({ rollout: rollout({ state }), members: [waiting] }))).toBeNull();
});
