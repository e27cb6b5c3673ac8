// The verdict on one member, branch by branch: what each report adds, with all others as they are
// in a quiet trial.
import { describe, expect, it } from 'vitest';
import {
  assignmentSeconds,
  heard,
  isTalking,
  isUntaken,
  lateText,
  observe,
  silenceOf,
  takenText,
  troubleText,
  UNDECIDED,
  verdictOn,
} from '../../../server/rollout/verdict.js';
import type { DeviceFacts, MemberRow } from '../../../server/interfaces.js';
import { limits } from '../../../shared/base/limits.js';
import { policyOf, releaseOf } from '../../sim/fleet.js';
import { evidence, facts, member, rollout, T0, trial, update } from '../../support/rollout-rows.js';

const SILENT_MS = 31_000;
const look = (one: MemberRow, report: DeviceFacts | undefined, now = T0 + 5000) =>
  observe(one, report, rollout(), { now, receptionSince: 0 });
const onTrial = (change: Partial<MemberRow> = {}): MemberRow =>
  member(0, { state: 'trial', ...change });
const crashed = (modelFaults: number): DeviceFacts['trial'] =>
  trial({ ...evidence(0, 10), modelFaults });

describe('what holds a place', () => {
  it('is_exactly_what_is_undecided', () => {
    expect(UNDECIDED).toEqual(['taken', 'trial', 'unproven', 'silent']);
  });
});

describe('evidence', () => {
  it('that_differs_more_than_declared_is_for_a_person_with_the_arithmetic', () => {
    const seen = look(onTrial(), facts({ trial: trial(evidence(128, 800)) }));
    expect(seen.state).toBe('differs');
    expect(seen.reasons).toMatch(/^trial_differs: .*the limit is 10 %.*: not accepted$/);
  });

  it('that_fails_says_whether_the_device_calls_it_healthy', () => {
    const bad = trial(evidence(160));
    expect(look(onTrial(), facts({ trial: bad })).reasons).toMatch(
      /^trial_disagreement: answers of logits /,
    );
    expect(look(onTrial(), facts({ trial: bad, update: update() })).reasons).toMatch(
      /^trial_disagreement: the device calls it healthy, its evidence does not: answers of /,
    );
  });

  it('that_passes_is_the_reason_of_the_confirmation', () => {
    const seen = look(onTrial(), facts({ trial: trial(evidence(4)), update: update() }));
    expect(seen.state).toBe('confirmed');
    expect(seen.reasons).toMatch(/^served 400 live requests, failed 0 .*; accepted$/);
  });

  it('that_proves_nothing_yet_is_named', () => {
    expect(look(onTrial(), facts({ update: update() })).reasons).toBe(
      'the device calls it healthy; its evidence is not here or does not prove it yet',
    );
    expect(look(onTrial(), facts()).reasons).toBe('on trial');
    const late = T0 + 121_000;
    const report = facts({ lastSeenAt: late });
    expect(look(onTrial(), report, late)).toEqual({
      state: 'unproven',
      reasons: 'it keeps the release, its trial goes on: no trial was reported',
    });
    const measuring = facts({ lastSeenAt: late, trial: trial(evidence(0, 10)) });
    expect(look(onTrial(), measuring, late).reasons).toMatch(
      /^it keeps the release, its trial goes on: served 10 live requests/,
    );
  });

  it('that_is_late_is_named_reason_by_reason', () => {
    const late = T0 + 121_000;
    const report = facts({ lastSeenAt: late, trial: trial(evidence(0, 10)) });
    const reasons = verdictOn(onTrial(), report, rollout())?.reasons ?? [];
    expect(reasons.length).toBeGreaterThan(1);
    expect(look(onTrial(), report, late).reasons).toBe(
      `it keeps the release, its trial goes on: ${reasons.join('; ')}`,
    );
  });

  it('of_a_device_that_runs_nothing_is_no_claim_of_health', () => {
    expect(look(onTrial(), facts({ update: update({ running: null }) }))).toEqual({
      state: 'trial',
      reasons: 'on trial',
    });
  });

  it('of_a_device_that_is_unknown_is_none', () => {
    expect(verdictOn(member(0), undefined, rollout())).toBeNull();
    expect(verdictOn(member(0, { assignmentId: null }), facts(), rollout())).toBeNull();
  });
});

describe('a confirmed device', () => {
  it('that_is_heard_stays_confirmed_for_the_reason_that_it_had', () => {
    const one = member(0, { state: 'confirmed', reasons: 'accepted' });
    const quiet = facts({ update: update(), trial: trial(evidence(4)) });
    expect(look(one, quiet)).toEqual({ state: 'confirmed', reasons: 'accepted' });
  });
});

describe('a second silence in one trial', () => {
  const first = { instance: 'i1', modelFaults: 1 };
  const again = (silence: MemberRow['silence'], report: DeviceFacts | undefined, state = 'trial') =>
    look(
      member(0, { state: state as MemberRow['state'], silence, reasons: 'on trial' }),
      report,
      T0 + SILENT_MS,
    );

  it('after_a_restart_of_the_agent_or_its_model_process_is_the_release', () => {
    expect(again(first, facts({ instance: 'i2', trial: crashed(1) }))).toEqual({
      state: 'failed',
      reasons:
        'flapping: silent for the second time in one trial, and its agent or its model process ' +
        'restarted in between; not heard for 31 s; last: on trial',
    });
    expect(again(first, facts({ trial: crashed(2) })).state).toBe('failed');
    // Nothing is known of it any more: that is no instance, and the first one had one.
    expect(again(first, undefined).state).toBe('failed');
  });

  it('without_a_restart_or_outside_a_trial_is_a_silence', () => {
    expect(again(first, facts({ trial: crashed(1) })).state).toBe('silent');
    expect(again(first, facts({ trial: crashed(0) })).state).toBe('silent');
    expect(again(null, facts({ instance: 'i2', trial: crashed(2) })).state).toBe('silent');
    expect(again(first, facts({ instance: 'i2' }), 'unproven').state).toBe('silent');
    expect(again({ instance: null, modelFaults: 0 }, undefined).state).toBe('silent');
    // Faults of another assignment's trial are not this one's.
    const other = { ...trial({ ...evidence(0, 10), modelFaults: 2 }), assignmentId: 1 };
    expect(again(first, facts({ trial: other })).state).toBe('silent');
  });

  it('is_none_while_the_device_is_heard_though_it_restarted', () => {
    const back = member(0, { state: 'trial', silence: first });
    expect(look(back, facts({ instance: 'i2' }))).toEqual({ state: 'trial', reasons: 'on trial' });
  });

  it('the_first_one_is_remembered_as_it_was', () => {
    expect(silenceOf(onTrial(), facts({ trial: crashed(2) }))).toEqual({
      instance: 'i1',
      modelFaults: 2,
    });
    expect(silenceOf(onTrial(), undefined)).toEqual({ instance: null, modelFaults: 0 });
    expect(silenceOf(onTrial({ silence: first }), facts({ instance: 'i9' }))).toBe(first);
    expect(silenceOf(member(0), facts())).toBeNull();
  });

  it('a_device_that_is_back_is_watched_for_the_least_time_of_a_trial_again', () => {
    const { minSeconds } = policyOf().trial;
    const passed = facts({ update: update(), trial: trial(evidence(4)) });
    const back = (seconds: number, state: MemberRow['state'] = 'trial') =>
      look(member(0, { state, silence: first, since: T0 }), passed, T0 + seconds * 1000);
    expect(back(minSeconds).state).toBe('confirmed');
    expect(back(minSeconds - 1)).toEqual({
      state: 'trial',
      reasons: 'back after a silence: its trial begins again',
    });
    expect(back(minSeconds, 'silent').state).toBe('trial');
  });

  it('only_a_silence_at_the_beginning_of_the_reasons_is_left_out_of_the_next', () => {
    const reasons = 'disk: not heard for 3 s; last: x';
    expect(look(member(0, { reasons }), facts(), T0 + SILENT_MS).reasons).toBe(
      `not heard for 31 s; last: ${reasons}`,
    );
  });
});

describe('texts of a device that has not begun', () => {
  const trouble = { code: 'disk_full', detail: '3 MiB free', since: T0 };
  it('name_its_trouble_else_its_state', () => {
    const stuck = facts({ update: update({ state: 'assigned', trouble }) });
    expect(troubleText(stuck)).toBe('disk_full: 3 MiB free');
    expect(takenText(stuck)).toBe('has its assignment; disk_full: 3 MiB free');
    expect(lateText('begun', policyOf(), stuck)).toBe(
      'not begun 120 s after its assignment: disk_full: 3 MiB free',
    );
    const busy = facts({ update: update({ state: 'assigned' }) });
    expect(takenText(busy)).toBe('has its assignment');
    expect(lateText('begun', policyOf(), busy)).toBe(
      'not begun 120 s after its assignment: it is assigned',
    );
    for (const unknown of [undefined, facts()]) {
      expect(troubleText(unknown)).toBeNull();
      expect(lateText('begun', policyOf(), unknown)).toBe(
        'not begun 120 s after its assignment: it is in no known state',
      );
    }
  });
});

describe('the first start', () => {
  const late = T0 + 121_000;
  const at = (one: MemberRow, report: DeviceFacts): string =>
    look(one, { ...report, lastSeenAt: late }, late).state;
  it.each(['probed', 'rehearsed', 'swapped'] as const)('was_made_in_state_%s', (state) => {
    expect(at(member(0), facts({ update: update({ state }) }))).toBe('unproven');
  });

  it.each(['assigned', 'downloaded', 'verified', 'staged'] as const)(
    'was_not_made_in_state_%s',
    (state) => {
      const report = update({ state, running: releaseOf('1.0.0') });
      expect(at(member(0), facts({ update: report }))).toBe('excused');
    },
  );

  it('was_made_by_a_device_that_was_on_trial_or_ready_whatever_it_reports', () => {
    for (const state of ['trial', 'ready'] as const)
      expect(at(member(0, { state }), facts())).toBe('unproven');
    expect(at(member(0), facts())).toBe('excused');
    // Evidence of its trial is a start that was made, before any report of its state.
    expect(at(member(0), facts({ trial: trial(evidence(0, 10)) }))).toBe('unproven');
    // A report about another assignment says nothing of this one.
    const other = update({ state: 'swapped', assignmentId: 1 });
    expect(at(member(0), facts({ update: other }))).toBe('excused');
  });
});

describe('an assignment that was never answered', () => {
  const waited = (one: MemberRow, report: DeviceFacts | undefined, ms = limits.takeWaitMs + 1000) =>
    isUntaken(one, report, { now: T0 + ms, receptionSince: 0 });

  it('is_withdrawn_after_its_time_and_not_before', () => {
    for (const state of ['taken', 'silent'] as const) {
      expect(waited(member(0, { state }), facts())).toBe(true);
      expect(waited(member(0, { state }), undefined)).toBe(true);
      expect(waited(member(0, { state }), facts(), limits.takeWaitMs)).toBe(false);
    }
    for (const state of ['waiting', 'trial', 'unproven', 'confirmed'] as const)
      expect(waited(member(0, { state }), facts())).toBe(false);
  });

  it('was_answered_by_any_report_about_it', () => {
    expect(waited(member(0), facts({ update: update() }))).toBe(false);
    expect(waited(member(0), facts({ update: update({ assignmentId: 1 }) }))).toBe(true);
    expect(waited(member(0), facts({ trial: trial(evidence(0)) }))).toBe(false);
    expect(waited(member(0), facts({ trial: trial(evidence(0), 1) }))).toBe(true);
  });

  it('counts_from_the_assignment_and_is_none_without_one', () => {
    const moment = { now: T0 + 9000, receptionSince: 0 };
    expect(assignmentSeconds(member(0), moment)).toBe(9);
    expect(assignmentSeconds(member(0, { assignedAt: null }), moment)).toBe(0);
    expect(heard(member(0, { assignmentId: null }), facts({ update: update() }))).toBe(false);
    expect(heard(member(0), undefined)).toBe(false);
  });
});

describe('a device that talks', () => {
  it('has_spoken_at_some_time', () => {
    const early = { now: 1000, receptionSince: 0 };
    expect(isTalking({ lastSeenAt: null }, rollout(), early)).toBe(false);
    expect(isTalking(undefined, rollout(), early)).toBe(false);
    expect(isTalking({ lastSeenAt: 0 }, rollout(), early)).toBe(true);
  });

  it('that_is_stranded_has_failed_with_the_reason', () => {
    expect(look(member(0), facts({ update: update({ state: 'stranded' }) }))).toEqual({
      state: 'failed',
      reasons: 'stranded: no release loads on it',
    });
  });
});
