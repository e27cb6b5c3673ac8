// The halt test, the advance rule and what counts as a failed device; the false alarm rate exactly
// and by simulation.
import { describe, expect, it } from 'vitest';
import { chanceOfReaching } from '../../../shared/statistics/sequential-tests.js';
import {
  failuresToAnswer,
  haltTest,
  observe,
  promise,
  waveVerdict,
} from '../../../server/rollout/verdict.js';
import { inOrder, placeInWaves, policyComplaints } from '../../../server/rollout/waves.js';
import type { DeviceFacts, MemberRow, RolloutRow } from '../../../server/interfaces.js';
import { deviceId, policyOf, releaseOf, seeded } from '../../sim/fleet.js';
import { evidence, facts, member, rollout, T0, trial, update } from '../../support/rollout-rows.js';

const policy = policyOf();
const fleet = (
  failed: readonly boolean[],
  change: (n: number) => Partial<MemberRow> = () => ({}),
): MemberRow[] =>
  failed.map((bad, n) =>
    member(n, { state: bad ? 'failed' : 'confirmed', failed: bad, ...change(n) }),
  );
describe('the halt test', () => {
  it('both_canaries_fail_halts_after_two', () => {
    expect(haltTest(fleet([true]), policy).halt).toBe(false);
    const health = haltTest(fleet([true, true]), policy);
    expect(health.halt).toBe(true);
    expect(health.reasons).toBe(
      '2 of 2 canary devices failed; acceptable is 2 %; e-value 25.0 >= 20.0 = 1/alpha: halted',
    );
  });

  it('both_canaries_fail_halts_also_when_each_has_its_own_hardware', () => {
    const all = [
      ...fleet([true, true]),
      member(2, { wave: 1, state: 'waiting', assignmentId: null }),
    ];
    for (const hardware of [
      ['a', 'b', 'a'],
      ['a', 'a', 'b'],
    ]) {
      expect(
        haltTest(
          all.map((one, n) => ({ ...one, hardware: hardware[n] ?? '' })),
          policy,
        ).halt,
      ).toBe(true);
    }
  });

  it('a_fault_in_one_kind_of_hardware_halts_a_large_fleet', () => {
    // 8 of 500 devices are of another kind, at the end of the order; all of them fail.
    const all = fleet(
      Array.from({ length: 500 }, (_, n) => n >= 492),
      (n) => ({ hardware: n >= 492 ? 'jetson' : 'pi4' }),
    );
    expect(haltTest(all, policy).halt).toBe(true);
    expect(
      haltTest(
        all.map((one) => ({ ...one, hardware: 'pi4' })),
        policy,
      ).halt,
    ).toBe(false);
  });

  it('failures_that_are_reported_first_do_not_halt_an_acceptable_release', () => {
    // 10 of 500 fail at once, the other 490 are still on trial: in the order of the reports that
    // would be 10 of 10.
    const random = seeded(1);
    const bad = new Set<number>();
    while (bad.size < 10) bad.add(Math.floor(random() * 500));
    const all = fleet(Array.from({ length: 500 }, (_, n) => bad.has(n))).map((one) =>
      one.failed ? one : { ...one, state: 'trial' as const },
    );
    expect(haltTest(all, policy).halt).toBe(false);
  });

  it('a_halt_is_not_talked_away_by_the_successes_after_it', () => {
    const bad = new Set(
      inOrder(fleet(new Array<boolean>(40).fill(false)))
        .slice(0, 2)
        .map((one) => one.device),
    );
    const all = inOrder(
      fleet(new Array<boolean>(40).fill(false)).map((one) => ({
        ...one,
        failed: bad.has(one.device),
      })),
    );
    const health = haltTest(all, policy);
    expect(health.halt).toBe(true);
    expect(health.reasons).toContain(
      '2 of 40 canary devices failed; acceptable is 2 %; e-value 25.0 (after the first 2 of them)',
    );
  });

  it('a_device_that_was_rolled_back_is_not_forgotten', () => {
    expect(
      haltTest(
        fleet([true, true]).map((one) => ({ ...one, state: 'reverted' as const })),
        policy,
      ).halt,
    ).toBe(true);
  });

  it.each([20, 100, 500])('false_alarms_in_a_rollout_of_%i_stay_within_alpha_exactly', (size) => {
    const exact = chanceOfReaching(20, size, 0.02, 0.1);
    expect(exact).toBeGreaterThan(0.005);
    expect(exact).toBeLessThanOrEqual(0.05);
    expect(promise(size, 1, policy)).toContain(`halted in this rollout of ${size} with chance`);
  });

  // The whole test as it runs: reports in the worst order (failures first), looked at after every
  // report.
  it.each([20, 100])('false_alarms_in_a_rollout_of_%i_stay_within_alpha_by_simulation', (size) => {
    const random = seeded(42 + size);
    const runs = 2000;
    let single = 0;
    let strata = 0;
    for (let run = 0; run < runs; run++) {
      const bad = Array.from({ length: size }, () => random() < 0.02);
      // Values only rise with each failure, so the look after the last report is the largest of all
      // looks.
      if (haltTest(fleet(bad), policy).halt) single++;
      if (
        haltTest(
          fleet(bad, (n) => ({ hardware: `kind${n % 4}` })),
          policy,
        ).halt
      )
        strata++;
    }
    const allowed = 0.05 + 3 * Math.sqrt((0.05 * 0.95) / runs);
    expect(single / runs).toBeLessThan(allowed);
    expect(strata / runs).toBeLessThan(allowed);
    expect(single / runs).toBeCloseTo(chanceOfReaching(20, size, 0.02, 0.1), 1);
  });

  it('a_release_that_fails_on_half_of_the_devices_is_halted_after_a_few', () => {
    const random = seeded(3);
    const needed = Array.from({ length: 300 }, () => {
      const bad: boolean[] = [];
      while (!haltTest(fleet(bad), policy).halt && bad.length < 100) bad.push(random() < 0.5);
      return bad.length;
    }).sort((a, b) => a - b);
    expect(needed[150]).toBeLessThanOrEqual(4);
    expect(needed[290]).toBeLessThan(15);
  });
});

describe('the advance rule', () => {
  it('one_failed_of_many_is_inconclusive', () => {
    const all = fleet([true, ...new Array<boolean>(19).fill(false)]);
    expect(haltTest(all, policy).halt).toBe(false);
    const verdict = waveVerdict(all, rollout());
    expect(verdict.verdict).toBe('inconclusive');
    expect(verdict.reasons).toBe(
      'wave canary: 20 of 20 devices decided; 1 of 20 failed: with 95 % confidence fewer ' +
        'than 22 % of devices fail, and 10 % is alarming: shown neither bad nor good; failed: d0',
    );
  });

  it('two_failed_of_two_hundred_are_shown_below_the_alarming_rate', () => {
    const all = fleet(Array.from({ length: 200 }, (_, n) => n === 50 || n === 150));
    expect(waveVerdict(all, rollout()).verdict).toBe('ok');
    expect(haltTest(all, policy).halt).toBe(false);
  });

  it('a_wave_with_an_undecided_device_is_open', () => {
    const all = [...fleet([false, false]), member(2, { state: 'trial' })];
    const reasons = 'wave canary: 2 of 3 devices decided; waiting for d2';
    expect(waveVerdict(all, rollout())).toEqual({ verdict: 'open', reasons });
  });

  it('what_a_person_accepted_is_not_asked_again_but_a_later_failure_is', () => {
    const all = fleet([true, false]);
    expect(failuresToAnswer(all, rollout({ answeredAt: T0 }))).toEqual([]);
    expect(failuresToAnswer(all, rollout({ answeredAt: T0 - 1 }))).toHaveLength(1);
    expect(failuresToAnswer(all, rollout({ approved: true, since: T0 }))).toHaveLength(1);
    expect(failuresToAnswer(all, rollout({ wave: 1, answeredAt: T0 - 1 }))).toHaveLength(1);
  });
});

describe('verdicts at their limits', () => {
  /** P(X <= hits) for X ~ Bin(count, p), summed directly. */
  const cdf = (hits: number, count: number, p: number): number => {
    let sum = 0;
    for (let k = 0, term = (1 - p) ** count; k <= hits; k++) {
      sum += term;
      term *= ((count - k) / (k + 1)) * (p / (1 - p));
    }
    return sum;
  };

  it('wave_advances_exactly_when_its_failure_rate_is_shown_below_alarming', () => {
    const { alarmingFailurePermille, falseAlarmPermille } = policy;
    const seen = new Set<string>();
    for (const hits of [1, 2, 5]) {
      for (let count = hits; count <= 150; count++) {
        const all = fleet(Array.from({ length: count }, (_, n) => n < hits));
        const shown = cdf(hits, count, alarmingFailurePermille / 1000) < falseAlarmPermille / 1000;
        const { verdict } = waveVerdict(all, rollout());
        expect([hits, count, verdict]).toEqual([hits, count, shown ? 'ok' : 'inconclusive']);
        seen.add(`${hits} ${verdict}`);
      }
    }
    expect(seen.size).toBe(6);
  });

  it('two_failures_halt_after_two_good_devices_and_not_after_three', () => {
    // 5 * 5 * (0.9 / 0.98)^n >= 20 holds for n = 2 (21.1) and not for n = 3 (19.4).
    const after = (good: number): boolean =>
      haltTest(fleet([...new Array<boolean>(good).fill(false), true, true]), policy).halt;
    expect([0, 1, 2, 3, 4].map(after)).toEqual([true, true, true, false, false]);
  });

  it('one_failure_halts_only_where_the_policy_makes_it_evidence_enough', () => {
    const one = fleet([true, false]);
    expect(haltTest(one, policy).halt).toBe(false);
    const strict = policyOf({ acceptableFailurePermille: 1, alarmingFailurePermille: 500 });
    expect(haltTest(one, strict).halt).toBe(true);
    expect(haltTest(fleet([false, false]), strict).halt).toBe(false);
  });

  it('device_without_an_assignment_or_revoked_counts_for_nothing', () => {
    const pair = fleet([true, true]);
    const without = (change: Partial<MemberRow>): MemberRow[] => [
      pair[0] as MemberRow,
      member(1, { failed: true, state: 'failed', ...change }),
    ];
    expect(haltTest(pair, policy).halt).toBe(true);
    expect(haltTest(without({ assignmentId: null }), policy).halt).toBe(false);
    expect(haltTest(without({ state: 'lost', failed: false }), policy).halt).toBe(false);
    // One that had failed before it was revoked stays a failure.
    expect(haltTest(without({ state: 'lost', failed: true }), policy).halt).toBe(true);
  });
});

describe('what counts as a failed device', () => {
  const look = (
    one: MemberRow,
    report: DeviceFacts | undefined,
    row: RolloutRow,
    now: number,
    receptionSince = 0,
  ) => observe(one, report, row, { now, receptionSince });
  const confirmed = update({
    outcome: {
      result: 'confirmed',
      code: null,
      detail: '',
      release: releaseOf('1.1.0'),
      assignmentId: 2,
    },
  });

  it('canary_silent_is_not_healthy', () => {
    expect(look(member(0), facts({}), rollout(), T0 + 30_000).state).toBe('assigned');
    const seen = look(member(0), facts({}), rollout(), T0 + 31_000);
    expect(seen).toEqual({
      state: 'failed',
      reasons: 'silent for 31 s; after 30 s silence counts as a failure',
    });
    // Nor is one that never spoke, nor one that falls silent after it was confirmed.
    expect(look(member(0), undefined, rollout(), T0 + 31_000).state).toBe('failed');
    const quiet = facts({ update: confirmed, trial: trial(evidence(4)) });
    expect(look(member(0, { state: 'confirmed' }), quiet, rollout(), T0 + 31_000).state).toBe(
      'failed',
    );
  });

  it('server_that_was_away_blames_no_device', () => {
    // It was away for an hour and listens for 20 s: neither the silence nor the deadline of 120 s
    // is the device's.
    const now = T0 + 3_600_000;
    expect(look(member(0), facts({}), rollout(), now, now - 20_000).state).toBe('assigned');
    expect(look(member(0), facts({}), rollout(), now + 11_000, now - 20_000).reasons).toContain(
      'silent for 31 s',
    );
    const busy = facts({ update: update({ state: 'swapped' }), lastSeenAt: now });
    expect(look(member(0), busy, rollout(), now, now - 120_000).state).toBe('trial');
    expect(look(member(0), busy, rollout(), now, now - 121_000).state).toBe('failed');
  });

  it('device_claims_confirmed_but_evidence_fails', () => {
    const seen = look(
      member(0),
      facts({ update: confirmed, trial: trial(evidence(160)) }),
      rollout(),
      T0 + 5000,
    );
    expect(seen.state).toBe('failed');
    expect(seen.reasons).toContain(
      'trial_disagreement: the device reports health, its evidence does not: ',
    );
    expect(seen.reasons).toContain('answers of logits differ by 40 % on live inputs');
  });

  it('device_claims_confirmed_without_evidence_is_not_believed', () => {
    const state = (body: DeviceFacts['trial']) =>
      look(member(0), facts({ update: confirmed, trial: body }), rollout(), T0 + 5000).state;
    expect(state(null)).toBe('trial');
    expect(state(trial(evidence(0, 10)))).toBe('trial');
    expect(state(trial(evidence(4)))).toBe('confirmed');
  });

  it('a_device_that_says_there_is_nothing_to_compare_with_is_not_believed_where_there_is', () => {
    const alone = { ...evidence(0, 0), served: 400, replaces: false, comparable: false };
    const report = facts({ update: confirmed, trial: trial(alone) });
    expect(look(member(0), report, rollout(), T0 + 5000).state).toBe('trial');
    expect(look(member(0, { previous: null }), report, rollout(), T0 + 5000).state).toBe(
      'confirmed',
    );
  });

  it('an_assignment_of_what_ran_already_is_confirmed_without_a_trial', () => {
    const mayRun = { mayRun: true };
    expect(look(member(0, mayRun), facts({ update: confirmed }), rollout(), T0 + 5000).state).toBe(
      'confirmed',
    );
    // But not where it was seen to swap first, nor where its trial is known and gives no evidence.
    const swapped = member(0, { ...mayRun, state: 'trial' });
    expect(look(swapped, facts({ update: confirmed }), rollout(), T0 + 5000).state).toBe('trial');
    const withoutEvidence = facts({ update: confirmed, trial: trial(evidence(0, 10)) });
    expect(look(member(0, mayRun), withoutEvidence, rollout(), T0 + 5000).state).toBe('trial');
  });

  it('an_outcome_that_is_gone_once_acknowledged_is_not_missed', () => {
    const rests = facts({ update: update({ outcome: null }), trial: trial(evidence(4)) });
    expect(look(member(0), rests, rollout(), T0 + 5000).state).toBe('confirmed');
  });

  it('reports_about_another_assignment_say_nothing', () => {
    const old = facts({
      update: { ...confirmed, assignmentId: 1 },
      trial: trial(evidence(160), 1),
    });
    expect(look(member(0), old, rollout(), T0 + 5000).state).toBe('assigned');
  });

  it.each(['rolled_back', 'refused', 'spent', 'reverted'] as const)(
    'a_device_that_reports_%s_failed',
    (result) => {
      const outcome = {
        result,
        code: 'probe_differs',
        detail: 'golden 3',
        release: releaseOf('1.1.0'),
        assignmentId: 2,
      };
      const report = facts({ update: update({ running: releaseOf('1.0.0'), outcome }) });
      const seen = look(member(0), report, rollout(), T0 + 5000);
      expect(seen).toEqual({
        state: 'failed',
        reasons: `${result} by the device, probe_differs: golden 3`,
      });
    },
  );

  it('a_device_that_went_back_because_it_differs_more_than_declared_has_not_failed', () => {
    const outcome = {
      result: 'differs' as const,
      code: 'trial_differs',
      detail: '25 % here',
      release: releaseOf('1.1.0'),
      assignmentId: 2,
    };
    const report = facts({ update: update({ running: releaseOf('1.0.0'), outcome }) });
    const late = T0 + 300_000;
    expect(look(member(0), { ...report, lastSeenAt: late }, rollout(), late)).toEqual({
      state: 'trial',
      reasons: 'trial_differs: 25 % here',
    });
    // Its evidence says the same before its outcome is here.
    const seen = look(member(0), facts({ trial: trial(evidence(128, 800)) }), rollout(), T0 + 5000);
    expect(seen).toMatchObject({ state: 'trial' });
    expect(seen.reasons).toContain('trial_differs: answers of logits differ by 16 %');
  });

  it('a_device_with_little_traffic_has_not_failed_at_its_deadline', () => {
    const late = T0 + 300_000;
    const open = { ...evidence(0, 5), seconds: 86_400 };
    const report = facts({
      update: update({ state: 'swapped' }),
      trial: trial(open),
      lastSeenAt: late,
    });
    const seen = look(member(0), report, rollout(), late);
    expect(seen).toMatchObject({ state: 'trial' });
    expect(seen.reasons).toContain('kept, not accepted yet');
  });

  it('a_confirmed_device_that_falls_back_later_failed', () => {
    const fell = facts({
      update: update({ running: releaseOf('1.0.0') }),
      trial: trial(evidence(4)),
    });
    const seen = look(member(0, { state: 'confirmed' }), fell, rollout(), T0 + 5000);
    expect(seen).toEqual({ state: 'failed', reasons: 'was confirmed, but now runs 1.0.0' });
  });

  it('a_device_that_speaks_but_never_finishes_failed_at_its_deadline', () => {
    const late = T0 + 121_000;
    const busy = facts({
      update: update({ state: 'swapped' }),
      trial: trial(evidence(0, 10)),
      lastSeenAt: late,
    });
    expect(look(member(0), busy, rollout(), late - 1000).state).toBe('trial');
    expect(look(member(0), busy, rollout(), late).reasons).toContain(
      'no evidence of health within 120 s of its assignment',
    );
  });
});

describe('waves', () => {
  const devices = Array.from({ length: 10 }, (_, n) => ({
    id: deviceId(n),
    name: `d${n}`,
    group: n < 2 ? 'canary' : 'fleet',
    hardware: 'pi4',
  }));
  const counts = (places: { wave: number }[]) =>
    [0, 1, 2].map((wave) => places.filter((place) => place.wave === wave).length);

  it('percent_waves_count_earlier_waves_and_round_up', () => {
    expect(counts(placeInWaves('ro-1', devices, policy.waves))).toEqual([2, 3, 5]);
    expect(counts(placeInWaves('ro-1', devices.slice(0, 5), policy.waves))).toEqual([2, 1, 2]);
  });

  it('the_sequence_is_the_same_each_time_and_another_in_another_rollout', () => {
    const everyone = [{ name: 'all', percent: 100, soakSeconds: 0, approval: false }];
    const names = (id: string) =>
      placeInWaves(id, devices, everyone).map((place) => place.device.name);
    expect(names('ro-1')).toEqual(names('ro-1'));
    expect(names('ro-1')).not.toEqual(names('ro-2'));
    const rows = placeInWaves('ro-1', devices, policy.waves).map(({ device, wave }, n) =>
      member(n, { device: device.id, wave }),
    );
    expect(inOrder([...rows].reverse())).toEqual(inOrder(rows));
    expect(inOrder(rows).map((row) => row.wave)).toEqual([0, 0, 1, 1, 1, 2, 2, 2, 2, 2]);
  });

  it('every_mistake_of_a_policy_is_named_at_once', () => {
    const bad = policyOf({
      alarmingFailurePermille: 20,
      deviceDeadlineSeconds: 3,
      trial: { ...policy.trial, maxSeconds: 2 },
      waves: [{ name: 'a', percent: 50 }, { name: 'b', percent: 20 }, { name: 'c' }].map(
        (wave) => ({
          ...wave,
          soakSeconds: 0,
          approval: false,
        }),
      ),
    });
    expect(policyComplaints(bad)).toHaveLength(5);
    expect(policyComplaints(policy)).toEqual([]);
  });
});
