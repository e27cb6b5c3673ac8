// Which device is in which wave. Pure and deterministic: devices are ordered by a hash of device
// and rollout, so that no device comes first in every rollout, and two servers plan the same. Which
// wave rolls, and when, is decided in plan.ts.
import type { RolloutPolicy } from '../../shared/protocol/operator-api.js';
import { sha256 } from '../../shared/base/bytes.js';
import type { EligibleDevice } from '../interfaces.js';

/** A device and the index of its wave. */
export interface Place {
  readonly device: EligibleDevice;
  readonly wave: number;
  /** Its place among all devices of the rollout, from 0. */
  readonly rank: number;
}

/** The rollout's fixed order of devices, no two of which have the same rank. */
const rankOf = (rollout: string, device: string): string => sha256(`${rollout}\n${device}`);

function sorted<T>(items: readonly T[], key: (item: T) => string): T[] {
  const keyed = items.map((item) => ({ item, key: key(item) }));
  return keyed.sort((a, b) => (a.key < b.key ? -1 : 1)).map(({ item }) => item);
}

/**
 * Every device in the first wave that takes it. A group wave takes the group's devices; a percent
 * or count wave takes devices in the drawn order until that share or number of all `devices`
 * (rounded up, earlier waves included) is placed. Devices that no wave takes stay out.
 */
export function placeInWaves(
  rollout: string,
  devices: readonly EligibleDevice[],
  waves: RolloutPolicy['waves'],
): Place[] {
  const placed: Place[] = [];
  let left = drawn(rollout, devices);
  waves.forEach((wave, index) => {
    const goal = wave.count ?? Math.ceil(((wave.percent ?? 0) * devices.length) / 100);
    const free = Math.max(0, goal - placed.length);
    const taken =
      wave.group === undefined
        ? left.slice(0, free)
        : left.filter((device) => device.group === wave.group);
    const first = placed.length;
    placed.push(...taken.map((device, at) => ({ device, wave: index, rank: first + at })));
    const gone = new Set(taken);
    left = left.filter((device) => !gone.has(device));
  });
  return placed;
}

/**
 * The order in which waves draw devices: stratified, so that the first ones cover every kind of
 * hardware, then go through kinds and sites in proportion to their sizes (systematic sampling;
 * Cochran, "Sampling Techniques", 1977). Within a site the order is a hash.
 */
function drawn(rollout: string, devices: readonly EligibleDevice[]): EligibleDevice[] {
  const ranked = sorted(devices, (device) => rankOf(rollout, device.id));
  const kinds = groupBy(ranked, (device) => device.hardware).map((kind) =>
    spread(groupBy(kind, (device) => device.site)),
  );
  return [
    ...kinds.flatMap((kind) => kind.slice(0, 1)),
    ...spread(kinds.map((kind) => kind.slice(1))),
  ];
}

/** One list of several, in which every part of it holds each list in proportion to its length. */
function spread<T>(lists: readonly (readonly T[])[]): T[] {
  return lists
    .flatMap((list) => list.map((item, index) => ({ item, at: (index + 0.5) / list.length })))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item);
}

function groupBy<T>(items: readonly T[], key: (item: T) => string): T[][] {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group === undefined) groups.set(key(item), [item]);
    else group.push(item);
  }
  return [...groups.values()];
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
