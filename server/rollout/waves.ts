// Which device is in which wave. Pure and deterministic: devices are ordered by a hash of device
// and rollout, so that no device comes first in every rollout, and two servers plan the same. Which
// wave rolls, and when, is decided in plan.ts.
import type { RolloutPolicy } from '../../shared/protocol/operator-api.js';
import { sha256 } from '../../shared/base/bytes.js';
import type { EligibleDevice, MemberRow } from '../interfaces.js';

/** A device and the index of its wave. */
export interface Place {
  readonly device: EligibleDevice;
  readonly wave: number;
}

/** The rollout's fixed order of devices. */
const rankOf = (rollout: string, device: string): string => sha256(`${rollout}\n${device}`);

function sorted<T>(items: readonly T[], key: (item: T) => string): T[] {
  const keyed = items.map((item) => ({ item, key: key(item) }));
  return keyed.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0)).map(({ item }) => item);
}

/**
 * Members in the order in which the halt test reads them: by wave, then by rank. It never changes
 * during a rollout.
 */
export function inOrder(members: readonly MemberRow[]): MemberRow[] {
  return sorted(
    members,
    (member) => String(member.wave).padStart(4, '0') + rankOf(member.rollout, member.device),
  );
}

/**
 * Places every device in the first wave that takes it. A group wave takes the group's devices; a
 * percent wave takes devices in order until that share of all `devices` (rounded up, earlier waves
 * included) is placed. Devices that no wave takes stay out.
 */
export function placeInWaves(
  rollout: string,
  devices: readonly EligibleDevice[],
  waves: RolloutPolicy['waves'],
): Place[] {
  const placed: Place[] = [];
  let left = sorted(devices, (device) => rankOf(rollout, device.id));
  waves.forEach((wave, index) => {
    const goal = Math.ceil(((wave.percent ?? 0) * devices.length) / 100);
    const room = Math.max(0, goal - placed.length);
    const taken =
      wave.group === undefined
        ? left.slice(0, room)
        : left.filter((device) => device.group === wave.group);
    placed.push(...taken.map((device) => ({ device, wave: index })));
    const gone = new Set(taken);
    left = left.filter((device) => !gone.has(device));
  });
  return placed;
}

/** What is wrong with a policy beyond its schema: all complaints. */
export function policyComplaints(policy: RolloutPolicy): string[] {
  const found: string[] = [];
  const check = (fits: boolean, complaint: string) => {
    if (!fits) found.push(complaint);
  };
  const { acceptableFailurePermille: acceptable, alarmingFailurePermille: alarming } = policy;
  check(alarming > acceptable, 'alarmingFailurePermille must be above acceptableFailurePermille');
  check(
    policy.trial.maxSeconds >= policy.trial.minSeconds,
    'trial.maxSeconds must not be below trial.minSeconds',
  );
  check(
    policy.deviceDeadlineSeconds > policy.trial.minSeconds,
    'deviceDeadlineSeconds must be longer than trial.minSeconds',
  );
  let percent = 0;
  policy.waves.forEach((wave, index) => {
    const name = `wave ${index + 1} (${wave.name})`;
    check(
      (wave.group === undefined) !== (wave.percent === undefined),
      `${name} must have either a group or a percent`,
    );
    if (wave.percent === undefined) return;
    check(
      wave.percent >= percent,
      `${name}: percent counts earlier waves too, so it cannot be below ${percent}`,
    );
    percent = wave.percent;
  });
  return found;
}

/** Complaints about group waves without devices: such a canary wave would pass without evidence. */
export function emptyWaves(places: readonly Place[], waves: RolloutPolicy['waves']): string[] {
  return waves.flatMap((wave, index) =>
    wave.group !== undefined && !places.some((place) => place.wave === index)
      ? [
          `wave ${wave.name}: no device of group ${wave.group} ` +
            'that is not in an earlier wave can take this release',
        ]
      : [],
  );
}
