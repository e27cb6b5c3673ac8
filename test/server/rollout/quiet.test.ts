// What the conductor leaves out against what it would find: random rollouts, in which nothing that
// is left out may decide anything.
import { describe, expect, it } from 'vitest';
import type { DeviceFacts, MemberRow, Take } from '../../../server/interfaces.js';
import { changeOf } from '../../../server/rollout/forward.js';
import { nextLook } from '../../../server/rollout/looks.js';
import { watchStep, wholeStep } from '../../../server/rollout/plan.js';
import { isQuiet, quietUntil, signsOf } from '../../../server/rollout/quiet.js';
import type { Situation } from '../../../server/rollout/situation.js';
import { WholeSituation } from '../../../server/rollout/whole-situation.js';
import { countsOf } from '../../../server/rollout/window.js';
import { emptySilence } from '../../../shared/statistics/silence-test.js';
import { policyOf, releaseOf } from '../../sim/fleet.js';
import { seeded } from '../../support/random.js';
import {
  evidence,
  facts,
  member,
  passing,
  rollout,
  situation,
  T0,
  takesOf,
  trial,
  update,
} from '../../support/rollout-rows.js';

const SEEDS = 4000;
const MINUTE_MS = 60_000;
type Random = () => number;
const pick = <T>(random: Random, from: readonly T[]): T =>
  from[Math.floor(random() * from.length)]!;
const some = (random: Random, atMostMs: number): number => T0 - Math.floor(random() * atMostMs);

/** A state with what may be true of a device in it, so that many situations are near a decision. */
function memberOf(random: Random, n: number, states: readonly MemberRow['state'][]): MemberRow {
  const state = pick(random, states);
  const isWaiting = state === 'waiting';
  const isProven = ['confirmed', 'ready', 'shadowed'].includes(state) && random() < 0.8;
  return member(n, {
    state,
    hardware: pick(random, ['pi4', 'pi4', 'jetson']),
    site: pick(random, ['a', 'b']),
    wave: pick(random, [0, 0, 1]),
    since: some(random, 20 * MINUTE_MS),
    assignedAt: isWaiting ? null : some(random, 20 * MINUTE_MS),
    assignmentId: isWaiting || random() < 0.1 ? null : 2,
    proven: isProven,
    failed: state === 'failed',
    mayRun: random() < 0.1,
    silence: random() < 0.1 ? { instance: 'i1', modelFaults: 0 } : null,
  });
}

function factsOf(random: Random, { device }: MemberRow, n: number): DeviceFacts {
  const trouble = random() < 0.1 ? { code: 'disk_full' as const, detail: 'full' } : null;
  const state = pick(random, ['idle', 'idle', 'swapped', 'rehearsed', 'staged'] as const);
  return facts(
    {
      id: device,
      lastSeenAt: random() < 0.1 ? null : some(random, pick(random, [2, 10, 60]) * MINUTE_MS),
      status: random() < 0.03 ? 'revoked' : 'enrolled',
      instance: pick(random, ['i1', 'i2']),
      update:
        random() < 0.2
          ? null
          : update({
              state,
              trouble: trouble as never,
              running: releaseOf(pick(random, ['1.0.0', '1.1.0'])),
              assignmentId: pick(random, [2, 2, 1]),
            }),
      trial: random() < 0.6 ? null : trial(evidence(pick(random, [0, 0, 30])), 2),
    },
    n,
  );
}

function situationOf(seed: number): Situation {
  const random = seeded(seed);
  const states = pick(random, [
    ['confirmed', 'waiting'],
    ['confirmed', 'confirmed', 'confirmed', 'excused'],
    ['waiting', 'taken', 'trial', 'confirmed', 'failed'],
    ['silent', 'unproven', 'confirmed', 'waiting'],
    ['reverting', 'reverted', 'lost', 'waiting'],
    ['taken', 'trial', 'ready', 'unproven', 'silent', 'failed', 'differs', 'excused', 'confirmed'],
  ] as const);
  const members = Array.from({ length: 1 + Math.floor(random() * 8) }, (_, n) =>
    memberOf(random, n, states),
  ).sort((a, b) => a.wave - b.wave || a.rank - b.rank);
  const strategy = pick(random, ['waves', 'waves', 'blue-green', 'shadow'] as const);
  const policy = policyOf({
    trial: passing.policy,
    silentAfterSeconds: pick(random, [60, 300]),
    deviceDeadlineSeconds: pick(random, [300, 900]),
    autoRevert: random() < 0.7,
    ...(strategy === 'waves' ? {} : { strategy }),
    ...(strategy === 'blue-green' ? { blueGreen: { go: 'auto' as const } } : {}),
    ...(random() < 0.2
      ? { deadline: new Date(T0 + 10 * MINUTE_MS * (random() - 0.5)).toISOString() }
      : {}),
    waves: [0, 1].map((wave) => ({
      name: `w${wave}`,
      ...(random() < 0.2 ? { group: 'fleet' } : { percent: 50 * (wave + 1) }),
      ...(random() < 0.2 ? { minProven: 1 + Math.floor(random() * 3) } : {}),
      soakSeconds: pick(random, [0, 120, 600]),
      approval: random() < 0.3,
    })),
  });
  const row = rollout({
    policy,
    state: pick(random, [
      'rolling',
      'rolling',
      'rolling',
      'held',
      'completed',
      'reverting',
    ] as const),
    wave: pick(random, [0, 0, 1]),
    approved: random() < 0.3,
    asked: random() < 0.3,
    undo: random() < 0.3,
    since: some(random, 60 * MINUTE_MS),
    answeredAt: random() < 0.3 ? some(random, 20 * MINUTE_MS) : null,
    goAt: strategy === 'blue-green' && random() < 0.3 ? some(random, 20 * MINUTE_MS) : null,
    silence:
      random() < 0.2
        ? null
        : { state: emptySilence(), slotAt: some(random, 2 * MINUTE_MS), eventAt: null },
  });
  const takes: Take[] = random() < 0.2 ? [] : takesOf(members);
  return situation({
    rollout: row,
    members,
    facts: new Map(members.map((one) => [one.device, factsOf(random, one, one.rank)])),
    takes,
    now: T0 + 1000,
    receptionSince: random() < 0.8 ? T0 - 120 * MINUTE_MS : some(random, 10 * MINUTE_MS),
  });
}

const seeds = Array.from({ length: SEEDS }, (_, seed) => seed);

describe('in random rollouts', () => {
  it('one_that_is_quiet_has_no_step_of_all_together', () => {
    let quiet = 0;
    for (const seed of seeds) {
      const whole = situationOf(seed);
      const signs = {
        counts: countsOf(whole.members),
        isFailing: whole.takes.some(({ failed }) => failed),
        hasTakes: whole.takes.length > 0,
        ...signsOf(whole, whole.members),
      };
      const until = Math.min(quietUntil(whole.rollout), whole.now + 30 * MINUTE_MS);
      const isNow = isQuiet(whole.rollout, signs, whole.now);
      if (isNow) quiet++;
      if (isNow) expect(wholeStep(whole), `seed ${seed}`).toBeNull();
      const later = { ...whole, now: Math.max(whole.now, until - 1) };
      if (isQuiet(whole.rollout, signs, later.now))
        expect(wholeStep(later), `seed ${seed}, later`).toBeNull();
    }
    // Not because nothing is ever quiet.
    expect(quiet).toBeGreaterThan(SEEDS / 20);
    expect(quiet).toBeLessThan(SEEDS);
  });

  it('a_member_that_is_put_aside_does_not_change_before_its_time', () => {
    let asides = 0;
    for (const seed of seeds) {
      const random = seeded(seed + 1_000_000);
      const whole = situationOf(seed);
      for (const one of whole.members) {
        const alone = { ...whole, members: [one] };
        if (watchStep(alone) !== null) continue;
        const at = nextLook(one, whole.facts.get(one.device), whole.rollout, whole);
        const until = at ?? whole.now + 24 * 60 * MINUTE_MS;
        const now = whole.now + Math.floor(random() * (until - whole.now));
        asides++;
        for (const moment of [now, until - 1])
          expect(watchStep({ ...alone, now: moment }), `seed ${seed} ${one.device}`).toBeNull();
      }
    }
    expect(asides).toBeGreaterThan(SEEDS);
  });

  it('members_looked_at_in_portions_change_as_when_all_are_looked_at', () => {
    let changed = 0;
    for (const seed of seeds) {
      const whole = situationOf(seed);
      const all = watchStep(whole)?.members ?? [];
      const parts = whole.members.flatMap(
        (one) => watchStep({ ...whole, members: [one] })?.members ?? [],
      );
      expect(parts, `seed ${seed}`).toEqual(all);
      changed += all.length;
    }
    expect(changed).toBeGreaterThan(SEEDS / 10);
  });

  it('the_step_of_all_needs_no_more_of_the_reports_than_is_kept_of_them', () => {
    let steps = 0;
    for (const seed of seeds) {
      const situationNow = situationOf(seed);
      const whole = new WholeSituation(situationNow.rollout);
      // In any order of arrival.
      whole.put({ ...situationNow, members: [...situationNow.members].reverse() });
      const step = wholeStep(situationNow);
      expect(wholeStep({ ...situationNow, ...whole.all }), `seed ${seed}`).toEqual(step);
      if (step !== null) steps++;
    }
    expect(steps).toBeGreaterThan(SEEDS / 10);
  });

  it('a_waiting_member_changes_by_what_is_reported_only', () => {
    for (const seed of seeds) {
      const whole = situationOf(seed);
      for (const one of whole.members.filter(({ state }) => state === 'waiting')) {
        const report = whole.facts.get(one.device);
        if (changeOf(one, report, whole) !== null) continue;
        const later = { ...whole, now: whole.now + 60 * MINUTE_MS };
        expect(changeOf(one, report, later), `seed ${seed}`).toBeNull();
      }
    }
  });
});
