// What a map of limited size forgets, and what it keeps.
import { expect, it } from 'vitest';
import { RecentMap } from '../../../shared/base/recent-map.js';

it('beyond_its_size_the_entry_that_was_set_longest_ago_is_forgotten', () => {
  const map = new RecentMap<string, number>(2);
  map.set('a', 1);
  map.set('b', 2);
  map.set('a', 3);
  expect([map.get('a'), map.get('b'), map.size]).toEqual([3, 2, 2]);
  // Reading makes nothing the latest.
  expect(map.has('b')).toBe(true);
  map.set('c', 4);
  expect([map.get('a'), map.has('b'), map.get('c'), map.size]).toEqual([3, false, 4, 2]);
});

it('what_is_deleted_is_not_there_and_makes_room', () => {
  const map = new RecentMap<string, number>(2);
  map.set('a', 1);
  map.set('b', 2);
  map.delete('a');
  map.set('c', 3);
  expect([map.get('a'), map.get('b'), map.get('c')]).toEqual([undefined, 2, 3]);
});
