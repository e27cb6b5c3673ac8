// The standing releases of the fleet: what a device takes that enrols, returns or changes its
// group. Per component it is the last completed rollout that selects the device, so one that
// selects every device hides all older ones, and one that selects the same devices hides its
// predecessor.
import type { RolloutRow, StandingRelease } from '../interfaces.js';
import { selectorText } from '../../shared/protocol/selector-text.js';

/** `completed`: the newest of each component and selector. By component, the newest first. */
export function standingReleases(
  completed: readonly RolloutRow[],
  active: readonly RolloutRow[],
): StandingRelease[] {
  const found: RolloutRow[] = [];
  for (const row of [...completed].sort(inOrder)) {
    const { component } = row.release;
    const newer = found.filter(({ release }) => release.component === component);
    const isHidden = newer.some(
      ({ selector }) =>
        selectorText(selector) === null || selectorText(selector) === selectorText(row.selector),
    );
    if (!isHidden) found.push(row);
  }
  return found.map((rollout) => ({
    rollout,
    waitsFor:
      active.find(({ release }) => release.component === rollout.release.component)?.id ?? null,
  }));
}

const inOrder = (a: RolloutRow, b: RolloutRow): number =>
  compare(a.release.component, b.release.component) ||
  b.createdAt - a.createdAt ||
  compare(b.id, a.id);

const compare = (a: string, b: string): number => (a < b ? -1 : Number(a > b));
