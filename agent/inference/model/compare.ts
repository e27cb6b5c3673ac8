// Compares two answers element by element under a tolerance: |got - golden| <= absolute + relative
// * |golden|. Pure. A non-finite element, another shape or another datatype is never within any
// tolerance.
import { describe, elementsOf, type Tensor } from './tensor.js';

export interface Difference {
  readonly within: boolean;
  /** Largest |got - golden|; infinity when the answers cannot be compared. */
  readonly worst: number;
  /**
   * Names the first element outside the tolerance, or why nothing can be compared. Empty when
   * within.
   */
  readonly reasons: string;
}

const EQUAL: Difference = { within: true, worst: 0, reasons: '' };

export function worstOf(
  got: readonly Tensor[],
  golden: readonly Tensor[],
  tolerance: { absolute: number; relative: number },
): Difference {
  if (got.length !== golden.length)
    return {
      within: false,
      worst: Infinity,
      reasons: `${got.length} outputs, expected ${golden.length}`,
    };
  let result = EQUAL;
  for (const expected of golden) {
    const found = got.find((tensor) => tensor.name === expected.name);
    if (found === undefined)
      return { within: false, worst: Infinity, reasons: `no output ${expected.name}` };
    const one = compare(found, expected, tolerance);
    result = {
      within: result.within && one.within,
      worst: Math.max(result.worst, one.worst),
      reasons: result.reasons || one.reasons,
    };
  }
  return result;
}

function compare(
  got: Tensor,
  golden: Tensor,
  { absolute, relative }: { absolute: number; relative: number },
): Difference {
  if (describe(got) !== describe(golden)) {
    return {
      within: false,
      worst: Infinity,
      reasons: `output ${got.name} is ${describe(got)}, expected ${describe(golden)}`,
    };
  }
  const a = elementsOf(got) as ArrayLike<number | bigint>;
  const b = elementsOf(golden) as ArrayLike<number | bigint>;
  let worst = 0;
  let outside = -1;
  for (let i = 0; i < b.length; i += 1) {
    const expected = Number(b[i]);
    const difference = Math.abs(Number(a[i]) - expected);
    if (!(difference <= absolute + relative * Math.abs(expected)) && outside < 0) outside = i;
    if (!(difference <= worst)) worst = Number.isNaN(difference) ? Infinity : difference;
  }
  if (outside < 0) return { within: true, worst, reasons: '' };
  return {
    within: false,
    worst,
    reasons: `output ${got.name} element ${outside} is ${a[outside]}, golden ${b[outside]}`,
  };
}
