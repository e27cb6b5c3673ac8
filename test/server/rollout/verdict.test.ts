// What is true of one member from what its device reported: bad news is believed, health needs
// evidence, silence is neither, and trouble before the first start is nobody's failure.
import { describe, expect, it } from 'vitest';
import { isTalking, observe, secondsHeard } from '../../../server/rollout/verdict.js';
import type { DeviceFacts, MemberRow, RolloutRow } from '../../../server/interfaces.js';
import type { Outcome, UpdateBody } from '../../../shared/protocol/telemetry.js';
import { policyOf, releaseOf } from '../../sim/fleet.js';
import { evidence, facts, member, rollout, T0, trial, update } from '../../support/rollout-rows.js';

const look = (
  one: MemberRow,
  report: DeviceFacts | undefined,
  row: RolloutRow = rollout(),
  now = T0 + 5000,
  receptionSince = 0,
) => observe(one, report, row, { now, receptionSince });

const outcomeOf = (change: Partial<Outcome>): Outcome => ({
  result: 'confirmed',
  code: null,
  detail: '',
  release: releaseOf('1.1.0'),
  assignmentId: 2,
  ...change,
});
const confirmed = update({ outcome: outcomeOf({}) });
/** An end that the device reports, back on the old release. */
const ended = (change: Partial<Outcome>): DeviceFacts =>
  facts({ update: update({ running: releaseOf('1.0.0'), outcome: outcomeOf(change) }) });
const measuring = evidence(0, 10);
/** A trial at its maxSeconds without proof of anything. */
const openTrial = trial({ ...measuring, seconds: policyOf().trial.maxSeconds });

describe('silence', () => {
  it('canary_silent_is_neither_healthy_nor_failed', () => {
    expect(look(member(0), facts({}), rollout(), T0 + 30_999).state).toBe('taken');
    const seen = look(
      member(0, { reasons: 'has its assignment' }),
      facts({}),
      rollout(),
      T0 + 31_000,
    );
    expect(seen).toEqual({
      state: 'silent',
      reasons: 'not heard for 31 s; last: has its assignment',
    });
    // Nor is one that never spoke, nor one that falls silent after it was confirmed.
    expect(look(member(0), undefined, rollout(), T0 + 31_000).state).toBe('silent');
    const quiet = facts({ update: confirmed, trial: trial(evidence(4)) });
    const soaking = member(0, { state: 'confirmed' });
    expect(look(soaking, quiet, rollout(), T0 + 31_000).state).toBe('silent');
    const on = member(0, { state: 'trial' });
    expect(look(on, facts({ trial: trial(measuring) }), rollout(), T0 + 31_000).state).toBe(
      'silent',
    );
  });

  it('the_last_word_of_a_silent_device_is_kept_once', () => {
    const one = member(0, { state: 'silent', reasons: 'not heard for 31 s; last: on trial' });
    expect(look(one, facts({}), rollout(), T0 + 90_000).reasons).toBe(
      'not heard for 90 s; last: on trial',
    );
  });

  it('a_proven_device_may_be_silent', () => {
    const one = member(0, { state: 'confirmed', proven: true, reasons: 'accepted' });
    const quiet = facts({ update: confirmed, trial: trial(evidence(4)) });
    expect(look(one, quiet, rollout(), T0 + 10_000_000)).toEqual({
      state: 'confirmed',
      reasons: 'accepted',
    });
  });

  it('a_silent_device_that_returns_is_judged_as_if_it_had_never_been_away', () => {
    const one = member(0, { state: 'silent', reasons: 'not heard for 31 s; last: on trial' });
    const now = T0 + 60_000;
    const back = (change: Partial<DeviceFacts>): string =>
      look(one, facts({ lastSeenAt: now, ...change }), rollout(), now).state;
    expect(back({ update: confirmed, trial: trial(evidence(4)) })).toBe('confirmed');
    expect(back({ update: update({ state: 'swapped' }), trial: trial(measuring) })).toBe('trial');
    expect(back({ update: confirmed, trial: trial(evidence(160)) })).toBe('failed');
    expect(back({ update: update({ state: 'downloaded' }) })).toBe('taken');
  });

  it('a_silence_does_not_hide_what_was_reported_before_it', () => {
    const late = T0 + 31_000;
    const report = facts({ update: confirmed, trial: trial(evidence(160)) });
    expect(look(member(0), report, rollout(), late).state).toBe('failed');
    expect(look(member(0), ended({ result: 'rolled_back' }), rollout(), late).state).toBe('failed');
  });

  it('server_that_was_away_blames_no_device', () => {
    // It was away for an hour and listens for 20 s: neither the silence nor the deadline of 120 s
    // is the device's.
    const now = T0 + 3_600_000;
    expect(look(member(0), facts({}), rollout(), now, now - 20_000).state).toBe('taken');
    expect(look(member(0), facts({}), rollout(), now + 11_000, now - 20_000).reasons).toContain(
      'not heard for 31 s',
    );
    const busy = facts({ update: update({ state: 'swapped' }), lastSeenAt: now });
    expect(look(member(0), busy, rollout(), now, now - 120_000).state).toBe('trial');
    expect(look(member(0), busy, rollout(), now, now - 121_000).state).toBe('unproven');
  });

  it('seconds_count_from_the_latest_time_and_only_while_the_server_listened', () => {
    const moment = (receptionSince: number) => ({ now: T0 + 10_999, receptionSince });
    expect(secondsHeard(moment(0), T0)).toBe(10);
    expect(secondsHeard(moment(0), T0, T0 + 3000, null, undefined)).toBe(7);
    expect(secondsHeard(moment(T0 + 6000), T0)).toBe(4);
  });

  it('a_device_talks_up_to_the_silence_deadline_to_the_millisecond', () => {
    const at = (now: number, lastSeenAt: number | null = T0): boolean =>
      isTalking({ lastSeenAt }, rollout(), { now, receptionSince: now });
    expect(at(T0 + 30_000)).toBe(true);
    expect(at(T0 + 30_001)).toBe(false);
    expect(at(T0, null)).toBe(false);
    expect(isTalking(undefined, rollout(), { now: T0, receptionSince: 0 })).toBe(false);
  });
});

describe('health', () => {
  it('device_claims_confirmed_but_evidence_fails', () => {
    const seen = look(member(0), facts({ update: confirmed, trial: trial(evidence(160)) }));
    expect(seen.state).toBe('failed');
    expect(seen.reasons).toContain(
      'trial_disagreement: the device calls it healthy, its evidence does not: ',
    );
    expect(seen.reasons).toContain('answers of logits differ by 40 % on live inputs');
  });

  it('evidence_that_fails_needs_no_word_of_the_device', () => {
    const seen = look(member(0), facts({ trial: trial(evidence(160)) }));
    expect(seen.state).toBe('failed');
    expect(seen.reasons).toMatch(
      /^trial_disagreement: answers of logits differ by 40 % on live inputs/,
    );
  });

  it('device_claims_confirmed_without_evidence_is_not_believed', () => {
    const state = (body: DeviceFacts['trial']) =>
      look(member(0), facts({ update: confirmed, trial: body })).state;
    expect(state(null)).toBe('trial');
    expect(state(trial(measuring))).toBe('trial');
    expect(state(trial(evidence(4)))).toBe('confirmed');
  });

  it('a_device_that_says_there_is_nothing_to_compare_with_is_not_believed_where_there_is', () => {
    const alone = { ...evidence(0, 0), served: 400, replaces: false, comparable: false };
    const report = facts({ update: confirmed, trial: trial(alone) });
    expect(look(member(0), report).state).toBe('trial');
    expect(look(member(0, { previous: null }), report).state).toBe('confirmed');
  });

  it('an_assignment_of_what_ran_already_is_confirmed_without_a_trial', () => {
    const mayRun = { mayRun: true };
    expect(look(member(0, mayRun), facts({ update: confirmed }))).toEqual({
      state: 'confirmed',
      reasons: 'ran this release already',
    });
    // But not where its trial is known and gives no evidence.
    const withoutEvidence = facts({ update: confirmed, trial: trial(measuring) });
    expect(look(member(0, mayRun), withoutEvidence).state).toBe('trial');
  });

  it('an_outcome_that_is_gone_once_acknowledged_is_not_missed', () => {
    const rests = facts({ update: update({ outcome: null }), trial: trial(evidence(4)) });
    expect(look(member(0), rests).state).toBe('confirmed');
  });

  it('reports_about_another_assignment_say_nothing', () => {
    const old = facts({
      update: { ...confirmed, assignmentId: 1 },
      trial: trial(evidence(160), 1),
    });
    expect(look(member(0), old).state).toBe('taken');
    const earlier = { ...ended({ result: 'rolled_back', assignmentId: 1 }) };
    expect(look(member(0), earlier).state).toBe('taken');
  });

  it('evidence_about_another_release_says_nothing', () => {
    const other = { ...trial(evidence(160)), release: releaseOf('1.2.0') };
    expect(look(member(0), facts({ trial: other })).state).toBe('taken');
  });
});

describe('failure', () => {
  it.each(['rolled_back', 'refused', 'spent', 'reverted'] as const)(
    'a_device_that_reports_%s_for_the_releases_sake_failed',
    (result) => {
      const seen = look(member(0), ended({ result, code: 'probe_differs', detail: 'golden 3' }));
      expect(seen).toEqual({
        state: 'failed',
        reasons: `${result} by the device, probe_differs: golden 3`,
      });
    },
  );

  it('an_end_without_a_code_failed', () => {
    expect(look(member(0), ended({ result: 'refused', detail: 'no' }))).toEqual({
      state: 'failed',
      reasons: 'refused by the device: no',
    });
  });

  it('answers_that_differ_more_than_declared_are_no_failure', () => {
    const end = { result: 'differs', code: 'trial_disagreement', detail: '25 %' } as const;
    expect(look(member(0, { state: 'trial' }), ended(end))).toEqual({
      state: 'differs',
      reasons: 'differs by the device, trial_disagreement: 25 %',
    });
  });

  it('a_confirmed_device_that_falls_back_later_failed', () => {
    const fell = facts({
      update: update({ running: releaseOf('1.0.0') }),
      trial: trial(evidence(4)),
    });
    for (const proven of [false, true])
      expect(look(member(0, { state: 'confirmed', proven }), fell)).toEqual({
        state: 'failed',
        reasons: 'was confirmed, but now runs 1.0.0',
      });
    const nothing = facts({ update: update({ running: null }) });
    expect(look(member(0, { state: 'confirmed' }), nothing).reasons).toBe(
      'was confirmed, but now runs nothing',
    );
  });

  it('a_copy_that_was_damaged_after_its_confirmation_is_taken_again_and_fails_nobody', () => {
    const confirmed = member(0, { state: 'confirmed', proven: true });
    for (const code of ['file_digest', 'file_length'])
      expect(look(confirmed, ended({ result: 'reverted', code, detail: 'slot a' }))).toEqual({
        state: 'waiting',
        reasons: `reverted by the device, ${code}: slot a`,
      });
    const other = ended({ result: 'reverted', code: 'trial_crashes' });
    expect(look(confirmed, other).state).toBe('failed');
    const onTrial = member(0, { state: 'trial' });
    expect(look(onTrial, ended({ result: 'reverted', code: 'file_digest' })).state).toBe('failed');
  });

  it('a_stranded_device_failed', () => {
    expect(look(member(0), facts({ update: update({ state: 'stranded' }) })).state).toBe('failed');
  });
});

describe('trouble before the first start', () => {
  const excusing = [
    'auth_denied auth_missing contract_disk disk_failed disk_full',
    'fetch_interrupted file_digest file_length hardware_unsupported',
    'metadata_expired metadata_mismatch metadata_rollback metadata_signature',
    'retries_spent server_unreachable target_mismatch target_unknown',
    'version_floor writes_spent',
  ].flatMap((codes) => codes.split(' '));

  it.each(excusing)('%s_excuses_a_device_that_has_not_started_it', (code) => {
    for (const result of ['refused', 'spent'] as const)
      expect(look(member(0), ended({ result, code, detail: 'x' }))).toEqual({
        state: 'excused',
        reasons: `${result} by the device, ${code}: x`,
      });
    // After the first start every trouble is the release's.
    expect(look(member(0, { state: 'trial' }), ended({ result: 'spent', code })).state).toBe(
      'failed',
    );
    expect(look(member(0), ended({ result: 'rolled_back', code })).state).toBe('failed');
  });

  it('a_release_that_differs_in_rehearsal_has_failed_or_waits_for_a_person', () => {
    const detail = 'answers of probs differ by 52 % on 180 of its own recent inputs';
    const refused = { result: 'refused', code: 'rehearsal_differs', detail } as const;
    expect(look(member(0), ended(refused))).toEqual({
      state: 'failed',
      reasons: `refused by the device, rehearsal_differs: ${detail}`,
    });
    const differs = { result: 'differs', code: 'trial_differs', detail } as const;
    expect(look(member(0), ended(differs)).state).toBe('differs');
  });

  it('a_code_that_the_release_can_cause_excuses_nobody', () => {
    for (const code of [
      'probe_differs',
      'contract_memory',
      'rehearsal_differs',
      'trial_crashes',
      'unheard_of',
    ])
      expect(look(member(0), ended({ result: 'refused', code })).state).toBe('failed');
  });
});

describe('the deadline', () => {
  const late = T0 + 121_000;

  it('a_device_that_never_finishes_its_trial_is_unproven_and_keeps_the_release', () => {
    const busy = facts({
      update: update({ state: 'swapped' }),
      trial: trial(measuring),
      lastSeenAt: late,
    });
    expect(look(member(0), busy, rollout(), late - 1).state).toBe('trial');
    const seen = look(member(0), busy, rollout(), late);
    expect(seen.state).toBe('unproven');
    expect(seen.reasons).toMatch(/^it keeps the release, its trial goes on: /);
  });

  it('a_trial_that_ends_without_proof_is_unproven_before_any_deadline', () => {
    for (const state of ['swapped', 'idle'] as const)
      expect(look(member(0), facts({ update: update({ state }), trial: openTrial })).state).toBe(
        'unproven',
      );
  });

  it('an_unproven_device_that_proves_it_later_is_confirmed_and_one_that_fails_failed', () => {
    const one = member(0, { state: 'unproven' });
    const report = (body: DeviceFacts['trial']) =>
      facts({ update: confirmed, trial: body, lastSeenAt: late });
    expect(look(one, report(trial(evidence(4))), rollout(), late).state).toBe('confirmed');
    expect(look(one, report(trial(evidence(160))), rollout(), late).state).toBe('failed');
    expect(look(one, report(openTrial), rollout(), late).state).toBe('unproven');
  });

  it('a_device_that_has_not_begun_by_its_deadline_is_excused_with_its_trouble', () => {
    const trouble = { code: 'disk_full', detail: '3 MiB free', since: T0 };
    const stuck = (change: Partial<UpdateBody>, now: number) =>
      look(
        member(0),
        facts({
          update: update({ state: 'assigned', running: releaseOf('1.0.0'), ...change }),
          lastSeenAt: now,
        }),
        rollout(),
        now,
      );
    expect(stuck({}, late - 1)).toEqual({ state: 'taken', reasons: 'has its assignment' });
    expect(stuck({ trouble }, late - 1)).toEqual({
      state: 'taken',
      reasons: 'has its assignment; disk_full: 3 MiB free',
    });
    expect(stuck({ trouble }, late)).toEqual({
      state: 'excused',
      reasons: 'not begun 120 s after its assignment: disk_full: 3 MiB free',
    });
    expect(stuck({}, late).reasons).toBe('not begun 120 s after its assignment: it is assigned');
    // Its probe is the first start of the release.
    expect(stuck({ state: 'staged' }, late).state).toBe('excused');
    expect(stuck({ state: 'probed' }, late).state).toBe('unproven');
    expect(stuck({ state: 'rehearsed' }, late).state).toBe('unproven');
  });
});

describe('a revoked device', () => {
  it('is_excused_whatever_it_reported', () => {
    for (const report of [facts({}), ended({ result: 'rolled_back' })]) {
      const seen = look(member(0), { ...report, status: 'revoked' });
      expect(seen.state).toBe('excused');
      expect(seen.reasons).toMatch(/^revoked: it takes no further part, and counts neither for/);
    }
  });
});
