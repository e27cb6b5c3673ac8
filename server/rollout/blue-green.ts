// Strategy `blue-green`. Through the waves and the window, devices download, verify, probe and
// rehearse the release, and go on serving what they ran: each is `ready` then. When every wave is
// ready, one go lets all of them swap: what is assigned to each of them changes, under the id that
// it has already, for 1,000 of them in a transaction (updates.ts). From then on the rollout is
// watched as any other, and a device that failed, or all of them, go back by one write each. The
// window does not limit how many serve the release undecided: that is what this strategy is chosen
// for, and the preview says so. Pure.
import type { RolloutPolicy } from '../../shared/protocol/operator-api.js';
import type { DeviceFacts, MemberRow, RolloutRow } from '../interfaces.js';
import { listed, moved, only, type Plan, type Situation } from './situation.js';
import {
  assignmentSeconds,
  badNews,
  heard,
  lateText,
  silent,
  takenText,
  UNDECIDED,
  type Moment,
  type Observation,
} from './verdict.js';

/** What is true of a member before the go. Revoked devices are the caller's. */
export function observePreparing(
  member: MemberRow,
  facts: DeviceFacts | undefined,
  { policy, release }: RolloutRow,
  moment: Moment,
): Observation {
  const bad = badNews(member, facts, release);
  if (bad !== null) return bad;
  // A ready device that is not heard, or restarts and prepares again, is ready all the same.
  if (member.state === 'ready') return { state: 'ready', reasons: member.reasons };
  const quiet = silent(member, facts, policy, moment);
  if (quiet !== null) return quiet;
  const { state, running } = facts?.update ?? {};
  if (heard(member, facts) && state === 'rehearsed')
    return {
      state: 'ready',
      reasons: `holds ${release.version}; serves ${running?.version ?? 'nothing'} until the go`,
    };
  return assignmentSeconds(member, moment) > policy.deviceDeadlineSeconds
    ? { state: 'excused', reasons: lateText('ready', policy, facts) }
    : { state: 'taken', reasons: takenText(facts) };
}

/** The last wave is ready: the go, or a person is asked for it. */
export function go({ rollout, members, now }: Situation, progress: readonly string[]): Plan {
  const ready = members.filter(({ state }) => state === 'ready');
  const others = members.filter(({ state }) => state === 'waiting' || UNDECIDED.includes(state));
  const reasons = [
    `${ready.length} of ${members.length} devices hold ${rollout.release.version} and are ready`,
    ...(others.length === 0 ? [] : [`${others.length} swap when they are: ${listed(others)}`]),
  ];
  if (rollout.policy.blueGreen?.go === 'ask' && !rollout.approved) {
    const choice =
      'resume gives the go: all of them swap; abort takes the release back, and nothing was served';
    return only(moved(rollout, 'ask', [...progress, ...reasons, choice], now, { asked: true }));
  }
  return only(moved(rollout, 'go', ['the go was given', ...reasons], now, { goAt: now }));
}

/** What an operator should know before it begins. */
export function blueGreenWarnings({ blueGreen }: RolloutPolicy): string[] {
  if (blueGreen === undefined) return [];
  const when = blueGreen.go === 'auto' ? 'without asking' : 'when a person gives the go';
  return [
    `all devices prepare it through these waves, then swap at once ${when}: ` +
      'the window limits how many prepare it, not how many serve it undecided',
  ];
}
