// The block length that makes neighbouring observations independent enough.
import { describe, expect, it } from 'vitest';
import { BlockMeter, type InputSignature } from '../../../shared/statistics/block-length.js';
import { seeded } from '../../support/random.js';

/** One input every `every` seconds; a scene lasts `run` inputs. */
function inputs(count: number, every: number, run: number, seed = 1): InputSignature[] {
  const random = seeded(seed);
  let scene: number[] = [];
  return Array.from({ length: count }, (_, i) => {
    if (i % run === 0) scene = Array.from({ length: 17 }, random);
    const [score = 0, ...summary] = scene;
    return { seconds: i * every, score, summary };
  });
}

function chosen(inputs: readonly InputSignature[]): number | null {
  const meter = new BlockMeter();
  for (const input of inputs) meter.add(input);
  return meter.chooseSeconds();
}

describe('block length', () => {
  it('independent_inputs_need_the_shortest_blocks', () => {
    expect(chosen(inputs(400, 1, 1))).toBe(0.125);
    expect(chosen(inputs(4000, 0.01, 1))).toBe(0.125);
  });

  it('scenes_of_a_hundred_frames_need_blocks_longer_than_a_scene', () => {
    // Two frames a second: a scene lasts 50 s.
    const seconds = chosen(inputs(40_000, 0.5, 100));
    expect(seconds).toBeGreaterThanOrEqual(64);
    expect(seconds).toBeLessThanOrEqual(512);
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

  it('what_was_long_ago_is_forgotten', () => {
    const meter = new BlockMeter();
    for (const input of inputs(9000, 0.125, 8)) meter.add(input);
    const before = meter.chooseSeconds() ?? 0;
    expect(before).toBeGreaterThanOrEqual(1);
    for (const input of inputs(90_000, 0.125, 1))
      meter.add({ ...input, seconds: input.seconds + 2000 });
    expect(meter.chooseSeconds()).toBe(0.125);
  });
});
