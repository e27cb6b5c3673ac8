// The numbers of int8 quantization, and nothing else: ranges to scale and zero point, rounding,
// weights, biases. Promises bit parity with onnxruntime's Python tools (quant_utils.py
// compute_scale_zp and quantize_nparray, base_quantizer.py quantize_bias_static): ranges are
// float32, scales are computed in float64 and kept as float32, rounding is half to even.

export interface IntegerRange {
  min: number;
  max: number;
}

export const U8: IntegerRange = { min: 0, max: 255 };
/** Symmetric int8 leaves -128 out, so that zero sits in the middle. */
export const S8_SYMMETRIC: IntegerRange = { min: -127, max: 127 };
/** Seven bits, for CPUs whose u8 x s8 products saturate in 16 bits (x86 before VNNI). */
export const S8_REDUCED: IntegerRange = { min: -64, max: 64 };

const FLOAT32_TINY = 2 ** -126;
/** Fixed by two's complement. */
const INT32_MAX = 2 ** 31 - 1;

export interface ScaleZero {
  /** A float32 value. */
  scale: number;
  zeroPoint: number;
}

/** numpy.round: half to even. */
export function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  if (rest < 0.5) return floor;
  if (rest > 0.5) return floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}

function clamp(x: number, { min, max }: IntegerRange): number {
  return x < min ? min : x > max ? max : x;
}

/**
 * compute_scale_zp: the affine code r = scale * (q - zeroPoint) of a float32 range, widened to hold
 * zero.
 */
export function scaleAndZero(
  rmin: number,
  rmax: number,
  q: IntegerRange,
  symmetric: boolean,
): ScaleZero {
  let low = Math.fround(Math.min(rmin, 0));
  let high = Math.fround(Math.max(rmax, 0));
  if (symmetric) {
    high = Math.max(Math.abs(low), Math.abs(high));
    low = -high;
  }
  const scale = Math.fround(high - low) / (q.max - q.min);
  if (scale < FLOAT32_TINY) return { scale: 1, zeroPoint: 0 };
  const zeroPoint = roundHalfEven(symmetric ? (q.min + q.max) / 2 : q.min - low / scale);
  return { scale: Math.fround(scale), zeroPoint };
}

/** quantize_nparray for one value: clip(round(x / scale) + zero point), the quotient in float32. */
export function quantizeValue(x: number, { scale, zeroPoint }: ScaleZero, q: IntegerRange): number {
  return clamp(roundHalfEven(Math.fround(x / scale)) + zeroPoint, q);
}

/** Quantizes a float constant that is read like an activation (u8, asymmetric, one scale). */
export function quantizeConstant(data: Float32Array): { values: Uint8Array; code: ScaleZero } {
  let min = 0,
    max = 0;
  for (const x of data) {
    if (x < min) min = x;
    if (x > max) max = x;
  }
  const code = scaleAndZero(min, max, U8, false);
  return { values: Uint8Array.from(data, (x) => quantizeValue(x, code, U8)), code };
}

/**
 * How a weight array [outer, channels, inner] is walked: channel c owns (o * channels + c) * inner
 * + i.
 */
export interface ChannelLayout {
  outer: number;
  channels: number;
  inner: number;
}

/** Splits dims at `axis`; without an axis, everything is one channel. */
export function channelLayout(dims: number[], axis: number | undefined): ChannelLayout {
  const product = (part: number[]): number => part.reduce((a, b) => a * b, 1);
  if (axis === undefined) return { outer: 1, channels: 1, inner: product(dims) };
  return {
    outer: product(dims.slice(0, axis)),
    channels: dims[axis]!,
    inner: product(dims.slice(axis + 1)),
  };
}

/**
 * Symmetric int8 weights with one scale a channel. When `bias` and `inputScale` are given and a
 * channel's weights are so small that its int32 bias would overflow, that channel's scale is raised
 * until it fits (as onnxruntime does).
 */
export function quantizeWeights(
  data: Float32Array,
  layout: ChannelLayout,
  q: IntegerRange,
  bias?: Float32Array,
  inputScale?: number,
): { values: Int8Array; scales: Float32Array } {
  const { outer, channels, inner } = layout;
  const values = new Int8Array(data.length);
  const scales = new Float32Array(channels);
  for (let c = 0; c < channels; c++) {
    let top = 0;
    for (let o = 0; o < outer; o++) {
      const base = (o * channels + c) * inner;
      for (let i = 0; i < inner; i++) top = Math.max(top, Math.abs(data[base + i]!));
    }
    const code = scaleAndZero(-top, top, q, true);
    if (bias && inputScale !== undefined) {
      const share = channels === 1 ? bias : [bias[c]!];
      const needed = Math.max(...Array.from(share, Math.abs)) / INT32_MAX / inputScale;
      if (needed > code.scale) code.scale = Math.fround(needed * (1 + 2 ** -20));
    }
    scales[c] = code.scale;
    for (let o = 0; o < outer; o++) {
      const base = (o * channels + c) * inner;
      for (let i = 0; i < inner; i++) values[base + i] = quantizeValue(data[base + i]!, code, q);
    }
  }
  return { values, scales };
}

/**
 * int32 bias, zero point 0, scale = input scale * weight scale of its channel (float32); the
 * quotient in float64.
 */
export function quantizeBias(
  bias: Float32Array,
  inputScale: number,
  weightScales: Float32Array,
): { values: Int32Array; scales: Float32Array } {
  const scales = Float32Array.from(weightScales, (s) => Math.fround(inputScale * s));
  const scaleOf = (i: number): number => scales[scales.length === 1 ? 0 : i]!;
  const range = { min: -INT32_MAX - 1, max: INT32_MAX };
  return {
    values: Int32Array.from(bias, (b, i) => clamp(roundHalfEven(b / scaleOf(i)), range)),
    scales,
  };
}
