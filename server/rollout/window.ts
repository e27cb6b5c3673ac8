// The window: how many devices may have a release undecided at once, so that no more than one
// window is exposed beyond the evidence. It starts small and grows with the devices that are proven
// (confirmed and soaked); each kind of hardware starts with one device. Pure; the design and its
// simulation are in decisions.md (sections 2 and 8, R1, R12, R13).
import type { MemberCount, MemberRow, RolloutRow } from '../interfaces.js';
import { isPoolGood } from './pool.js';
import { UNDECIDED } from './verdict.js';

/** Rollouts of fewer devices begin with one at a time. */
const SMALL_FLEET = 30;
const START_WINDOW = 3;

/** Undecided devices at the beginning of a rollout of `devices`. */
export function startWindow(policy: RolloutRow['policy'], devices: number): number {
  return policy.startWindow ?? (devices < SMALL_FLEET ? 1 : START_WINDOW);
}

/** Undecided devices of one kind of hardware at the beginning. */
export const kindWindow = (policy: RolloutRow['policy']): number => policy.kindWindow ?? 1;

export interface Window {
  /** Undecided devices now, and how many may be. */
  readonly open: number;
  readonly size: number;
}

/** The window of the whole rollout, or of one kind of hardware. */
export function windowOf(
  rollout: RolloutRow,
  counts: readonly MemberCount[],
  hardware: string | null,
): Window {
  const kind = counts.filter((one) => hardware === null || one.hardware === hardware);
  const total = counts.reduce((sum, { count }) => sum + count, 0);
  const start = hardware === null ? startWindow(rollout.policy, total) : kindWindow(rollout.policy);
  const proven = kind.filter((one) => one.proven && provesFor(rollout, one.wave));
  const isFree = isPoolGood(rollout);
  // Also one that still soaks: some releases break later.
  const open = kind.filter(
    ({ state, proven: isProven }) =>
      (UNDECIDED.includes(state) && !(isFree && state === 'unproven')) ||
      (state === 'confirmed' && !isProven),
  );
  return { open: sum(open), size: Math.max(start, sum(proven)) };
}

/** How many more devices may take the release now, of any kind that has room. */
export function roomInAll(rollout: RolloutRow, counts: readonly MemberCount[]): number {
  const { open, size } = windowOf(rollout, counts, null);
  return Math.max(0, size - open);
}

/** How many more devices of this kind of hardware may take the release now. */
export function room(
  rollout: RolloutRow,
  counts: readonly MemberCount[],
  hardware: string,
): number {
  const { open, size } = windowOf(rollout, counts, hardware);
  return Math.min(roomInAll(rollout, counts), Math.max(0, size - open));
}

/**
 * A hand-picked group proves only itself: its devices do not widen the window of the waves that the
 * server draws, and the other way round.
 */
function provesFor({ policy, wave }: RolloutRow, other: number): boolean {
  const isPicked = (index: number): boolean => policy.waves[index]?.group !== undefined;
  return isPicked(wave) ? other === wave : !isPicked(other);
}

const sum = (counts: readonly MemberCount[]): number =>
  counts.reduce((total, { count }) => total + count, 0);

/** The members, counted as the store counts them. */
export function countsOf(members: readonly MemberRow[]): MemberCount[] {
  const counts = new Map<string, { -readonly [Key in keyof MemberCount]: MemberCount[Key] }>();
  for (const { wave, hardware, state, proven } of members) {
    const key = `${wave} ${hardware} ${state} ${proven}`;
    const known = counts.get(key);
    if (known === undefined) counts.set(key, { wave, hardware, state, proven, count: 1 });
    else known.count += 1;
  }
  return [...counts.values()];
}
