// A rollout on its way back: after a halt, an abort or an undo, every device that took the release
// gets back what it ran before. After a halt all at once; an undo of a completed rollout goes
// through the same window as the way forward, because the older release, too, is a change.
import { limits } from '../../shared/base/limits.js';
import type { DeviceFacts, MemberRow, RolloutRow } from '../interfaces.js';
import type { MemberState } from '../../shared/protocol/states.js';
import type { ReleaseRef } from '../../shared/release/release-ref.js';
import { assignmentBack, clip, moved, only, type Plan, type Situation } from './situation.js';
import { assignmentSeconds, isRevoked, isTalking, silentSeconds, type Moment } from './verdict.js';
import { startWindow } from './window.js';

/** It took the release, and was not told to go back. */
export const FORWARD: readonly MemberState[] = [
  'taken',
  'ready',
  'trial',
  'unproven',
  'confirmed',
  'shadowed',
  'silent',
  'failed',
  'differs',
  'excused',
];

/**
 * Assigns to every device of this rollout what it ran before; also to one that has rolled back by
 * itself, so that its assignment agrees with it. A device that had run nothing gets what stood
 * before, where it may; else nothing.
 */
export function assignBack(situation: Situation): Plan | null {
  const { rollout, members, facts, before, now } = situation;
  const reachable = (member: MemberRow): boolean => !isRevoked(facts.get(member.device));
  const left = members.filter(
    (member) => member.assignmentId !== null && FORWARD.includes(member.state) && reachable(member),
  );
  // The rest comes with the next steps: the rollout's state goes on to say that all go back.
  const touched = (rollout.undo ? withinWindow(left, situation) : left)
    .slice(0, limits.conductorPageRowsMaxCount)
    .map((member) => ({ ...member, previous: member.previous ?? before }));
  if (touched.length === 0) return null;
  return {
    rollout,
    members: touched.map((member) => ({
      ...member,
      state: 'reverting' as const,
      since: now,
      reasons: withCause(
        member,
        member.previous === null
          ? 'assignment withdrawn'
          : `assigned ${member.previous.version} again`,
      ),
    })),
    assignments: touched.map((member) => assignmentBack(rollout, member)),
  };
}

/**
 * Devices that are not heard get their assignment at once, for when they return; of the others at
 * most as many are on their way as are back already.
 */
function withinWindow(left: readonly MemberRow[], situation: Situation): MemberRow[] {
  const { rollout, members, facts } = situation;
  const isHeard = (member: MemberRow): boolean =>
    isTalking(facts.get(member.device), rollout, situation);
  const back = members.filter(({ state }) => state === 'reverted').length;
  const under = members.filter((member) => member.state === 'reverting' && isHeard(member)).length;
  const size = Math.max(startWindow(rollout.policy, members.length), back);
  const free = Math.max(0, size - under);
  return [...left.filter((member) => !isHeard(member)), ...left.filter(isHeard).slice(0, free)];
}

const BECAUSE = '; failed before: ';
/** The news of a member, followed by why it failed, if it did: that reason is kept for good. */
function withCause(member: MemberRow, news: string): string {
  const at = member.reasons.indexOf(BECAUSE);
  const cause = at < 0 ? member.reasons : member.reasons.slice(at + BECAUSE.length);
  return clip(member.failed ? news + BECAUSE + cause : news);
}

export function watchBack(situation: Situation): Plan | null {
  const { rollout, members, facts, now } = situation;
  const changed = members.flatMap((member): MemberRow[] => {
    const report = facts.get(member.device);
    const cutOff =
      member.assignmentId !== null && FORWARD.includes(member.state) && isRevoked(report);
    if (cutOff)
      return [{ ...member, state: 'lost', since: now, reasons: withCause(member, LOST_REVOKED) }];
    if (member.state !== 'reverting' && member.state !== 'lost') return [];
    if (isBack(member, report, rollout.release)) {
      return [
        {
          ...member,
          state: 'reverted',
          since: now,
          reasons: withCause(member, backText(member, report)),
        },
      ];
    }
    const lost = member.state === 'reverting' ? lostText(member, report, rollout, situation) : null;
    return lost === null
      ? []
      : [{ ...member, state: 'lost', since: now, reasons: withCause(member, lost) }];
  });
  return changed.length === 0 ? null : { rollout, members: changed, assignments: [] };
}

/**
 * Back means: idle on the previous release, and the device has reported the id of the rollback
 * assignment, so that an earlier assignment cannot overtake it. A withdrawn assignment has no id to
 * report: there, the device must have been heard since, idle and no longer on the release.
 */
function isBack(member: MemberRow, facts: DeviceFacts | undefined, release: ReleaseRef): boolean {
  const update = facts?.update;
  if (update === null || update === undefined) return false;
  if (member.previous !== null) {
    return (
      update.state === 'idle' &&
      update.running?.digest === member.previous.digest &&
      update.assignmentId === member.assignmentId
    );
  }
  const heardSince = (facts?.lastSeenAt ?? 0) > (member.assignedAt ?? Number.POSITIVE_INFINITY);
  return (
    heardSince &&
    (update.state === 'idle' || update.state === 'stranded') &&
    update.running?.digest !== release.digest
  );
}

function backText(member: MemberRow, facts: DeviceFacts | undefined): string {
  if (member.previous !== null) return `runs ${member.previous.version} again`;
  return `assignment withdrawn; runs ${facts?.update?.running?.version ?? 'nothing, as before'}`;
}

const LOST_REVOKED = 'lost: revoked, so no assignment reaches it';

function lostText(
  member: MemberRow,
  facts: DeviceFacts | undefined,
  { policy }: RolloutRow,
  moment: Moment,
): string | null {
  if (isRevoked(facts)) return LOST_REVOKED;
  const { silentAfterSeconds, deviceDeadlineSeconds } = policy;
  const stays = 'its rollback stays assigned, and it rolls back when it returns';
  const silence = silentSeconds(member, facts, moment);
  if (silence > silentAfterSeconds) return `lost: silent for ${silence} s; ${stays}`;
  const age = assignmentSeconds(member, moment);
  return age > deviceDeadlineSeconds
    ? `lost: not back within ${deviceDeadlineSeconds} s; ${stays}`
    : null;
}

export function settle({ rollout, members, facts, now }: Situation): Plan | null {
  const isUnderWay = ({ state, assignmentId }: MemberRow): boolean =>
    state === 'reverting' || (assignmentId !== null && FORWARD.includes(state));
  if (members.some(isUnderWay)) return null;
  const lost = members.filter((member) => member.state === 'lost' && member.assignmentId !== null);
  const revoked = lost.filter((member) => isRevoked(facts.get(member.device)));
  const awaited = lost.filter((member) => !revoked.includes(member));
  const back = members.filter((member) => member.state === 'reverted').length;
  const count = `${back} of ${back + lost.length} touched devices are back on what they ran before`;
  const named = (some: readonly MemberRow[], what: string): string[] =>
    some.length === 0 ? [] : [`${what}: ${some.map((member) => member.name).join(', ')}`];
  const reasons = [
    count,
    ...named(awaited, 'lost, with their rollback still assigned'),
    ...named(revoked, 'lost, because they were revoked'),
  ].join('; ');
  // The reasons for the rollback stay readable in the final state.
  return only(moved(rollout, 'settled', [...rollout.reasons, reasons], now));
}
