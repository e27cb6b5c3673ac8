// What halts a rollout: the exact boundary over takes in their order, and the words for it. What
// holds one for a person is in holds.test.ts.
import { describe, expect, it } from 'vitest';
import {
  boundariesOf,
  haltReport,
  plannedKinds,
  type HaltReport,
} from '../../../server/rollout/halt.js';
import type { MemberRow, RolloutRow, Take } from '../../../server/interfaces.js';
import { chanceOfHalting } from '../../../shared/statistics/halt-boundary.js';
import { joinedDocument } from '../../support/documents.js';
import { policyOf } from '../../sim/fleet.js';
import { seeded } from '../../support/random.js';
import {
  answered,
  fleetOf,
  good,
  member,
  planned,
  rollout,
  rowAfter,
  situation,
  T0,
  takesOf,
} from '../../support/rollout-rows.js';

const report = (members: readonly MemberRow[], row: RolloutRow = rollout()): HaltReport =>
  haltReport(situation({ rollout: row, members, takes: takesOf(members) }));
const halts = (members: readonly MemberRow[], row?: RolloutRow): boolean =>
  report(members, row).halt;

describe('the halt test', () => {
  it('both_canaries_fail_halts_after_two', () => {
    expect(halts(planned(fleetOf([true]), 20))).toBe(false);
    expect(report(planned(fleetOf([true, true]), 20))).toEqual({
      halt: true,
      hold: true,
      reasons:
        '2 of 2 devices that took it failed; acceptable is 2 %; 2 failures halt so far ' +
        '(exact: of 20 planned, an acceptable release is halted with chance 5 %): halted',
    });
  });

  it('its_sentence_is_the_example_of_the_document', () => {
    const members = planned(fleetOf([true, false, true, false, false]), 100);
    expect(joinedDocument('docs/statistics.md')).toContain(report(members).reasons);
  });

  it('both_canaries_fail_halts_also_when_each_has_its_own_hardware', () => {
    for (const hardware of [
      ['a', 'b', 'a'],
      ['a', 'a', 'b'],
    ])
      expect(
        halts(
          planned(fleetOf([true, true]), 3).map((one, n) => ({
            ...one,
            hardware: hardware[n] ?? '',
          })),
        ),
      ).toBe(true);
  });

  it('a_fault_in_one_kind_of_hardware_halts_a_large_fleet', () => {
    // 8 of 500 devices are of another kind, at the end of the order; all of them fail.
    const bad = Array.from({ length: 500 }, (_, n) => n >= 492);
    const result = report(fleetOf(bad, (n) => ({ hardware: n >= 492 ? 'jetson' : 'pi4' })));
    expect(result.halt).toBe(true);
    expect(result.reasons).toMatch(/^8 of 8 jetson devices that took it failed/);
    expect(halts(fleetOf(bad))).toBe(false);
  });

  it('failures_that_are_reported_first_do_not_halt_an_acceptable_release', () => {
    // 10 of 500 fail at once, the other 490 are still on trial: in the order of the reports that
    // would be 10 of 10. The order of taking counts.
    const random = seeded(1);
    const bad = new Set<number>();
    while (bad.size < 10) bad.add(Math.floor(random() * 500));
    const all = fleetOf(Array.from({ length: 500 }, (_, n) => bad.has(n))).map((one) =>
      one.failed ? one : { ...one, state: 'trial' as const },
    );
    expect(halts(all)).toBe(false);
    const reported: Take[] = takesOf(all).sort((a, b) => Number(b.failed) - Number(a.failed));
    expect(haltReport(situation({ members: all, takes: reported })).halt).toBe(true);
  });

  it('a_halt_is_not_talked_away_by_the_successes_after_it', () => {
    const result = report(fleetOf([true, true, ...good(38)]));
    expect(result.halt).toBe(true);
    expect(result.reasons).toContain(
      '2 of 40 devices that took it failed; acceptable is 2 %; 2 of the first 2, where 2 halt',
    );
  });

  it('a_device_that_was_rolled_back_is_not_forgotten', () => {
    const back = fleetOf([true, true], () => ({ state: 'reverted' }));
    expect(halts(planned(back, 20))).toBe(true);
  });

  it('two_failures_in_a_row_halt_a_wave_of_1000_up_to_the_11th_device_and_then_it_takes_three', () => {
    const after = (many: number, failures: number): boolean =>
      halts(planned(fleetOf([...good(many), ...new Array<boolean>(failures).fill(true)]), 1000));
    expect([0, 8].map((many) => after(many, 2))).toEqual([true, true]);
    expect([9, 28].map((many) => after(many, 2))).toEqual([false, false]);
    expect([9, 27, 28].map((many) => after(many, 3))).toEqual([true, true, false]);
  });

  it('one_failure_halts_only_where_it_is_evidence_enough_for_the_whole_plan', () => {
    const one = (size: number, row?: RolloutRow): boolean =>
      halts(planned(fleetOf([true]), size), row);
    expect([1, 2, 3, 20].map((size) => one(size))).toEqual([true, true, false, false]);
    const strict = policyOf({ acceptableFailurePermille: 1, alarmingFailurePermille: 500 });
    expect(one(20, rollout({ policy: strict }))).toBe(true);
    expect(halts(planned(fleetOf([false, false]), 20), rollout({ policy: strict }))).toBe(false);
  });

  it('only_takes_count_and_a_revoked_device_that_had_failed_stays_a_failure', () => {
    const pair = (change: Partial<MemberRow>): boolean =>
      halts(planned([...fleetOf([true]), member(1, { failed: true, ...change })], 20));
    expect(pair({ state: 'failed' })).toBe(true);
    expect(pair({ state: 'lost' })).toBe(true);
    expect(pair({ state: 'excused', failed: false })).toBe(false);
    expect(pair({ state: 'confirmed', failed: true, assignmentId: null })).toBe(false);
  });

  it('undecided_silent_unproven_and_differing_devices_are_no_failures', () => {
    for (const state of ['taken', 'trial', 'silent', 'unproven', 'differs', 'excused'] as const)
      expect(halts(fleetOf(good(20), () => ({ state })))).toBe(false);
  });

  it('a_new_rollout_of_the_same_release_starts_from_the_old_sequence', () => {
    const members = planned([], 20).map((one) => ({ ...one, rollout: 'ro-2' }));
    const earlier = takesOf(fleetOf([true, true]));
    expect(haltReport(situation({ members, takes: earlier })).halt).toBe(true);
    // A device that took it before is planned once.
    expect(plannedKinds(members, earlier)).toEqual(new Map([['pi4', 20]]));
    const gone = earlier.map((take, n) => ({ ...take, device: `dev-gone-${n}` }));
    expect(plannedKinds(members, [...gone, { ...gone[0]!, device: 'x', hardware: 'b' }])).toEqual(
      new Map([
        ['pi4', 22],
        ['b', 1],
      ]),
    );
  });

  it.each([20, 100, 500])('false_alarms_in_a_rollout_of_%i_stay_within_alpha_exactly', (size) => {
    for (const kinds of [[size], [size - 8, 8], [size / 4, size / 4, size / 4, size / 4]]) {
      const { halt } = boundariesOf(new Map(kinds.map((many, n) => [`k${n}`, many])), policyOf());
      const sum = [halt.pooled, ...halt.kinds.values()].reduce((all, one) => all + one.chance, 0);
      expect(sum).toBeLessThanOrEqual(0.05);
      expect(halt.pooled.chance).toBe(chanceOfHalting(halt.pooled, 0.02));
      if (kinds.length === 1) expect(sum).toBeGreaterThan(0.045);
    }
  });

  // The whole test as it runs: reports in the worst order (failures first), looked at after every
  // report. The value only rises with each failure, so the look after the last report is the
  // largest of all looks.
  it.each([20, 100])('false_alarms_in_a_rollout_of_%i_stay_within_alpha_by_simulation', (size) => {
    const random = seeded(42 + size);
    const runs = 2000;
    let single = 0;
    let strata = 0;
    for (let run = 0; run < runs; run++) {
      const bad = Array.from({ length: size }, () => random() < 0.02);
      if (halts(fleetOf(bad))) single++;
      if (halts(fleetOf(bad, (n) => ({ hardware: `kind${n % 4}` })))) strata++;
    }
    const allowed = 0.05 + 3 * Math.sqrt((0.05 * 0.95) / runs);
    expect(single / runs).toBeLessThan(allowed);
    expect(strata / runs).toBeLessThan(allowed);
    const { halt } = boundariesOf(new Map([['pi4', size]]), policyOf());
    expect(Math.abs(single / runs - halt.pooled.chance)).toBeLessThan(0.015);
  });

  it('a_release_that_fails_on_half_of_the_devices_is_halted_after_a_few', () => {
    const random = seeded(3);
    const needed = Array.from({ length: 300 }, () => {
      const bad: boolean[] = [];
      while (!halts(planned(fleetOf(bad), 100)) && bad.length < 100) bad.push(random() < 0.5);
      return bad.length;
    }).sort((a, b) => a - b);
    expect(needed[150]).toBeLessThanOrEqual(4);
    expect(needed[290]).toBeLessThan(15);
  });
});

describe('a halt', () => {
  const failing = planned(fleetOf([true, true]), 20);

  it('reverts_with_auto_revert_and_asks_an_operator_without', () => {
    expect(rowAfter(failing)).toMatchObject({ state: 'reverting', since: T0 + 1000, asked: false });
    const policy = policyOf({ autoRevert: false });
    const held = rowAfter(failing, { rollout: answered({ policy }) });
    expect(held).toMatchObject({ state: 'held', asked: true });
    expect(held.reasons).toEqual([
      expect.stringContaining(': halted'),
      'd0: trial_crashes: 3 times',
      'd1: trial_crashes: 3 times',
      'autoRevert is off, so no device is rolled back automatically: ' +
        'abort rolls every touched device back, resume continues in spite of these failures',
    ]);
  });

  it('is_overruled_by_a_person_only_without_auto_revert_and_only_for_what_they_saw', () => {
    const state = (autoRevert: boolean, answeredAt: number): string =>
      rowAfter(failing, { rollout: answered({ policy: policyOf({ autoRevert }), answeredAt }) })
        .state;
    expect(state(true, T0)).toBe('reverting');
    expect(state(false, T0)).toBe('rolling');
    expect(state(false, T0 - 1)).toBe('held');
  });

  it('names_five_failures_and_counts_the_rest', () => {
    const { reasons } = rowAfter(planned(fleetOf(new Array<boolean>(7).fill(true)), 20));
    expect(reasons.slice(1)).toEqual([
      ...[0, 1, 2, 3, 4].map((n) => `d${n}: trial_crashes: 3 times`),
      'and 2 more failed',
    ]);
  });
});
