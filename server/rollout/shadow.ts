// Strategy `shadow`. Each device runs the release beside what it serves, answers copies of its own
// live requests with it, and reports the comparison; no client ever gets its answer. A device whose
// comparison is over is `shadowed`, and is assigned at once what it serves, so that it never looks
// as if it waited for the release. The end is a report: what the comparisons said, judged here from
// the evidence as in a trial. They halt nothing; a release that devices refuse, or that strands
// them, does. Pure.
import { limits } from '../../shared/base/limits.js';
import type { RolloutPolicy, ShadowView } from '../../shared/protocol/operator-api.js';
import type { MemberState } from '../../shared/protocol/states.js';
import { meanOf } from '../../shared/statistics/betting.js';
import type { ComparisonEvidence } from '../../shared/statistics/trial-evidence.js';
import { limitsOf } from '../../shared/statistics/trial-tests.js';
import {
  judgeTrial,
  type TrialEvidence,
  type TrialPolicy,
} from '../../shared/statistics/trial-verdict.js';
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

/** The last wave is done: the report, after those that are left were excused, some at a time. */
export function report(situation: Situation, progress: readonly string[]): Plan {
  const { rollout, members, now } = situation;
  const undecided = members.filter(({ state }) => UNDECIDED.includes(state));
  const left = undecided.slice(0, limits.conductorPageRowsMaxCount).map((member) => ({
    ...member,
    state: 'excused' as const,
    since: now,
    reasons: clip(`the shadow ended without it: ${member.reasons}`),
  }));
  const isEnd = left.length === undecided.length;
  return {
    rollout: isEnd
      ? moved(rollout, 'report', [...shadowText(situation), ...progress], now)
      : rollout,
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
type Verdict = keyof typeof MEANING;

interface Compared {
  readonly member: MemberRow;
  /** Null: another trial was reported since. */
  readonly evidence: TrialEvidence | null;
}

const comparedBy = ({ rollout, members, facts }: Situation, states: readonly MemberState[]) =>
  members
    .filter(({ state }) => states.includes(state))
    .map((member): Compared => {
      const trial = facts.get(member.device)?.trial;
      const isOurs = trial?.release.digest === rollout.release.digest;
      return { member, evidence: isOurs ? trial.evidence : null };
    });

/** Devices whose comparison is over, by what it says. */
function judged(situation: Situation): (readonly [Verdict, MemberRow[]])[] {
  const { trial } = situation.rollout.policy;
  const all = comparedBy(situation, ['shadowed']).map(({ member, evidence }) => ({
    member,
    verdict: evidence === null ? 'measuring' : judgeTrial(evidence, trial).verdict,
  }));
  return (Object.keys(MEANING) as Verdict[])
    .map((verdict) => {
      const same = all.filter((one) => one.verdict === verdict);
      return [verdict, same.map(({ member }) => member)] as const;
    })
    .filter(([, same]) => same.length > 0);
}

/** What the comparisons said so far; none for other strategies. */
export function shadowText(situation: Situation): string[] {
  const { rollout, members } = situation;
  if (!isShadow(rollout)) return [];
  const compared = members.filter(({ state }) => state === 'shadowed').length;
  const lines = judged(situation).flatMap(([verdict, same]) => {
    const [first] = same;
    if (first === undefined) return [];
    const why = verdict === 'pass' ? '' : `; ${first.name}: ${first.reasons}`;
    return [`${same.length} ${MEANING[verdict]}: ${listed(same)}${why}`];
  });
  return [
    `shadow: ${compared} of ${members.length} devices compared ${rollout.release.version} with ` +
      'what they serve; it answered no client',
    ...lines,
  ];
}

/** The same as numbers, and by output; null for other strategies. */
export function shadowView(situation: Situation): ShadowView | null {
  const { rollout, members } = situation;
  if (!isShadow(rollout)) return null;
  const outputs = new Map<string, Measured[]>();
  for (const { member, evidence } of comparedBy(situation, ['trial', 'shadowed']))
    for (const comparison of evidence?.comparisons ?? []) {
      if (comparison.pairs === 0) continue;
      const measured = { name: member.name, comparison, mean: meanOf(comparison.blocks) };
      outputs.set(comparison.output, [...(outputs.get(comparison.output) ?? []), measured]);
    }
  return {
    devices: members.length,
    compared: members.filter(({ state }) => state === 'shadowed').length,
    verdicts: judged(situation).map(([verdict, same]) => ({ verdict, devices: same.length })),
    outputs: [...outputs].map(([output, all]) => outputView(output, all, rollout.policy.trial)),
  };
}

interface Measured {
  /** Of the device. */
  readonly name: string;
  readonly comparison: ComparisonEvidence;
  readonly mean: number;
}

function outputView(
  output: string,
  all: readonly Measured[],
  policy: TrialPolicy,
): ShadowView['outputs'][number] {
  const worst = all.reduce((most, one) => (one.mean > most.mean ? one : most));
  const within = all.map(({ comparison }) => limitsOf(comparison, policy));
  return {
    output,
    devices: all.length,
    pairs: all.reduce((sum, { comparison }) => sum + comparison.pairs, 0),
    mean: all.reduce((sum, { mean }) => sum + mean, 0) / all.length,
    worst: worst.mean,
    worstDevice: worst.name,
    limit: Math.min(...within.map(({ limit }) => limit)),
    cap: Math.min(...within.map(({ cap }) => cap)),
  };
}

/** What an operator should know before it begins. */
export const shadowWarnings = ({ strategy }: RolloutPolicy): string[] =>
  strategy === 'shadow'
    ? ['no device serves it: each compares it with what it serves, and what differs is reported']
    : [];
