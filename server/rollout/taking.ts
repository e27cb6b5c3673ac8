// May this device take the release now? Asked when the device asks for its metadata (assignment on
// contact, decisions.md R1): nothing is assigned to a device that is not talking, and no more
// devices have the release undecided than the window allows. Pure.
import type { DeviceFacts, MemberCount, MemberRow, RolloutRow } from '../interfaces.js';
import type { ReleaseRef } from '../../shared/release/release-ref.js';
import { assignmentOf, type Plan, type Situation } from './situation.js';
import { lastTake, paused, rateRoom, recentTakes } from './pace.js';
import { isTalking, type Moment } from './verdict.js';
import { runsAlready } from './forward.js';
import { countsOf, room, roomInAll } from './window.js';

export interface Contact extends Moment {
  readonly rollout: RolloutRow;
  readonly member: MemberRow;
  readonly facts: DeviceFacts | undefined;
  readonly counts: readonly MemberCount[];
  readonly published: ReadonlySet<string>;
  /** When the takesPerHour-th of the last takes was; null when there were fewer. */
  readonly lastTake: number | null;
  /** It has taken a release in another rollout, which is undecided. */
  readonly isUndecidedElsewhere: boolean;
}

/** The device takes the release with this change; null when it must not, or not yet. */
export function take(contact: Contact): Plan | null {
  const { rollout, member, facts, counts, published, now } = contact;
  const isOpen = rollout.state === 'rolling' ? member.wave <= rollout.wave : isStanding(rollout);
  if (!isOpen || member.state !== 'waiting' || contact.isUndecidedElsewhere) return null;
  if (runsAlready(facts, rollout, contact)) return null;
  if (paused(rollout.policy, contact.lastTake, now) !== null) return null;
  if (room(rollout, counts, member.hardware) === 0) return null;
  const previous = replacedBy(rollout.release, facts, published);
  const { version, digest } = rollout.release;
  const mayRun = [facts?.update?.running, facts?.standing?.release].some(
    (ref) => ref?.digest === digest,
  );
  const reasons =
    previous === null
      ? `took ${version}; no previous release is known`
      : `took ${version} in place of ${previous.version}`;
  return {
    rollout,
    members: [{ ...member, state: 'taken', since: now, previous, mayRun, reasons, silence: null }],
    assignments: [assignmentOf(rollout, member.device, rollout.release, false)],
    takes: [member.device],
  };
}

/** A completed rollout is a standing release: devices that come later take it, unless it alarms. */
const isStanding = ({ state, asked }: RolloutRow): boolean => state === 'completed' && !asked;

/**
 * What the device would be rolled back to: the release of a rollback that is still under way,
 * before what it reports to run meanwhile.
 */
function replacedBy(
  release: ReleaseRef,
  facts: DeviceFacts | undefined,
  published: ReadonlySet<string>,
): ReleaseRef | null {
  const rollingBackTo = facts?.standing?.rollback === true ? facts.standing.release : null;
  const candidates = [rollingBackTo, facts?.update?.running, facts?.update?.previous];
  return (
    candidates.find((ref) => ref && ref.digest !== release.digest && published.has(ref.digest)) ??
    null
  );
}

/** What taking depends on beside the waiting devices themselves. */
export interface Taken {
  /** Of all members. */
  readonly counts: readonly MemberCount[];
  /** When the takesPerHour-th of the last takes was; null when there were fewer. */
  readonly lastTake: number | null;
  /** Within the last hour. */
  readonly recentTakes: number;
}

/** Waiting devices that may take the release when they ask now, in their order. */
export function toAsk(
  situation: Situation,
  { counts, lastTake: last, recentTakes: recent }: Taken = takenOf(situation),
): string[] {
  const { rollout, now } = situation;
  if (paused(rollout.policy, last, now) !== null) return [];
  return candidates(situation, counts).slice(0, rateRoom(rollout.policy, recent));
}

const takenOf = ({ rollout, members, now }: Situation): Taken => ({
  counts: countsOf(members),
  lastTake: lastTake(members, rollout.policy.takesPerHour),
  recentTakes: recentTakes(members, now),
});

/** Whether devices may take it at all now, but for the window and the pace. */
export const isOffered = (rollout: RolloutRow): boolean =>
  rollout.state === 'rolling' || isStanding(rollout);

/** Waiting devices that are heard, in their order, as many as the window has room for. */
export function candidates(
  situation: Situation,
  counts: readonly MemberCount[] = countsOf(situation.members),
): string[] {
  const { rollout, members, facts } = situation;
  if (!isOffered(rollout)) return [];
  let free = roomInAll(rollout, counts);
  const ofKind = new Map<string, number>();
  const asked: string[] = [];
  for (const { device, hardware, wave, state } of members) {
    if (free === 0) break;
    if (state !== 'waiting' || (rollout.state === 'rolling' && wave > rollout.wave)) continue;
    if (!isTalking(facts.get(device), rollout, situation)) continue;
    const left = ofKind.get(hardware) ?? room(rollout, counts, hardware);
    ofKind.set(hardware, Math.max(0, left - 1));
    if (left === 0) continue;
    free--;
    asked.push(device);
  }
  return asked;
}
