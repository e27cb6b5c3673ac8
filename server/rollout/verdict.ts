// The verdict on a rollout from its members: which devices failed, whether that halts the release,
// and whether the rollout may advance past the wave. Pure. A device's own report is believed only
// when it is bad news: health needs evidence, which the server judges again with the same function
// as the device. Silence is never health. What follows from a verdict is decided in plan.ts.
//
// The halt test. Each device that was assigned the release is one observation. The e-process
// (shared/statistics/sequential-tests.ts) runs along a sequence of the devices that was fixed
// before anything was known (by wave, then by the plan's hash). Devices without an outcome count as
// good, and the largest value over all prefixes of it decides. So the false alarm rate holds for
// the whole rollout, at any time and any number of looks, although failures are reported sooner
// than successes: in the order of reports, ten failures of an acceptable 500 would come first and
// halt it. Counting an undecided device as good can only lower the value, and the process that it
// is lower than satisfies Ville's inequality. Strata: with several kinds of hardware, the process
// over all devices has 4/5 of the weight, and one process per kind shares the rest; so one kind
// with eight devices in a large fleet halts on its own failures.
import assert from 'node:assert/strict';
import {
  capped,
  chanceOfReaching,
  logMean,
  logRatio,
  percent,
} from '../../shared/statistics/sequential-tests.js';
import { upperBound } from '../../shared/statistics/distributions.js';
import type { RolloutPolicy } from '../../shared/protocol/operator-api.js';
import type { TrialBody } from '../../shared/protocol/telemetry.js';
import type { ReleaseRef } from '../../shared/release/release-ref.js';
import {
  judgeTrial,
  type TrialEvidence,
  type TrialVerdict,
} from '../../shared/statistics/trial-verdict.js';
import type { DeviceFacts, MemberRow, RolloutRow } from '../interfaces.js';

/** When a judgement is made. */
export interface Moment {
  readonly now: number;
  /**
   * Since when the server has been able to hear devices without a gap (reception.ts): time before
   * it is no device's silence.
   */
  readonly receptionSince: number;
}

/** What is now true of a member that is assigned the release. */
export interface Observation {
  readonly state: 'assigned' | 'trial' | 'confirmed' | 'failed';
  readonly reasons: string;
}

/** Weight of the process over all devices, where there are several strata. */
const POOLED_WEIGHT = 0.8;

/**
 * `member` is in state assigned, trial or confirmed under an assignment of this rollout; only
 * reports about this assignment count.
 */
export function observe(
  member: MemberRow,
  facts: DeviceFacts | undefined,
  rollout: RolloutRow,
  moment: Moment,
): Observation {
  const { policy, release } = rollout;
  const bad = badNews(member, facts, release);
  if (bad !== null) return { state: 'failed', reasons: bad };

  const reported = facts?.trial ?? null;
  const trial =
    reported?.assignmentId === member.assignmentId && reported?.release.digest === release.digest
      ? reported
      : null;
  const verdict = trial === null ? null : judgeTrial(evidenceOf(member, trial), policy.trial);
  if (verdict?.verdict === 'fail') {
    const claim = reportsHealth(member, facts, release)
      ? 'the device reports health, its evidence does not: '
      : '';
    return { state: 'failed', reasons: `${verdict.code}: ${claim}${verdict.reasons.join('; ')}` };
  }
  const differs = differsMore(member, facts, verdict);
  if (differs !== null) return { state: 'trial', reasons: differs };
  const silence = silentSeconds(member, facts, moment);
  if (silence > policy.silentAfterSeconds) {
    const { silentAfterSeconds: limit } = policy;
    const reasons = `silent for ${silence} s; after ${limit} s silence counts as a failure`;
    return { state: 'failed', reasons };
  }
  if (member.state === 'confirmed') return { state: 'confirmed', reasons: member.reasons };
  const claimed = reportsHealth(member, facts, release);
  // A device confirms an assignment of what it already runs at once: there is no trial and so no
  // evidence.
  if (claimed && trial === null && member.mayRun && member.state === 'assigned')
    return { state: 'confirmed', reasons: 'ran this release already' };
  if (claimed && verdict?.verdict === 'pass')
    return { state: 'confirmed', reasons: verdict.reasons.join('; ') };

  if (verdict?.verdict === 'unproven')
    return { state: 'trial', reasons: verdict.reasons.join('; ') };
  const age = assignmentSeconds(member, moment);
  if (age > policy.deviceDeadlineSeconds) {
    const seen = verdict === null ? 'no trial was reported' : verdict.reasons.join('; ');
    return {
      state: 'failed',
      reasons:
        `no evidence of health within ${policy.deviceDeadlineSeconds} s ` +
        `of its assignment: ${seen}`,
    };
  }
  if (claimed)
    return {
      state: 'trial',
      reasons: 'the device reports health; its evidence has not arrived or does not show it yet',
    };
  const swapped = isAboutAssignment(member, facts) && facts?.update?.state === 'swapped';
  const started = member.state === 'trial' || verdict !== null || swapped;
  return started
    ? { state: 'trial', reasons: 'on trial' }
    : { state: 'assigned', reasons: 'has its assignment' };
}

/**
 * A release that replaces another one is never judged as a first install, whatever the device
 * reports: it must be compared with what it replaces.
 */
function evidenceOf(member: MemberRow, { evidence }: TrialBody): TrialEvidence {
  return member.previous !== null && !evidence.replaces
    ? { ...evidence, replaces: true }
    : evidence;
}

/**
 * A confirmed device of an earlier wave: its silence no longer counts, but its bad news does.
 */
export function observeLeft(
  member: MemberRow,
  facts: DeviceFacts | undefined,
  { release }: RolloutRow,
): Observation {
  const bad = badNews(member, facts, release);
  return bad === null
    ? { state: 'confirmed', reasons: member.reasons }
    : { state: 'failed', reasons: bad };
}

/** Whether the device's last update report is about the member's own assignment. */
function isAboutAssignment(member: MemberRow, facts: DeviceFacts | undefined): boolean {
  return facts?.update?.assignmentId === member.assignmentId;
}

function badNews(
  member: MemberRow,
  facts: DeviceFacts | undefined,
  release: ReleaseRef,
): string | null {
  const update = isAboutAssignment(member, facts) ? facts?.update : null;
  if (update === null || update === undefined) return null;
  const { outcome } = update;
  if (
    outcome?.assignmentId === member.assignmentId &&
    !['confirmed', 'differs'].includes(outcome.result)
  ) {
    const code = outcome.code === null ? '' : `, ${outcome.code}`;
    return `${outcome.result} by the device${code}: ${outcome.detail}`;
  }
  if (update.state === 'stranded') return 'stranded: no release loads on it';
  if (member.state === 'confirmed' && update.running?.digest !== release.digest) {
    return `was confirmed, but now runs ${update.running?.version ?? 'nothing'}`;
  }
  return null;
}

/**
 * Why the device went back, or is to go back, without having failed: the release differs more than
 * it declares. A person decides.
 */
function differsMore(
  member: MemberRow,
  facts: DeviceFacts | undefined,
  verdict: TrialVerdict | null,
): string | null {
  const outcome = isAboutAssignment(member, facts) ? facts?.update?.outcome : null;
  if (outcome?.result === 'differs' && outcome.assignmentId === member.assignmentId)
    return `${outcome.code}: ${outcome.detail}`;
  return verdict?.verdict === 'differs_more_than_declared'
    ? `${verdict.code}: ${verdict.reasons.join('; ')}`
    : null;
}

/**
 * The device reports that it finished its trial and kept the release. The outcome itself may be
 * gone (the device drops it once acknowledged): idle on the release under this assignment means the
 * same.
 */
function reportsHealth(
  member: MemberRow,
  facts: DeviceFacts | undefined,
  release: ReleaseRef,
): boolean {
  const update = isAboutAssignment(member, facts) ? facts?.update : null;
  return update?.state === 'idle' && update.running?.digest === release.digest;
}

/**
 * Whole seconds since the latest of these times, counting only while the server could hear devices
 * (`receptionSince`). The one clock of soak, silence and deadline: time in which nobody listened
 * counts for none of them.
 */
export function secondsHeard(
  { now, receptionSince }: Moment,
  ...times: readonly (number | null | undefined)[]
): number {
  return Math.floor((now - Math.max(receptionSince, ...times.map((time) => time ?? 0))) / 1000);
}

/** Whole seconds since the device's last message, or since its assignment when that is later. */
export function silentSeconds(
  member: MemberRow,
  facts: DeviceFacts | undefined,
  moment: Moment,
): number {
  return secondsHeard(moment, facts?.lastSeenAt, member.assignedAt);
}

/** Whole seconds since the device's assignment; 0 without one. */
export function assignmentSeconds({ assignedAt }: MemberRow, moment: Moment): number {
  return assignedAt === null ? 0 : secondsHeard(moment, assignedAt);
}

/**
 * Revoked during the rollout: nothing more can be learned of it. One that had failed by then stays
 * a failure.
 */
const isOut = (member: MemberRow): boolean => member.state === 'lost' && !member.failed;

export interface Health {
  /** The release is worse than acceptable, with at most the policy's chance of error. */
  readonly halt: boolean;
  /** log of the largest value that the e-process reached. */
  readonly logE: number;
  /** The arithmetic, for an operator. */
  readonly reasons: string;
}

/** The halt test over `members` in the plan's fixed order. */
export function haltTest(members: readonly MemberRow[], policy: RolloutPolicy): Health {
  const touched = members.filter((member) => member.assignmentId !== null && !isOut(member));
  const failed = touched.filter((member) => member.failed).length;
  const best = largest(touched, new Set(members.map((member) => member.hardware)), policy);
  const goal = Math.log(1000 / policy.falseAlarmPermille);
  // A hair below the goal is the goal: 5 * 5 computed through logarithms must not miss 25.
  const halt = failed > 0 && best.logE >= goal - 1e-9;
  const prefix =
    best.devices < touched.length && failed > 0 ? ` (after the first ${best.devices} of them)` : '';
  return {
    halt,
    logE: best.logE,
    reasons:
      `${failed} of ${touched.length} ${audience(touched, policy)}failed; ` +
      `acceptable is ${percent(policy.acceptableFailurePermille / 1000)}; ` +
      `e-value ${number(best.logE)}${prefix} ${halt ? '>=' : '<'} ${number(goal)} = 1/alpha: ` +
      (halt ? 'halted' : 'not halted'),
  };
}

/**
 * The largest value of the e-process over all prefixes of `touched`, and how many devices that
 * prefix has. `kinds`: every kind of hardware of the rollout, touched or not, so that the weights
 * never change on the way.
 */
function largest(
  touched: readonly MemberRow[],
  kinds: ReadonlySet<string>,
  policy: RolloutPolicy,
): { logE: number; devices: number } {
  const p0 = policy.acceptableFailurePermille / 1000;
  const p1 = capped(policy.alarmingFailurePermille / 1000);
  const pooled = { hits: 0, count: 0 };
  const strata = new Map([...kinds].map((kind) => [kind, { hits: 0, count: 0 }]));
  let best = { logE: 0, devices: 0 };
  touched.forEach((member, index) => {
    for (const tally of [pooled, strata.get(member.hardware)]) {
      assert(tally !== undefined, 'every member has a stratum');
      tally.count += 1;
      tally.hits += member.failed ? 1 : 0;
    }
    const logE =
      kinds.size < 2
        ? logRatio(pooled, p0, p1)
        : logMean([
            { weight: POOLED_WEIGHT, log: logRatio(pooled, p0, p1) },
            ...[...strata.values()].map((tally) => ({
              weight: (1 - POOLED_WEIGHT) / kinds.size,
              log: logRatio(tally, p0, p1),
            })),
          ]);
    if (logE > best.logE) best = { logE, devices: index + 1 };
  });
  return best;
}

/** "canary devices ", or "devices " once the rollout is past its first wave. */
function audience(touched: readonly MemberRow[], policy: RolloutPolicy): string {
  const waves = new Set(touched.map((member) => member.wave));
  const [only] = waves;
  const name = waves.size === 1 && only !== undefined ? policy.waves[only]?.name : undefined;
  return name === undefined ? 'devices ' : `${name} devices `;
}

function number(log: number): string {
  return log > Math.log(1e6) ? '> 1,000,000' : Math.exp(log).toFixed(1);
}

export interface WaveVerdict {
  /**
   * `open`: some devices are undecided. `ok`: the rollout may advance. `inconclusive`: all devices
   * are decided, and an operator must decide.
   */
  readonly verdict: 'open' | 'ok' | 'inconclusive';
  readonly reasons: string;
}

/**
 * The advance rule: every device of the waves so far is confirmed, or its failure is accepted.
 * Accepted are: failures from before the rollout advanced to this wave, failures that an operator
 * has resumed past, and all failures, when the upper confidence limit (Clopper-Pearson, at the
 * policy's false alarm level) of the failure rate so far is below the alarming rate. The limit is
 * computed once a wave, when all of its devices are decided.
 */
export function waveVerdict(members: readonly MemberRow[], rollout: RolloutRow): WaveVerdict {
  const { policy, wave } = rollout;
  const name = policy.waves[wave]?.name ?? String(wave);
  const current = members.filter((member) => member.wave <= wave && !isOut(member));
  const open = current.filter((member) => !member.failed && member.state !== 'confirmed');
  const done = `wave ${name}: ${current.length - open.length} of ${current.length} devices decided`;
  if (open.length > 0) return { verdict: 'open', reasons: `${done}; waiting for ${listed(open)}` };
  const failures = failuresToAnswer(members, rollout);
  if (isHollow(members, rollout))
    return {
      verdict: 'inconclusive',
      reasons: `${done}; every device of this wave was revoked: there is no evidence`,
    };
  if (failures.length === 0) return { verdict: 'ok', reasons: done };
  const tested = current.filter((member) => member.assignmentId !== null);
  const tally = { hits: tested.filter((member) => member.failed).length, count: tested.length };
  const alarming = policy.alarmingFailurePermille / 1000;
  const bound = upperBound(tally, policy.falseAlarmPermille / 1000);
  const confidence = percent(1 - policy.falseAlarmPermille / 1000);
  const reasons =
    `${done}; ${tally.hits} of ${tally.count} failed: with ${confidence} confidence fewer ` +
    `than ${percent(bound)} of devices fail, and ${percent(alarming)} is alarming`;
  if (bound < alarming) return { verdict: 'ok', reasons };
  return {
    verdict: 'inconclusive',
    reasons: `${reasons}: shown neither bad nor good; failed: ${listed(failures)}`,
  };
}

/** Failures that are not accepted yet, also of earlier waves when the device failed later. */
export function failuresToAnswer(members: readonly MemberRow[], rollout: RolloutRow): MemberRow[] {
  const { wave, answeredAt } = rollout;
  return members.filter(
    (member) =>
      member.failed && member.wave <= wave && (answeredAt === null || member.since > answeredAt),
  );
}

/** The wave had devices and all of them were revoked: without an approval it must not pass. */
export function isHollow(members: readonly MemberRow[], rollout: RolloutRow): boolean {
  const own = members.filter((member) => member.wave === rollout.wave);
  return own.length > 0 && own.every(isOut) && !rollout.approved;
}

const LISTED_MAX = 5;
function listed(members: readonly MemberRow[]): string {
  const names = members
    .slice(0, LISTED_MAX)
    .map((member) => member.name)
    .join(', ');
  return members.length > LISTED_MAX ? `${names} and ${members.length - LISTED_MAX} more` : names;
}

/**
 * A sentence about the halt test's false alarm rate for a rollout of `devices`. With one kind of
 * hardware the chance is exact (dynamic programming); with several it is Ville's bound.
 */
export function promise(devices: number, strata: number, policy: RolloutPolicy): string {
  const p0 = policy.acceptableFailurePermille / 1000;
  const alpha = policy.falseAlarmPermille / 1000;
  const p1 = capped(policy.alarmingFailurePermille / 1000);
  const chance =
    strata > 1
      ? `at most ${percent(alpha)}`
      : `${percent(chanceOfReaching(1 / alpha, devices, p0, p1))} ` +
        `(exact; the bound is ${percent(alpha)})`;
  return (
    `a release that fails on ${percent(p0)} of devices would be halted ` +
    `in this rollout of ${devices} with chance ${chance}`
  );
}
