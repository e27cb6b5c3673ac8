// Whether all members together can decide anything now: asked before a rollout is read whole. Pure.
// From counts and a few signs it shows that wholeStep (plan.ts) returns null; where it cannot, it
// says that the rollout is not quiet, and the conductor reads all of it. So an error here delays a
// step, and never changes one. Every reason of that step is named here, in its order.
import type { DeviceFacts, MemberCount, MemberRow, RolloutRow } from '../interfaces.js';
import type { Situation } from './situation.js';
import { UNDECIDED } from './verdict.js';

/** What is known without the members. */
export interface Signs {
  /** Of all members. */
  readonly counts: readonly MemberCount[];
  /** More takes failed than when the whole rollout was read and nothing followed. */
  readonly isFailing: boolean;
  /** Some device takes part in what its wave shows together (pool.ts). */
  readonly isPooled: boolean;
  /** Some device has trouble before it begins (halt.ts, the same trouble on many). */
  readonly isTroubled: boolean;
  readonly hasTakes: boolean;
}

export function isQuiet(rollout: RolloutRow, signs: Signs, now: number): boolean {
  switch (rollout.state) {
    case 'rolling':
      return (
        !signs.isFailing &&
        !isSlotDue(rollout, signs.hasTakes, now) &&
        rollout.policy.ab === undefined &&
        !signs.isPooled &&
        !signs.isTroubled &&
        !mayAsk(rollout, signs.counts, now) &&
        !mayAdvance(rollout, signs.counts)
      );
    case 'held':
    case 'completed':
      return !signs.isFailing;
    case 'reverting':
      return isOnItsWay(rollout, signs.counts);
    case 'draft':
    case 'reverted':
    case 'reported':
    case 'dropped':
      return true;
  }
}

/** The next moment in which time alone ends the quiet. */
export function quietUntil({ policy, silence }: RolloutRow): number {
  const deadline = policy.deadline === undefined ? Infinity : Date.parse(policy.deadline);
  const slot = silence === null ? Infinity : silence.slotAt + policy.silentAfterSeconds * 1000;
  return Math.min(deadline, slot);
}

function isSlotDue({ silence, policy }: RolloutRow, hasTakes: boolean, now: number): boolean {
  return silence === null ? hasTakes : now - silence.slotAt >= policy.silentAfterSeconds * 1000;
}

const MOVING: readonly string[] = ['taken', 'trial'];
const isMoving = ({ state, proven }: MemberCount): boolean =>
  MOVING.includes(state) || (state === 'confirmed' && !proven);

function mayAsk(rollout: RolloutRow, counts: readonly MemberCount[], now: number): boolean {
  const { deadline } = rollout.policy;
  const isLate =
    deadline !== undefined &&
    now >= Date.parse(deadline) &&
    (rollout.answeredAt ?? 0) < Date.parse(deadline);
  const isStalled =
    !counts.some(isMoving) &&
    counts.some(({ state }) => state === 'silent' || state === 'unproven');
  return isLate || isStalled || counts.some(({ state }) => state === 'differs');
}

/** The wave may be proven, or may be beyond proof. */
function mayAdvance(
  { wave, policy, approved }: RolloutRow,
  counts: readonly MemberCount[],
): boolean {
  const { minProven, group, approval } = policy.waves[wave] ?? {};
  const own = counts.filter((one) => one.wave === wave);
  const open = counts.filter((one) => one.wave <= wave);
  const isEnough = sum(own.filter((one) => one.proven)) >= (minProven ?? Math.ceil(sum(own) / 2));
  const isBlocked = approval === true && !approved;
  if (minProven !== undefined && isEnough) return !isBlocked;
  if (open.some(isMoving)) return false;
  const canCome = open.some(({ state }) => state === 'waiting');
  if (isBlocked) return !isEnough && !canCome;
  if (!canCome || isEnough) return true;
  // Out of reach (forward.ts), but for the time that must have passed.
  const provenInAll = sum(open.filter((one) => one.proven));
  return (
    minProven === undefined &&
    group === undefined &&
    own.every((one) => one.proven || one.state === 'waiting') &&
    provenInAll >= Math.max(1, sum(open) / 2)
  );
}

/** Devices roll back, and nothing waits for a place among them. */
function isOnItsWay({ undo }: RolloutRow, counts: readonly MemberCount[]): boolean {
  const isLeft = counts.some(
    ({ state }) => !['waiting', 'reverting', 'reverted', 'lost'].includes(state),
  );
  return counts.some(({ state }) => state === 'reverting') && !(undo && isLeft);
}

const sum = (counts: readonly MemberCount[]): number =>
  counts.reduce((total, { count }) => total + count, 0);

/** What a device's report means for all of them. */
export function signsOf(
  { rollout, facts }: Pick<Situation, 'rollout' | 'facts'>,
  members: readonly MemberRow[],
): { isPooled: boolean; isTroubled: boolean } {
  return {
    isPooled: members.some((member) => isPooled(member, facts.get(member.device), rollout)),
    isTroubled: members.some((member) => isTroubled(member, facts.get(member.device))),
  };
}

/** As in pool.ts: it has blocks that may count, also in a later wave. */
export function isPooled(
  { state, assignmentId }: MemberRow,
  facts: DeviceFacts | undefined,
  { policy }: RolloutRow,
): boolean {
  const trial = facts?.trial ?? null;
  return (
    trial !== null &&
    policy.strategy !== 'shadow' &&
    (state === 'confirmed' || (UNDECIDED.includes(state) && state !== 'taken')) &&
    trial.assignmentId === assignmentId &&
    trial.evidence.blockSeconds !== null
  );
}

/** As in halt.ts: trouble of a device that has not begun. */
export const isTroubled = ({ state }: MemberRow, facts: DeviceFacts | undefined): boolean =>
  (state === 'taken' || state === 'excused') && (facts?.update?.trouble ?? null) !== null;
