// The recent inputs that a device keeps for rehearsals: limited in number, bytes and age, and a
// random one of each slot of time.
import { describe, expect, it } from 'vitest';
import { InputRing, type InputRingOptions } from '../../../../agent/inference/engine/input-ring.js';
import type { Tensor } from '../../../../agent/inference/model/tensor.js';
import { limits } from '../../../../shared/base/limits.js';
import { realRandom } from '../../../../shared/platform/clock.js';
import { fp32 } from '../../../support/inference-releases.js';
import { seeded } from '../../../support/random.js';

const MIB = 1024 * 1024;

const ringOf = (options: Partial<InputRingOptions> = {}, seed = 1): InputRing =>
  new InputRing({
    maxMiB: 1,
    maxAgeHours: 24,
    random: { ...realRandom, fraction: seeded(seed) },
    ...options,
  });

const input = (value: number, elements = 4): Tensor[] => [
  fp32('x', [1, elements], new Float32Array(elements).fill(value)),
];
const secondsIn = (ring: InputRing, now: number): number[] =>
  ring.inputs(now).map(({ seconds }) => seconds);
const bytesIn = (ring: InputRing, now: number): number =>
  ring
    .inputs(now)
    .flatMap(({ inputs }) => inputs)
    .reduce((sum, { data }) => sum + data.byteLength, 0);

describe('the inputs that are kept', () => {
  it('are_limited_in_number_and_spread_over_all_the_time', () => {
    const ring = ringOf();
    for (let second = 0; second < 3600; second += 1) ring.add(second, input(second));
    const kept = secondsIn(ring, 3600);
    expect(kept.length).toBeLessThanOrEqual(limits.rehearsalInputsMaxCount);
    expect(kept.length).toBeGreaterThanOrEqual(limits.rehearsalInputsMaxCount / 2);
    expect(kept).toEqual([...kept].sort((one, other) => one - other));
    // As many of each quarter of the hour as of the others.
    for (let from = 0; from < 3600; from += 900) {
      const quarter = kept.filter((at) => at >= from && at < from + 900).length;
      expect(quarter / kept.length).toBeCloseTo(0.25, 1);
    }
  });

  it('are_many_soon_after_the_start', () => {
    const ring = ringOf();
    for (let at = 0; at < 10; at += 0.1) ring.add(at, input(at));
    expect(secondsIn(ring, 10).length).toBeGreaterThan(70);
  });

  it('are_random_within_their_slot_and_not_the_last_ones', () => {
    // Ten inputs come in one slot; each of them is kept about as often as the others.
    const counts = new Array<number>(10).fill(0);
    for (let seed = 1; seed <= 2000; seed += 1) {
      const ring = ringOf({}, seed);
      for (let i = 0; i < 10; i += 1) ring.add(i / 100, input(i));
      const [at = 0] = secondsIn(ring, 1);
      const place = Math.round(at * 100);
      counts[place] = (counts[place] ?? 0) + 1;
    }
    for (const count of counts) expect(Math.abs(count - 200)).toBeLessThan(60);
  });

  it('are_random_after_slots_were_joined_too', () => {
    const means: number[] = [];
    for (let seed = 1; seed <= 20; seed += 1) {
      const ring = ringOf({}, seed);
      // Slots of 8 s and more in the end; what counts is where in its slot an input lies.
      for (let at = 0; at < 1600; at += 0.5) ring.add(at, input(at));
      const places = secondsIn(ring, 1600).map((at) => (at % 8) / 8);
      means.push(places.reduce((sum, place) => sum + place, 0) / places.length);
    }
    const mean = means.reduce((sum, one) => sum + one, 0) / means.length;
    expect(mean).toBeCloseTo(15 / 32, 1);
  });

  it('are_limited_in_bytes_and_still_spread', () => {
    const ring = ringOf();
    const elements = 10_000; // 40 kB: 26 of them fit into 1 MiB.
    for (let second = 0; second < 600; second += 1) {
      ring.add(second, input(second, elements));
      expect(bytesIn(ring, second)).toBeLessThanOrEqual(MIB);
    }
    const kept = secondsIn(ring, 600);
    expect(kept.length).toBeGreaterThan(12);
    expect(kept[0]).toBeLessThan(100);
    expect(kept.at(-1)).toBeGreaterThan(500);
  });

  it('have_no_input_that_is_too_large_for_enough_of_them', () => {
    const ring = ringOf();
    const most = Math.floor(MIB / limits.trialBlocksMinCount / 4);
    ring.add(0, input(1, most + 1));
    expect(secondsIn(ring, 1)).toEqual([]);
    ring.add(1, input(1, most));
    expect(secondsIn(ring, 1)).toEqual([1]);
  });

  it('are_dropped_when_they_are_too_old', () => {
    const ring = ringOf({ maxAgeHours: 1 });
    ring.add(0, input(0));
    ring.add(1800, input(1));
    expect(secondsIn(ring, 3600)).toEqual([0, 1800]);
    expect(secondsIn(ring, 3601)).toEqual([1800]);
    expect(secondsIn(ring, 5401)).toEqual([]);
  });

  it('are_gone_when_it_is_cleared', () => {
    const ring = ringOf();
    ring.add(0, input(0));
    ring.clear();
    expect(secondsIn(ring, 0)).toEqual([]);
  });

  it('do_not_hold_the_buffer_of_their_request', () => {
    const ring = ringOf();
    const body = new Uint8Array(100_000);
    ring.add(0, [{ name: 'x', datatype: 'FP32', shape: [1, 4], data: body.subarray(8, 24) }]);
    const [kept] = ring.inputs(0);
    expect(kept?.inputs[0]?.data.buffer.byteLength).toBe(16);
    body.fill(7);
    expect(kept?.inputs[0]?.data).toEqual(new Uint8Array(16));
  });
});
