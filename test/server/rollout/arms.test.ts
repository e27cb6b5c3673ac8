// Strategy `ab`: who is in which arm, what is compared, when it is decided, and what follows.
import { describe, expect, it } from 'vitest';
import {
  counted,
  dueBlocks,
  placeInArms,
  readArms,
  withArms,
} from '../../../server/rollout/arms.js';
import type { ArmMeasures, ArmsState, EligibleDevice } from '../../../server/interfaces.js';
import type { ArmMetric, ArmsPolicy } from '../../../shared/protocol/operator-api.js';
import { policyComplaints } from '../../../shared/protocol/policy-complaints.js';
import { COMPONENT, deviceId, NOTHING_MEASURED, policyOf, SimFleet } from '../../sim/fleet.js';
import { seeded } from '../../support/random.js';
import { by } from '../../support/audit-actions.js';
import { member, rollout, T0, waiting } from '../../support/rollout-rows.js';

const AB: ArmsPolicy = {
  sharePercent: 25,
  observeSeconds: 30,
  metrics: ['failed'],
  falseWinnerPermille: 50,
  winner: 'ask',
};
const waves = [{ name: 'B', percent: 100, soakSeconds: 0, approval: false }];
const policy = (change: Partial<ArmsPolicy> = {}) =>
  policyOf({ strategy: 'ab', ab: { ...AB, ...change }, waves, startWindow: 50, kindWindow: 50 });

const START: ArmsState = { done: [], metrics: {}, told: false };
const measures = (change: Partial<Record<ArmMetric, number>>): ArmMeasures => ({
  ...NOTHING_MEASURED,
  ...change,
});

/** A comparison of so many blocks; values of a device by its arm. */
function compared(
  blocks: number,
  value: (isB: boolean) => Partial<Record<ArmMetric, number>>,
  ab: ArmsPolicy = AB,
): ArmsState {
  let state = START;
  for (let n = 0; n < blocks; n++) {
    const a = [value(false), value(false), value(false)].map(measures);
    state = counted(state, { device: deviceId(n), b: measures(value(true)), a }, ab);
  }
  return state;
}

describe('arms', () => {
  const devices: EligibleDevice[] = Array.from({ length: 1000 }, (_, n) => ({
    id: deviceId(n),
    name: `d${n}`,
    group: 'fleet',
    hardware: 'pi4',
    site: `site-${n % 7}`,
    lastSeenAt: T0,
  }));

  it('device_keeps_its_arm_by_a_hash_and_arm_a_is_the_last_wave', () => {
    const whole = withArms(policy());
    expect(whole.waves.map(({ name }) => name)).toEqual(['B', 'arm A']);
    const places = placeInArms('ro-1', devices, whole);
    expect(places).toHaveLength(1000);
    expect(places.map(({ rank }) => rank)).toEqual(places.map((_, n) => n));
    const armB = (all: typeof places) =>
      new Set(all.filter(({ wave }) => wave === 0).map(({ device }) => device.id));
    const first = armB(places);
    expect(first.size).toBeGreaterThan(210);
    expect(first.size).toBeLessThan(290);
    // Others that come or go change no device's arm; another rollout draws anew.
    const half = devices.slice(0, 500);
    expect([...armB(placeInArms('ro-1', half, whole))].every((id) => first.has(id))).toBe(true);
    expect([...armB(placeInArms('ro-2', devices, whole))].every((id) => first.has(id))).toBe(false);
  });

  it('other_strategies_have_none', () => {
    const canary = policyOf();
    expect(withArms(canary)).toBe(canary);
    expect(placeInArms('ro-1', devices, canary).some(({ wave }) => wave === 2)).toBe(true);
  });

  it('strategy_and_table_need_each_other_and_a_free_wave', () => {
    expect(policyComplaints(policy())).toEqual([]);
    const { ab: _ab, ...without } = policy();
    expect(policyComplaints(without)).toEqual(['strategy ab and the table ab need each other']);
    expect(policyComplaints(policyOf({ ab: AB }))).toHaveLength(1);
    expect(policyComplaints(policyOf({ strategy: 'canary' }))).toEqual([]);
    const many = Array.from({ length: 20 }, () => waves[0]!);
    expect(policyComplaints({ ...policy(), waves: many })).toEqual([
      'strategy ab has at most 19 waves: the last one is arm A',
    ]);
  });
});

describe('due', () => {
  const whole = withArms(policy());
  const row = rollout({ policy: whole });
  const b = [0, 1, 2].map((n) => member(n, { state: 'confirmed', since: T0 + n }));
  const a = [3, 4, 5, 6, 7, 8].map((n) => waiting(n, { wave: 1 }));
  const due = (now: number, change = {}, all = [...b, ...a]) =>
    dueBlocks({ ...row, ...change }, all, now).map(({ device, partners }) =>
      [device, ...partners].map((id) => parseInt(id.slice(4), 16)).join(' '),
    );

  it('device_is_compared_after_its_time_with_partners_that_nobody_else_has', () => {
    expect(due(T0 + 29_999)).toEqual([]);
    expect(due(T0 + 30_001)).toEqual(['0 3 4', '1 5 6']);
    const arms = { ...START, done: [deviceId(0), deviceId(1)] };
    expect(due(T0 + 40_000, { arms })).toEqual(['2 7 8']);
    expect(dueBlocks(row, [...b, ...a], T0 + 30_000)[0]).toMatchObject({
      from: T0,
      to: T0 + 30_000,
    });
  });

  it('device_that_failed_or_ran_it_already_is_not', () => {
    const odd = [
      member(0, { state: 'failed' }),
      member(1, { state: 'confirmed', assignmentId: null }),
      member(2, { state: 'trial' }),
    ];
    expect(due(T0 + 90_000, {}, [...odd, ...a])).toEqual([]);
    expect(due(T0 + 90_000, { state: 'held' })).toEqual([]);
    expect(due(T0 + 90_000, { policy: policyOf() })).toEqual([]);
  });
});

describe('comparison', () => {
  it('finds_the_arm_that_is_worse_and_shows_its_arithmetic', () => {
    const worse = readArms(
      compared(12, (isB) => ({ failed: isB ? 0.05 : 0.01 })),
      AB,
    );
    expect(worse.winner).toBe('A');
    expect(worse.reasons[0]).toMatch(
      /^share of failed requests: 0\.05 in arm B, 0\.01 in arm A \(means\); higher in B on 100 % of 12 comparisons; e-value of B worse \d+\.\d, of B better 0\.\d$/,
    );
    expect(worse.reasons[1]).toBe(
      'an e-value of 40 decides: arms that do not differ get a winner with chance 5 % at most',
    );
  });

  it('finds_the_arm_that_is_better_unless_it_is_worse_in_another_metric', () => {
    const ab: ArmsPolicy = { ...AB, metrics: ['p50', 'security'] };
    const faster = (security: number) =>
      compared(30, (isB) => ({ p50: isB ? 5 : 9, security: isB ? security : 0 }), ab);
    expect(readArms(faster(0), ab).winner).toBe('B');
    expect(readArms(faster(3), ab).winner).toBe('A');
  });

  it('ties_and_devices_without_data_are_no_evidence', () => {
    expect(
      readArms(
        compared(500, () => ({ failed: 0 })),
        AB,
      ).winner,
    ).toBeNull();
    const none = readArms(
      compared(500, () => ({})),
      AB,
    );
    expect(none.winner).toBeNull();
    expect(none.reasons[0]).toBe('share of failed requests: no device of arm B was compared yet');
  });

  it('arms_that_do_not_differ_get_a_winner_no_more_often_than_promised', () => {
    const random = seeded(11);
    const ab: ArmsPolicy = { ...AB, metrics: ['failed', 'p99'] };
    // Devices differ by a factor of up to 50, for good: what hours of one device would hide.
    const value = () => ({ failed: 0.001 * 50 ** random(), p99: 10 * 50 ** random() });
    let won = 0;
    for (let run = 0; run < 400; run++) {
      let state = START;
      let winner: string | null = null;
      for (let n = 0; n < 40 && winner === null; n++) {
        const a = [value(), value(), value()].map(measures);
        state = counted(state, { device: deviceId(n), b: measures(value()), a }, ab);
        winner = readArms(state, ab).winner;
      }
      if (winner !== null) won++;
    }
    expect(won / 400).toBeLessThanOrEqual(0.05);
  });

  it('twice_the_failures_are_found_among_devices_that_differ', () => {
    const random = seeded(12);
    let found = 0;
    for (let run = 0; run < 50; run++) {
      const state = compared(60, (isB) => ({ failed: (isB ? 0.02 : 0.01) * (0.5 + random()) }));
      if (readArms(state, AB).winner === 'A') found++;
    }
    expect(found).toBeGreaterThanOrEqual(45);
  });
});

describe('a fleet', () => {
  /** Arm B serves with this share of failed requests, arm A with 1 %. */
  async function compare(failedB: number, change: Partial<ArmsPolicy> = {}, devices = 60) {
    const fleet = new SimFleet({ canaries: 0, fleet: devices });
    const random = seeded(5);
    const armB = (device: string) =>
      [...fleet.store.memberRows.values()].some((rows) => rows.get(device)?.wave === 0);
    fleet.store.measured = (device) =>
      measures({ failed: (armB(device) ? failedB : 0.01) * (0.8 + 0.4 * random()) });
    const id = await fleet.begin('1.1.0', policy(change));
    const inB = () =>
      [...(fleet.store.memberRows.get(id)?.values() ?? [])].filter(({ wave }) => wave === 0).length;
    const on = (version: string) =>
      fleet.devices.filter(({ running }) => running?.version === version).length;
    return { fleet, id, inB, on };
  }

  it('better_arm_is_proposed_and_a_person_gives_it_to_all', async () => {
    const { fleet, id, inB, on } = await compare(0.001);
    await fleet.until(() => fleet.row(id).state === 'held');
    expect(on('1.1.0')).toBe(inB());
    expect(on('1.0.0')).toBe(60 - inB());
    expect(fleet.row(id).reasons[0]).toBe('arm B is better and is proposed as the winner');
    expect(fleet.row(id).reasons.join('\n')).toMatch(/e-value of B worse 0\.\d, of B better \d+/);
    const { arms } = await fleet.operators.view(id);
    expect(arms).toMatchObject({ winner: 'B', needed: 40, devicesA: 60 - inB(), devicesB: inB() });
    const [metric] = arms!.metrics;
    expect(metric!.better).toBeGreaterThanOrEqual(40);
    expect(metric!.meanB).toBeLessThan(metric!.meanA!);
    // The interval leaves out one half exactly when a side has decided.
    expect(metric!.higherInB!.high).toBeLessThan(0.5);
    expect(metric!.higherInB!.share).toBeLessThanOrEqual(metric!.higherInB!.high);
    await fleet.operators.command(id, 'resume', by('ann'));
    await fleet.until(() => fleet.row(id).state === 'completed');
    expect(on('1.1.0')).toBe(60);
  });

  it('worse_arm_holds_it_and_a_person_rolls_it_back', async () => {
    const { fleet, id, on } = await compare(0.3);
    await fleet.until(() => fleet.row(id).state === 'held');
    expect(fleet.row(id).reasons[0]).toBe('arm A is better and is proposed as the winner');
    await fleet.operators.command(id, 'abort', by('ann'));
    await fleet.until(() => fleet.row(id).state === 'reverted');
    expect(on('1.0.0')).toBe(60);
  });

  it('winner_is_taken_without_a_person_where_the_policy_says_so', async () => {
    const good = await compare(0.001, { winner: 'auto' });
    await good.fleet.until(() => good.fleet.row(good.id).state === 'completed');
    expect(good.on('1.1.0')).toBe(60);
    const bad = await compare(0.3, { winner: 'auto' });
    await bad.fleet.until(() => bad.fleet.row(bad.id).state === 'reverted');
    expect(bad.on('1.0.0')).toBe(60);
  });

  it('arms_that_do_not_differ_are_a_persons_question_also_where_the_winner_is_automatic', async () => {
    const { fleet, id, on } = await compare(0.01, { winner: 'auto' });
    await fleet.until(() => fleet.row(id).state === 'held');
    expect(fleet.row(id).reasons[0]).toBe('no difference between the arms was found');
    expect(on('1.0.0')).toBeGreaterThan(30);
  });

  it('person_may_decide_before_there_is_a_winner', async () => {
    const { fleet, id, on } = await compare(0.01, { observeSeconds: 86_400 });
    await fleet.seconds(60);
    const view = await fleet.operators.view(id);
    expect(view.state).toBe('rolling');
    expect(view.reasons.join('\n')).toMatch(/0 of at most \d+ devices of arm B were compared/);
    expect(view.next.join('\n')).toContain('linnet rollout approve');
    const none = { comparisons: 0, meanA: null, meanB: null, higherInB: null, worse: 1, better: 1 };
    expect(view.arms).toMatchObject({ winner: null, compared: 0, metrics: [none] });
    await fleet.operators.command(id, 'approve', by('ann'));
    await fleet.until(() => fleet.row(id).state === 'completed');
    expect(on('1.1.0')).toBe(60);
  });

  it('arm_without_a_device_is_refused_and_the_preview_says_how_many_comparisons_it_takes', async () => {
    const fleet = new SimFleet({ canaries: 0, fleet: 1 });
    const request = { component: COMPONENT, version: '1.1.0', policy: policy() };
    await expect(fleet.operators.create(request, by('ann'))).rejects.toThrow(/arm [AB] has no/);
    const more = new SimFleet({ canaries: 0, fleet: 40 });
    const { waves: found, warnings } = await more.operators.preview(request);
    expect(found.map(({ name }) => name)).toEqual(['B', 'arm A']);
    expect(warnings.join('\n')).toMatch(/arm B is \d+ of 40 devices; arm A keeps what it runs/);
    expect(warnings.join('\n')).toMatch(/a difference on every device takes \d+/);
  });
});
