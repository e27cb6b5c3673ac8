// Statistics for deciding from few observations while looking at every one of them: pure functions
// of counts. They promise the stated error rates under independent observations; what is compared,
// and what follows, is the caller's (trial.ts on a device, rollout/health.ts over a fleet).
// Likelihood ratios are kept as natural logarithms.
//
// E-processes: Ramdas, Gruenwald, Vovk, Shafer, "Game-theoretic statistics and safe anytime-valid
// inference" (Statistical Science 2023). For a share p <= p0, the likelihood ratio of p1 > p0
// against p0 is a nonnegative supermartingale that starts at 1, so by Ville's inequality (1939) it
// ever reaches 1/alpha with chance <= alpha, over any number of looks. A weighted mean of such
// ratios is one too.
import assert from 'node:assert/strict';

/** `hits` of `count` observations had the property in question. */
export interface Tally {
  readonly hits: number;
  readonly count: number;
}

/** An alternative is never certain: at p1 = 1 a single miss would blind the test for ever. */
const ALTERNATIVE_MAX = 0.99;

/** log of the likelihood ratio of share `p1` against `p0` (both in (0, 1)). */
export function logRatio(tally: Tally, p0: number, p1: number): number {
  return (
    tally.hits * Math.log(p1 / p0) + (tally.count - tally.hits) * Math.log((1 - p1) / (1 - p0))
  );
}

export function capped(alternative: number): number {
  return Math.min(alternative, ALTERNATIVE_MAX);
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
 * log e-value against "the share is at most `limit`": a mean over alternatives just above (1.5x),
 * well above (3x) and far above (half way to 1), so that a slightly bad and a hopeless release are
 * both found soon. Zero (no evidence) where no alternative is left above the limit.
 */
export function logEvidenceAbove(tally: Tally, limit: number): number {
  // The cap would put the alternative below the limit, and good releases would look bad.
  if (limit >= ALTERNATIVE_MAX) return 0;
  const far = (1 + limit) / 2;
  const alternatives = [1.5 * limit, 3 * limit, far].filter((p1) => p1 <= far).map(capped);
  return logMean(
    alternatives.map((p1) => ({
      weight: 1 / alternatives.length,
      log: logRatio(tally, limit, p1),
    })),
  );
}

/**
 * log e-value against "the share is at least `limit`", towards limit/2 (3/4 of the weight) and 3/4
 * of the limit: what it takes to call a release healthy instead of merely not shown to be bad.
 * Infinite (certain) at a limit of 1.
 */
export function logEvidenceBelow(tally: Tally, limit: number): number {
  if (limit >= 1) return Number.POSITIVE_INFINITY;
  return logMean([
    { weight: 0.75, log: logRatio(tally, limit, limit / 2) },
    { weight: 0.25, log: logRatio(tally, limit, limit * 0.75) },
  ]);
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

/**
 * Upper confidence bound of a share (Clopper and Pearson, Biometrika 1934, one-sided): the share at
 * which `hits` or fewer of `count` have chance `alpha`. 1 when nothing was observed. Bisection to
 * 1e-9.
 */
export function upperBound(tally: Tally, alpha: number): number {
  if (tally.hits >= tally.count) return 1;
  let low = tally.hits / tally.count;
  let high = 1;
  while (high - low > 1e-9) {
    const middle = (low + high) / 2;
    if (binomialCdf(tally, middle) > alpha) low = middle;
    else high = middle;
  }
  return high;
}

function binomialCdf({ hits, count }: Tally, p: number): number {
  let log = count * Math.log1p(-p);
  let sum = Math.exp(log);
  for (let k = 1; k <= hits; k++) {
    log += Math.log((count - k + 1) / k) + Math.log(p) - Math.log1p(-p);
    sum += Math.exp(log);
  }
  return sum;
}

const CENTRE = {
  over: [
    -39.69683028665376, 220.9460984245205, -275.9285104469687, 138.357751867269, -30.66479806614716,
    2.506628277459239,
  ],
  under: [
    -54.47609879822406, 161.5858368580409, -155.6989798598866, 66.80131188771972,
    -13.28068155288572, 1,
  ],
};
const TAIL = {
  over: [
    -0.007784894002430293, -0.3223964580411365, -2.400758277161838, -2.549732539343734,
    4.374664141464968, 2.938163982698783,
  ],
  under: [0.007784695709041462, 0.3224671290700398, 2.445134137142996, 3.754408661907416, 1],
};

/**
 * Upper quantile of the standard normal: Acklam's rational approximation (2003), relative error
 * below 1.2e-9.
 */
export function normalUpper(alpha: number): number {
  assert(alpha > 0 && alpha < 1, 'a tail is in (0, 1)');
  const p = 1 - alpha;
  if (alpha > 0.97575) return -normalUpper(p);
  if (alpha >= 0.02425) {
    const q = p - 0.5;
    const r = q * q;
    return (polynomial(CENTRE.over, r) * q) / polynomial(CENTRE.under, r);
  }
  const q = Math.sqrt(-2 * Math.log(alpha));
  return -polynomial(TAIL.over, q) / polynomial(TAIL.under, q);
}

/** Coefficients from the highest power down. */
function polynomial(coefficients: readonly number[], x: number): number {
  return coefficients.reduce((sum, coefficient) => sum * x + coefficient, 0);
}

/**
 * Upper quantile of chi-square with `degrees` of freedom: Wilson and Hilferty (PNAS 1931). Measured
 * against exact values for tails of 1e-4 .. 0.1, the error is at most 8 % at 1 degree, 5 % at 2, 4
 * % at 3, 1.2 % from 10 up; below tails of 0.001 it errs upwards, the safe side
 * (test/trial-evidence.test.ts holds it to that).
 */
export function chiSquareUpper(alpha: number, degrees: number): number {
  const spread = 2 / (9 * degrees);
  return degrees * (1 - spread + normalUpper(alpha) * Math.sqrt(spread)) ** 3;
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
