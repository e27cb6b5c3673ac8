// When devices may take a release, besides the window: within the policy's hours, and no more than
// so many in any hour. Pure. Nothing that is taken is affected, and no way back waits for it.
import { UpdateWindows } from '../../shared/base/update-hours.js';
import { HOUR_MS } from '../../shared/base/units.js';
import type { RolloutPolicy } from '../../shared/protocol/operator-api.js';
import type { MemberRow } from '../interfaces.js';

/** No device may take the release before `until`. */
export interface Pause {
  readonly until: number;
  readonly reason: string;
}

/**
 * Null while a device may take the release. `last`: when the takesPerHour-th of the last takes was
 * (lastTake); null when there were fewer.
 */
export function paused(policy: RolloutPolicy, last: number | null, now: number): Pause | null {
  const { hours, takesPerHour } = policy;
  if (hours !== undefined) {
    const windows = new UpdateWindows(hours.windows, hours.zone);
    const until = windows.opensAt(now);
    if (until !== null)
      return {
        until,
        reason:
          `no device may take it until ${windows.clockText(until)} ${hours.zone} ` +
          `(hours ${hours.windows.join(', ')})`,
      };
  }
  if (takesPerHour === undefined || last === null || last + HOUR_MS <= now) return null;
  const until = last + HOUR_MS;
  return {
    until,
    reason:
      `no device may take it until ${new Date(until).toISOString()}: ` +
      `${takesPerHour} took it within an hour, as many as the policy allows`,
  };
}

/** When the nth of the last takes was; null when there were fewer. */
export function lastTake(members: readonly MemberRow[], nth: number | undefined): number | null {
  if (nth === undefined) return null;
  return takeTimes(members)[nth - 1] ?? null;
}

/** How many more devices may take it within this hour; the pause is another question. */
export function rateRoom({ takesPerHour }: RolloutPolicy, recentTakes: number): number {
  return takesPerHour === undefined
    ? Number.POSITIVE_INFINITY
    : Math.max(0, takesPerHour - recentTakes);
}

/** How many took it within the last hour. */
export const recentTakes = (members: readonly MemberRow[], now: number): number =>
  takeTimes(members).filter((at) => at + HOUR_MS > now).length;

/** The last first; one that did not answer its assignment did not take it. */
const takeTimes = (members: readonly MemberRow[]): number[] =>
  members
    .flatMap(({ assignedAt, state }) =>
      assignedAt === null || state === 'waiting' ? [] : [assignedAt],
    )
    .sort((a, b) => b - a);
