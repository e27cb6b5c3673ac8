// Strategy `shadow`. Each device runs the release beside what it serves, answers copies of its own
// live requests with it, and reports the comparison; no client ever gets its answer. A device whose
// comparison is over is `shadowed`, and is assigned at once what it serves, so that it never looks
// as if it waited for the release. The end is a report: what the comparisons said, judged here from
// the evidence as in a trial. They halt nothing; a release that devices refuse, or that strands
// them, does. Pure.
import type { RolloutPolicy } from '../../shared/protocol/operator-api.js';
import { judgeTrial } from '../../shared/statistics/trial-verdict.js';
import type { AssignmentChange, DeviceFacts, MemberRow, RolloutRow } from '../interfaces.js';
import { assignmentBack, clip, listed, moved, type Plan, type Situation } from './situation.js';
import { isShadow } from './strategies.js';
import {
  assignmentSeconds,
  badNews,
  heard,
  lateText,
  silent,
  takenText,
  UNDECIDED,
  verdictOn,
  type Moment,
  type Observation,
} from './verdict.js';

/** What is true of a member that compares. Revoked devices are the caller's. */
export function observeShadow(
  member: MemberRow,
  facts: DeviceFacts | undefined,
  rollout: RolloutRow,
  moment: Moment,
): Observation {
  const { policy, release } = rollout;
  const update = heard(member, facts) ? facts?.update : null;
  const outcome = update?.outcome ?? null;
  const verdict = verdictOn(member, facts, rollout);
  if (outcome?.assignmentId === member.assignmentId && outcome.result === 'shadowed') {
    const reasons = verdict?.reasons.join('; ') ?? outcome.detail;
    return { state: 'shadowed', reasons: `${verdict?.verdict ?? 'no evidence'}: ${reasons}` };
  }
  const bad = badNews(member, facts, release);
  if (bad !== null) return bad;
  const quiet = silent(member, facts, policy, moment);
  if (quiet !== null) return quiet;
  if (assignmentSeconds(member, moment) > policy.deviceDeadlineSeconds)
    return { state: 'excused', reasons: lateText('compared', policy, facts) };
  return update?.state === 'shadowing' || verdict !== null
    ? { state: 'trial', reasons: 'runs beside what serves; answers copies of live requests' }
    : { state: 'taken', reasons: takenText(facts) };
}

/** Members that are decided are assigned what they serve; the others keep the shadow. */
export function afterShadow(
  rollout: RolloutRow,
  members: readonly MemberRow[],
): AssignmentChange[] {
  const isOver = ({ state, assignmentId }: MemberRow): boolean =>
    assignmentId !== null && state !== 'waiting' && !UNDECIDED.includes(state);
  return members.filter(isOver).map((member) => assignmentBack(rollout, member));
}

/** The last wave is done: the report. */
export function report(situation: Situation, progress: readonly string[]): Plan {
  const { rollout, members, now } = situation;
  const left = members
    .filter(({ state }) => UNDECIDED.includes(state))
    .map((member) => ({
      ...member,
      state: 'excused' as const,
      since: now,
      reasons: clip(`the shadow ended without it: ${member.reasons}`),
    }));
  return {
    rollout: moved(rollout, 'report', [...shadowText(situation), ...progress], now),
    members: left,
    assignments: afterShadow(rollout, left),
  };
}

const MEANING = {
  pass: 'would be confirmed',
  unproven: 'would keep it unproven',
  differs_more_than_declared: 'differ more than declared',
  fail: 'would roll it back',
  measuring: 'compared too little',
} as const;

/** What the comparisons said so far; none for other strategies. */
export function shadowText({ rollout, members, facts }: Situation): string[] {
  if (!isShadow(rollout)) return [];
  const { digest, version } = rollout.release;
  const compared = members
    .filter(({ state }) => state === 'shadowed')
    .map((member) => {
      const trial = facts.get(member.device)?.trial;
      const isOurs = trial?.release.digest === digest;
      return { member, judged: isOurs ? judgeTrial(trial.evidence, rollout.policy.trial) : null };
    });
  const lines = (Object.keys(MEANING) as (keyof typeof MEANING)[]).flatMap((verdict) => {
    const same = compared.filter(({ judged }) => (judged?.verdict ?? 'measuring') === verdict);
    const [first] = same;
    if (first === undefined) return [];
    const why = verdict === 'pass' ? '' : `; ${first.member.name}: ${first.member.reasons}`;
    const names = listed(same.map(({ member }) => member));
    return [`${same.length} ${MEANING[verdict]}: ${names}${why}`];
  });
  return [
    `shadow: ${compared.length} of ${members.length} devices compared ${version} with what they ` +
      'serve; it answered no client',
    ...lines,
  ];
}

/** What an operator should know before it begins. */
export const shadowWarnings = ({ strategy }: RolloutPolicy): string[] =>
  strategy === 'shadow'
    ? ['no device serves it: each compares it with what it serves, and what differs is reported']
    : [];
