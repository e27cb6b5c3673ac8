// Statistics for deciding from few observations while looking at every one of them: pure functions
// of counts. They promise the stated error rates under independent observations; what is compared,
// and what follows, is the caller's (trial-verdict.ts for a device, halt-test.ts for a fleet).
// Likelihood ratios are kept as natural logarithms.
//
// E-processes: Ramdas, Gruenwald, Vovk, Shafer, "Game-theoretic statistics and safe anytime-valid
// inference" (Statistical Science 2023). For a share p <= p0, the likelihood ratio of p1 > p0
// against p0 is a nonnegative supermartingale that starts at 1, so by Ville's inequality (1939) it
// ever reaches 1/alpha with chance <= alpha, over any number of looks. A weighted mean of such
// ratios is one too.
import { chiSquareUpper } from './distributions.js';

/** `hits` of `count` observations had the property in question. */
export interface Tally {
  readonly hits: number;
  readonly count: number;
}

/** log of the likelihood ratio of share `p1` against `p0` (both in (0, 1)). */
export function logRatio(tally: Tally, p0: number, p1: number): number {
  return (
    tally.hits * Math.log(p1 / p0) + (tally.count - tally.hits) * Math.log((1 - p1) / (1 - p0))
  );
}

/** log(sum of weight * exp(log value)), without overflow. */
export function logMean(
  parts: readonly { readonly weight: number; readonly log: number }[],
): number {
  const top = Math.max(...parts.map((part) => part.log));
  if (!Number.isFinite(top)) return top;
  return (
    top + Math.log(parts.reduce((sum, part) => sum + part.weight * Math.exp(part.log - top), 0))
  );
}

/**
 * Exact chance that the likelihood ratio of `p1` against `p0` ever reaches `boundary` within `size`
 * observations whose true share is `share`. Dynamic programming over (observations, hits): the
 * ratio depends on nothing else. O(size * hits).
 */
export function chanceOfReaching(
  boundary: number,
  size: number,
  p0: number,
  p1: number,
  share = p0,
): number {
  const goal = Math.log(boundary) - 1e-9;
  let alive = [1];
  let reached = 0;
  for (let count = 1; count <= size; count++) {
    const after = new Array<number>(alive.length + 1).fill(0);
    alive.forEach((chance, hits) => {
      after[hits] = (after[hits] ?? 0) + chance * (1 - share);
      after[hits + 1] = (after[hits + 1] ?? 0) + chance * share;
    });
    // The ratio rises with the hits: all that reached the boundary are at the end.
    while (after.length > 0 && logRatio({ hits: after.length - 1, count }, p0, p1) >= goal)
      reached += after.pop() ?? 0;
    alive = after;
  }
  return reached;
}

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

/** A share as text: "2 %", "4.1 %", "0.04 %". */
export function percent(share: number): string {
  const value = share * 100;
  const digits = value === 0 || value >= 9.95 ? 0 : value >= 0.095 ? 1 : 2;
  return `${value.toFixed(digits).replace(/\.0+$/, '')} %`;
}

/** The chance 1/e of a log e-value as text, rounded to the safe side: "1 in 1,000,000". */
export function chanceText(logE: number): string {
  const e = Math.exp(Math.min(logE, Math.log(1e9)));
  const unit = 10 ** Math.floor(Math.log10(Math.max(1, e)) + 1e-12);
  return `1 in ${(Math.floor(e / unit + 1e-9) * unit || 1).toLocaleString('en-US')}`;
}
