// Shifts of classes and the margin of a mean: what a trial needs besides betting processes
// (betting.ts). Pure functions of counts. They promise the stated error rates under
// independent observations; what is compared, and what follows, is the caller's (trial-tests.ts).
import { chiSquareUpper } from './distributions.js';

export interface Shift {
  /** Population stability index: sum of (b - a) * ln(b / a) over the bins' shares. */
  readonly psi: number;
  /** What chance alone reaches with probability alpha in two samples of these sizes. */
  readonly chance: number;
}

/**
 * PSI of two histograms (same bins) with what sampling alone would do: under the null it is
 * distributed like (1/n + 1/m) * chi-square with B-1 degrees (Yurdakul, "Statistical properties of
 * the population stability index", 2018), so fixed bands such as 0.25 mean nothing at small n. Bins
 * empty in both are left out; half a count is added to each other. Null when nothing can be
 * compared (an empty side, or one bin in all).
 */
export function classShift(
  before: readonly number[],
  now: readonly number[],
  alpha: number,
): Shift | null {
  const length = Math.max(before.length, now.length);
  const bins = Array.from({ length }, (_, bin) => ({
    a: before[bin] ?? 0,
    b: now[bin] ?? 0,
  })).filter(({ a, b }) => a + b > 0);
  const n = bins.reduce((sum, { a }) => sum + a, 0);
  const m = bins.reduce((sum, { b }) => sum + b, 0);
  if (n === 0 || m === 0 || bins.length < 2) return null;
  const half = bins.length / 2;
  const psi = bins.reduce((sum, { a, b }) => {
    const shareA = (a + 0.5) / (n + half);
    const shareB = (b + 0.5) / (m + half);
    return sum + (shareB - shareA) * Math.log(shareB / shareA);
  }, 0);
  return { psi, chance: (1 / n + 1 / m) * chiSquareUpper(alpha, bins.length - 1) };
}

/**
 * Half width of an asymptotic confidence sequence for a mean (Waudby-Smith, Arbour, Sinha, Kennedy,
 * Ramdas, Annals of Statistics 2024, theorem 2.2), tightest near `tight` observations: with chance
 * >= 1 - alpha it holds at every count at once.
 */
export function meanMargin(deviation: number, count: number, alpha: number, tight = 100): number {
  const rho2 = (-2 * Math.log(alpha) + Math.log(-2 * Math.log(alpha)) + 1) / tight;
  const v = count * rho2 + 1;
  return deviation * Math.sqrt(((2 * v) / (count * count * rho2)) * Math.log(Math.sqrt(v) / alpha));
}
