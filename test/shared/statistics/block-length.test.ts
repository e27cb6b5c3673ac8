// The block length that makes neighbouring observations independent enough.
import { describe, expect, it } from 'vitest';
import {
  BLOCK_SECONDS,
  BlockMeter,
  type InputSignature,
} from '../../../shared/statistics/block-length.js';
import { chosen, inputs } from '../../support/input-signatures.js';
import { seeded } from '../../support/random.js';

describe('block length', () => {
  it('independent_inputs_need_the_shortest_blocks', () => {
    expect(chosen(inputs(400, 1, 1))).toBe(0.125);
    expect(chosen(inputs(4000, 0.01, 1))).toBe(0.125);
  });

  it('inputs_minutes_apart_are_blocks_of_their_own', () => {
    expect(chosen(inputs(30, 720, 1))).toBe(0.125);
  });

  it('fewer_than_twenty_blocks_are_too_few', () => {
    // The last block is still open.
    expect(chosen(inputs(20, 1, 1, 5))).toBeNull();
    expect(chosen(inputs(21, 1, 1, 5))).toBe(0.125);
    expect(chosen([])).toBeNull();
  });

  it('scenes_that_last_too_long_for_the_time_have_no_length', () => {
    expect(chosen(inputs(2000, 1, 500))).toBeNull();
  });

  it('inputs_that_never_change_have_no_length', () => {
    expect(chosen(inputs(400, 1, 1000))).toBeNull();
  });

  it('a_score_that_follows_itself_counts_even_where_the_summary_does_not', () => {
    const fast = inputs(400, 1, 1);
    const slow = inputs(400, 1, 100);
    const mixed = fast.map((input, i) => ({ ...input, score: slow[i]?.score ?? 0 }));
    expect(chosen(mixed)).toBeNull();
    expect(chosen(fast.map((input) => ({ ...input, score: null })))).toBe(0.125);
  });

  it('a_summary_that_follows_itself_counts_even_where_the_score_does_not', () => {
    const fast = inputs(400, 1, 1);
    const slow = inputs(400, 1, 100);
    expect(chosen(slow.map((input, i) => ({ ...input, score: fast[i]?.score ?? 0 })))).toBeNull();
  });
});

interface PlainBlock {
  readonly index: number;
  readonly members: readonly (readonly number[])[];
}

/** Blocks of twice the length; the last one may still go on. */
const doubled = (blocks: readonly PlainBlock[]): PlainBlock[] => {
  const indexes = [...new Set(blocks.map(({ index }) => Math.floor(index / 2)))];
  return indexes.slice(0, -1).map((index) => ({
    index,
    members: blocks
      .filter((one) => Math.floor(one.index / 2) === index)
      .flatMap(({ members }) => members),
  }));
};

/** Lag-1 autocorrelation of block means; NaN where nothing varies. */
function follow(means: readonly (readonly number[])[], dimensions: readonly number[]): number {
  const average = (values: readonly number[]) => values.reduce((a, b) => a + b) / values.length;
  let [variance, covariance] = [0, 0];
  for (const d of dimensions) {
    const values = means.map((mean) => mean[d] ?? 0);
    const centre = average(values);
    variance += average(values.map((value) => value ** 2)) - centre ** 2;
    covariance +=
      average(values.slice(1).map((value, i) => value * (values[i] ?? 0))) - centre ** 2;
  }
  return variance < 1e-12 ? Number.NaN : covariance / variance;
}

/** What the meter must choose, from all inputs at once. Its sums are of what the first one was. */
function plainChoice(inputs: readonly InputSignature[]): number | null {
  const [first] = inputs;
  const vectors = inputs.map(({ seconds, score, summary }) => ({
    index: Math.floor(seconds / 0.125),
    members: [
      [
        (score ?? 0) - (first?.score ?? 0),
        ...(first?.summary ?? []).map((value, i) => (summary[i] ?? 0) - value),
      ],
    ],
  }));
  // Of the shortest length, inputs that came in one block.
  let blocks = doubled(vectors.map((one) => ({ ...one, index: 2 * one.index })));
  for (let seconds = 0.125; seconds <= 8192; seconds *= 2) {
    if (blocks.length < 20) return null;
    const means = blocks.map(({ members }) =>
      members[0]!.map((_, d) => members.reduce((sum, one) => sum + one[d]!, 0) / members.length),
    );
    const summary = (first?.summary ?? []).map((_, i) => i + 1);
    const views = [follow(means, [0]), follow(means, summary)].filter((view) => !isNaN(view));
    if (views.length > 0 && views.every((view) => view < 0.2)) return seconds;
    blocks = doubled(blocks);
  }
  return null;
}

/** Each input keeps `keep` of the one before; some come at the same time, some have no score. */
function drifting(seed: number, keep: number, every: number, count: number): InputSignature[] {
  const random = seeded(seed);
  const state = [0.5, 0.5, 0.5];
  let seconds = 0;
  return Array.from({ length: count }, (_, i) => {
    for (let d = 0; d < 3; d++) state[d] = keep * state[d]! + (1 - keep) * random();
    seconds += 2 * every * random();
    const [score = 0, ...summary] = state;
    const cut = i % 17 === 5 ? 1 : 2;
    return { seconds, score: i % 13 === 4 ? null : score, summary: summary.slice(0, cut) };
  });
}

describe('the length that is chosen', () => {
  const cases = [0, 0.3, 0.6, 0.9].flatMap((keep) =>
    [0.05, 0.3, 2].flatMap((every) => [1, 2, 3, 4].map((seed) => ({ seed, keep, every }))),
  );
  it.each(cases)('is_that_of_a_plain_computation_for_%j', ({ seed, keep, every }) => {
    for (const count of [60, 400, 1500]) {
      const some = drifting(seed, keep, every, count);
      expect(chosen(some), `${count} inputs`).toBe(plainChoice(some));
    }
  });

  it('is_one_of_seventeen_that_double', () => {
    expect(BLOCK_SECONDS).toEqual(Array.from({ length: 17 }, (_, i) => 2 ** (i - 3)));
  });

  it('can_change_only_when_a_block_ends', () => {
    const meter = new BlockMeter();
    const at = (seconds: number) => meter.add({ seconds, score: 0, summary: [] });
    expect([0, 0.1, 0.124, 0.125, 0.2, 0.25, 9].map(at)).toEqual([
      false,
      false,
      false,
      true,
      false,
      true,
      true,
    ]);
    // Far apart, each input ends one more of the lengths, at last all of them.
    for (let i = 1; i <= 20; i++) expect(at(100_000 * i)).toBe(true);
  });

  it('remembers_so_many_blocks_and_then_half_of_them_less', () => {
    const meter = new BlockMeter();
    const random = seeded(3);
    // Blocks in which pairs of inputs are alike, until more than 8,192 are over.
    let last = 0;
    for (let i = 0; i < 8250; i++) {
      if (i % 2 === 0) last = random();
      meter.add({ seconds: i / 8, score: last, summary: [] });
    }
    expect(meter.chooseSeconds()).toBe(0.25);
    // As many again that are independent: after each half that is forgotten, fewer of the first.
    let needed = 0;
    while (meter.chooseSeconds() !== 0.125 && needed < 40_000) {
      meter.add({ seconds: (8250 + needed) / 8, score: random(), summary: [] });
      needed++;
    }
    expect(needed).toBeLessThan(8192);
    expect(needed).toBeGreaterThan(4000);
  });
});
