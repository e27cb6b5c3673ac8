// What comes at once is gathered, over as many turns of the event loop as it comes in; and the loop
// turns between two groups.
import { describe, expect, it } from 'vitest';
import { limits } from '../../../shared/base/limits.js';
import { Gatherer, gathered } from '../../../shared/platform/gatherer.js';
import { duringTurns } from '../../support/turns.js';

describe('gathering', () => {
  it('waits_while_each_turn_brings_one_more_up_to_a_limit', async () => {
    let count = 1;
    const found = await duringTurns(
      async () => {
        await gathered(() => count);
        return count;
      },
      (turns) => (count = 1 + turns),
    );
    expect(found).toBeGreaterThanOrEqual(limits.gatherMaxCount);
    expect(found).toBeLessThan(limits.gatherMaxCount + 3);
  });

  it('ends_after_some_turns_in_which_nothing_came', async () => {
    let turns = 0;
    await duringTurns(
      () => gathered(() => 1),
      (count) => (turns = count),
    );
    expect(turns).toBeLessThan(limits.gatherQuietTurns + 3);
  });

  it('waits_one_turn_where_the_limit_is_reached', async () => {
    let calls = 0;
    await gathered(() => {
      calls += 1;
      return limits.gatherMaxCount;
    });
    expect(calls).toBe(2);
  });
});

describe('a gatherer', () => {
  it('lets_the_event_loop_turn_between_full_groups_of_a_long_queue', async () => {
    let turns = 0;
    const groups: { readonly items: number[]; readonly turns: number }[] = [];
    const untilIdle = (): Promise<void> =>
      new Promise((onIdle) => {
        const gatherer = new Gatherer<number>({
          maxCount: limits.gatherMaxCount,
          work: async (items) => void groups.push({ items, turns }),
          onIdle,
        });
        for (let one = 0; one < 4 * limits.gatherMaxCount; one += 1) gatherer.add(one);
      });
    await duringTurns(untilIdle, (count) => (turns = count));
    expect(groups.flatMap(({ items }) => items)).toEqual(
      Array.from({ length: 4 * limits.gatherMaxCount }, (_, one) => one),
    );
    expect(new Set(groups.map((group) => group.turns)).size).toBe(4);
  });

  it('takes_what_comes_while_a_group_is_worked_on_into_the_next_one', async () => {
    const groups: string[][] = [];
    let idles = 0;
    await new Promise<void>((resolve) => {
      const gatherer = new Gatherer<string>({
        maxCount: 2,
        work: async (items) => {
          groups.push(items);
          if (groups.length === 1) for (const one of ['b', 'c', 'd']) gatherer.add(one);
        },
        onIdle: () => {
          idles += 1;
          resolve();
        },
      });
      gatherer.add('a');
    });
    expect(groups).toEqual([['a'], ['b', 'c'], ['d']]);
    expect(idles).toBe(1);
  });
});
