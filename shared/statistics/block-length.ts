// How long a block of time must be so that the means of neighbouring blocks do not follow each
// other (decisions.md R9). A camera that sees one scene for a minute gives one observation a
// minute, not sixty: tests on single inputs would then be wrong in both directions. Measured on
// signatures of the inputs before a swap, and frozen for the trial.
import { limits } from '../base/limits.js';

/** What an input looks like, in a few numbers. */
export interface InputSignature {
  /** When it arrived, in seconds of any monotonic clock. */
  readonly seconds: number;
  /** The serving release's top score; null where it has none. */
  readonly score: number | null;
  /** A coarse summary of the input, of one length for all inputs. */
  readonly summary: readonly number[];
}

/**
 * The shortest length in seconds (1, 2, 4, ...) with enough blocks whose lag-1 autocorrelation is
 * low, of the score and of the summary. Null where there is none: the inputs change too slowly, or
 * there were too few.
 */
export function chooseBlockSeconds(inputs: readonly InputSignature[]): number | null {
  for (let seconds = 1; ; seconds *= 2) {
    const blocks = blocksOfTime(inputs, seconds);
    if (blocks.length < limits.trialBlocksMinCount) return null;
    const views = [
      blocks.map((block) => meanVector(block.map(({ summary }) => summary))),
      blocks.map((block) => meanVector(block.map(({ score }) => (score === null ? [] : [score])))),
    ].filter((vectors) => vectors.every((vector) => vector.length > 0));
    const follow = views.map(autocorrelation);
    // Inputs that never change (null) do not say anything about inputs that do.
    if (follow.some((value) => value === null)) return null;
    if (follow.every((value) => (value ?? 1) < limits.trialAutocorrelationMaxRatio)) return seconds;
  }
}

/** Inputs of each block that has any, in the order of time. */
function blocksOfTime(inputs: readonly InputSignature[], seconds: number): InputSignature[][] {
  const blocks = new Map<number, InputSignature[]>();
  for (const input of inputs) {
    const key = Math.floor(input.seconds / seconds);
    const block = blocks.get(key);
    if (block === undefined) blocks.set(key, [input]);
    else block.push(input);
  }
  return [...blocks].sort(([one], [other]) => one - other).map(([, block]) => block);
}

/**
 * Lag-1 autocorrelation of vectors: the mean product of neighbours' deviations over the mean square
 * deviation, summed over the dimensions. Null where nothing varies.
 */
function autocorrelation(vectors: readonly (readonly number[])[]): number | null {
  const centre = meanVector(vectors);
  const deviations = vectors.map((vector) => vector.map((value, i) => value - (centre[i] ?? 0)));
  const square = deviations.reduce((sum, vector) => sum + dot(vector, vector), 0);
  const size = vectors.reduce((sum, vector) => sum + dot(vector, vector), 0);
  // Less than rounding noise is no variation.
  if (square <= size * 1e-18) return null;
  const follow = deviations.reduce(
    (sum, vector, i) => sum + dot(vector, deviations[i + 1] ?? []),
    0,
  );
  return follow / square;
}

function meanVector(vectors: readonly (readonly number[])[]): number[] {
  const length = Math.max(0, ...vectors.map((vector) => vector.length));
  const filled = vectors.filter((vector) => vector.length === length);
  return Array.from(
    { length },
    (_, i) => filled.reduce((sum, vector) => sum + (vector[i] ?? 0), 0) / filled.length,
  );
}

const dot = (one: readonly number[], other: readonly number[]): number =>
  other.reduce((sum, value, i) => sum + value * (one[i] ?? 0), 0);
