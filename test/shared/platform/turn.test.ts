// What comes at once is gathered, over as many turns of the event loop as it comes in.
import { describe, expect, it } from 'vitest';
import { limits } from '../../../shared/base/limits.js';
import { gathered, turn } from '../../../shared/platform/turn.js';

describe('gathering', () => {
  it('waits_while_each_turn_brings_one_more_up_to_a_limit', async () => {
    let count = 1;
    let isOver = false;
    const arrive = async (): Promise<void> => {
      while (!isOver) {
        await turn();
        count += 1;
      }
    };
    const arriving = arrive();
    await gathered(() => count);
    const found = count;
    isOver = true;
    await arriving;
    expect(found).toBeGreaterThanOrEqual(limits.gatherMaxCount);
    expect(found).toBeLessThan(limits.gatherMaxCount + 3);
  });

  it('ends_after_some_turns_in_which_nothing_came', async () => {
    let turns = 0;
    let isOver = false;
    const count = async (): Promise<void> => {
      while (!isOver) {
        await turn();
        turns += 1;
      }
    };
    const counting = count();
    await gathered(() => 1);
    isOver = true;
    await counting;
    expect(turns).toBeLessThan(limits.gatherQuietTurns + 3);
  });

  it('does_not_wait_for_more_than_its_limit', async () => {
    let calls = 0;
    await gathered(() => {
      calls += 1;
      return limits.gatherMaxCount;
    });
    expect(calls).toBe(1);
  });
});
