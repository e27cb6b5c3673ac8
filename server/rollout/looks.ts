// When a member is looked at next, where nothing is reported of it until then. Pure. Never later
// than the first moment in which the passing of time alone changes it (forward.ts, backward.ts); a
// device that is heard meanwhile is looked at, found talking, and looked at later again.
import { limits } from '../../shared/base/limits.js';
import type { DeviceFacts, MemberRow, RolloutRow } from '../interfaces.js';
import { UNDECIDED, type Moment } from './verdict.js';

/** ms since the epoch; null: time alone changes nothing. */
export function nextLook(
  member: MemberRow,
  facts: DeviceFacts | undefined,
  rollout: Pick<RolloutRow, 'policy'>,
  moment: Moment,
): number | null {
  const times = changesOf(member, facts, rollout, moment).filter((at) => at > moment.now);
  return times.length === 0 ? null : Math.min(...times);
}

function changesOf(
  member: MemberRow,
  facts: DeviceFacts | undefined,
  { policy }: Pick<RolloutRow, 'policy'>,
  { receptionSince }: Moment,
): number[] {
  const { state, assignedAt, since } = member;
  const from = (...times: (number | null | undefined)[]): number =>
    Math.max(receptionSince, ...times.map((time) => time ?? 0));
  const silent = from(facts?.lastSeenAt, assignedAt) + beyondMs(policy.silentAfterSeconds);
  const late = from(assignedAt) + beyondMs(policy.deviceDeadlineSeconds);
  if (state === 'reverting') return [silent, late];
  if (state === 'confirmed') {
    const soakSeconds = policy.waves[member.wave]?.soakSeconds ?? 0;
    return member.proven ? [] : [silent, from(since) + soakSeconds * 1000];
  }
  if (!UNDECIDED.includes(state)) return [];
  const untaken = from(assignedAt) + beyondMs(limits.takeWaitMs / 1000);
  return [silent, late, untaken, from(since) + policy.trial.minSeconds * 1000];
}

/** After so many ms the whole seconds that have passed are more than `seconds`. */
const beyondMs = (seconds: number): number => (Math.floor(seconds) + 1) * 1000;
