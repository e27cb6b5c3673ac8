// The block length that makes neighbouring observations independent enough.
import { describe, expect, it } from 'vitest';
import {
  chooseBlockSeconds,
  type InputSignature,
} from '../../../shared/statistics/block-length.js';
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

describe('block length', () => {
  it('independent_inputs_need_blocks_of_one_second', () => {
    expect(chooseBlockSeconds(inputs(400, 1, 1))).toBe(1);
    expect(chooseBlockSeconds(inputs(400, 0.1, 1))).toBe(1);
  });

  it('scenes_of_a_hundred_frames_need_blocks_longer_than_a_scene', () => {
    // Two frames a second: a scene lasts 50 s.
    const seconds = chooseBlockSeconds(inputs(40_000, 0.5, 100));
    expect(seconds).toBeGreaterThanOrEqual(64);
    expect(seconds).toBeLessThanOrEqual(512);
  });

  it('inputs_minutes_apart_are_blocks_of_their_own', () => {
    expect(chooseBlockSeconds(inputs(30, 720, 1))).toBe(1);
  });

  it('fewer_than_twenty_blocks_are_too_few', () => {
    expect(chooseBlockSeconds(inputs(19, 1, 1))).toBeNull();
    expect(chooseBlockSeconds(inputs(20, 1, 1, 5))).toBe(1);
    expect(chooseBlockSeconds([])).toBeNull();
  });

  it('scenes_that_last_too_long_for_the_time_have_no_length', () => {
    expect(chooseBlockSeconds(inputs(2000, 1, 500))).toBeNull();
  });

  it('inputs_that_never_change_have_no_length', () => {
    expect(chooseBlockSeconds(inputs(400, 1, 1000))).toBeNull();
  });

  it('a_score_that_follows_itself_counts_even_where_the_summary_does_not', () => {
    const fast = inputs(400, 1, 1);
    const slow = inputs(400, 1, 100);
    const mixed = fast.map((input, i) => ({ ...input, score: slow[i]?.score ?? 0 }));
    expect(chooseBlockSeconds(mixed)).toBeNull();
    expect(chooseBlockSeconds(fast.map((input) => ({ ...input, score: null })))).toBe(1);
  });

  it('inputs_are_taken_in_the_order_of_time', () => {
    const slow = inputs(400, 1, 100);
    const shuffled = slow.map((_, i) => slow[(i * 171) % 400]!);
    expect(chooseBlockSeconds(shuffled)).toBeNull();
  });
});
