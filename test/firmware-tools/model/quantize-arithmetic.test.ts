// The quantizer's arithmetic against hand-worked cases.
import { describe, expect, it } from 'vitest';
import {
  S8_REDUCED,
  S8_SYMMETRIC,
  U8,
  channelLayout,
  quantizeBias,
  quantizeValue,
  quantizeWeights,
  roundHalfEven,
  scaleAndZero,
} from '../../../firmware-tools/model/quantize/arithmetic.js';

describe('arithmetic, as compute_scale_zp does it', () => {
  it.each([
    // rmin, rmax, range, symmetric, scale, zero point: worked by hand
    [0, 255, U8, false, 1, 0],
    [-1, 1, U8, false, Math.fround(2 / 255), 128], // 127.5 rounds to the even 128
    [-126.5, 128.5, U8, false, 1, 126], // 126.5 rounds to the even 126
    [-0.5, 2, U8, false, Math.fround(2.5 / 255), 51],
    [0.5, 6, U8, false, Math.fround(6 / 255), 0], // zero is always inside
    [-3, -1, U8, false, Math.fround(3 / 255), 255],
    [0, 0, U8, false, 1, 0], // too small for a float32 scale
    [0, 1e-40, U8, false, 1, 0],
    [-2, 1, S8_SYMMETRIC, true, Math.fround(4 / 254), 0],
    [-1, 1, S8_REDUCED, true, 0.015625, 0],
  ])('range_%d_%d', (rmin, rmax, range, symmetric, scale, zeroPoint) => {
    expect(scaleAndZero(rmin, rmax, range, symmetric)).toEqual({ scale, zeroPoint });
  });

  it('rounds_half_to_even_and_clips', () => {
    const rounded = [0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 2.4999, -2.5001]
      .map(roundHalfEven)
      .map((x) => x + 0);
    expect(rounded).toEqual([0, 2, 2, 0, -2, -2, 2, -3]);
    const code = { scale: 0.5, zeroPoint: 10 };
    expect([0, 0.25, 0.75, -100, 1000].map((x) => quantizeValue(x, code, U8))).toEqual([
      10, 10, 12, 0, 255,
    ]);
  });

  it('gives_each_channel_of_a_weight_its_own_scale_along_any_axis', () => {
    const weights = Float32Array.of(1, -2, 0.5, 0.25, 8, -8);
    const rows = quantizeWeights(weights, channelLayout([3, 2], 0), S8_SYMMETRIC);
    expect([...rows.scales]).toEqual([4 / 254, 1 / 254, 16 / 254].map(Math.fround));
    // 63.5 is a tie and goes to the even 64
    expect([...rows.values]).toEqual([64, -127, 127, 64, 127, -127]);
    const columns = quantizeWeights(weights, channelLayout([3, 2], 1), S8_SYMMETRIC);
    expect([...columns.scales]).toEqual([16 / 254, 16 / 254].map(Math.fround));
  });

  it('raises_a_weight_scale_rather_than_let_an_int32_bias_overflow', () => {
    const bias = Float32Array.of(1000);
    const weights = Float32Array.of(1e-9, -1e-9);
    const { scales } = quantizeWeights(weights, channelLayout([1, 2], 0), S8_SYMMETRIC, bias, 0.01);
    const { values, scales: biasScales } = quantizeBias(bias, 0.01, scales);
    expect(Math.abs(values[0]! * biasScales[0]! - 1000)).toBeLessThan(0.001);
    expect(values[0]!).toBeLessThan(2 ** 31 - 1);
  });
});
