// Which standing release hides which.
import { expect, it } from 'vitest';
import type { RolloutRow } from '../../../server/interfaces.js';
import { standingReleases } from '../../../server/rollout/standing.js';
import type { Selector } from '../../../shared/protocol/operator-api.js';

const row = (id: string, createdAt: number, selector: Selector, component = 'digits') =>
  ({ id, createdAt, selector, release: { component, version: `1.0.${createdAt}` } }) as RolloutRow;
const idsOf = (completed: RolloutRow[], active: RolloutRow[] = []) =>
  standingReleases(completed, active).map(({ rollout, waitsFor }) =>
    waitsFor === null ? rollout.id : `${rollout.id} waits for ${waitsFor}`,
  );

it('release_for_every_device_hides_all_older_ones_of_its_component_only', () => {
  const older = [row('a', 1, { groups: ['north'] }), row('b', 1, {}), row('c', 1, {}, 'faces')];
  expect(idsOf([...older, row('d', 2, {})])).toEqual(['d', 'c']);
});

it('release_for_a_group_stands_above_an_older_one_for_every_device', () => {
  expect(idsOf([row('a', 1, {}), row('b', 2, { groups: ['north'] })])).toEqual(['b', 'a']);
});

it('release_for_the_same_devices_hides_its_predecessor', () => {
  const [first, second] = [{ labels: { site: 'x' } }, { labels: { site: 'y' } }];
  const completed = [row('a', 1, first), row('b', 2, second), row('c', 3, first)];
  expect(idsOf(completed)).toEqual(['c', 'b']);
});

it('rollout_under_way_holds_back_its_component', () => {
  const completed = [row('a', 1, {}), row('b', 1, {}, 'faces')];
  expect(idsOf(completed, [row('z', 5, {})])).toEqual(['a waits for z', 'b']);
});
