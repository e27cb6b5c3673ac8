// What tests of whole rollouts say about a fleet in memory (test/sim/fleet.ts).
import type { MemberRow, RolloutRow } from '../../server/interfaces.js';
import { UNDECIDED } from '../../server/rollout/verdict.js';
import { policyOf, deviceId, releaseOf, type Nature, type SimFleet } from '../sim/fleet.js';

export type Natures = (n: number, release: { readonly digest: string }) => Nature;

const BAD = releaseOf('1.2.0').digest;
/** Release 1.2.0 has this nature on every device that `fits`. */
export const onBad =
  (nature: Nature, fits: (n: number) => boolean = () => true): Natures =>
  (n, release) =>
    release.digest === BAD && fits(n) ? nature : 'good';

export const assignmentOf = (fleet: SimFleet, n: number) =>
  fleet.store.assignments.get(deviceId(n));

export const membersOf = (fleet: SimFleet, id: string): MemberRow[] => [
  ...(fleet.store.memberRows.get(id)?.values() ?? []),
];

/** Members that hold a place of the window. */
export const undecided = (fleet: SimFleet, id: string): number =>
  membersOf(fleet, id).filter(({ state }) => UNDECIDED.includes(state)).length;

/** Devices that took the release, in order. */
export const takes = (fleet: SimFleet, digest: string): string[] =>
  (fleet.store.takeRows.get(digest) ?? []).map(({ device }) => device);

/** The first device in that state. */
export const firstWith = (fleet: SimFleet, id: string, state: MemberRow['state']): number =>
  fleet.devices.findIndex((_, n) => fleet.member(id, n).state === state);

/** From now on the device refuses what it is assigned. */
export function refuses(fleet: SimFleet, n: number, code: string): void {
  const device = fleet.devices[n]!;
  device.tick = async (now) => {
    await fleet.operators.contact(device.id);
    const assignment = fleet.store.assignments.get(device.id);
    const release = assignment?.release ?? null;
    if (assignment === undefined || release === null) return;
    const { assignmentId } = assignment;
    device.refuse({ result: 'refused', code, detail: 'refused', release, assignmentId });
    device.report(now);
  };
}

/** These devices were switched off an hour ago. */
export function switchOff(fleet: SimFleet, off: readonly number[]): void {
  for (const n of off) fleet.devices[n]!.silent = true;
  fleet.clock.advance(3_600_000);
  for (const device of fleet.devices) if (!device.silent) device.report(fleet.clock.now());
}

/** So many members are in that state. */
export const isWith =
  (fleet: SimFleet, id: string, state: MemberRow['state'], count: number) => (): boolean =>
    membersOf(fleet, id).filter((member) => member.state === state).length === count;

export const isProven = (fleet: SimFleet, id: string, count: number) => (): boolean =>
  membersOf(fleet, id).filter((member) => member.proven).length === count;

type Policy = RolloutRow['policy'];
const everyWave = (change: Partial<Policy['waves'][number]>): Policy =>
  policyOf({ waves: policyOf().waves.map((wave) => ({ ...wave, ...change })) });

/** Every wave needs an approval before the next step. */
export const approvedWaves = everyWave({ approval: true });
export const soaking = (soakSeconds: number): Policy => everyWave({ soakSeconds });
/** All devices in one wave that the server draws. */
export const oneWave = (change: Partial<Policy> = {}): Policy =>
  policyOf({ waves: policyOf().waves.slice(2), ...change });
