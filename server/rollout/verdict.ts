// The verdict on one member of a rollout, from what its device reported. Pure. A device's own word
// is believed only when it is bad news: health needs evidence that the server judges again with the
// same function as the device. Silence is neither failure nor health. Trouble from before the first
// start of the release is nobody's failure; from then on every trouble is the release's. What
// follows for the rollout is decided in halt.ts, window.ts and plan.ts.
import type { FaultCode } from '../../shared/base/fault-codes.js';
import { limits } from '../../shared/base/limits.js';
import type { MemberState } from '../../shared/protocol/states.js';
import type { RolloutPolicy } from '../../shared/protocol/operator-api.js';
import type { TrialBody } from '../../shared/protocol/telemetry.js';
import type { ReleaseRef } from '../../shared/release/release-ref.js';
import {
  judgeTrial,
  type TrialEvidence,
  type TrialVerdict,
} from '../../shared/statistics/trial-verdict.js';
import type { DeviceFacts, FirstSilence, MemberRow, RolloutRow } from '../interfaces.js';

/** When a judgement is made. */
export interface Moment {
  readonly now: number;
  /**
   * Since when the server has heard devices without a break (reception.ts): what it could not hear
   * is no device's silence.
   */
  readonly receptionSince: number;
}

/** What is now true of a member that took the release. */
export interface Observation {
  readonly state: MemberState;
  readonly reasons: string;
}

/** Members in these states have the release, and nothing is decided: each holds a place. */
export const UNDECIDED: readonly MemberState[] = ['taken', 'trial', 'unproven', 'silent'];

export const isRevoked = (facts: DeviceFacts | undefined): boolean => facts?.status === 'revoked';

export const REVOKED: Observation = {
  state: 'excused',
  reasons: 'revoked: it takes no further part, and counts neither for nor against the release',
};

/**
 * `member` took the release in this rollout and is undecided, or is confirmed; only reports about
 * that very assignment count.
 */
export function observe(
  member: MemberRow,
  facts: DeviceFacts | undefined,
  rollout: RolloutRow,
  moment: Moment,
): Observation {
  if (isRevoked(facts)) return REVOKED;
  const { policy, release } = rollout;
  const bad = badNews(member, facts, release);
  if (bad !== null) return bad;
  const verdict = verdictOn(member, facts, rollout);
  if (verdict?.verdict === 'fail') {
    const claim = claimsHealth(member, facts, release)
      ? 'the device calls it healthy, its evidence does not: '
      : '';
    return { state: 'failed', reasons: `${verdict.code}: ${claim}${verdict.reasons.join('; ')}` };
  }
  if (verdict?.verdict === 'differs_more_than_declared')
    return { state: 'differs', reasons: `${verdict.code}: ${verdict.reasons.join('; ')}` };
  if (member.proven) return { state: 'confirmed', reasons: member.reasons };
  const quiet = silent(member, facts, policy, moment);
  if (quiet !== null && isFlapping(member, facts))
    return { state: 'failed', reasons: `${FLAPPING}; ${quiet.reasons}` };
  if (quiet !== null) return quiet;
  if (member.state === 'confirmed') return { state: 'confirmed', reasons: member.reasons };
  return undecided(member, facts, rollout, moment, verdict);
}

/** The device is not heard for longer than the policy allows; null while it is. */
export function silent(
  member: MemberRow,
  facts: DeviceFacts | undefined,
  { silentAfterSeconds }: RolloutPolicy,
  moment: Moment,
): Observation | null {
  const silence = silentSeconds(member, facts, moment);
  return silence > silentAfterSeconds
    ? { state: 'silent', reasons: `not heard for ${silence} s; last: ${lastText(member)}` }
    : null;
}

const FLAPPING =
  'flapping: silent for the second time in one trial, and its agent or its model process ' +
  'restarted in between';

/** What to remember of a silence in a trial: the first one stays. */
export function silenceOf(member: MemberRow, facts: DeviceFacts | undefined): FirstSilence | null {
  if (member.silence !== null || member.state !== 'trial') return member.silence;
  return { instance: facts?.instance ?? null, modelFaults: modelFaultsOf(member, facts) };
}

/** Silence alone is never a failure; twice, with a restart in between, the release is the cause. */
function isFlapping(member: MemberRow, facts: DeviceFacts | undefined): boolean {
  const { silence, state } = member;
  if (silence === null || state !== 'trial') return false;
  return (
    (facts?.instance ?? null) !== silence.instance ||
    modelFaultsOf(member, facts) > silence.modelFaults
  );
}

const modelFaultsOf = (member: MemberRow, facts: DeviceFacts | undefined): number =>
  facts?.trial?.assignmentId === member.assignmentId ? facts.trial.evidence.modelFaults : 0;

/**
 * A device that returns from a silence in its trial is watched for the least time of a trial again.
 * Its evidence stays: an agent that finished its trial meanwhile gathers no more.
 */
function isBack(member: MemberRow, { policy }: RolloutRow, moment: Moment): boolean {
  if (member.silence === null) return true;
  return member.state === 'trial' && secondsHeard(moment, member.since) >= policy.trial.minSeconds;
}

const SILENT = /^not heard for \d+ s; last: /;
const lastText = ({ reasons }: MemberRow): string => reasons.replace(SILENT, '');

function undecided(
  member: MemberRow,
  facts: DeviceFacts | undefined,
  rollout: RolloutRow,
  moment: Moment,
  verdict: TrialVerdict | null,
): Observation {
  const { policy, release } = rollout;
  const claimed = claimsHealth(member, facts, release);
  // An assignment for what runs already is answered at once, and no trial follows that could prove
  // anything.
  if (claimed && verdict === null && member.mayRun)
    return { state: 'confirmed', reasons: 'ran this release already' };
  if (claimed && verdict?.verdict === 'pass')
    return isBack(member, rollout, moment)
      ? { state: 'confirmed', reasons: verdict.reasons.join('; ') }
      : { state: 'trial', reasons: 'back after a silence: its trial begins again' };
  const isLate = assignmentSeconds(member, moment) > policy.deviceDeadlineSeconds;
  const evidence = verdict?.reasons.join('; ') ?? 'no trial was reported';
  if (verdict?.verdict === 'unproven' || (isLate && hasStarted(member, facts, verdict)))
    return { state: 'unproven', reasons: `it keeps the release, its trial goes on: ${evidence}` };
  if (isLate) return { state: 'excused', reasons: lateText('begun', policy, facts) };
  if (claimed)
    return {
      state: 'trial',
      reasons: 'the device calls it healthy; its evidence is not here or does not prove it yet',
    };
  if (hasStarted(member, facts, verdict)) return { state: 'trial', reasons: 'on trial' };
  return { state: 'taken', reasons: takenText(facts) };
}

/** "not begun 300 s after its assignment: disk_full: …". */
export const lateText = (
  what: string,
  { deviceDeadlineSeconds }: RolloutPolicy,
  facts: DeviceFacts | undefined,
): string =>
  `not ${what} ${deviceDeadlineSeconds} s after its assignment: ` +
  (troubleText(facts) ?? stateText(facts));

export function takenText(facts: DeviceFacts | undefined): string {
  const trouble = troubleText(facts);
  return trouble === null ? 'has its assignment' : `has its assignment; ${trouble}`;
}

/** The trouble that keeps a device from its assignment, as it reports it; null without. */
export function troubleText(facts: DeviceFacts | undefined): string | null {
  const trouble = facts?.update?.trouble ?? null;
  return trouble === null ? null : `${trouble.code}: ${trouble.detail}`;
}

const stateText = (facts: DeviceFacts | undefined): string =>
  `it is ${facts?.update?.state ?? 'in no known state'}`;

/** The first byte of the release was executed: in its probe, at the latest. */
function hasStarted(
  member: MemberRow,
  facts: DeviceFacts | undefined,
  verdict: TrialVerdict | null,
): boolean {
  if (member.state === 'trial' || member.state === 'ready' || verdict !== null) return true;
  const state = heard(member, facts) ? facts?.update?.state : undefined;
  return state === 'probed' || state === 'rehearsed' || state === 'swapped';
}

/** The server's own judgement of the evidence for this assignment; null where there is none. */
export function verdictOn(
  member: MemberRow,
  facts: DeviceFacts | undefined,
  { policy, release }: RolloutRow,
): TrialVerdict | null {
  const reported = facts?.trial ?? null;
  if (reported?.assignmentId !== member.assignmentId) return null;
  if (reported.release.digest !== release.digest) return null;
  return judgeTrial(evidenceOf(member, reported), policy.trial);
}

/**
 * What the server knows to be replaced is replaced, whatever the device says: no release passes
 * uncompared as a first install.
 */
function evidenceOf(member: MemberRow, { evidence }: TrialBody): TrialEvidence {
  return member.previous !== null && !evidence.replaces
    ? { ...evidence, replaces: true }
    : evidence;
}

/** The device's last update report, where it is about the member's own assignment. */
export function heard(member: MemberRow, facts: DeviceFacts | undefined): boolean {
  return member.assignmentId !== null && facts?.update?.assignmentId === member.assignmentId;
}

/**
 * Ends of an assignment that the release did not cause: the device, its disk, its clock, the
 * network or the server. They come before the first start of the release.
 */
const NOT_THE_RELEASE: readonly string[] = [
  'auth_denied',
  'auth_missing',
  'contract_disk',
  'disk_failed',
  'disk_full',
  'fetch_interrupted',
  'file_digest',
  'file_length',
  'hardware_unsupported',
  'metadata_expired',
  'metadata_mismatch',
  'metadata_rollback',
  'metadata_signature',
  'retries_spent',
  'server_unreachable',
  'shadow_needs_serving',
  'target_mismatch',
  'target_unknown',
  'version_floor',
  'writes_spent',
] satisfies FaultCode[];

/** The bytes of the release on the device are not the signed ones any more. */
const DAMAGE: readonly string[] = ['file_digest', 'file_length'] satisfies FaultCode[];

export function badNews(
  member: MemberRow,
  facts: DeviceFacts | undefined,
  release: ReleaseRef,
): Observation | null {
  const update = heard(member, facts) ? facts?.update : null;
  if (update === null || update === undefined) return null;
  const { outcome } = update;
  if (outcome?.assignmentId === member.assignmentId && outcome.result !== 'confirmed') {
    const code = outcome.code === null ? '' : `, ${outcome.code}`;
    const reasons = `${outcome.result} by the device${code}: ${outcome.detail}`;
    if (outcome.result === 'differs') return { state: 'differs', reasons };
    // Its copy was damaged after the release had proven itself there: it takes it again.
    if (member.state === 'confirmed' && DAMAGE.includes(outcome.code ?? ''))
      return { state: 'waiting', reasons };
    const isExcused =
      outcome.result !== 'rolled_back' &&
      NOT_THE_RELEASE.includes(outcome.code ?? '') &&
      !hasStarted(member, undefined, null);
    return { state: isExcused ? 'excused' : 'failed', reasons };
  }
  if (update.state === 'stranded')
    return { state: 'failed', reasons: 'stranded: no release loads on it' };
  if (member.state === 'confirmed' && update.running?.digest !== release.digest) {
    const now = update.running?.version ?? 'nothing';
    return { state: 'failed', reasons: `was confirmed, but now runs ${now}` };
  }
  return null;
}

/**
 * The device finished its trial and kept the release. Its outcome may be gone already (it is
 * dropped once acknowledged): at rest on the release, under this assignment, says the same.
 */
function claimsHealth(
  member: MemberRow,
  facts: DeviceFacts | undefined,
  release: ReleaseRef,
): boolean {
  const update = heard(member, facts) ? facts?.update : null;
  return update?.state === 'idle' && update.running?.digest === release.digest;
}

/** The device never answered its assignment within the time for it: it holds it no more. */
export function isUntaken(
  member: MemberRow,
  facts: DeviceFacts | undefined,
  moment: Moment,
): boolean {
  return (
    (member.state === 'taken' || member.state === 'silent') &&
    !heard(member, facts) &&
    facts?.trial?.assignmentId !== member.assignmentId &&
    assignmentSeconds(member, moment) * 1000 > limits.takeWaitMs
  );
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

/** The device was heard lately: it can be asked, and would ask. */
export function isTalking(
  facts: Pick<DeviceFacts, 'lastSeenAt'> | undefined,
  { policy }: RolloutRow,
  { now }: Moment,
): boolean {
  const spoke = facts?.lastSeenAt ?? null;
  return spoke !== null && now - spoke <= policy.silentAfterSeconds * 1000;
}
