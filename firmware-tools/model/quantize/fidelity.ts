// Whether a model that was made from another still answers like it: the prepared graph like the
// original, and the int8 model like fp32 on all calibration inputs. A mistake of the quantizer, or
// a model that int8 does not suit, is refused here with a figure and a remedy, before anything is
// written.
import { Fault, isFault } from '../../../shared/base/fault-codes.js';
import { limits } from '../../../shared/base/limits.js';
import { encodeModel, type Model } from '../onnx/model-file.js';
import { openModel, type Answers, type Feeds, type TensorData } from '../session.js';

/** How close one output of the int8 model is to fp32, over all calibration inputs together. */
export interface OutputFidelity {
  output: string;
  /** Signal to quantization noise ratio in dB; null where both are equal, and for integers. */
  sqnrDb: number | null;
  /** Of the two answers as vectors; for an output of integers, the share of equal elements. */
  cosine: number;
}

function largestDifference(
  a: TensorData,
  b: TensorData,
): { difference: number; magnitude: number } {
  let difference = 0,
    magnitude = 0;
  for (let i = 0; i < a.length; i++) {
    const x = Number(a[i]),
      y = Number(b[i]);
    if (Number.isNaN(x) && Number.isNaN(y)) continue;
    difference = Math.max(
      difference,
      Number.isNaN(x - y) && x !== y ? Infinity : x === y ? 0 : Math.abs(x - y),
    );
    magnitude = Math.max(magnitude, Math.abs(x));
  }
  return { difference, magnitude };
}

/** Reordered float32 sums differ by far less; a changed meaning by far more. */
const PREPARED_RELATIVE_TOLERANCE = 1e-3;

async function answersOf(bytes: Uint8Array, feed: Feeds, what: string): Promise<Answers> {
  const session = await openModel(bytes, { what });
  try {
    return await session.run(feed);
  } finally {
    await session.release();
  }
}

/**
 * The graph at operator set 13 answers like the original on one input: a mistake of the conversion
 * must not become a wrong model. Fault model_unquantizable.
 */
export async function checkPrepared(
  fp32: Uint8Array,
  prepared: Model,
  feed: Feeds,
  what: string,
): Promise<void> {
  const before = await answersOf(fp32, feed, what);
  const after = await answersOf(encodeModel(prepared), feed, `${what} (prepared)`);
  for (const [name, { data }] of Object.entries(before)) {
    const { difference, magnitude } = largestDifference(data, after[name]!.data);
    if (
      data.length !== after[name]!.data.length ||
      !(difference <= PREPARED_RELATIVE_TOLERANCE * Math.max(1, magnitude))
    ) {
      throw new Fault(
        'model_unquantizable',
        `${what}: bringing it to operator set 13 changes output '${name}' by ` +
          `${difference}; export it with set 13 or later`,
      );
    }
  }
}

/**
 * Runs both models on every calibration input and compares each output. A model that loads may
 * still fail at its first run; that must happen here, not on a device. The limit is of the SQNR,
 * because a cosine does not see a wrong scale. Fault model_unquantizable: it does not run, or,
 * unless `acceptLoss`, an output is below limits.quantizedSqnrMinDb (of integers:
 * limits.quantizedEqualMinRatio).
 */
export async function checkFidelity(
  fp32: Uint8Array,
  int8: Uint8Array,
  feeds: readonly Feeds[],
  { what, acceptLoss }: { what: string; acceptLoss: boolean },
): Promise<OutputFidelity[]> {
  const sums = await compareOutputs(fp32, int8, feeds, what);
  const poor = [...sums].flatMap(([name, sum]) => sum.complaint(name) ?? []);
  if (poor.length > 0 && !acceptLoss)
    throw new Fault(
      'model_unquantizable',
      `${what}: on the calibration data the int8 model does not answer like fp32: ` +
        `${poor.join('; ')}. Leave nodes float with --exclude, calibrate on more representative ` +
        'data, ship the fp32 model, or accept the loss with --accept-loss',
    );
  return [...sums].map(([output, { sqnrDb, cosine }]) => ({ output, sqnrDb, cosine }));
}

async function compareOutputs(
  fp32: Uint8Array,
  int8: Uint8Array,
  feeds: readonly Feeds[],
  what: string,
): Promise<Map<string, OutputSums>> {
  const before = await openModel(fp32, { what });
  try {
    const after = await openModel(int8, { what: `${what} (int8)` });
    try {
      const sums = new Map(before.outputs.map(({ name }) => [name, new OutputSums()]));
      for (const feed of feeds) {
        const expected = await before.run(feed);
        const got = await after.run(feed);
        for (const [name, sum] of sums) sum.add(expected[name]!.data, got[name]!.data);
      }
      return sums;
    } finally {
      await after.release();
    }
  } catch (cause) {
    if (!isFault(cause, 'data_mismatch', 'model_not_onnx')) throw cause;
    throw new Fault(
      'model_unquantizable',
      `the int8 model does not run (${cause.detail}); leave nodes float with ` +
        '--exclude until it does',
      { cause },
    );
  } finally {
    await before.release();
  }
}

/** Sums over the elements of one output: expected (fp32) against got (int8). */
class OutputSums {
  #dot = 0;
  #signal = 0;
  #noise = 0;
  #gotPower = 0;
  #equal = 0;
  #count = 0;
  #integer = false;

  add(expected: TensorData, got: TensorData): void {
    this.#integer = !(expected instanceof Float32Array || expected instanceof Float64Array);
    // Where values decide how many results there are (boxes of a detector), what is missing counts
    // as zero.
    const length = Math.max(expected.length, got.length);
    this.#count += length;
    for (let i = 0; i < length; i++) {
      // Strings (labels) are compared as they are; as numbers they would all be NaN.
      const [left, right] = [expected[i] ?? 0, got[i] ?? 0] as const;
      const [x, y] = [Number(left), Number(right)];
      const bothNaN = Number.isNaN(left) && Number.isNaN(right);
      if (left === right || bothNaN) this.#equal++;
      if (bothNaN) continue;
      this.#dot += x * y;
      this.#signal += x * x;
      this.#gotPower += y * y;
      this.#noise += (x - y) * (x - y);
    }
  }

  get #equalShare(): number {
    return this.#count === 0 ? 1 : this.#equal / this.#count;
  }

  get cosine(): number {
    if (this.#integer || this.#equalShare === 1) return this.#equalShare;
    const cosine = this.#dot / Math.sqrt(this.#signal * this.#gotPower);
    return Number.isFinite(cosine) ? cosine : 0;
  }

  get sqnrDb(): number | null {
    if (this.#integer || this.#equalShare === 1) return null;
    return 10 * Math.log10(this.#signal / this.#noise);
  }

  /** What is wrong with the output `name`, or null. NaN and infinity are wrong. */
  complaint(name: string): string | null {
    const { sqnrDb } = this;
    const { quantizedSqnrMinDb, quantizedEqualMinRatio } = limits;
    if (sqnrDb !== null && !(sqnrDb >= quantizedSqnrMinDb))
      return (
        `output '${name}' has an SQNR of ${sqnrDb.toFixed(1)} dB ` +
        `(cosine ${this.cosine.toFixed(3)}), the limit is ${quantizedSqnrMinDb} dB`
      );
    if (this.#integer && this.#equalShare < quantizedEqualMinRatio)
      return (
        `${(100 * this.#equalShare).toFixed(1)} % of output '${name}' are equal, the limit is ` +
        `${100 * quantizedEqualMinRatio} %`
      );
    return null;
  }
}
