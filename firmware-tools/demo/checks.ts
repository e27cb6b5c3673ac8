// The checks of the scenario, each with what was counted or measured on the way. Pure: nothing here
// prints, waits, or throws because a check failed.
import type { ShownRollout } from '../fleet/shown-rollout.js';
import type { DemoFleet } from './demo-fleet.js';
import type { Released } from './demo-releases.js';
import type { Tally, Traffic } from './traffic.js';

export interface Check {
  readonly what: string;
  readonly passed: boolean;
}

/** The releases as they were built, so that answers can be matched with their digests. */
export type Releases = Readonly<Record<'first' | 'better' | 'bad', Released>>;

/** 1.2.0 may measure this much less accurate than 1.1.0 on its own labels without suspicion. */
const UNSUSPICIOUS = 0.02;

const share = ({ served, right }: Tally): number => (served === 0 ? 0 : right / served);

export function tallyOf(
  traffic: readonly Pick<Traffic, 'counts'>[],
  { header }: Pick<Released, 'header'>,
): Tally {
  const all = traffic
    .map(({ counts }) => counts.byHeader.get(header))
    .filter((tally) => tally !== undefined);
  return {
    served: all.reduce((sum, tally) => sum + tally.served, 0),
    right: all.reduce((sum, tally) => sum + tally.right, 0),
  };
}

/**
 * The traffic must be stopped: a request in flight is neither served nor lost, and could hide
 * either.
 */
export function trafficChecks(
  releases: Releases,
  traffic: readonly Pick<Traffic, 'counts'>[],
): Check[] {
  const sum = (numbers: number[]): number => numbers.reduce((total, number) => total + number, 0);
  const sent = sum(traffic.map(({ counts }) => counts.sent));
  const lost = sum(traffic.map(({ counts }) => counts.lost));
  const served = sum(
    traffic.flatMap(({ counts }) => [...counts.byHeader.values()].map((tally) => tally.served)),
  );
  const known = Object.values(releases).map(({ header }) => header);
  const unknown = [...new Set(traffic.flatMap(({ counts }) => [...counts.byHeader.keys()]))].filter(
    (key) => !known.includes(key),
  );
  const others = unknown.length === 0 ? '' : `; not: ${unknown.join(', ')}`;
  const { first, better, bad } = releases;
  const wrong = tallyOf(traffic, bad).served;
  return [
    {
      what: `${sent} requests sent, ${served} served, ${lost} lost`,
      passed: sent > 0 && sent === served && lost === 0,
    },
    {
      what: `every answer names one of the three releases by its digest${others}`,
      passed: unknown.length === 0,
    },
    {
      what: '1.1.0 answers better than 1.0.0',
      passed: share(tallyOf(traffic, better)) > share(tallyOf(traffic, first)),
    },
    {
      what: `1.2.0 answered ${wrong} live requests before it was refused`,
      passed: wrong === 0,
    },
  ];
}

/** Every device that is on confirmed it; the one that is off stopped nothing and was not asked. */
export function completionChecks(
  view: ShownRollout,
  { devices, off }: Pick<DemoFleet, 'devices' | 'off'>,
): Check[] {
  const { version } = view.release;
  const states = new Map(view.members.map(({ name, state }) => [name, state]));
  return [
    {
      what: `all ${devices.length} devices that are on confirmed ${version}`,
      passed: devices.every(({ name }) => states.get(name) === 'confirmed'),
    },
    {
      what: `${off.name} is off, is ${states.get(off.name) ?? 'no member'}, and stopped nothing`,
      passed: states.get(off.name) === 'waiting',
    },
  ];
}

/** The text detector before and after its update. */
export function textChecks({ counts }: Pick<Traffic, 'counts'>): Check[] {
  const found = [...counts.byRelease].map(
    ([release, { served, right }]) => `${right} of ${served} lines by ${release}`,
  );
  const tallies = [...counts.byRelease.values()];
  return [
    {
      what: `text was found in ${found.join(', ')}; ${counts.lost} requests were lost`,
      passed:
        tallies.length === 2 &&
        counts.lost === 0 &&
        tallies.every(({ served, right }) => served > 0 && right === served),
    },
  ];
}

export function haltChecks(view: ShownRollout, releases: Releases): Check[] {
  const lines = [...view.reasons, ...view.history.flatMap(({ reasons }) => reasons)];
  const others = view.members.filter(({ group }) => group !== 'canary');
  const { better, bad } = releases;
  return [
    { what: `rollout of 1.2.0 is ${view.state}`, passed: view.state === 'reverted' },
    {
      what: 'it was halted because a canary refused it after a rehearsal on its own inputs',
      passed: lines.some((line) => line.includes('rehearsal_differs')),
    },
    {
      what: `none of the other ${others.length} devices was ever assigned 1.2.0`,
      passed: others.length > 0 && others.every(({ state }) => state === 'waiting'),
    },
    {
      what: `its reported accuracy gave no warning: ${percent(bad.accuracy)} by its own label file`,
      passed: bad.accuracy >= better.accuracy - UNSUSPICIOUS,
    },
  ];
}

export function percent(part: number): string {
  return `${(100 * part).toFixed(1)} %`;
}

export function tallyText(tally: Tally): string {
  return tally.served === 0 ? 'no answers' : `${percent(share(tally))} right of ${tally.served}`;
}
