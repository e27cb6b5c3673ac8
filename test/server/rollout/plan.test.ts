// The plan step by step: one situation, one step, and every condition of a step from both sides.
// Whole rollouts are in conductor.test.ts; who may take the release is in taking.test.ts, and what
// holds or halts a rollout in halt.test.ts; the way back is in backward.test.ts. Over 400 lines
// because every step stands beside the others.
import { describe, expect, test } from 'vitest';
import { plan, watchStep, wholeStep } from '../../../server/rollout/plan.js';
import type { Plan, Situation } from '../../../server/rollout/situation.js';
import type { DeviceFacts, MemberRow, RolloutRow } from '../../../server/interfaces.js';
import { limits } from '../../../shared/base/limits.js';
import { emptySilence } from '../../../shared/statistics/silence-test.js';
import { policyOf, releaseOf } from '../../sim/fleet.js';
import {
  evidence,
  facts,
  fleetOf,
  member,
  planned,
  reports,
  rollout,
  situation,
  T0,
  takesOf,
  trial,
  update,
  waiting,
} from '../../support/rollout-rows.js';

const [V0, V1] = [releaseOf('1.0.0'), releaseOf('1.1.0')];

function step(change: Partial<Situation>): Plan {
  return plan(situation(change)) ?? expect.fail('a step');
}

const [onV0, onV1] = [update({ running: V0, previous: null }), update()];
const wavesWith = (change: Partial<RolloutRow['policy']['waves'][number]>) =>
  policyOf({ waves: policyOf().waves.map((wave) => ({ ...wave, ...change })) });

test.each(['draft', 'reverted', 'reported', 'dropped'] as const)(
  'nothing_is_watched_or_decided_in_%s',
  (state) => {
    // In a state that rolls, both would have something to do.
    const there = { members: [member(0)], facts: reports(facts({ status: 'revoked' })) };
    expect(watchStep(situation(there))).not.toBeNull();
    const resting = situation({ ...there, rollout: rollout({ state }) });
    expect([watchStep(resting), wholeStep(resting)]).toEqual([null, null]);
  },
);

test('a_halt_comes_before_everything_else_that_is_due', () => {
  const members = planned(fleetOf([true, true]), 20);
  // A slot of the silence test is over too: without the halt it would be written first.
  const silence = { state: emptySilence(), slotAt: T0, eventAt: null };
  const now = T0 + 86_400_000;
  const after = (takes: Situation['takes']): RolloutRow | null =>
    wholeStep(situation({ members, takes, now, rollout: rollout({ silence }) }))?.rollout ?? null;
  expect(after(takesOf(members))).toMatchObject({ state: 'reverting', silence });
  expect(after([])).toMatchObject({ state: 'rolling', silence: { state: { slots: 1 } } });
});

describe('devices that wait', () => {
  test('nothing_is_assigned_before_the_device_asks', () => {
    const members = [waiting(0), waiting(1)];
    const talking = reports(facts({ update: onV0 }, 0), facts({ update: onV0 }, 1));
    expect(plan(situation({ members, facts: talking }))).toBeNull();
    expect(plan(situation({ members }))).toBeNull();
  });

  test('device_that_certainly_runs_the_release_is_confirmed_without_an_assignment', () => {
    const silent = policyOf().silentAfterSeconds * 1000;
    const now = T0 + silent;
    const isConfirmed = (change: Partial<DeviceFacts>, at = now): boolean => {
      const report = reports(facts({ update: onV1, ...change }));
      const next = plan(situation({ members: [waiting(0)], facts: report, now: at }));
      if (next === null) return false;
      expect(next.assignments).toEqual([]);
      expect(next.members).toMatchObject([
        { state: 'confirmed', assignmentId: null, since: at, reasons: 'ran this release already' },
      ]);
      return true;
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

  test('devices_of_a_later_wave_wait_whatever_they_run', () => {
    const later = waiting(0, { wave: 1 });
    const members = [later, member(1, { state: 'trial' })];
    const there = reports(facts({ update: onV1 }, 0), facts({ update: onV0 }, 1));
    expect(plan(situation({ members, facts: there }))).toBeNull();
    const opened = { members, facts: there, rollout: rollout({ wave: 1 }) };
    expect(step(opened).members).toMatchObject([{ device: later.device, state: 'confirmed' }]);
  });

  test('revoked_before_it_took_the_release_is_excused', () => {
    const gone = reports(facts({ status: 'revoked' }));
    expect(step({ members: [waiting(0)], facts: gone }).members).toMatchObject([
      { state: 'excused', failed: false, reasons: 'revoked before it took the release' },
    ]);
  });
});

describe('watching devices that took it', () => {
  const seen = (one: MemberRow, report: DeviceFacts, now = T0 + 1000): string =>
    plan(situation({ members: [one], facts: reports(report), now }))?.members[0]?.state ??
    one.state;
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

  test('revoked_device_is_excused_in_every_forward_state_and_a_failure_stays', () => {
    const revoked = facts({ status: 'revoked' });
    const confirmed = { state: 'confirmed', assignmentId: null, proven: true } as const;
    for (const state of ['waiting', 'taken', 'trial', 'unproven', 'silent', 'confirmed'] as const)
      expect(seen(member(0, { state }), revoked)).toBe('excused');
    expect(seen(member(0, confirmed), revoked)).toBe('excused');
    for (const state of ['failed', 'differs', 'excused', 'lost', 'reverted'] as const)
      expect(seen(member(0, { state, failed: true }), revoked)).toBe(state);
  });

  test('take_that_was_never_answered_is_withdrawn_exactly_after_its_time', () => {
    const end = T0 + limits.takeWaitMs;
    const one = member(0, { state: 'silent', reasons: 'not heard for 31 s; last: ' });
    const late = step({ members: [one], facts: reports(facts()), now: end + 1000 });
    expect(late.members).toMatchObject([
      {
        state: 'waiting',
        since: end + 1000,
        failed: false,
        silence: null,
        reasons: 'it did not answer its assignment, which was withdrawn',
      },
    ]);
    expect(late.assignments).toMatchObject([
      { device: one.device, release: releaseOf('1.0.0'), rollback: true },
    ]);
    expect(late.untaken).toEqual([one.device]);
    const first = { ...one, previous: null };
    expect(
      step({ members: [first], facts: reports(facts()), now: end + 1000 }).assignments,
    ).toMatchObject([{ device: one.device, release: null, rollback: false }]);
    const state = (report: DeviceFacts, now = end + 1000, from = 0): string | undefined =>
      plan(
        situation({ members: [one], facts: reports(report), now, receptionSince: from }),
      )?.members.find(({ device }) => device === one.device)?.state;
    expect(state(facts(), end + 999)).not.toBe('waiting');
    // Not while the server could not hear it, and not once it answered in either way.
    expect(state(facts(), end + 1000, T0 + 1)).not.toBe('waiting');
    expect(state(facts({ update: onV0 }))).not.toBe('waiting');
    expect(state(facts({ trial: trial(evidence(0, 10)) }))).not.toBe('waiting');
    const begun = { ...one, state: 'trial' as const };
    expect(plan(situation({ members: [begun], facts: reports(facts()), now: end + 1000 }))).toEqual(
      expect.not.objectContaining({ untaken: [one.device] }),
    );
  });

  test('soak_ends_exactly_at_its_seconds_and_counts_only_reception', () => {
    const row = rollout({ policy: wavesWith({ soakSeconds: 20 }) });
    const one = member(0, { state: 'confirmed' });
    const isProven = (now: number, receptionSince = 0): boolean => {
      const there = reports(facts({ update: onV1, lastSeenAt: now }));
      const next = plan(
        situation({ members: [one], facts: there, rollout: row, now, receptionSince }),
      );
      return next?.members[0]?.proven ?? false;
    };
    expect(isProven(T0 + 19_999)).toBe(false);
    expect(isProven(T0 + 20_000)).toBe(true);
    expect(isProven(T0 + 20_000, T0 + 1)).toBe(false);
    expect(isProven(T0 + 20_001, T0 + 1)).toBe(true);
  });

  test('soak_is_of_the_members_own_wave_and_what_ran_already_needs_none', () => {
    const policy = policyOf();
    policy.waves[1]!.soakSeconds = 20;
    const row = rollout({ policy, wave: 1 });
    const proven = (one: MemberRow): boolean => {
      const there = reports(facts({ update: onV1 }));
      const next = plan(situation({ members: [one], facts: there, rollout: row }));
      return next?.members[0]?.proven ?? false;
    };
    expect(proven(member(0, { state: 'confirmed', wave: 0 }))).toBe(true);
    expect(proven(member(0, { state: 'confirmed', wave: 1 }))).toBe(false);
    expect(proven(member(0, { state: 'confirmed', wave: 1, assignmentId: null }))).toBe(true);
  });

  test('device_that_falls_silent_while_it_soaks_is_silent_and_starts_its_soak_again', () => {
    const row = rollout({ policy: wavesWith({ soakSeconds: 300 }) });
    const one = member(0, { state: 'confirmed', reasons: 'on trial: accepted' });
    const end = facts({ update: onV1, trial: passing });
    const quiet = T0 + 31_000;
    const silent = step({ members: [one], facts: reports(end), rollout: row, now: quiet });
    expect(silent.members).toMatchObject([
      { state: 'silent', failed: false, proven: false, since: quiet },
    ]);
    const back = { ...end, lastSeenAt: quiet + 1000 };
    const again = step({
      members: [silent.members[0] ?? one],
      facts: reports(back),
      rollout: row,
      now: quiet + 1000,
    });
    expect(again.members).toMatchObject([
      { state: 'confirmed', proven: false, since: quiet + 1000 },
    ]);
  });

  test('proven_device_that_falls_silent_stays_proven_and_one_that_falls_back_failed', () => {
    const one = member(0, { state: 'confirmed', proven: true });
    const row = rollout({ policy: wavesWith({ approval: true }) });
    const now = T0 + 31_000;
    const quiet = reports(facts({ update: onV1, trial: passing }));
    expect(plan(situation({ members: [one], facts: quiet, rollout: row, now }))).toBeNull();
    const fell = reports(facts({ update: onV0, lastSeenAt: now }));
    const next = step({ members: [one], facts: fell, rollout: row, now });
    expect(next.members).toMatchObject([{ state: 'failed', failed: true, proven: false }]);
  });

  test('new_trouble_of_a_device_that_has_not_begun_is_written_and_an_older_silence_is_not', () => {
    const trouble = { code: 'disk_full', detail: '12 MiB free', since: T0 };
    const troubled = update({ running: V0, trouble });
    const next = step({ facts: reports(facts({ update: troubled })) });
    expect(next.members).toMatchObject([
      { state: 'taken', since: T0, reasons: 'has its assignment; disk_full: 12 MiB free' },
    ]);
    expect(
      plan(situation({ members: next.members, facts: reports(facts({ update: troubled })) })),
    ).toBeNull();
    const row = rollout({ state: 'held' });
    const silent = step({ facts: reports(facts()), rollout: row, now: T0 + 31_000 }).members;
    expect(silent).toMatchObject([{ state: 'silent' }]);
    expect(
      plan(situation({ members: silent, facts: reports(facts()), rollout: row, now: T0 + 40_000 })),
    ).toBeNull();
  });

  test('release_that_the_trial_replaced_becomes_the_previous_one_when_it_was_published', () => {
    const first = member(0, { previous: null });
    const previous = (published: readonly string[]): MemberRow['previous'] =>
      step({
        members: [first],
        facts: reports(facts({ update: onV1, trial: passing })),
        published: new Set(published),
      }).members[0]?.previous ?? null;
    expect(previous([V0.digest])).toEqual(V0);
    expect(previous([V1.digest])).toBeNull();
  });

  test('held_and_completed_rollouts_still_write_down_what_devices_report', () => {
    const there = reports(facts({ update: onV1, trial: passing }));
    for (const state of ['held', 'completed'] as const)
      expect(step({ rollout: rollout({ state }), facts: there }).members).toMatchObject([
        { state: 'confirmed' },
      ]);
  });
});

describe('advancing', () => {
  const failed = (n: number): MemberRow => member(n, { state: 'failed', failed: true });
  const proven = (n: number, change: Partial<MemberRow> = {}): MemberRow =>
    member(n, { state: 'confirmed', proven: true, ...change });
  const heard = (count: number): Situation['facts'] =>
    reports(...Array.from({ length: count }, (_, n) => facts({ update: onV1 }, n)));
  const next = (change: Partial<Situation>): RolloutRow | null => {
    const members = change.members ?? [];
    const row = change.rollout ?? rollout();
    const slot = { state: emptySilence(), slotAt: change.now ?? T0, eventAt: null };
    const whole = situation({
      facts: heard(members.length),
      takes: takesOf(members),
      ...change,
      rollout: { ...row, silence: row.silence ?? slot },
    });
    const next = plan(whole)?.rollout ?? null;
    return next === whole.rollout ? null : next;
  };

  test('proven_wave_is_left_and_the_next_one_has_its_own_clock_and_approval', () => {
    const row = next({ members: [proven(0)], rollout: rollout({ approved: true }) });
    expect(row).toMatchObject({ wave: 1, state: 'rolling', since: T0 + 1000, approved: false });
  });

  test('half_of_the_wave_must_be_proven_and_all_of_it_that_is_heard_decided', () => {
    const quiet = (n: number): MemberRow => waiting(n);
    const wave = (...members: MemberRow[]): number | undefined =>
      next({ members, facts: reports(...members.flatMap(reportOf)) })?.wave;
    const reportOf = (one: MemberRow): DeviceFacts[] =>
      one.state === 'waiting' ? [] : [facts({ update: onV1 }, one.rank)];
    expect(wave(proven(0), quiet(1))).toBe(1);
    expect(wave(proven(0), quiet(1), quiet(2))).toBeUndefined();
    expect(wave(proven(0), proven(1), quiet(2))).toBe(1);
    expect(wave(proven(0), member(1, { state: 'trial' }))).toBeUndefined();
    expect(wave(proven(0), proven(1), member(2, { state: 'taken', assignmentId: 9 }))).toBe(
      undefined,
    );
    // Silent and unproven ones hold nobody else up.
    expect(wave(proven(0), member(1, { state: 'unproven', assignmentId: null }))).toBe(1);
  });

  test('device_that_waits_and_talks_is_waited_for_to_the_second', () => {
    const members = [proven(0), waiting(1)];
    const wave = (now: number): number | undefined => {
      const there = reports(facts({ update: onV1 }, 0), facts({ update: onV0 }, 1));
      return next({ members, facts: there, now })?.wave;
    };
    expect(wave(T0 + 30_000)).toBeUndefined();
    expect(wave(T0 + 30_001)).toBe(1);
  });

  test('min_proven_lets_the_next_wave_begin_while_others_are_on_trial', () => {
    const members = [proven(0), proven(1), member(2, { state: 'trial' }), waiting(3)];
    const there = new Map([...heard(3), ...reports(facts({ update: onV0 }, 3))]);
    const wave = (minProven: number): number | undefined => {
      const row = rollout({ policy: wavesWith({ minProven }) });
      return next({ members, facts: there, rollout: row })?.wave;
    };
    expect(wave(2)).toBe(1);
    expect(wave(3)).toBeUndefined();
  });

  test('devices_of_an_earlier_wave_do_not_prove_the_present_one', () => {
    const members = [proven(0, { wave: 0 }), proven(1, { wave: 1 }), waiting(2, { wave: 1 })];
    const heardOnly = reports(facts({ update: onV1 }, 0), facts({ update: onV1 }, 1));
    const at = (some: MemberRow[]) =>
      next({ members: some, facts: heardOnly, rollout: rollout({ wave: 1 }) })?.wave;
    expect(at(members)).toBe(2);
    expect(at([proven(0), ...[2, 3, 4].map((n) => waiting(n, { wave: 1 }))])).toBeUndefined();
  });

  test('a_wave_whose_devices_are_all_off_is_left_after_the_deadline_on_what_was_proven', () => {
    const seconds = policyOf().deviceDeadlineSeconds;
    const [first, second] = [proven(0), proven(1)];
    const off = waiting(2, { wave: 1 });
    const wave = (members: MemberRow[], policy = policyOf(), after = seconds + 1) => {
      const row = rollout({ wave: 1, policy });
      return next({ members, rollout: row, now: row.since + 1000 * after })?.wave;
    };
    expect(wave([first, second, off])).toBe(2);
    expect(wave([first, second, off], policyOf(), seconds)).toBeUndefined();
    // Not on less than half of what was asked so far, past a failure, or past a chosen group.
    expect(wave([first, off, waiting(3, { wave: 1 })])).toBeUndefined();
    expect(wave([first, second, off, { ...failed(3), wave: 1 }])).not.toBe(2);
    const picked = policyOf().waves.map(({ percent: _, ...one }) => ({ ...one, group: 'halls' }));
    expect(wave([first, second, off], policyOf({ waves: picked }))).toBeUndefined();
    expect(wave([first, second, off], wavesWith({ minProven: 1 }))).toBeUndefined();
  });

  test('approval_is_needed_only_where_the_wave_asks_for_it', () => {
    for (const [approval, approved, advances] of [
      [false, false, true],
      [false, true, true],
      [true, true, true],
      [true, false, false],
    ] as const) {
      const row = rollout({ policy: wavesWith({ approval }), approved });
      const step = next({ members: [proven(0)], rollout: row });
      expect(step !== null, `approval ${approval}, approved ${approved}`).toBe(advances);
    }
  });

  test('last_wave_completes_and_names_those_who_take_it_later', () => {
    const last = rollout({ wave: 2 });
    expect(next({ members: [proven(0)], rollout: last })?.state).toBe('completed');
    const members = [proven(0), proven(1), waiting(2)];
    const there = reports(facts({ update: onV1 }, 0), facts({ update: onV1 }, 1));
    const row = next({
      members: members.map((one) => ({ ...one, wave: 2 })),
      facts: there,
      rollout: last,
    });
    expect(row).toMatchObject({ state: 'completed' });
    expect(row?.reasons.at(-1)).toBe('1 more take it when they ask: d2');
  });

  test('evidence_that_comes_while_a_person_is_asked_halts_but_overrules_no_pause', () => {
    const members = [failed(0), failed(1), ...[2, 3, 4].map((n) => waiting(n))];
    const after = (change: Partial<RolloutRow>) =>
      plan(
        situation({
          members,
          takes: takesOf(members.slice(0, 2)),
          rollout: rollout({ state: 'held', ...change }),
        }),
      )?.rollout.state;
    expect(after({ asked: true })).toBe('reverting');
    expect(after({ asked: false })).toBeUndefined();
    expect(after({ asked: true, policy: policyOf({ autoRevert: false }) })).toBeUndefined();
  });

  test('wave_that_cannot_be_proven_asks_a_person_and_resume_goes_past_it', () => {
    const members = [failed(0), proven(1), ...[2, 3, 4].map((n) => failed(n))];
    const policy = policyOf({ acceptableFailurePermille: 500, alarmingFailurePermille: 900 });
    const held = next({ members, takes: [], rollout: rollout({ policy }) });
    expect(held).toMatchObject({ state: 'held', wave: 0, asked: true });
    expect(held?.reasons[0]).toBe('wave canary cannot be proven: 1 of 5 devices are, 3 are needed');
    expect(held?.reasons.at(-1)).toBe(
      'resume goes on to the next wave without it; abort rolls every touched device back',
    );
    const resumed = { policy, approved: true, answeredAt: T0 + 1 };
    expect(next({ members, takes: [], rollout: rollout(resumed) })).toMatchObject({
      state: 'rolling',
      wave: 1,
      approved: false,
    });
    const last = rollout({ ...resumed, wave: 2 });
    const inLast = members.map((one) => ({ ...one, wave: 2 }));
    expect(next({ members: inLast, takes: [], rollout: last })?.state).toBe('completed');
    // A device that waits or is silent may still come, so nobody is asked for the wave's sake.
    const policyOf2 = rollout({ policy });
    expect(next({ members: [...members, waiting(5)], takes: [], rollout: policyOf2 })).toBeNull();
  });
});

test('states_that_are_not_active_plan_nothing', () => {
  for (const state of ['draft', 'completed', 'reverted', 'dropped'] as const)
    expect(plan(situation({ rollout: rollout({ state }), members: [waiting(0)] }))).toBeNull();
});
