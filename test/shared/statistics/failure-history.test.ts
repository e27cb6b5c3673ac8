// What the release that serves now failed: the bound that the next one is judged against.
import { describe, expect, it } from 'vitest';
import { addBlock, emptyTally, meanInterval } from '../../../shared/statistics/betting.js';
import { FailureHistory } from '../../../shared/statistics/trial-tally.js';

describe('the history of failed requests', () => {
  /** One request at the start of each second and one in the middle, failed where it says so. */
  const historyOf = (seconds: number, failed: (second: number) => boolean): FailureHistory => {
    const history = new FailureHistory();
    for (let second = 0; second < seconds; second++) {
      history.add(second, failed(second));
      history.add(second + 0.5, false);
    }
    return history;
  };

  it('is_the_upper_bound_of_the_share_in_blocks_of_the_trial', () => {
    const history = historyOf(101, (second) => second % 4 === 0);
    // 100 blocks of one second are over, 50 of two; one in four, one in two has a failed request.
    const [one, two] = [emptyTally(), emptyTally()].map((tally, level) =>
      Array.from({ length: 100 / (level + 1) }, (_, i) => i).reduce(
        (sum, i) => addBlock(sum, i % (4 / (level + 1)) === 0 ? 0.5 / (level + 1) : 0),
        tally,
      ),
    );
    expect(history.upperPermille(1)).toBe(Math.ceil(1000 * meanInterval(one!, 0.1).high));
    expect(history.upperPermille(2)).toBe(Math.ceil(1000 * meanInterval(two!, 0.1).high));
    expect(history.upperPermille(1)).toBeGreaterThan(125);
  });

  it('says_nothing_without_a_length_or_with_fewer_than_twenty_blocks', () => {
    expect(historyOf(100, () => false).upperPermille(null)).toBeNull();
    expect(historyOf(100, () => false).upperPermille(1.5)).toBeNull();
    // The last block is still open.
    expect(historyOf(20, () => false).upperPermille(1)).toBeNull();
    expect(historyOf(21, () => false).upperPermille(1)).toBeLessThan(200);
    expect(historyOf(21, () => true).upperPermille(1)).toBeGreaterThan(500);
  });
});
