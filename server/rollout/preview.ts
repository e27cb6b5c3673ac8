// What a rollout would do, before it exists: its waves, its windows, and its promise in numbers.
// Pure. The chances are exact (shared/statistics/halt-boundary.ts) for devices that are decided one
// after the other; a window exposes at most its own size more.
import { counted } from '../../shared/base/counted.js';
import { limits } from '../../shared/base/limits.js';
import semver from 'semver';
import { chanceOfHalting, expectedTakes } from '../../shared/statistics/halt-boundary.js';
import type { StrataPlan } from '../../shared/statistics/halt-test.js';
import { limitPercent, percent } from '../../shared/statistics/share-text.js';
import type { RolloutPolicy, RolloutPreview } from '../../shared/protocol/operator-api.js';
import type { DeviceFacts, MemberRow, RolloutRow } from '../interfaces.js';
import { armsWarnings } from './arms.js';
import { blueGreenWarnings } from './blue-green.js';
import { shadowWarnings } from './shadow.js';
import { boundariesOf } from './halt.js';
import type { Place } from './waves.js';
import { selectorText } from '../../shared/protocol/selector-text.js';
import { kindWindow, startWindow } from './window.js';

/** Of the acceptable failure rate: what the promise is stated at. */
const GOOD_SHARES = [0.25, 0.5, 1] as const;
const BAD_RATES = [0.1, 0.2, 0.5] as const;

export interface PreviewOptions {
  /** Rollouts that were created in the last year. */
  readonly rolloutsPerYear: number;
  readonly now: number;
}

export function previewOf(
  row: RolloutRow,
  places: readonly Place[],
  { rolloutsPerYear, now }: PreviewOptions,
): RolloutPreview {
  const { policy } = row;
  const { halt, hold } = boundariesOf(kindsOf(places), policy);
  const acceptable = policy.acceptableFailurePermille / 1000;
  const rates = [...GOOD_SHARES.map((share) => share * acceptable), ...BAD_RATES];
  return {
    release: row.release,
    devices: places.length,
    startWindow: startWindow(policy, places.length),
    waves: policy.waves.map((wave, index) =>
      waveOf(
        wave.name,
        places.filter((place) => place.wave === index),
      ),
    ),
    promises: rates.map((failureRate) => {
      const chance = haltChance(halt, failureRate);
      return {
        failureRate,
        halt: chance,
        hold: chanceOfHalting(hold, failureRate),
        haltsPerYear: chance * rolloutsPerYear,
        expectedTakes: expectedTakes(halt.pooled, failureRate),
      };
    }),
    trialLengths: lengthOf(row, places),
    rolloutsPerYear,
    warnings: warningsOf(row, places, now),
  };
}

function waveOf(name: string, places: readonly Place[]): RolloutPreview['waves'][number] {
  const tally = (key: (place: Place) => string): Record<string, number> => {
    const counts: Record<string, number> = {};
    for (const place of places) counts[key(place)] = (counts[key(place)] ?? 0) + 1;
    return counts;
  };
  return {
    name,
    devices: places.length,
    hardware: tally(({ device }) => device.hardware),
    sites: new Set(places.map(({ device }) => device.site)).size,
    groups: tally(({ device }) => device.group),
    names: places.slice(0, limits.previewNamesMaxCount).map(({ device }) => device.name),
  };
}

/** The tests of all devices and of the kinds add up: at most this. */
function haltChance({ pooled, kinds }: StrataPlan, failureRate: number): number {
  const tests = [pooled, ...kinds.values()];
  return Math.min(
    1,
    tests.reduce((sum, test) => sum + chanceOfHalting(test, failureRate), 0),
  );
}

/**
 * Of a good release: in each length the window of all devices, and that of each kind of hardware,
 * grow to what is proven. Hand-picked waves have windows of their own.
 */
function lengthOf({ policy }: RolloutRow, places: readonly Place[]): number {
  const isPicked = ({ wave }: Place): boolean => policy.waves[wave]?.group !== undefined;
  const segments = policy.waves.map((_, index) =>
    places.filter((place) => isPicked(place) && place.wave === index),
  );
  segments.push(places.filter((place) => !isPicked(place)));
  const start = startWindow(policy, places.length);
  return segments.reduce(
    (sum, segment) => sum + lengthOfSegment(kindsOf(segment), start, kindWindow(policy)),
    0,
  );
}

function lengthOfSegment(
  kinds: ReadonlyMap<string, number>,
  start: number,
  kindStart: number,
): number {
  const left = new Map(kinds);
  const proven = new Map<string, number>();
  const total = (counts: ReadonlyMap<string, number>): number =>
    [...counts.values()].reduce((sum, count) => sum + count, 0);
  let lengths = 0;
  for (; total(left) > 0; lengths++) {
    let free = Math.max(start, total(proven));
    const before = new Map(proven);
    for (const [kind, count] of left) {
      const taken = Math.min(count, free, Math.max(kindStart, before.get(kind) ?? 0));
      free -= taken;
      left.set(kind, count - taken);
      proven.set(kind, (before.get(kind) ?? 0) + taken);
    }
  }
  return lengths;
}

function warningsOf(
  { policy, selector }: RolloutRow,
  places: readonly Place[],
  now: number,
): string[] {
  const first = policy.waves[0];
  const quietMs = policy.silentAfterSeconds * 1000;
  const quiet = places.filter(
    ({ device }) => device.lastSeenAt === null || now - device.lastSeenAt > quietMs,
  );
  const kinds = new Set(places.map(({ device }) => device.hardware));
  const firstKinds = new Set(
    places.filter(({ wave }) => wave === 0).map(({ device }) => device.hardware),
  );
  const selected = selectorText(selector);
  const missing = [...kinds].filter((kind) => !firstKinds.has(kind));
  return [
    ...(quiet.length === 0
      ? []
      : [
          `${quiet.length} of ${counted(places.length, 'device')} are not heard now: ` +
            'they take it later',
        ]),
    ...(first?.group === undefined
      ? []
      : [`wave ${first.name} is hand-picked: it proves only itself, and the window starts again`]),
    ...(missing.length === 0 ? [] : [`wave 1 has no ${missing.join(', ')}`]),
    ...(selected === null ? [] : [`only these devices take part: ${selected}`]),
    ...paceText(policy, places.length, now),
    ...armsWarnings(policy, places),
    ...blueGreenWarnings(policy),
    ...shadowWarnings(policy),
  ];
}

function paceText(policy: RolloutPolicy, devices: number, now: number): string[] {
  const { takesPerHour: rate, hours, deadline } = policy;
  return [
    ...(hours === undefined
      ? []
      : [`devices take it only within ${hours.windows.join(', ')} ${hours.zone}`]),
    ...(rate === undefined
      ? []
      : [
          `at most ${counted(rate, 'device takes', 'devices take')} it in an hour: ` +
            `at least ${Math.ceil(devices / rate)} h`,
        ]),
    ...(deadline === undefined
      ? []
      : [`held for a person when it is not completed by ${deadline}`]),
    ...(deadline !== undefined && Date.parse(deadline) <= now ? ['its deadline has passed'] : []),
  ];
}

const kindsOf = (places: readonly { readonly device: { readonly hardware: string } }[]) => {
  const kinds = new Map<string, number>();
  for (const { device } of places)
    kinds.set(device.hardware, (kinds.get(device.hardware) ?? 0) + 1);
  return kinds;
};

/** What the halt test promises for these members, in one sentence. */
export function promiseText(members: readonly MemberRow[], policy: RolloutPolicy): string {
  const kinds = kindsOf(members.map((member) => ({ device: member })));
  const { halt } = boundariesOf(kinds, policy);
  const acceptable = policy.acceptableFailurePermille / 1000;
  return (
    `a release that fails on ${limitPercent(acceptable)} of devices is halted in this rollout of ` +
    `${members.length} with chance ${percent(haltChance(halt, acceptable))} ` +
    `(exact; at most ${limitPercent(policy.falseAlarmPermille / 1000)})`
  );
}

/** Devices that run a newer release must refuse this one; null when there are none. */
export function newerThan(
  version: string,
  places: readonly Place[],
  facts: ReadonlyMap<string, DeviceFacts>,
): string | null {
  const newer = places.flatMap(({ device }) => {
    const running = facts.get(device.id)?.update?.running?.version;
    return running !== undefined && semver.gt(running, version)
      ? [`${device.name} (${running})`]
      : [];
  });
  if (newer.length === 0) return null;
  const more =
    newer.length > limits.refusingNamesMaxCount
      ? ` and ${newer.length - limits.refusingNamesMaxCount} more`
      : '';
  return (
    `${counted(newer.length, 'device runs', 'devices run')} a newer release and would ` +
    `refuse ${version}: ` +
    `${newer.slice(0, limits.refusingNamesMaxCount).join(', ')}${more}; ` +
    'to go back, undo the rollout that brought it'
  );
}
